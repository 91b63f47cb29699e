"""Worth of what a pool of storages holds, by dynamic programming over its content (and a turbine's on/off).

For every scenario of the net load the cheapest way on is found backwards over a grid of contents; the mean over the
scenarios is the expected cost of going on from each content. Between stages a share of every scenario's cost is
replaced by the mean of all (`surprise_pu`): knowing the whole scenario from the next stage on would leave no reason to
keep a reserve, knowing nothing would forget that a cold evening stays cold.

A linear program with one storage each has worths that are duals of a degenerate optimum: two of eight batteries may
then look cheap and be emptied for it. A curve over the content of all cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from controller.case import FloatArray, Storage
from controller.pool.supply import Supply

LEVELS = 65
"""Grid of contents: steps of 1.6 %; what lies between is interpolated, and exact cover is a candidate of its own."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Storages as one: sums of contents and powers, efficiencies and wear weighted by energy."""

    storages: tuple[Storage, ...]
    e_kwh: float
    """Usable content."""
    content_kwh: float
    """Above the lower limits, now."""
    charge_kw: float
    discharge_kw: float
    eta_charge: float
    eta_discharge: float
    wear_charge_per_kwh: float
    wear_discharge_per_kwh: float

    @classmethod
    def of(cls, storages: Sequence[Storage]) -> Pool:
        """The pool of these; empty where there is none or nothing is usable."""
        rows = [s for s in storages if s.soc_max_pu > s.soc_min_pu and s.e_wh > 0]
        weights = np.array([s.e_wh * (s.soc_max_pu - s.soc_min_pu) / 1000 for s in rows])
        total = float(weights.sum())

        def mean(name: str) -> float:
            return float(weights @ [getattr(s, name) for s in rows]) / total if total else 1.0

        above = [min(max(s.soc_pu, s.soc_min_pu), s.soc_max_pu) - s.soc_min_pu for s in rows]
        return cls(
            storages=tuple(rows),
            e_kwh=total,
            content_kwh=sum(pu * s.e_wh / 1000 for pu, s in zip(above, rows, strict=True)),
            charge_kw=sum(s.p_charge_w for s in rows) / 1000,
            discharge_kw=sum(s.p_discharge_w for s in rows) / 1000,
            eta_charge=mean("eta_charge"),
            eta_discharge=mean("eta_discharge"),
            wear_charge_per_kwh=mean("wear_charge_per_kwh"),
            wear_discharge_per_kwh=mean("wear_discharge_per_kwh"),
        )

    @property
    def step_kwh(self) -> float:
        """Distance of two levels of the grid."""
        return self.e_kwh / (LEVELS - 1)

    @property
    def levels_kwh(self) -> FloatArray:
        """Grid of contents, array (LEVELS,)."""
        return np.linspace(0.0, self.e_kwh, LEVELS)


@dataclass(frozen=True, slots=True)
class Stages:
    """The horizon: length of every stage, scenarios of the net load, what a need costs."""

    hours: FloatArray
    """(stages,)."""
    net_kw: FloatArray
    """(scenarios, stages): demand - available PV."""
    supply: Supply
    end_worth_per_kwh: float
    """Worth of a kWh held at the end."""
    late_per_kwh: float = 0.0
    """Cost of holding a kWh through the whole horizon: among equal costs energy is bought late."""
    surprise_pu: float = 0.0
    """Chance, stage by stage, that another scenario goes on: 0, all is known from the next stage on; 1, nothing is
    known of the next from this one."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Expected cost of going on. `cost[t]`, array (states, LEVELS): after stage t, by turbine state and content."""

    cost: tuple[FloatArray, ...]


def worth_curves(pool: Pool, stages: Stages) -> Curves:
    """Solve backwards. The result has one entry a stage; the last is what is held at the end."""
    count = len(stages.hours)
    supply = stages.supply
    shape = supply.states, stages.net_kw.shape[0], LEVELS
    going_on = np.broadcast_to(-stages.end_worth_per_kwh * pool.levels_kwh, shape).copy()
    holding = stages.late_per_kwh / float(stages.hours.sum()) * pool.levels_kwh
    found = [going_on.mean(axis=1)]
    for stage in range(count - 1, 0, -1):
        met = np.array([_stage(pool, stages, stage, on, going_on[on]) for on in range(supply.states)])
        going_on = np.array(
            [
                np.min([met[now] + supply.switch_cost(before, now) for now in range(supply.states)], axis=0)
                for before in range(supply.states)
            ]
        )
        going_on = going_on + holding * stages.hours[stage]
        mean = going_on.mean(axis=1, keepdims=True)
        going_on = (1 - stages.surprise_pu) * going_on + stages.surprise_pu * mean
        found.append(going_on.mean(axis=1))
    return Curves(tuple(reversed(found)))


def _stage(pool: Pool, stages: Stages, stage: int, on: int, after: FloatArray) -> FloatArray:
    """Cheapest way on from every content, (scenarios, LEVELS), with the turbine's state given in this stage."""
    hours, supply = float(stages.hours[stage]), stages.supply
    net = stages.net_kw[:, stage]
    if not pool.e_kwh:
        return np.asarray(after + supply.rate(stage, net, on)[:, None] * hours)
    moves = _moves(pool, hours)
    power = power_kw(pool, moves * pool.step_kwh, hours)
    cost = (supply.rate(stage, net[:, None] + power, on) + wear_rate(pool, power)) * hours
    down, up = -int(moves[0]), int(moves[-1])
    padded = np.pad(after, ((0, 0), (down, up)), constant_values=np.inf)
    best = (sliding_window_view(padded, len(moves), axis=1) + cost[:, None, :]).min(axis=2)
    for kink in supply.kinks_kw(stage, on):
        power = np.clip(kink - net, -pool.discharge_kw, pool.charge_kw)
        cost = (supply.rate(stage, net + power, on) + wear_rate(pool, power)) * hours
        best = np.minimum(best, cost[:, None] + _shifted(after, content_kwh(pool, power, hours) / pool.step_kwh))
    return np.asarray(best)


def _moves(pool: Pool, hours: float) -> FloatArray:
    """Moves along the grid that the powers allow in a stage."""
    down = min(int(pool.discharge_kw * hours / pool.eta_discharge / pool.step_kwh + 1e-9), LEVELS - 1)
    up = min(int(pool.charge_kw * hours * pool.eta_charge / pool.step_kwh + 1e-9), LEVELS - 1)
    return np.arange(-down, up + 1, dtype=np.float64)


def _shifted(after: FloatArray, by: FloatArray) -> FloatArray:
    """after at content + by (grid steps, one a scenario), interpolated; infinite outside the grid."""
    at = np.arange(LEVELS)[None, :] + by[:, None]
    low = np.clip(np.floor(at).astype(np.intp), 0, LEVELS - 2)
    part = at - low
    value = np.take_along_axis(after, low, 1) * (1 - part) + np.take_along_axis(after, low + 1, 1) * part
    return np.where((at >= 0) & (at <= LEVELS - 1), value, np.inf)


def power_kw(pool: Pool, gained_kwh: FloatArray, hours: float) -> FloatArray:
    """Power at the bus (charging > 0) that changes the content by so much in so many hours."""
    gained = np.asarray(gained_kwh, dtype=np.float64)
    return np.where(gained > 0, gained / pool.eta_charge, gained * pool.eta_discharge) / hours


def content_kwh(pool: Pool, power: FloatArray, hours: float) -> FloatArray:
    """Change of the content by a power at the bus (charging > 0) held for so many hours."""
    return np.where(power > 0, power * pool.eta_charge, power / pool.eta_discharge) * hours


def wear_rate(pool: Pool, power: FloatArray) -> FloatArray:
    """Wear, currency per hour, of a power at the bus (charging > 0)."""
    return np.where(power > 0, power * pool.wear_charge_per_kwh, -power * pool.wear_discharge_per_kwh)
