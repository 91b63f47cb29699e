"""Gradient-boosted trees: one pooled model per quantity with the home as a feature, trained once a day (UTC).

The trees learn what similar days get wrong: their target is the difference from SimilarDays in units of the series'
own mean power, so that homes of all sizes share one model. Boosting (Friedman 2001) with squared and quantile loss
(Koenker and Bassett 1978) by scikit-learn's HistGradientBoostingRegressor, imported only when a model is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from controller.case import FloatArray
from controller.forecast.calendar import DAY_S
from controller.forecast.history import Forecast, Forecaster, History, Kind
from controller.forecast.parts import Part, assembled, known_mean, parts
from controller.forecast.past import before_the_day, continues, issues
from controller.forecast.similar_days import SimilarDays

HOME = 0
"""The feature that is a category."""
SCALE_DAYS = 14
FEWEST = 1000
"""Examples below which nothing is learned and the forecast is that of similar days."""
Models = Mapping[tuple[Kind, float | None], Any]
"""(kind, quantile or None for the mean) -> fitted regressor; a kind is absent where too little was known."""


@dataclass(frozen=True, slots=True)
class Trees:
    """Size of the models and of what they learn from."""

    rounds: int = 40
    leaves: int = 6
    least_in_leaf: int = 300
    rate: float = 0.05
    l2: float = 1.0
    days: int = 42
    every_s: int = 21_600
    ahead_s: int = 2 * DAY_S
    step_s: int = 3600
    """One slot in so many seconds of each past forecast is learned from."""


class Boosting:
    """The forecaster. The same history gives the same forecast; a day's models are kept."""

    def __init__(self, trees: Trees | None = None, *, levels: tuple[float, ...] = (0.1, 0.5, 0.9)) -> None:
        self.trees, self.levels = trees or Trees(), levels
        self._past: History | None = None
        self._grown = Grown({})

    def forecast(self, history: History, issue_us: int, slots: int, slot_s: int) -> Forecast:
        """See controller.forecast.history.Forecaster. Trains for seconds once a day."""
        past = before_the_day(history, issue_us)
        if self._past is None or past.slots != self._past.slots or not continues(past, self._past):
            self._past, self._grown = past, Grown(trained(past, self.trees, self.levels))
        return self._grown.forecast(history, issue_us, slots, slot_s)

    def as_of(self, history: History, t_us: int) -> Forecaster:
        """See controller.forecast.intervals.Trained."""
        return Grown(trained(history.until(t_us), self.trees, self.levels))


class Grown:
    """A forecaster whose trees stay as they are."""

    def __init__(self, models: Models) -> None:
        self._models, self._base = models, SimilarDays()

    def forecast(self, history: History, issue_us: int, slots: int, slot_s: int) -> Forecast:
        """See controller.forecast.history.Forecaster."""
        base = self._base.forecast(history, issue_us, slots, slot_s)
        quantiles: dict[str, dict[float, FloatArray]] = {}

        def rows(part: Part) -> FloatArray:
            similar, found = _similar(base, part), self._predicted(base, part)
            levels = sorted(level for level in found if level is not None)
            fan = np.sort(np.array([found[level] for level in levels]), axis=0)
            for k, name in enumerate(part.names if levels else ()):
                quantiles[name] = {level: fan[at, k] for at, level in enumerate(levels)}
            return found.get(None, similar)

        result = assembled(history, issue_us, slots, slot_s, SCALE_DAYS + 1, "boosting", rows)
        methods = dict(result.methods)
        bare = [name for name, made in sorted(methods.items()) if made == "boosting" and name not in quantiles]
        methods |= dict.fromkeys(bare, "similar_days")
        learned = {name: row for name, row in quantiles.items() if methods[name] == "boosting"}
        note = f"too little past to learn from, similar days instead: {', '.join(bare)}"
        return replace(result, quantiles=learned, methods=methods, notes=(*result.notes, *((note,) if bare else ())))

    def _predicted(self, base: Forecast, part: Part) -> dict[float | None, FloatArray]:
        similar, scale = _similar(base, part), _scale(part)
        features = _features(base, part).reshape(similar.size, -1)
        scale = np.where((part.kind == "load") | (similar > 0), scale, 0.0)
        with threadpool_limits(1):
            return {
                level: np.maximum(similar + scale * model.predict(features).reshape(similar.shape), 0.0)
                for (kind, level), model in self._models.items()
                if kind == part.kind
            }


def trained(past: History, trees: Trees, levels: tuple[float, ...]) -> Models:
    """Models of every kind for the mean and each quantile, from past forecasts of similar days and what came."""
    base = SimilarDays()
    lessons: dict[Kind, list[tuple[FloatArray, FloatArray]]] = {}
    slots = trees.ahead_s // past.slot_s
    for issue_us in issues(past, trees.days, trees.every_s):
        said = base.forecast(past, issue_us, slots, past.slot_s)
        for part in parts(past.until(issue_us).newest((SCALE_DAYS + 1) * DAY_S // past.slot_s), slots):
            lessons.setdefault(part.kind, []).append(_lesson(said, part, past, max(1, trees.step_s // past.slot_s)))
    models: dict[tuple[Kind, float | None], Any] = {}
    for kind, rows in lessons.items():
        features = np.concatenate([row[0] for row in rows])
        target = np.concatenate([row[1] for row in rows])
        if len(target) >= FEWEST:
            models |= {(kind, level): _fitted(trees, level, features, target) for level in (None, *levels)}
    return models


def _fitted(trees: Trees, level: float | None, features: FloatArray, target: FloatArray) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        loss="squared_error" if level is None else "quantile",
        quantile=level,
        max_iter=trees.rounds,
        max_leaf_nodes=trees.leaves,
        min_samples_leaf=trees.least_in_leaf,
        learning_rate=trees.rate,
        l2_regularization=trees.l2,
        categorical_features=[HOME],
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1):
        return model.fit(features, target)


def _lesson(said: Forecast, part: Part, past: History, step: int) -> tuple[FloatArray, FloatArray]:
    """(features (n, FEATURES), what similar days got wrong in units of the series (n,)) of one past forecast."""
    similar = _similar(said, part)
    at = (said.start_us - past.start_us) // (past.slot_s * 1_000_000)
    came = np.full(similar.shape, np.nan)
    ended = min(past.slots - at, similar.shape[1])
    came[:, :ended] = [past.series[name][at : at + ended] for name in part.names]
    # Nights teach nothing of PV, and nothing is predicted for them.
    counts = np.isfinite(came) & ((part.kind == "load") | (similar > 0))
    counts &= np.arange(similar.shape[1]) % step == 0
    return _features(said, part)[counts], ((came - similar) / _scale(part))[counts]


def _similar(said: Forecast, part: Part) -> FloatArray:
    return np.array([said.mean[name] for name in part.names])


def _scale(part: Part) -> FloatArray:
    """Mean power of the last days, W; (series, 1), >= 1."""
    return np.maximum(known_mean(part.rows, axis=1), 1.0)[:, None]


def _features(said: Forecast, part: Part) -> FloatArray:
    """(series, slots, features); powers in units of the series."""
    scale, names, ahead = _scale(part), part.names, part.ahead
    table = part.table(SCALE_DAYS + 1)
    days = table.mean(np.ones(table.values.shape[1]))
    last = part.last_day
    apart = part.rows[:, -last.day.size :] - days[:, last.slot_of_day]
    low, high = (table.upper(level)[:, ahead.slot_of_day] for level in (0.2, 0.8))
    columns = (
        np.arange(len(names), dtype=np.float64)[:, None],
        _similar(said, part) / scale,
        np.array([said.persistence[name] for name in names]) / scale,
        np.array([said.same_weekday[name] for name in names]) / scale,
        low / scale,
        high / scale,
        known_mean(apart[:, -part.hour :], axis=1)[:, None] / scale,
        known_mean(apart, axis=1)[:, None] / scale,
        part.hours_ahead,
        ahead.slot_of_day[None, :] * part.slot_s / 3600,
        ((ahead.day + 3) % 7)[None, :],
    )
    shape = (len(names), ahead.day.size)
    return np.stack([np.broadcast_to(column, shape) for column in columns], axis=-1).astype(np.float64)
