"""What the command line writes: results to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)
"""Messages, tables and progress bars."""


def complain(error: Exception) -> None:
    """One error in plain words on stderr."""
    console.print(f"[bold red]vpptwin:[/] {str(error).replace('[', chr(92) + '[')}", soft_wrap=True)


@contextmanager
def progress_bar(doing: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr while the block runs; call it with (steps done, steps in all, what is going on or "")."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(doing, total=None)

        def show(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, description=escape(what) or doing)

        yield show


def emit_json(value: Any) -> None:
    """One JSON object on stdout; orjson writes NaN and infinity as null."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
    sys.stdout.flush()


def emit_line(value: Any) -> None:
    """One JSON object on one line of stdout, flushed."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()
