"""What others would have made of the same day. Runs in the solver process: nothing else imports this module."""

from __future__ import annotations

from dataclasses import dataclass

from controller import foresight
from controller.baseline import SiteSeries, no_control, rule
from controller.case import FloatArray
from controller.costs import CostBreakdown
from controller.rules import RuleName
from twin.realised import STEP_S, Realised

RULES: tuple[RuleName, ...] = ("selfuse", "tou_night")


@dataclass(frozen=True, slots=True)
class Reference:
    """What one way of operating the day would have cost, and its energy at the grid meter."""

    cost: CostBreakdown
    grid_wh: FloatArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """no_control and the rules as simulated; perfect foresight as a bound."""

    references: dict[str, Reference]
    bound: float
    bound_grid_wh: FloatArray


def compare(day: Realised) -> Comparison:
    """All references of one day, turbine off for the rules (CONTRACT, figures of a run)."""
    series = SiteSeries(day.parties, day.load_w, day.pv_w, STEP_S, day.slot_s)
    runs = {"no_control": no_control(series, day.storages)}
    for name in RULES:
        runs[name] = rule(name, series, day.storages, day.prices_around, day.first_slot)
    found = {name: Reference(operation.cost(day.tariff), operation.grid_wh) for name, operation in runs.items()}
    best = foresight.perfect_foresight(
        foresight.Site(
            net_w=series.site_net_w,
            tariff=day.tariff,
            slot_s=day.slot_s,
            storages=day.storages,
            turbines=day.turbines,
            flexible=day.flexible,
            pv_w=series.site_pv_w,
        )
    )
    return Comparison(found, best.bound, best.grid_wh)
