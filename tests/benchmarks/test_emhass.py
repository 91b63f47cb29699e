"""EMHASS beside us: its process, its plans, and how they become orders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from benchmarks.emhass import client as client_module
from benchmarks.emhass.client import Client, HomeRequest
from benchmarks.emhass.mechanism import Held, Metered, simulate_emhass
from benchmarks.emhass.orders import metered
from benchmarks.emhass.place import MEND, EmhassError, installed
from benchmarks.emhass.setup import Setup, sale_pays, sum_of
from controller.baseline import SiteSeries, no_control
from controller.case import Party, Storage, Tariff
from controller.closed_loop import Scene
from controller.errors import ControllerError
from controller.forecast import SimilarDays
from controller.plan import Order

SLOTS = 16
DAY_SLOTS = 96
BATTERY = Storage("bat-1", "home-1", 6400.0, 5000.0, 4000.0, 0.95, 0.9, 0.3, 0.05, 0.95, 0.01, 0.02)
SETUP = Setup(horizon_s=12 * 3600)
needs_emhass = pytest.mark.skipif(not installed(), reason=f"EMHASS is not installed: {MEND}")


def scene(**changes: object) -> Scene:
    """One home from 16:00 UTC, when the price doubles until 20:00; the same demand every day."""
    hours = (16 + np.arange(-10 * DAY_SLOTS, SLOTS) / 4) % 24
    load = np.where((hours >= 17) & (hours < 22), 1800.0, 400.0)
    pv = np.maximum(np.sin((hours - 6) / 12 * np.pi), 0.0) * 3000.0
    ahead = (16 + np.arange(2 * DAY_SLOTS) / 4) % 24
    values: dict[str, object] = {
        "id": "one",
        "start_us": 1_473_091_200_000_000,
        "series": SiteSeries(("home-1",), load[None, -SLOTS:], pv[None, -SLOTS:], 900),
        "parties": (Party("home-1", "prosumer"), Party("vpp", "operator"), Party("grid", "grid")),
        "storages": (BATTERY,),
        "tariff": Tariff(np.where((ahead >= 16) & (ahead < 20), 0.5, 0.2), np.full(2 * DAY_SLOTS, 0.08)),
        "past": {"load/home-1": load[:-SLOTS], "pv/home-1": pv[:-SLOTS]},
    } | changes
    return Scene(**values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def emhass() -> Iterator[Client]:
    with SETUP.client(scene().tariff, (BATTERY,)) as started:
        yield started


@needs_emhass
def test_a_plan_of_emhass_keeps_the_battery_within_its_ratings_and_balances_the_home(emhass: Client) -> None:
    assert emhass.version.startswith("0.18.")
    load, pv = np.full(12, 900.0), np.where(np.arange(12) < 4, 6000.0, 0.0)
    buy = np.where(np.arange(12) >= 10, 0.9, 0.2)
    (plan,) = emhass.plan([HomeRequest(load, pv, 0.3)], buy, np.full(12, 0.08))
    assert plan.status == "Optimal"
    assert plan.p_battery_w.min() >= -5000 - 1e-3
    assert plan.p_battery_w.max() <= 4000 + 1e-3
    assert plan.p_battery_w[10:] == pytest.approx(900, abs=1)
    np.testing.assert_allclose(plan.p_grid_w + plan.p_battery_w, load - pv, atol=1e-3)
    cells_w = np.maximum(-plan.p_battery_w, 0) * 0.95 - np.maximum(plan.p_battery_w, 0) / 0.9
    np.testing.assert_allclose(plan.soc_pu, 0.3 + np.cumsum(cells_w) / 6400, atol=1e-5)
    assert plan.soc_pu.max() <= 0.95 + 1e-6
    assert plan.soc_pu.min() >= 0.05 - 1e-6


@needs_emhass
def test_a_refused_request_says_why_and_the_process_goes_on(emhass: Client) -> None:
    with pytest.raises(EmhassError, match="refused plan"):
        emhass.plan([HomeRequest(np.zeros(3), np.zeros(3), 0.5)], np.full(12, 0.2), np.full(12, 0.1))
    (plan,) = emhass.plan([HomeRequest(np.full(12, 500.0), np.zeros(12), 0.5)], np.full(12, 0.2), np.full(12, 0.1))
    assert plan.status == "Optimal"


@needs_emhass
@pytest.mark.parametrize("kind", [Metered, Held])
def test_emhass_saves_at_the_dear_hours(kind: type[Metered]) -> None:
    here = scene()
    with closing(kind(SETUP)) as mechanism:
        operation = simulate_emhass(here, mechanism, SimilarDays())
    assert mechanism.statuses == {"Optimal": SLOTS // 4}
    idle = no_control(here.series, here.storages).cost(here.run_tariff).import_
    assert operation.cost(here.run_tariff).import_ < idle - 0.8
    assert operation.discharged_wh[0, 4:].sum() > 1500


def test_without_its_environment_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "installed", lambda: False)
    with pytest.raises(EmhassError, match="make emhass"):
        Client((BATTERY,), 3600, 12)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Puts a program of these lines in the place of EMHASS."""

    def put(lines: str) -> None:
        worker = tmp_path / "worker.py"
        worker.write_text(lines)
        monkeypatch.setattr(client_module, "installed", lambda: True)
        monkeypatch.setattr(client_module, "PYTHON", sys.executable)
        monkeypatch.setattr(client_module, "WORKER", worker)

    return put


def test_a_process_that_dies_is_an_error_not_a_hang(played: Callable[[str], None]) -> None:
    played("import sys\nsys.stdin.readline()\nsys.exit(3)\n")
    with pytest.raises(EmhassError, match=r"ended \(3\) during configure"):
        Client((BATTERY,), 3600, 12)


def test_a_process_that_falls_silent_is_given_up(
    played: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    played("import sys\nfor line in sys.stdin:\n    pass\n")
    monkeypatch.setattr(client_module, "ANSWER_S", 0.2)
    with pytest.raises(EmhassError, match="no answer to configure"):
        Client((BATTERY,), 3600, 12)


def test_a_closed_client_says_that_it_ended(played: Callable[[str], None]) -> None:
    played('import sys\nfor line in sys.stdin:\n    print(\'{"version": "0"}\', flush=True)\n')
    with Client((BATTERY,), 3600, 12) as closed:
        assert closed.version == "0"
    with pytest.raises(EmhassError, match="has ended"):
        closed.plan([], np.zeros(12), np.zeros(12))


@needs_emhass
def test_one_emhass_for_the_whole_site_shares_its_plan_among_the_batteries() -> None:
    with closing(Held(Setup("site", horizon_s=12 * 3600))) as mechanism:
        operation = simulate_emhass(two_homes(), mechanism, SimilarDays())
    assert mechanism.statuses == {"Optimal": SLOTS // 4}
    given_wh = operation.discharged_wh.sum(axis=1)
    assert given_wh.min() > 500
    assert given_wh[1] / given_wh[0] == pytest.approx(0.55 / 0.25, rel=0.05)  # by what each holds


def two_homes() -> Scene:
    """Twice the home of scene(), without PV and with unlike states of charge."""
    one = scene()
    load = np.vstack([one.series.load_w, one.series.load_w])
    names = ("home-1", "home-2")
    rows = {f"load/{name}": one.past["load/home-1"] for name in names}
    batteries = (BATTERY, replace(BATTERY, id="bat-2", party="home-2", soc_pu=0.6))
    return scene(
        series=SiteSeries(names, load, np.zeros_like(load), 900),
        storages=batteries,
        past=rows | {f"pv/{name}": np.zeros_like(one.past["pv/home-1"]) for name in names},
    )


def test_the_sum_of_batteries_holds_what_they_hold_together() -> None:
    total = sum_of((BATTERY, replace(BATTERY, id="b", e_wh=3200.0, soc_pu=0.9)))
    assert (total.e_wh, total.p_charge_w, total.p_discharge_w) == (9600.0, 10_000.0, 8000.0)
    assert total.soc_pu == pytest.approx(0.5)
    assert total.eta_discharge == pytest.approx(0.9)


class TestMetered:
    cases: ClassVar = [
        (-3000, 500, 0.6, Order("fixed", -3000, 3000)),
        (-800, -790, 0.6, Order("soak", -800, 5000)),
        (700, 720, 0.6, Order("selfuse", 700, 5000)),
        (2000, 300, 0.6, Order("selfuse", 2000, 5000, None, 2000)),
        (0, 400, 0.6, Order("soak", 0, 5000)),
        (0, 400, 0.05, Order("selfuse", 0, 5000)),
        (0, -400, 0.95, Order("selfuse", 0, 5000)),
    ]

    @pytest.mark.parametrize(("p_w", "net_w", "soc_pu", "order"), cases)
    def test_what_the_plan_means_at_the_meter(self, p_w: float, net_w: float, soc_pu: float, order: Order) -> None:
        assert metered(p_w, net_w, soc_pu, BATTERY) == order


def test_sales_are_planned_only_where_they_can_pay() -> None:
    flat = Tariff(np.array([0.2, 0.5]), np.array([0.08, 0.08]))
    assert not sale_pays(flat, BATTERY)
    assert SETUP.chosen(flat, (BATTERY,))["set_nodischarge_to_grid"] is True
    moving = Tariff(np.array([0.1, 0.5]), np.array([0.02, 0.4]))
    assert sale_pays(moving, BATTERY)
    assert SETUP.chosen(moving, (BATTERY,))["set_nodischarge_to_grid"] is False


def test_a_horizon_beyond_the_prices_is_refused() -> None:
    with pytest.raises(ControllerError, match="shorten"):
        simulate_emhass(scene(), Metered(Setup(horizon_s=60 * 3600)), SimilarDays())
    with pytest.raises(ControllerError, match="whole steps"):
        Setup(horizon_s=5000)
