"""Emulated devices that misbehave on request, seen by our gateway and by bare clients over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from devices.emulator import Plant
from devices.emulator.behaviour import Behaviour
from devices.emulator.stubborn import StubbornUnit
from devices.gateway import Gateway
from devices.modbus import BusyFault, Disconnected, ModbusLink
from devices.models.parameters import ModelError

LEASE_S = 60


class Loop:
    """Plant and gateway in lockstep, a second a step."""

    def __init__(self, site: Any, plant: Plant, gateway: Gateway, journal: list[Any]) -> None:
        self.site, self.plant, self.gateway, self.journal = site, plant, gateway, journal
        self.t_s = 0.0

    async def step(self, seconds: float = 1.0, orders: dict[str, float] | None = None) -> dict[str, Any]:
        self.t_s += seconds
        await self.plant.step(self.site.at(self.t_s))
        readings = await self.gateway.poll()
        for device, value_w in (orders or {}).items():
            until_us = self.site.clock.t_us + 900_000_000
            self.gateway.order(device, value_w, until_us=until_us, slot_us=1, reason="test", plan="p")
        await self.gateway.settle()
        return {reading.device: reading.values for reading in readings}


@pytest.fixture
async def stack():
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def start(site: Any, stack: AsyncExitStack):
    async def made(device: str, **behaviour: Any) -> Loop:
        site.change(device, behaviour=behaviour)
        plant = await stack.enter_async_context(Plant(site.links, site.devices, site.clock, site.series, site_id="t"))
        await plant.step(site.at(0))
        journal: list[Any] = []
        wired = [one for one in site.devices if not one.mqtt]
        links = [link for link in plant.links if link.id in ("roof-1", "plant")]
        wired = [one for one in wired if one.link in ("roof-1", "plant")]
        gateway = Gateway(links, wired, site.clock, lease_s=LEASE_S, tick_s=1, journal=journal.append)
        return Loop(site, plant, await stack.enter_async_context(gateway), journal)

    return made


async def test_a_ramp_limits_how_fast_the_power_moves(start):
    loop = await start("bat-1", ramp_w_s=100)
    powers = [(await loop.step(orders={"bat-1": 1000}))["bat-1"]["p_w"] for _ in range(4)]
    assert powers == [0, 100, 200, 300]


async def test_a_dead_band_takes_small_changes_without_following(start):
    loop = await start("bat-1", dead_band_w=200)
    for value_w, follows in ((1000, 1000), (1150, 1000), (850, 1000), (1200, 1200), (1100, 1200)):
        await loop.step(orders={"bat-1": value_w})
        shown = (await loop.step(orders={"bat-1": value_w}))["bat-1"]
        assert (shown["p_set_w"], shown["p_w"]) == (value_w, follows)
    assert loop.gateway.stats.diverged == 0


async def test_a_single_connection_device_hangs_up_on_the_second_client(start):
    loop = await start("bat-1", single_connection=True)
    assert "bat-1" in await loop.step()
    port = next(link.port for link in loop.plant.links if link.id == "roof-1")
    second = ModbusLink("127.0.0.1", port, 0.5)
    await second.connect()
    with pytest.raises(Disconnected):
        await second.read(2, 3, 40000, 2)
    second.close()
    assert "bat-1" in await loop.step(), "the first client is left alone"


async def test_an_inverter_sleeps_at_night_and_its_neighbour_on_the_line_does_not(start, site):
    night, real = [False], site.series
    site.series = lambda name, t0, t1: 0.0 if night[0] and name.endswith("pv") else real(name, t0, t1)
    site.links = [
        type(one)(**{f: getattr(one, f) for f in one.__dataclass_fields__} | {"timeout_s": 0.1}) for one in site.links
    ]
    loop = await start("pv-1", night_sleep=True)
    assert {"pv-1", "bat-1"} <= set(await loop.step())
    night[0] = True
    assert {"pv-1", "bat-1"} - set(await loop.step(60)) == {"pv-1"}
    assert "no answer" in loop.gateway.stats.devices["pv-1"].last_error
    night[0] = False
    assert "pv-1" in await loop.step(600)


async def test_changing_scale_factors_change_no_value(start):
    loop = await start("bat-1", scale_change_s=2)
    image = loop.plant.units["bat-1"].unit.image
    powers, scales = set(), []
    for _ in range(9):
        powers.add((await loop.step(orders={"bat-1": -1230}))["bat-1"]["p_w"])
        scales.append(image.get(701)["W_SF"])
    assert set(scales) == {0, 1}
    assert powers == {0, -1230}


async def test_acknowledged_but_not_applied_diverges(start):
    loop = await start("bat-1", ignores_writes=True)
    for _ in range(3):
        await loop.step(orders={"bat-1": -1230})
    assert (loop.gateway.stats.sent, loop.gateway.stats.diverged) == (1, 1)
    assert "read back as 0 W" in loop.gateway.stats.devices["bat-1"].alarms["diverged"]


@pytest.mark.parametrize(
    ("behaviour", "ends_s"), [({"revert_factor": 4 / 3}, 80), ({"no_revert": True}, None), ({}, 60)]
)
async def test_revert_timers_run_as_long_as_they_do(start, behaviour, ends_s):
    loop = await start("bat-1", **behaviour)
    await loop.step(orders={"bat-1": 500})
    unit = loop.plant.units["bat-1"]
    for seconds in (59, 79, 500):
        await loop.plant.step(loop.site.at(1 + seconds))
        assert (unit.command.p_set_w is not None) == (ends_s is None or seconds < ends_s)


@pytest.mark.parametrize("device", ["bat-1", "turbine"])
async def test_a_device_with_a_heartbeat_gives_up_without_one(start, device):
    loop = await start(device, heartbeat_s=10)
    await loop.step(orders={device: 4000})
    assert loop.plant.units[device].command.p_set_w == 4000
    await loop.plant.step(loop.site.at(10.9))
    assert loop.plant.units[device].command.p_set_w == 4000
    await loop.plant.step(loop.site.at(11))
    assert loop.plant.units[device].command.p_set_w is None
    await loop.step(11, orders={device: 4000})
    assert loop.plant.units[device].command.p_set_w == 4000, "seen as fallen back, set again"


async def test_only_a_new_controller_heartbeat_keeps_a_setpoint_alive(start):
    loop = await start("bat-1", heartbeat_s=10)
    await loop.step(orders={"bat-1": 4000})
    unit = loop.plant.units["bat-1"]
    image = unit.unit.image
    beat, value = image.address(715, "ControllerHb"), image.address(704, "WSet")

    async def at(seconds: float, register: int, number: int) -> float | None:
        await loop.plant.step(loop.site.at(seconds))
        assert unit.write(register, [number] if register == beat else [0, number], loop.site.clock.t_us) is None
        return unit.command.p_set_w

    held = image.get(715)["ControllerHb"]
    assert await at(8, beat, held + 1) == 4000
    assert await at(12, value, 3000) == 3000, "kept by the beat at 8 s"
    assert await at(16, beat, held + 1) == 3000
    await loop.plant.step(loop.site.at(18))
    assert unit.command.p_set_w is None, "neither another write nor the same beat again is a heartbeat"


async def test_writes_are_counted_and_wear_a_register_out(start):
    loop = await start("bat-1", writes_max=3)
    for k in range(6):
        await loop.step(orders={"bat-1": 100 + k})
    unit = loop.plant.units["bat-1"]
    assert isinstance(unit, StubbornUnit)
    assert max(unit.writes.values()) == 3
    assert "exception 4" in loop.journal[-1].reason
    assert loop.gateway.stats.verified == 3


async def test_a_worn_out_register_answers_device_failure(start):
    loop = await start("bat-1", writes_max=0)
    link = ModbusLink("127.0.0.1", next(one.port for one in loop.plant.links if one.id == "roof-1"), 0.5)
    await link.connect()
    with pytest.raises(BusyFault, match="exception 4"):
        await link.write(2, 16, loop.plant.units["bat-1"].unit.image.address(704, "WSetEna"), [1])
    link.close()


async def test_latency_is_of_the_wall_clock_only(start):
    loop = await start("bat-1", latency_ms=150)
    began = asyncio.get_running_loop().time()
    assert "bat-1" in await loop.step()
    assert asyncio.get_running_loop().time() - began < 0.15


def test_a_drifting_clock_gains_on_the_true_one(site):
    site.change("meter-1", behaviour={"clock_drift_ppm": 100})
    meter = next(one for one in site.devices if one.id == "meter-1")
    assert Behaviour.of(meter).drifted_us(5_000_000, 0) == 5_000_000
    assert Behaviour.of(meter).drifted_us(10_000_000_000, 10_000) == 10_000_000_000 + 1_000_000


@pytest.mark.parametrize("wrong", [{"dead_band_w": -1}, {"no_revert": 1}, {"revert_factor": 0}, {"heart": 1}])
def test_a_wrong_behaviour_is_refused(site, wrong):
    site.change("bat-1", behaviour=wrong)
    with pytest.raises(ModelError, match="behaviour"):
        Behaviour.of(next(one for one in site.devices if one.id == "bat-1"))
