"""The store keeps what it acknowledged, once, and says when it cannot."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from controller.plan import Certificate, Plan, sealed
from devices.points import CATALOGUE, KIND_POINTS, quantised
from devices.readings import Quality, Reading
from twin.store import CommandRow, EventRow, ForecastRows, Store, StoreError, StoreReader
from twin.store import schema as store_schema
from twin.store.batching import BatchThread

T0 = 1_473_058_800_000_000
MINUTE = 60_000_000


def nonce(k: int) -> bytes:
    return k.to_bytes(16, "big", signed=True)


def meter(device: str, ts_us: int, seq: int = 0, quality: Quality = Quality.GOOD, **values: float) -> Reading:
    return Reading(device, ts_us, seq, quality, values)


def store_at(path: Path, **options: object) -> Store:
    store = Store(path, interval_s=0.05, **options)  # type: ignore[arg-type]
    store.start()
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.db"


def values_of(point: str) -> st.SearchStrategy[float | int]:
    if CATALOGUE[point].integer:
        return st.integers(0, 2**53)
    raw = st.floats(-1e7, 1e7, allow_nan=False)
    return raw.map(lambda value: quantised(point, value)).filter(lambda value: value is not None)  # type: ignore[return-value]


def readings_of(kind: str) -> st.SearchStrategy[tuple[Reading, str, bytes]]:
    values = st.fixed_dictionaries({}, optional={point: values_of(point) for point in KIND_POINTS[kind]})
    return st.builds(
        lambda device, ts, seq, quality, found, salt: (
            Reading(f"{kind}-{device}", ts, seq, quality, found),
            kind,
            salt,
        ),
        st.integers(1, 3),
        st.integers(T0, T0 + 4 * MINUTE),
        st.integers(0, 2**31),
        st.sampled_from(Quality),
        values,
        st.binary(min_size=16, max_size=16),
    )


@given(st.lists(st.sampled_from(sorted(KIND_POINTS)).flatmap(readings_of), max_size=25))
@settings(max_examples=25, deadline=None)
def test_what_is_written_is_read_back_and_roll_ups_follow(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[Reading, str, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("store") / "telemetry.db"
    store = Store(path, interval_s=0.0)
    store.start()
    for item in items:
        store.write_readings([item])
    store.close()
    kept: dict[tuple[str, int], tuple[Reading, bytes]] = {}
    for reading, _, salt in items:
        held = kept.get((reading.device, reading.ts_us))
        if held is None or reading.seq >= held[0].seq:
            kept[reading.device, reading.ts_us] = (reading, salt)
    with StoreReader(path) as reader:
        found = [tuple(row) for device in reader.devices() for row in reader.readings(device)]
        assert found == [kept[key] for key in sorted(kept)]
        assert reader.findings() == []
    assert (store.counts.readings_stored, store.counts.dropped) == (len(items), 0)


def test_rewriting_the_same_readings_changes_nothing(path: Path) -> None:
    items = [(meter("meter-1", T0 + k * MINUTE, k, p_w=float(k)), "meter", nonce(k)) for k in range(50)]
    for _ in range(2):
        store = store_at(path)
        store.write_readings(items)
        store.close()
    with StoreReader(path) as reader:
        assert [row.reading for row in reader.readings("meter-1")] == [item[0] for item in items]
        assert reader.minutes("meter-1", "p_w").number.tolist() == [1] * 50


def test_series_has_nan_where_a_sample_lacks_the_point_or_is_bad(path: Path) -> None:
    store = store_at(path)
    rows = [
        meter("meter-1", T0, p_w=5.0),
        meter("meter-1", T0 + 1, q_var=2.0),
        meter("meter-1", T0 + 2, quality=Quality.BAD, p_w=9.0),
        meter("meter-1", T0 + 3, quality=Quality.STALE, p_w=0.0),
    ]
    store.write_readings([(row, "meter", nonce(0)) for row in rows])
    store.close()
    with StoreReader(path) as reader:
        times, values = reader.series("meter-1", "p_w")
        assert times.tolist() == [T0, T0 + 1, T0 + 2, T0 + 3]
        np.testing.assert_array_equal(values, [5.0, math.nan, math.nan, 0.0])
        assert [len(part) for part in reader.series("meter-1", "p_w", T0 + 1, T0 + 3)] == [2, 2]
        assert [len(part) for part in reader.series("nobody", "p_w")] == [0, 0]


def test_minutes_hold_least_mean_greatest_and_survive_late_readings(path: Path) -> None:
    store = store_at(path)
    for second in (0, 20, 40, 60, 61):
        store.write_readings([(meter("bat-1", T0 + second * 1_000_000, p_w=float(second)), "storage", nonce(second))])
        store.flush()
    store.write_readings([(meter("bat-1", T0 + 30_000_000, p_w=-90.0), "storage", nonce(1))])
    store.close()
    with StoreReader(path) as reader:
        minutes = reader.minutes("bat-1", "p_w")
        assert (minutes.low.tolist(), minutes.mean.tolist()) == ([-90.0, 60.0], [-7.5, 60.5])
        assert (minutes.high.tolist(), minutes.number.tolist()) == ([40.0, 61.0], [4, 2])
        assert reader.findings() == []


def test_a_changed_roll_up_or_last_value_is_found(path: Path) -> None:
    store = store_at(path)
    store.write_readings([(meter("meter-1", T0 + k * MINUTE, k, p_w=100.0), "meter", nonce(k)) for k in range(3)])
    store.close()
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE meter_1m SET p_w_mean = 99 WHERE ts_us = ?", (T0 + MINUTE,))
        db.execute("UPDATE last SET p_w = 1")
    db.close()
    with StoreReader(path) as reader:
        assert [line.split(":")[0] for line in reader.findings()] == ["meter_1m", "last"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE meter_1m SET n = n + 1 WHERE ts_us = {1}",
        "UPDATE meter_1m SET quality = 3 WHERE ts_us = {1}",
        "UPDATE meter_1m SET p_w_min = NULL WHERE ts_us = {1}",
        "UPDATE meter_1m SET p_w_max = p_w_max + 1e-7 WHERE ts_us = {1}",
        "UPDATE meter_1m SET u1_v_n = 1 WHERE ts_us = {1}",
        "UPDATE meter_1m SET ts_us = ts_us + 1 WHERE ts_us = {1}",
        "UPDATE meter_1m SET device = 'meter-3' WHERE ts_us = {1}",
        "DELETE FROM meter_1m WHERE ts_us = {1}",
        "DELETE FROM meter WHERE ts_us = {1}",
        "UPDATE meter SET ts_us = {1} + 1000000 WHERE ts_us = {0}",
        "UPDATE meter SET p_w = p_w + 1e-9 WHERE ts_us = {1}",
    ],
)
def test_the_quick_check_of_roll_ups_sees_what_the_thorough_one_names(path: Path, change: str) -> None:
    store = store_at(path)
    store.write_readings([(meter("meter-1", T0 + k * MINUTE, k, p_w=100.0), "meter", nonce(k)) for k in range(3)])
    store.close()
    query = store_schema.rollup_check("meter")
    with sqlite3.connect(path) as db:
        assert db.execute(query).fetchone() == (1,)
        assert db.execute(change.format(T0, T0 + MINUTE)).rowcount == 1
    with sqlite3.connect(path) as db:
        assert db.execute(query).fetchone() == (0,)
    db.close()
    with StoreReader(path) as reader:
        assert any(line.startswith("meter_1m") for line in reader.findings())


def test_last_is_the_newest_sample_whatever_the_order_of_arrival(path: Path) -> None:
    store = store_at(path)
    for ts, seq in ((5, 1), (9, 2), (7, 3), (9, 1)):
        store.write_readings([(meter("meter-1", T0 + ts, seq, p_w=float(10 * ts + seq)), "meter", nonce(seq))])
        store.flush()
    with StoreReader(path) as reader:
        assert reader.last() == {"meter-1": meter("meter-1", T0 + 9, 2, p_w=92.0)}
    store.close()


def plan_of(start_us: int) -> Plan:
    certificate = Certificate(
        objective=1.5, bound=None, gap=None, residuals={}, deviation_gain=None, optimal="heuristic", solver="s",
        version="1", work={"rounds": 2},
    )  # fmt: skip
    return sealed(
        Plan(
            id="", mechanism="twostage", stage="intraday", start_us=start_us, slot_s=900, orders={"bat-1": None},
            buy_per_kwh={"home-1": (0.2,)}, sell_per_kwh={"home-1": (0.1,)}, energy_wh={"home-1": (3,)},
            payment_micro={"home-1": (-600,), "vpp": (600,)}, certificate=certificate,
        )
    )  # fmt: skip


def test_commands_plans_forecasts_and_events_come_back_as_written(path: Path) -> None:
    commands = [
        CommandRow(T0, "bat-1", "p_set_w", -1500.0, "queued", "cover", "p1"),
        CommandRow(T0 + 5, "bat-1", "p_set_w", -1500.0, "verified", readback=-1500.0),
        CommandRow(T0 + 6, "pv-1", "p_max_w", None, "queued", "release"),
    ]
    events = [EventRow(T0 + 2, "error", "device does not answer", "bat-2"), EventRow(T0 + 1, "info", "start")]
    plan = plan_of(T0)
    forecast = ForecastRows("home-1/load", T0, T0 - 1, T0, 900, {0.5: (1.0, 2.5), 0.9: (2.0, math.nan)}, "persistence")
    store = store_at(path)
    store.write_commands(commands)
    store.write_plan(plan, T0 + 3, T0 + 2)
    beside = structs.replace(forecast, source="similar-days", quantiles={0.9: (7.0, 8.0)})
    for _ in range(2):
        store.write_forecast(forecast)
        store.write_forecast(beside)
    store.write_forecast(structs.replace(beside, quantiles={0.9: (7.0,)}))  # of the window: shorter
    for event in events:
        store.write_event(event)
    store.close()
    with StoreReader(path) as reader:
        assert reader.commands() == commands
        assert reader.commands("pv-1") == commands[2:]
        assert [(row.plan, row.issued_us, row.newest_input_us) for row in reader.plans()] == [(plan, T0 + 3, T0 + 2)]
        assert reader.plans("day_ahead") == []
        assert [row[3] for row in reader.forecasts()] == ["persistence", "similar-days"]
        assert [(row.source, row.quantiles[0.9][0]) for row in reader.each_forecast()] == [
            ("persistence", 2.0),
            ("similar-days", 7.0),
        ]
        assert reader.forecasts()[0] == ("home-1/load", T0, T0 - 1, "persistence")
        times, values = reader.forecast("home-1/load", T0, "persistence", 0.9)
        np.testing.assert_array_equal(times, [T0, T0 + 900_000_000])
        np.testing.assert_array_equal(values, [2.0, math.nan])
        _, values = reader.forecast("home-1/load", T0, "similar-days", 0.9)
        np.testing.assert_array_equal(values, [7.0, 8.0])
        assert reader.events() == [events[1], events[0]]
    assert (store.counts.stored, store.counts.readings_stored) == (11, 0)


def test_a_plan_or_forecast_that_knew_the_future_is_refused(path: Path) -> None:
    store = store_at(path)
    with pytest.raises(StoreError, match="received before they were issued"):
        store.write_plan(plan_of(T0), T0, T0 + 1)
    with pytest.raises(StoreError, match="received before they were issued"):
        store.write_forecast(ForecastRows("s", T0, T0 + 1, T0, 900, {0.5: (1.0,)}, "x"))
    store.close()


def test_a_point_new_to_a_kind_gets_a_column_and_an_unknown_one_is_refused(path: Path) -> None:
    store = store_at(path)
    reading = meter("turbine", T0, p_w=1.0, q_var=7.0)
    store.write_readings([(reading, "turbine", nonce(0))])
    with pytest.raises(StoreError, match=r"unknown points p_kw; add them to devices/points\.py"):
        store.write_readings([(meter("turbine", T0, p_kw=1.0), "turbine", nonce(0))])
    with pytest.raises(StoreError, match="unknown kind 'boat'"):
        store.write_readings([(meter("b", T0, p_w=1.0), "boat", nonce(0))])
    with pytest.raises(StoreError, match="nonce of 3 bytes"):
        store.write_readings([(reading, "turbine", b"abc")])
    store.close()
    with StoreReader(path) as reader:
        assert reader.readings("turbine")[0].reading == reading


def test_a_newer_store_is_refused_with_the_version_needed(path: Path) -> None:
    store_at(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={store_schema.VERSION + 1}")
    db.close()
    needed = f"use a vpptwin that knows store version {store_schema.VERSION + 1}"
    with pytest.raises(StoreError, match=needed):
        Store(path).start()
    with pytest.raises(StoreError, match=needed):
        StoreReader(path)


def test_a_store_made_by_an_older_catalogue_gains_the_missing_columns(path: Path) -> None:
    store_at(path).close()
    db = sqlite3.connect(path)
    db.execute("ALTER TABLE storage DROP COLUMN soh_pu")
    db.execute("ALTER TABLE last DROP COLUMN soh_pu")
    db.close()
    store = store_at(path)
    store.write_readings([(meter("bat-1", T0, soh_pu=0.98), "storage", nonce(0))])
    store.close()
    with StoreReader(path) as reader:
        assert reader.last()["bat-1"].values == {"soh_pu": 0.98}
        assert reader.findings() == []


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("power-safe", 2)])
def test_durability_sets_how_often_the_disk_is_waited_for(path: Path, durability: str, level: int) -> None:
    db = store_schema.open_writer(path, durability)  # type: ignore[arg-type]
    assert db.execute("PRAGMA synchronous").fetchone() == (level,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


@pytest.mark.parametrize("what", ["text", "folder", "foreign", "missing"])
def test_a_file_that_is_no_store_is_named_with_the_mend(path: Path, what: str) -> None:
    if what == "text":
        path.write_text("not a database, but long enough to be taken for one " * 20)
    elif what == "folder":
        path.mkdir()
    elif what == "foreign":
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE t (x)")
        db.close()
    with pytest.raises(StoreError, match=r"telemetry\.db: .*; "):
        StoreReader(path)
    if what != "missing":
        with pytest.raises(StoreError, match=r"telemetry\.db: .*; "):
            Store(path).start()


def test_readers_see_committed_rows_while_the_writer_is_open(path: Path) -> None:
    store = store_at(path)
    store.write_readings([(meter("meter-1", T0, p_w=1.0), "meter", nonce(0))])
    store.flush()
    with StoreReader(path) as reader:
        assert reader.last()["meter-1"].values == {"p_w": 1.0}
        store.write_readings([(meter("meter-1", T0 + 1, 1, p_w=2.0), "meter", nonce(1))])
        store.flush()
        assert reader.last()["meter-1"].values == {"p_w": 2.0}
        store.close()
    with StoreReader(path) as reader:
        assert len(reader.readings("meter-1")) == 2


def test_a_closed_store_is_one_file(path: Path) -> None:
    store = store_at(path)
    store.write_readings([(meter("meter-1", T0, p_w=1.0), "meter", nonce(0))])
    store.close()
    store.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["telemetry.db"]
    with pytest.raises(StoreError, match="closed"):
        store.write_event(EventRow(T0, "info", "late"))


def test_a_full_queue_drops_and_counts_or_waits() -> None:
    gate, seen = threading.Event(), list[int]()

    def commit(batch: object) -> None:
        gate.wait(10)
        seen.extend(batch)  # type: ignore[arg-type]

    dropping: BatchThread[int] = BatchThread("t", commit, (OSError,), interval_s=0, limit_rows=5)
    assert dropping.put(list(range(8))) == 5
    gate.set()
    dropping.start()
    dropping.close()
    assert (seen, dropping.committed, dropping.dropped) == ([0, 1, 2, 3, 4], 5, 3)
    seen.clear()
    waiting: BatchThread[int] = BatchThread("t", commit, (OSError,), interval_s=0, limit_rows=5, on_full="wait")
    waiting.start()
    for k in range(200):
        waiting.put([k])
    waiting.close()
    assert (seen, waiting.dropped) == (list(range(200)), 0)


def test_a_failed_batch_is_counted_and_raised_by_flush() -> None:
    def commit(batch: object) -> None:
        raise OSError("disk is gone")

    thread: BatchThread[int] = BatchThread("t", commit, (OSError,), interval_s=0)
    thread.start()
    thread.put([1, 2])
    with pytest.raises(StoreError, match="disk is gone"):
        thread.flush()
    thread.close()
    assert (thread.committed, thread.dropped) == (0, 2)


CHILD = """
import sys
from pathlib import Path
from devices.readings import Quality, Reading
from twin.store import Store
store = Store(Path(sys.argv[1]), interval_s=0.02)
store.start()
k = 0
while True:
    rows = [Reading(f"meter-{d}", 1_473_058_800_000_000 + k * 1_000_000, k, Quality.GOOD, {"p_w": float(k)})
            for d in range(20)]
    store.write_readings([(row, "meter", k.to_bytes(16, "big")) for row in rows])
    store.flush()
    print(k, flush=True)
    k += 1
"""


@pytest.mark.parametrize("acknowledged", [1, 40, 150])
def test_nothing_acknowledged_is_lost_by_kill_9(path: Path, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = -1
        while last < acknowledged:
            last = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
    with StoreReader(path) as reader:
        for device in range(20):
            _, values = reader.series(f"meter-{device}", "p_w")
            assert values.tolist()[: last + 1] == list(range(last + 1))
        assert reader.findings() == []
    store = store_at(path)
    store.write_readings([(meter("meter-0", T0 + 10**10, 9999, p_w=1.0), "meter", nonce(1))])
    store.close()
    with StoreReader(path) as reader:
        assert reader.findings() == []
        minutes = reader.minutes("meter-0", "p_w")
        assert minutes.number.sum() == len(reader.readings("meter-0"))
