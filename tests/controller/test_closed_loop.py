"""A mechanism's day in the ideal loop: forecasts, plans, orders and the law together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.baseline import Netting, SiteSeries, no_control, rule
from controller.case import FlexibleLoad, Party, Storage, Tariff, Turbine
from controller.central import Central, Settings
from controller.closed_loop import Machines, Scene, simulate_mechanism, slot_orders
from controller.costs import FeederLimit
from controller.errors import ControllerError
from controller.forecast import Forecast, Forecaster, History, SimilarDays
from controller.foresight import Site, perfect_foresight
from controller.plan import Order

START_US = 1_473_058_800_000_000
SLOTS = 48
DAY = np.where((np.arange(96) >= 32) & (np.arange(96) < 44), 0.5, 0.21)
FIRST_HOURS = slice(0, SLOTS)


class Oracle:
    """Knows what comes, and that nothing is needed after the run: for tests of the loop itself, never for a run."""

    def forecast(self, history: History, issue_us: int, slots: int, slot_s: int) -> Forecast:
        first = (issue_us - history.start_us) // (slot_s * 1_000_000)
        rows = {name: np.append(row[first:], np.zeros(slots)) for name, row in history.series.items()}
        mean = {name: row[:slots] for name, row in rows.items()}
        return Forecast(issue_us, slot_s, mean, mean, {}, issue_us)


def scene(seed: int = 1, step_s: int = 900, **changes: object) -> Scene:
    rng = np.random.default_rng(seed)
    parties = ("home-1", "home-2")
    sun = np.tile(np.maximum(np.sin((np.arange(96) - 4) / 40 * np.pi), 0) * (np.arange(96) < 44), 11)
    load = rng.uniform(200, 2500, (2, 11 * 96))
    pv = sun * np.array([[3500.0], [1500.0]])
    past, now = slice(0, 10 * 96), slice(10 * 96, 10 * 96 + SLOTS)
    per = 900 // step_s
    values: dict[str, object] = {
        "id": "two",
        "start_us": START_US,
        "series": SiteSeries(parties, np.repeat(load[:, now], per, axis=1), np.repeat(pv[:, now], per, axis=1), step_s),
        "parties": (*(Party(p, "prosumer") for p in parties), Party("vpp", "operator"), Party("grid", "grid")),
        "storages": tuple(Storage(f"bat-{p}", p, 6400.0, 5000.0, 5000.0, 0.95, 0.95, 0.3) for p in parties),
        "tariff": Tariff(np.tile(DAY, 3), np.full(288, 0.08)),
        "past": {
            **{f"load/{p}": load[k, past] for k, p in enumerate(parties)},
            **{f"pv/{p}": pv[k, past] for k, p in enumerate(parties)},
        },
        **changes,
    }
    return Scene(**values)  # type: ignore[arg-type]


def bound(case: Scene) -> float:
    series = case.series
    net = series.slot_means(series.load_w - series.pv_w).sum(axis=0)
    return perfect_foresight(Site(net, case.run_tariff, 900, case.storages, case.turbines, case.flexible)).bound


def cost(case: Scene, mechanism: Central, forecaster: Forecaster, netting: Netting) -> float:
    run = simulate_mechanism(case, mechanism, forecaster, netting=netting)
    return run.operation.cost(case.run_tariff).total


def test_who_knows_what_comes_reaches_the_bound() -> None:
    """All regret of central control with site netting is forecast: with none, the law of two speeds loses nothing."""
    later_is_too_late = np.concatenate([DAY[FIRST_HOURS], np.full(240, 9.0)])
    case = scene(tariff=Tariff(later_is_too_late, np.full(288, 0.08)))
    worth = float(DAY[FIRST_HOURS].mean()) * 0.95
    known = cost(case, Central(Settings(end_worth_per_kwh=worth)), Oracle(), "site")
    assert bound(case) - 1e-9 <= known <= bound(case) + 0.01


def test_control_lies_between_no_control_and_the_bound() -> None:
    case = scene()
    selfuse = rule("selfuse", case.series, case.storages, case.tariff.import_per_kwh).cost(case.run_tariff).total
    site = cost(case, Central(), SimilarDays(), "site")
    home = cost(case, Central(Settings("home")), SimilarDays(), "home")
    idle = no_control(case.series, case.storages).cost(case.run_tariff).total
    assert bound(case) <= site < idle
    assert bound(case) <= home < idle
    assert site < selfuse


def test_same_scene_same_run() -> None:
    case = scene(step_s=300)
    first, second = (simulate_mechanism(case, Central(), SimilarDays(), netting="site") for _ in range(2))
    assert [plan.id for plan in first.intraday] == [plan.id for plan in second.intraday]
    assert first.operation.grid_wh.tolist() == second.operation.grid_wh.tolist()


def test_turbine_and_interruptible_load_are_run_and_paid_for() -> None:
    turbine = Turbine("mt", "vpp", 300.0, 800.0, 1e6, 0.001, 0.3, 0.01)
    plain = scene()
    demand = plain.series.load_w[0] * 0.3
    load = FlexibleLoad("flex", "home-1", demand, 0.5, 0.35, 0.001)
    past = {**plain.past, "flex/flex": plain.past["load/home-1"] * 0.3, "load/home-1": plain.past["load/home-1"] * 0.7}
    idle = tuple(replace(s, e_wh=100.0) for s in plain.storages)
    case = scene(turbines=(turbine,), flexible=(load,), past=past, storages=idle)
    run = simulate_mechanism(case, Central(), Oracle(), netting="site").operation
    paid = run.cost(case.run_tariff)
    dear = DAY[FIRST_HOURS] > 0.4
    assert run.turbines[0].energy_wh[dear].sum() > 0
    assert run.turbines[0].energy_wh[~dear].sum() == 0
    assert run.turbines[0].starts >= 1
    assert run.curtailments[0].curtailed_wh[dear].sum() > 0
    assert paid.fuel > 0
    assert paid.comfort > 0
    assert bound(case) <= paid.total
    series = case.series
    needed = (series.load_w - series.pv_w).sum(axis=0) * 0.25 - run.curtailments[0].curtailed_wh
    balance = needed + (run.charged_wh - run.discharged_wh).sum(axis=0) - run.turbines[0].energy_wh
    np.testing.assert_allclose(run.grid_wh, balance, atol=1e-6)


def test_a_device_without_an_order_serves_its_home_and_a_turbine_stands_still() -> None:
    case = scene()
    rows = slot_orders([None, Order("fixed", -700, 700, 0.2)], case.storages)
    assert rows.cover.tolist() == rows.soak.tolist() == [True, False]
    assert rows.fixed.tolist() == [False, True]
    machines = Machines([Turbine("mt", "vpp", 0.0, 3000.0, 1e6, 0.0, 0.3, 0.0)], 3, 900)
    assert machines.run_slot(0, {"mt": Order("fixed", 9000, 9000)}) == 3000.0
    assert machines.run_slot(1, {"mt": None}) == 0.0
    use = machines.uses()[0]
    assert (use.starts, use.stops, use.energy_wh.tolist()) == (1, 1, [750.0, 0.0, 0.0])


def test_a_scene_that_cannot_be_run_is_refused() -> None:
    with pytest.raises(ControllerError, match="160 needed"):
        scene(tariff=Tariff(DAY, np.full(96, 0.08)))
    with pytest.raises(ControllerError, match="different series"):
        simulate_mechanism(scene(past={}), Central(), Oracle())


def test_a_limit_is_kept_as_far_as_storages_reach_and_paid_for_beyond() -> None:
    plain, limited = scene(), scene(feeder=FeederLimit(1500.0, 1.0))
    without, within = (
        simulate_mechanism(one, Central(), Oracle(), netting="site").operation for one in (plain, limited)
    )
    assert limited.cost(without).excess > 0
    assert limited.cost(within).excess < 0.5 * limited.cost(without).excess
    assert limited.cost(within).total < limited.cost(without).total
    assert plain.cost(without).excess == 0.0
