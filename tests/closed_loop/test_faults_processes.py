"""Processes that die under a run: its broker, its solver, a mechanism that misbehaves. The run goes on and says so."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import twin.brokers
from devices.broker import Broker, mosquitto_path

METERS = ("meter-1", "meter-2", "meter-vpp")
SITES_BROKER = "broker: {port: 18831}"


class Elsewhere:
    """A broker that is none of the run's own, as a process of its own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        kind = "mosquitto" if mosquitto_path() else "embedded"
        command = [sys.executable, "-m", "devices.broker", kind, str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ends = time.monotonic() + 20
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            assert time.monotonic() < ends, "no broker"
            time.sleep(0.02)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait(20)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    broker = Elsewhere()
    broker.start()
    yield broker
    broker.stop()


def test_a_run_goes_on_while_its_broker_is_gone_and_takes_it_back(
    run_here: Callable[..., Any], elsewhere: Elsewhere
) -> None:
    gone, back, ticks = 30, 60, 240

    def at(done: int, _total: int, _what: str) -> None:
        if done == gone:
            elsewhere.stop()
        elif done == back:
            elsewhere.start()
        elif done > back:
            time.sleep(0.02)  # lockstep waits for no broker: leave it the second that clients need to come back

    named = (SITES_BROKER, f"broker: {{embedded: false, host: 127.0.0.1, port: {elsewhere.port}}}")
    done = run_here(hours=ticks / 60, changes=[named], progress=at)
    assert (done.summary.slots, done.summary.plans.kept) == (ticks // 15, 0)
    telemetry = done.summary.telemetry
    assert telemetry.lost == 0
    assert telemetry.received + telemetry.missing == 8 * (ticks + 1), "each expected reading came or is missing"
    assert telemetry.missing >= len(METERS) * (back - gone)
    assert "broker connection lost" in done.log
    for meter in METERS:
        assert f"{meter} answers again" in done.log
        told = done.events(meter)
        assert told[0].startswith("no reading for ")
        assert told[-1].startswith("valid readings again after ")
        qualities = done.qualities(meter)
        assert (qualities[0], qualities[2], qualities[-1]) == ("actual", "estimated", "actual")


def test_a_broker_of_the_runs_own_that_is_killed_is_replaced(
    run_here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    brokers: list[Broker] = []

    class Known(Broker):
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **more)
            brokers.append(self)

    monkeypatch.setattr(twin.brokers, "Broker", Known)

    def at(done: int, _total: int, _what: str) -> None:
        if done == 4:
            guard = brokers[0]._guard
            assert guard is not None
            os.killpg(guard.pid, signal.SIGKILL)

    done = run_here(hours=0.25, clock="x120", progress=at)
    assert "ended by itself" in done.log
    telemetry = done.summary.telemetry
    assert telemetry.received == telemetry.stored
    gone = 0
    for meter in METERS:
        query = "SELECT max(ts_us) - min(ts_us), max(seq), count(*) FROM meter WHERE device = ?"
        span_us, samples, stored = done.rows(query, meter)[0]
        assert span_us > 12 * 60_000_000, f"{meter} is heard again"
        gone += samples - stored
    assert 0 < gone <= telemetry.missing, "what a meter sampled while there was no broker"


def test_a_solver_process_killed_between_solves_is_replaced(run_here: Callable[..., Any]) -> None:
    killed = []

    def at(done: int, _total: int, _what: str) -> None:
        if done == 20:
            for child in multiprocessing.active_children():
                child.kill()
                killed.append(child.pid)

    done = run_here(hours=1, progress=at)
    assert len(killed) == 1
    assert (done.summary.slots, done.summary.plans.intraday) == (4, 4)
    # Whether the pool knows of the death before the next solve or learns it by that, one plan at most is kept.
    assert done.summary.plans.kept <= 1
    assert "died while it was idle" in done.log or "the process died" in done.log
    assert done.summary.cost.perfect_foresight is not None


MOODY = '''
import os, signal, time
import msgspec
from controller.errors import ControllerError
from controller.mechanisms.twostage import TwoStage


class Unspeakable(Exception):
    """Cannot be rebuilt in another process from its args."""
    def __init__(self, one, two):
        super().__init__("said once")


class Plugin(TwoStage):
    name = "moody"

    def plan(self, case, stage, budget, warm=None):
        slot = case.start_us // 900_000_000 % 96 - 28
        if stage == "intraday":
            if slot == 1:
                raise ZeroDivisionError("a fault of the plug-in")
            if slot == 2:
                raise ControllerError("no feasible plan", where="bat-1", mend="lower its reserve")
            if slot == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            if slot == 4:
                return None
            if slot == 5:
                raise Unspeakable(1, 2)
        plan = super().plan(case, stage, budget, warm)
        if stage == "intraday" and slot == 6:
            return msgspec.structs.replace(plan, buy_per_kwh={p: [float("nan")] * case.slots for p in plan.buy_per_kwh})
        if stage == "intraday" and slot == 7:
            return msgspec.structs.replace(plan, sell_per_kwh={})
        return plan
'''
REASONS = (
    "ZeroDivisionError: a fault of the plug-in",
    "bat-1: no feasible plan; lower its reserve",
    "the process died",
    "NoneType instead of a Plan",
    "solver process",
    "not finite",
    "home-1",
)


def test_a_mechanism_that_raises_dies_or_talks_nonsense_costs_its_window_and_nothing_else(
    vpptwin: Callable[..., Any], plugin: Callable[[str, str], dict[str, str]], tmp_path: Path
) -> None:
    run, site = tmp_path / "run", Path(__file__).parents[2] / "examples" / "sites" / "two-homes.yaml"
    words = ("--hours", "2.25", "--mechanism", "moody", "--out", run, "--json")
    done = vpptwin("run", site, *words, **plugin("moody", MOODY))
    assert "Traceback" not in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["slots"], summary["mechanism"]) == (9, "moody")
    assert summary["plans"] | {"day_ahead": 1, "intraday": 9, "kept": len(REASONS)} == summary["plans"]
    assert summary["ledger"]["verified"] is True
    assert summary["setpoints"]["sent"] == summary["setpoints"]["verified"] > 0
    log = (run / "run.log").read_text(encoding="utf-8")
    kept = [line for line in log.splitlines() if "the last valid plan is kept" in line]
    assert len(kept) == len(REASONS)
    for line, reason in zip(kept, REASONS, strict=True):
        assert reason in line
