"""What the command line writes: results to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from typing import Any

import orjson
from rich.console import Console

console = Console(stderr=True, highlight=False)
"""Messages, tables and progress bars."""


def complain(error: Exception) -> None:
    """One error in plain words on stderr."""
    console.print(f"[bold red]vpptwin:[/] {str(error).replace('[', chr(92) + '[')}", soft_wrap=True)


def emit_json(value: Any) -> None:
    """One JSON object on stdout; orjson writes NaN and infinity as null."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
    sys.stdout.flush()


def emit_line(value: Any) -> None:
    """One JSON object on one line of stdout, flushed."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()
