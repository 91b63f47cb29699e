"""`vpptwin ledger`: verify and show."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ledger import verify as verification
from twin.cli.later import LATER, add_later
from twin.cli.output import console, emit_json
from twin.exits import FINDING

app = typer.Typer(help="The settlement ledger of a run.", no_args_is_help=True)
RunDir = Annotated[Path, typer.Argument(help="A run folder or a ledger folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def verify(run_dir: RunDir, as_json: Json = False) -> None:
    """Re-verify everything from the entries' bytes; exit status 1 if anything does not hold."""
    report = verification.verify(run_dir)
    if as_json:
        emit_json(asdict(report))
    else:
        for finding in report.findings:
            console.print(f"[red]finding[/]: {str(finding)}", soft_wrap=True, markup=True)
        word = "[green]verified[/]" if report.ok else "[red]does not verify[/]"
        console.print(f"{word}: {report.log}, {report.entries} entries, root {report.root}", soft_wrap=True)
    if not report.ok:
        raise typer.Exit(FINDING)
