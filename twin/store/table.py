"""How readings of one kind of device are written: raw rows, the newest of each device, minutes that ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from devices.readings import Reading
from twin.store import schema

ReadingItem = tuple[Reading, str, bytes]
"""(reading, device kind, 16-byte nonce of its ledger leaf)."""


class ReadingTable:
    """Statements and open minutes of one kind.

    Invariant after every commit: each minute before a device's newest one has its right roll-up row; the newest is
    rolled when it ends, on late readings, and by roll_open().
    """

    def __init__(self, kind: str, points: tuple[str, ...], open_minute: dict[str, int]) -> None:
        self.kind, self.points, self.open_minute = kind, points, open_minute
        names = (*schema.HEAD, *points)
        marks = ", ".join("?" * len(names))
        sets = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
        self._insert = (
            f"INSERT INTO {kind} ({', '.join(names)}) VALUES ({marks}) "
            f"ON CONFLICT (device, ts_us) DO UPDATE SET {sets} WHERE excluded.seq >= seq"
        )
        self._last = (
            f"INSERT INTO last (kind, {', '.join(names)}) VALUES ('{kind}', {marks}) ON CONFLICT (device) DO UPDATE "
            f"SET ts_us = excluded.ts_us, {sets} "
            "WHERE excluded.ts_us > ts_us OR (excluded.ts_us = ts_us AND excluded.seq >= seq)"
        )
        self._roll = f"INSERT OR REPLACE INTO {kind}_1m {schema.rollup_select(kind)}"

    def resume(self, device: str, ts_us: int) -> None:
        """Remember the newest minute of a device found in an existing file."""
        self.open_minute[device] = ts_us - ts_us % schema.MINUTE_US

    def write(self, db: sqlite3.Connection, items: Sequence[ReadingItem]) -> None:
        """Upsert raw rows, the newest of each device, and the minutes that ended or changed."""
        points = self.points
        rows: list[tuple[Any, ...]] = []
        newest: dict[str, tuple[Any, ...]] = {}
        for reading, _, nonce in items:
            head = (reading.device, reading.ts_us, reading.seq, int(reading.quality), nonce)
            row = (*head, *map(reading.values.get, points))
            rows.append(row)
            best = newest.get(reading.device)
            if best is None or row[1:3] >= best[1:3]:
                newest[reading.device] = row
        db.executemany(self._insert, rows)
        db.executemany(self._last, newest.values())
        db.executemany(self._roll, self._ended(items))

    def committed(self, items: Sequence[ReadingItem]) -> None:
        """Advance the open minutes once the transaction holds."""
        for reading, _, _ in items:
            minute = reading.ts_us - reading.ts_us % schema.MINUTE_US
            if minute > self.open_minute.get(reading.device, minute - 1):
                self.open_minute[reading.device] = minute

    def roll_open(self, db: sqlite3.Connection) -> None:
        """Roll up every device's newest minute."""
        db.executemany(self._roll, sorted(self.open_minute.items()))

    def _ended(self, items: Sequence[ReadingItem]) -> list[tuple[str, int]]:
        """Minutes touched by `items` or open before them that are older than their device's newest."""
        newest = dict(self.open_minute)
        touched: set[tuple[str, int]] = set()
        for reading, _, _ in items:
            device, minute = reading.device, reading.ts_us - reading.ts_us % schema.MINUTE_US
            touched.add((device, minute))
            if minute > newest.get(device, minute - 1):
                newest[device] = minute
        touched.update((device, minute) for device, minute in self.open_minute.items() if newest[device] != minute)
        return sorted(pair for pair in touched if pair[1] < newest[pair[0]])
