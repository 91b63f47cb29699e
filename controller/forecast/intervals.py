"""Intervals that cover what they say: conformal correction of quantiles by past errors.

Conformalised quantile regression (Romano, Patterson and Candès 2019), one-sided for each quantile, by a rolling window
of past forecasts: at several moments of each past day the forecaster is asked what it would have said, and what was
measured then tells how far each quantile must move. Errors are scaled by the fan's width and pooled over homes, apart
for demand and PV, the part of the day and the time ahead. The day being forecast never takes part: corrections are
made once a day (UTC) from what was measured before it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, floor
from typing import Protocol, runtime_checkable

import numpy as np

from controller.case import FloatArray
from controller.errors import ControllerError
from controller.forecast.calendar import DAY_S, IntArray
from controller.forecast.history import Forecast, Forecaster, History, Kind
from controller.forecast.past import DAY_US, before_the_day, continues, issues
from controller.forecast.spread import GROUPS, Fan, fans, ordered

LEVELS = (0.1, 0.5, 0.9)
FEWEST = 30
"""Errors below which a group takes the correction of all groups of its kind, or none."""
Corrections = Mapping[Kind, FloatArray]
"""(levels, groups) in widths of the fan; a kind is absent where too little is known."""


@runtime_checkable
class Trained(Protocol):
    """A forecaster that learns from history; past errors must come from one that had not yet seen them."""

    def as_of(self, history: History, t_us: int) -> Forecaster:
        """The forecaster as trained on what was known at t_us, for use after it."""
        ...


class Calibrated:
    """A forecaster with calibrated quantiles. The same history gives the same forecast; what was looked up is kept.

    `days` of past forecasts, one every `every_s`, each `ahead_s` long.
    """

    def __init__(
        self,
        base: Forecaster,
        *,
        levels: tuple[float, ...] = LEVELS,
        days: int = 42,
        every_s: int = 21_600,
        ahead_s: int = 2 * DAY_S,
    ) -> None:
        if not levels or list(levels) != sorted(set(levels)) or not all(0 < level < 1 for level in levels):
            raise ControllerError(f"levels {levels}", where="forecast", mend="give rising levels inside (0, 1)")
        self.base, self.levels, self.days, self.every_s, self.ahead_s = base, levels, days, every_s, ahead_s
        self._past: History | None = None
        self._said: dict[int, list[Fan]] = {}
        self._corrections: Corrections = {}

    def forecast(self, history: History, issue_us: int, slots: int, slot_s: int) -> Forecast:
        """See controller.forecast.history.Forecaster."""
        plain = self.base.forecast(history, issue_us, slots, slot_s)
        corrections = self._of_the_day(history, issue_us)
        quantiles: dict[str, Mapping[float, FloatArray]] = {}
        bare: list[str] = []
        for fan in fans(plain, history, self.levels):
            if fan.kind not in corrections:
                bare += fan.names
                continue
            moved = ordered(fan.values + corrections[fan.kind][:, fan.group][:, None, :] * fan.width, fan.dark)
            for k, name in enumerate(fan.names):
                quantiles[name] = {level: moved[at, k] for at, level in enumerate(self.levels)}
        note = f"no interval, fewer than {FEWEST} past errors known: {', '.join(bare)}"
        return replace(plain, quantiles=quantiles, notes=(*plain.notes, *((note,) if bare else ())))

    def _of_the_day(self, history: History, issue_us: int) -> Corrections:
        """Corrections from what was known when the day of the issue began."""
        past = before_the_day(history, issue_us)
        if not continues(past, self._past):
            self._said.clear()
        elif self._past is not None and past.slots == self._past.slots:
            return self._corrections
        self._past, self._corrections = past, self._corrected(past)
        return self._corrections

    def _corrected(self, past: History) -> Corrections:
        moments = issues(past, self.days, self.every_s)
        errors: dict[Kind, list[tuple[FloatArray, IntArray]]] = {}
        for issue_us, said in self._looked_back(past, moments).items():
            for fan in said:
                errors.setdefault(fan.kind, []).append(_errors(fan, past, issue_us))
        found: dict[Kind, FloatArray] = {}
        for kind, rows in errors.items():
            scores = np.concatenate([row[0] for row in rows], axis=1)
            groups = np.concatenate([row[1] for row in rows])
            if scores.shape[1] >= FEWEST:
                found[kind] = _shifts(scores, groups, self.levels)
        return found

    def _looked_back(self, past: History, moments: range) -> Mapping[int, list[Fan]]:
        """What would have been said at each moment, from what was known then; kept while the past only grows."""
        source, slots = self.base, self.ahead_s // past.slot_s
        if isinstance(source, Trained):
            self._said.clear()
            source = source.as_of(past, past.end_us - self.days * DAY_US)
        for issue_us in sorted(set(moments) - self._said.keys()):
            try:
                said = source.forecast(past, issue_us, slots, past.slot_s)
            except ControllerError:  # a moment at which nothing could be said, in a long gap, teaches nothing
                self._said[issue_us] = []
            else:
                self._said[issue_us] = fans(said, past, self.levels)
        self._said = {issue_us: self._said[issue_us] for issue_us in moments}
        return self._said


def _errors(fan: Fan, past: History, issue_us: int) -> tuple[FloatArray, IntArray]:
    """(measured - quantile in widths (levels, n), group (n,)) of every slot that was measured and not dark."""
    at = (issue_us - past.start_us) // (past.slot_s * 1_000_000)
    measured = np.array([past.series[name][at : at + fan.group.size] for name in fan.names])
    ended = slice(0, measured.shape[1])
    counts = np.isfinite(measured) & ~fan.dark[:, ended]
    scores = (measured - fan.values[:, :, ended]) / fan.width[:, ended]
    return scores[:, counts], np.broadcast_to(fan.group[ended], measured.shape)[counts]


def _shifts(scores: FloatArray, groups: IntArray, levels: tuple[float, ...]) -> FloatArray:
    """How far each quantile of each group must move; (levels, groups)."""
    shifts = np.empty((len(levels), GROUPS))
    for group in range(GROUPS):
        here = scores[:, groups == group]
        ranked = np.sort(here if here.shape[1] >= FEWEST else scores, axis=1)
        for at, level in enumerate(levels):
            shifts[at, group] = ranked[at, rank(ranked.shape[1], level) - 1]
    return shifts


def rank(n: int, level: float) -> int:
    """Which of n errors in rising order, from 1, bounds the next with probability `level` on the outer side at least.

    ceil((n + 1) level) for an upper quantile (conformal prediction's finite-sample rank), its mirror image
    floor((n + 1) level) for a lower one. Where n is too small for the level the outermost error, which covers less.
    """
    exact = (n + 1) * level
    wanted = ceil(exact - 1e-9) if level >= 0.5 else floor(exact + 1e-9)
    return min(max(wanted, 1), n)
