"""Under what terms anything is written: modes, budgets, local control, other masters, silence, restarts, the grid."""

from __future__ import annotations

import math

import pytest

from devices.description import ControlTerms, DeviceSpec, LinkSpec
from devices.gateway import Gateway
from devices.gateway.budget import WriteBudget
from devices.gateway.headroom import Headroom
from devices.proxy import Proxy, Script

LEASE_S, TICK_S = 180, 60
MODEL = {"p_w": 5000}


class Rig:
    """One battery behind the proxy; the tests look at its registers and at what went over the wire."""

    def __init__(self, clock, image, unit, proxy, stack):
        self.clock, self.image, self.unit, self.proxy, self.stack = clock, image, unit, proxy, stack
        self.journal = []

    async def gateway(self, control=None, extra=(), **options):
        spec = DeviceSpec(
            "bat", "storage", "home", "roof", 2, "sunspec", model=MODEL, control=control or ControlTerms()
        )
        link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", self.proxy.port, 0.3)
        terms = {"lease_s": LEASE_S, "tick_s": TICK_S, "journal": self.journal.append} | options
        return await self.stack.enter_async_context(Gateway([link], [spec, *extra], self.clock, **terms))

    def order(self, gateway, value_w, seconds=900):
        until_us = self.clock.now_us() + seconds * 1_000_000
        gateway.order("bat", value_w, until_us=until_us, slot_us=1, reason="test", plan="plan")

    async def tick(self, gateway, value_w=None, seconds=TICK_S):
        await gateway.poll()
        if value_w is not None:
            self.order(gateway, value_w)
        await gateway.settle()
        self.clock.advance(seconds)

    def states(self):
        return [line.state for line in self.journal]

    @property
    def held(self):
        shown = self.image.get(704)
        return shown["WSet"] if shown["WSetEna"] else None


@pytest.fixture
async def rig(servers, clock, make_battery, make_sunspec, stack):
    image = make_battery()
    unit = make_sunspec(2, image)
    port = await servers.start([unit])
    proxy = await stack.enter_async_context(Proxy(Script(("127.0.0.1", 0), ("127.0.0.1", port))))
    return Rig(clock, image, unit, proxy, stack)


@pytest.mark.parametrize("of_device", [True, False])
@pytest.mark.parametrize("mode", ["monitor", "shadow"])
async def test_in_monitor_and_shadow_the_wire_sees_no_write_function_code(rig, mode, of_device):
    rig.image.set(704, {"WSetEna": 1, "WSet": 700})
    gateway = await rig.gateway(ControlTerms(mode=mode)) if of_device else await rig.gateway(mode=mode)
    for _ in range(5):
        await rig.tick(gateway, -2500)
    await gateway.release_all()
    assert rig.proxy.seen.writes == 0
    assert rig.proxy.seen.functions[3] > 5
    assert ("withheld" in rig.states()) == (mode == "shadow")
    assert rig.held == 700


@pytest.mark.parametrize(("site", "device"), [("limited", "full"), ("full", "limited")])
async def test_the_stricter_mode_holds_and_limited_caps_power_and_ramp(rig, site, device):
    gateway = await rig.gateway(ControlTerms(mode=device), mode=site, cap_w=1000, cap_ramp_w_s=10)
    rig.image.set(701, {"W": 0})
    seen = []
    for _ in range(4):
        await rig.tick(gateway, 5000)
        seen.append(rig.held)
    assert seen == [0, 600, 1000, 1000]


async def test_a_device_s_own_caps_and_range_go_before_the_site_s(rig):
    gateway = await rig.gateway(
        ControlTerms(mode="limited", cap_w=700, ramp_w_s=1e6, range_w=(-400, 5000)), cap_w=9000, cap_ramp_w_s=1
    )
    rig.image.set(701, {"W": 0})
    seen = []
    for value_w in (1, 5000, -5000):
        await rig.tick(gateway, value_w)
        seen.append(rig.held)
    assert seen == [0, 700, -400]


async def test_a_silent_controller_is_taken_for_dead_and_the_device_released(rig):
    gateway = await rig.gateway(silence_s=LEASE_S)
    await rig.tick(gateway, 800)
    await rig.tick(gateway)
    await rig.tick(gateway)
    assert rig.held == 800, "still in the lease"
    await rig.tick(gateway)
    assert rig.held is None
    assert "the controller is silent since 180 s" in rig.journal[-1].reason
    await rig.tick(gateway, 900)
    assert rig.held == 900, "it came back"


async def test_after_a_restart_a_matching_setpoint_is_adopted_without_a_write(rig):
    rig.image.set(704, {"WSetEna": 1, "WSet": 800, "WSetRvrtRem": 70})
    gateway = await rig.gateway()
    await gateway.poll()
    rig.order(gateway, 800)
    await gateway.settle()
    assert rig.proxy.seen.writes == 0
    assert rig.states() == ["adopted", "queued", "verified"]
    assert "70 s left" in rig.journal[0].reason
    rig.clock.advance(1)
    await rig.tick(gateway, 800)
    assert rig.states()[-1] == "refreshed", "its lease is taken for half used up"


async def test_after_a_restart_another_setpoint_is_replaced(rig):
    rig.image.set(704, {"WSetEna": 1, "WSet": 800})
    gateway = await rig.gateway()
    await rig.tick(gateway, -500)
    assert rig.held == -500
    assert gateway.stats.verified == 1


async def test_what_nobody_orders_after_a_restart_is_released_after_one_lease(rig):
    rig.image.set(704, {"WSetEna": 1, "WSet": 800})
    gateway = await rig.gateway()
    for _ in range(3):
        await rig.tick(gateway)
    assert rig.held == 800
    await rig.tick(gateway)
    assert rig.held is None
    assert rig.states() == ["adopted", "released"]


async def test_a_second_master_is_noticed_and_not_fought_at_every_tick(rig):
    gateway = await rig.gateway()
    await rig.tick(gateway, 800, seconds=1)
    writes = rig.proxy.seen.writes
    for _ in range(20):
        rig.image.set(704, {"WSet": -4000})
        await rig.tick(gateway, 800, seconds=9)
    assert rig.proxy.seen.writes == writes + 2, "once in 172 s: with the lease alone"
    assert "another master" in gateway.stats.devices["bat"].alarms["master"]
    assert rig.states().count("alarm") == 1
    await rig.tick(gateway, 800, seconds=90)
    await rig.tick(gateway, 800)
    assert rig.states().count("cleared") == 1
    assert "master" not in gateway.stats.devices["bat"].alarms


async def test_the_write_budget_of_a_register_and_day_is_kept(rig):
    gateway = await rig.gateway(ControlTerms(writes_per_day=20))
    for k in range(40):
        await rig.tick(gateway, 100 + k, seconds=1)
    register = (2, rig.image.address(704, "WSetEna"))
    written = sum(1 for _, address, _ in rig.unit.log if address == register[1])
    assert written == 18, "the rest is kept for refreshes"
    assert "20 are allowed" in gateway.stats.devices["bat"].alarms["budget"]
    assert rig.journal[-1].state == "rejected"
    assert await gateway.release_all() == [], "a release needs no budget"
    assert rig.held is None
    rig.clock.advance(86_400)
    await rig.tick(gateway, 300)
    assert rig.held == 300
    assert "budget" not in gateway.stats.devices["bat"].alarms


def test_a_budget_counts_each_register_of_its_unit_and_day():
    budget, written = WriteBudget(2, 10), {(2, 100): 3, (1, 100): 50}
    assert budget.spent(written, 0, refresh=False) == ""
    written |= {(2, 100): 12, (2, 101): 4}
    assert "register 100 was written 9 times" in budget.spent(written, 0, refresh=False)
    assert budget.spent(written, 0, refresh=True) == ""
    written[2, 100] = 13
    assert budget.spent(written, 0, refresh=True)
    assert budget.spent(written, 86_400_000_000, refresh=False) == ""
    assert WriteBudget(2, None).spent(written, 0, refresh=False) == ""


def headroom(grid_w, import_w=math.inf, export_w=math.inf, **powers):
    made = Headroom(lambda _: (import_w, export_w), 10)
    made.observe("grid", {"p_w": grid_w}, 0, is_grid=True)
    for device, p_w in powers.items():
        made.observe(device, {"p_w": p_w}, 0, is_grid=False)
    return made


def test_the_connection_leaves_each_device_what_the_others_do_not_take():
    made = headroom(3000, import_w=5000, export_w=2000, bat=-1000, other=0)
    # The grid gives 3000 and the battery takes 1000: it may take 2000 more, or give until 2000 flow out.
    assert made.bounds("bat", 0) == (-3000, 4000)
    made.told("other", -1500)
    assert made.bounds("bat", 0) == (-1500, 5500)
    made.told("other", None)
    assert made.bounds("bat", 0) == (-3000, 4000)
    assert made.bounds("bat", 11_000_000) == (0, 0), "a silent grid meter closes both sides"
    assert headroom(3000, bat=-1000).bounds("bat", 11_000_000) == (-math.inf, math.inf)
    assert headroom(3000, import_w=1).bounds("x", 11_000_000) == (0, math.inf)


async def test_orders_stay_inside_the_site_s_limits_as_they_change(rig, make_mapped, servers):
    port = await servers.start([make_mapped(1, "eastron-sdm630", {"p_w": 3000.0, "e_imp": 0, "e_exp": 0}, True)])
    meter = DeviceSpec("grid", "meter", "grid", "feeder", 1, "eastron-sdm630", is_grid=True)
    largest = [5000.0]
    spec = DeviceSpec("bat", "storage", "home", "roof", 2, "sunspec", model=MODEL)
    links = [
        LinkSpec("roof", "modbus-tcp", "127.0.0.1", rig.proxy.port, 0.3),
        LinkSpec("feeder", "modbus-tcp", "127.0.0.1", port, 0.3),
    ]
    gateway = await rig.stack.enter_async_context(
        Gateway(
            links,
            [spec, meter],
            rig.clock,
            lease_s=LEASE_S,
            tick_s=TICK_S,
            grid_limits=lambda _: (largest[0], math.inf),
            journal=rig.journal.append,
        )
    )
    seen = []
    for limit_w in (5000.0, 3500.0, 1000.0, 1e9):
        largest[0] = limit_w
        await rig.tick(gateway, -4500)
        seen.append(rig.held)
    # The battery takes 1200 W now (its register says so at each poll), the grid gives 3000 W.
    assert seen == [-3200, -1700, 0, -4500]
    assert "safety envelope" in rig.journal[0].reason
