"""Verbs of the contract that are not there yet: hidden from --help, they say which roadmap letter brings them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from twin.exits import UsageError

LATER = {
    "replay": "I",
    "test": "I",
    "record": "I",
    "export": "I",
    "whatif": "I",
    "explain": "J",
}


def add_later(app: typer.Typer, verbs: Mapping[str, str]) -> None:
    """Register every later verb as a hidden command that takes anything and refuses."""
    for verb, letter in verbs.items():
        _add(app, verb, letter)


def _add(app: typer.Typer, verb: str, letter: str) -> None:
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}

    @app.command(verb, hidden=True, context_settings=settings, add_help_option=False)
    def later(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        raise UsageError(f"`vpptwin {verb}` is not there yet", mend=f"letter {letter} of docs/roadmap.md brings it")
