"""`kill -9` of a real `vpptwin serve` with a real lease; the plant is another process, and its devices are asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devices.drivers import driver_for
from devices.errors import DeviceError
from devices.modbus import ModbusLink
from twin.site import Site, load_site

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("vpptwin")
LEASE_S = 60
QUIET = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def site_of(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """homes.yaml with a tick of a second, the shortest lease, free ports, and every controllable device changed."""
    top = yaml.safe_load((ROOT / "examples" / "sites" / "homes.yaml").read_text(encoding="utf-8"))
    top["time"] |= {"tick_s": 1, "lease_s": LEASE_S}
    top["data"]["path"] = str(ROOT / "examples" / "data" / "homes")
    with contextlib.ExitStack() as held:
        for one in [*top["links"], top["broker"]]:
            one["port"] = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    for one in top["devices"]:
        if "failsafe" in one:
            change(one)
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(top, sort_keys=False), encoding="utf-8")
    return path


@contextlib.contextmanager
def plant_of(path: Path) -> Iterator[Site]:
    site = load_site(path)
    with subprocess.Popen([COMMAND, "devices", path, "--json"], stdout=subprocess.PIPE, text=True, **QUIET) as plant:
        try:
            assert plant.stdout is not None
            listed = [json.loads(plant.stdout.readline())["device"] for _ in site.devices]
            assert set(listed) == {one.id for one in site.devices}
            yield site
        finally:
            plant.kill()


class Wires:
    """What every controllable device of the plant says of itself, over a connection that is neither's."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._open: dict[str, tuple[Any, ModbusLink]] = {}

    async def left(self) -> dict[str, float]:
        """Device under an order -> seconds to its revert (infinite where it has no timer)."""
        found = {}
        for spec in self._site.devices:
            if spec.link is None or spec.kind == "meter":
                continue
            if spec.id not in self._open:
                self._open[spec.id] = driver_for(spec), ModbusLink.of(self._site.link(spec.link))
            driver, link = self._open[spec.id]
            with contextlib.suppress(DeviceError):
                if not link.connected:
                    await link.connect()
                    await driver.open(link)
                shown = await driver.read_back(link)
                if shown.enabled and shown.value_w is not None:
                    found[spec.id] = float("inf") if shown.left_s is None else shown.left_s
        return found

    def close(self) -> None:
        for _, link in self._open.values():
            link.close()


async def killed(site: Site, path: Path, out: Path, within_s: float) -> tuple[dict[str, float], dict[str, float]]:
    """(seconds to revert that each device showed when the service died, seconds after which it was free)."""
    wires = Wires(site)
    quiet = {**QUIET, "stdout": subprocess.DEVNULL}
    service = await asyncio.create_subprocess_exec(COMMAND, "serve", path, "--out", out, **quiet)
    try:
        ordered: dict[str, float] = {}
        ends = time.monotonic() + 60
        while sum(name.startswith("bat-") for name in ordered) < 8:
            assert service.returncode is None
            assert time.monotonic() < ends, f"under an order: {ordered}"
            await asyncio.sleep(0.3)
            ordered = await wires.left()
        await asyncio.sleep(1)  # so that what it has just begun to write is read back
        service.kill()
        died = time.monotonic()
        held, free = await wires.left(), {}
        assert len(held) >= 8
        while len(free) < len(held):
            now = time.monotonic() - died
            assert now < within_s, f"still under an order: {held.keys() - free.keys()}"
            still = await wires.left()
            free |= {name: now for name in held.keys() - still.keys() - free.keys()}
            await asyncio.sleep(0.1)
        return held, free
    finally:
        if service.returncode is None:
            service.kill()
        await service.wait()
        wires.close()


def test_devices_without_a_timer_are_made_safe_by_the_watchdog(tmp_path: Path) -> None:
    """No device falls back by itself: only the watchdog, which outlives the service, can have freed them."""

    def stubborn(device: dict[str, Any]) -> None:
        device |= {"failsafe": "watchdog", "behaviour": {"no_revert": True}}

    path = site_of(tmp_path, stubborn)
    with plant_of(path) as site:
        held, free = asyncio.run(killed(site, path, tmp_path / "run", within_s=10))
    assert max(free.values()) < 5, (held, free)


@pytest.mark.torture
@pytest.mark.timeout(240)
def test_devices_with_a_timer_are_safe_within_it_and_a_second(tmp_path: Path) -> None:
    path = site_of(tmp_path, lambda device: device.update(failsafe="device"))
    with plant_of(path) as site:
        held, free = asyncio.run(killed(site, path, tmp_path / "run", within_s=LEASE_S + 1))
    assert all(free[name] <= left + 1.5 for name, left in held.items()), (held, free)
    assert max(free.values()) > 5, "an order in force is not dropped before its time"
