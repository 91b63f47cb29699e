"""Forecasters of a sweep: one that knows the truth, and one that remembers what it was asked before."""

from __future__ import annotations

from collections.abc import Mapping

from controller.case import FloatArray
from controller.errors import ControllerError
from controller.forecast import Forecast, Forecaster, History


class Oracle:
    """Forecasts what will be: slot means as realised. What a policy still loses with it is not the forecast's fault.

    Within a slot it knows the mean only, and prices as far as any policy does.
    """

    def __init__(self, start_us: int, truth: Mapping[str, FloatArray]) -> None:
        """truth : name -> slot means from start_us on, W."""
        self._start_us, self._truth = start_us, truth

    def forecast(self, history: History, issue_us: int, slots: int, slot_s: int) -> Forecast:
        """The truth of `slots` slots from issue_us on. Raises ControllerError where it is not known that far."""
        first = (issue_us - self._start_us) // (slot_s * 1_000_000)
        mean = {name: row[first : first + slots] for name, row in self._truth.items()}
        if first < 0 or any(len(row) < slots for row in mean.values()):
            raise ControllerError(f"{slots} slots are asked for", where="Oracle", mend="give a longer truth")
        return Forecast(issue_us, slot_s, mean, {}, {}, issue_us + slots * slot_s * 1_000_000)


class Remembered:
    """A forecaster asked once for each issue: all policies of a span see the same forecasts, made once."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._known: dict[tuple[int, int], Forecast] = {}

    def forecast(self, history: History, issue_us: int, slots: int, slot_s: int) -> Forecast:
        """As the forecaster's own. The history must always be the same one."""
        key = (issue_us, slots)
        if key not in self._known:
            self._known[key] = self._forecaster.forecast(history, issue_us, slots, slot_s)
        return self._known[key]
