"""Ten measured days through the whole loop: what the site cost, in the ideal loop too, and what others made of them."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, figures, table
from benchmarks.ideal import ideal_cost
from benchmarks.runs import HOMES, run
from twin.summary import CostFigures, Summary

DAYS = (
    "2016-09-05",
    "2016-09-20",
    "2016-10-08",
    "2016-10-25",
    "2016-11-14",
    "2016-12-03",
    "2016-12-20",
    "2017-01-15",
    "2017-02-10",
    "2017-03-06",
)
"""Spread over the data, chosen before anything was run on them: working days and weekends, summer and winter time."""
OTHERS = ("no_control", "selfuse", "tou_night", "perfect_foresight")


def main() -> None:
    """Print a row per day, the sums, and the goals."""
    found, ideal = {}, {}
    with tempfile.TemporaryDirectory(prefix="vpptwin-bench-") as name:
        for day in DAYS:
            found[day] = run(HOMES, Path(name) / day, "--start", day).summary
            ideal[day] = ideal_cost(HOMES, day, Path(name) / day)
    rows = [
        [day, *_amounts(one.cost), _share(one.captured), *_plans(one), f"{ideal[day]:.2f}", _points(one, ideal[day])]
        for day, one in found.items()
    ]
    sums = {name: math.fsum(_cost(one, name) for one in found.values()) for name in ("actual", *OTHERS)}
    possible = sums["no_control"] - sums["perfect_foresight"]
    saved, lost = (sums["no_control"] - sums["actual"]) / possible, sums["actual"] - math.fsum(ideal.values())
    total = [f"{math.fsum(ideal.values()):.2f}", f"{100 * lost / possible:.2f}"]
    rows.append(["ten days", *(f"{amount:.2f}" for amount in sums.values()), _share(saved), "", "", *total])
    table(("day", "actual", *OTHERS, "captured", "kept", "worst gap", "ideal loop", "lost, points"), rows)
    below = sum(_cost(one, "actual") < _cost(one, "no_control") for one in found.values())
    figures(
        [
            Figure("days below no_control", below, "of 10", at_least=9),
            _against("selfuse", sums, found, at_most=sums["selfuse"]),
            _against("tou_night", sums, found),
            Figure("lost by the real loop, of what foresight saves", 100 * lost / possible, "points", at_most=1.0),
        ]
    )


def _against(rule: str, sums: dict[str, float], found: dict[str, Summary], at_most: float | None = None) -> Figure:
    currency = next(iter(found.values())).currency
    return Figure(
        f"ten days' cost against {rule}", sums["actual"], currency, at_most, reference=sums[rule], beside=rule
    )


def _cost(one: Summary, name: str) -> float:
    value: float | None = getattr(one.cost, name)
    return math.nan if value is None else value


def _amounts(cost: CostFigures) -> list[str]:
    amounts = (getattr(cost, name) for name in ("actual", *OTHERS))
    return ["-" if amount is None else f"{amount:.2f}" for amount in amounts]


def _plans(one: Summary) -> list[str]:
    gap = one.plans.max_gap
    return [str(one.plans.kept), "-" if gap is None else f"{gap:.1%}"]


def _points(one: Summary, ideal: float) -> str:
    """What the real loop cost more than the ideal one, in points of what foresight saves."""
    possible = _cost(one, "no_control") - _cost(one, "perfect_foresight")
    return f"{100 * (_cost(one, 'actual') - ideal) / possible:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
