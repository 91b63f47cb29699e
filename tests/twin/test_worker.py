"""The solver process: results, failures and its own death are told apart and survived."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.case import Case
from controller.plan import Budget
from twin import worker
from twin.worker import SolveFailed, Worker


def until(true: Callable[[], object]) -> None:
    """Wait for it, at most 10 s."""
    ends = time.monotonic() + 10
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_job_runs_in_another_process_with_single_threaded_blas() -> None:
    async with Worker() as pool:
        assert await pool.call("os", "getpid") != os.getpid()
        assert await pool.call("os", "getenv", "OMP_NUM_THREADS") == "1"
        assert pool.peak_mb > 1


async def test_a_failed_job_and_a_dead_process_leave_a_working_worker() -> None:
    async with Worker() as pool:
        with pytest.raises(SolveFailed, match="ZeroDivisionError"):
            await pool.call("operator", "truediv", 1, 0)
        with pytest.raises(SolveFailed, match="died"):
            await pool.call("os", "kill", await pool.call("os", "getpid"), signal.SIGKILL)
        assert await pool.call("operator", "truediv", 6, 3) == 2


async def test_a_hung_job_is_named_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "GUARD_S", 0.2)
    async with Worker() as pool:
        with pytest.raises(SolveFailed, match="no answer"):
            await pool.call("signal", "pause")
        monkeypatch.setattr(worker, "GUARD_S", 60.0)
        assert await pool.call("operator", "truediv", 6, 3) == 2


async def test_a_process_that_died_while_idle_is_replaced_without_a_failed_solve(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Worker() as pool:
        process = await pool.call("os", "getpid")
        os.kill(process, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: pool._pool is not None and pool._pool._broken)
        assert await pool.call("operator", "truediv", 6, 3) == 2
        assert await pool.call("os", "getpid") != process
    assert "died while it was idle" in caplog.text


async def test_stopping_ends_a_solve_at_once_and_leaves_a_worker_for_the_conclusion(case: Case) -> None:
    async with Worker() as pool:
        pool._solving = True
        hung = asyncio.ensure_future(pool.call("signal", "pause"))
        await asyncio.to_thread(until, lambda: pool._pool is not None and pool._pool._processes)
        pool.abandon()
        with pytest.raises(SolveFailed, match="being stopped"):
            await hung
        with pytest.raises(SolveFailed, match="no solve: the run is being stopped"):
            await pool.solve("twostage", case, "day_ahead", Budget(), None)
        assert await pool.call("operator", "truediv", 6, 3) == 2


STARTER = """
import asyncio
from twin.worker import Worker

async def main():
    async with Worker() as pool:
        print(await pool.call("os", "getpid"), flush=True)
        await pool.call("signal", "pause")

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_no_solver_process_outlives_a_killed_service(tmp_path: Path) -> None:
    script = tmp_path / "service.py"
    script.write_text(STARTER, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as service:
        assert service.stdout is not None
        worker_pid = int(service.stdout.readline())
        service.kill()
    until(lambda: not alive(worker_pid))
