"""The solver process: solves run here, so that neither their time nor their memory touches the control loop."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from controller.case import Case
from controller.mechanism import Mechanism, load
from controller.plan import Budget, Plan, Stage
from twin.errors import TwinError
from twin.memory import peak_mb

log = logging.getLogger(__name__)
T = TypeVar("T")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""One thread each: two OpenMP threads beside one busy process made a 1 s fit take 62 s (specs/optimisation.md)."""

GUARD_S = 600.0
"""Wall time after which a solve counts as hung (CONTRACT, lockstep wall-time guard)."""


class SolveFailed(TwinError):
    """A solve raised, its process died, or it hung; the last valid plan is kept."""


class SolveHung(SolveFailed):
    """It gave no answer within GUARD_S. In lockstep this ends the run: a plan must not depend on how fast we are."""


@functools.cache
def _mechanism(name: str) -> Mechanism:
    """One instance per worker process: mechanisms keep their prebuilt solvers between windows."""
    return load(name)


def _start() -> None:
    """Ctrl-C reaches the whole process group; only the service decides when to stop, and its end is ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_service, daemon=True).start()


def _end_with_the_service() -> None:
    """A pool's process never notices that its parent was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """A process started inside inherits that Ctrl-C waits: until `_start` has run it would end it with a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _measured(job: Callable[..., T], *args: Any) -> tuple[T, float, float]:
    """(result, seconds, peak MB of this process)."""
    began = time.perf_counter()
    result = job(*args)
    return result, time.perf_counter() - began, peak_mb()


def _named(module: str, name: str, *args: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*args)


def _solve(name: str, case: Case, stage: Stage, budget: Budget, warm: Plan | None) -> Plan:
    return _mechanism(name).plan(case, stage, budget, warm)


class Worker:
    """One solver process; `async with Worker() as worker`. A process that dies is replaced at the next job."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._solving = self._abandoned = False
        self.peak_mb = 0.0

    async def __aenter__(self) -> Worker:
        for name in THREADS:  # inherited by the child, which reads them when it loads its BLAS
            os.environ.setdefault(name, "1")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._drop()

    async def solve(self, name: str, case: Case, stage: Stage, budget: Budget, warm: Plan | None) -> Plan:
        """The plan, with certificate.solve_s filled in. Raises SolveFailed with the reason."""
        if self._abandoned:
            raise SolveFailed("no solve: the run is being stopped", where="solver process")
        self._solving = True
        try:
            plan, solve_s = await self._timed(_solve, name, case, stage, budget, warm)
        finally:
            self._solving = False
        if not isinstance(plan, Plan):
            raise SolveFailed(f"{type(plan).__name__} instead of a Plan", where=f"mechanism {name}")
        return msgspec.structs.replace(plan, certificate=msgspec.structs.replace(plan.certificate, solve_s=solve_s))

    async def call(self, module: str, name: str, *args: Any) -> Any:
        """`module.name(*args)`, imported and computed in the worker, so that its libraries stay out of the service."""
        result, _ = await self._timed(_named, module, name, *args)
        return result

    def abandon(self) -> None:
        """End a solve under way and take no further ones: each raises SolveFailed. Other calls are still answered."""
        self._abandoned = True
        if self._solving:
            self._kill()

    async def _timed(self, job: Callable[..., T], *args: Any) -> tuple[T, float]:
        """(result, seconds). Raises SolveFailed on an exception or a dead process, SolveHung on a hung one."""
        try:
            future = self._submitted(job, *args)
        except BrokenProcessPool:
            log.warning("the solver process died while it was idle; a new one is started")
            self._drop()
            future = self._submitted(job, *args)
        try:
            await asyncio.wait([future], timeout=GUARD_S)
        except asyncio.CancelledError:
            self._drop(kill=True)
            raise
        if not future.done():
            self._drop(kill=True)
            raise SolveHung(f"no answer within {GUARD_S:.0f} s", where="solver process", mend="lower the budget")
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._drop()
            what = "ended because the run is being stopped" if self._abandoned else "the process died"
            raise SolveFailed(what, where="solver process", mend="the next call starts a new one")
        if error is not None:
            raise SolveFailed(f"{type(error).__name__}: {error}", where="solver process") from error
        result, solve_s, peak_mb = future.result()
        self.peak_mb = max(self.peak_mb, peak_mb)
        return result, solve_s

    def _submitted(self, job: Callable[..., T], *args: Any) -> asyncio.Future[tuple[T, float, float]]:
        pool = self._started()
        with _interrupts_wait():
            return asyncio.get_running_loop().run_in_executor(pool, _measured, job, *args)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_start)
        return self._pool

    def _drop(self, *, kill: bool = False) -> None:
        if kill:
            self._kill()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=not kill, cancel_futures=True)

    def _kill(self) -> None:
        processes = self._pool._processes if self._pool is not None else None
        for process in list((processes or {}).values()):
            process.kill()
