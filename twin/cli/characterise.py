"""`vpptwin characterise`: step a device, measure how it follows, write its profile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from devices import profile as profiles
from devices.commission.characterise import Plan, characterise
from devices.profile import Profile
from twin import probing
from twin.cli.output import console, emit_json
from twin.clock import WallClock
from twin.exits import UsageError
from twin.site.loader import load_site


def characterise_device(
    site: Annotated[Path, typer.Argument(help="Site file (YAML).")],
    device: Annotated[str, typer.Argument(help="A storage or turbine on a Modbus link of the site.")],
    out: Annotated[Path | None, typer.Option(help="Profile to write; default <device>.profile.yaml.")] = None,
    hold: Annotated[float, typer.Option(help="Seconds to watch each step, and each return to 0.")] = 15.0,
    revert: Annotated[int, typer.Option(help="Revert time that is tried, seconds.")] = 60,
    swing: Annotated[float, typer.Option(help="State of charge moved for the efficiency, pu.")] = 0.02,
    as_json: Annotated[bool, typer.Option("--json", help="Print the profile as one JSON object.")] = False,
) -> None:
    """Step a device (10, 50, 100 % both ways and a revert) and write a profile that the emulator can load.

    The device moves with full power, about half full, for some minutes; stop the service first.
    """
    found = load_site(site, check_data=False)
    spec = next((one for one in found.devices if one.id == device), None)
    if spec is None or spec.link is None:
        wired = ", ".join(
            one.id for one in found.devices if one.link is not None and one.kind in ("storage", "turbine")
        )
        raise UsageError(f"no Modbus device {device}", where=str(site), mend=f"there are: {wired}")
    if not probing.may_write(found):
        raise UsageError(
            "the site does not allow control", where="control", mend="enabled: true, mode: limited or full"
        )
    path = out or Path(f"{device}.profile.yaml")
    console.print(f"{device}: orders up to full power, both ways; Ctrl-C releases it", soft_wrap=True)
    plan = Plan(hold_s=hold, revert_s=revert, swing_pu=swing)
    work = characterise(
        found.link(spec.link), spec, WallClock(), plan=plan, tell=lambda words: console.print(f"{device}: {words}")
    )
    profile = asyncio.run(work)
    profiles.write(path, profile)
    if as_json:
        emit_json(msgspec.to_builtins(profile))
    _show(profile)
    console.print(
        f"written: [bold]{escape(str(path))}[/]; emulate it with `behaviour: {{profile: {path}}}`", soft_wrap=True
    )


def _show(profile: Profile) -> None:
    for name, value in {**profile.behaviour, **profile.figures}.items():
        console.print(f"  {name:18} {value:g}")
