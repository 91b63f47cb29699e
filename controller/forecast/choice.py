"""The forecasters by the name that a site file gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.errors import ControllerError
from controller.forecast.history import Forecaster
from controller.forecast.intervals import Calibrated
from controller.forecast.similar_days import SimilarDays
from controller.forecast.week_mean import WeekMean


def _boosting() -> Forecaster:
    from controller.forecast.boosting import Boosting  # scikit-learn takes a second to import

    return Boosting()


METHODS: Mapping[str, Callable[[], Forecaster]] = {
    "similar_days": SimilarDays,
    "week_mean": WeekMean,
    "boosting": _boosting,
}
"""Name -> a new forecaster of points."""
HELD_OUT_DAYS = {"boosting": 14}
"""Of a method that is trained, the days that it is not trained on but calibrated by."""


def forecaster(method: str = "similar_days", *, intervals: bool = True) -> Forecaster:
    """A new forecaster, with calibrated intervals or without. Raises ControllerError for an unknown name."""
    if method not in METHODS:
        raise ControllerError(f"no method {method!r}", where="forecast", mend=f"choose {', '.join(METHODS)}")
    base = METHODS[method]()
    if not intervals:
        return base
    days = HELD_OUT_DAYS.get(method)
    return Calibrated(base) if days is None else Calibrated(base, days=days)
