"""Orders follow the rule of the worth of stored energy; setpoints follow the order, the meter and the limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.case import Storage
from controller.dispatch import (
    Candidate,
    net_load_w,
    order_at,
    shared_setpoints_w,
    storage_order,
    storage_setpoint_w,
)
from controller.errors import ControllerError
from controller.plan import Certificate, Order, Plan


def storage(name: str = "bat", **changes: float) -> Storage:
    values: dict[str, float] = {
        "e_wh": 6400.0,
        "p_charge_w": 5000.0,
        "p_discharge_w": 5000.0,
        "eta_charge": 0.95,
        "eta_discharge": 0.95,
        "soc_pu": 0.5,
    }
    values.update(changes)
    return Storage(name, "home", **values)


ORDERS = st.one_of(
    st.none(),
    st.builds(
        Order,
        st.sampled_from(["fixed", "cover", "soak", "selfuse"]),
        st.integers(-5000, 5000),
        st.integers(0, 5000),
        st.floats(0, 1),
    ),
)


@pytest.mark.parametrize(
    ("value", "buy", "sell", "kind"),
    [
        (0.20, 0.54, 0.08, "selfuse"),  # 0.54*0.95 >= 0.20 and 0.20*0.95 >= 0.08
        (0.30, 0.22, 0.08, "soak"),  # 0.209 < 0.30: keep it for the evening
        (0.05, 0.22, 0.08, "cover"),  # 0.0475 < 0.08: sell the surplus
        (0.25, 0.22, 0.24, "fixed"),  # 0.209 < 0.25 and 0.2375 < 0.24: leave it alone
    ],
)
def test_kind_follows_the_worth_of_stored_energy(value: float, buy: float, sell: float, kind: str) -> None:
    order = storage_order(0.0, value, buy, sell, storage())
    assert order.kind == kind
    assert order.value_per_kwh == value


def test_wear_is_taken_off_before_the_price_is_compared() -> None:
    worn = storage(wear_discharge_per_kwh=0.2, wear_charge_per_kwh=0.1)
    assert storage_order(0.0, 0.2, 0.3, 0.095, storage()).kind == "selfuse"
    assert storage_order(0.0, 0.2, 0.3, 0.095, worn).kind == "fixed"


def test_buying_from_the_grid_only_where_planned() -> None:
    planned = storage_order(-3000.4, 0.30, 0.22, 0.08, storage(), planned_net_w=400.0)
    assert (planned.kind, planned.p_ref_w, planned.cap_w) == ("fixed", -3000, 3000)
    surplus = storage_order(-3000.0, 0.30, 0.22, 0.08, storage(), planned_net_w=-3100.0)
    assert surplus.kind == "soak"
    assert storage_order(500.0, 0.30, 0.6, 0.5, storage(), planned_net_w=500.0).kind == "cover"


def test_without_planned_net_the_prices_tell_whether_the_grid_is_meant() -> None:
    assert storage_order(-3000.0, 0.30, 0.22, 0.08, storage()).kind == "fixed"
    assert storage_order(-3000.0, 0.20, 0.22, 0.08, storage()).kind == "selfuse"
    assert storage_order(3000.0, 0.20, 0.5, 0.4, storage()).at_least_w == 3000


def test_a_planned_sale_is_the_least_that_is_given_and_a_greater_need_is_met() -> None:
    sale = storage_order(2000.0, 0.30, 0.6, 0.5, storage(), planned_net_w=500.0)
    assert (sale.kind, sale.at_least_w) == ("cover", 2000)
    assert storage_setpoint_w(sale, 700.0, storage(), 0.5, 60) == 2000
    assert storage_setpoint_w(sale, 2600.0, storage(), 0.5, 60) == 2600
    assert storage_setpoint_w(sale, -900.0, storage(), 0.5, 60) == 2000


def test_sales_of_storages_that_share_a_meter_count_before_the_rest_of_its_need_is_shared() -> None:
    seller, cheap = storage(), storage("bat-2")
    candidates = [
        Candidate(seller, Order("cover", 1500, 5000, 0.3, 1500), 0.5),
        Candidate(cheap, Order("cover", 0, 5000, 0.1), 0.5),
    ]
    shares = shared_setpoints_w(candidates, 2000.0, 60)
    assert shares == {seller.id: 1500, cheap.id: 500}


@pytest.mark.parametrize(
    ("kind", "net", "expected"),
    [
        ("cover", 700.4, 700),
        ("cover", -700.0, 0),
        ("soak", -700.0, -700),
        ("soak", 700.0, 0),
        ("selfuse", 9000.0, 3000),
        ("selfuse", -9000.0, -3000),
        ("fixed", 700.0, -1200),
        ("cover", None, -1200),
    ],
)
def test_setpoint_follows_order_and_meter(kind: str, net: float | None, expected: int) -> None:
    order = Order(kind, -1200, 3000, 0.2)
    assert storage_setpoint_w(order, net, storage(), 0.5, 60.0) == expected


def test_without_a_plan_the_storage_serves_its_home() -> None:
    assert storage_setpoint_w(None, 800.0, storage(), 0.5, 60.0) == 800
    assert storage_setpoint_w(None, -800.0, storage(), 0.5, 60.0) == -800
    assert storage_setpoint_w(None, None, storage(), 0.5, 60.0) == 0


def test_dead_band_keeps_the_last_setpoint_but_never_outside_the_limits() -> None:
    order = Order("selfuse", 0, 5000, 0.2)
    assert storage_setpoint_w(order, 830.0, storage(), 0.5, 60.0, previous_w=800, dead_band_w=50.0) == 800
    assert storage_setpoint_w(order, 860.0, storage(), 0.5, 60.0, previous_w=800, dead_band_w=50.0) == 860
    assert storage_setpoint_w(order, 830.0, storage(), 0.0, 60.0, previous_w=800, dead_band_w=50.0) == 0


def test_a_tick_without_length_is_refused() -> None:
    with pytest.raises(ControllerError, match="dt_s"):
        storage_setpoint_w(None, 0.0, storage(), 0.5, 0.0)


@given(ORDERS, st.none() | st.floats(-2e4, 2e4), st.floats(0, 1), st.sampled_from([1.0, 60.0, 900.0]))
def test_setpoint_never_leaves_rating_or_state_of_charge(
    order: Order | None, net: float | None, soc: float, dt_s: float
) -> None:
    unit = storage(soc_min_pu=0.1, soc_max_pu=0.9)
    setpoint = storage_setpoint_w(order, net, unit, soc, dt_s)
    assert -5000 <= setpoint <= 5000
    stored_wh = (0.95 * max(-setpoint, 0) - max(setpoint, 0) / 0.95) * dt_s / 3600
    after = soc + stored_wh / unit.e_wh
    assert after >= min(soc, 0.1) - 1e-6
    assert after <= max(soc, 0.9) + 1e-6


@given(st.lists(st.tuples(ORDERS, st.floats(0, 1)), max_size=5), st.none() | st.floats(-2e4, 2e4), st.randoms())
def test_sharing_does_not_depend_on_the_order_of_the_list_and_never_overshoots(rows, net, rng) -> None:
    group = [Candidate(storage(f"bat-{k}"), order, soc) for k, (order, soc) in enumerate(rows)]
    shares = shared_setpoints_w(group, net, 60.0)
    shuffled = list(group)
    rng.shuffle(shuffled)
    assert shared_setpoints_w(shuffled, net, 60.0) == shares
    following = {c.storage.id for c in group if c.order is None or c.order.kind != "fixed"}
    if net is not None and following:
        rest = net - sum(p for name, p in shares.items() if name not in following)
        met = sum(shares[name] for name in following)
        assert min(rest, 0) - 1 <= met <= max(rest, 0) + 1


def test_a_need_is_met_by_the_cheapest_energy_and_a_surplus_goes_into_the_dearest() -> None:
    cheap = Candidate(storage("a"), Order("selfuse", 0, 1000, 0.1), 0.5)
    dear = Candidate(storage("b"), Order("selfuse", 0, 1000, 0.3), 0.5)
    assert shared_setpoints_w([dear, cheap], 1500.0, 60.0) == {"a": 1000, "b": 500}
    assert shared_setpoints_w([dear, cheap], -1500.0, 60.0) == {"a": -500, "b": -1000}
    fixed = Candidate(storage("c"), Order("fixed", -2000, 2000, 0.3), 0.5)
    assert shared_setpoints_w([dear, cheap, fixed], -500.0, 60.0) == {"c": -2000, "a": 1000, "b": 500}


def test_net_load_is_what_the_meter_would_show_without_the_storage() -> None:
    assert net_load_w(-300.0, [500.0, -200.0]) == 600.0
    assert net_load_w(None, [500.0]) is None
    assert net_load_w(-300.0, [None]) is None


def test_a_plan_serves_its_own_slots_only() -> None:
    certificate = Certificate(
        objective=0.0,
        bound=None,
        gap=None,
        residuals={},
        deviation_gain=None,
        optimal="heuristic",
        solver="",
        version="",
        work={},
    )
    first, second = Order("cover", 0, 5000, 0.1), Order("soak", 0, 5000, 0.1)
    plan = Plan(
        id="p",
        mechanism="m",
        stage="intraday",
        start_us=0,
        slot_s=900,
        orders={"bat": (first, second), "free": None},
        buy_per_kwh={},
        sell_per_kwh={},
        energy_wh={},
        payment_micro={},
        certificate=certificate,
    )
    assert order_at(plan, "bat", 899_999_999) == first
    assert order_at(plan, "bat", 900_000_000) == second
    for device, t_us in (("bat", 1_800_000_000), ("bat", -1), ("free", 0), ("other", 0)):
        assert order_at(plan, device, t_us) is None
    assert order_at(None, "bat", 0) is None
