"""`vpptwin release`: setpoints withdrawn with nothing but the wires to the devices."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from devices.points import CONTROLS
from devices.release import controllable
from devices.release import release as released
from twin.cli.output import console, emit_json
from twin.exits import FAULT, UsageError
from twin.site.loader import load_site


def release(
    site: Annotated[Path, typer.Argument(help="Site file (YAML).")],
    device: Annotated[list[str] | None, typer.Option("--device", help="This device; may be given again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every device that can be controlled.")] = False,
    within: Annotated[float, typer.Option(help="Seconds to go on trying; a slow serial bus may need 10.")] = 1.4,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Give devices back to themselves, directly over their links; service, broker and store may be dead."""
    if everything == bool(device):
        raise UsageError("nothing or too much to release", mend="give --device D (more than once if need be), or --all")
    found = load_site(site, check_data=False, check_files=False)
    wired = controllable(found.devices)
    unknown = sorted(set(device or ()) - {one.id for one in wired})
    if unknown:
        known = ", ".join(one.id for one in wired)
        raise UsageError(f"no controllable device {', '.join(unknown)}", where=str(site), mend=f"there are: {known}")
    if everything and (wireless := [one.id for one in found.devices if one.mqtt and one.kind in CONTROLS]):
        console.print(
            f"not asked: {', '.join(wireless)}: orders over MQTT end by the device's own timer, at the latest one lease"
            " after the last of them",
            soft_wrap=True,
        )
    chosen = [one for one in wired if everything or one.id in (device or ())]
    results = asyncio.run(released(found.links, chosen, within))
    if as_json:
        emit_json({"released": [asdict(one) for one in results], "ok": all(one.ok for one in results)})
    for one in results:
        word = "[green]released[/]" if one.ok else "[red]NOT released[/]"
        console.print(f"{word} {one.device} after {one.took_s:.2f} s {one.error}".rstrip(), soft_wrap=True)
    if not all(one.ok for one in results):
        raise typer.Exit(FAULT)
