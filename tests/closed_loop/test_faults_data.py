"""Data with holes and days whose clocks change: the run goes on, and what is not known is said to be an estimate."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from devices.readings import Quality
from ledger import show
from ledger.places import MAIN
from twin.store import StoreReader

HOMES = Path(__file__).parents[2] / "examples" / "data" / "homes"


@pytest.fixture(scope="module")
def gap(run_here: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three hours, of which the recording of home 1 lacks two: 15:00 to 17:00 UTC."""
    data = tmp_path_factory.mktemp("gap") / "data"
    shutil.copytree(HOMES, data)
    path = data / "home-1.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    kept = [line for line in lines if line[:20] not in ("2016-09-05T15:00:00Z", "2016-09-05T16:00:00Z")]
    assert len(kept) == len(lines) - 2
    path.write_bytes(gzip.compress("\n".join([*kept, ""]).encode()))
    return run_here(data=str(data), start="2016-09-05T14:30+00:00", hours=3)


def test_readings_in_a_gap_of_hours_are_flagged_and_hold_no_invented_power(gap: Any) -> None:
    rows = gap.rows("SELECT quality, p_w, e_imp_wh FROM meter WHERE device = 'meter-1' ORDER BY ts_us")
    bad = [index for index, (quality, _, _) in enumerate(rows) if quality == Quality.BAD]
    assert bad == list(range(31, 151)), "the minutes that end in the gap"
    assert all(rows[index][1] is None and rows[index][2] is not None for index in bad)
    assert all(p_w is not None for quality, p_w, _ in rows if quality == Quality.GOOD)


def test_a_run_goes_on_through_a_gap_and_says_what_is_estimated(gap: Any) -> None:
    assert (gap.summary.slots, gap.summary.plans.kept) == (12, 0)
    assert (gap.summary.telemetry.missing, gap.summary.telemetry.lost) == (0, 0)
    assert gap.summary.cost.actual is not None
    qualities = gap.qualities("meter-1")
    assert qualities[2:10] == ["estimated"] * 8
    assert {*qualities[:2], qualities[-1]} == {"actual"}
    assert gap.qualities("meter-2") == ["actual"] * 12
    assert gap.events("meter-1") == ["reads no valid power", "valid readings again after 120 min"]
    assert gap.events("slot 2016-09-05T15:00:00Z") == ["energy estimated for meter-1"]
    assert "2016-09-05T15:00:00Z: energy estimated for meter-1" in gap.log
    assert "energy estimated for meter-1" in gap.report


@pytest.mark.parametrize(
    ("start", "slots"), [("2016-11-05T23:00", 100), ("2017-03-11T23:00", 92)], ids=["25 hours", "23 hours"]
)
def test_a_day_whose_clocks_change_is_planned_whole_and_run_through(
    run_here: Callable[..., Any], start: str, slots: int
) -> None:
    done = run_here(start=start, hours=5)
    assert (done.summary.slots, done.summary.plans.day_ahead, done.summary.plans.kept) == (20, 2, 0)
    assert (done.summary.telemetry.missing, done.summary.telemetry.lost) == (0, 0)
    with StoreReader(done.folder / "telemetry.db") as reader:
        assert [row.plan.slots for row in reader.plans("day_ahead")] == [4, slots]
    priced = [entry["body"]["slot"] for entry in show.entries(done.folder, type="price", limit=1_000, name=MAIN)]
    assert {after - before for before, after in pairwise(priced)} == {900_000_000}, "no slot is skipped or told twice"
