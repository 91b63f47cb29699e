"""Fixtures of the controller's tests: what was measured in the example's homes."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from controller.forecast import History, Kind

HOMES = Path(__file__).parents[2] / "examples" / "data" / "homes"


@pytest.fixture(scope="session")
def measured() -> History:
    """Demand and PV of the 8 measured homes, W, all hours that the data holds; unmeasured ones are NaN."""
    rows: dict[str, dict[int, float]] = {}
    for path in sorted(HOMES.glob("home-*.csv.gz")):
        home = path.name.split(".")[0]
        with gzip.open(path, "rt") as file:
            for line in csv.DictReader(file):
                hour = int(datetime.fromisoformat(line["ts_utc"]).timestamp()) // 3600
                for kind in ("load", "pv"):
                    if line[f"{kind}_kwh"]:
                        rows.setdefault(f"{kind}/{home}", {})[hour] = float(line[f"{kind}_kwh"]) * 1000
    first, last = min(min(row) for row in rows.values()), max(max(row) for row in rows.values())
    series = {name: np.full(last - first + 1, np.nan) for name in rows}
    for name, row in rows.items():
        series[name][np.array(list(row)) - first] = list(row.values())
    kinds: dict[str, Kind] = {name: "pv" if name.startswith("pv/") else "load" for name in rows}
    quarters = {name: np.repeat(row, 4) for name, row in series.items()}
    return History(first * 3_600_000_000, 900, quarters, kinds, "America/Los_Angeles")
