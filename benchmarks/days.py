"""Ten measured days through the whole loop: what the site cost, and what others would have made of the same day."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, figures, table
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
    """Print a row per day, the sums, and the two goals."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="vpptwin-bench-") as name:
        for day in DAYS:
            found[day] = run(HOMES, Path(name) / day, "--start", day).summary
    rows = [[day, *_amounts(one.cost), _share(one.captured), *_plans(one)] for day, one in found.items()]
    sums = {name: math.fsum(_cost(one, name) for one in found.values()) for name in ("actual", *OTHERS)}
    saved = (sums["no_control"] - sums["actual"]) / (sums["no_control"] - sums["perfect_foresight"])
    rows.append(["ten days", *(f"{amount:.2f}" for amount in sums.values()), _share(saved), "", ""])
    table(("day", "actual", *OTHERS, "captured", "kept", "worst gap"), rows)
    below = sum(_cost(one, "actual") < _cost(one, "no_control") for one in found.values())
    figures(
        [
            Figure("days below no_control", below, "of 10", at_least=9),
            _against("selfuse", sums, found, at_most=sums["selfuse"]),
            _against("tou_night", sums, found),
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


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
