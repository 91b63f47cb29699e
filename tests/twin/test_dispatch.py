"""From orders and a measured image to setpoints: every tick, by what is metered now, never by what is unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec
import pytest

from controller.plan import Order, Plan
from devices.readings import ProcessImage, Quality
from twin.dispatch import FALLBACK, Dispatcher, Setpoint
from twin.site import Site
from twin.site.schema import ControlSpec

SLOT_US = 900_000_000
MAX_AGE_S = 180.0
NEED = {"p_w": -1200.0}
"""A home that takes 1.2 kW from the bus."""
IDLE = {"p_w": 0.0, "soc_pu": 0.5}

Image = Callable[..., ProcessImage]
Ordered = Callable[..., Plan]


@pytest.fixture
def ordered(plan: Plan) -> Ordered:
    """The real plan with the orders of one slot put in the place of its own."""

    def build(**orders: Order | None) -> Plan:
        rows = {name.replace("_", "-"): one and (one,) * plan.slots for name, one in orders.items()}
        return msgspec.structs.replace(plan, orders=rows)

    return build


@pytest.fixture
def dispatcher(two_homes: Site) -> Dispatcher:
    return Dispatcher(two_homes, max_age_s=MAX_AGE_S)


def watts(setpoints: list[Setpoint]) -> dict[str, int]:
    return {one.device: one.value_w for one in setpoints}


def both(first: Mapping[str, float], second: Mapping[str, float] = IDLE) -> dict[str, Mapping[str, float]]:
    return {"meter-1": first, "meter-2": {"p_w": 0.0}, "bat-1": IDLE, "bat-2": second}


def test_without_a_plan_each_battery_meets_its_own_homes_net_load(
    dispatcher: Dispatcher, image: Image, t0_us: int
) -> None:
    now = image(
        t0_us,
        {
            "meter-1": {"p_w": -800.0},
            "bat-1": {"p_w": 200.0, "soc_pu": 0.5},
            "meter-2": {"p_w": 1500.0},
            "bat-2": {"p_w": -100.0, "soc_pu": 0.5},
        },
    )
    found = dispatcher.setpoints(now, None, t0_us)
    assert watts(found) == {"bat-1": 1000, "bat-2": -1600}
    assert {(one.plan, one.reason) for one in found} == {("", FALLBACK)}


@pytest.mark.parametrize(
    ("kind", "meter_w", "expected_w"),
    [
        ("selfuse", -1200, 1200),
        ("selfuse", 1200, -1200),
        ("cover", -1200, 1200),
        ("cover", 1200, 0),
        ("soak", -1200, 0),
        ("soak", 1200, -1200),
        ("fixed", -1200, 700),
        ("fixed", 1200, 700),
    ],
)
def test_an_order_says_what_the_measured_net_load_may_do(
    dispatcher: Dispatcher, image: Image, ordered: Ordered, t0_us: int, kind: str, meter_w: float, expected_w: int
) -> None:
    plan = ordered(bat_1=Order(kind, 700, 5000, 0.21), bat_2=None)
    found = dispatcher.setpoints(image(t0_us, both({"p_w": meter_w})), plan, t0_us)
    first = found[0]
    assert (first.device, first.value_w) == ("bat-1", expected_w)
    assert first.plan == plan.id
    assert first.reason == f"{kind}, ref 700 W, stored worth 0.2100/kWh"


def test_a_cap_limits_what_an_order_may_give(
    dispatcher: Dispatcher, image: Image, ordered: Ordered, t0_us: int
) -> None:
    plan = ordered(bat_1=Order("cover", 0, 900, 0.2))
    assert watts(dispatcher.setpoints(image(t0_us, both(NEED)), plan, t0_us))["bat-1"] == 900


@pytest.mark.parametrize("how", ["old", "bad", "absent", "battery unknown"])
def test_with_a_stale_meter_the_reference_is_held_and_the_reason_says_so(
    dispatcher: Dispatcher, image: Image, ordered: Ordered, t0_us: int, how: str
) -> None:
    values = both(NEED)
    if how == "absent":
        del values["meter-1"]
    if how == "battery unknown":
        values["bat-1"] = {"soc_pu": 0.5}
    now = image(
        t0_us,
        values,
        age_s={"meter-1": MAX_AGE_S + 1} if how == "old" else {},
        quality={"meter-1": Quality.BAD} if how == "bad" else {},
    )
    plan = ordered(bat_1=Order("cover", 350, 5000, 0.21))
    first = dispatcher.setpoints(now, plan, t0_us)[0]
    assert first.value_w == 350
    assert first.reason.endswith("meter stale: reference held")
    assert watts(dispatcher.setpoints(now, None, t0_us))["bat-1"] == 0, "without an order there is nothing to hold"


def test_a_sample_at_the_age_limit_still_counts(
    dispatcher: Dispatcher, image: Image, ordered: Ordered, t0_us: int
) -> None:
    now = image(t0_us, both(NEED), age_s={"meter-1": MAX_AGE_S})
    plan = ordered(bat_1=Order("cover", 350, 5000, 0.21))
    assert watts(dispatcher.setpoints(now, plan, t0_us))["bat-1"] == 1200


def test_a_battery_gives_only_what_it_holds_for_one_tick(dispatcher: Dispatcher, image: Image, t0_us: int) -> None:
    nearly_empty = {"p_w": 0.0, "soc_pu": 0.001}
    now = image(t0_us, {**both({"p_w": -4000.0}), "bat-1": nearly_empty})
    held_w = 0.001 * 6400 * 0.95 * 60  # 6.08 Wh on the bus side within a minute
    assert watts(dispatcher.setpoints(now, None, t0_us))["bat-1"] == int(held_w)
    full = {"p_w": 0.0, "soc_pu": 1.0}
    now = image(t0_us, {**both({"p_w": 4000.0}), "bat-1": full})
    assert watts(dispatcher.setpoints(now, None, t0_us))["bat-1"] == 0


def test_an_order_lives_until_its_slot_ends_and_not_beyond_its_plan(
    dispatcher: Dispatcher, image: Image, plan: Plan, t0_us: int
) -> None:
    within_us = t0_us + SLOT_US + 60_000_000
    for one in dispatcher.setpoints(image(within_us, both(NEED)), plan, within_us):
        assert one.until_us == t0_us + 2 * SLOT_US
        assert one.plan == plan.id
    after_us = t0_us + plan.slots * SLOT_US
    assert {one.reason for one in dispatcher.setpoints(image(after_us, both(NEED)), plan, after_us)} == {FALLBACK}


def test_with_site_netting_the_cheapest_stored_energy_covers_the_sites_need_first(
    two_homes: Site, image: Image, ordered: Ordered, t0_us: int
) -> None:
    site = replace(two_homes, control=ControlSpec(netting="site"))
    dispatcher = Dispatcher(site, max_age_s=MAX_AGE_S)
    values = {
        "meter-1": {"p_w": -9000.0},
        "meter-2": {"p_w": 1700.0},
        "meter-grid": {"p_w": 7300.0},
        "bat-1": {"p_w": 200.0, "soc_pu": 0.9},
        "bat-2": {"p_w": -500.0, "soc_pu": 0.9},
    }
    plan = ordered(bat_1=Order("cover", 0, 5000, 0.30), bat_2=Order("cover", 0, 5000, 0.20))
    need_w = 7300 + 200 - 500
    assert watts(dispatcher.setpoints(image(t0_us, values), plan, t0_us)) == {"bat-2": 5000, "bat-1": need_w - 5000}
    values["meter-grid"] = {"p_w": 1300.0}
    assert watts(dispatcher.setpoints(image(t0_us, values), plan, t0_us)) == {"bat-2": 1000, "bat-1": 0}


def test_turbine_and_limits_follow_their_orders_and_free_devices_have_none(
    eight_homes: Site, image: Image, ordered: Ordered, t0_us: int
) -> None:
    dispatcher = Dispatcher(eight_homes, max_age_s=MAX_AGE_S)
    plan = ordered(
        turbine=Order("fixed", 6400, 6400), flex_13=Order("fixed", -300, 400), pv_9=Order("fixed", 900, 1500), pv_1=None
    )
    found = watts(dispatcher.setpoints(image(t0_us, {}), plan, t0_us))
    controlled = {name: value for name, value in found.items() if not name.startswith("bat-")}
    assert controlled == {"turbine": 6400, "flex-13": 400, "pv-9": 1500}
    assert set(watts(dispatcher.setpoints(image(t0_us, {}), None, t0_us))) == {
        spec.id for spec in eight_homes.devices if spec.kind == "storage"
    }


def test_a_dead_band_keeps_small_changes_off_the_wire(two_homes: Site, image: Image, t0_us: int) -> None:
    dispatcher = Dispatcher(two_homes, max_age_s=MAX_AGE_S, dead_band_w=50)
    first = watts(dispatcher.setpoints(image(t0_us, both({"p_w": -1000.0})), None, t0_us))["bat-1"]
    second = watts(dispatcher.setpoints(image(t0_us, both({"p_w": -1040.0})), None, t0_us))["bat-1"]
    third = watts(dispatcher.setpoints(image(t0_us, both({"p_w": -1051.0})), None, t0_us))["bat-1"]
    assert (first, second, third) == (1000, 1000, 1051)


def test_the_last_known_state_of_charge_stands_in_for_a_missing_one(
    dispatcher: Dispatcher, image: Image, t0_us: int
) -> None:
    known = image(t0_us, {"bat-1": {"p_w": 0.0, "soc_pu": 0.31}})
    dispatcher.setpoints(known, None, t0_us)
    assert dispatcher.storages(image(t0_us, {}))["bat-1"].soc_pu == 0.31
    assert dispatcher.storages(image(t0_us, {}))["bat-2"].soc_pu == 0.5, "never measured: as its model starts"
