"""The ideal meter loop: energy balances, state of charge, the same law as the devices get, and its speed."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.baseline import SiteSeries, guarded_w, no_control, rule, shared_w
from controller.case import Storage, Tariff
from controller.dispatch import Candidate, reachable_w, shared_setpoints_w
from controller.errors import ControllerError
from controller.plan import Order
from controller.rules import SlotOrders

PRICES = np.tile(np.where((np.arange(96) >= 64) & (np.arange(96) < 84), 0.5, 0.21), 3)


def site(seed: int, homes: int = 3, slots: int = 96, step_s: int = 300) -> tuple[SiteSeries, list[Storage]]:
    rng = np.random.default_rng(seed)
    steps = slots * 900 // step_s
    sun = np.maximum(np.sin(np.linspace(-np.pi / 2, 3 * np.pi / 2, steps)), 0)
    parties = tuple(f"home-{k}" for k in range(homes))
    load, pv = rng.uniform(0, 3000, (homes, steps)), 4000 * sun * rng.uniform(0, 1, (homes, 1))
    storages = [
        Storage(f"bat-{k}", p, 6400.0, 5000.0, 5000.0, 0.95, 0.95, float(rng.uniform())) for k, p in enumerate(parties)
    ]
    return SiteSeries(parties, load, pv, step_s), storages


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["selfuse", "tou", "tou_night"]), st.sampled_from(["home", "site"]))
def test_energy_is_kept_at_every_meter_and_in_every_battery(seed: int, name: str, netting: str) -> None:
    series, storages = site(seed)
    run = rule(name, series, storages, PRICES, 96, netting)
    needed = series.slot_means(series.load_w - series.pv_w).sum(axis=0) * 0.25
    np.testing.assert_allclose(run.grid_wh, needed + (run.charged_wh - run.discharged_wh).sum(axis=0), atol=1e-6)
    np.testing.assert_allclose(run.grid_wh, -run.party_wh.sum(axis=0), atol=1e-6)
    stored = (0.95 * run.charged_wh - run.discharged_wh / 0.95) / 6400.0
    np.testing.assert_allclose(np.diff(run.soc_pu, axis=1), stored, atol=1e-9)
    assert run.soc_pu.min() >= -1e-9
    assert run.soc_pu.max() <= 1 + 1e-9


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_selfuse_never_trades_its_store_with_the_grid(seed: int) -> None:
    series, storages = site(seed)
    run = rule("selfuse", series, storages, PRICES, 96)
    idle = no_control(series, storages)
    assert np.abs(run.party_wh).sum() <= np.abs(idle.party_wh).sum() + len(storages) * 96
    assert np.all(run.grid_wh <= idle.grid_wh + run.charged_wh.sum(axis=0) + 1e-6)


ORDERS = st.tuples(
    st.builds(
        Order,
        st.sampled_from(["fixed", "cover", "soak", "selfuse"]),
        st.integers(-5000, 5000),
        st.integers(0, 5000),
        st.floats(0, 1),
    ),
    st.floats(0, 1),
)


@given(st.lists(ORDERS, min_size=1, max_size=6), st.integers(-20_000, 20_000))
def test_arrays_and_devices_follow_one_law(rows: list[tuple[Order, float]], need: int) -> None:
    units = [Storage(f"bat-{k}", "h", 6400.0, 5000.0, 5000.0, 0.95, 0.95, soc) for k, (_, soc) in enumerate(rows)]
    orders = [order for order, _ in rows]
    table = SlotOrders(
        fixed=np.array([o.kind == "fixed" for o in orders]),
        cover=np.array([o.kind in ("cover", "selfuse") for o in orders]),
        soak=np.array([o.kind in ("soak", "selfuse") for o in orders]),
        p_ref_w=np.array([float(o.p_ref_w) for o in orders]),
        cap_w=np.array([float(o.cap_w) for o in orders]),
        value_per_kwh=np.array([o.value_per_kwh for o in orders], dtype=np.float64),
        at_least_w=np.zeros(len(orders)),
    )
    soc = np.array([u.soc_pu for u in units])
    low, high = reachable_w(5000.0, 5000.0, 6400.0, 0.95, 0.95, soc, 1 - soc, 60.0)
    devices = shared_setpoints_w([Candidate(u, o, u.soc_pu) for u, o in zip(units, orders, strict=True)], need, 60.0)
    assert shared_w(table, float(need), low, high).tolist() == [devices[u.id] for u in units]


def test_two_storages_behind_one_meter_share_its_net_load() -> None:
    series = SiteSeries(("home",), np.full((1, 3), 3000.0), np.zeros((1, 3)), 300)
    unit = Storage("a", "home", 6400.0, 2000.0, 2000.0, 1.0, 1.0, 1.0)
    run = rule("selfuse", series, [unit, replace(unit, id="b")], np.full(1, 0.3))
    assert run.discharged_wh[:, 0].tolist() == pytest.approx([500.0, 250.0])


def test_no_control_leaves_everything_idle() -> None:
    series, storages = site(1)
    run = no_control(series, storages)
    cost = run.cost(Tariff(np.full(96, 0.3), np.full(96, 0.1)))
    assert cost.wear == cost.end_soc == cost.fuel == 0.0
    assert not run.charged_wh.any()


def test_series_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ControllerError, match="one row a party"):
        SiteSeries(("a", "b"), np.zeros((1, 15)), np.zeros((1, 15)), 60)
    with pytest.raises(ControllerError, match="slot edges"):
        SiteSeries(("a",), np.zeros((1, 16)), np.zeros((1, 16)), 60)
    series, _ = site(1)
    with pytest.raises(ControllerError, match="no series"):
        no_control(series, [Storage("bat", "nobody", 6400.0, 5000.0, 5000.0, 0.95, 0.95, 0.5)])


def test_a_day_of_eight_homes_by_the_minute_takes_a_moment() -> None:
    series, storages = site(3, homes=8, step_s=60)
    start = time.process_time()
    rule("tou_night", series, storages, PRICES, 96)
    assert time.process_time() - start < 0.3


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.floats(0, 20_000))
def test_at_a_limit_charging_gives_way_before_anybody_gives(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    power, high = np.rint(rng.uniform(-5000, 5000, 4)), np.full(4, 5000.0)
    need = float(rng.uniform(-5000, 40_000))
    orders = SlotOrders(*(np.zeros(4, dtype=bool) for _ in range(3)), *(rng.uniform(0, 1, 4) for _ in range(4)))
    kept = guarded_w(power.copy(), need, limit, orders, high)
    drawn = need - float(kept.sum())
    assert drawn <= max(limit, need - 20_000.0) + 4
    assert (kept >= power).all()
    raised = kept > np.maximum(power, 0.0)
    assert not (raised.any() and (kept < 0).any())
    if need - float(power.sum()) <= limit:
        assert kept.tolist() == power.tolist()
