"""A lockstep day of homes.yaml: time, memory, ticks; also without the search for prices, and without mosquitto."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, figures
from benchmarks.modbus import READS, bare_day_s
from benchmarks.runs import HOMES, Run, run, variant


def main() -> None:
    """Print figures of both days beside the bare reads that such a day makes."""
    with tempfile.TemporaryDirectory(prefix="vpptwin-bench-") as name:
        folder = Path(name)
        full = run(HOMES, folder / "full")
        direct = variant(HOMES, folder, {"mechanism": {"budget": {"gap": 0.01, "rounds": 0, "iterations": 1}}})
        quick = run(direct, folder / "direct")
        embedded = run(variant(HOMES, folder, {"broker": {"embedded": True}}), folder / "embedded")
    bare_s = asyncio.run(bare_day_s())
    days = (
        ("whole day", full, 90),
        ("no intraday search (rounds 0, iterations 1)", quick, 60),
        ("with the embedded broker", embedded, 90),
    )
    figures([*(figure for day in days for figure in _seconds(*day, bare_s)), *_load(full)])


def _seconds(what: str, one: Run, most: float, bare_s: float) -> Iterator[Figure]:
    beside = f"its {READS:,} reads by bare pymodbus"
    yield Figure(f"{what}, wall", one.wall_s, "s", at_most=most, reference=bare_s, beside=beside)
    yield Figure(f"{what}, processor", one.cpu_s, "s", reference=bare_s, beside=beside)


def _load(full: Run) -> Iterator[Figure]:
    solves, load = full.summary.plans, full.summary.load
    yield Figure("window solve, median", solves.solve_s_p50 or 0.0, "s")
    yield Figure("window solve, 99 %", solves.solve_s_p99 or 0.0, "s")
    yield Figure("control tick without solves, median", 1e3 * (load.tick_s_p50 or 0.0), "ms")
    yield Figure("control tick without solves, 99 %", 1e3 * (load.tick_s_p99 or 0.0), "ms", at_most=50)
    yield Figure("service process, peak", load.service_mb, "MB", at_most=300)
    yield Figure("solver process, peak", load.worker_mb, "MB", at_most=700)
