"""The solver process: solves run here, so that neither their time nor their memory touches the control loop."""

from __future__ import annotations

import asyncio
import functools
import importlib
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import msgspec

from controller.case import Case
from controller.mechanism import Mechanism, load
from controller.plan import Budget, Plan, Stage
from twin.errors import TwinError

T = TypeVar("T")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""One thread each: two OpenMP threads beside one busy process made a 1 s fit take 62 s (specs/optimisation.md)."""

GUARD_S = 600.0
"""Wall time after which a solve counts as hung (CONTRACT, lockstep wall-time guard)."""


class SolveFailed(TwinError):
    """A solve raised, its process died, or it hung; the last valid plan is kept."""


@functools.cache
def _mechanism(name: str) -> Mechanism:
    """One instance per worker process: mechanisms keep their prebuilt solvers between windows."""
    return load(name)


def _start() -> None:
    """Ctrl-C reaches the whole process group; only the service decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measured(job: Callable[..., T], *args: Any) -> tuple[T, float, float]:
    """(result, seconds, peak MB of this process)."""
    began = time.perf_counter()
    result = job(*args)
    return result, time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _named(module: str, name: str, *args: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*args)


def _solve(name: str, case: Case, stage: Stage, budget: Budget, warm: Plan | None) -> Plan:
    return _mechanism(name).plan(case, stage, budget, warm)


class Worker:
    """One solver process; `async with Worker() as worker`. A process that dies is replaced at the next job."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self.peak_mb = 0.0

    async def __aenter__(self) -> Worker:
        for name in THREADS:  # inherited by the child, which reads them when it loads its BLAS
            os.environ.setdefault(name, "1")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._drop()

    async def solve(self, name: str, case: Case, stage: Stage, budget: Budget, warm: Plan | None) -> Plan:
        """The plan, with certificate.solve_s filled in. Raises SolveFailed with the reason."""
        plan, solve_s = await self._timed(_solve, name, case, stage, budget, warm)
        return msgspec.structs.replace(plan, certificate=msgspec.structs.replace(plan.certificate, solve_s=solve_s))

    async def call(self, module: str, name: str, *args: Any) -> Any:
        """`module.name(*args)`, imported and computed in the worker, so that its libraries stay out of the service."""
        result, _ = await self._timed(_named, module, name, *args)
        return result

    async def _timed(self, job: Callable[..., T], *args: Any) -> tuple[T, float]:
        """(result, seconds). Raises SolveFailed on an exception, a dead process or a hung one."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._started(), _measured, job, *args)
        try:
            await asyncio.wait([future], timeout=GUARD_S)
        except asyncio.CancelledError:
            self._drop(kill=True)
            raise
        if not future.done():
            self._drop(kill=True)
            raise SolveFailed(f"no answer within {GUARD_S:.0f} s", where="solver process", mend="lower the budget")
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._drop()
            raise SolveFailed("the process died", where="solver process", mend="the next solve starts a new one")
        if error is not None:
            raise SolveFailed(f"{type(error).__name__}: {error}", where="solver process") from error
        result, solve_s, peak_mb = future.result()
        self.peak_mb = max(self.peak_mb, peak_mb)
        return result, solve_s

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_start)
        return self._pool

    def _drop(self, *, kill: bool = False) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if kill:
            for process in list((pool._processes or {}).values()):
                process.kill()
        pool.shutdown(wait=not kill, cancel_futures=True)
