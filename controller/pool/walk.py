"""The way the pool is expected to take, slot by slot, and the pool's order in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.case import FloatArray, Turbine
from controller.dispatch import PRICE_TOLERANCE_PER_KWH, kind_of
from controller.plan import OrderKind
from controller.pool.program import LEVELS, Curves, Pool, Stages, content_kwh, power_kw, wear_rate

BoolArray = npt.NDArray[np.bool_]
LEAST_KW = 0.02
"""Less is nothing to give or take."""


@dataclass(frozen=True, slots=True)
class PoolOrder:
    """One slot of the whole pool; powers in bus sign (discharge > 0), kW."""

    kind: OrderKind
    p_ref_kw: float
    cap_kw: float
    at_least_kw: float
    worth_per_kwh: float
    on: int
    """The turbine's state in this slot, 1 = on."""
    turbine_kw: float
    cut_kw: float
    content_kwh: float
    """Expected content at the slot's end."""


def walk(pool: Pool, stages: Stages, curves: Curves, slots: int) -> list[PoolOrder]:
    """Orders of the first `slots` stages along the mean of the scenarios."""
    mean = stages.net_kw.mean(axis=0)
    turbine, content, found = stages.supply.turbine, pool.content_kwh, list[PoolOrder]()
    before = int(turbine.on) if turbine is not None else 0
    for stage in range(slots):
        on, power = _cheapest(pool, stages, curves, stage, content, before, float(mean[stage]))
        need = np.array([mean[stage] + power])
        turbine_kw = float(stages.supply.turbine_kw(stage, need, on)[0])
        cut = float(stages.supply.cut_kw(stage, need - turbine_kw)[0])
        order = _order(pool, stages, curves.cost[stage][on], stage, content, float(mean[stage]) - turbine_kw, power)
        content += float(content_kwh(pool, np.array([power]), float(stages.hours[stage]))[0])
        content = min(max(content, 0.0), pool.e_kwh)
        kind, cap, least, worth = order
        found.append(PoolOrder(kind, -power, cap, least, worth, on, turbine_kw, cut, content))
        before = on
    return found


def _cheapest(
    pool: Pool, stages: Stages, curves: Curves, stage: int, content: float, before: int, net_kw: float
) -> tuple[int, float]:
    """(turbine's state, pool's power, charging > 0) that cost least in this stage and after it."""
    hours, supply = float(stages.hours[stage]), stages.supply
    best, choice = float("inf"), (before, 0.0)
    for on in _allowed(supply.turbine, before, stage, hours):
        power = _candidates(pool, content, hours, supply.kinks_kw(stage, on) - net_kw)
        after = content + content_kwh(pool, power, hours)
        cost = (supply.rate(stage, net_kw + power, on) + wear_rate(pool, power)) * hours
        cost = cost + np.interp(after, pool.levels_kwh, curves.cost[stage][on]) + supply.switch_cost(before, on)
        at = int(np.argmin(cost + 1e-9 * np.abs(power)))
        if cost[at] < best - 1e-12:
            best, choice = float(cost[at]), (on, float(power[at]))
    return choice


def _allowed(turbine: Turbine | None, before: int, stage: int, hours: float) -> tuple[int, ...]:
    """States the turbine may take: minimum times bind from its present state only."""
    if turbine is None:
        return (0,)
    held = turbine.held_s + stage * hours * 3600
    if before == int(turbine.on) and held < (turbine.min_up_s if before else turbine.min_down_s):
        return (before,)
    return (0, 1)


def _candidates(pool: Pool, content: float, hours: float, kinks_kw: FloatArray) -> FloatArray:
    """Powers worth a look: standing still, to each level of the grid, to each kink of the price."""
    to_levels = power_kw(pool, pool.levels_kwh - content, hours) if pool.e_kwh else np.zeros(0)
    low = -min(pool.discharge_kw, content * pool.eta_discharge / hours)
    high = min(pool.charge_kw, max(pool.e_kwh - content, 0.0) / pool.eta_charge / hours)
    return np.unique(np.clip(np.concatenate([[0.0], to_levels, kinks_kw]), low, high))


def _order(
    pool: Pool, stages: Stages, cost: FloatArray, stage: int, content: float, need_kw: float, power_kw_: float
) -> tuple[OrderKind, float, float, float]:
    """(kind, cap, planned sale, worth) of the pool in a stage, from the worth of every content after it.

    A content below which a kWh is worth buying is bought (fixed); else the pool covers down to the content whose worth
    the purchase price reaches, and soaks up to the content whose worth the feed-in price undercuts.
    """
    if not pool.e_kwh:
        return "fixed", 0.0, 0.0, 0.0
    worth = np.minimum.accumulate(-np.diff(cost) / pool.step_kwh)
    hours, buy, sell = (float(row[stage]) for row in (stages.hours, *_prices(stages)))
    gain = worth * pool.eta_charge - pool.wear_charge_per_kwh
    give = pool.wear_discharge_per_kwh
    bought = _room_kw(pool, _level(pool, gain >= buy) - content, hours)
    soaked = _room_kw(pool, _level(pool, gain >= sell - PRICE_TOLERANCE_PER_KWH) - content, hours)
    covered = _stock_kw(pool, content - _level(pool, worth > _paid(pool, buy, give)), hours)
    sold = _stock_kw(pool, content - _level(pool, worth > _paid(pool, sell, give)), hours)
    now = float(np.interp(content, (pool.levels_kwh[:-1] + pool.levels_kwh[1:]) / 2, worth))
    surplus, lack = max(-need_kw, 0.0), max(need_kw, 0.0)
    if bought > max(surplus, LEAST_KW):
        return "fixed", bought, 0.0, now
    if sold > max(lack, LEAST_KW):
        return "cover", covered, sold, now
    kind = kind_of(covered > LEAST_KW, soaked > LEAST_KW)
    cap = {"cover": covered, "soak": soaked, "fixed": 0.0, "selfuse": covered if need_kw >= 0 else soaked}[kind]
    return kind, cap, 0.0, now


def _prices(stages: Stages) -> tuple[FloatArray, FloatArray]:
    return stages.supply.buy_per_kwh, stages.supply.sell_per_kwh


def _paid(pool: Pool, price: float, wear: float) -> float:
    """What a kWh held earns when it replaces a purchase, or is sold, at the price."""
    return (price - wear) * pool.eta_discharge + PRICE_TOLERANCE_PER_KWH


def _level(pool: Pool, holds: BoolArray) -> float:
    """Content up to which a condition on the falling worth holds."""
    return int(np.count_nonzero(holds)) * pool.e_kwh / (LEVELS - 1)


def _room_kw(pool: Pool, gained_kwh: float, hours: float) -> float:
    return min(max(gained_kwh, 0.0) / pool.eta_charge / hours, pool.charge_kw)


def _stock_kw(pool: Pool, given_kwh: float, hours: float) -> float:
    return min(max(given_kwh, 0.0) * pool.eta_discharge / hours, pool.discharge_kw)
