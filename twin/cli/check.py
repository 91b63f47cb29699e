"""`vpptwin check`: all configuration errors at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twin.cli.later import refuse
from twin.cli.output import console
from twin.site.loader import load_site


def check(
    site: Annotated[Path, typer.Argument(help="Site file (YAML).")],
    data: Annotated[Path | None, typer.Option(help="Folder of tidy data, instead of the site's own.")] = None,
    probe: Annotated[bool, typer.Option("--probe", hidden=True)] = False,
) -> None:
    """Check a site file as a whole and report every error with file, line and field."""
    if probe:
        refuse("check --probe", "B")
    found = load_site(site, data=data)
    kinds: dict[str, int] = {}
    for device in found.devices:
        kinds[device.kind] = kinds.get(device.kind, 0) + 1
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    console.print(f"[green]ok[/] {site}: site {found.id}, {len(found.parties)} parties, {counted}")
    for assumption in found.assumptions:
        console.print(f"  assumed: {assumption}")
