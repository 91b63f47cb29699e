"""`vpptwin serve`: the service alone, against real or separately emulated devices."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ledger.keys import KeyRing
from twin import conclusion, figures, folder, logs
from twin.brokers import broker_of
from twin.cli.output import console
from twin.cli.overview import overview
from twin.clock import Ticks, WallClock
from twin.data import DataSet
from twin.feed import Feed, wall_shift_us
from twin.memory import peak_mb
from twin.options import RunOptions
from twin.reporting import write_report_data
from twin.session import Session
from twin.site import load_site
from twin.stopping import stop_signals
from twin.summary import FILE, Summary


def serve(
    site: Annotated[Path, typer.Argument(help="Site file (YAML).")],
    data: Annotated[Path | None, typer.Option(help="Folder of tidy data for prices and the forecasts' past.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<site>-<n>.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Measure, plan, dispatch and settle on the wall clock until Ctrl-C; devices are where the site file says.

    It ends with a summary of what it settled.
    """
    found = load_site(site, data=data)
    clock = WallClock()
    dataset = None if found.data is None else DataSet.open(found.data)
    feed = Feed(found, dataset, 0, wall_shift_us(found, dataset, clock.now_us()))
    run_dir = folder.prepare(out, found.id, force=force)
    console.print(f"serving {found.id} into {run_dir}; Ctrl-C releases all setpoints and ends", soft_wrap=True)
    with logs.as_json_lines():
        summary = asyncio.run(_serve(feed, run_dir, clock))
    console.print(overview(summary))
    console.print(f"stopped; `vpptwin ledger verify {run_dir}` checks what was settled", soft_wrap=True)


async def _serve(feed: Feed, run_dir: Path, clock: WallClock) -> Summary:
    site, began_us = feed.site, clock.now_us()
    tick_us = site.time.tick_s * 1_000_000
    start_us = began_us // tick_us * tick_us + tick_us
    with stop_signals() as stop:
        async with (
            broker_of(site, fixed=True) as spec,
            Session(feed, run_dir, clock, KeyRing.random(), site.links, spec, start_us=start_us) as session,
        ):
            ticks = Ticks(clock, start_us, tick_us, None)
            stop.then(ticks.end)
            t_us = start_us
            async for t_us in ticks:
                if stop.asked:
                    break
                await session.service.tick(t_us)
            session.service.counts.skipped = ticks.skipped
            await session.service.finish(t_us)
            ending = await conclusion.conclude(feed, session, stopped=True, compare=False)
    wall_s = (clock.now_us() - began_us) / 1e6
    options = RunOptions(site=str(site.path), clock="wall", ports="fixed")
    summary = figures.summary(feed, options, session, ending, wall_s, peak_mb())
    (run_dir / FILE).write_bytes(figures.encode(summary))
    write_report_data(feed, session, ending, run_dir)
    return summary
