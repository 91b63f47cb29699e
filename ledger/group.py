"""Group commit: entries of many producers become durable together, at most 256 in one transaction.

Nothing is waited for: while one batch is on its way to the disk the next one gathers, so a lone producer has the speed
of the disk and many have its bandwidth. A draft that is refused fails alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType

from ledger.chain import Draft
from ledger.core import Ledger
from ledger.errors import LedgerError
from ledger.sealing import Receipt

MOST = 256

_Waiting = tuple[Sequence[Draft], "Future[list[Receipt | LedgerError]]"]


class GroupCommit:
    """Collects drafts from any thread for one ledger, which nobody else should append to. A context manager."""

    def __init__(self, ledger: Ledger, most: int = MOST) -> None:
        self._ledger, self._most = ledger, most
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"commit {ledger.log}", daemon=True)
        self._thread.start()

    def append(self, draft: Draft) -> Receipt:
        """Append one entry; returns once it is durable. Raises as Ledger.append."""
        (result,) = self.submit([draft]).result()
        if isinstance(result, LedgerError):
            raise result
        return result

    def submit(self, drafts: Sequence[Draft]) -> Future[list[Receipt | LedgerError]]:
        """Drafts to append, in order; the future holds a receipt or the refusal of each, or raises LedgerBroken."""
        future: Future[list[Receipt | LedgerError]] = Future()
        self._queue.put((drafts, future))
        return future

    def __enter__(self) -> GroupCommit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Append what was submitted, then stop."""
        self._queue.put(None)
        self._thread.join()

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
        try:
            results = iter(self._ledger.append_each([draft for drafts, _ in batch for draft in drafts]))
        except LedgerError as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for drafts, future in batch:
            future.set_result([next(results) for _ in drafts])
