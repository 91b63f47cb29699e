"""`vpptwin run` in processes of its own, with the time all of them took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from twin import summary
from twin.summary import Summary

ROOT = Path(__file__).resolve().parent.parent
HOMES = ROOT / "examples" / "sites" / "homes.yaml"
_COMMAND = (sys.executable, "-c", "from twin.cli import main; main()")


@dataclass(frozen=True, slots=True)
class Run:
    """One run and what it cost."""

    summary: Summary
    wall_s: float
    """From start to end of the command, report included."""
    cpu_s: float
    """User and system time of the command and all its processes: steadier than wall time on a busy machine."""


def run(site: Path, folder: Path, *arguments: str) -> Run:
    """Run a site into a new folder. Raises CalledProcessError when the command fails."""
    wall_s, cpu_s = timed("run", str(site), "--out", str(folder), *arguments)
    return Run(summary.read(folder), wall_s, cpu_s)


def timed(*words: str) -> tuple[float, float]:
    """Wall and processor time of `vpptwin WORDS`, s. Raises CalledProcessError when the command fails."""
    command = [*_COMMAND, *words]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=said, stderr=said, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            print(said.read().decode(errors="replace"), file=sys.stderr)
            raise subprocess.CalledProcessError(process.returncode, command)
    return wall_s, used.ru_utime + used.ru_stime


def variant(site: Path, folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> Path:
    """A copy of a site file with some fields of its sections changed, its data where it was."""
    content = yaml.safe_load(site.read_text(encoding="utf-8"))
    content["data"]["path"] = str((site.parent / content["data"]["path"]).resolve())
    for section, fields in changes.items():
        content[section] = {**content[section], **fields}
    path = folder / site.name
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path
