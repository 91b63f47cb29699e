"""Fixtures that many folders share: the installed command, one short run of the whole loop, server programs, a site."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # imported where it is used: a test of one package does not load the others
    from twin.site import Site

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("vpptwin")
"""The command as it was installed beside this interpreter."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out, unless `make torture` asks for them."""
    if os.environ.get("VPPTWIN_TORTURE") == "1":
        return
    long = [item for item in items if item.get_closest_marker("torture")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in set(long)]


Batches = dict[tuple[str, int], tuple[str, int]]
Vpptwin = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def vpptwin() -> Vpptwin:
    """Runs the installed command in a process of its own: `vpptwin("ledger", "verify", folder, expect=1)`."""

    def call(
        *words: str | Path, expect: int | None = 0, cwd: Path | None = None, timeout: float = 100, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(COMMAND), *map(str, words)],
            capture_output=True,
            text=True,
            cwd=cwd or ROOT,
            timeout=timeout,
            check=False,
            env={**os.environ, "COLUMNS": "240", **environment},
        )
        if expect is not None:
            assert done.returncode == expect, f"exit {done.returncode}, not {expect}: {done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture(scope="session")
def short_run(vpptwin: Vpptwin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run: two homes from 15:00 to 17:00 local time, the peak price beginning at 16:00.

    Shared by many tests, so it must not be written to: copy it first.
    """
    folder = tmp_path_factory.mktemp("short") / "run"
    words = ("--start", "2016-09-05T15:00", "--hours", "2", "--seed", "7", "--out", folder)
    vpptwin("run", ROOT / "examples" / "sites" / "two-homes.yaml", *words)
    return folder


@pytest.fixture(scope="session")
def batches() -> Callable[[Path], tuple[Batches, Batches]]:
    """`batches(run)` is (what the ledger says, what telemetry.db gives): device and slot -> Merkle root and count.

    The second is recomputed from the stored readings and the nonces beside them alone.
    """
    from ledger import show
    from ledger.batch import batch_root
    from twin.metering import leaf
    from twin.store import StoreReader

    def of(run: Path) -> tuple[Batches, Batches]:
        said: Batches = {}
        slot_us = 0
        for one in show.entries(run, type="metering", limit=1_000_000):
            body = one["body"]
            slot_us = body["period_s"] * 1_000_000
            if body["count"]:
                said[body["device"], body["start"]] = (body["root"], body["count"])
        leaves: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        with StoreReader(run / "telemetry.db") as reader:
            for device in reader.devices():
                for reading, nonce in reader.readings(device):
                    leaves[device, reading.ts_us - reading.ts_us % slot_us].append(leaf(reading, nonce))
        return said, {key: (batch_root(found), len(found)) for key, found in leaves.items()}

    return of


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """`require("mosquitto")` is the path of a server program; without it a test is skipped, or fails if it must run."""

    def path_of(program: str) -> str:
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")
        if found is None:
            reason = f"{program} is not installed"
            if os.environ.get("REQUIRE_SERVERS") == "1":
                pytest.fail(f"{reason}, and REQUIRE_SERVERS=1 wants it")
            pytest.skip(reason)
        return found

    return path_of


@pytest.fixture(scope="session")
def two_homes() -> Site:
    """The small example site."""
    from twin.site import load_site

    return load_site(ROOT / "examples" / "sites" / "two-homes.yaml")


@pytest.fixture(scope="session")
def eight_homes() -> Site:
    """The example site with a turbine and an interruptible load."""
    from twin.site import load_site

    return load_site(ROOT / "examples" / "sites" / "homes.yaml")
