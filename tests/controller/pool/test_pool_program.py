"""The pool program against the linear program that knows the same, and the orders that follow from its curves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.case import FlexibleLoad, Storage, Tariff, Turbine
from controller.foresight import Site, cheapest_operation
from controller.pool import Pool, Stages, Supply, worth_curves
from controller.pool.shares import storage_orders
from controller.pool.walk import walk

SLOTS = 24


def storages(soc_pu: float = 0.5, count: int = 2) -> tuple[Storage, ...]:
    wear = {"wear_charge_per_kwh": 0.01, "wear_discharge_per_kwh": 0.01}
    return tuple(Storage(f"bat-{k}", "home", 6400.0, 5000.0, 5000.0, 0.95, 0.95, soc_pu, **wear) for k in range(count))


def stages(rng: np.random.Generator, **supply: object) -> Stages:
    buy = rng.choice([0.2, 0.25, 0.5], SLOTS)
    net = rng.uniform(-4, 6, (1, SLOTS))
    return Stages(np.ones(SLOTS), net, Supply(buy, np.full(SLOTS, 0.08), **supply), 0.25)  # type: ignore[arg-type]


def linear(pool: Pool, problem: Stages, **site: object) -> float:
    tariff = Tariff(problem.supply.buy_per_kwh, problem.supply.sell_per_kwh)
    worth = [np.append(np.zeros(SLOTS - 1), problem.end_worth_per_kwh) for _ in pool.storages]
    found = cheapest_operation(
        Site(problem.net_kw[0] * 1000, tariff, 3600, pool.storages, **site),  # type: ignore[arg-type]
        worth,
    )
    return found.bound - problem.end_worth_per_kwh * pool.content_kwh


def program(pool: Pool, problem: Stages) -> float:
    """Cost along the walk plus what the last content is worth."""
    curves = worth_curves(pool, problem)
    content, cost, before = pool.content_kwh, 0.0, 0
    for stage, order in enumerate(walk(pool, problem, curves, SLOTS)):
        moved = np.array([-order.p_ref_kw])
        cost += float(problem.supply.rate(stage, problem.net_kw[0, stage] + moved, order.on)[0])
        cost += float(np.abs(moved)[0]) * 0.01 + problem.supply.switch_cost(before, order.on)
        content, before = order.content_kwh, order.on
    return cost - problem.end_worth_per_kwh * content


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), soc=st.floats(0, 1))
def test_one_scenario_costs_what_the_linear_program_costs(seed: int, soc: float) -> None:
    pool, problem = Pool.of(storages(soc)), stages(np.random.default_rng(seed))
    best = linear(pool, problem)
    assert best - 1e-6 <= program(pool, problem) <= best + 0.02 * abs(best) + 0.05


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_limit_with_a_price_is_paid_or_kept_as_the_linear_program_does(seed: int) -> None:
    pool, problem = Pool.of(storages()), stages(np.random.default_rng(seed), import_max_kw=3.0, excess_per_kwh=1.0)
    best = linear(pool, problem, import_max_w=3000.0, import_excess_per_kwh=1.0)
    assert best - 1e-6 <= program(pool, problem) <= best + 0.02 * abs(best) + 0.05


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_turbine_and_load_cost_no_less_than_the_relaxed_program(seed: int) -> None:
    turbine = Turbine("mt", "vpp", 500.0, 3000.0, 1e6, 0.002, 0.28, 0.1, 0.05, 0.05)
    load = FlexibleLoad("flex", "home", np.full(SLOTS, 2000.0), 0.5, 0.35, 0.001)
    pool, problem = Pool.of(storages()), stages(np.random.default_rng(seed), turbine=turbine, load=load)
    best = linear(pool, problem, turbines=(turbine,), flexible=(load,))
    found = program(pool, problem)
    assert best - 0.01 <= found <= best + 0.05 * abs(best) + 0.3


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scenarios=st.integers(1, 4))
def test_curves_fall_and_flatten_with_content(seed: int, scenarios: int) -> None:
    rng = np.random.default_rng(seed)
    pool, one = Pool.of(storages()), stages(rng)
    problem = Stages(one.hours, rng.uniform(-4, 6, (scenarios, SLOTS)), one.supply, 0.25)
    for cost in worth_curves(pool, problem).cost:
        worth = -np.diff(cost[0])
        assert worth.min() >= -1e-9
        assert np.diff(worth).max() <= 2e-2 * worth.max()


def test_orders_of_storages_add_up_and_the_fullest_gives_first() -> None:
    first, second = storages()
    pool = Pool.of((first, Storage("full", "home", 6400.0, 5000.0, 5000.0, 0.95, 0.95, 0.9)))
    net = np.concatenate([np.full((1, 4), 3.0), np.zeros((1, SLOTS - 4))], axis=1)
    buy = np.concatenate([np.full(4, 0.5), np.full(SLOTS - 4, 0.2)])
    problem = Stages(np.full(SLOTS, 0.25), net, Supply(buy, np.full(SLOTS, 0.08)), 0.19)
    order = walk(pool, problem, worth_curves(pool, problem), 1)[0]
    found = storage_orders(pool, order)
    assert order.kind in ("cover", "selfuse")
    assert sum(one.p_ref_w for one in found.values()) == pytest.approx(3000, abs=2)
    assert found["full"].p_ref_w > found[first.id].p_ref_w
    assert (found["full"].value_per_kwh or 0) < (found[first.id].value_per_kwh or 0)
    assert second.id not in found


def test_energy_is_bought_late_before_a_dear_time() -> None:
    pool = Pool.of(storages(0.0, 1))
    buy = np.concatenate([np.full(12, 0.2), np.full(4, 0.6), np.full(8, 0.2)])
    net = np.concatenate([np.zeros((1, 12)), np.full((1, 4), 2.0), np.zeros((1, 8))], axis=1)
    problem = Stages(np.full(SLOTS, 0.25), net, Supply(buy, np.full(SLOTS, 0.08)), 0.19, late_per_kwh=1e-3)
    way = walk(pool, problem, worth_curves(pool, problem), SLOTS)
    bought = [k for k, order in enumerate(way) if order.p_ref_kw < 0]
    assert bought
    assert min(bought) >= 10
    assert [order.kind for order in way[10:12]] == ["fixed", "fixed"]
    assert all(order.kind in ("cover", "selfuse") for order in way[12:15])


def test_no_storage_is_no_error() -> None:
    pool = Pool.of(())
    problem = stages(np.random.default_rng(1))
    assert storage_orders(pool, walk(pool, problem, worth_curves(pool, problem), 2)[0]) == {}
