"""The solver process: results, failures and its own death are told apart and survived."""

import os
import signal

import pytest

from twin import worker
from twin.worker import SolveFailed, Worker


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
