"""Runs that do not end by themselves: Ctrl-C leaves everything settled, kill -9 leaves everything readable."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twin.recording import Recording
from twin.store import StoreReader

ROOT = Path(__file__).parents[2]
SITE = ROOT / "examples" / "sites" / "two-homes.yaml"

Vpptwin = Callable[..., subprocess.CompletedProcess[str]]
Batches = Callable[[Path], tuple[dict[Any, Any], dict[Any, Any]]]


@contextmanager
def under_way(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run of many days that has settled its first slots."""
    command = [str(Path(sys.executable).with_name("vpptwin")), "run", str(SITE), "--days", "30", "--out", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while not settled(folder):
                assert process.poll() is None, "the run ended by itself"
                assert time.monotonic() < deadline, "no slot was settled within a minute"
                time.sleep(0.1)
            yield process
        finally:
            process.kill()


def settled(folder: Path) -> bool:
    """Whether a second slot has been settled: the signed head was pinned after it."""
    pin = folder / "ledger" / "pins" / "main.note"
    return pin.exists() and int(pin.read_text(encoding="utf-8").splitlines()[1]) > 40


def test_ctrl_c_releases_settles_and_reports(vpptwin: Vpptwin, tmp_path: Path, batches: Batches) -> None:
    run = tmp_path / "run"
    with under_way(run) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["stopped"] is True
    assert summary["ledger"]["verified"] is True
    assert summary["slots"] >= 2
    assert summary["telemetry"]["received"] == summary["telemetry"]["stored"]
    figures = summary["setpoints"]
    ends = ("verified", "rejected", "expired", "diverged", "superseded")
    assert figures["sent"] == sum(figures[end] for end in ends)
    assert (run / "report.html").exists()
    vpptwin("ledger", "verify", run)
    said, stored = batches(run)
    assert said == stored
    with StoreReader(run / "telemetry.db") as reader:
        for device in ("bat-1", "bat-2"):
            assert reader.commands(device)[-1].state == "released"
    assert Recording(run / "recording" / "log.bin").end.complete


def test_kill_9_leaves_a_ledger_that_verifies_and_a_store_that_opens(
    vpptwin: Vpptwin, tmp_path: Path, batches: Batches
) -> None:
    run = tmp_path / "run"
    with under_way(run) as process:
        process.kill()
        process.wait(20)
    vpptwin("ledger", "verify", run)
    with StoreReader(run / "telemetry.db") as reader:
        assert len(reader.readings("meter-grid")) >= 1
        assert reader.findings() == []
    recording = Recording(run / "recording" / "log.bin")
    assert not recording.end.complete
    assert "killed" in recording.end.why or "cut" in recording.end.why
    said, stored = batches(run)
    assert said.items() <= stored.items(), "every reading of a settled slot is in the store"
