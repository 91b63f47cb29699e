"""Figures of a reproduction, one for each table of the study."""

from __future__ import annotations

from typing import Any

from twin.report.figure import Figure, Trace
from twin.report.style import HOMES, layout
from twin.reproduction.checks import Reproduction

Rows = list[dict[str, Any]]
_DASHES = ("solid", "dash", "dot", "dashdot")


def schemes(found: Reproduction) -> Figure:
    """What prosumers pay and the site costs under each scheme."""
    rows = found.tables["schemes"]
    names = [f"Scheme {row['scheme']}" for row in rows]
    bars = [
        {"type": "bar", "name": label, "x": names, "y": _column(rows, key), "marker": {"color": colour}}
        for key, label, colour in (
            ("prosumer_cost", "prosumers pay", HOMES[0]),
            ("system_cost", "the site costs", HOMES[2]),
        )
    ]
    return Figure(bars, layout("currency", barmode="group"))


def prices(found: Reproduction) -> Figure:
    """Internal prices against the factor on external ones."""
    rows = found.tables["prices"]
    lines = [
        _line(
            f"{label} price, external {which} price scaled",
            [row for row in rows if row["external"] == which],
            ("factor", key),
            colour,
            dash,
        )
        for which, dash in zip(("import", "export"), _DASHES, strict=False)
        for key, label, colour in (("to_prosumer", "sale", HOMES[0]), ("from_prosumer", "purchase", HOMES[2]))
    ]
    return Figure(lines, layout("mean of the window, per kWh", xaxis={"title": {"text": "external price, factor"}}))


def noise(found: Reproduction) -> Figure:
    """Spread of internal prices against noise, by seed."""
    rows = found.tables["noise"]
    seeds = dict.fromkeys(row["seed"] for row in rows)
    lines = [
        _line(f"{key}, seed {seed}", [row for row in rows if row["seed"] == seed], ("sigma", key), colour, dash)
        for key, colour in zip(("mean", "median", "iqr"), HOMES, strict=False)
        for seed, dash in zip(seeds, _DASHES, strict=False)
    ]
    return Figure(lines, layout("price spread, per kWh", xaxis={"title": {"text": "noise, standard deviation"}}))


def algorithms(found: Reproduction) -> Figure:
    """Profit of each method in each window against its calls of the lower level."""
    rows = found.tables["algorithms"]
    methods = dict.fromkeys(row["method"] for row in rows)
    points = []
    for method, colour in zip(methods, HOMES, strict=False):
        mine = [row for row in rows if row["method"] == method]
        look = {"mode": "markers", "marker": {"color": colour, "size": 10}}
        words = [f"window {row['window']}" for row in mine]
        points.append(_scatter(method, mine, ("calls", "profit")) | look | {"text": words})
    axis = {"type": "log", "title": {"text": "calls of the lower level"}}
    return Figure(points, layout("profit, currency", xaxis=axis, hovermode="closest"))


def sizes(found: Reproduction) -> Figure:
    """Seconds of a window against the number of prosumers."""
    axis = {"type": "log", "title": {"text": "prosumers"}}
    line = _line("seconds", found.tables["sizes"], ("prosumers", "seconds"), HOMES[0], "solid")
    return Figure([line], layout("seconds", xaxis=axis, yaxis={"type": "log"}))


def _line(name: str, rows: Rows, keys: tuple[str, str], colour: str, dash: str) -> Trace:
    look = {"mode": "lines+markers", "line": {"color": colour, "width": 1.8, "dash": dash}}
    return _scatter(name, rows, keys) | look


def _scatter(name: str, rows: Rows, keys: tuple[str, str]) -> Trace:
    across, up = keys
    return {"type": "scatter", "name": name, "x": _column(rows, across), "y": _column(rows, up)}


def _column(rows: Rows, key: str) -> list[Any]:
    return [row[key] for row in rows]
