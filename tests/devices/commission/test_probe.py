"""Meeting devices: who they are, what is odd about them, and which way their sign goes, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices.commission import identify, self_test
from devices.description import DeviceSpec, LinkSpec
from devices.emulator import Plant
from devices.gateway import Gateway
from devices.regmap import load_map
from twin.clock import WallClock

HOME = {"party": "home"}
BATTERY = {"e_wh": 200.0, "p_w": 5000.0, "soc0_pu": 0.5}
GRID = DeviceSpec("meter-grid", "meter", "grid", "bus", 1, "sunspec-float", is_grid=True)
METER = DeviceSpec("meter-home", "meter", link="bus", unit=2, map="sunspec", **HOME)


def battery(map_: str = "sunspec", **more: Any) -> DeviceSpec:
    return DeviceSpec("bat", "storage", link="roof", unit=3, map=map_, model=BATTERY, failsafe="device", **HOME, **more)


LINKS = [LinkSpec("roof", "modbus-tcp", "127.0.0.1", 0), LinkSpec("bus", "modbus-rtu-tcp", "127.0.0.1", 0, 0.3)]


@pytest.fixture
async def running() -> AsyncIterator[Callable[..., Any]]:
    """`running(devices)` serves them on the wall clock; the links to use."""
    stack = AsyncExitStack()

    async def start(*devices: DeviceSpec) -> list[LinkSpec]:
        plant = await stack.enter_async_context(
            Plant(LINKS, devices, WallClock(), lambda *_: 0.0, site_id="probe", physics_s=0.1)
        )
        task = asyncio.create_task(plant.serve())

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        stack.push_async_callback(stop)
        return plant.links

    async with stack:
        yield start


@pytest.mark.parametrize("profile", ["sunspec", "sunspec-legacy"])
async def test_every_device_says_what_it_is_and_how_fast(running: Any, profile: str) -> None:
    devices = [GRID, METER, battery(profile)]
    links = await running(*devices)
    met = {one.device: one for one in await identify(links, devices, WallClock())}
    assert all(one.ok for one in met.values())
    assert "vpptwin emulated storage 1 bat" in met["bat"].what
    assert ("124" in met["bat"].what) == (profile == "sunspec-legacy")
    assert met["bat"].control == "p_set_w -5000..5000 W"
    assert met["meter-home"].what.endswith("models 1 203")
    assert met["meter-grid"].what.endswith("models 1 213")
    for one in met.values():
        assert one.latency_ms is not None
        assert 0 < one.latency_ms < 200
        assert one.values["p_w"] == 0


async def test_what_is_wrong_is_named_with_its_mend(running: Any) -> None:
    there = [GRID, METER, battery()]
    links = await running(*there)
    strangers = [
        replace(METER, id="nobody", unit=9),
        replace(battery(), id="wrong-map", map="kostal-plenticore"),
        DeviceSpec("far", "meter", "home", "off", 1, "sunspec"),
    ]
    links = [*links, LinkSpec("off", "modbus-tcp", "127.0.0.1", 1)]
    faults = {one.device: one.fault for one in await identify(links, strangers, WallClock())}
    assert "is the unit number right" in faults["nobody"]
    assert "is it really a kostal-plenticore?" in faults["wrong-map"]
    assert "cannot connect" in faults["far"]


async def verdicts(links: list[LinkSpec], devices: list[DeviceSpec]) -> dict[str, Any]:
    clock = WallClock()
    async with Gateway(links, devices, clock, lockstep=False, tick_s=0.2, lease_s=60) as gateway:
        found = await self_test(gateway, devices, clock, wait_s=2.5)
        assert gateway.stats.sent == 1
        await gateway.release_all()
    return {one.device: one for one in found}


@pytest.mark.parametrize("profile", ["sunspec", "sunspec-legacy"])
async def test_the_self_test_sees_power_meter_and_state_of_charge_go_the_right_way(running: Any, profile: str) -> None:
    devices = [GRID, METER, battery(profile)]
    links = await running(*devices)
    found = (await verdicts(links, devices))["bat"]
    assert found.result == "right", found.detail
    assert "meter moved +1000 W" in found.detail
    assert "state of charge -" in found.detail
    driver_sees = {one.device: one for one in await identify(links, devices, WallClock())}
    assert driver_sees["bat"].values["set_ena"] == 0, "released"


async def test_the_self_test_finds_a_reversed_sign(running: Any, tmp_path: Path) -> None:
    """The device counts discharge as positive; the site's map says charge: orders and readings agree, and are wrong."""
    devices = [GRID, METER, replace(battery("kostal-plenticore"), unit=71)]
    links = await running(*devices)
    text = Path(load_map("kostal-plenticore").source)
    shipped = (Path(__file__).parents[3] / "devices" / "maps" / text.name).read_text()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(shipped.replace("discharge_positive", "charge_positive"))
    devices[2] = replace(devices[2], map=str(wrong))
    found = (await verdicts(links, devices))["bat"]
    assert found.result == "wrong", found.detail
    assert "meter and state of charge went the wrong way; check `sign`" in found.detail


async def test_a_device_that_applies_nothing_is_unclear_not_right(running: Any) -> None:
    devices = [GRID, METER, battery(behaviour={"ignores_writes": True})]
    links = await running(*devices)
    found = (await verdicts(links, devices))["bat"]
    assert found.result == "unclear", found.detail
    assert "did not follow" in found.detail
