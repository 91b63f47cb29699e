"""What all forecasters share: the series of one kind with their calendars, the baselines, and what is too short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from controller.case import FloatArray
from controller.errors import ControllerError
from controller.forecast.calendar import DAY_S, Calendar
from controller.forecast.history import Forecast, History, Kind, Method
from controller.forecast.tables import DayTable

FULL_DAYS = 7
"""Below so many days of history the forecast is persistence."""
WEEKS = 4
"""A slot unknown a week ago is looked for so many weeks back."""


class Part:
    """The series of one kind, with the calendars they live by."""

    def __init__(self, known: History, names: list[str], kind: Kind, slots: int) -> None:
        self.names, self.kind, self.slot_s = names, kind, known.slot_s
        self.rows = np.array([known.series[name] for name in names], dtype=np.float64)
        zone = known.zone if kind == "load" else "UTC"
        if known.slots == 0 or not np.isfinite(self.rows).any(axis=1).all():
            empty = [name for name, row in zip(names, self.rows, strict=True) if not np.isfinite(row).any()]
            raise ControllerError(
                f"no known value before the issue: {', '.join(empty)}", where="forecast", mend="give it history"
            )
        self.past = Calendar.of(known.start_us, known.slots, known.slot_s, zone)
        self.ahead = Calendar.of(known.end_us, slots, known.slot_s, zone)
        count = min(known.slots, DAY_S // known.slot_s)
        self.last_day = Calendar(self.past.day[-count:], self.past.slot_of_day[-count:])
        self.hour = min(max(1, 3600 // known.slot_s), known.slots)
        """Slots of the last hour."""
        self.hours_ahead = np.arange(slots)[None, :] * known.slot_s / 3600

    def table(self, days: int) -> DayTable:
        """Known values of the newest days."""
        return DayTable.of(self.rows, self.past, self.slot_s, days)

    def known_days(self) -> FloatArray:
        """Days' worth of known values in the newest FULL_DAYS + 1 days, per series."""
        table = self.table(FULL_DAYS + 1)
        return np.asarray(np.isfinite(table.values).sum(axis=(1, 2)) * self.slot_s / DAY_S)

    def persistence(self) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """(each slot as the newest known one of its time of day, the mean of all known where none; where none)."""
        newest = self.table(FULL_DAYS + 1).newest()[:, self.ahead.slot_of_day]
        gaps = ~np.isfinite(newest)
        return np.where(gaps, known_mean(self.rows, axis=1)[:, None], newest), gaps

    def same_weekday(self, otherwise: FloatArray) -> FloatArray:
        """Each slot as the newest known one of its weekday and time of day, `otherwise` where there is none."""
        table = self.table(7 * WEEKS + 1)
        result = np.full((len(self.names), self.ahead.day.size), np.nan)
        for weeks in range(1, WEEKS + 2):
            row = self.ahead.day - 7 * weeks - table.first_day
            inside = (row >= 0) & (row < table.values.shape[1])
            found = np.full(result.shape, np.nan)
            found[:, inside] = table.values[:, row[inside], self.ahead.slot_of_day[inside]]
            result = np.where(np.isfinite(result), result, found)
        return np.where(np.isfinite(result), result, otherwise)


def parts(known: History, slots: int) -> Iterator[Part]:
    """The kinds that are there, names in order. Raises ControllerError for a series without any known value."""
    kinds: tuple[Kind, ...] = ("load", "pv")
    for kind in kinds:
        names = sorted(name for name in known.series if known.kinds[name] == kind)
        if names:
            yield Part(known, names, kind, slots)


def assembled(
    history: History,
    issue_us: int,
    slots: int,
    slot_s: int,
    days: int,
    method: Method,
    model: Callable[[Part], FloatArray],
) -> Forecast:
    """The forecast of a model that turns a part into rows (series, slots), from the newest `days` days.

    Persistence where history is shorter than FULL_DAYS or a slot is unknown to the model; it is noted where a whole
    series falls back. Raises ControllerError as Forecaster says.
    """
    if slot_s != history.slot_s:
        raise ControllerError(f"slots of {slot_s} s, history has {history.slot_s} s", where="forecast")
    known = history.until(issue_us).newest(max(days, 7 * WEEKS + 1) * DAY_S // slot_s)
    found: dict[str, Rows] = {}
    for part in parts(known, slots):
        found |= _by_series(part, model(part), method)
    short = sorted(name for name, rows in found.items() if rows.method != method)
    note = f"less than {FULL_DAYS} days of history, persistence instead: {', '.join(short)}"
    return Forecast(
        known.end_us,
        slot_s,
        mean={name: rows.mean for name, rows in found.items()},
        persistence={name: rows.persistence for name, rows in found.items()},
        methods={name: rows.method for name, rows in found.items()},
        newest_input_us=known.end_us,
        notes=(note,) if short else (),
        same_weekday={name: rows.same_weekday for name, rows in found.items()},
    )


class Rows(NamedTuple):
    """One series' forecast beside its baselines, arrays (slots,)."""

    mean: FloatArray
    persistence: FloatArray
    same_weekday: FloatArray
    method: Method


def _by_series(part: Part, mean: FloatArray, method: Method) -> dict[str, Rows]:
    """Take each series' forecast; where history is short or a slot unknown, persistence."""
    persistence, gaps = part.persistence()
    weekday, days = part.same_weekday(persistence), part.known_days()
    found = {}
    for k, name in enumerate(part.names):
        row, made = np.where(np.isfinite(mean[k]), mean[k], persistence[k]), method
        if days[k] < FULL_DAYS - 1e-9:
            row, made = persistence[k], "flat" if gaps[k].any() else "persistence"
        found[name] = Rows(row, persistence[k], weekday[k], made)
    return found


def known_mean(values: FloatArray, axis: int) -> FloatArray:
    """Mean of the known values; 0 where none is."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.asarray(np.divide(total, count, out=np.zeros(np.shape(total)), where=count > 0))
