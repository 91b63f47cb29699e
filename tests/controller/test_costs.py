"""The one cost function: hand examples, additivity, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from controller.case import FlexibleLoad, Storage, Tariff, Turbine
from controller.costs import Curtailment, StorageUse, TurbineUse, run_cost
from controller.errors import ControllerError

STORAGE = Storage("bat", "home", 6400.0, 5000.0, 5000.0, 0.95, 0.95, 0.5, 0.0, 1.0, 0.02, 0.05)
TURBINE = Turbine("mt", "vpp", 2000.0, 10000.0, 1e5, 0.01, 0.3, 0.5, start_cost=0.2, stop_cost=0.1)
PRICES = Tariff(np.array([0.2, 0.4, 0.6, 0.4]), np.array([0.1, 0.1, 0.2, 0.1]))


def test_every_part_of_a_hand_example() -> None:
    grid = np.array([1000.0, -2000.0, 500.0, 0.0])
    use = StorageUse(STORAGE, np.array([1000.0, 0, 0, 0]), np.array([0, 0, 500.0, 0]), 0.5, 0.75)
    turbine = TurbineUse(TURBINE, np.array([0, 1000.0, 0, 0]), np.array([0, 0.5, 0, 0]), starts=1, stops=1)
    load = FlexibleLoad("flex", "home", np.full(4, 1000.0), 0.5, 0.6, 0.1)
    cost = run_cost(grid, PRICES, 900, [use], [turbine], [Curtailment(load, np.array([0, 0, 250.0, 0]))])
    assert cost.import_ == pytest.approx(0.2 + 0.3)
    assert cost.export == pytest.approx(-0.2)
    # 1 kWh in half a slot (0.125 h): 8 kW while on
    assert cost.fuel == pytest.approx((0.01 * 64 + 0.3 * 8 + 0.5) * 0.125 + 0.3)
    assert cost.wear == pytest.approx(0.02 + 0.025)
    assert cost.comfort == pytest.approx((0.6 * 1 + 0.1 * 1) * 0.25)
    assert cost.end_soc == pytest.approx(-1.6 * 0.4 * 0.95)
    parts = (cost.import_, cost.export, cost.fuel, cost.wear, cost.comfort, cost.end_soc)
    assert cost.total == pytest.approx(sum(parts))


@given(arrays(np.float64, 8, elements=st.floats(-1e4, 1e4)), st.integers(1, 7))
def test_costs_of_two_spans_add_up(grid: np.ndarray, cut: int) -> None:
    tariff = Tariff(np.linspace(0.2, 0.5, 8), np.full(8, 0.08))

    def part(span: slice) -> float:
        return run_cost(grid[span], Tariff(tariff.import_per_kwh[span], tariff.export_per_kwh[span]), 900).total

    whole = run_cost(grid, tariff, 900).total
    assert whole == pytest.approx(part(slice(0, cut)) + part(slice(cut, 8)), abs=1e-9)


def test_an_unknown_energy_is_refused_with_its_slot() -> None:
    with pytest.raises(ControllerError, match="slot 2"):
        run_cost(np.array([0.0, 0.0, np.nan, 0.0]), PRICES, 900)
    with pytest.raises(ControllerError, match="4 slots"):
        run_cost(np.zeros(3), PRICES, 900)


def test_energy_from_a_turbine_that_was_off_is_refused() -> None:
    with pytest.raises(ControllerError, match="off"):
        run_cost(np.zeros(4), PRICES, 900, turbines=[TurbineUse(TURBINE, np.full(4, 10.0), np.zeros(4))])
