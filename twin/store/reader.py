"""StoreReader: read-only view of telemetry.db, also while another process writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import nan
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from controller.plan import Plan
from devices.points import CATALOGUE, KIND_POINTS
from devices.readings import Quality, Reading
from twin.store import schema
from twin.store.errors import StoreError
from twin.store.rows import CommandRow, EventRow, ForecastRows, PlanRow

if TYPE_CHECKING:  # numpy takes longer to import than a store to open: only who asks for arrays pays it
    import numpy as np
    import numpy.typing as npt

    IntArray = npt.NDArray[np.int64]
    FloatArray = npt.NDArray[np.float64]

ALWAYS = (-(2**62), 2**62)
"""A time span (µs) that holds everything."""


class StoredReading(NamedTuple):
    """A reading as stored, with the nonce of its ledger leaf."""

    reading: Reading
    nonce: bytes


class Minutes(NamedTuple):
    """Roll-ups of one point: start of the minute (µs), least, mean, greatest value, number of values."""

    ts_us: IntArray
    low: FloatArray
    mean: FloatArray
    high: FloatArray
    number: IntArray


class StoreReader:
    """One read-only connection. Spans are [t0_us, t1_us). Use as a context manager or call close()."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StoreError("no such file", where=str(path), mend="name the telemetry.db of a run folder")
        self.path = path
        try:
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)
            if schema.check_version(self._db, path) == 0:
                raise StoreError("is empty", where=str(path), mend="name the telemetry.db of a run folder")
        except sqlite3.Error as error:
            raise StoreError(f"cannot be opened: {error}", where=str(path), mend="check file and rights") from error
        self.columns = {kind: self._points(kind) for kind in KIND_POINTS}
        """Kind -> points its table has columns for."""

    def __enter__(self) -> StoreReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def devices(self) -> dict[str, str]:
        """Device -> kind, of every device that ever reported, sorted by device."""
        return dict(self._db.execute("SELECT device, kind FROM last ORDER BY device"))

    def extent(self) -> tuple[int, int] | None:
        """Time stamps (µs) of the oldest and the newest reading; None if there is none."""
        found = [
            self._db.execute(f"SELECT min(ts_us), max(ts_us) FROM {kind} WHERE device = ?", (device,)).fetchone()
            for device, kind in self.devices().items()
        ]
        return (min(first for first, _ in found), max(last for _, last in found)) if found else None

    def last(self) -> dict[str, Reading]:
        """The newest reading of each device."""
        points = self._points("last")
        query = f"SELECT {', '.join((*schema.HEAD, *points))} FROM last ORDER BY device"
        return {row[0]: _reading(row, points).reading for row in self._db.execute(query)}

    def series(
        self, device: str, point: str, t0_us: int = ALWAYS[0], t1_us: int = ALWAYS[1]
    ) -> tuple[IntArray, FloatArray]:
        """Times (µs) and values of one point; NaN where the sample lacks it or is bad. Empty for an unknown device."""
        import numpy as np

        kind = self._kind(device)
        if kind is None or point not in self.columns[kind]:
            return np.empty(0, np.int64), np.empty(0)
        query = (
            f"SELECT ts_us, CASE WHEN quality < {int(Quality.BAD)} THEN {point} END FROM {kind} "
            "WHERE device = ? AND ts_us >= ? AND ts_us < ? ORDER BY ts_us"
        )
        rows = self._db.execute(query, (device, t0_us, t1_us)).fetchall()
        times = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        return times, np.array([row[1] for row in rows], np.float64)

    def minutes(self, device: str, point: str, t0_us: int = ALWAYS[0], t1_us: int = ALWAYS[1]) -> Minutes:
        """One-minute roll-ups of a rolled point (schema.ROLLED)."""
        import numpy as np

        kind = self._kind(device)
        if kind is None or point not in schema.rolled(kind):
            return Minutes(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.int64))
        query = (
            f"SELECT ts_us, {point}_min, {point}_mean, {point}_max, {point}_n FROM {kind}_1m "
            "WHERE device = ? AND ts_us >= ? AND ts_us < ? ORDER BY ts_us"
        )
        rows = np.array(self._db.execute(query, (device, t0_us, t1_us)).fetchall(), np.float64).reshape(-1, 5)
        return Minutes(rows[:, 0].astype(np.int64), rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4].astype(np.int64))

    def readings(self, device: str, t0_us: int = ALWAYS[0], t1_us: int = ALWAYS[1]) -> list[StoredReading]:
        """Every raw reading of a device with its nonce, in order of (ts_us, seq)."""
        kind = self._kind(device)
        return [] if kind is None else list(self._readings(kind, device, t0_us, t1_us))

    def rows(self, device: str, points: Sequence[str]) -> list[tuple[Any, ...]]:
        """(ts_us, seq, quality, nonce, *points) of every raw reading in order of (ts_us, seq), without making Readings.

        For whole runs at once. Raises KeyError if the device's kind has no such point.
        """
        kind = self._kind(device)
        if kind is None:
            return []
        if unknown := set(points) - set(self.columns[kind]):
            raise KeyError(f"{kind} has no point {', '.join(sorted(unknown))}")
        names = ", ".join(("ts_us", "seq", "quality", "nonce", *points))
        return self._db.execute(
            f"SELECT {names} FROM {kind} WHERE device = ? ORDER BY ts_us, seq", (device,)
        ).fetchall()

    def commands(self, device: str | None = None, t0_us: int = ALWAYS[0], t1_us: int = ALWAYS[1]) -> list[CommandRow]:
        """Setpoint transitions in the order they were written, of one device or all."""
        query = (
            "SELECT ts_us, device, control, value, state, reason, plan, readback FROM command "
            "WHERE ts_us >= ? AND ts_us < ? AND (? IS NULL OR device = ?) ORDER BY id"
        )
        return [CommandRow(*row) for row in self._db.execute(query, (t0_us, t1_us, device, device))]

    def plans(self, stage: str | None = None) -> list[PlanRow]:
        """Plans in order of issue, all or of one stage."""
        return list(self.each_plan(stage))

    def each_plan(self, stage: str | None = None) -> Iterator[PlanRow]:
        """The same one by one: a long run holds more plans than memory should."""
        query = "SELECT json, issued_us, newest_input_us FROM plan WHERE ? IS NULL OR stage = ? "
        for text, issued, newest in self._db.execute(f"{query} ORDER BY issued_us, stage, id", (stage, stage)):
            yield PlanRow(msgspec.json.decode(text, type=Plan), issued, newest)

    def forecast(self, series: str, issued_us: int, source: str, quantile: float) -> tuple[IntArray, FloatArray]:
        """Valid-from times (µs) and values of one issued forecast."""
        import numpy as np

        query = (
            "SELECT valid_from_us, value FROM forecast WHERE series = ? AND issued_us = ? AND source = ? "
            "AND quantile = ? ORDER BY valid_from_us"
        )
        rows = self._db.execute(query, (series, issued_us, source, quantile)).fetchall()
        return np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64)

    def each_forecast(self) -> Iterator[ForecastRows]:
        """Every forecast with all its quantiles, one by one in order of issue, series and source."""
        query = (
            "SELECT issued_us, series, source, newest_input_us, start_us, slot_s, quantile, slots FROM forecast_issue "
            "ORDER BY issued_us, series, source, quantile"
        )
        for (issued, series, source, newest, start, slot_s), rows in groupby(
            self._db.execute(query), itemgetter(*range(6))
        ):
            fan = {row[6]: _slots(row[7]) for row in rows}
            yield ForecastRows(series, issued, newest, start, slot_s, fan, source)

    def forecasts(self) -> list[tuple[str, int, int, str]]:
        """(series, issued_us, newest_input_us, source) of every forecast, in order of issue."""
        query = (
            "SELECT DISTINCT series, issued_us, newest_input_us, source FROM forecast_issue "
            "ORDER BY issued_us, series, source"
        )
        return list(self._db.execute(query))

    def events(self) -> list[EventRow]:
        """Events in order of time, ties in the order written."""
        query = 'SELECT ts_us, level, what, "where" FROM event ORDER BY ts_us, id'
        return [EventRow(*row) for row in self._db.execute(query)]

    def findings(self) -> list[str]:
        """What does not fit together: roll-ups and `last` recomputed from the raw rows. Empty when all is well.

        The newest minute of a device may be missing while its writer runs or after it was killed.
        """
        return [line for kind in KIND_POINTS for line in (*self._wrong_minutes(kind), *self._wrong_last(kind))]

    def _wrong_minutes(self, kind: str) -> Iterator[str]:
        if self._db.execute(schema.rollup_check(kind)).fetchone()[0]:
            return
        stored = {(row[0], row[1]): row for row in self._db.execute(f"SELECT * FROM {kind}_1m")}
        right_rows = self._db.execute(schema.rollup_all(kind)).fetchall()
        newest = {row[0]: row[1] for row in right_rows}
        for right in right_rows:
            device, start = right[:2]
            held = stored.pop((device, start), None)
            if held != right and not (held is None and start == newest[device]):
                yield f"{kind}_1m: {device} minute {start}: stored {held}, raw rows give {right}"
        for device, start in sorted(stored):
            yield f"{kind}_1m: {device} minute {start}: no raw rows"

    def _wrong_last(self, kind: str) -> Iterator[str]:
        last = self.last()
        for device in [name for name, of in self.devices().items() if of == kind]:
            newest = self._db.execute(f"SELECT max(ts_us) FROM {kind} WHERE device = ?", (device,)).fetchone()[0]
            rows = [] if newest is None else self.readings(device, newest, newest + 1)
            if [row.reading for row in rows] != [last[device]]:
                yield f"last: {device}: stored {last[device]}, raw rows give {rows[0].reading if rows else None}"

    def _readings(self, kind: str, device: str, t0_us: int, t1_us: int) -> Iterator[StoredReading]:
        points = self.columns[kind]
        query = (
            f"SELECT {', '.join((*schema.HEAD, *points))} FROM {kind} "
            "WHERE device = ? AND ts_us >= ? AND ts_us < ? ORDER BY ts_us, seq"
        )
        return (_reading(row, points) for row in self._db.execute(query, (device, t0_us, t1_us)))

    def _kind(self, device: str) -> str | None:
        row = self._db.execute("SELECT kind FROM last WHERE device = ?", (device,)).fetchone()
        return None if row is None else str(row[0])

    def _points(self, table: str) -> tuple[str, ...]:
        return tuple(name for name in schema.columns_of(self._db, table) if name in CATALOGUE)


def _reading(row: tuple[Any, ...], points: tuple[str, ...]) -> StoredReading:
    device, ts_us, seq, quality, nonce = row[:5]
    values = {point: value for point, value in zip(points, row[5:], strict=True) if value is not None}
    reading = Reading(device, ts_us, seq, Quality(quality), values)
    return StoredReading(reading, bytes(nonce))


def _slots(text: str) -> tuple[float, ...]:
    """Values of a forecast; JSON has no NaN and holds null for it."""
    return tuple(nan if value is None else value for value in msgspec.json.decode(text, type=tuple[float | None, ...]))
