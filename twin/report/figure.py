"""Small pieces of figures: traces as plain dictionaries of the plotly schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from twin.report.span import Span
from twin.report.style import layout

Trace = dict[str, Any]


class Figure(msgspec.Struct):
    """What the page's script draws; `views` are the choices of a selector above it."""

    data: list[Trace]
    layout: dict[str, Any]
    views: list[dict[str, Any]] = []
    height_px: int | None = None
    """Room it needs, where that depends on the data."""


def numbers(values: Iterable[float] | npt.NDArray[np.float64], digits: int) -> list[float | None]:
    """Rounded for the page; what is not finite becomes a gap."""
    array = np.round(np.asarray(values, np.float64), digits)
    finite = np.isfinite(array)
    return [float(value) if good else None for value, good in zip(array, finite, strict=True)]


def over_steps(span: Span) -> Trace:
    """The x of a curve with one value per step."""
    return {"x0": span.local(span.start_us), "dx": span.step_s * 1000}


def over_slots(span: Span) -> Trace:
    """The x of a curve with one value per slot, drawn as a stair: `line` repeats the last value to end it."""
    return {"x0": span.local(span.start_us), "dx": span.slot_s * 1000, "line": {"shape": "hv"}}


def line(name: str, y: list[float | None], colour: str, x: Trace, **more: Any) -> Trace:
    """A curve, in kW unless its hovertemplate says otherwise; `more` goes to the trace, its `line` is merged."""
    if x.get("line", {}).get("shape") == "hv":
        y = [*y, *y[-1:]]
    style = {"color": colour, "width": 1.8, **x.get("line", {}), **more.pop("line", {})}
    trace = {"type": "scatter", "mode": "lines", "name": name, "y": y, "hovertemplate": "%{y:,.2f} kW"}
    return {**trace, **x, **more, "line": style}


def in_time(span: Span, y_title: str, **more: Any) -> dict[str, Any]:
    """Layout of a figure over local time."""
    x = {
        "type": "date",
        "title": {"text": span.axis_title, "standoff": 6},
        "range": [span.local(span.start_us), span.local(span.end_us)],
        "hoverformat": "%a %d %b %H:%M",
    }
    return layout(y_title, xaxis=x, **more)


def bands(span: Span, flags: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Grey bands over the runs of True steps."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    step_us = span.step_s * 1_000_000
    return [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": span.local(span.start_us + int(first) * step_us),
            "x1": span.local(span.start_us + int(last) * step_us),
            "y0": 0,
            "y1": 1,
            "fillcolor": "#94a3b8",
            "opacity": 0.18,
            "line": {"width": 0},
            "layer": "below",
        }
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]
