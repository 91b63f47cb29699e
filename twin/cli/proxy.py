"""`vpptwin proxy`: TCP in front of a Modbus or MQTT endpoint that goes wrong by a script."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from devices.proxy import Proxy, Script, load_script
from twin.cli.output import console, emit_json
from twin.stopping import stop_signals


def proxy(
    script: Annotated[Path, typer.Argument(help="Script (YAML): listen, to, protocol, faults.")],
    seconds: Annotated[float | None, typer.Option(help="End after so many seconds, instead of by Ctrl-C.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="At the end, print what went through as JSON.")] = False,
) -> None:
    """Stand between a client and a device or broker, and delay, drop, damage or cut what passes."""
    asyncio.run(_serve(load_script(script), seconds, as_json))


async def _serve(script: Script, seconds: float | None, as_json: bool) -> None:
    with stop_signals() as stop:
        async with Proxy(script) as running:
            behind = f"{script.to[0]}:{script.to[1]}"
            console.print(f"proxy {script.listen[0]}:{running.port} -> {behind}, {len(script.faults)} faults")
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait([waiting], timeout=seconds)
            waiting.cancel()
            seen = running.seen
    said = {
        "connections": seen.connections,
        "requests": seen.requests,
        "replies": seen.replies,
        "writes": seen.writes,
        "functions": {str(code): count for code, count in sorted(seen.functions.items())},
        "faults": dict(sorted(seen.faults.items())),
    }
    if as_json:
        emit_json(said)
    else:
        console.print(", ".join(f"{value} {name}" for name, value in said.items()), soft_wrap=True)
