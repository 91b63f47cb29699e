"""Cells in parallel processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from itertools import islice

from twin.errors import TwinError
from twin.sweep.cells import Cell
from twin.sweep.work import Bench, Failure, Task

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Each process is one worker: libraries that start threads of their own would only get in each other's way."""
AHEAD = 2
"""Tasks handed out per process: one to work on, one to begin at once after it."""


class Pool:
    """An executor of `jobs` spawned processes."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        for name in ONE_THREAD:
            os.environ.setdefault(name, "1")
        context = multiprocessing.get_context("spawn")
        self._processes = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin)

    def results(self, tasks: Iterable[Task]) -> Iterator[Cell | Failure]:
        """As they are done. Raises TwinError where a process died."""
        waiting, rest = set[Future[Cell | Failure]](), iter(tasks)
        while True:
            waiting |= {self._processes.submit(_do, task) for task in islice(rest, AHEAD * self._jobs - len(waiting))}
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            try:
                yield from [future.result() for future in done]
            except BrokenProcessPool as error:
                mend = "finished cells are kept: the same command continues, perhaps with fewer --jobs"
                raise TwinError("a worker process died (memory?)", where="--jobs", mend=mend) from error

    def close(self) -> None:
        """End the processes, whatever they do: cells are written elsewhere."""
        self._processes.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        self._processes.shutdown(wait=True)


def _begin() -> None:
    """In each process: Ctrl-C, which reaches all of the terminal's processes, ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@lru_cache(maxsize=1)
def _bench() -> Bench:
    """The one of this process."""
    return Bench()


def _do(task: Task) -> Cell | Failure:
    return _bench().do(task)
