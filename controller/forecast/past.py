"""Looking back: at which past moments a forecaster is asked again, and whether a past is one seen before."""

from __future__ import annotations

import numpy as np

from controller.forecast.calendar import DAY_S
from controller.forecast.history import History
from controller.forecast.parts import FULL_DAYS

DAY_US = DAY_S * 1_000_000


def before_the_day(history: History, issue_us: int) -> History:
    """What was known when the day (UTC) of an issue began: what is learned from it holds for the whole day."""
    return history.until(issue_us - issue_us % DAY_US)


def issues(past: History, days: int, every_s: int) -> range:
    """Multiples of every_s in the last days, µs; not before every series had been measured for FULL_DAYS."""
    every_us, slot_us = every_s * 1_000_000, past.slot_s * 1_000_000
    begun = max((_first_known(past, name) for name in past.series), default=past.slots)
    first_us = max(past.end_us - days * DAY_US, past.start_us + begun * slot_us + FULL_DAYS * DAY_US)
    return range(-(-first_us // every_us) * every_us, past.end_us, every_us)


def _first_known(past: History, name: str) -> int:
    known = np.isfinite(past.series[name])
    return int(known.argmax()) if known.any() else past.slots


def continues(newer: History, older: History | None) -> bool:
    """Whether `newer` is `older` and what came after it: then what was learned of the older one still holds."""
    if older is None or newer.series.keys() != older.series.keys() or newer.slots < older.slots:
        return False
    same = (
        np.array_equal(row, newer.series[name][: older.slots], equal_nan=True) for name, row in older.series.items()
    )
    return (
        (newer.start_us, newer.slot_s, newer.zone) == (older.start_us, older.slot_s, older.zone)
        and newer.kinds == older.kinds
        and all(same)
    )
