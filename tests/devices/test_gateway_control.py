"""Orders over real sockets: written, verified, refreshed, released; and every way they can fail."""

from __future__ import annotations

import math
import random
import struct

import pytest

from devices.description import DeviceSpec, LinkSpec
from devices.gateway import Command, Gateway

BATTERY = DeviceSpec("bat", "storage", "home", "roof", 2, "sunspec", model={"p_w": 5000})
PV = DeviceSpec("pv", "pv", "home", "roof", 1, "sunspec", model={"peak_w": 4000})
LEASE_S, TICK_S, SLOT_S = 180, 60, 900


class Rig:
    """A battery and a PV on one link, and the gateway before them."""

    def __init__(self, servers, clock, battery, pv, make_sunspec):
        self.servers, self.clock = servers, clock
        self.battery, self.pv = battery, pv
        self.units = {"bat": make_sunspec(2, battery), "pv": make_sunspec(1, pv)}
        self.journal: list[Command] = []
        self.port = 0
        self.options = {}

    async def gateway(self, stack, **options) -> Gateway:
        self.port = await self.servers.start(list(self.units.values()))
        link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", self.port, timeout_s=0.2)
        made = Gateway(
            [link], [PV, BATTERY], self.clock, lease_s=LEASE_S, tick_s=TICK_S, journal=self.journal.append, **options
        )
        return await stack.enter_async_context(made)

    def order(self, gateway, value_w, device="bat", slots=1):
        now_us = self.clock.now_us()
        until_us = (now_us // (SLOT_S * 1_000_000) + slots) * SLOT_S * 1_000_000
        gateway.order(device, value_w, until_us=until_us, reason="test", plan="plan-1")

    def states(self, device="bat"):
        return [line.state for line in self.journal if line.device == device]


@pytest.fixture
def rig(servers, clock, make_battery, make_pv, make_sunspec):
    return Rig(servers, clock, make_battery(), make_pv(), make_sunspec)


def counted(gateway):
    stats = gateway.stats
    ends = (stats.verified, stats.rejected, stats.expired, stats.diverged, stats.superseded)
    return stats.sent, ends


async def test_an_order_is_written_values_first_then_enable_and_verified(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.order(gateway, -2500)
    await gateway.settle()
    shown = rig.battery.get(704)
    assert (shown["WSet"], shown["WSetEna"], shown["WSetMod"], shown["WSetRvrtTms"]) == (-2500, 1, 1, LEASE_S)
    writes = rig.units["bat"].log
    enable = rig.battery.address(704, "WSetEna")
    assert [address == enable for _, address, _ in writes] == [False, True]
    assert rig.states() == ["queued", "sent", "acked", "verified"]
    assert rig.journal[-1].readback == -2500
    assert counted(gateway) == (1, (1, 0, 0, 0, 0))


async def test_a_pv_limit_is_written_in_percent_of_its_rating(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.order(gateway, 1500, "pv")
    await gateway.settle()
    shown = rig.pv.get(704)
    assert (shown["WMaxLimPct"], shown["WMaxLimPctEna"], shown["WMaxLimPctRvrtTms"]) == (37.5, 1, LEASE_S)
    reading = (await gateway.poll())[-1]
    assert reading.values["p_max_w"] == 1500
    assert reading.values["set_ena"] == 1


async def test_repeats_are_not_written_and_the_lease_is_refreshed_at_half(rig, stack):
    gateway = await rig.gateway(stack)
    writes = []
    for _ in range(6):
        await gateway.poll()
        rig.order(gateway, -2500)
        await gateway.settle()
        writes.append(len(rig.units["bat"].log))
        rig.clock.advance(TICK_S)
    # Written at 0 s; 60 s is young; at 120 s half of 180 s is used up; then again at 240 s.
    assert [after - before for before, after in zip([0, *writes[:-1]], writes, strict=True)] == [2, 0, 2, 0, 2, 0]
    assert counted(gateway) == (1, (1, 0, 0, 0, 0))


async def test_a_device_that_fell_back_is_set_again_at_once(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.order(gateway, 1000)
    await gateway.settle()
    rig.battery.set(704, {"WSetEna": 0, "WSet": 0})
    await gateway.poll()
    await gateway.settle()
    assert rig.battery.get(704)["WSet"] == 1000
    assert rig.battery.get(704)["WSetEna"] == 1
    assert counted(gateway) == (1, (1, 0, 0, 0, 0))


async def test_no_order_after_its_time_runs_the_release_steps(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.order(gateway, 1000)
    await gateway.settle()
    rig.clock.advance(SLOT_S)
    await gateway.settle()
    assert rig.battery.get(704)["WSetEna"] == 0
    assert rig.states()[-1] == "released"
    await gateway.settle()
    assert rig.states().count("released") == 1


async def test_release_all_frees_every_device(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.order(gateway, 1000)
    rig.order(gateway, 500, "pv")
    await gateway.settle()
    assert await gateway.release_all() == []
    assert (rig.battery.get(704)["WSetEna"], rig.pv.get(704)["WMaxLimPctEna"]) == (0, 0)


@pytest.mark.parametrize("code", [1, 2, 3])
async def test_a_configuration_fault_rejects_and_is_not_hammered(rig, stack, code):
    gateway = await rig.gateway(stack)
    rig.units["bat"].refuse_writes = code
    for _ in range(3):
        await gateway.poll()
        rig.order(gateway, -2500)
        await gateway.settle()
        rig.clock.advance(TICK_S)
    assert len(rig.units["bat"].log) == 1
    assert rig.states() == ["queued", "sent", "rejected"]
    assert counted(gateway) == (1, (0, 1, 0, 0, 0))


async def test_a_busy_device_is_asked_again_next_tick(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.units["bat"].refuse_writes = 6
    rig.order(gateway, -2500)
    await gateway.settle()
    rig.units["bat"].refuse_writes = 0
    await gateway.settle()
    assert rig.states() == ["queued", "sent", "retry", "sent", "acked", "verified"]
    assert counted(gateway) == (1, (1, 0, 0, 0, 0))


async def test_an_order_that_never_gets_through_expires_with_its_lease(rig, stack):
    gateway = await rig.gateway(stack)
    rig.units["bat"].refuse_writes = 6
    for _ in range(5):
        await gateway.poll()
        rig.order(gateway, -2500)
        await gateway.settle()
        rig.clock.advance(TICK_S)
    assert rig.states()[:8] == ["queued", "sent", "retry", "sent", "retry", "sent", "retry", "expired"]
    assert counted(gateway) == (1, (0, 0, 1, 0, 0))


async def test_two_mismatching_read_backs_diverge(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.units["bat"].on_write = lambda unit: rig.battery.set(704, {"WSet": -2000})
    rig.order(gateway, -2500)
    await gateway.settle()
    assert rig.states() == ["queued", "sent", "acked", "doubtful", "diverged", "alarm"]
    assert "read back as -2000 W" in rig.journal[-1].reason
    assert "read back as -2000 W" in gateway.stats.devices["bat"].alarms["diverged"]
    assert counted(gateway) == (1, (0, 0, 0, 1, 0))


async def test_acknowledged_but_not_applied_diverges(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.units["bat"].ignore_writes = True
    rig.order(gateway, -2500)
    await gateway.settle()
    assert counted(gateway) == (1, (0, 0, 0, 1, 0))


async def test_a_newer_value_supersedes_an_open_order_and_each_counts_once(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.units["bat"].refuse_writes = 6
    rig.order(gateway, -2500)
    await gateway.settle()
    rig.units["bat"].refuse_writes = 0
    rig.order(gateway, -1000)
    await gateway.settle()
    assert counted(gateway) == (2, (1, 0, 0, 0, 1))
    # The first value again in the same slot is the same order: distinct only once.
    rig.order(gateway, -2500)
    await gateway.settle()
    assert counted(gateway) == (2, (1, 0, 0, 0, 1))
    assert rig.battery.get(704)["WSet"] == -2500


async def test_the_same_value_in_a_new_slot_is_held_without_a_write(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.order(gateway, -2500)
    await gateway.settle()
    before = len(rig.units["bat"].log)
    await gateway.poll()
    rig.order(gateway, -2500, slots=2)
    await gateway.settle()
    assert len(rig.units["bat"].log) == before
    assert counted(gateway) == (1, (1, 0, 0, 0, 0))


@pytest.mark.parametrize(("mode", "enabled"), [("monitor", True), ("shadow", True), ("full", False)])
async def test_nothing_is_written_in_monitor_and_shadow(rig, stack, mode, enabled):
    gateway = await rig.gateway(stack, mode=mode, control_enabled=enabled)
    await gateway.poll()
    rig.order(gateway, -2500)
    rig.order(gateway, 0, "pv")
    await gateway.settle()
    await gateway.release_all()
    assert [unit.log for unit in rig.units.values()] == [[], []]
    assert rig.states() == (["queued", "withheld"] if mode == "shadow" else [])
    assert counted(gateway) == (0, (0, 0, 0, 0, 0))


async def test_the_envelope_is_the_last_word(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.order(gateway, 1e9)
    await gateway.settle()
    assert rig.battery.get(704)["WSet"] == 5000
    assert "safety envelope" in rig.journal[-1].reason
    rig.order(gateway, float("nan"))
    await gateway.settle()
    assert rig.battery.get(704)["WSet"] == 0
    rig.battery.set(713, {"SoC": 0})
    await gateway.poll()
    rig.order(gateway, 3000)
    await gateway.settle()
    assert rig.battery.get(704)["WSet"] == 0


async def test_no_random_plan_writes_outside_rating_and_charge(rig, stack):
    gateway = await rig.gateway(stack)
    draw = random.Random(3)
    words = [math.nan, math.inf, -math.inf, 1e300, 10**400, -(10**400), -5001, 5001, 0]
    register = rig.battery.address(704, "WSet")
    for _ in range(150):
        soc_pu = draw.choice([0.0, 0.3, 1.0])
        rig.battery.set(713, {"SoC": soc_pu * 100})
        await gateway.poll()
        rig.order(gateway, draw.choice([draw.choice(words), draw.uniform(-2e4, 2e4)]))
        rig.units["bat"].log.clear()
        await gateway.settle()
        for _, address, registers in rig.units["bat"].log:
            if address <= register < address + len(registers):
                at = register - address
                (value,) = struct.unpack(">i", struct.pack(">HH", *registers[at : at + 2]))
                assert (-5000 if soc_pu < 1 else 0) <= value <= (5000 if soc_pu > 0 else 0)
        rig.clock.advance(draw.choice([1, TICK_S]))
    stats = gateway.stats
    assert stats.sent == stats.verified > 10


async def test_the_device_states_a_narrower_rating_than_the_site(rig, stack):
    rig.battery.set(702, {"WDisChaRteMax": 3000})
    gateway = await rig.gateway(stack)
    await gateway.poll()
    rig.order(gateway, 4500)
    await gateway.settle()
    assert rig.battery.get(704)["WSet"] == 3000


async def test_a_server_that_vanishes_leaves_the_order_to_expire_and_is_found_again(rig, stack):
    gateway = await rig.gateway(stack)
    await gateway.poll()
    await rig.servers.stop(rig.port)
    rig.order(gateway, -2500)
    await gateway.settle()
    rig.clock.advance(TICK_S)
    assert await gateway.poll() == []
    assert gateway.stats.missing == 2
    await rig.servers.start(list(rig.units.values()), rig.port)
    rig.clock.advance(TICK_S)
    assert len(await gateway.poll()) == 2
    rig.order(gateway, -2500)
    await gateway.settle()
    assert rig.battery.get(704)["WSet"] == -2500
    assert counted(gateway) == (1, (1, 0, 0, 0, 0))
