"""A sweep's table, as words: for the terminal and the page alike."""

from __future__ import annotations

from twin.sweep.result import Row, SweepResult
from twin.sweep.statistics import Difference

AGAINST = ("tou_night", "tou_night_site")
HEADINGS = ("policy", "net", "seeds", "cost/day", "captured", "median", "p10", "s/day")
AGAINST_HEADINGS = tuple(f"− {other}" for other in AGAINST)


def lines(found: SweepResult, setting: str) -> list[tuple[str, ...]]:
    """One line a policy, the cells under HEADINGS, the cheapest first."""
    return [_line(row) for row in _rows(found, setting)]


def against(found: SweepResult, setting: str) -> dict[str, tuple[str, ...]]:
    """Policy -> its paired daily differences, the cells under AGAINST_HEADINGS."""
    known = {(c.difference.policy, c.difference.other): c.difference for c in found.differences if c.setting == setting}
    rows = [row.policy for row in _rows(found, setting)]
    return {policy: tuple(_words(known.get((policy, other))) for other in AGAINST) for policy in rows}


def better(found: SweepResult, setting: str) -> dict[str, list[str]]:
    """Policy -> those it may be called better than."""
    return {
        row.policy: [
            one.difference.other
            for one in found.differences
            if one.setting == setting and one.difference.policy == row.policy and one.better
        ]
        for row in _rows(found, setting)
    }


def regret_words(found: SweepResult, setting: str) -> str:
    """The split of twostage's regret as a sentence; empty where a policy is missing."""
    split = found.regret.get(setting)
    if split is None:
        return ""
    return (
        f"Regret of twostage {split.whole:.3f} {found.currency}/day = tracking {split.tracking:+.3f} "
        f"+ forecast {split.forecast:+.3f} + game {split.game:+.3f} ({_seeds(split.seeds)})."
    )


def _rows(found: SweepResult, setting: str) -> list[Row]:
    return sorted((row for row in found.rows if row.setting == setting), key=lambda row: row.cost_per_day)


def _line(row: Row) -> tuple[str, ...]:
    shares = ("", "", "")
    if row.captured is not None:
        shares = (_share(row.captured.overall), _share(row.captured.median), _share(row.captured.p10))
    return (
        row.policy,
        row.netting,
        str(row.seeds),
        f"{row.cost_per_day:.3f}",
        *shares,
        f"{row.seconds_per_day:.2f}",
    )


def _words(difference: Difference | None) -> str:
    """`-0.512 (-0.700, -0.310)`."""
    if difference is None:
        return ""
    one = difference.per_day
    return f"{one.mean:+.3f} ({one.low:+.3f}, {one.high:+.3f})"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
