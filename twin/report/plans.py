"""What the plans of a run say: planned power, prices and how good each solve was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from controller.plan import Plan
from twin.report.data import ReportData, Row
from twin.report.span import Span
from twin.report.telemetry import FloatArray
from twin.store import StoreReader


@dataclass(frozen=True, slots=True)
class Window:
    """One solve."""

    start_us: int
    stage: str
    gap: float | None
    deviation_gain: float | None
    solve_s: float | None
    optimal: str


@dataclass(slots=True)
class PlanFacts:
    """Arrays over the span's slots; NaN where no plan speaks."""

    windows: list[Window] = field(default_factory=list)
    planned_w: dict[str, FloatArray] = field(default_factory=dict)
    """Device -> power of the plan in force: the newest intraday plan's first slot, else day-ahead."""
    day_ahead_w: dict[str, FloatArray] = field(default_factory=dict)
    buy_per_kwh: dict[str, FloatArray] = field(default_factory=dict)
    sell_per_kwh: dict[str, FloatArray] = field(default_factory=dict)


def plan_facts(reader: StoreReader, data: ReportData, span: Span) -> PlanFacts:
    """From the plans in the store; rows given in report_data.json take their place."""
    facts = PlanFacts()
    for stage in ("day_ahead", "intraday"):
        for row in reader.each_plan(stage):
            certificate = row.plan.certificate
            facts.windows.append(
                Window(
                    row.plan.start_us,
                    stage,
                    certificate.gap,
                    certificate.deviation_gain,
                    certificate.solve_s,
                    certificate.optimal,
                )
            )
            _apply(facts, row.plan, span)
    for device in data.devices:
        _override(facts.planned_w, device.id, device.planned_w, span)
    for party in data.parties:
        _override(facts.buy_per_kwh, party.id, party.buy_per_kwh, span)
        _override(facts.sell_per_kwh, party.id, party.sell_per_kwh, span)
    return facts


def _apply(facts: PlanFacts, plan: Plan, span: Span) -> None:
    """Write a plan over the slots it decides: all of a day-ahead plan, from its first slot on of an intraday one."""
    if plan.stage == "day_ahead":
        for device in (*plan.schedule, *plan.orders):
            _put(facts.day_ahead_w, device, _powers(plan, device), plan, span)
    for device in (*plan.schedule, *plan.orders):
        _put(facts.planned_w, device, _powers(plan, device), plan, span)
    for party, prices in plan.buy_per_kwh.items():
        _put(facts.buy_per_kwh, party, prices, plan, span)
    for party, prices in plan.sell_per_kwh.items():
        _put(facts.sell_per_kwh, party, prices, plan, span)


def _powers(plan: Plan, device: str) -> Iterable[float]:
    scheduled = plan.schedule.get(device)
    if scheduled is not None:
        return scheduled.p_w
    return [float(order.p_ref_w) for order in plan.orders.get(device) or ()]


def _put(rows: dict[str, FloatArray], key: str, values: Iterable[float], plan: Plan, span: Span) -> None:
    row = rows.setdefault(key, np.full(span.slots, np.nan))
    for slot, value in enumerate(values):
        index = (plan.start_us + slot * plan.slot_s * 1_000_000 - span.start_us) // (span.slot_s * 1_000_000)
        if 0 <= index < span.slots:
            row[index] = value


def _override(rows: dict[str, FloatArray], key: str, given: Row | None, span: Span) -> None:
    if given is not None:
        row = np.full(span.slots, np.nan)
        values = np.array(given[: span.slots], np.float64)
        row[: len(values)] = values
        rows[key] = row
