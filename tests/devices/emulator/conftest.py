"""A small site of real emulated devices: two homes, a turbine, an interruptible load, a grid meter."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from devices.description import DeviceSpec, LinkSpec
from devices.emulator import Plant

WithSunSpec = Callable[[Plant, str, Callable[[Any], Any]], Awaitable[Any]]

T0_US = 1_472_688_000_000_000
SECOND_US = 1_000_000


class ManualClock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.t_us = T0_US

    def now_us(self) -> int:
        return self.t_us

    async def sleep_until_us(self, t_us: int) -> None:
        self.t_us = max(self.t_us, t_us)


@dataclass
class Site:
    """What `Plant` takes; tests change it before they build the plant."""

    clock: ManualClock = field(default_factory=ManualClock)
    gaps: set[str] = field(default_factory=set)
    links: list[LinkSpec] = field(default_factory=list)
    devices: list[DeviceSpec] = field(default_factory=list)

    def series(self, name: str, t0_us: int, t1_us: int) -> float | None:
        if name in self.gaps:
            return None
        turn = (t0_us - T0_US) / (24 * 3600 * SECOND_US) * 2 * math.pi
        return 600 + 200 * math.sin(5 * turn) if name.endswith("load") else 2500 - 500 * math.cos(turn)

    def at(self, seconds: float) -> int:
        self.clock.t_us = T0_US + round(seconds * SECOND_US)
        return self.clock.t_us

    def change(self, device: str, **fields: object) -> None:
        self.devices = [replace(one, **fields) if one.id == device else one for one in self.devices]  # type: ignore[arg-type]


def _home(n: int) -> list[DeviceSpec]:
    party, link = f"home-{n}", f"roof-{n}"
    sunspec = {"party": party, "link": link, "map": "sunspec"}
    share = 0.7 if n == 1 else 1.0
    return [
        DeviceSpec(f"meter-{n}", "meter", party, mqtt=True, model={"series": f"{party}/load", "share": share}),
        DeviceSpec(f"pv-{n}", "pv", unit=1, model={"peak_w": 4000, "series": f"{party}/pv"}, **sunspec),  # type: ignore[arg-type]
        DeviceSpec(f"bat-{n}", "storage", unit=2, model={"e_wh": 6400, "p_w": 5000, "eta": 0.95}, **sunspec),  # type: ignore[arg-type]
    ]


@pytest.fixture
def site() -> Site:
    """Fresh for each test; ports are chosen by the operating system."""
    turbine = {"p_min_w": 2000, "p_max_w": 10_000, "ramp_w_s": 100, "efficiency": 0.3, "heat_ratio": 1.5}
    flex = {"series": "home-1/load", "share": 0.3, "curtail_max_pu": 0.8}
    devices = [
        *_home(1),
        *_home(2),
        DeviceSpec("turbine", "turbine", "vpp", link="plant", unit=1, map="generic-microturbine", model=turbine),
        DeviceSpec("flex-1", "load", "home-1", link="flex", unit=1, map="generic-interruptible-load", model=flex),
        DeviceSpec("meter-vpp", "meter", "vpp", mqtt=True),
        DeviceSpec("meter-grid", "meter", "grid", link="grid", unit=1, map="eastron-sdm630", is_grid=True),
    ]
    names = ("roof-1", "roof-2", "plant", "flex", "grid")
    links = [LinkSpec(name, "modbus-tcp", "127.0.0.1", 0) for name in names]
    return Site(links=links, devices=devices)


@pytest.fixture
def near() -> Callable[[float, float], bool]:
    """Equal up to rounding of a float."""
    return lambda left, right: math.isclose(left, right, abs_tol=1e-6)


@pytest.fixture
def with_sunspec() -> WithSunSpec:
    """`await with_sunspec(plant, device, use)`: pysunspec2's `use(client)` after a scan, in a thread: it blocks."""

    def work(host: str, port: int, unit: int, use: Callable[[Any], Any]) -> Any:
        client = SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr=host, ipport=port, timeout=5)
        client.scan()
        try:
            return use(client)
        finally:
            client.close()

    async def ask(plant: Plant, device: str, use: Callable[[Any], Any]) -> Any:
        found = next(one for one in plant.endpoints if one.device == device)
        assert found.unit is not None
        return await asyncio.to_thread(work, found.host, found.port, found.unit, use)

    return ask
