"""A series as a table of days, and weighted means over the same slot of earlier days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.case import FloatArray
from controller.forecast.calendar import DAY_S, Calendar, IntArray


@dataclass(frozen=True, slots=True)
class DayTable:
    """Known values by day and slot of day, NaN where unknown."""

    values: FloatArray
    """(series, days, slots of day)."""
    first_day: int

    @classmethod
    def of(cls, rows: FloatArray, calendar: Calendar, slot_s: int, days: int) -> DayTable:
        """The newest `days` days of rows (series, slots); where a slot of day comes twice, the later value counts."""
        last = int(calendar.day[-1])
        first = last - days + 1
        keep = calendar.day >= first
        table = np.full((rows.shape[0], days, DAY_S // slot_s), np.nan)
        table[:, calendar.day[keep] - first, calendar.slot_of_day[keep]] = rows[:, keep]
        return cls(table, first)

    @property
    def days(self) -> IntArray:
        """Day number of each row."""
        return self.first_day + np.arange(self.values.shape[1])

    def before(self, day: int) -> DayTable:
        """Only the days before `day`."""
        return DayTable(self.values[:, : max(0, day - self.first_day)], self.first_day)

    def mean(self, weights: FloatArray) -> FloatArray:
        """Weighted mean over days, weights (days,); (series, slots of day), NaN where no day is known."""
        known = np.isfinite(self.values)
        weight = known * weights[None, :, None]
        total = np.where(known, self.values, 0.0) * weights[None, :, None]
        sums = weight.sum(axis=1)
        return np.asarray(np.divide(total.sum(axis=1), sums, out=np.full(sums.shape, np.nan), where=sums > 0))

    def newest(self) -> FloatArray:
        """The newest known value of each slot of day; (series, slots of day), NaN where none."""
        days = self.values.shape[1]
        index = np.where(np.isfinite(self.values), np.arange(days)[None, :, None], -1).max(axis=1, initial=-1)
        found = np.take_along_axis(self.values, np.maximum(index, 0)[:, None, :], axis=1)[:, 0]
        return np.where(index >= 0, found, np.nan)

    def upper(self, quantile: float) -> FloatArray:
        """Quantile over days by nearest rank below; (series, slots of day), NaN where no day is known."""
        known = np.isfinite(self.values)
        ordered = np.sort(np.where(known, self.values, np.inf), axis=1)
        count = known.sum(axis=1)
        rank = np.floor(quantile * np.maximum(count - 1, 0)).astype(np.intp)
        found = np.take_along_axis(ordered, rank[:, None, :], axis=1)[:, 0]
        return np.where(count > 0, found, np.nan)


def smoothed(profile: FloatArray, share: float, slot_s: int) -> FloatArray:
    """Mix of a profile (series, slots of day) with itself an hour earlier and later, `share` each, around midnight."""
    shift = max(1, 3600 // slot_s)
    beside = np.roll(profile, shift, axis=1) + np.roll(profile, -shift, axis=1)
    mixed = (1 - 2 * share) * profile + share * beside
    return np.where(np.isfinite(mixed), mixed, profile)
