"""What a need costs at the grid, an interruptible load and a turbine helping: the stage cost of the pool program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.case import FlexibleLoad, FloatArray, Turbine

NONE = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Supply:
    """Prices and helpers of every stage. Arrays (stages,); powers in kW, prices per kWh."""

    buy_per_kwh: FloatArray
    sell_per_kwh: FloatArray
    import_max_kw: float = float("inf")
    excess_per_kwh: float = 0.0
    """What a kWh of import above the limit costs on top."""
    turbine: Turbine | None = None
    load: FlexibleLoad | None = None
    """Its demand of every stage; curtailed where that is cheaper than buying."""

    @property
    def states(self) -> int:
        """1, or 2 with a turbine: off and on."""
        return 1 if self.turbine is None else 2

    def kinks_kw(self, stage: int, on: int) -> FloatArray:
        """Needs at which the price of one more kWh jumps: what a storage may best bring the need to."""
        cut = self._cut_max_kw(stage)
        base = np.array([0.0, *([cut] if cut else [])])
        if on:
            low, high = self._turbine_band_kw(stage)
            base = np.concatenate([base + low, base + high])
        limit = self.import_max_kw
        return np.append(base, base + limit) if np.isfinite(limit) else base

    def rate(self, stage: int, need_kw: FloatArray, on: int) -> FloatArray:
        """Currency per hour of meeting the need, array like need_kw (> 0: power is lacking)."""
        turbine_kw = self.turbine_kw(stage, need_kw, on)
        rest = need_kw - turbine_kw
        cut = self.cut_kw(stage, rest)
        rest = rest - cut
        cost = np.where(rest > 0, rest * self.buy_per_kwh[stage], rest * self.sell_per_kwh[stage])
        if np.isfinite(self.import_max_kw):
            cost = cost + self.excess_per_kwh * np.maximum(rest - self.import_max_kw, 0.0)
        if self.load is not None:
            cost = cost + self.load.beta_per_kwh * cut + self.load.beta2_per_kw2h * cut**2
        if on and self.turbine is not None:
            unit = self.turbine
            cost = cost + unit.cost_a_per_kw2h * turbine_kw**2 + unit.cost_b_per_kwh * turbine_kw + unit.cost_c_per_h
        return np.asarray(cost)

    def turbine_kw(self, stage: int, need_kw: FloatArray, on: int) -> FloatArray:
        """Cheapest power of the turbine while on: up to where a kWh costs what the grid takes or gives for it."""
        if not on or self.turbine is None:
            return np.zeros_like(need_kw)
        low, high = self._turbine_band_kw(stage)
        power = np.clip(need_kw, low, high)
        if np.isfinite(self.import_max_kw):
            most = self._marginal_kw(self.buy_per_kwh[stage] + self.excess_per_kwh)
            power = np.maximum(power, np.clip(need_kw - self.import_max_kw, low, most))
        return np.asarray(power)

    def cut_kw(self, stage: int, need_kw: FloatArray) -> FloatArray:
        """Demand curtailed at a need: all of it where buying is dearer, what exceeds the limit where that is."""
        most, load = self._cut_max_kw(stage), self.load
        if not most or load is None:
            return np.zeros_like(need_kw)
        if load.beta_per_kwh < self.buy_per_kwh[stage]:
            return np.asarray(np.clip(need_kw, 0.0, most))
        return np.asarray(np.clip(need_kw - self.import_max_kw, 0.0, most))

    def switch_cost(self, before: int, now: int) -> float:
        """Starting or stopping the turbine."""
        if self.turbine is None or before == now:
            return 0.0
        return self.turbine.start_cost if now else self.turbine.stop_cost

    def _cut_max_kw(self, stage: int) -> float:
        load = self.load
        if load is None or load.beta_per_kwh >= self.buy_per_kwh[stage] + self._excess():
            return 0.0
        return load.curtail_max_pu * max(float(load.demand_w[stage]), 0.0) / 1000

    def _excess(self) -> float:
        return self.excess_per_kwh if np.isfinite(self.import_max_kw) else 0.0

    def _turbine_band_kw(self, stage: int) -> tuple[float, float]:
        return self._marginal_kw(self.sell_per_kwh[stage]), self._marginal_kw(self.buy_per_kwh[stage])

    def _marginal_kw(self, price: float) -> float:
        """Power at which one more kWh of the turbine costs the price."""
        unit = self.turbine
        assert unit is not None
        low, high, gain = unit.p_min_w / 1000, unit.p_max_w / 1000, float(price) - unit.cost_b_per_kwh
        if unit.cost_a_per_kw2h <= 0:
            return high if gain > 0 else low
        return min(max(gain / (2 * unit.cost_a_per_kw2h), low), high)
