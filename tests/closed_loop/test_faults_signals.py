"""Ctrl-C and SIGTERM at every moment of a program's life: it ends soon, releases what it set, and says so plainly."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sunspec2.modbus.client as sunspec

from devices.emulator import Plant
from devices.emulator.unit import Command
from twin import run as runs
from twin.audit import audit
from twin.summary import read as read_summary

ROOT = Path(__file__).parents[2]
SITE = ROOT / "examples" / "sites" / "two-homes.yaml"
VPPTWIN = str(Path(sys.executable).with_name("vpptwin"))
BATTERIES = ("bat-1", "bat-2")


def until(true: Callable[[], object], what: str, seconds: float = 40) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


@contextmanager
def started(*words: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, as a terminal gives it."""
    with subprocess.Popen(
        [VPPTWIN, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], status: int, seconds: float = 40) -> str:
    """What a process said on stderr that must end with `status`, without a traceback."""
    said = process.communicate(timeout=seconds)[1]
    assert process.returncode == status, said
    assert "Traceback" not in said
    return said


def customised(folder: Path, source: str) -> dict[str, str]:
    """The environment in which Python runs `source` at the start of every process."""
    (folder / "sitecustomize.py").write_text(source, encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}


def test_a_stopped_run_leaves_no_device_under_its_orders(
    run_here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plants: list[Plant] = []
    ordered: dict[str, float | None] = {}

    class Known(Plant):
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **more)
            plants.append(self)

    monkeypatch.setattr(runs, "Plant", Known)

    def at(done: int, _total: int, _what: str) -> None:
        if done == 40:
            ordered.update({name: plants[0].units[name].command.p_set_w for name in BATTERIES})
            os.kill(os.getpid(), signal.SIGINT)

    done = run_here(hours=24, progress=at)
    assert all(ordered.values()), "both batteries were under orders"
    assert [plants[0].units[name].command for name in BATTERIES] == [Command(), Command()]
    assert done.summary.stopped is True
    assert (done.summary.slots, done.summary.telemetry.missing, done.summary.telemetry.lost) == (2, 0, 0)
    assert done.summary.cost.perfect_foresight is not None, "what was settled is compared"
    with started("rerun", done.folder) as process:
        assert "the run was stopped, which nothing repeats" in ended(process, 2)


def test_sigterm_ends_a_run_as_ctrl_c_does_and_impatience_takes_no_report_away(tmp_path: Path) -> None:
    run = tmp_path / "run"
    pin = run / "ledger" / "pins" / "main.note"
    with started("run", SITE, "--days", "30", "--out", run) as process:
        until(pin.exists, "a settled slot")
        process.terminate()
        for _ in range(4):
            time.sleep(0.15)
            os.killpg(process.pid, signal.SIGINT)
        ended(process, 130)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert (summary["stopped"], summary["ledger"]["verified"]) == (True, True)
    assert audit(run).ok
    assert (run / "report.html").stat().st_size > 100_000


def test_ctrl_c_while_the_solver_process_starts_prints_no_traceback_of_it(tmp_path: Path) -> None:
    run, mark = tmp_path / "run", tmp_path / "solver"
    environment = customised(
        tmp_path,
        f"import sys\nif any('spawn_main' in word for word in sys.orig_argv): open({str(mark)!r}, 'w').close()\n",
    )
    with started("run", SITE, "--days", "30", "--out", run, **environment) as process:
        until(mark.exists, "the solver process")
        os.killpg(process.pid, signal.SIGINT)
        ended(process, 130)
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["stopped"] is True


def test_ctrl_c_ends_a_rerun_without_a_verdict(short_run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    with started("rerun", short_run, "--out", again) as process:
        until((again / "telemetry.db").exists, "the repeated run")
        process.send_signal(signal.SIGINT)
        said = ended(process, 130)
    assert "equal" not in said
    assert "differs" not in said


BETWEEN_LOGS = """
import os, signal
if "spawn_main" not in " ".join(__import__("sys").orig_argv):
    import ledger.core

    append_many, seen = ledger.core.Ledger.append_many, {{}}

    def counted(self, *words, **more):
        seen[self.log] = seen.get(self.log, 0) + 1
        if (self.log, seen[self.log]) == {moment!r}:
            os.kill(os.getpid(), signal.SIGKILL)
        return append_many(self, *words, **more)

    ledger.core.Ledger.append_many = counted
"""


@pytest.mark.parametrize("moment", [("two-homes/main", 9), ("two-homes/main", 10), ("two-homes/party/home-2", 7)])
def test_a_run_killed_between_its_logs_verifies_and_a_finished_one_like_it_does_not(
    tmp_path: Path, moment: tuple[str, int]
) -> None:
    """Prices and settlements go to the households' logs, then to the main log: kill -9 may come in between."""
    run = tmp_path / "run"
    environment = customised(tmp_path, BETWEEN_LOGS.format(moment=moment))
    with started("run", SITE, "--hours", "1.25", "--out", run, **environment) as process:
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    report = audit(run)
    assert report.ok, report.findings
    assert report.entries > 25
    (run / "summary.json").write_text("{}", encoding="utf-8")
    assert not audit(run).ok, "a run that ended in order has closed everything"


SLEEPY = """
import time
from controller.mechanisms.twostage import TwoStage

class Plugin(TwoStage):
    name = "sleepy"

    def plan(self, case, stage, budget, warm=None):
        if stage == "intraday":
            open({mark!r}, "w").close()
            time.sleep(3600)
        return super().plan(case, stage, budget, warm)
"""


def test_ctrl_c_does_not_wait_for_a_solve_that_hangs(
    plugin: Callable[[str, str], dict[str, str]], tmp_path: Path
) -> None:
    mark, run = tmp_path / "asleep", tmp_path / "run"
    environment = plugin("sleepy", SLEEPY.format(mark=str(mark)))
    with started("run", SITE, "--mechanism", "sleepy", "--out", run, **environment) as process:
        until(mark.exists, "a solve that hangs")
        process.send_signal(signal.SIGINT)
        ended(process, 130, 30)
    assert "ended because the run is being stopped" in (run / "run.log").read_text(encoding="utf-8")
    assert audit(run).ok


INTERRUPTED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "twin.session":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


def test_ctrl_c_while_the_program_loads_is_one_line(tmp_path: Path) -> None:
    with started("run", SITE, "--out", tmp_path / "run", **customised(tmp_path, INTERRUPTED)) as process:
        assert ended(process, 130) == "vpptwin: interrupted\n"
    assert not (tmp_path / "run").exists()


@pytest.fixture
def own_ports(tmp_path: Path, site_text: Callable[..., str]) -> tuple[Path, list[int]]:
    """Two homes that tick every second on ports that are free: (site file, its Modbus ports)."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(4)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [int(one.getsockname()[1]) for one in sockets]
    text = site_text(changes=[("tick_s: 60, slot_s: 900, lease_s: 180", "tick_s: 1, slot_s: 900, lease_s: 60")])
    written = re.findall(r"port: (\d+)", text)
    for old, new in zip(written, ports, strict=True):
        text = text.replace(f"port: {old}", f"port: {new}")
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path, ports[1:]


def test_a_port_in_use_is_named_with_its_mend(own_ports: tuple[Path, list[int]], tmp_path: Path) -> None:
    site, (_, roof, _) = own_ports
    with socket.create_server(("127.0.0.1", roof)):
        for words in (("devices", site), ("run", site, "--ports", "fixed", "--out", tmp_path / "run")):
            with started(*words) as process:
                said = ended(process, 3).strip().splitlines()[-1]
            assert f"vpptwin: links: roof-2: cannot listen on 127.0.0.1:{roof}: port in use; stop what uses" in said


def test_serve_releases_the_devices_of_another_program_when_it_ends(
    own_ports: tuple[Path, list[int]], tmp_path: Path
) -> None:
    site, (roof_1, roof_2, _) = own_ports
    run = tmp_path / "run"
    with started("devices", site, "--json") as plant:
        assert plant.stdout is not None
        assert all(plant.stdout.readline() for _ in range(8))
        inverters = [sunspec.SunSpecModbusClientDeviceTCP(2, "127.0.0.1", port, timeout=5) for port in (roof_1, roof_2)]
        for inverter in inverters:
            inverter.scan()

        def enabled() -> list[int]:
            for inverter in inverters:
                inverter.models[704][0].read()
            return [inverter.models[704][0].WSetEna.value for inverter in inverters]

        assert enabled() == [0, 0]
        with started("serve", site, "--out", run) as service:
            until(lambda: enabled() == [1, 1], "orders to both batteries")
            service.send_signal(signal.SIGINT)
            said = ended(service, 0)
        assert "ledger verify" in said
        assert "setpoints" in said
        assert enabled() == [0, 0]
        for inverter in inverters:
            inverter.close()
        plant.terminate()
        ended(plant, 0)
    assert audit(run).ok
    summary = read_summary(run)
    assert summary.stopped
    assert summary.clock == "wall"
    assert summary.setpoints.sent >= 2
    assert summary.ledger.verified
    assert summary.captured is None
    subprocess.run([sys.executable, "-m", "twin.report", str(run)], check=True, timeout=60, capture_output=True)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Test keys" not in page
