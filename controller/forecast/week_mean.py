"""The plain mean over the last days, a common first forecast of home energy managers."""

from __future__ import annotations

import numpy as np

from controller.case import FloatArray
from controller.forecast.history import Forecast, History
from controller.forecast.parts import Part, assembled


class WeekMean:
    """Mean of the same time of the last seven days, for demand as for PV; looks at nothing else."""

    days = 7

    def forecast(self, history: History, issue_us: int, slots: int, slot_s: int) -> Forecast:
        """See controller.forecast.history.Forecaster."""
        return assembled(history, issue_us, slots, slot_s, self.days + 1, "week_mean", self._rows)

    def _rows(self, part: Part) -> FloatArray:
        table = part.table(self.days + 1)
        past = table.values.copy()
        # Of the slots that today already knows, the oldest day drops out, so that seven count.
        today = np.isfinite(past[:, -1])
        past[:, 0] = np.where(today, np.nan, past[:, 0])
        known = np.isfinite(past)
        total, count = np.where(known, past, 0.0).sum(axis=1), known.sum(axis=1)
        mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
        return np.asarray(mean[:, part.ahead.slot_of_day])
