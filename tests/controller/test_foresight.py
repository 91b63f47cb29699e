"""Perfect foresight bounds every way of operating the same devices, and is reached where it can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.baseline import Operation, SiteSeries, no_control, simulate
from controller.case import FlexibleLoad, Storage, Tariff, Turbine
from controller.costs import Curtailment, StorageUse, TurbineUse, run_cost
from controller.errors import ControllerError
from controller.foresight import Site, perfect_foresight
from controller.rules import SlotOrders

SLOTS = 24


def world(seed: int) -> tuple[SiteSeries, Tariff, tuple[Storage, ...], np.random.Generator]:
    rng = np.random.default_rng(seed)
    homes = 2
    parties = tuple(f"h{k}" for k in range(homes))
    load, pv = rng.uniform(0, 4000, (homes, SLOTS * 3)), rng.uniform(0, 3000, (homes, SLOTS * 3))
    buy = rng.uniform(0.1, 0.6, SLOTS)
    tariff = Tariff(buy, buy * rng.uniform(0, 1, SLOTS))
    wear = float(rng.uniform(0, 0.05))
    storages = tuple(
        Storage(f"b{k}", p, 6400.0, 4000.0, 5000.0, 0.93, 0.96, 0.5, 0.1, 0.9, wear, wear)
        for k, p in enumerate(parties)
    )
    return SiteSeries(parties, load, pv, 300), tariff, storages, rng


def random_run(series: SiteSeries, storages: tuple[Storage, ...], rng: np.random.Generator) -> Operation:
    n = len(storages)

    def policy(slot: int, soc_pu: np.ndarray) -> SlotOrders:
        return SlotOrders(
            fixed=rng.random(n) < 0.3,
            cover=rng.random(n) < 0.5,
            soak=rng.random(n) < 0.5,
            p_ref_w=rng.uniform(-5000, 5000, n),
            cap_w=np.full(n, 5000.0),
            value_per_kwh=rng.random(n),
            at_least_w=np.zeros(n),
        )

    return simulate(series, storages, policy)


def net_w(series: SiteSeries) -> np.ndarray:
    return series.slot_means(series.load_w - series.pv_w).sum(axis=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_no_run_is_cheaper_than_foresight(seed: int) -> None:
    series, tariff, storages, rng = world(seed)
    turbine = Turbine("mt", "vpp", 1000.0, 6000.0, 1e6, 0.01, 0.25, 0.1, 0.3, 0.2)
    load = FlexibleLoad("flex", "h0", series.slot_means(series.load_w)[0] * 0.3, 0.8, 0.3, 0.02)
    bound = perfect_foresight(Site(net_w(series), tariff, 900, storages, (turbine,), (load,)))
    for run in (no_control(series, storages), random_run(series, storages, rng)):
        on = rng.random(SLOTS) * (rng.random(SLOTS) < 0.5)
        energy = on * rng.uniform(1000, 6000, SLOTS) * 0.25
        starts = int(((on > 0) & (np.append(0.0, on[:-1]) == 0)).sum())
        stops = int(((on == 0) & (np.append(0.0, on[:-1]) > 0)).sum())
        cut = load.demand_w * 0.8 * rng.random(SLOTS) * 0.25
        uses = [
            StorageUse(s, run.charged_wh[k], run.discharged_wh[k], 0.5, float(run.soc_pu[k, -1]))
            for k, s in enumerate(storages)
        ]
        machines = [TurbineUse(turbine, energy, on, starts, stops)]
        cost = run_cost(run.grid_wh - energy - cut, tariff, 900, uses, machines, [Curtailment(load, cut)])
        assert bound.bound <= cost.total + 1e-6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_its_own_trajectory_costs_what_it_says(seed: int) -> None:
    series, tariff, storages, _ = world(seed)
    found = perfect_foresight(Site(net_w(series), tariff, 900, storages))
    uses = [
        StorageUse(s, found.charged_wh[k], found.discharged_wh[k], 0.5, float(found.soc_pu[k, -1]))
        for k, s in enumerate(storages)
    ]
    assert run_cost(found.grid_wh, tariff, 900, uses).total == pytest.approx(found.bound, abs=1e-6)
    stored = (0.93 * found.charged_wh - found.discharged_wh / 0.96) / 6400.0
    np.testing.assert_allclose(np.diff(found.soc_pu, axis=1), stored, atol=1e-7)
    equal = perfect_foresight(Site(net_w(series), tariff, 900, storages), end="equal")
    assert equal.bound >= found.bound - 1e-9
    np.testing.assert_allclose(equal.soc_pu[:, -1], 0.5, atol=1e-9)


def test_two_prices_by_hand() -> None:
    """1 kWh of need at 0.5 after a slot at 0.2: buy 1/0.9 kWh early through an 0.9 battery, and end as begun."""
    unit = Storage("b", "h", 10_000.0, 50_000.0, 50_000.0, 0.9, 1.0, 0.5)
    tariff = Tariff(np.array([0.2, 0.5]), np.array([0.0, 0.0]))
    found = perfect_foresight(Site(np.array([0.0, 4000.0]), tariff, 900, (unit,)), end="equal")
    assert found.bound == pytest.approx(0.2 / 0.9)
    assert found.value_per_kwh[0, 0] == pytest.approx(0.2 / 0.9)


def test_a_turbine_runs_where_it_is_cheaper_and_its_fuel_is_a_true_bound() -> None:
    unit = Turbine("mt", "vpp", 0.0, 10_000.0, 1e6, 0.02, 0.1, 0.0)
    tariff = Tariff(np.array([0.4, 0.09]), np.zeros(2))
    found = perfect_foresight(Site(np.array([20_000.0, 20_000.0]), tariff, 900, turbines=(unit,)))
    # marginal cost 0.04 P + 0.1 = 0.4 at 7.5 kW
    assert found.turbine_wh[0] == pytest.approx([7500 / 4, 0.0], abs=170)
    true = (0.02 * 7.5**2 + 0.1 * 7.5 + 0.4 * 12.5 + 0.09 * 20) / 4
    assert true - 0.002 <= found.bound <= true + 1e-9


def test_pv_is_spilled_only_where_a_price_is_negative() -> None:
    tariff = Tariff(np.array([0.3, 0.3]), np.array([-0.1, 0.05]))
    site = Site(np.array([-2000.0, -2000.0]), tariff, 3600, pv_w=np.array([3000.0, 3000.0]))
    found = perfect_foresight(site)
    assert found.grid_wh == pytest.approx([0.0, -2000.0])
    assert found.bound == pytest.approx(-0.1)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ControllerError, match="feed-in price above the purchase price in slot 1"):
        perfect_foresight(Site(np.zeros(2), Tariff(np.array([0.2, 0.2]), np.array([0.1, 0.3])), 900))
    with pytest.raises(ControllerError, match="conflict"):
        perfect_foresight(Site(np.array([5000.0]), Tariff(np.ones(1), np.zeros(1)), 900, import_max_w=1000.0))
    with pytest.raises(ControllerError, match="unknown net load"):
        perfect_foresight(Site(np.array([np.nan]), Tariff(np.ones(1), np.zeros(1)), 900))
