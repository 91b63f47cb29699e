"""Costs of a span by day, so that the days add up to the span's cost as controller.costs gives it.

Energy that stays in a storage overnight is valued at one price for the whole span, that of controller.costs at its end:
what a day leaves to the next is the day's earning and the next day's cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from controller.baseline import Operation
from controller.case import FloatArray, Storage, Tariff, Turbine
from controller.costs import CostBreakdown, Curtailment, FeederLimit, StorageUse, TurbineUse, end_soc_cost, run_cost
from controller.foresight import Foresight


def by_day(
    operation: Operation,
    tariff: Tariff,
    edges: Sequence[int],
    turbines: Sequence[Turbine],
    feeder: FeederLimit | None = None,
) -> list[CostBreakdown]:
    """Cost of each day of a span.

    tariff : prices of the span's slots      edges : first slot of each day, and the end
    turbines : as they were at the span's start, in the operation's order
    """
    changes = [_changes(use, unit.on) for use, unit in zip(operation.turbines, turbines, strict=True)]
    found = []
    for first, end in itertools.pairwise(edges):
        day = slice(first, end)
        burnt = [
            TurbineUse(use.turbine, use.energy_wh[day], use.on_pu[day], int(on[day].sum()), int(off[day].sum()))
            for use, (on, off) in zip(operation.turbines, changes, strict=True)
        ]
        cuts = [Curtailment(use.load, use.curtailed_wh[day]) for use in operation.curtailments]
        uses = _uses(operation.storages, operation.charged_wh, operation.discharged_wh, operation.soc_pu, first, end)
        cost = run_cost(operation.grid_wh[day], _of(tariff, day), operation.slot_s, uses, burnt, cuts, feeder)
        found.append(replace(cost, end_soc=sum(end_soc_cost(use, tariff) for use in uses)))
    return found


def bound_by_day(
    best: Foresight,
    tariff: Tariff,
    slot_s: int,
    storages: Sequence[Storage],
    edges: Sequence[int],
    feeder: FeederLimit | None = None,
) -> list[CostBreakdown]:
    """The bound of perfect foresight split over the days of its own operation.

    What its relaxed turbines and curtailments cost is known for the span only: the rest of the bound, split by their
    energy and noted as fuel.
    """
    found, weights = [], []
    for first, end in itertools.pairwise(edges):
        day = slice(first, end)
        uses = _uses(storages, best.charged_wh, best.discharged_wh, best.soc_pu, first, end)
        cost = run_cost(best.grid_wh[day], _of(tariff, day), slot_s, uses, feeder=feeder)
        found.append(replace(cost, end_soc=sum(end_soc_cost(use, tariff) for use in uses)))
        weights.append(float(best.turbine_wh[:, day].sum() + best.curtailed_wh[:, day].sum()))
    rest, total = best.bound - sum(cost.total for cost in found), sum(weights)
    shares = [weight / total if total > 0 else 1 / len(found) for weight in weights]
    return [replace(cost, fuel=share * rest) for cost, share in zip(found, shares, strict=True)]


def _uses(
    storages: Sequence[Storage],
    charged_wh: FloatArray,
    discharged_wh: FloatArray,
    soc_pu: FloatArray,
    first: int,
    end: int,
) -> list[StorageUse]:
    return [
        StorageUse(
            unit, charged_wh[k, first:end], discharged_wh[k, first:end], float(soc_pu[k, first]), float(soc_pu[k, end])
        )
        for k, unit in enumerate(storages)
    ]


def _changes(use: TurbineUse, on_before: bool) -> tuple[FloatArray, FloatArray]:
    """(starts, stops) of each slot, arrays (slots,)."""
    on = np.concatenate([[on_before], np.asarray(use.on_pu) > 0])
    return np.asarray(on[1:] & ~on[:-1], dtype=np.float64), np.asarray(on[:-1] & ~on[1:], dtype=np.float64)


def _of(tariff: Tariff, slots: slice) -> Tariff:
    return Tariff(tariff.import_per_kwh[slots], tariff.export_per_kwh[slots])
