"""Every method is chosen by name, gives its baselines beside, knows no future and repeats itself."""

from __future__ import annotations

from datetime import datetime
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import ControllerError
from controller.forecast import METHODS, Calibrated, Forecast, History, WeekMean, forecaster
from controller.forecast.boosting import Boosting, Trees

SLOT_US = 900_000_000
START_US = int(datetime.fromisoformat("2016-09-05T00:00:00+00:00").timestamp()) * 1_000_000
SMALL = Trees(rounds=6, days=6, every_s=43_200, ahead_s=86_400, step_s=900, least_in_leaf=20)


@cache
def known() -> History:
    """20 days: demand that repeats with noise and a habit that similar days cannot see, PV that is dark at night."""
    rng = np.random.default_rng(2)
    n = 20 * 96
    hour = np.arange(n) / 4 % 24
    rows = {
        "load/a": 500 + 300 * np.sin(hour / 24 * 2 * np.pi) + rng.uniform(0, 200, n),
        "load/b": 3 * (500 + 300 * np.sin(hour / 24 * 2 * np.pi) + rng.uniform(0, 200, n)),
        "pv/a": np.maximum(np.sin((hour - 6) / 24 * 2 * np.pi), 0) * 3000 * rng.uniform(0.3, 1, n),
        "pv/b": np.maximum(np.sin((hour - 6) / 24 * 2 * np.pi), 0) * 5000 * rng.uniform(0.3, 1, n),
    }
    return History(START_US, 900, rows, {name: "pv" if name[0] == "p" else "load" for name in rows})


def at(slot: int, history: History | None = None) -> Forecast:
    return Boosting(SMALL).forecast(history or known(), START_US + slot * SLOT_US, 96, 900)


def test_methods_are_chosen_by_name_with_intervals_or_without() -> None:
    assert set(METHODS) == {"similar_days", "week_mean", "boosting"}
    for method in METHODS:
        assert isinstance(forecaster(method), Calibrated)
        assert isinstance(forecaster(method, intervals=False), type(METHODS[method]()))
    with pytest.raises(ControllerError, match=r"similar_days, week_mean, boosting"):
        forecaster("crystal_ball")


@pytest.mark.parametrize("method", ["similar_days", "week_mean"])
def test_the_baselines_stand_beside(method: str) -> None:
    history = known()
    issue = 16 * 96 + 20
    said = forecaster(method, intervals=False).forecast(history, START_US + issue * SLOT_US, 96, 900)
    assert set(said.methods.values()) == {method}
    for name, row in history.series.items():
        assert said.persistence[name].tolist() == row[issue - 96 : issue].tolist()
        assert said.same_weekday[name].tolist() == row[issue - 7 * 96 : issue - 6 * 96].tolist()


def test_a_weekday_whose_last_was_not_measured_is_taken_from_the_week_before() -> None:
    history = known()
    issue = 16 * 96
    rows = {name: row.copy() for name, row in history.series.items()}
    rows["load/a"][issue - 7 * 96 : issue - 7 * 96 + 8] = np.nan
    gappy = History(START_US, 900, rows, history.kinds)
    said = WeekMean().forecast(gappy, START_US + issue * SLOT_US, 96, 900).same_weekday["load/a"]
    assert said[:8].tolist() == history.series["load/a"][issue - 14 * 96 :][:8].tolist()
    assert said[8:].tolist() == history.series["load/a"][issue - 7 * 96 + 8 : issue - 6 * 96].tolist()


@settings(max_examples=15, deadline=None)
@given(slot=st.integers(8 * 96, 18 * 96))
def test_the_week_mean_is_the_mean_of_seven_days(slot: int) -> None:
    history = known()
    said = WeekMean().forecast(history, START_US + slot * SLOT_US, 96, 900)
    for name, row in history.series.items():
        days = np.array([row[slot - 96 * back : slot - 96 * back + 96] for back in range(1, 8)])
        np.testing.assert_allclose(said.mean[name], days.mean(axis=0))


def test_boosting_sees_no_future_repeats_itself_and_keeps_to_what_power_can_be() -> None:
    history, slot = known(), 15 * 96 + 40
    first = at(slot)
    rows = {name: np.append(row[:slot], row[slot:][::-1] * 2) for name, row in history.series.items()}
    second = at(slot, History(START_US, 900, rows, history.kinds))
    night = ~(history.series["pv/a"][:96] > 0)[(np.arange(96) + slot) % 96]
    assert set(first.methods.values()) == {"boosting"}
    for name, row in first.mean.items():
        fan = first.quantiles[name]
        assert row.tolist() == second.mean[name].tolist()
        assert np.all(np.isfinite(row) & (row >= 0))
        assert np.all((fan[0.1] >= 0) & (fan[0.1] <= fan[0.5]) & (fan[0.5] <= fan[0.9]))
        if name.startswith("pv"):
            assert not row[night].any()


def test_boosting_is_trained_once_a_day() -> None:
    made = Boosting(SMALL)
    made.forecast(known(), START_US + (15 * 96 + 4) * SLOT_US, 96, 900)
    grown = made._grown
    made.forecast(known(), START_US + (15 * 96 + 90) * SLOT_US, 96, 900)
    assert made._grown is grown
    made.forecast(known(), START_US + 16 * 96 * SLOT_US, 96, 900)
    assert made._grown is not grown


def test_boosting_learns_what_similar_days_cannot_see() -> None:
    """Demand that follows the newest hour for longer than similar days expect: the trees find out."""
    rng = np.random.default_rng(4)
    level = np.repeat(rng.choice([200.0, 2000.0], 60), 48)
    row = level[: 30 * 96] + rng.uniform(0, 50, 30 * 96)
    rows = {f"load/{home}": row * scale for home, scale in (("a", 1.0), ("b", 0.5), ("c", 3.0))}
    history = History(START_US, 900, rows, dict.fromkeys(rows, "load"))
    trees = Trees(days=12, every_s=10_800, ahead_s=14_400, step_s=900, least_in_leaf=50)
    boosting, similar, trained = 0.0, 0.0, Boosting(trees)
    for slot in range(28 * 96 + 12, 28 * 96 + 90, 20):
        came = history.series["load/a"][slot : slot + 8]
        issue_us = START_US + slot * SLOT_US
        boosting += np.abs(trained.forecast(history, issue_us, 8, 900).mean["load/a"] - came).mean()
        similar += np.abs(forecaster(intervals=False).forecast(history, issue_us, 8, 900).mean["load/a"] - came).mean()
    assert boosting < 0.8 * similar


def test_boosting_with_too_little_to_learn_from_is_similar_days_and_says_so() -> None:
    said = at(8 * 96)
    assert set(said.methods.values()) == {"similar_days"}
    assert "too little past to learn from" in said.notes[0]
    plain = forecaster(intervals=False).forecast(known(), START_US + 8 * 96 * SLOT_US, 96, 900)
    assert said.mean["load/a"].tolist() == plain.mean["load/a"].tolist()
    assert said.quantiles == {}


def test_calibrated_boosting_is_corrected_by_days_its_trees_never_saw() -> None:
    made = Calibrated(Boosting(SMALL), days=4, every_s=43_200, ahead_s=86_400)
    said = made.forecast(known(), START_US + 18 * 96 * SLOT_US, 96, 900)
    assert set(said.quantiles) == set(known().series)
    inside = [
        (known().series[name][18 * 96 : 19 * 96] >= fan[0.1]) & (known().series[name][18 * 96 : 19 * 96] <= fan[0.9])
        for name, fan in said.quantiles.items()
        if name.startswith("load")
    ]
    assert 0.6 < np.mean(inside) < 0.97
