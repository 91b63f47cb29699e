"""A run's telemetry and ledger belong together: whatever is changed in the store is named."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.points import CATALOGUE, KIND_POINTS, quantised
from devices.readings import Quality, Reading
from ledger.bill import bill
from ledger.errors import LedgerError
from twin.audit import audit
from twin.metering import leaf, leaf_maker, leaves_of


@pytest.fixture
def copy(short_run: Path, tmp_path: Path) -> Path:
    """The short run, to be changed."""
    return Path(shutil.copytree(short_run, tmp_path / "run"))


def change(run: Path, statement: str, *values: object) -> int:
    """Execute on telemetry.db; returns how many rows changed."""
    with sqlite3.connect(run / "telemetry.db") as db:
        count = db.execute(statement, values).rowcount
    db.close()
    return count


def first_ts(run: Path, device: str, after: int = 20) -> int:
    with sqlite3.connect(run / "telemetry.db") as db:
        rows = db.execute("SELECT ts_us FROM meter WHERE device = ? ORDER BY ts_us", (device,)).fetchall()
    db.close()
    return int(rows[after][0])


def test_an_honest_run_has_no_finding(short_run: Path) -> None:
    report = audit(short_run)
    assert report.ok, report.findings
    assert len(report.logs) == 3


@pytest.mark.parametrize("recording", [True, False])
def test_one_changed_meter_reading_is_named(copy: Path, vpptwin: Callable[..., object], recording: bool) -> None:
    ts_us = first_ts(copy, "meter-1")
    assert change(copy, "UPDATE meter SET p_w = p_w + 1 WHERE device = 'meter-1' AND ts_us = ?", ts_us) == 1
    if not recording:
        shutil.rmtree(copy / "recording")
    text = vpptwin("ledger", "verify", copy, expect=1).stderr  # type: ignore[attr-defined]
    if recording:
        assert "meter-1 reading 2016-09-05T22:20:00Z: p_w is" in text
        assert "settled was" in text
    else:
        assert "meter-1 slot 2016-09-05T22:15:00Z" in text
        assert f"meter_1m: meter-1 minute {ts_us}" in text, "the roll-up still says which minute"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE meter SET e_imp_wh = e_imp_wh + 1 WHERE device = 'meter-1' AND ts_us = ?", "e_imp_wh is"),
        ("UPDATE meter SET quality = 1 WHERE device = 'meter-1' AND ts_us = ?", "quality is STALE, settled was GOOD"),
        ("UPDATE meter SET nonce = zeroblob(16) WHERE device = 'meter-1' AND ts_us = ?", "its nonce is not"),
        ("UPDATE meter SET quality = 9 WHERE device = 'meter-1' AND ts_us = ?", "meter-1"),
        ("UPDATE meter SET p_w = 9e999 WHERE device = 'meter-1' AND ts_us = ?", "p_w is inf"),
        ("UPDATE meter SET u1_v = NULL WHERE device = 'meter-1' AND ts_us = ?", "u1_v is None"),
        ("DELETE FROM meter WHERE device = 'meter-1' AND ts_us = ?", "is not stored, but was settled"),
    ],
)
def test_every_kind_of_change_of_a_reading_is_named(copy: Path, statement: str, said: str) -> None:
    assert change(copy, statement, first_ts(copy, "meter-1")) == 1
    report = audit(copy)
    assert not report.ok
    mine = [str(one) for one in report.findings if one.layer == "readings" and "meter-1" in one.where]
    assert any(said in one for one in mine), report.findings


def test_a_reading_that_was_put_in_is_named(copy: Path) -> None:
    ts_us = first_ts(copy, "meter-1")
    names = "device, seq, quality, nonce, p_w, e_imp_wh, e_exp_wh"
    statement = f"INSERT INTO meter (ts_us, {names}) SELECT ts_us + 1000000, {names} FROM meter"
    assert change(copy, f"{statement} WHERE device = 'meter-1' AND ts_us = ?", ts_us) == 1
    assert any("never received nor settled" in str(one) for one in audit(copy).findings)


def test_a_changed_roll_up_or_newest_reading_is_named(copy: Path) -> None:
    change(copy, "UPDATE last SET p_w = p_w + 1 WHERE device = 'meter-2'")
    change(copy, "UPDATE storage_1m SET p_w_mean = p_w_mean + 1 WHERE device = 'bat-1' AND ts_us = ?",
           first_ts(copy, "meter-1"))  # fmt: skip
    where = [one.what for one in audit(copy).findings]
    assert len(where) == 2
    assert where[0].startswith("last: meter-2") or where[1].startswith("last: meter-2")


def test_telemetry_that_was_removed_from_a_run_is_a_finding(copy: Path, vpptwin: Callable[..., object]) -> None:
    (copy / "telemetry.db").unlink()
    text = vpptwin("ledger", "verify", copy, expect=1).stderr  # type: ignore[attr-defined]
    assert re.search(r"telemetry\.db: is missing: \d+ readings were settled, none can be checked", text)


@pytest.mark.parametrize("stored", [True, False])
def test_entries_that_are_none_are_findings_and_no_fault_of_the_program(copy: Path, stored: bool) -> None:
    with sqlite3.connect(copy / "ledger" / "logs" / "party" / "home-1" / "ledger.db") as db:
        db.execute("UPDATE entry SET data = substr(data, 1, 60) WHERE kind IN ('metering', 'price')")
    db.close()
    if not stored:
        (copy / "telemetry.db").unlink()
    report = audit(copy)
    assert {"canon", "readings"} <= {one.layer for one in report.findings}
    with pytest.raises(LedgerError):
        bill(copy, "home-1", 0, 2**60)


def test_a_ledger_folder_alone_is_verified_without_telemetry(short_run: Path) -> None:
    assert audit(short_run / "ledger").ok


@st.composite
def readings(draw: st.DrawFn) -> tuple[str, Reading]:
    kind = draw(st.sampled_from(sorted(KIND_POINTS)))
    points = draw(st.lists(st.sampled_from(KIND_POINTS[kind]), unique=True))
    values = {name: quantised(name, draw(st.floats(-1e9, 1e9))) for name in points}
    good = {name: value for name, value in values.items() if value is not None}
    return kind, Reading("d", draw(st.integers(0, 2**52)), 1, Quality(draw(st.integers(0, 3))), good)


@given(readings(), st.binary(min_size=16, max_size=16))
def test_leaves_made_from_rows_are_those_made_from_readings(case: tuple[str, Reading], nonce: bytes) -> None:
    kind, one = case
    points = sorted(KIND_POINTS[kind])
    values = [one.values.get(name) for name in points]
    assert leaf_maker(points)(one.ts_us, int(one.quality), nonce, values) == leaf(one, nonce)
    assert set(points) <= CATALOGUE.keys()


@st.composite
def rows_of_a_device(draw: st.DrawFn) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Points and stored rows; columns whole, empty or with gaps, values that may be no number."""
    points = sorted(KIND_POINTS[draw(st.sampled_from(sorted(KIND_POINTS)))])
    value = st.one_of(st.floats(-1e9, 1e9), st.integers(-(2**62), 2**62))
    odd = st.one_of(value, st.none(), st.just(float("inf")))
    of = [draw(st.sampled_from([value, value, st.none(), odd])) for _ in points]
    row = st.tuples(st.integers(0, 2**52), st.just(1), st.integers(0, 3), st.binary(min_size=16, max_size=16), *of)
    return points, draw(st.lists(row, max_size=6))


@given(rows_of_a_device())
def test_leaves_by_columns_are_those_row_by_row(case: tuple[list[str], list[tuple[Any, ...]]]) -> None:
    points, rows = case
    make, wanted = leaf_maker(points), []
    for ts_us, _, quality, nonce, *values in rows:
        try:
            wanted.append(make(ts_us, quality, nonce, values))
        except OverflowError:
            wanted.append(b"")
    assert leaves_of(points, rows) == wanted


def test_points_out_of_order_make_no_leaves() -> None:
    with pytest.raises(ValueError, match="in order"):
        leaves_of(["p_w", "f_hz"], [])
