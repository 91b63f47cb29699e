"""The costs that a run reports, computed again from its stored counters and its data, without the run's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twin.data import DataSet
from twin.feed import Feed
from twin.site import Site
from twin.store import StoreReader

SLOT_US, SLOTS, SEED = 900_000_000, 8, 7


@pytest.fixture(scope="module")
def cost(short_run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((short_run / "summary.json").read_text(encoding="utf-8"))["cost"]
    return found


@pytest.fixture(scope="module")
def prices(feed: Feed, t0_us: int) -> np.ndarray[Any, Any]:
    return feed.tariff(t0_us, SLOTS).import_per_kwh


def at_cost(grid_wh: np.ndarray[Any, Any], prices: np.ndarray[Any, Any]) -> float:
    """Net import of each slot at its price, net export at 0.08."""
    return float(np.where(grid_wh > 0, grid_wh * prices, grid_wh * 0.08).sum() / 1000)


def test_the_actual_cost_follows_from_the_stored_counters(
    short_run: Path, two_homes: Site, cost: dict[str, Any], prices: np.ndarray[Any, Any], t0_us: int
) -> None:
    edges = t0_us + np.arange(SLOTS + 1) * SLOT_US
    with StoreReader(short_run / "telemetry.db") as reader:

        def counted(device: str, point: str) -> np.ndarray[Any, Any]:
            ts_us, register = reader.series(device, point)
            return np.diff(register[np.searchsorted(ts_us, edges)])

        grid_wh = counted("meter-grid", "e_exp_wh") - counted("meter-grid", "e_imp_wh")
        wear = end_soc = 0.0
        for spec in two_homes.devices:
            if spec.kind == "storage":
                wear += 0.01 * (counted(spec.id, "e_imp_wh") + counted(spec.id, "e_exp_wh")).sum() / 1000
                _, soc = reader.series(spec.id, "soc_pu")
                end_soc += (soc[0] - soc[-1]) * 6.4 * 0.95 * prices.mean()
    assert cost["actual"] == pytest.approx(at_cost(grid_wh, prices) + wear + end_soc, abs=1e-6)


def test_no_control_is_demand_less_pv_at_the_tariff(
    two_homes: Site, homes_data: DataSet, cost: dict[str, Any], prices: np.ndarray[Any, Any], t0_us: int
) -> None:
    world = Feed(two_homes, homes_data, SEED)
    net_wh = np.zeros(SLOTS)
    for home in ("home-1", "home-2"):
        for slot in range(SLOTS):
            span = (t0_us + slot * SLOT_US, t0_us + (slot + 1) * SLOT_US)
            load, pv = world.power_w(f"{home}/load", *span), world.power_w(f"{home}/pv", *span)
            assert load is not None
            assert pv is not None
            net_wh[slot] += (load - pv) / 4
    assert cost["no_control"] == pytest.approx(at_cost(net_wh, prices), abs=1e-6)


def test_no_operation_beats_perfect_foresight(cost: dict[str, Any]) -> None:
    assert all(
        cost["perfect_foresight"] <= cost[name] + 1e-3 for name in ("actual", "no_control", "selfuse", "tou_night")
    )
    assert cost["actual"] < cost["no_control"], "batteries pay at the peak"


def test_captured_follows_from_the_costs(short_run: Path, cost: dict[str, Any]) -> None:
    captured = json.loads((short_run / "summary.json").read_text(encoding="utf-8"))["captured"]
    saved = cost["no_control"] - cost["actual"]
    assert captured == pytest.approx(saved / (cost["no_control"] - cost["perfect_foresight"]), abs=1e-5)
