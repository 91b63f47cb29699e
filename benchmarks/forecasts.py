"""Forecasts of 98 measured days of eight homes beside what came: errors of each method, and what intervals cover."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.figures import table
from controller.forecast import LEVELS, Forecast, History, Kind, forecaster
from controller.forecast.spread import fans
from twin.data import DataSet

DATA = Path(__file__).parents[1] / "examples" / "data" / "homes"
ZONE = "America/Los_Angeles"
HOMES = (1, 2, 9, 10, 11, 13, 16, 17)
SLOT_US = 900_000_000
DAY = 96
FIRST, LAST = 42, 238
HOURS = (0, 6, 12, 18)
"""Local (standard time) hours of issue on each day."""
SPANS = {"first hour": slice(0, 4), "1 to 4 h": slice(4, 16), "4 to 24 h": slice(16, 96)}
RUNS = (
    ("similar_days", 2, "similar_days"),
    ("week_mean", 2, "week_mean"),
    ("similar_days", 10, "similar_days, every tenth day"),
    ("boosting", 10, "boosting, every tenth day"),
)
"""(method, one day in so many, name in the tables): training takes seconds a day."""
Scores = dict[tuple[str, str, str], list[tuple[float, ...]]]


def main() -> None:
    """Print a table of errors and one of coverage."""
    past, errors, covered = measured(), defaultdict(list), defaultdict(list)
    for method, step, label in RUNS:
        began = time.process_time()
        of_method(method, step, label, past, errors, covered)
        sys.stderr.write(f"{label}: {time.process_time() - began:.0f} s of processor time\n")
    rows = []
    for (kind, span, method), found in errors.items():
        known = np.array([row for row in found if np.isfinite(row[0])])
        mae, square, bias, pinball = known.mean(axis=0)
        rows.append([kind, span, method, *(f"{x:.0f}" for x in (mae, np.sqrt(square), bias)), f"{pinball:.1f}"])
    table(("quantity", "ahead", "method", "MAE W", "RMSE W", "bias W", "pinball W"), sorted(rows))
    rows = []
    for (kind, span, method), found in covered.items():
        raw, calibrated, wide, wider = np.sum([row[:4] for row in found], axis=0) / sum(row[4] for row in found)
        rows.append([kind, span, method, f"{raw:.1%}", f"{calibrated:.1%}", f"{wide:.0f}", f"{wider:.0f}"])
    head = ("quantity", "ahead", "method", "raw", "calibrated", "raw width W", "calibrated width W")
    table(head, sorted(rows))


def measured() -> History:
    """All that was measured, as slot means."""
    data = DataSet.open(DATA)
    first_us, last_us = data.span_us
    slots = (last_us - first_us) // SLOT_US
    kinds: tuple[Kind, ...] = ("load", "pv")
    names = {f"{kind}/home-{home}": f"home-{home}/{kind}" for home in HOMES for kind in kinds}
    rows = {name: data.slot_means(series, first_us, 900, slots) for name, series in names.items()}
    return History(first_us, 900, rows, {name: "pv" if name[0] == "p" else "load" for name in rows}, ZONE)


def of_method(method: str, step: int, label: str, all_days: History, errors: Scores, covered: Scores) -> None:
    """Forecast every chosen day by one method and note its errors; the baselines' beside the first method's."""
    made = forecaster(method)
    for day in range(FIRST, LAST, step):
        past = _until(all_days, day)
        for hour in HOURS:
            issue_us = all_days.start_us + (day * DAY + hour * 4) * SLOT_US
            came = {name: row[day * DAY + hour * 4 :][:DAY] for name, row in all_days.series.items()}
            said = made.forecast(past, issue_us, DAY, 900)
            _note_errors(label, said.mean, said, came, errors)
            if label == "similar_days":
                _note_errors("persistence", said.persistence, said, came, errors)
                _note_errors("same weekday", said.same_weekday, said, came, errors)
            _note_cover(label, said, past, came, covered)


def _until(all_days: History, day: int) -> History:
    """The past of `day` and that day itself: forecasters look at nothing after the issue."""
    rows = {name: row[: (day + 1) * DAY] for name, row in all_days.series.items()}
    return History(all_days.start_us, 900, rows, all_days.kinds, all_days.zone)


def _note_errors(
    method: str,
    mean: Mapping[str, np.ndarray],
    said: Forecast,
    came: Mapping[str, np.ndarray],
    errors: Scores,
) -> None:
    for name, row in mean.items():
        apart = row - came[name]
        fan = said.quantiles.get(name, {}) if mean is said.mean else {}
        for span, part in SPANS.items():
            loss = [
                np.maximum(level * (came[name] - at), (level - 1) * (came[name] - at))[part].mean()
                for level, at in fan.items()
            ]
            here = apart[part]
            one = (np.abs(here).mean(), (here**2).mean(), here.mean(), np.mean(loss) if loss else np.nan)
            errors.setdefault((name.split("/")[0], span, method), []).append(one)


def _note_cover(method: str, said: Forecast, past: History, came: Mapping[str, np.ndarray], covered: Scores) -> None:
    """Slots in which the sun may shine; the raw interval is the calibrated forecast's own before its correction."""
    plain = Forecast(said.start_us, 900, said.mean, said.persistence, said.methods, said.newest_input_us)
    for fan in fans(plain, past, LEVELS):
        for k, name in enumerate(fan.names):
            low, high = (said.quantiles[name][level] for level in (LEVELS[0], LEVELS[-1]))
            for span, part in SPANS.items():
                light = ~fan.dark[k][part]
                one = [
                    (inside[part][light]).sum()
                    for inside in (
                        (came[name] >= fan.values[0, k]) & (came[name] <= fan.values[-1, k]),
                        (came[name] >= low) & (came[name] <= high),
                        fan.values[-1, k] - fan.values[0, k],
                        high - low,
                    )
                ]
                covered.setdefault((fan.kind, span, method), []).append((*one, light.sum()))
