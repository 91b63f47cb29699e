"""Figure of forecasts: what was expected of each series, how sure, and what came."""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.report import style
from twin.report.expected import HIGH, LOW, Expected, held_pu, realised_w
from twin.report.figure import Figure, Trace, in_time, line, numbers, over_slots
from twin.report.sources import Sources
from twin.store.rows import MEAN

_KINDS = {"load": ("demand", style.LOAD), "pv": ("PV", style.PV), "flex": ("flexible load", style.FLEXIBLE)}


def forecast(found: Sources) -> Figure | None:
    """Expected against measured of each series, one at a time, with the interval that 80 % should lie in."""
    figure = Figure([], in_time(found.span, "mean power of a slot, kW", legend={"traceorder": "normal"}))
    x = over_slots(found.span)
    for series, said in sorted(found.expected.items(), key=_order):
        kind, _, name = series.partition("/")
        words, colour = _KINDS[kind]
        came = realised_w(series, found.data.devices, found.curves.slot_w)
        first = len(figure.data)
        if came is not None:
            held = held_pu(said, came)
            share = "" if held is None else f" ({100 * held:.0f} % came true)"
            figure.data += _fan(said, f"80 % interval{share}", colour, x)
            figure.data.append(line("measured", numbers(came / 1000, 3), colour, x, line={"width": 2.4}))
        look = {"color": style.ACTUAL, "width": 1.6, "dash": "dash"}
        figure.data.append(line("expected as the slot began", numbers(said.now[MEAN] / 1000, 3), colour, x, line=look))
        if np.isfinite(said.day_ahead).any():
            look = {"color": "#8a97a8", "width": 1.4, "dash": "dot"}
            y = numbers(said.day_ahead / 1000, 3)
            figure.data.append(line("expected at the gate", y, colour, x, line=look))
        figure.views.append({"label": f"{words}, {name}", "show": list(range(first, len(figure.data)))})
    for k, trace in enumerate(figure.data):
        trace["visible"] = k in figure.views[0]["show"]
    return figure if figure.data else None


def _order(item: tuple[str, Expected]) -> tuple[int, int, str]:
    """Demand first, and home-2 before home-10."""
    kind, _, name = item[0].partition("/")
    return list(_KINDS).index(kind), len(name), name


def _fan(said: Expected, name: str, colour: str, x: Trace) -> list[Trace]:
    """The area between the outer quantiles: a lower edge without a name, and an upper one that fills down to it."""
    if LOW not in said.now or HIGH not in said.now:
        return []
    edge: dict[str, Any] = {"hoverinfo": "skip", "hovertemplate": None, "line": {"width": 0}}
    low, high = (numbers(said.now[level] / 1000, 3) for level in (LOW, HIGH))
    fill = {"fill": "tonexty", "fillcolor": f"{colour}33"}
    return [line("", low, colour, x, showlegend=False, **edge), line(name, high, colour, x, **edge, **fill)]
