"""Group commit: entries of many producers become durable together, at most 256 in one transaction.

Nothing is waited for: while one batch is on its way to the disk the next one gathers (and is made, if both are large),
so a lone producer has the speed of the disk and many have its bandwidth. A draft that is refused fails alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import Protocol

from ledger.chain import Draft
from ledger.core import Ledger
from ledger.errors import LedgerBroken, LedgerError
from ledger.sealing import Receipt

MOST = 256
BESIDE = 128
"""From so many entries on a batch is written beside the making of the next: below, changing threads costs more."""

_Results = list[Receipt | LedgerError]


class _Answered(Protocol):
    """Where the answer of a submission goes: a Future, or what one producer waits for."""

    def set_result(self, result: _Results, /) -> None: ...

    def set_exception(self, exception: BaseException, /) -> None: ...


_Waiting = tuple[Sequence[Draft], _Answered]


class GroupCommit:
    """Collects drafts from any thread for one ledger, which nobody else should append to. A context manager."""

    def __init__(self, ledger: Ledger, most: int = MOST) -> None:
        self._ledger, self._most = ledger, most
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"commit {ledger.log}", daemon=True)
        self._thread.start()

    def append(self, draft: Draft) -> Receipt:
        """Append one entry; returns once it is durable. Raises as Ledger.append."""
        turn = _Turn()
        self._queue.put(((draft,), turn))
        (result,) = turn.wait()
        if isinstance(result, LedgerError):
            raise result
        return result

    def submit(self, drafts: Sequence[Draft]) -> Future[_Results]:
        """Drafts to append, in order; the future holds a receipt or the refusal of each, or raises LedgerBroken."""
        future: Future[_Results] = Future()
        self._queue.put((drafts, future))
        return future

    def close(self) -> None:
        """Commit what was submitted, then stop."""
        self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> GroupCommit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            count = len(first[0])
            ended = False
            while count < self._most:
                try:
                    more = self._queue.get_nowait()
                except Empty:
                    break
                if more is None:
                    ended = True
                    break
                batch.append(more)
                count += len(more[0])
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        items = [draft for drafts, _ in batch for draft in drafts]
        try:
            if len(items) < BESIDE:
                _answer(batch, self._ledger.append_each(items))
                return
            results, written = self._ledger.append_later(items)
        except LedgerError as error:
            _fail(batch, error)
            return
        written.add_done_callback(partial(_answer_later, batch, results))


class _Turn:
    """One producer's wait: a bare lock, a third of the price of a Future."""

    __slots__ = ("_error", "_lock", "_results")

    def __init__(self) -> None:
        self._results: _Results = []
        self._error: BaseException | None = None
        self._lock = Lock()
        self._lock.acquire()

    def set_result(self, result: _Results, /) -> None:
        self._results = result
        self._lock.release()

    def set_exception(self, exception: BaseException, /) -> None:
        self._error = exception
        self._lock.release()

    def wait(self) -> _Results:
        self._lock.acquire()
        if self._error is not None:
            raise self._error
        return self._results


def _answer_later(batch: Sequence[_Waiting], results: Sequence[Receipt | LedgerError], written: Future[None]) -> None:
    """Tell every producer, in the thread that wrote: what was made is durable now, or the store has failed."""
    if error := written.exception():
        _fail(batch, LedgerBroken(f"the store failed: {error}", where="append", mend="close, reopen and verify"))
    else:
        _answer(batch, results)


def _answer(batch: Sequence[_Waiting], results: Sequence[Receipt | LedgerError]) -> None:
    at = 0
    for drafts, answered in batch:
        answered.set_result([*results[at : at + len(drafts)]])
        at += len(drafts)


def _fail(batch: Sequence[_Waiting], error: LedgerError) -> None:
    for _, answered in batch:
        answered.set_exception(error)
