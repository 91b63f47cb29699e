"""examples/sites/lab.yaml: a battery and a meter of another project (dertwin, in its own process) among emulated homes.

dertwin wants an older pymodbus than ours, so it lives in an environment of its own; VPPTWIN_DERTWIN names its command.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LAB = ROOT / "examples" / "sites"
PORTS = ("15061", "15062", "15063", "15064", "18835")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example on free ports, its bench served by dertwin."""
    command = os.environ.get("VPPTWIN_DERTWIN") or shutil.which("dertwin")
    if command is None:
        reason = "dertwin is not installed (`make dertwin`, in an environment of its own; VPPTWIN_DERTWIN names it)"
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail(f"{reason}, and REQUIRE_SERVERS=1 wants it")
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(LAB / "lab", folder / "lab")
    taken = [socket.socket() for _ in PORTS]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    ports = {port: str(one.getsockname()[1]) for port, one in zip(PORTS, taken, strict=True)}
    for one in taken:
        one.close()
    for source, target in (
        (LAB / "lab.yaml", folder / "lab.yaml"),
        (LAB / "lab/dertwin.json", folder / "lab/dertwin.json"),
    ):
        text = source.read_text(encoding="utf-8").replace("../data/homes", str(ROOT / "examples/data/homes"))
        for old, new in ports.items():
            text = text.replace(old, new)
        target.write_text(text.replace("slot_s: 900", "slot_s: 60"), encoding="utf-8")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([command, "-c", "dertwin.json"], cwd=folder / "lab", **quiet)
    wait_for(int(ports["15061"]))
    wait_for(int(ports["15062"]))
    yield folder / "lab.yaml"
    process.terminate()
    process.wait(20)


def wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("dertwin does not listen")


def test_the_bench_is_met_and_its_sign_is_right(vpptwin, lab: Path) -> None:
    words = ("--probe", "--device", "bat-bench", "--device", "meter-bench", "--wait", "6", "--json")
    found = json.loads(vpptwin("check", lab, *words).stdout)
    assert {one["device"]: one["fault"] for one in found["devices"]} == {"bat-bench": "", "meter-bench": ""}
    (verdict,) = found["self_test"]
    assert verdict["result"] == "right", verdict
    assert "meter moved +10" in verdict["detail"] or "meter moved +9" in verdict["detail"]


@pytest.mark.torture
@pytest.mark.timeout(400)
def test_bench_and_homes_are_planned_dispatched_verified_and_settled(vpptwin, lab: Path, tmp_path: Path) -> None:
    """Three minutes of wall time, slots of one minute."""
    run = tmp_path / "run"
    words = ("--clock", "wall", "--hours", "0.055", "--ports", "fixed", "--out", run, "--json")
    summary = json.loads(vpptwin("run", lab, *words, timeout=380).stdout)
    assert summary["slots"] >= 1
    assert summary["setpoints"]["sent"] > 0
    assert summary["setpoints"]["verified"] >= 0.9 * summary["setpoints"]["sent"]
    assert summary["telemetry"]["received"] > 500
    assert summary["ledger"]["verified"]
    vpptwin("ledger", "verify", run)
    told = vpptwin("ledger", "show", run, "--type", "metering", "--limit", "10000").stdout
    assert "meter-bench" in told
    assert "bat-bench" in told


def test_real_devices_are_refused_on_any_clock_but_the_walls(vpptwin) -> None:
    done = vpptwin("run", LAB / "lab.yaml", "--hours", "1", expect=2)
    assert "run with --clock wall" in done.stderr
