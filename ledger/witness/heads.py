"""What a witness remembers: the latest head it cosigned of each log, and heads it refused beside it (evidence)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS head (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, note TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS evidence (
    origin TEXT NOT NULL, held TEXT NOT NULL, shown TEXT NOT NULL, UNIQUE (origin, held, shown)) STRICT;
"""
MAX_EVIDENCE = 1000
"""Refused heads kept per log: one of the same size convicts it, a flood must not fill the disk."""


class Heads:
    """Durable: what `put` has returned survives kill -9 and loss of power."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def get(self, origin: str) -> tuple[int, str] | None:
        """(size, note) of the latest head cosigned."""
        row: tuple[int, str] | None = self._db.execute(
            "SELECT size, note FROM head WHERE origin = ?", (origin,)
        ).fetchone()
        return row

    def put(self, origin: str, size: int, note: str) -> None:
        """Remember a head, before its cosignature leaves."""
        self._db.execute("INSERT OR REPLACE INTO head VALUES (?,?,?)", (origin, size, note))

    def convict(self, origin: str, held: str, shown: str) -> None:
        """Keep two signed notes of one log: of one size with two roots they are proof, else a reason to ask."""
        (known,) = self._db.execute("SELECT count(*) FROM evidence WHERE origin = ?", (origin,)).fetchone()
        if known < MAX_EVIDENCE:
            self._db.execute("INSERT OR IGNORE INTO evidence VALUES (?,?,?)", (origin, held, shown))

    def evidence(self) -> list[tuple[str, str, str]]:
        """(origin, note held, note shown) of all heads refused, oldest first."""
        return list(self._db.execute("SELECT origin, held, shown FROM evidence ORDER BY rowid"))

    def close(self) -> None:
        """Close the file."""
        self._db.close()
