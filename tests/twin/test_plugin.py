"""A mechanism from outside: a distribution of its own is installed, passes the kit and runs a site."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Vpptwin = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the pool was installed into."""
    source = tmp_path_factory.mktemp("pool") / "source"
    shutil.copytree(ROOT / "tests" / "plugin_pool", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    target = source.parent / "site"
    quiet = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *quiet, "--target", target, source], check=True, timeout=100
    )
    return target


def test_the_pool_passes_the_conformance_kit(installed: Path) -> None:
    code = (
        "from controller.mechanism import load, names\n"
        "from controller.testing import check_mechanism\n"
        "assert 'pool' in names()\n"
        "check_mechanism(lambda: load('pool'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_pool_runs_a_site(installed: Path, vpptwin: Vpptwin, tmp_path: Path) -> None:
    site, out = ROOT / "examples" / "sites" / "two-homes.yaml", tmp_path / "run"
    words = ("--hours", "1", "--start", "2016-09-05T15:00", "--mechanism", "pool", "--out", out, "--json")
    summary = json.loads(vpptwin("run", site, *words, PYTHONPATH=str(installed)).stdout)
    assert summary["mechanism"] == "pool"
    assert summary["plans"]["intraday"] == 4
    assert summary["plans"]["kept"] == 0
    assert summary["ledger"]["verified"]
    assert "installed: " in vpptwin("run", site, "--mechanism", "pool", "--out", tmp_path / "no", expect=2).stderr


def test_nothing_in_the_packages_knows_the_pool() -> None:
    for package in ("twin", "devices", "controller", "ledger"):
        for path in (ROOT / package).rglob("*.py"):
            assert "vpptwin_pool" not in path.read_text(encoding="utf-8"), path
