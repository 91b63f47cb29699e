"""`vpptwin run`: the whole loop over an emulated plant, from an empty folder to a report."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from controller.mechanism import names
from devices.emulator import Plant
from ledger.keys import KeyRing
from twin import conclusion, figures, folder, manifest
from twin.brokers import broker_of
from twin.clock import AnyClock, ScaledClock, Ticks, WallClock
from twin.data import DataSet
from twin.exits import UsageError
from twin.feed import Feed, start_us, wall_shift_us
from twin.memory import peak_mb
from twin.options import RunOptions
from twin.reporting import write_report_data
from twin.session import Session
from twin.site import Site, load_site
from twin.site.schema import MechanismSpec
from twin.site.start import start_refusal
from twin.span import instant_us, parse_start, period
from twin.stopping import Stop, stop_signals
from twin.summary import Summary

log = logging.getLogger(__name__)
Progress = Callable[[int, int, str], None]
"""(ticks done, ticks in all, what is going on)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is known before the first tick."""

    options: RunOptions
    feed: Feed
    clock: AnyClock
    start_us: int
    ticks: int
    """Steps of time; there is one more reading than steps."""
    out: Path

    @property
    def site(self) -> Site:
        """The site as it is run."""
        return self.feed.site


def prepare(options: RunOptions, out: Path | None, *, force: bool) -> Prepared:
    """Read and check all inputs, then make the run folder. Raises SiteError, DataError or UsageError."""
    site = load_site(Path(options.site), data=None if options.data is None else Path(options.data))
    if options.mechanism is not None:
        if options.mechanism not in names():
            raise UsageError(
                f"no mechanism {options.mechanism!r}", where="--mechanism", mend=f"installed: {', '.join(names())}"
            )
        site = replace(site, mechanism=MechanismSpec(options.mechanism, site.mechanism.budget))
    if options.lockstep and site.mechanism.budget.wall_s is not None:
        raise UsageError(
            "a budget in seconds in lockstep", where="mechanism.budget.wall_s", mend="leave it out, or --clock wall"
        )
    real = [link.id for link in site.links if link.real]
    if real and options.clock != "wall":
        raise UsageError(
            f"real devices on {', '.join(real)} live in real time", where="--clock", mend="run with --clock wall"
        )
    dataset = None if site.data is None else DataSet.open(site.data)
    now_us = WallClock().now_us()
    begin_us = (
        start_us(site, dataset, now_us) if options.start is None else instant_us(parse_start(options.start), site.zone)
    )
    shift_us = 0
    if options.clock == "wall":
        shift_us = wall_shift_us(site, dataset, now_us)
        tick_us = site.time.tick_s * 1_000_000
        begin_us = now_us - now_us % tick_us + tick_us
    feed = Feed(site, dataset, options.seed, shift_us)
    _check_span(feed, begin_us, options)
    ticks = math.ceil(options.hours * 3600 / site.time.tick_s)
    return Prepared(
        options, feed, options.make_clock(begin_us), begin_us, ticks, folder.prepare(out, site.id, force=force)
    )


def _check_span(feed: Feed, begin_us: int, options: RunOptions) -> None:
    """Refuse a start or an end outside the data, and a start off the slot's edge."""
    slot_us = feed.site.time.slot_s * 1_000_000
    if options.clock != "wall" and begin_us % slot_us:
        raise UsageError(
            "the start is not on a slot's edge",
            where="--start",
            mend=f"start at a multiple of {feed.site.time.slot_s} s",
        )
    if feed.dataset is None:
        return
    first_us, last_us = feed.dataset.span_us
    at_us = begin_us + feed.shift_us
    if refusal := start_refusal((first_us, last_us), at_us, feed.site.zone):
        raise UsageError(refusal[0], where="--start", mend=refusal[1])
    if at_us + options.hours * 3.6e9 > last_us:
        raise UsageError(
            f"the run {period(at_us, options.hours, feed.site.zone)} is not within the data "
            f"{period(first_us, (last_us - first_us) / 3.6e9, feed.site.zone)}",
            where="--start",
            mend="choose a start inside, or other --data",
        )


async def run(prepared: Prepared, progress: Progress) -> Summary:
    """Run it. The folder holds everything afterwards, also when the run was stopped (`summary.stopped`)."""
    began = time.perf_counter()
    keys = KeyRing.derived(prepared.options.seed)
    site = prepared.site
    with stop_signals() as stop:
        async with broker_of(site, fixed=prepared.options.ports == "fixed") as spec:
            plant = Plant(
                site.links,
                site.devices,
                prepared.clock,
                prepared.feed.power_w,
                broker=spec,
                site_id=site.id,
                seed=prepared.options.seed,
                ports=prepared.options.ports,
                physics_s=site.time.physics_s if prepared.clock.lockstep else 0.25,
                patient=not prepared.clock.lockstep,
            )
            async with (
                plant,
                Session(
                    prepared.feed, prepared.out, prepared.clock, keys, plant.links, spec, start_us=prepared.start_us
                ) as session,
            ):
                stop.then(session.worker.abandon)
                ticks = await _loop(prepared, plant, session, stop, progress)
                progress(ticks, prepared.ticks, "settling and comparing")
                ending = await conclusion.conclude(prepared.feed, session, stopped=stop.asked)
        summary = _summarise(prepared, session, ending, time.perf_counter() - began)
        progress(ticks, prepared.ticks, "writing the report")
        await _report(prepared.out)
    return summary


async def _loop(prepared: Prepared, plant: Plant, session: Session, stop: Stop, progress: Progress) -> int:
    """All ticks and the last reading; returns how many ticks there were."""
    tick_us, clock, service = prepared.site.time.tick_s * 1_000_000, prepared.clock, session.service
    background: list[asyncio.Task[None]] = []
    if isinstance(clock, ScaledClock):
        clock.begin()
    if not clock.lockstep:
        background = [asyncio.create_task(plant.serve())]
    count, t_us = 0, prepared.start_us
    try:
        ticks = Ticks(clock, prepared.start_us, tick_us, prepared.ticks + 1)
        stop.then(ticks.end)
        async for t_us in ticks:
            expected = await plant.step(t_us) if clock.lockstep else {}
            if count == prepared.ticks or stop.asked:
                await service.take_last(t_us, expected)
                break
            await service.tick(t_us, expected)
            for device in plant.real:
                plant.observe(device, service.image.value(device, "p_w", service.max_age_s))
            for task in background:
                if task.done():
                    task.result()
            count += 1
            progress(count, prepared.ticks, "")
        service.counts.skipped = ticks.skipped
        await service.finish(t_us)
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    return count


def _summarise(prepared: Prepared, session: Session, ending: conclusion.Ending, wall_s: float) -> Summary:
    """Write summary.json, report_data.json and manifest.json."""
    summary = figures.summary(prepared.feed, prepared.options, session, ending, wall_s, peak_mb())
    out = prepared.out
    (out / "summary.json").write_bytes(figures.encode(summary))
    write_report_data(prepared.feed, session, ending, out)
    made = manifest.made(
        prepared.options.plain(), prepared.feed.inputs, summary.ledger.root, [plan.id for plan in session.plans]
    )
    manifest.write(made, out)
    return summary


async def _report(out: Path) -> None:
    """Build report.html in a process of its own: plotly and the minute curves need memory that the service does not.

    In a session of its own too, so that a second Ctrl-C does not take the report away.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "twin.report", str(out)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    _, errors = await process.communicate()
    if process.returncode:
        log.error("no report: %s", errors.decode(errors="replace").strip())
