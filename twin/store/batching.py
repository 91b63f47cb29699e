"""A bounded queue served by one thread that hands over batches: how rows leave the event loop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

from twin.store.errors import StoreError

T = TypeVar("T")
OnFull = Literal["drop", "wait"]
_log = logging.getLogger(__name__)


class BatchThread(Generic[T]):
    """Calls `commit(batch)` from its own thread, every `interval_s` or as soon as `batch_rows` wait.

    Invariant: accepted == committed + lost + still waiting. Order of items is kept.
    The interval is wall time of the thread and decides only how items are grouped, never what is written.
    on_full: `drop` (wall clock: nothing waits for a disk) or `wait` (lockstep: nothing may depend on its speed).
    """

    def __init__(
        self,
        name: str,
        commit: Callable[[Sequence[T]], None],
        errors: tuple[type[Exception], ...],
        *,
        interval_s: float = 0.5,
        batch_rows: int = 20_000,
        limit_rows: int = 200_000,
        on_full: OnFull = "drop",
    ) -> None:
        self._commit, self._errors = commit, errors
        self._interval_s, self._batch_rows, self._limit_rows = interval_s, batch_rows, limit_rows
        self._wait_when_full = on_full == "wait"
        self._waiting: list[T] = []
        self._changed = threading.Condition()
        self._accepted = self._finished = self._flush_to = 0
        self._closing = self._dead = False
        self._failure: Exception | None = None
        self.committed = 0
        """Items handed over with success."""
        self.dropped = 0
        """Items refused because the queue was full, or lost because their batch failed."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, items: Sequence[T]) -> int:
        """Queue items; returns how many were taken (all of them unless the queue is full and on_full is `drop`)."""
        with self._changed:
            if self._closing or self._dead:
                raise StoreError(f"{self._thread.name} is closed", mend="write before close()")
            if self._wait_when_full:
                while len(self._waiting) >= self._limit_rows and not self._dead:
                    self._changed.wait(1.0)
                room = len(items)
            else:
                room = max(0, self._limit_rows - len(self._waiting))
            taken = items if room >= len(items) else items[:room]
            was = len(self._waiting)
            self._waiting.extend(taken)
            self._accepted += len(taken)
            self.dropped += len(items) - len(taken)
            if was == 0 or len(self._waiting) >= self._batch_rows:
                self._changed.notify_all()
            return len(taken)

    def flush(self, timeout_s: float = 60.0) -> None:
        """Block until everything queued so far is committed. Raises StoreError if a batch failed or time runs out."""
        end = time.monotonic() + timeout_s
        with self._changed:
            target = self._accepted
            self._flush_to = max(self._flush_to, target)
            self._changed.notify_all()
            while self._finished < target and not self._dead:
                left = end - time.monotonic()
                if left <= 0:
                    raise StoreError(
                        f"{target - self._finished} rows not written after {timeout_s:g} s",
                        where=self._thread.name,
                        mend="check the disk the run folder is on",
                    )
                self._changed.wait(left)
            self._raise_failure(target)

    def close(self, timeout_s: float = 60.0) -> None:
        """Write what is queued and end the thread. Raises StoreError if a batch was lost since the last flush."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise StoreError(f"still writing after {timeout_s:g} s", where=self._thread.name, mend="check the disk")
        with self._changed:
            self._raise_failure(self._accepted)

    def _raise_failure(self, target: int) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise StoreError(
                f"rows were lost: {failure}", where=self._thread.name, mend="free disk space, check rights"
            )
        if self._finished < target:
            raise StoreError("the writer thread ended early", where=self._thread.name, mend="see the log above")

    def _run(self) -> None:
        try:
            while batch := self._next():
                self._write(batch)
        finally:
            with self._changed:
                self._dead = True
                self._changed.notify_all()

    def _next(self) -> list[T]:
        """The next batch; empty when closed and nothing is left."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            end = time.monotonic() + self._interval_s
            while not self._due() and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            batch, self._waiting = self._waiting, []
            self._changed.notify_all()
            return batch

    def _due(self) -> bool:
        return self._closing or self._flush_to > self._finished or len(self._waiting) >= self._batch_rows

    def _write(self, batch: list[T]) -> None:
        failure: Exception | None = None
        try:
            self._commit(batch)
        except self._errors as error:
            failure = error
            _log.error("%s: %d rows lost: %s", self._thread.name, len(batch), error)
        with self._changed:
            self._finished += len(batch)
            if failure is None:
                self.committed += len(batch)
            else:
                self.dropped += len(batch)
                self._failure = failure
            self._changed.notify_all()
