"""Forecasts use the past alone, survive gaps and clock changes, and beat persistence on measured homes."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import ControllerError
from controller.forecast import Calendar, History, LoadModel, SimilarDays, skill

ZONE = "America/Los_Angeles"
DAY_US = 86_400_000_000
SLOT_US = 900_000_000
START_US = int(datetime.fromisoformat("2016-09-05T07:00:00+00:00").timestamp()) * 1_000_000
"""Local midnight, a Monday."""


def history(days: float, seed: int = 1, start_us: int = START_US) -> History:
    rng = np.random.default_rng(seed)
    n = round(days * 96)
    hour = np.arange(n) / 4 % 24
    sun = np.maximum(np.sin((hour + 17) / 24 * 2 * np.pi), 0) * 3000
    rows = {
        "load/a": 500 + 300 * np.sin(hour / 24 * 2 * np.pi) + rng.uniform(0, 200, n),
        "load/b": rng.uniform(0, 2000, n),
        "pv/a": sun * rng.uniform(0.3, 1, n),
    }
    return History(start_us, 900, rows, {"load/a": "load", "load/b": "load", "pv/a": "pv"}, ZONE)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 20 * 96), st.integers(0, 10**6))
def test_what_comes_after_the_issue_changes_nothing(issue_slot: int, seed: int) -> None:
    known = history(20.0)
    issue_us = START_US + max(issue_slot, 4) * SLOT_US
    rng = np.random.default_rng(seed)
    altered = {name: row.copy() for name, row in known.series.items()}
    for row in altered.values():
        row[max(issue_slot, 4) :] = rng.uniform(0, 9000, len(row) - max(issue_slot, 4))
    other = History(known.start_us, 900, altered, known.kinds, ZONE)
    first = SimilarDays().forecast(known, issue_us, 96, 900)
    second = SimilarDays().forecast(other, issue_us, 96, 900)
    assert first.newest_input_us <= issue_us
    for name in known.series:
        assert first.mean[name].tolist() == second.mean[name].tolist()
        assert first.persistence[name].tolist() == second.persistence[name].tolist()
        assert np.all(np.isfinite(first.mean[name]))
        assert np.all(first.mean[name] >= 0)


def test_persistence_is_the_same_slot_of_the_newest_day() -> None:
    known = history(10)
    result = SimilarDays().forecast(known, known.end_us, 120, 900)
    for name, row in known.series.items():
        expected = np.concatenate([row[-96:], row[-96 : -96 + 24]])
        assert result.persistence[name].tolist() == expected.tolist()
    assert set(result.methods.values()) == {"similar_days"}
    assert result.notes == ()


def test_a_short_history_gives_persistence_and_says_so() -> None:
    known = history(6.9)
    result = SimilarDays().forecast(known, known.end_us, 96, 900)
    assert set(result.methods.values()) == {"persistence"}
    assert result.mean["load/a"].tolist() == result.persistence["load/a"].tolist()
    assert "less than 7 days" in result.notes[0]
    hour = SimilarDays().forecast(known, START_US + 4 * SLOT_US, 96, 900)
    assert set(hour.methods.values()) == {"flat"}
    assert hour.mean["load/b"] == pytest.approx(np.full(96, known.series["load/b"][:4].mean()), abs=2000)


def test_no_history_is_an_error_naming_the_series() -> None:
    known = history(10)
    with pytest.raises(ControllerError, match="load/a"):
        SimilarDays().forecast(known, START_US, 96, 900)
    rows = {**known.series, "load/b": np.full(known.slots, np.nan)}
    with pytest.raises(ControllerError, match="load/b"):
        SimilarDays().forecast(History(START_US, 900, rows, known.kinds, ZONE), known.end_us, 96, 900)
    with pytest.raises(ControllerError, match="1800 s"):
        SimilarDays().forecast(known, known.end_us, 96, 1800)


def test_gaps_stay_out_of_the_means() -> None:
    known = history(15)
    rows = {name: row.copy() for name, row in known.series.items()}
    for row in rows.values():
        row[-30:-10] = np.nan
        row[-500:-450] = np.nan
    result = SimilarDays().forecast(History(START_US, 900, rows, known.kinds, ZONE), known.end_us, 112, 900)
    for row in (*result.mean.values(), *result.persistence.values()):
        assert np.all(np.isfinite(row))
    late = SimilarDays().forecast(known, known.end_us + DAY_US // 4, 96, 900)
    assert late.start_us == known.end_us + DAY_US // 4
    assert np.all(np.isfinite(late.mean["load/a"]))


def test_two_kinds_of_days_are_told_apart() -> None:
    n = 28 * 96
    calendar = Calendar.of(START_US, n + 96, 900, ZONE)
    row = np.where(calendar.weekend, 2000.0, 500.0)
    known = History(START_US, 900, {"load/a": row[:n]}, {"load/a": "load"}, ZONE)
    saturday = START_US + 26 * DAY_US
    alike = SimilarDays(LoadModel(other_kind=1.0)).forecast(known, saturday, 96, 900).mean["load/a"]
    apart = SimilarDays().forecast(known, saturday, 96, 900).mean["load/a"]
    only = SimilarDays(LoadModel(other_kind=0.0, last_hour=0, last_day=0)).forecast(known, saturday, 96, 900)
    assert alike.mean() + 100 < apart.mean() < 2000
    np.testing.assert_allclose(only.mean["load/a"], 2000)


@pytest.mark.parametrize(
    ("first_day", "slots"), [("2016-11-06T07:00:00+00:00", 100), ("2017-03-12T08:00:00+00:00", 92)]
)
def test_days_of_a_clock_change(first_day: str, slots: int) -> None:
    """People keep the wall clock, the sun does not; the day has 100 or 92 slots."""
    day_us = int(datetime.fromisoformat(first_day).timestamp()) * 1_000_000
    start_us = day_us - 14 * DAY_US
    calendar = Calendar.of(start_us, 14 * 96 + slots + 96, 900, ZONE)
    assert (calendar.day == calendar.day[14 * 96]).sum() == slots
    utc = Calendar.of(start_us, 14 * 96 + slots + 96, 900)
    load, pv = 100.0 + 10.0 * calendar.slot_of_day, 30.0 * np.maximum(0, 40 - np.abs(utc.slot_of_day - 80))
    kinds = {"load/a": "load", "pv/a": "pv"}
    known = History(start_us, 900, {"load/a": load[: 14 * 96], "pv/a": pv[: 14 * 96]}, kinds, ZONE)
    result = SimilarDays().forecast(known, day_us, slots, 900)
    later = slice(16, slots)
    truth = slice(14 * 96 + 16, 14 * 96 + slots)
    np.testing.assert_allclose(result.persistence["load/a"][later], load[truth])
    np.testing.assert_allclose(result.persistence["pv/a"][later], pv[truth])
    np.testing.assert_allclose(result.mean["load/a"][later], load[truth], atol=160)
    np.testing.assert_allclose(result.mean["pv/a"][later], pv[truth], atol=1)


def test_it_beats_persistence_on_measured_homes(measured: History) -> None:
    """8 homes, 20 days from September to March, issued four times a day."""
    rows, kinds = measured.series, measured.kinds
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for day in np.linspace(33, 236, 20).astype(int):
        for hour in (0, 6, 12, 18):
            issue = (int(day) * 24 + hour) * 4
            result = SimilarDays().forecast(measured, measured.start_us + issue * SLOT_US, 112, 900)
            for kind in ("load", "pv"):
                names = [name for name in rows if kinds[name] == kind]
                actual = np.array([rows[name][issue : issue + 112] for name in names])
                mean = np.array([result.mean[name] for name in names])
                persistence = np.array([result.persistence[name] for name in names])
                for span, part in (("first hour", slice(0, 4)), ("4 hours", slice(0, 16)), ("a day", slice(0, 96))):
                    one = skill(mean[:, part], persistence[:, part], actual[:, part])
                    found.setdefault((kind, span), []).append((one.mae_w, one.persistence_mae_w))
    skills = {key: 1 - np.sum(rows, axis=0)[0] / np.sum(rows, axis=0)[1] for key, rows in found.items()}
    least = {
        ("load", "first hour"): 0.25,
        ("load", "4 hours"): 0.15,
        ("load", "a day"): 0.08,
        ("pv", "first hour"): 0.45,
        ("pv", "4 hours"): 0.35,
        ("pv", "a day"): 0.05,
    }
    for key, value in least.items():
        assert skills[key] >= value, (key, skills[key])
