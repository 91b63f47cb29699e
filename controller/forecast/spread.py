"""The uncalibrated interval of a point forecast: how far single days lie from their mean at the same time of day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.case import FloatArray
from controller.forecast.calendar import DAY_S, IntArray
from controller.forecast.history import Forecast, History, Kind
from controller.forecast.parts import Part, known_mean, parts
from controller.forecast.tables import DayTable

DAYS = 14
BESIDE_H = (-1, 0, 1)
"""Hours whose slots count as the same time."""
FLOOR = 0.1
"""Of a series' mean power: the least width by which errors are scaled."""
NEAR_H = (0.0, 1.0, 4.0, 24.0)
"""Hours ahead at which forecasts change their kind of error ..."""
BLOCKS = 4
"""... and equal parts of the day that have their own."""
GROUPS = len(NEAR_H) * BLOCKS


@dataclass(frozen=True, slots=True)
class Fan:
    """Quantiles of the series of one kind before their calibration, W."""

    kind: Kind
    names: tuple[str, ...]
    values: FloatArray
    """(levels, series, slots), >= 0, rising with the level, 0 in the dark."""
    dark: npt.NDArray[np.bool_]
    """PV slots at whose time of day the roof was never above 0 in the last days; (series, slots)."""
    width: FloatArray
    """By what errors are scaled, so that homes, hours and seasons can be pooled; (series, slots), > 0."""
    group: IntArray
    """Part of the day and time ahead, 0 .. GROUPS - 1; (slots,)."""


def fans(forecast: Forecast, history: History, levels: tuple[float, ...]) -> list[Fan]:
    """The forecast's own quantiles where it has them, else its means with the spread of days, per kind."""
    slots = max((len(row) for row in forecast.mean.values()), default=0)
    known = history.until(forecast.start_us).newest((DAYS + 1) * DAY_S // forecast.slot_s)
    return [_fan(forecast, part, levels) for part in parts(known, slots)]


def _fan(forecast: Forecast, part: Part, levels: tuple[float, ...]) -> Fan:
    table = part.table(DAYS + 1)
    values = np.array([forecast.mean[name] for name in part.names]) + _spread(table, part, levels)
    for k, name in enumerate(part.names):
        if name in forecast.quantiles:
            values[:, k] = [forecast.quantiles[name][level] for level in levels]
    dark = _dark(table, part)
    values = ordered(values, dark)
    level = known_mean(part.rows[:, -DAYS * DAY_S // part.slot_s :], axis=1)[:, None]
    width = values[-1] - values[0] + np.maximum(FLOOR * level, 1.0)
    near = np.searchsorted(NEAR_H, part.hours_ahead[0], side="right") - 1
    block = part.ahead.slot_of_day * part.slot_s * BLOCKS // DAY_S
    return Fan(part.kind, tuple(part.names), values, dark, width, near * BLOCKS + block)


def ordered(values: FloatArray, dark: npt.NDArray[np.bool_]) -> FloatArray:
    """Quantiles (levels, series, slots) as they can be: not below 0, rising with the level, 0 in the dark."""
    return np.where(dark, 0.0, np.sort(np.maximum(values, 0.0), axis=0))


def _spread(table: DayTable, part: Part, levels: tuple[float, ...]) -> FloatArray:
    """Quantiles of (day - mean of days) around each slot ahead; (levels, series, slots)."""
    mean = table.mean(np.ones(table.values.shape[1]))
    apart = table.values - mean[:, None, :]
    shift = max(1, 3600 // part.slot_s)
    pooled = np.concatenate([np.roll(apart, hours * shift, axis=2) for hours in BESIDE_H], axis=1)
    known = np.isfinite(pooled)
    ranked, count = np.sort(np.where(known, pooled, np.inf), axis=1), known.sum(axis=1)
    found = []
    for level in levels:
        rank = np.rint(level * np.maximum(count - 1, 0)).astype(np.intp)
        one = np.take_along_axis(ranked, rank[:, None, :], axis=1)[:, 0]
        found.append(np.where(count > 0, one, 0.0)[:, part.ahead.slot_of_day])
    return np.array(found)


def _dark(table: DayTable, part: Part) -> npt.NDArray[np.bool_]:
    if part.kind != "pv":
        return np.zeros((len(part.names), part.ahead.day.size), dtype=np.bool_)
    known = np.isfinite(table.values)
    seen = np.where(known, table.values, 0.0).max(axis=1, initial=0.0)
    night = (seen <= 0) & known.any(axis=1)
    return np.asarray(night[:, part.ahead.slot_of_day])
