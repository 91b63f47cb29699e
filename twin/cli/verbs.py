"""Verbs that are imported when they are called: `vpptwin release` waits for none of the others' libraries."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from twin.exits import INTERRUPTED


@dataclass(frozen=True, slots=True)
class Verb:
    """Where a verb is: a function or a `typer.Typer` of a module, and its line in `vpptwin --help`."""

    module: str
    name: str
    help: str


class Deferred(TyperCommand):
    """Stands in `--help` with one line; called, it imports the verb and hands over everything."""

    def __init__(self, name: str, verb: Verb) -> None:
        super().__init__(name, help=verb.help, rich_markup_mode=None)
        self._verb = verb

    @cached_property
    def command(self) -> Any:
        """The verb itself, as typer builds it from the function's signature."""
        found = self._found()
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            alone.add_typer(found, name=self.name)
            return typer.main.get_group(alone).commands[str(self.name)]
        alone.command(self.name)(found)
        return typer.main.get_command(alone)

    def _found(self) -> Any:
        try:
            return getattr(import_module(self._verb.module), self._verb.name)
        except KeyboardInterrupt:  # not left to typer, which would end it with a status of its own
            sys.stderr.write("vpptwin: interrupted\n")
            sys.exit(INTERRUPTED)

    def make_context(self, *args: Any, **settings: Any) -> Any:
        """The context of the verb itself: what parses, helps and runs from here on is not this object."""
        return self.command.make_context(*args, **settings)


class Group(TyperGroup):
    """A group whose verbs are imported when they are called."""

    verbs: Mapping[str, Verb] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, verb in self.verbs.items():
            self.add_command(Deferred(name, verb))


def group(verbs: Mapping[str, Verb]) -> type[TyperGroup]:
    """The class of a group of these verbs, for `typer.Typer(cls=...)`."""
    return type("Verbs", (Group,), {"verbs": dict(verbs)})
