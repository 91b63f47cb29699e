"""Figures of what it was worth: prices, costs, payments, solves, setpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twin.report import style
from twin.report.data import CaseCost, PartyRow, Row
from twin.report.figure import Figure, Trace, in_time, line, numbers, over_slots
from twin.report.sources import Sources
from twin.report.style import layout
from twin.report.telemetry import FloatArray


def prices(found: Sources) -> Figure | None:
    """Tariff and feed-in, and between them what prosumers paid and got inside the site."""
    span, unit = found.span, f"{found.currency}/kWh"
    data: list[Trace] = []
    given: tuple[tuple[str, Row, str], ...] = (
        ("tariff (buy from grid)", found.data.import_per_kwh, style.GRID),
        ("feed-in (sell to grid)", found.data.export_per_kwh, style.NEUTRAL),
    )
    for name, row, colour in given:
        if row:
            look = {"width": 2.2}
            y = numbers(np.array(row, np.float64), 6)
            data.append(line(name, y, colour, over_slots(span), hovertemplate=f"%{{y:.4f}} {unit}", line=look))
    inside = (
        ("λˢ (home buys)", found.plans.buy_per_kwh, style.TURBINE),
        ("λᵇ (home sells)", found.plans.sell_per_kwh, style.BATTERY),
    )
    for name, rows, colour in inside:
        data += _inside(found, name, rows, colour, unit)
    return Figure(data, in_time(span, f"price, {unit}", yaxis={"rangemode": "tozero"})) if data else None


def _inside(found: Sources, name: str, rows: Mapping[str, FloatArray], colour: str, unit: str) -> list[Trace]:
    """One line if all prosumers have one price, else their mean with a band from least to greatest."""
    homes = [party.id for party in found.data.parties if party.role == "prosumer"] or list(rows)
    known = np.array([rows[id] for id in homes if id in rows])
    if not known.size or not np.isfinite(known).any():
        return []
    filled = np.isfinite(known).any(axis=0)
    low, mean, high = (np.full(known.shape[1], np.nan) for _ in range(3))
    low[filled], high[filled] = np.nanmin(known[:, filled], axis=0), np.nanmax(known[:, filled], axis=0)
    mean[filled] = np.nanmean(known[:, filled], axis=0)
    x = over_slots(found.span) | {"hovertemplate": f"%{{y:.4f}} {unit}"}
    main = line(name, numbers(mean, 6), colour, x, line={"dash": "dash", "width": 2})
    if np.nanmax(high - low) < 5e-7:
        return [main]
    edge = {"width": 0}
    lower = line(f"{name}, least", numbers(low, 6), colour, x, line=edge, showlegend=False)
    upper = line(f"{name}, greatest", numbers(high, 6), colour, x, line=edge, showlegend=False)
    upper |= {"fill": "tonexty", "fillcolor": f"{colour}22"}
    return [lower, upper, main]


def cases_of(found: Sources) -> list[CaseCost]:
    """Costs in the order of drawing: from report_data.json, else the totals of summary.json."""
    known = {case.name: case for case in found.data.costs}
    totals = found.summary.get("cost")
    for name, total in (totals if isinstance(totals, dict) else {}).items():
        if name not in known and isinstance(total, int | float):
            known[name] = CaseCost(name=name, total=float(total))
    return [known[name] for name in style.CASES if name in known]


def costs(found: Sources) -> Figure | None:
    """One bar per way of operating; its parts in the hover box."""
    cases = cases_of(found)
    if not cases:
        return None
    cases.reverse()
    unit = found.currency
    parts = ["<br>".join(f"{part}: {value:+,.2f} {unit}" for part, value in case.parts.items()) for case in cases]
    bar: Trace = {
        "type": "bar",
        "orientation": "h",
        "y": [style.CASES[case.name][0] for case in cases],
        "x": [round(case.total, 4) for case in cases],
        "marker": {"color": [style.CASES[case.name][1] for case in cases], "cornerradius": 5},
        "text": [f"<b>{case.total:,.2f}</b>" for case in cases],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": parts,
        "hovertemplate": f"<b>%{{y}}</b>: %{{x:,.2f}} {unit}<br>%{{customdata}}<extra></extra>",
    }
    x = {"title": {"text": f"cost of the whole site over the run, {unit}", "standoff": 8}}
    frame = layout("", xaxis=x, hovermode="closest", margin={"l": 20, "r": 56, "t": 12, "b": 46}, bargap=0.32)
    frame["yaxis"] |= {"title": {"text": ""}, "ticklabelstandoff": 8, "showgrid": False}
    return Figure([bar], frame)


def payments(found: Sources) -> Figure | None:
    """Settled money of each party, beside what the same energy is worth at the tariff."""
    roles = ("prosumer", "operator", "grid")
    parties = [party for role in roles for party in found.data.parties if party.role == role and party.payment_micro]
    if not parties:
        return None
    unit, names = found.currency, [party.id for party in parties]
    settled = [_total(party.payment_micro) for party in parties]
    energy = [_kwh(party) for party in parties]
    data: list[Trace] = [
        {
            "type": "bar",
            "name": "settled inside the site",
            "x": names,
            "y": settled,
            "customdata": energy,
            "marker": {"color": [_sign(value) for value in settled], "cornerradius": 4},
            "showlegend": False,
            "hovertemplate": f"%{{y:+,.3f}} {unit} for %{{customdata}}<extra>settled</extra>",
        }
    ]
    if any(party.alone_micro for party in parties):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "same energy at the tariff, without the market",
                "x": names,
                "y": [_total(party.alone_micro) if party.alone_micro else None for party in parties],
                "marker": {"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": style.ACTUAL}},
                "hovertemplate": f"%{{y:+,.3f}} {unit}<extra>at the tariff</extra>",
            }
        )
    frame = layout(f"received > 0, paid < 0, {unit}", bargap=0.35, xaxis={"showgrid": False})
    return Figure(data, frame)


def _total(row: list[int | None]) -> float:
    return round(sum(value or 0 for value in row) / 1e6, 6)


def _sign(value: float) -> str:
    return style.BATTERY if value >= 0 else style.TURBINE


def _kwh(party: PartyRow) -> str:
    known = [value for value in party.energy_wh if value is not None]
    return f"{sum(known) / 1000:+,.2f} kWh net" if known else "unknown energy"


def solves(found: Sources) -> Figure | None:
    """Certified gap of every window on the left, its solve time on the right."""
    windows, span = found.plans.windows, found.span
    if not windows:
        return None
    data: list[Trace] = []
    for stage, name, symbol in (("intraday", "gap, intraday", "circle"), ("day_ahead", "gap, day-ahead", "diamond")):
        rows = [window for window in windows if window.stage == stage and window.gap is not None]
        if rows:
            trace = {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [span.local(window.start_us) for window in rows],
                "y": numbers([100 * (window.gap or 0.0) for window in rows], 4),
                "marker": {"color": style.GRID, "size": 6 if symbol == "circle" else 11, "symbol": symbol},
                "hovertemplate": "%{y:.3f} %",
            }
            data.append(trace)
    data += _solve_times(found)
    second: dict[str, Any] = {"title": {"text": "solve time, s", "standoff": 8}, "overlaying": "y", "side": "right"}
    second |= {
        "showgrid": False,
        "rangemode": "tozero",
        "automargin": True,
        "zeroline": False,
        "tickmode": "auto",
    }
    gap = {"rangemode": "tozero"}
    return Figure(data, in_time(span, "certified gap, %", yaxis=gap, yaxis2=second)) if data else None


def _solve_times(found: Sources) -> list[Trace]:
    """The curve on the right axis; none if no solve was timed."""
    timed = [window for window in found.plans.windows if window.solve_s is not None and window.stage == "intraday"]
    if not timed:
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "solve time, intraday",
            "yaxis": "y2",
            "x": [found.span.local(window.start_us) for window in timed],
            "y": numbers([window.solve_s or 0.0 for window in timed], 3),
            "line": {"color": style.WARN, "width": 1.4},
            "hovertemplate": "%{y:.2f} s",
        }
    ]


def setpoints(found: Sources) -> Figure | None:
    """How the orders of each device ended."""
    if not found.setpoints:
        return None
    order = [device.id for device in found.data.devices]
    devices = [id for id in reversed(order) if id in found.setpoints]
    data: list[Trace] = []
    for state, colour in style.STATES.items():
        counts = [found.setpoints[device][state] for device in devices]
        if any(counts):
            bar = {"type": "bar", "orientation": "h", "name": state, "y": devices, "x": counts}
            data.append(bar | {"marker": {"color": colour}, "hovertemplate": "%{x:,}"})
    x = {"title": {"text": "orders", "standoff": 8}}
    frame = layout("", barmode="stack", showlegend=True, bargap=0.28, hovermode="y unified", xaxis=x)
    frame["yaxis"] |= {"title": {"text": ""}, "showgrid": False, "ticklabelstandoff": 6, "dtick": 1}
    return Figure(data, frame, height_px=110 + 24 * len(devices))
