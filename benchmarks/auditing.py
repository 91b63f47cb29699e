"""`vpptwin ledger verify` on a whole run: every rule, every reading, every roll-up, start of the program included."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, figures
from benchmarks.runs import HOMES, run, timed

TIMES = 7


def main() -> None:
    """Print figures of the run folder in BENCH_RUN, else of a whole day of homes.yaml as `make demo` makes it."""
    with tempfile.TemporaryDirectory(prefix="vpptwin-bench-") as name:
        folder = Path(os.environ.get("BENCH_RUN", name))
        if "BENCH_RUN" not in os.environ:
            folder /= "run"
            run(HOMES, folder)
        figures(verification(folder))


def verification(folder: Path) -> Iterator[Figure]:
    """Medians of several whole calls, the first of which, with cold files, does not count."""
    taken = [timed("ledger", "verify", str(folder)) for _ in range(TIMES + 1)][1:]
    wall_s, cpu_s = (statistics.median(column) for column in zip(*taken, strict=True))
    yield Figure("ledger verify of a whole run, wall", wall_s, "s", at_most=2)
    yield Figure("ledger verify of a whole run, processor", cpu_s, "s")
