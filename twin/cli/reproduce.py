"""`vpptwin reproduce`: the claims of a paper, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from twin.cli.output import console, emit_json
from twin.exits import UsageError

KNOWN = ("twostage",)
COLOURS = {"holds": "green", "fails": "red", "incomparable": "dim"}


def reproduce(
    paper: Annotated[str, typer.Argument(help="twostage.")],
    out: Annotated[Path | None, typer.Option(help="Folder for reproduction.json and the page of plots.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="A part of the study, for continuous integration.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as one JSON object.")] = False,
) -> None:
    """Repeat a paper's study and say for every claim whether it holds, fails or cannot be compared."""
    if paper not in KNOWN:
        raise UsageError(f"no reproduction {paper!r}", mend=f"there is: {', '.join(KNOWN)}")
    from twin.reproduction.checks import words
    from twin.reproduction.twostage import FAST, Effort  # loads solvers
    from twin.reproduction.twostage import reproduce as study

    with console.status("reproducing") as status:
        found = study(FAST if fast else Effort(), lambda what: status.update(escape(what)))
    if out is not None:
        from twin.reproduction.page import page

        out.mkdir(parents=True, exist_ok=True)
        (out / "reproduction.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
        (out / "reproduction.html").write_text(page(found), encoding="utf-8")
    if as_json:
        emit_json(msgspec.to_builtins(found))
        return
    table = Table(title=f"paper {found.paper}: {found.mechanism}", title_justify="left")
    for name in ("", "claim", "ours", "note"):
        table.add_column(name)
    for check in found.checks:
        colour = COLOURS[check.status]
        table.add_row(
            f"[{colour}]{check.status}[/]", escape(check.claim), escape(words(check.ours)), escape(check.note)
        )
    console.print(table)
