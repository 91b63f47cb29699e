"""Intervals cover what they say on days they never saw, and keep to what power can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import ControllerError
from controller.forecast import Calibrated, Forecast, History, SimilarDays
from controller.forecast.intervals import rank
from controller.forecast.spread import fans

ZONE = "America/Los_Angeles"
SLOT_US = 900_000_000
DAY_US = 96 * SLOT_US
START_US = int(datetime.fromisoformat("2016-09-05T07:00:00+00:00").timestamp()) * 1_000_000
NIGHT = np.isin(np.arange(96) // 4, (4, 5, 6, 7, 8, 9, 10, 11, 12))
"""Slots of the made day (UTC, from its start at 7:00) in which the made sun does not shine."""


class Flat:
    """Says the same always, so that the errors are the data."""

    def forecast(self, history: History, issue_us: int, slots: int, slot_s: int) -> Forecast:
        mean = {name: np.full(slots, 1000.0) for name in history.series}
        return Forecast(issue_us, slot_s, mean, mean, {}, issue_us)


def made(days: int, seed: int) -> History:
    """Demand and PV without any memory; PV is 0 at night."""
    rng = np.random.default_rng(seed)
    n = days * 96
    sun = np.where(NIGHT, 0.0, 2500.0)
    rows = {
        "load/a": rng.gamma(2.0, 500.0, n),
        "load/b": rng.gamma(1.0, 200.0, n),
        "pv/a": np.tile(sun, days) * rng.uniform(0.0, 1.0, n),
    }
    return History(START_US, 900, rows, {"load/a": "load", "load/b": "load", "pv/a": "pv"}, ZONE)


def issue(day: int, slot: int = 0) -> int:
    return START_US + day * DAY_US + slot * SLOT_US


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), slot=st.integers(0, 95), gap=st.integers(0, 300))
def test_quantiles_rise_are_not_negative_and_dark_at_night(seed: int, slot: int, gap: int) -> None:
    known = made(16, seed)
    rows = {name: row.copy() for name, row in known.series.items()}
    rows["load/b"][900 : 900 + gap] = np.nan
    known = replace(known, series=rows)
    said = Calibrated(SimilarDays(), every_s=43_200).forecast(known, issue(14, slot), 120, 900)
    night = NIGHT[(np.arange(120) + slot) % 96]
    for name, fan in said.quantiles.items():
        low, middle, high = fan[0.1], fan[0.5], fan[0.9]
        assert np.all(np.isfinite(high))
        assert np.all((low >= 0) & (low <= middle) & (middle <= high))
        if name == "pv/a":
            assert not np.any(high[night])
            assert np.all(high[~night] > 0)
    assert set(said.quantiles) == set(known.series)


@settings(max_examples=6, deadline=None)
@given(slot=st.integers(0, 95), seed=st.integers(0, 10**6))
def test_the_day_being_forecast_and_all_after_it_take_no_part(slot: int, seed: int) -> None:
    """Corrections come from before the day began (UTC); what is measured later may only move the forecast itself."""
    known = made(14, 3)
    begun = (issue(12, slot) - issue(12, slot) % DAY_US - START_US) // SLOT_US
    rng = np.random.default_rng(seed)
    rows = {name: np.append(row[:begun], rng.uniform(0, 9000, len(row) - begun)) for name, row in known.series.items()}
    other = replace(known, series=rows)
    calibrated = Calibrated(Flat(), every_s=43_200)
    first = calibrated._of_the_day(known, issue(12, slot))
    second = Calibrated(Flat(), every_s=43_200)._of_the_day(other, issue(12, slot))
    assert {kind: row.tolist() for kind, row in first.items()} == {kind: row.tolist() for kind, row in second.items()}


def test_a_forecaster_used_before_says_what_a_new_one_says() -> None:
    """The day's corrections are kept, but they are of the history that was handed in, not of the one before."""
    used = Calibrated(SimilarDays(), every_s=43_200)
    for seed in (1, 2, 1):
        known = made(12, seed)
        again = used.forecast(known, issue(11), 96, 900).quantiles
        fresh = Calibrated(SimilarDays(), every_s=43_200).forecast(known, issue(11), 96, 900).quantiles
        assert all(again[name][level].tolist() == fan[level].tolist() for name, fan in fresh.items() for level in fan)


def test_too_little_past_gives_no_interval_and_says_so() -> None:
    known = made(12, 1)
    said = Calibrated(SimilarDays()).forecast(known, issue(5), 96, 900)
    assert said.quantiles == {}
    assert any("no interval" in note and "load/a" in note and "pv/a" in note for note in said.notes)
    assert Calibrated(SimilarDays()).forecast(known, issue(11), 96, 900).notes == ()


@given(n=st.integers(1, 5000), level=st.integers(1, 99))
def test_the_rank_is_the_finite_sample_one(n: int, level: int) -> None:
    """Of n + 1 exchangeable errors the newest is beyond the rank-th with the promised probability at most."""
    exact = Fraction(level, 100)
    at = rank(n, level / 100)
    assert 1 <= at <= n
    if exact >= Fraction(1, 2) and (n + 1) * exact <= n:
        assert Fraction(at, n + 1) >= exact > Fraction(at - 1, n + 1)
    if exact < Fraction(1, 2) and (n + 1) * exact >= 1:
        assert Fraction(at, n + 1) <= exact < Fraction(at + 1, n + 1)


@pytest.mark.parametrize("levels", [(), (0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)])
def test_levels_that_are_none_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ControllerError, match="rising"):
        Calibrated(SimilarDays(), levels=levels)


def test_a_forecast_that_knows_nothing_covers_what_it_says_of_memoryless_data() -> None:
    """Exchangeable errors: conformal prediction's promise holds for any forecaster, here one that is flatly wrong."""
    known = made(60, 5)
    inside: list[np.ndarray] = []
    raw: list[np.ndarray] = []
    calibrated = Calibrated(Flat(), days=21, ahead_s=86_400)
    for day in range(30, 58, 2):
        said = calibrated.forecast(known, issue(day), 96, 900)
        came = {name: row[day * 96 : (day + 1) * 96] for name, row in known.series.items()}
        for fan in fans(Flat().forecast(known, issue(day), 96, 900), known, (0.1, 0.5, 0.9)):
            for k, name in enumerate(fan.names):
                light = ~fan.dark[k]
                low, high = said.quantiles[name][0.1], said.quantiles[name][0.9]
                inside.append(((came[name] >= low) & (came[name] <= high))[light])
                raw.append(((came[name] >= fan.values[0, k]) & (came[name] <= fan.values[-1, k]))[light])
    assert np.concatenate(inside).mean() == pytest.approx(0.8, abs=0.03)
    assert abs(np.concatenate(raw).mean() - 0.8) > 0.1


def test_intervals_cover_what_they_say_on_measured_homes(measured: History) -> None:
    """8 homes, every sixth day from October to March, every 6 hours: 80 % within 4 points each."""
    calibrated = Calibrated(SimilarDays(), ahead_s=86_400)
    inside: dict[str, list[np.ndarray]] = {"load": [], "pv": []}
    raw: dict[str, list[np.ndarray]] = {"load": [], "pv": []}
    for day in range(50, 240, 6):
        past = replace(measured, series={name: row[: (day + 1) * 96] for name, row in measured.series.items()})
        for hour in (0, 6, 12, 18):
            at = int(day) * 96 + hour * 4
            said = calibrated.forecast(past, measured.start_us + at * SLOT_US, 96, 900)
            for fan in fans(replace(said, quantiles={}), past, (0.1, 0.9)):
                for k, name in enumerate(fan.names):
                    came = measured.series[name][at : at + 96]
                    light = ~fan.dark[k]
                    found = said.quantiles[name]
                    inside[fan.kind].append(((came >= found[0.1]) & (came <= found[0.9]))[light])
                    raw[fan.kind].append(((came >= fan.values[0, k]) & (came <= fan.values[1, k]))[light])
    for kind in ("load", "pv"):
        after, before = np.concatenate(inside[kind]).mean(), np.concatenate(raw[kind]).mean()
        assert after == pytest.approx(0.8, abs=0.04), (kind, before, after)
        if kind == "load":  # PV's raw intervals are near 80 % on some days already: kept near, not always nearer
            assert abs(after - 0.8) < abs(before - 0.8), (kind, before, after)
