"""The store: values a second to disk, beside one SQLite executemany of the same rows; what a reader sees meanwhile."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, figures
from devices.readings import Quality, Reading
from twin.recording import ReadingFrame, Recording, RecordingWriter
from twin.store import Store, StoreReader
from twin.store.table import ReadingItem

START_US = 1_473_058_800_000_000
DEVICES, SECONDS = 500, 120
GROUP = 40
"""Batches a transaction of the reference: 20,000 rows, as the store groups them."""
Batch = list[ReadingItem]


def main() -> None:
    """Print figures of store and recording for 500 meters at 1 Hz."""
    batches = _batches()
    with tempfile.TemporaryDirectory(prefix="vpptwin-bench-") as name:
        folder = Path(name)
        plain = _plain_sqlite(batches, folder)
        figures([*_storing(batches, folder, plain), *_recording(batches, folder)])


def _batches() -> list[Batch]:
    """A second of readings of all devices per batch, 11 values each."""
    return [[_item(device, second) for device in range(DEVICES)] for second in range(SECONDS)]


def _item(device: int, second: int) -> ReadingItem:
    values: dict[str, float | int] = {
        "p_w": (device * 37 + second * 11) % 5000,
        "q_var": second % 300,
        "e_imp_wh": 100_000 + second,
        "e_exp_wh": 50_000 + device,
        "u1_v": round(229.0 + (second % 30) / 10, 1),
        "u2_v": round(230.0 + (device % 30) / 10, 1),
        "u3_v": 230.4,
        "i1_a": round((second % 999) / 100, 2),
        "i2_a": 4.51,
        "i3_a": 4.49,
        "f_hz": round(49.99 + (second % 20) / 1000, 3),
    }
    reading = Reading(f"meter-{device:04d}", START_US + second * 1_000_000, second, Quality.GOOD, values)
    return reading, "meter", second.to_bytes(8, "big") + device.to_bytes(8, "big")


def _values(batches: list[Batch]) -> int:
    return sum(len(reading.values) for batch in batches for reading, _, _ in batch)


def _plain_sqlite(batches: list[Batch], folder: Path) -> float:
    """Values a second that bare sqlite3 takes: the same rows and settings, no roll-ups, no last values."""
    db = sqlite3.connect(folder / "plain.db", isolation_level=None)
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-16384", "wal_autocheckpoint=4000"):
        db.execute(f"PRAGMA {setting}")
    points = list(batches[0][0][0].values)
    db.execute(
        f"CREATE TABLE meter (device TEXT, ts_us INTEGER, seq INTEGER, quality INTEGER, nonce BLOB, "
        f"{', '.join(points)}, PRIMARY KEY (device, ts_us)) WITHOUT ROWID"
    )
    insert = f"INSERT INTO meter VALUES ({', '.join('?' * (5 + len(points)))})"
    began = time.perf_counter()
    for first in range(0, len(batches), GROUP):
        items = [item for batch in batches[first : first + GROUP] for item in batch]
        db.execute("BEGIN")
        db.executemany(insert, [(r.device, r.ts_us, r.seq, 0, nonce, *r.values.values()) for r, _, nonce in items])
        db.execute("COMMIT")
    took = time.perf_counter() - began
    db.close()
    return _values(batches) / took


def _storing(batches: list[Batch], folder: Path, plain: float) -> Iterator[Figure]:
    store = Store(folder / "telemetry.db", on_full="wait")
    store.start()
    stop, delays = threading.Event(), list[float]()
    watcher = threading.Thread(target=_watch, args=(store.path, stop, delays))
    watcher.start()
    began, longest = time.perf_counter(), 0.0
    for batch in batches:
        put = time.perf_counter()
        store.write_readings(batch)
        longest = max(longest, time.perf_counter() - put)
    store.flush()
    took = time.perf_counter() - began
    stop.set()
    watcher.join()
    store.close()
    values = _values(batches)
    beside = "bare sqlite3 without roll-ups and last values"
    yield Figure("store, values a second", values / took, "/s", reference=plain, beside=beside)
    yield Figure("store, bytes a value", store.path.stat().st_size / values, "B")
    yield Figure("store, longest hand-over of 500 readings", longest * 1e3, "ms")
    if delays:
        yield Figure("last values of all devices read meanwhile, median", sorted(delays)[len(delays) // 2] * 1e3, "ms")


def _watch(path: Path, stop: threading.Event, delays: list[float]) -> None:
    """Read the last values again and again while the writer works."""
    with StoreReader(path) as reader:
        while not stop.wait(0.05):
            began = time.perf_counter()
            reader.last()
            delays.append(time.perf_counter() - began)


def _recording(batches: list[Batch], folder: Path) -> Iterator[Figure]:
    values, path = _values(batches), folder / "log.bin"
    writer = RecordingWriter(path, site="bench", on_full="wait")
    began = time.perf_counter()
    writer.start()
    for batch in batches:
        writer.write([ReadingFrame.of(reading, kind, reading.ts_us) for reading, kind, _ in batch])
    writer.close()
    wrote = time.perf_counter() - began
    began = time.perf_counter()
    read = sum(len(frame.values) for frame in Recording(path) if isinstance(frame, ReadingFrame))
    took = time.perf_counter() - began
    if read != values:
        raise SystemExit(f"recording: {values} values written, {read} read")
    yield Figure("recording, values a second written", values / wrote, "/s")
    yield Figure("recording, values a second read", values / took, "/s")
    yield Figure("recording, bytes a value", path.stat().st_size / values, "B")
