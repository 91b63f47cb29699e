"""Verbs of the contract that are not there yet: hidden from --help, they say which roadmap letter brings them."""

from __future__ import annotations

from typing import Annotated

import typer

from twin.exits import UsageError

LATER = {
    "solve": "D",
    "reproduce": "D to H",
    "sweep": "D",
    "replay": "I",
    "test": "I",
    "record": "I",
    "export": "I",
    "whatif": "I",
    "release": "B",
    "proxy": "B",
    "characterise": "B",
    "check --probe": "B",
    "explain": "J",
    "init": "J",
}


def refuse(verb: str) -> None:
    """Raise the error that names the roadmap letter of `verb`."""
    raise UsageError(
        f"`vpptwin {verb}` is not there yet",
        mend=f"letter {LATER[verb]} of docs/roadmap.md brings it",
    )


def add_later(app: typer.Typer) -> None:
    """Register every later verb as a hidden command that takes anything and refuses."""
    for verb in (v for v in LATER if " " not in v):
        _add(app, verb)


def _add(app: typer.Typer, verb: str) -> None:
    @app.command(
        verb,
        hidden=True,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        add_help_option=False,
    )
    def later(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        refuse(verb)
