"""`vpptwin devices`: the emulated plant alone, for any other client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from devices.emulator import Endpoint, Plant
from twin import logs
from twin.brokers import broker_of
from twin.cli.output import console, emit_line
from twin.clock import WallClock
from twin.data import DataSet
from twin.feed import Feed, wall_shift_us
from twin.site import Site, load_site
from twin.stopping import stop_signals

PHYSICS_S = 0.25


def devices(
    site: Annotated[Path, typer.Argument(help="Site file (YAML).")],
    data: Annotated[Path | None, typer.Option(help="Folder of tidy data, instead of the site's own.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the endpoints as JSON, one line each.")] = False,
) -> None:
    """Serve the emulated plant on the wall clock (real Modbus servers, MQTT publishers) until Ctrl-C."""
    found = load_site(site, data=data)
    with logs.as_json_lines():
        asyncio.run(_serve(found, seed, as_json))


async def _serve(site: Site, seed: int, as_json: bool) -> None:
    clock = WallClock()
    dataset = None if site.data is None else DataSet.open(site.data)
    feed = Feed(site, dataset, seed, wall_shift_us(site, dataset, clock.now_us()))
    with stop_signals() as stop:
        async with broker_of(site, fixed=True) as spec:
            plant = Plant(
                site.links,
                site.devices,
                clock,
                feed.power_w,
                broker=spec,
                site_id=site.id,
                seed=seed,
                ports="fixed",
                physics_s=PHYSICS_S,
            )
            async with plant:
                _show(plant.endpoints, as_json)
                task = asyncio.create_task(plant.serve())
                waiting = asyncio.create_task(stop.wait())
                await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                task.cancel()
                ended = await asyncio.gather(task, return_exceptions=True)
                if isinstance(ended[0], Exception):
                    raise ended[0]


def _show(endpoints: Sequence[Endpoint], as_json: bool) -> None:
    if as_json:
        for endpoint in endpoints:
            emit_line({name: value for name, value in asdict(endpoint).items() if value is not None})
        return
    table = Table(title="listening", title_justify="left")
    for name in ("device", "kind", "protocol", "address", "unit", "map or topic"):
        table.add_column(name)
    for one in endpoints:
        unit = "" if one.unit is None else str(one.unit)
        table.add_row(one.device, one.kind, one.protocol, f"{one.host}:{one.port}", unit, one.topic or one.map or "")
    console.print(table)
    console.print("Ctrl-C ends it.")
