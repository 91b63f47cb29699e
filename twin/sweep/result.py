"""The sweep in figures: one row a setting and policy, paired differences, regret. What sweep.json holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from twin.span import DAY_US, instant_us, parse_start
from twin.sweep.cells import Cell
from twin.sweep.choice import SettingName, Span
from twin.sweep.ground import LOOP_S
from twin.sweep.prices import DynamicPrices
from twin.sweep.statistics import BLOCK_DAYS, LEVEL, Captured, Difference, Panel, Regret, captured, difference, regret
from twin.sweep.sweep import Finished, Sweep

VERSION = 1


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A policy in a setting."""

    setting: SettingName
    policy: str
    about: str
    netting: str
    seeds: int
    days: int
    cost_per_day: float
    """Mean over the measured days."""
    parts_per_day: dict[str, float]
    captured: Captured | None
    plans: int
    max_gap: float | None
    seconds_per_day: float
    """Of the processor, forecasts included where this policy asked first."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A paired difference in a setting."""

    setting: SettingName
    difference: Difference
    better: bool


class SweepResult(msgspec.Struct, frozen=True, kw_only=True):
    """sweep.json."""

    version: int = VERSION
    site: str
    currency: str
    spans: tuple[Span, ...]
    seeds: tuple[int, ...]
    days: int
    settings: tuple[dict[str, Any], ...]
    budget: dict[str, Any]
    rows: tuple[Row, ...]
    differences: tuple[Compared, ...]
    regret: dict[str, Regret | None]
    daily: dict[str, dict[str, dict[str, float]]]
    """Setting -> policy -> date -> cost, averaged over the policy's seeds."""
    notes: tuple[str, ...]
    failures: tuple[str, ...]
    cells: int
    computed: int


def summarise(sweep: Sweep, finished: Finished) -> SweepResult:
    """All figures of the finished cells; a policy with a cell missing in a setting is left out there."""
    groups = defaultdict[tuple[str, str], list[Cell]](list)
    for cell in finished.cells:
        groups[cell.place.setting, cell.place.policy].append(cell)
    whole = {key: cells for key, cells in groups.items() if len(cells) == _wanted(sweep, key)}
    panels = {setting.name: _panel(sweep, setting.name, whole) for setting in sweep.settings}
    names = [policy.name for policy in sweep.policies]
    pairs = tuple(_pairs(panels, names))
    notes = dict.fromkeys(note for cell in finished.cells for note in cell.notes)
    return SweepResult(
        site=sweep.site.id,
        currency=sweep.site.currency,
        spans=sweep.choice.spans,
        seeds=sweep.choice.seeds,
        days=sum(span.days for span in sweep.choice.spans),
        settings=tuple(setting.facts for setting in sweep.settings),
        budget=msgspec.to_builtins(sweep.choice.budget),
        rows=tuple(_rows(sweep, panels, whole)),
        differences=pairs,
        regret={name: regret(panel) for name, panel in panels.items()},
        daily={name: _daily(sweep, panel) for name, panel in panels.items()},
        notes=(*_words(sweep), *notes),
        failures=tuple(f"{failure.place.name}: {failure.why}" for failure in finished.failures),
        cells=len(finished.cells),
        computed=finished.computed,
    )


def _wanted(sweep: Sweep, key: tuple[str, str]) -> int:
    return len(sweep.choice.spans) * len(sweep.choice.seeds_of(key[1]))


def _panel(sweep: Sweep, setting: str, whole: dict[tuple[str, str], list[Cell]]) -> Panel:
    costs = {}
    for policy in sweep.policies:
        found = {(cell.place.span, cell.place.seed): cell for cell in whole.get((setting, policy.name), [])}
        if found:
            costs[policy.name] = {
                seed: [np.array(found[span, seed].cost) for span in sweep.choice.spans]
                for seed in sweep.choice.seeds_of(policy.name)
            }
    return Panel(costs)


def _pairs(panels: dict[SettingName, Panel], names: Sequence[str]) -> Iterator[Compared]:
    for setting, panel in panels.items():
        for policy in names:
            for other in names:
                found = difference(panel, policy, other)
                if found is not None:
                    yield Compared(setting=setting, difference=found, better=found.better)


def _rows(sweep: Sweep, panels: dict[SettingName, Panel], whole: dict[tuple[str, str], list[Cell]]) -> Iterator[Row]:
    for setting, panel in panels.items():
        for policy in sweep.policies:
            cells = whole.get((setting, policy.name))
            if not cells:
                continue
            seeds = panel.seeds(policy.name)
            days = np.concatenate(panel.days(policy.name, seeds))
            count = sum(len(cell.dates) for cell in cells)
            gaps = [cell.max_gap for cell in cells if cell.max_gap is not None]
            names = cells[0].parts[0]
            yield Row(
                setting=setting,
                policy=policy.name,
                about=policy.about,
                netting=cells[0].netting,
                seeds=len(seeds),
                days=len(days),
                cost_per_day=float(days.mean()),
                parts_per_day={name: sum(day[name] for cell in cells for day in cell.parts) / count for name in names},
                captured=captured(panel, policy.name),
                plans=sum(cell.plans for cell in cells),
                max_gap=max(gaps, default=None),
                seconds_per_day=round(sum(cell.cpu_s for cell in cells) / count, 3),
            )


def _daily(sweep: Sweep, panel: Panel) -> dict[str, dict[str, float]]:
    dates = [date for span in sweep.choice.spans for date in span.dates]
    return {
        policy: dict(zip(dates, np.concatenate(panel.days(policy, panel.seeds(policy))).tolist(), strict=True))
        for policy in panel.costs
    }


def _words(sweep: Sweep) -> Iterator[str]:
    """What a reader must know of the figures."""
    yield (
        f"Ideal meter loop in steps of {LOOP_S} s: no lag, no dead band, setpoints followed at once; what the "
        "real loop loses is measured by `vpptwin run`."
    )
    yield f"Forecasts: {sweep.site.forecast.method}, from the past of each moment alone; the same for all policies."
    yield "The seed shapes the minutes inside measured hours. It makes no new days: seeds of a day are averaged first."
    yield (
        f"Intervals hold with probability {LEVEL:.0%}: bootstrap of {BLOCK_DAYS}-day blocks within each span. "
        "“Better” is said only where the interval of the paired daily difference lies below zero."
    )
    yield "Energy stored overnight is valued at one price per span, its mean import price x discharge efficiency."
    for setting in sweep.settings:
        if setting.dynamic is not None:
            away = sorted({_years_away(sweep, setting.dynamic, span) for span in sweep.choice.spans})
            if away != [0]:
                years = ", ".join(f"{year:+d}" for year in away)
                yield f"Dynamic prices are those of other years ({years}), weekday on weekday, clock on clock."
        if setting.feeder is not None:
            how = "given" if sweep.choice.feeder_w is not None else "80th percentile of import without control before"
            yield (
                f"Feeder: {setting.feeder.import_max_w / 1000:g} kW ({how}), "
                f"{setting.feeder.excess_per_kwh:g} {sweep.site.currency} per kWh above it, for all policies."
            )


def _years_away(sweep: Sweep, prices: DynamicPrices, span: Span) -> int:
    start_us = instant_us(parse_start(span.start), sweep.site.zone)
    return prices.years_away(start_us, span.days * DAY_US // (sweep.site.time.slot_s * 1_000_000))
