"""Plots of a reproduction as one HTML page of plotly figures."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from twin.reproduction.checks import Reproduction

COLOURS = {"holds": "#2a7d2a", "fails": "#b03030", "incomparable": "#777777"}


def write_page(found: Reproduction, path: Path) -> None:
    """Checks as a table, then a figure per table of the study."""
    figures = [_schemes(found), _prices(found), _noise(found), _algorithms(found), _sizes(found)]
    parts = [
        figure.to_html(full_html=False, include_plotlyjs="inline" if k == 0 else False, div_id=f"figure-{k}")
        for k, figure in enumerate(figures)
    ]
    head = f"<!doctype html><meta charset='utf-8'><title>paper {found.paper}</title>"
    style = "<style>body{font:15px sans-serif;max-width:1100px;margin:2em auto}td{padding:.3em .6em}</style>"
    title = f"<h1>{found.mechanism}: claims of paper {found.paper}</h1>"
    path.write_text("\n".join([head, style, title, _table(found), *parts]), encoding="utf-8")


def _table(found: Reproduction) -> str:
    rows = [
        f"<tr><td style='color:{COLOURS[check.status]}'>{check.status}</td>"
        f"<td>{html.escape(check.claim)}</td><td>{html.escape(check.note)}</td></tr>"
        for check in found.checks
    ]
    return f"<table>{''.join(rows)}</table>"


def _schemes(found: Reproduction) -> go.Figure:
    rows = found.tables["schemes"]
    names = [f"Scheme {row['scheme']}" for row in rows]
    bars = [
        go.Bar(name=label, x=names, y=[row[key] for row in rows])
        for key, label in (("prosumer_cost", "prosumers pay"), ("system_cost", "the site costs"))
    ]
    return go.Figure(bars, _layout("Schemes over the day", "", "currency"))


def _prices(found: Reproduction) -> go.Figure:
    lines = [
        go.Scatter(
            name=f"{label} price, external {which} price scaled",
            x=[row["factor"] for row in found.tables["prices"] if row["external"] == which],
            y=[row[key] for row in found.tables["prices"] if row["external"] == which],
        )
        for which in ("import", "export")
        for key, label in (("to_prosumer", "sale"), ("from_prosumer", "purchase"))
    ]
    return go.Figure(
        lines, _layout("Internal prices at point 74, means of the window (figure 10)", "external price x", "per kWh")
    )


def _noise(found: Reproduction) -> go.Figure:
    rows = found.tables["noise"]
    lines = [
        go.Scatter(
            name=f"{key}, seed {seed}",
            x=[row["sigma"] for row in rows if row["seed"] == seed],
            y=[row[key] for row in rows if row["seed"] == seed],
        )
        for key in ("mean", "median", "iqr")
        for seed in dict.fromkeys(row["seed"] for row in rows)
    ]
    return go.Figure(lines, _layout("Spread of internal prices against noise (figure 11)", "noise, sigma", "per kWh"))


def _algorithms(found: Reproduction) -> go.Figure:
    rows = found.tables["algorithms"]
    points = [
        go.Scatter(
            name=method,
            mode="markers",
            x=[row["calls"] for row in rows if row["method"] == method],
            y=[row["profit"] for row in rows if row["method"] == method],
            text=[f"window {row['window']}" for row in rows if row["method"] == method],
        )
        for method in dict.fromkeys(row["method"] for row in rows)
    ]
    title = "Profit against calls of the lower level (table 3)"
    return go.Figure(points, _layout(title, "calls", "profit, currency", log=True))


def _sizes(found: Reproduction) -> go.Figure:
    rows = found.tables["sizes"]
    line = go.Scatter(x=[row["prosumers"] for row in rows], y=[row["seconds"] for row in rows])
    title = "Seconds of a window against prosumers (table 4)"
    return go.Figure([line], _layout(title, "prosumers", "seconds", log=True))


def _layout(title: str, across: str, up: str, *, log: bool = False) -> dict[str, Any]:
    axis = {"title": {"text": across}, "type": "log"} if log else {"title": {"text": across}}
    return {"title": {"text": title}, "xaxis": axis, "yaxis": {"title": {"text": up}}}
