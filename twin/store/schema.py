"""Tables of telemetry.db, made from the point catalogue; how a file is opened and brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from devices.points import CATALOGUE, KIND_POINTS
from devices.readings import Quality
from twin.store.errors import StoreError

Durability = Literal["normal", "power-safe"]
APPLICATION_ID = 0x76707074
"""`vppt`: tells our files from other SQLite files."""
MINUTE_US = 60_000_000
HEAD = ("device", "ts_us", "seq", "quality", "nonce")
"""Columns every reading has, before its points."""
ROLLED = ("p_w", "soc_pu", "u1_v", "f_hz", "t_c")
"""Points whose minute minimum, mean, maximum and count are kept."""

_KEY = "device TEXT NOT NULL, ts_us INTEGER NOT NULL"
_HEAD_SQL = f"{_KEY}, seq INTEGER NOT NULL, quality INTEGER NOT NULL, nonce BLOB NOT NULL"
_BESIDE = """
CREATE TABLE command (id INTEGER PRIMARY KEY, ts_us INTEGER NOT NULL, device TEXT NOT NULL, control TEXT NOT NULL,
  value REAL, state TEXT NOT NULL, reason TEXT NOT NULL, plan TEXT NOT NULL, readback REAL) STRICT;
CREATE INDEX command_device ON command (device, ts_us);
CREATE TABLE plan (id TEXT NOT NULL, stage TEXT NOT NULL, issued_us INTEGER NOT NULL, start_us INTEGER NOT NULL,
  newest_input_us INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (issued_us, stage, id),
  CHECK (newest_input_us <= issued_us)) STRICT, WITHOUT ROWID;
CREATE TABLE forecast_issue (series TEXT NOT NULL, issued_us INTEGER NOT NULL, source TEXT NOT NULL,
  quantile REAL NOT NULL, newest_input_us INTEGER NOT NULL, start_us INTEGER NOT NULL, slot_s INTEGER NOT NULL,
  slots TEXT NOT NULL, PRIMARY KEY (series, issued_us, source, quantile),
  CHECK (newest_input_us <= issued_us)) STRICT, WITHOUT ROWID;
CREATE VIEW forecast AS SELECT series, issued_us, start_us + 1000000 * slot_s * key AS valid_from_us, quantile,
  json_each.value AS value, source, newest_input_us FROM forecast_issue, json_each(forecast_issue.slots);
CREATE TABLE event (id INTEGER PRIMARY KEY, ts_us INTEGER NOT NULL, level TEXT NOT NULL, what TEXT NOT NULL,
  "where" TEXT NOT NULL) STRICT;
"""


def column(point: str) -> str:
    """SQL definition of a point's column."""
    return f"{point} {'INTEGER' if CATALOGUE[point].integer else 'REAL'}"


def rolled(kind: str) -> tuple[str, ...]:
    """Points of a kind that are rolled up."""
    return tuple(point for point in ROLLED if point in KIND_POINTS[kind])


def rollup_select(kind: str) -> str:
    """The one query that makes a minute row from raw rows; parameters ?1 device, ?2 minute start.

    Bad readings do not count. Means are rounded so that the order of summation cannot show.
    """
    return (
        f"SELECT ?1, ?2, {_rollup(kind)} FROM {kind} AS r "
        f"WHERE device = ?1 AND ts_us >= ?2 AND ts_us < ?2 + {MINUTE_US} HAVING count(*) > 0"
    )


def rollup_all(kind: str) -> str:
    """The same rows for every device and minute at once, in their order: for checking."""
    minute = f"ts_us - ts_us % {MINUTE_US}"
    return f"SELECT device, {minute}, {_rollup(kind)} FROM {kind} AS r GROUP BY device, {minute} ORDER BY 1, 2"


def rollup_check(kind: str) -> str:
    """Whether every minute row is what its raw rows give, and every raw row lies in one: 1 or 0, in a third of the time
    that `rollup_all` takes, and without a row that the interpreter has to look at. It does not say what is wrong."""
    differs = " OR ".join(f"s.{column} IS NOT {rolled_up}" for column, rolled_up in _rolls(kind).items())
    minutes = (
        f"SELECT count(*) AS raw, s.ts_us < 0 OR s.ts_us % {MINUTE_US} OR {differs} AS wrong "
        f"FROM {kind}_1m AS s CROSS JOIN {kind} AS r "
        f"ON r.device = s.device AND r.ts_us >= s.ts_us AND r.ts_us < s.ts_us + {MINUTE_US} "
        "GROUP BY s.device, s.ts_us"
    )
    stored = f"(SELECT count(*) FROM {kind}_1m), (SELECT count(*) FROM {kind})"
    return f"SELECT (count(*), total(raw)) = ({stored}) AND total(wrong) = 0 FROM ({minutes})"


def _rollup(kind: str) -> str:
    return ", ".join(_rolls(kind).values())


def _rolls(kind: str) -> dict[str, str]:
    """Columns of a minute row after its device and time, and how each is made from the raw rows r."""
    good = f"FILTER (WHERE r.quality < {int(Quality.BAD)})"
    rolls = {"n": f"count(*) {good}", "quality": "max(r.quality)"}
    for p in rolled(kind):
        rolls[f"{p}_min"] = f"min(r.{p}) {good}"
        rolls[f"{p}_mean"] = f"round(avg(r.{p}) {good}, 6)"
        rolls[f"{p}_max"] = f"max(r.{p}) {good}"
        rolls[f"{p}_n"] = f"count(r.{p}) {good}"
    return rolls


def _first(db: sqlite3.Connection) -> None:
    """Version 0 (empty) -> 1."""
    for kind, points in KIND_POINTS.items():
        columns = ", ".join(map(column, points))
        db.execute(f"CREATE TABLE {kind} ({_HEAD_SQL}, {columns}, PRIMARY KEY (device, ts_us)) STRICT, WITHOUT ROWID")
        sums = ", ".join(f"{p}_min REAL, {p}_mean REAL, {p}_max REAL, {p}_n INTEGER NOT NULL" for p in rolled(kind))
        db.execute(
            f"CREATE TABLE {kind}_1m ({_KEY}, n INTEGER NOT NULL, quality INTEGER NOT NULL, {sums}, "
            "PRIMARY KEY (device, ts_us)) STRICT, WITHOUT ROWID"
        )
    columns = ", ".join(map(column, CATALOGUE))
    head = _HEAD_SQL.replace("device TEXT NOT NULL", "device TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL")
    db.execute(f"CREATE TABLE last ({head}, {columns}) STRICT, WITHOUT ROWID")
    for statement in _BESIDE.split(";\n"):
        if statement.strip():
            db.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first,)
"""MIGRATIONS[v] brings a file of version v to v + 1, inside the transaction of open_writer()."""
VERSION = len(MIGRATIONS)


def columns_of(db: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """Column names of a table as it is in the file."""
    return tuple(row[1] for row in db.execute(f"PRAGMA table_info({table})"))


def add_points(db: sqlite3.Connection, table: str, points: Iterable[str]) -> None:
    """Give `table` a column for each point it lacks: a catalogue that grew since the file was made."""
    present = set(columns_of(db, table))
    for point in points:
        if point not in present:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column(point)}")


def check_version(db: sqlite3.Connection, path: Path) -> int:
    """The file's version. Raises StoreError if it is not ours or newer than this program knows."""
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        ours = int(db.execute("PRAGMA application_id").fetchone()[0])
        tables = int(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise StoreError(f"cannot be read as a store: {error}", where=str(path), mend="name another file") from error
    if ours != APPLICATION_ID and (tables or version):
        raise StoreError("is a SQLite file, but not a telemetry store", where=str(path), mend="name another file")
    if version > VERSION:
        raise StoreError(
            f"has store version {version}, this program knows {VERSION}",
            where=str(path),
            mend=f"use a vpptwin that knows store version {version}",
        )
    return version


def open_writer(path: Path, durability: Durability) -> sqlite3.Connection:
    """Open or create the file for the one writer and bring it to VERSION. Raises StoreError."""
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0, cached_statements=64)
    except sqlite3.Error as error:
        raise StoreError(f"cannot be opened: {error}", where=str(path), mend="check folder and rights") from error
    try:
        version = check_version(db, path)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if durability == 'power-safe' else 'NORMAL'}")
        db.execute("PRAGMA cache_size=-16384")
        db.execute("PRAGMA wal_autocheckpoint=4000")
        _migrate(db, version)
    except sqlite3.Error as error:
        db.close()
        raise StoreError(f"cannot be written: {error}", where=str(path), mend="check rights and disk") from error
    except StoreError:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection, version: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    for step in MIGRATIONS[version:]:
        step(db)
    for kind, points in KIND_POINTS.items():
        add_points(db, kind, points)
    add_points(db, "last", CATALOGUE)
    db.execute(f"PRAGMA application_id={APPLICATION_ID}")
    db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")
