"""Where a log is kept: one SQLite database. Only `entry.data` is authoritative, all else can be rebuilt from it.

WAL with synchronous=FULL: a commit that returned survives kill -9 and loss of power.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from ledger import places
from ledger.chain import Row
from ledger.errors import LedgerUnreadable

SCHEMA_VERSION = 1
APPLICATION_ID = 0x7670704C
SCHEMA = (
    """CREATE TABLE entry (
        seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL, kind TEXT NOT NULL, eid TEXT NOT NULL UNIQUE,
        leaf BLOB NOT NULL, data BLOB NOT NULL) STRICT""",
    """CREATE TABLE node (
        level INTEGER NOT NULL, idx INTEGER NOT NULL, h BLOB NOT NULL,
        PRIMARY KEY (level, idx)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE posting (
        seq INTEGER NOT NULL, n INTEGER NOT NULL, account TEXT NOT NULL, micro INTEGER NOT NULL, wh INTEGER NOT NULL,
        PRIMARY KEY (seq, n)) STRICT, WITHOUT ROWID""",
    "CREATE TABLE wallet (account TEXT PRIMARY KEY, micro INTEGER NOT NULL, wh INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
)
WAL_PAGES = 4000
"""The write-ahead log is folded into the file after so many pages: pages written often are then written once."""
_ENTRY = "INSERT INTO entry VALUES (?,?,?,?,?,?)"
_NODE = "INSERT INTO node VALUES (?,?,?)"
_POSTING = "INSERT INTO posting VALUES (?,?,?,?,?)"
_WALLET = "INSERT OR REPLACE INTO wallet VALUES (?,?,?)"
_SPREAD = """
    CREATE TEMP VIEW batch AS SELECT 0 AS t, 0 AS a, 0 AS b, 0 AS c, 0 AS d, 0 AS e, 0 AS f;
    CREATE TEMP TRIGGER spread INSTEAD OF INSERT ON batch BEGIN
        INSERT INTO entry SELECT NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f WHERE NEW.t = 0;
        INSERT INTO node SELECT NEW.a, NEW.b, NEW.c WHERE NEW.t = 1;
        INSERT INTO posting SELECT NEW.a, NEW.b, NEW.c, NEW.d, NEW.e WHERE NEW.t = 2;
        INSERT OR REPLACE INTO wallet SELECT NEW.a, NEW.b, NEW.c WHERE NEW.t = 3;
    END;
"""
"""One statement that writes rows of all tables, and so is a transaction of its own. For this connection only."""
_HASH = ("SELECT %d, leaf FROM entry WHERE seq = ?", "SELECT %d, h FROM node WHERE level = ? AND idx = ?")
_HELD_LEVEL = 10
"""Hashes from this level on are kept once they were read: a thousandth of all."""
_STEP, _MOST_ROWS = 128, 4096
_NO_ROW = (None,) * 7


class Store:
    """A log's database. One writer; readers see a snapshot per statement, or after `begin_snapshot`."""

    failures: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path, *, readonly: bool) -> None:
        self.path = path
        if not path.is_file():
            raise LedgerUnreadable("no log here", where=str(path), mend="name a run folder or a ledger folder")
        if not os.access(path, os.R_OK):
            raise LedgerUnreadable("may not be read", where=str(path), mend="ask its owner")
        self._db = _connect(path, readonly)
        self._ids: sqlite3.Connection | None = None
        self._upper: dict[tuple[int, int], bytes] = {}
        if not readonly:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, str]) -> Store:
        """An empty database with this schema; one that exists and is empty is taken over."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o644)
        store = cls(path, readonly=False)
        store._db.execute("BEGIN IMMEDIATE")
        if not store._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in SCHEMA:
                store._db.execute(statement)
            store._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            store._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            store._db.executemany("INSERT INTO meta VALUES (?,?)", sorted(meta.items()))
        store._db.execute("COMMIT")
        return store

    def version(self) -> int:
        """Schema version of the file."""
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def write(self, rows: Sequence[Row], wallets: Mapping[str, tuple[int, int]]) -> None:
        """Entries and all that follows from them, in one durable transaction. Raises sqlite3.Error."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        db.executemany(_ENTRY, [row[:6] for row in rows])
        db.executemany(_NODE, sorted(node for row in rows for node in row.nodes))
        db.executemany(_POSTING, [(row.seq, n, *leg) for row in rows for n, leg in enumerate(row.postings)])
        db.executemany(_WALLET, [(account, micro, wh) for account, (micro, wh) in wallets.items()])
        db.execute("COMMIT")

    def write_beside(self, rows: Sequence[Row], wallets: Mapping[str, tuple[int, int]]) -> None:
        """As `write`, in one statement, so that the interpreter's lock is let go and taken once, not once a row.

        Ids are then looked up through a connection of their own, which does not wait for this one.
        """
        if self._ids is None:
            self._db.executescript(_SPREAD)
            self._ids = _connect(self.path, True)
        values: list[tuple[object, ...]] = [(0, *row[:6]) for row in rows]
        values += [(1, *node, None, None, None) for node in sorted(node for row in rows for node in row.nodes)]
        values += [(2, row.seq, n, *leg, None) for row in rows for n, leg in enumerate(row.postings)]
        values += [(3, account, *held, None, None, None) for account, held in wallets.items()]
        values += [_NO_ROW] * (-len(values) % _STEP)  # few lengths, few statements to prepare
        if len(values) > _MOST_ROWS:
            self.write(rows, wallets)
            return
        marks = ",".join(["(?,?,?,?,?,?,?)"] * len(values))
        self._db.execute(f"INSERT INTO batch VALUES {marks}", [*chain.from_iterable(values)])

    def put_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed head. Raises sqlite3.Error."""
        self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES (?,?)", (size, note))

    def find(self, ids: Sequence[str]) -> dict[str, tuple[int, bytes, bytes]]:
        """Entries of these ids: id -> (seq, leaf, data)."""
        db = self._ids or self._db
        found: dict[str, tuple[int, bytes, bytes]] = {}
        for start in range(0, len(ids), 256):
            part = ids[start : start + 256]
            marks = ",".join("?" * len(part))
            query = f"SELECT eid, seq, leaf, data FROM entry WHERE eid IN ({marks})"
            found.update((eid, (seq, leaf, data)) for eid, seq, leaf, data in db.execute(query, part))
        return found

    def rows(self, start: int = 0) -> Iterator[tuple[int, int, str, str, bytes, bytes]]:
        """(seq, ts, kind, id, leaf, data) from `start` on, in order."""
        return iter(
            self._db.execute("SELECT seq, ts, kind, eid, leaf, data FROM entry WHERE seq >= ? ORDER BY seq", (start,))
        )

    def data(self, seq: int) -> bytes | None:
        """Canonical bytes of one entry."""
        row = self._db.execute("SELECT data FROM entry WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else bytes(row[0])

    def node(self, level: int, index: int) -> bytes:
        """Hash of a complete subtree. Raises KeyError if the log is not that long."""
        if level == 0:
            row = self._db.execute("SELECT leaf FROM entry WHERE seq = ?", (index,)).fetchone()
        else:
            row = self._db.execute("SELECT h FROM node WHERE level = ? AND idx = ?", (level, index)).fetchone()
        if row is None:
            raise KeyError((level, index))
        return bytes(row[0])

    def proof_nodes(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Hashes of these complete subtrees (level, index), in one query. Raises KeyError if the log is not that long.

        The upper levels, few and part of every proof, stay in memory: a complete subtree never changes.
        """
        missing = [place for place in places if place not in self._upper]
        query = " UNION ALL ".join(_HASH[level > 0] % n for n, (level, _) in enumerate(missing))
        values = [value for level, index in missing for value in ((level, index) if level else (index,))]
        read = {missing[n]: h for n, h in self._db.execute(query, values)} if missing else {}
        if len(read) != len(missing):
            raise KeyError(tuple(missing))
        self._upper.update((place, h) for place, h in read.items() if place[0] >= _HELD_LEVEL)
        return [read.get(place) or self._upper[place] for place in places]

    def hashes(self, level: int, start: int, end: int) -> list[bytes]:
        """Hashes of the complete subtrees [start, end) of a level. Raises KeyError if the log is not that long."""
        query = (
            "SELECT leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq"
            if level == 0
            else f"SELECT h FROM node WHERE level = {int(level)} AND idx >= ? AND idx < ? ORDER BY idx"
        )
        found = [bytes(row[0]) for row in self._db.execute(query, (start, end))]
        if len(found) != end - start:
            raise KeyError((level, start, end))
        return found

    def entries(self, start: int, end: int) -> list[bytes]:
        """Canonical bytes of the entries [start, end)."""
        query = "SELECT data FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq"
        return [bytes(row[0]) for row in self._db.execute(query, (start, end))]

    def nodes(self) -> Iterator[tuple[int, int, bytes]]:
        """All complete subtrees of level >= 1, by level and index."""
        return iter(self._db.execute("SELECT level, idx, h FROM node ORDER BY level, idx"))

    def node_count(self) -> int:
        """How many nodes are stored."""
        return int(self._db.execute("SELECT count(*) FROM node").fetchone()[0])

    def size(self) -> int:
        """Number of entries, if none is missing."""
        return int(self._db.execute("SELECT coalesce(max(seq), -1) + 1 FROM entry").fetchone()[0])

    def postings(self) -> Iterator[tuple[int, int, str, int, int]]:
        """All postings (seq, n, account, micro, wh), in order."""
        return iter(self._db.execute("SELECT seq, n, account, micro, wh FROM posting ORDER BY seq, n"))

    def wallets(self) -> dict[str, tuple[int, int]]:
        """account -> (micro, wh)."""
        return {
            account: (micro, wh) for account, micro, wh in self._db.execute("SELECT * FROM wallet ORDER BY account")
        }

    def checkpoints(self) -> list[tuple[int, str]]:
        """Signed heads, oldest first."""
        return list(self._db.execute("SELECT size, note FROM checkpoint ORDER BY size"))

    def last_checkpoint(self) -> tuple[int, str] | None:
        """The newest signed head."""
        row: tuple[int, str] | None = self._db.execute(
            "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1"
        ).fetchone()
        return row

    def meta(self) -> dict[str, str]:
        """Facts about the file: product, log."""
        return dict(self._db.execute("SELECT key, value FROM meta"))

    def begin_snapshot(self) -> None:
        """From here on all reads see one state of the log."""
        self._db.execute("BEGIN")

    def faults(self) -> list[str]:
        """What SQLite itself finds wrong, and how schema and versions differ from those of this program."""
        found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
        if self._db.execute(query).fetchall() != _expected_schema(query):
            found.append("the database's schema is not that of a ledger")
        ids = (self.version(), int(self._db.execute("PRAGMA application_id").fetchone()[0]))
        if ids != (SCHEMA_VERSION, APPLICATION_ID):
            found.append(f"schema version and application id are {ids}, not {(SCHEMA_VERSION, APPLICATION_ID)}")
        return found

    def close(self) -> None:
        """Close; a writer's close folds the write-ahead log into the file."""
        if self._ids is not None:
            self._ids.close()
        self._db.close()


@contextmanager
def reading(folder: Path, name: str) -> Iterator[Store]:
    """One snapshot of a log of a run or ledger folder, read only. Raises LedgerUnreadable if the database fails."""
    path = places.database(places.ledger_folder(folder), name)
    store: Store | None = None
    try:
        store = Store(path, readonly=True)
        store.begin_snapshot()
        yield store
    except sqlite3.Error as error:
        raise places.unreadable(places.ledger_folder(folder), name, str(error)) from error
    finally:
        if store is not None:
            store.close()


def _connect(path: Path, readonly: bool) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={'ro' if readonly else 'rw'}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10)


@cache
def _expected_schema(query: str) -> list[tuple[str, ...]]:
    db = sqlite3.connect(":memory:")
    try:
        for statement in SCHEMA:
            db.execute(statement)
        return db.execute(query).fetchall()
    finally:
        db.close()
