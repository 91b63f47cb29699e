"""How wrong a forecaster was about each party's net load at this time of recent days: scenarios for planning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from controller.case import FlexibleLoad, FloatArray
from controller.forecast import Forecaster, History

DAY_S = 86_400


class PastErrors:
    """Errors of forecasts issued at the same time of earlier days, whole horizons: what is likely to go wrong together.

    Forecasts of days before the run are made when they are first asked for, from what was known then.
    """

    def __init__(
        self,
        history: History,
        forecaster: Forecaster,
        parties: Sequence[str],
        flexible: Sequence[FlexibleLoad],
        slots: int,
    ) -> None:
        """history : of the whole run (only what has ended at an issue is shown); slots : length of the horizon."""
        self._history, self._forecaster, self._slots = history, forecaster, slots
        self._terms = {
            party: ([f"load/{party}", *(f"flex/{f.id}" for f in flexible if f.party == party)], f"pv/{party}")
            for party in parties
        }
        self._actual = self._net(history.series)
        self._issued: dict[int, Mapping[str, FloatArray]] = {}

    def at(self, issue_us: int, days: int) -> dict[str, FloatArray]:
        """Party -> (at most days, slots), realised minus forecast, W; the newest first, only horizons that have ended.

        Empty where the history does not hold a single one.
        """
        day_us, first = DAY_S * 1_000_000, -(-self._slots * self._history.slot_s // DAY_S)
        issues = (issue_us - (first + k) * day_us for k in range(days))
        found = [self._error(issue) for issue in issues if issue > self._history.start_us]
        return {party: np.array([row[party] for row in found]) for party in self._terms} if found else {}

    def _error(self, issue_us: int) -> Mapping[str, FloatArray]:
        if issue_us not in self._issued:
            slot = (issue_us - self._history.start_us) // (self._history.slot_s * 1_000_000)
            made = self._forecaster.forecast(self._history, issue_us, self._slots, self._history.slot_s).mean
            forecast = self._net(made)
            ends = slot + self._slots
            self._issued[issue_us] = {
                party: np.nan_to_num(self._actual[party][slot:ends] - forecast[party]) for party in self._terms
            }
        return self._issued[issue_us]

    def _net(self, rows: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        return {
            party: np.asarray(np.sum([rows[name] for name in needs], axis=0) - rows[pv])
            for party, (needs, pv) in self._terms.items()
        }
