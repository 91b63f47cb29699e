"""A batch on its way to the store, written by a thread of its own while the next one is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from ledger.chain import Draft, Row
from ledger.port import LogStore


class Flight:
    """At most one batch at a time. For the ledger's own use, under its lock."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._written: Future[None] | None = None
        self._rows: dict[str, Row] = {}

    @property
    def waiting(self) -> bool:
        """Is there a batch that has not landed?"""
        return self._written is not None

    def start(self, store: LogStore, rows: Sequence[Row], wallets: Mapping[str, tuple[int, int]]) -> Future[None]:
        """Begin to write; the future holds what the store raised. The batch before must have landed."""
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="ledger store")
        begun = Event()
        self._rows = {row.eid: row for row in rows}
        self._written = self._pool.submit(_write, store, rows, wallets, begun)
        begun.wait()  # lets the writer have the interpreter's lock; it gives it back while the engine works
        return self._written

    def known(self, items: Sequence[Draft]) -> dict[str, tuple[int, bytes, bytes]]:
        """Those of these ids that are on their way, as LogReader.find gives what has arrived."""
        rows = self._rows
        return {item.id: rows[item.id][0:1] + rows[item.id][4:6] for item in items if item.id in rows} if rows else {}

    def land(self) -> BaseException | None:
        """Wait for the batch; what the store raised, if it did."""
        written, self._written = self._written, None
        error = None if written is None else written.exception()
        self._rows = {}
        return error

    @staticmethod
    def empty() -> Future[None]:
        """That of a batch without rows."""
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def close(self) -> None:
        """Wait for the thread to end."""
        if self._pool is not None:
            self._pool.shutdown()


def _write(store: LogStore, rows: Sequence[Row], wallets: Mapping[str, tuple[int, int]], begun: Event) -> None:
    begun.set()
    store.write_beside(rows, wallets)
