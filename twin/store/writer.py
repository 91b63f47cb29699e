"""Store: the one writer of telemetry.db."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.plan import Plan
from devices.points import CATALOGUE, KIND_POINTS
from devices.readings import Reading
from twin.store import schema
from twin.store.batching import BatchThread, OnFull
from twin.store.beside import STATEMENTS
from twin.store.errors import StoreError
from twin.store.rows import CommandRow, EventRow, ForecastRows, PlanRow
from twin.store.table import ReadingItem, ReadingTable

Item = ReadingItem | CommandRow | PlanRow | ForecastRows | EventRow
NONCE_BYTES = 16
_RETRIES = 20
_RETRY_S = 0.25
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows so far: `stored` committed, `dropped` refused by a full queue or lost with a failed batch."""

    stored: int
    dropped: int
    readings_stored: int
    readings_dropped: int


class Store:
    """Takes rows from the event loop without waiting and commits them in groups from its own thread.

    A row is acknowledged when flush() returns; a killed process loses none of those (a power cut may lose the last
    fraction of a second unless durability is `power-safe`). Rewriting a (device, ts_us) is idempotent; of two readings
    with one time stamp the one with the higher seq stays. on_full `wait` is for lockstep.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: schema.Durability = "normal",
        interval_s: float = 0.5,
        limit_rows: int = 200_000,
        on_full: OnFull = "drop",
    ) -> None:
        self.path = path
        self._durability = durability
        self._db: sqlite3.Connection | None = None
        self._known: dict[str, frozenset[str]] = {}
        self._tables: dict[str, ReadingTable] = {}
        self._readings_stored = self._readings_dropped = 0
        self._pause = threading.Event()
        self._thread: BatchThread[Item] = BatchThread(
            f"store {path.name}",
            self._commit,
            (sqlite3.Error, OverflowError),
            interval_s=interval_s,
            limit_rows=limit_rows,
            on_full=on_full,
        )

    def start(self) -> None:
        """Open the file (created if absent) and start writing. Raises StoreError with what to mend."""
        self._db = schema.open_writer(self.path, self._durability)
        for kind in KIND_POINTS:
            self._table(self._db, kind)
        for device, kind, ts_us in self._db.execute("SELECT device, kind, ts_us FROM last"):
            self._tables[kind].resume(device, ts_us)
        self._thread.start()

    def write_readings(self, items: Sequence[ReadingItem]) -> int:
        """Queue readings with their device's kind and nonce; returns how many were taken."""
        for reading, kind, nonce in items:
            if not reading.values.keys() <= self._known.get(kind, frozenset()):
                self._check_points(reading, kind)
            if len(nonce) != NONCE_BYTES:
                raise StoreError(f"nonce of {len(nonce)} bytes", where=reading.device, mend=f"give {NONCE_BYTES} bytes")
        taken = self._thread.put(items)
        self._readings_dropped += len(items) - taken
        return taken

    def write_commands(self, commands: Sequence[CommandRow]) -> int:
        """Queue setpoint transitions."""
        return self._thread.put(commands)

    def write_plan(self, plan: Plan, issued_us: int, newest_input_us: int) -> int:
        """Queue a plan. Raises StoreError if it used an input younger than itself."""
        _check_past(plan.id, issued_us, newest_input_us)
        return self._thread.put([PlanRow(plan, issued_us, newest_input_us)])

    def write_forecast(self, forecast: ForecastRows) -> int:
        """Queue a forecast. Raises StoreError if it used an input younger than itself."""
        _check_past(forecast.series, forecast.issued_us, forecast.newest_input_us)
        return self._thread.put([forecast])

    def write_event(self, event: EventRow) -> int:
        """Queue an event."""
        return self._thread.put([event])

    def flush(self, timeout_s: float = 60.0) -> None:
        """Block until everything written so far is committed. Raises StoreError if rows were lost."""
        self._thread.flush(timeout_s)

    def close(self) -> None:
        """Commit the rest, complete the roll-ups and leave one plain file. Raises StoreError if rows were lost."""
        if self._db is None:
            return
        db = self._db
        try:
            self._thread.close()
            self._finish(db)
        finally:
            db.close()
            self._db = None

    @property
    def counts(self) -> Counts:
        """What became of the rows so far."""
        return Counts(self._thread.committed, self._thread.dropped, self._readings_stored, self._readings_dropped)

    def _finish(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        for table in self._tables.values():
            table.roll_open(db)
        db.execute("COMMIT")
        try:
            # A plain file without -wal and -shm is readable from read-only media; not possible while others read.
            db.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError:
            _log.info("%s stays in WAL mode: another process reads it", self.path.name)

    def _check_points(self, reading: Reading, kind: str) -> None:
        if kind not in KIND_POINTS:
            raise StoreError(f"unknown kind {kind!r}", where=reading.device, mend=f"one of {', '.join(KIND_POINTS)}")
        unknown = sorted(reading.values.keys() - CATALOGUE.keys())
        if unknown:
            raise StoreError(
                f"unknown points {', '.join(unknown)}", where=reading.device, mend="add them to devices/points.py"
            )

    def _table(self, db: sqlite3.Connection, kind: str) -> None:
        previous = self._tables.get(kind)
        columns = schema.columns_of(db, kind)
        points = tuple(name for name in columns if name in CATALOGUE)
        self._tables[kind] = ReadingTable(kind, points, previous.open_minute if previous else {})
        self._known[kind] = frozenset(points)

    def _commit(self, batch: Sequence[Item]) -> None:
        """One transaction, retried while the disk is full or the file locked; raises sqlite3.Error in the end."""
        db = self._db
        assert db is not None, "start() opens the file before the thread runs"
        readings, others = _sorted_by_type(batch)
        for attempt in range(_RETRIES + 1):
            try:
                self._transaction(db, readings, others)
                break
            except (sqlite3.Error, OverflowError) as error:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                for kind in readings:
                    self._table(db, kind)  # a column added in this transaction is gone again
                if attempt == _RETRIES or not isinstance(error, sqlite3.OperationalError):
                    self._readings_dropped += sum(map(len, readings.values()))
                    raise
                _log.warning("store: commit failed (%s), trying again", error)
                self._pause.wait(_RETRY_S)
        for kind, items in readings.items():
            self._tables[kind].committed(items)
        self._readings_stored += sum(map(len, readings.values()))

    def _transaction(
        self, db: sqlite3.Connection, readings: dict[str, list[ReadingItem]], others: dict[type, list[Any]]
    ) -> None:
        db.execute("BEGIN IMMEDIATE")
        for kind, items in readings.items():
            needed = {point for reading, _, _ in items for point in reading.values} - self._known[kind]
            if needed:
                schema.add_points(db, kind, sorted(needed))
                self._table(db, kind)
            self._tables[kind].write(db, items)
        for row_type, rows in others.items():
            for statement, encode in STATEMENTS[row_type]:
                db.executemany(statement, [values for row in rows for values in encode(row)])
        db.execute("COMMIT")


def _check_past(what: str, issued_us: int, newest_input_us: int) -> None:
    if newest_input_us > issued_us:
        raise StoreError(
            f"issued at {issued_us} µs from an input of {newest_input_us} µs",
            where=what,
            mend="plans and forecasts may use only what was received before they were issued",
        )


def _sorted_by_type(batch: Sequence[Item]) -> tuple[dict[str, list[ReadingItem]], dict[type, list[Any]]]:
    readings: dict[str, list[ReadingItem]] = defaultdict(list)
    others: dict[type, list[Any]] = defaultdict(list)
    for item in batch:
        if isinstance(item, tuple):
            readings[item[1]].append(item)
        else:
            others[type(item)].append(item)
    return readings, others
