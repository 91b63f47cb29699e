"""Options that several verbs of `vpptwin ledger` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunDir = Annotated[Path, typer.Argument(help="A run folder or a ledger folder.")]
LogName = Annotated[str, typer.Option("--log", help="Which log: main, or party/<id>.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
