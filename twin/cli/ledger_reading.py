"""`vpptwin ledger verify | show`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ledger import show as showing
from twin import audit as auditing
from twin.cli.ledger_options import Json, RunDir
from twin.cli.output import console, emit_json, emit_line
from twin.exits import FINDING

Heads = Annotated[list[Path] | None, typer.Option("--head", help="A signed head kept elsewhere; may be repeated.")]


def verify(run_dir: RunDir, heads: Heads = None, as_json: Json = False) -> None:
    """Re-verify all logs and what they say of each other, and that the stored readings are those that were settled.

    Exit status 1 if anything does not hold: each finding says where, and which layer noticed.
    """
    report = auditing.audit(run_dir, [head.read_text() for head in heads or []])
    if as_json:
        emit_json(asdict(report))
    else:
        for finding in report.findings:
            console.print(f"[red]finding[/]: {escape(str(finding))}", soft_wrap=True)
        word = "[green]verified[/]" if report.ok else "[red]does not verify[/]"
        console.print(f"{word}: {report.log}, {report.entries} entries, root {report.root}", soft_wrap=True)
    if not report.ok:
        raise typer.Exit(FINDING)


def show(
    run_dir: RunDir,
    type: Annotated[str, typer.Option(help="Only entries of this type, e.g. settlement.")] = "",
    party: Annotated[str, typer.Option(help="Only entries that name this party.")] = "",
    id: Annotated[str, typer.Option(help="Only the entry of this id.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many entries.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what the ledger holds: an overview, or the entries that match; it proves nothing (see verify)."""
    if type or party or id:
        for entry in showing.entries(run_dir, type=type, party=party, id=id, limit=limit):
            emit_line(entry)
        return
    found = showing.overview(run_dir, last=limit)
    if as_json:
        emit_json(found)
    else:
        typer.echo(showing.text(found))
