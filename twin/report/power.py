"""Figures of what flowed: balance, state of charge, plan against measured, grid power of all cases."""

from __future__ import annotations

import numpy as np

from twin.report import style
from twin.report.figure import Figure, Trace, bands, in_time, line, numbers, over_slots, over_steps
from twin.report.sources import Sources
from twin.report.telemetry import FloatArray

_DAYLIGHT = {"pv": ("PV", style.PV), "turbine": ("turbine", style.TURBINE), "load": ("flexible load", style.FLEXIBLE)}


def balance(found: Sources) -> Figure | None:
    """Stacked: above zero what fed the bus, below zero what took from it."""
    curves, span = found.curves, found.span
    if not curves.power_kw:
        return None
    layers: list[tuple[str, str, FloatArray]] = []
    for kind, (name, colour) in _DAYLIGHT.items():
        if kind in curves.power_kw:
            layers.append((name, colour, curves.power_kw[kind]))
    if "storage" in curves.power_kw:
        layers.append(("battery", style.BATTERY, curves.discharge_kw))
        layers.append(("battery", style.BATTERY, curves.charge_kw))
    if "grid" in curves.power_kw:
        layers.append(("grid", style.GRID, curves.power_kw["grid"]))
    rest = curves.rest_kw
    if rest is not None:
        layers.insert(0, ("other load", style.LOAD, rest))
    words = {"battery": ("battery discharge", "battery charge"), "grid": ("grid import", "grid export")}
    data: list[Trace] = []
    for name, colour, row in layers:
        above, below = words.get(name, (name, name))
        data += _layer(found, name, above, colour, np.maximum(row, 0), "plus")
        data += _layer(found, name, below, colour, np.minimum(row, 0), "minus")
    _one_legend_entry_each(data)
    shapes = bands(span, curves.incomplete)
    return Figure(data, in_time(span, "power, kW (into the bus > 0)", shapes=shapes))


def _layer(found: Sources, group: str, name: str, colour: str, row: FloatArray, stack: str) -> list[Trace]:
    """One side of a stacked quantity; nothing if it never has that sign."""
    if not np.nanmax(np.abs(row), initial=0) > 0.004:
        return []
    y = [value or None for value in numbers(row, 3)]
    hover = f"{name}: %{{y:,.2f}} kW<extra></extra>"
    more = {"stackgroup": stack, "legendgroup": group, "fillcolor": colour, "line": {"width": 0, "shape": "hv"}}
    return [line(group, y, colour, over_steps(found.span), hovertemplate=hover, **more)]


def _one_legend_entry_each(data: list[Trace]) -> None:
    """Both sides of a quantity share one entry of the legend."""
    seen: set[str] = set()
    for trace in data:
        trace["showlegend"] = trace["legendgroup"] not in seen
        seen.add(trace["legendgroup"])


def charge(found: Sources) -> Figure | None:
    """State of charge of every storage."""
    curves, span = found.curves, found.span
    if not curves.soc_pu:
        return None
    party = {device.id: device.party for device in found.data.devices}
    data = [
        line(party.get(id) or id, numbers(100 * row, 2), colour_of(k), over_steps(span), hovertemplate="%{y:.1f} %")
        for k, (id, row) in enumerate(curves.soc_pu.items())
    ]
    return Figure(data, in_time(span, "state of charge, %", yaxis={"range": [-2, 102]}))


def colour_of(k: int) -> str:
    """The k-th home's colour."""
    return style.HOMES[k % len(style.HOMES)]


def tracking(found: Sources) -> Figure | None:
    """Plan against measured: sums by kind, then each controlled device, one at a time."""
    measured = {device.id: _measured(found, device.id) for device in found.data.devices}
    planned, ahead = found.plans.planned_w, found.plans.day_ahead_w
    figure = Figure([], in_time(found.span, "mean power of a slot, kW"))
    for label, colour, ids in _choices(found, set(planned) | set(ahead)):
        first = len(figure.data)
        for name, rows, look in (
            ("measured", measured, {"color": colour, "width": 2.4}),
            ("plan in force", planned, {"color": style.ACTUAL, "width": 1.6, "dash": "dash"}),
            ("day-ahead plan", ahead, {"color": "#8a97a8", "width": 1.4, "dash": "dot"}),
        ):
            known = [rows[id] for id in ids if id in rows and len(rows[id])]
            if known:
                y = numbers(np.sum(known, axis=0) / 1000, 3)
                figure.data.append(line(name, y, colour, over_slots(found.span), line=look))
        if len(figure.data) > first:
            figure.views.append({"label": label, "show": list(range(first, len(figure.data)))})
    for k, trace in enumerate(figure.data):
        trace["visible"] = k in figure.views[0]["show"]
    return figure if figure.data else None


def _choices(found: Sources, planned: set[str]) -> list[tuple[str, str, list[str]]]:
    """(label, colour, devices) of each choice of the selector."""
    colours = {"storage": style.BATTERY, "turbine": style.TURBINE, "load": style.FLEXIBLE, "pv": style.PV}
    sums = [("all batteries", "storage"), ("all PV", "pv")]
    choices = []
    for label, kind in sums:
        ids = [d.id for d in found.data.devices if d.kind == kind and d.id in planned]
        if ids:
            choices.append((label, colours[kind], ids))
    for kind in ("turbine", "load", "storage"):
        choices += [(d.id, colours[kind], [d.id]) for d in found.data.devices if d.kind == kind and d.id in planned]
    return choices


def _measured(found: Sources, id: str) -> FloatArray:
    given = next((device.metered_w for device in found.data.devices if device.id == id), None)
    if given is not None:
        return np.array(given, np.float64)
    return found.curves.slot_w.get(id, np.empty(0))


def grid(found: Sources) -> Figure | None:
    """Power at the grid meter under every way of operating the same day."""
    cases = {case.name: case for case in found.data.costs if case.grid_w}
    data = []
    for name, (words, colour) in reversed(style.CASES.items()):
        case = cases.get(name)
        if case is None or case.grid_w is None:
            continue
        look = {"width": 2.6 if name == "actual" else 1.6, "dash": "dot" if name == "perfect_foresight" else "solid"}
        y = numbers(np.array(case.grid_w, np.float64) / 1000, 3)
        shown = True if name in ("actual", "no_control", "perfect_foresight") else "legendonly"
        data.append(line(words, y, colour, over_slots(found.span), line=look, visible=shown))
    return Figure(data, in_time(found.span, "grid power, kW (import > 0)")) if data else None
