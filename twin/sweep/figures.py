"""Figures of a sweep: captured saving, paired differences, regret in parts, cost day by day."""

from __future__ import annotations

from typing import Any

from twin.report import style
from twin.report.figure import Figure, Trace, numbers
from twin.report.style import layout
from twin.sweep.result import Compared, Row, SweepResult
from twin.sweep.statistics import Regret

SETTING_COLOURS = {"fixed": style.GRID, "dynamic": style.PV, "feeder": style.BATTERY}
REGRET_PARTS = (
    ("tracking", "tracking: central with the true future − foresight", style.NEUTRAL),
    ("forecast", "forecast: central − central with the true future", style.PV),
    ("game", "game: twostage − central", style.TURBINE),
)
LINES = (*style.HOMES, "#b08968", "#5f6f52")
CLOSED: dict[str, Any] = {"hovermode": "closest"}


def captured(found: SweepResult) -> Figure | None:
    """A bar per policy and setting; the whisker reaches down to the 10th percentile of days, the dot is the median."""
    data: list[Trace] = []
    for setting in _settings(found):
        rows = [row for row in found.rows if row.setting == setting and _share(row) is not None]
        rows = [row for row in rows if row.policy not in ("no_control", "foresight")]
        if not rows:
            continue
        colour = SETTING_COLOURS[setting]
        names = [row.policy for row in rows]
        data.append(
            {
                "type": "bar",
                "name": setting,
                "x": names,
                "y": [_percent(_share(row)) for row in rows],
                "marker": {"color": colour, "cornerradius": 4},
                "offsetgroup": setting,
                "hovertemplate": f"<b>%{{x}}</b>, {setting}: %{{y:.1f}} % of the achievable saving<extra></extra>",
            }
        )
        data += [_marks(setting, rows, which, symbol) for which, symbol in (("median", "circle"), ("p10", "line-ew"))]
    frame = layout("captured saving, % (foresight = 100)", barmode="group", bargap=0.25, scattermode="group", **CLOSED)
    frame["xaxis"] |= {"showgrid": False, "type": "category"}
    return Figure(data, frame) if data else None


def differences(found: SweepResult) -> Figure | None:
    """Mean daily difference with its interval; a view per setting and policy compared with."""
    data: list[Trace] = []
    views: list[dict[str, Any]] = []
    for setting in _settings(found):
        others = list(dict.fromkeys(c.difference.other for c in found.differences if c.setting == setting))
        for other in _first(others, ("tou_night_site", "tou_night")):
            rows = [c for c in found.differences if c.setting == setting and c.difference.other == other]
            views.append({"label": f"{setting}: against {other}", "show": [len(data)]})
            data.append(_whiskers(found, rows, visible=not data))
    if not data:
        return None
    x = {"title": {"text": f"cost less that of the other, {found.currency} per day (left of zero: cheaper)"}}
    frame = layout("", xaxis=x, margin={"l": 20, "r": 30, "t": 12, "b": 46}, **CLOSED)
    frame["xaxis"] |= {"zeroline": True, "zerolinewidth": 2}
    frame["yaxis"] |= {"title": {"text": ""}, "showgrid": False, "ticklabelstandoff": 8, "type": "category"}
    return Figure(data, frame, views)


def regret(found: SweepResult) -> Figure | None:
    """Stacked parts per setting."""
    known = {setting: split for setting, split in found.regret.items() if split is not None}
    if not known:
        return None
    data = [
        {
            "type": "bar",
            "name": words,
            "x": list(known),
            "y": numbers([_part(split, name) for split in known.values()], 4),
            "marker": {"color": colour},
            "hovertemplate": f"{name}: %{{y:+.3f}} {found.currency} per day<extra>%{{x}}</extra>",
        }
        for name, words, colour in REGRET_PARTS
    ]
    whole = {
        "type": "scatter",
        "mode": "markers",
        "name": "whole: twostage − foresight",
        "x": list(known),
        "y": numbers([split.whole for split in known.values()], 4),
        "marker": {"symbol": "diamond", "size": 11, "color": style.ACTUAL},
        "hovertemplate": f"whole: %{{y:.3f}} {found.currency} per day<extra>%{{x}}</extra>",
    }
    frame = layout(f"regret, {found.currency} per day", barmode="relative", bargap=0.5, **CLOSED)
    frame["xaxis"] |= {"showgrid": False, "type": "category"}
    return Figure([*data, whole], frame)


def days(found: SweepResult) -> Figure | None:
    """Cost above foresight of each measured day; a view per setting."""
    data: list[Trace] = []
    views: list[dict[str, Any]] = []
    for setting in _settings(found):
        rows = found.daily.get(setting, {})
        best = rows.get("foresight")
        if best is None:
            continue
        first = len(data)
        for k, (policy, costs) in enumerate(rows.items()):
            if policy != "foresight":
                data.append(_day_line(found, policy, costs, best, k, visible=not views))
        views.append({"label": setting, "show": list(range(first, len(data)))})
    if not data:
        return None
    frame = layout(f"cost above foresight, {found.currency}", xaxis={"type": "category", "tickangle": -45})
    return Figure(data, frame, views)


def _day_line(
    found: SweepResult, policy: str, costs: dict[str, float], best: dict[str, float], k: int, *, visible: bool
) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": policy,
        "x": list(costs),
        "y": numbers([cost - best[date] for date, cost in costs.items()], 4),
        "visible": visible,
        "marker": {"size": 4},
        "line": {"width": 1.6, "color": LINES[k % len(LINES)]},
        "hovertemplate": f"%{{y:+.2f}} {found.currency}",
    }


def _marks(setting: str, rows: list[Row], which: str, symbol: str) -> Trace:
    values = [None if row.captured is None else getattr(row.captured, which) for row in rows]
    words = "median of days" if which == "median" else "10th percentile of days"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": words,
        "x": [row.policy for row in rows],
        "y": [_percent(value) for value in values],
        "offsetgroup": setting,
        "showlegend": False,
        "marker": {
            "symbol": symbol,
            "size": 6 if which == "median" else 13,
            "color": style.ACTUAL,
            "line": {"width": 2},
        },
        "hovertemplate": f"{words}: %{{y:.1f}} %<extra>%{{x}}, {setting}</extra>",
    }


def _whiskers(found: SweepResult, rows: list[Compared], *, visible: bool) -> Trace:
    rows = [row for row in rows if row.difference.policy not in ("no_control", "foresight")][::-1]
    means = [row.difference.per_day for row in rows]
    colours = [
        style.GOOD if row.better else style.BAD if row.difference.per_day.low > 0 else style.LOAD for row in rows
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": numbers([one.mean for one in means], 4),
        "y": [row.difference.policy for row in rows],
        "visible": visible,
        "showlegend": False,
        "marker": {"color": colours, "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": numbers([one.high - one.mean for one in means], 4),
            "arrayminus": numbers([one.mean - one.low for one in means], 4),
            "color": style.LOAD,
            "thickness": 1.5,
        },
        "customdata": [[round(one.low, 3), round(one.high, 3)] for one in means],
        "hovertemplate": f"<b>%{{y}}</b>: %{{x:+.3f}} {found.currency} per day, %{{customdata[0]:+.3f}} to "
        "%{customdata[1]:+.3f}<extra></extra>",
    }


def _settings(found: SweepResult) -> list[str]:
    return [str(setting["name"]) for setting in found.settings]


def _first(names: list[str], wanted: tuple[str, ...]) -> list[str]:
    """The names, those wanted first."""
    return [*(name for name in wanted if name in names), *(name for name in names if name not in wanted)]


def _share(row: Row) -> float | None:
    return None if row.captured is None else row.captured.overall


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)


def _part(split: Regret, name: str) -> float:
    return float(getattr(split, name))
