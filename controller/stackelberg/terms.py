"""Terms that a window adds to a player's assets: worth of the end, given commitment, price of leaving a plan."""

from __future__ import annotations

from dataclasses import dataclass

from controller.case import FloatArray


@dataclass(frozen=True, slots=True)
class Terminal:
    """Concave worth of what a storage holds at the end: the first widths[0] kWh above the floor are worth
    values[0] per kWh, and so on; values never rise."""

    widths_kwh: FloatArray
    values_per_kwh: FloatArray


@dataclass(frozen=True, slots=True)
class Commitment:
    """Given on/off states of a turbine: its power limits and steps follow from them."""

    on: FloatArray
    """1.0 where it runs, per step."""
    p_before_kw: float
    on_before: bool


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Quadratic price of leaving a planned power: gamma * (p - p_plan)^2 per hour (model 4, gamma_MT and gamma_ES)."""

    gamma_per_kw2h: float
    p_plan_kw: FloatArray
