"""The shape inside an hour: energy kept, never negative, never above the peak, any minute alone."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.data import DataSet
from twin.shape import SeriesSource, clouded, curve_means, with_runs

HOMES = Path(__file__).parents[2] / "examples" / "data" / "homes"
MINUTE_US, HOUR_US = 60_000_000, 3_600_000_000
DAY_US = int(dt.datetime(2016, 9, 5, 7, tzinfo=dt.UTC).timestamp()) * 1_000_000
GAP_US = int(dt.datetime(2016, 11, 6, 9, tzinfo=dt.UTC).timestamp()) * 1_000_000

DESCRIPTION = """\
schema: 1
name: test
source: written by a test
licence: none
files:
  - file: a.csv
    time: {{column: t, period_s: {period_s}}}
    series:
      - {{id: a/load, column: load, unit: W, kind: load}}
      - {{id: a/pv, column: pv, unit: W, kind: pv}}
      - {{id: price, column: price, unit: USD/kWh, kind: price}}
"""


@pytest.fixture(scope="module")
def homes() -> DataSet:
    """The example data."""
    return DataSet.open(HOMES)


def written(folder: Path, period_s: int, rows: list[tuple[str, str]]) -> DataSet:
    """A small data set from load and PV cells."""
    (folder / "dataset.yaml").write_text(DESCRIPTION.format(period_s=period_s), encoding="utf-8")
    start = dt.datetime(2016, 9, 5, tzinfo=dt.UTC)
    lines = [
        f"{(start + k * dt.timedelta(seconds=period_s)).isoformat()},{load},{pv},0.2"
        for k, (load, pv) in enumerate(rows)
    ]
    (folder / "a.csv").write_text("t,load,pv,price\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return DataSet.open(folder)


def minutes(source: SeriesSource, series: str, start_us: int, n: int) -> list[float]:
    """n minutes of a series without gaps."""
    found = [source(series, start_us + k * MINUTE_US, start_us + (k + 1) * MINUTE_US) for k in range(n)]
    assert None not in found
    return [value for value in found if value is not None]


def test_every_hour_of_a_day_keeps_its_energy_and_its_bounds(homes: DataSet) -> None:
    source = SeriesSource(homes, seed=7, peaks={"home-1/pv": 4000})
    for series in ("home-1/load", "home-1/pv", "home-13/load", "home-17/pv"):
        peak = {"home-1/pv": 4000.0, "home-17/pv": float(np.nanmax(homes.series("home-17/pv").values))}.get(series)
        day = np.array(minutes(source, series, DAY_US, 1440)).reshape(24, 60)
        np.testing.assert_allclose(day.mean(axis=1), homes.slot_means(series, DAY_US, 3600, 24), rtol=1e-9, atol=1e-12)
        assert day.min() >= 0
        assert peak is None or day.max() <= peak * (1 + 1e-12)


def test_minutes_differ_inside_an_hour_but_nights_stay_dark(homes: DataSet) -> None:
    source = SeriesSource(homes, seed=7)
    noon = minutes(source, "home-1/pv", DAY_US + 12 * HOUR_US, 60)
    assert max(noon) > 1.02 * min(noon)
    load = minutes(source, "home-1/load", DAY_US + 18 * HOUR_US, 60)
    assert max(load) > 1.2 * min(load)
    assert set(minutes(source, "home-1/pv", DAY_US, 300)) == {0.0}


def test_any_minute_can_be_asked_alone_and_in_any_order(homes: DataSet) -> None:
    source = SeriesSource(homes, seed=7)
    in_order = minutes(source, "home-9/load", DAY_US, 600)
    order = list(range(600))
    random.Random(1).shuffle(order)
    for k in order[:60]:
        start_us = DAY_US + k * MINUTE_US
        fresh = SeriesSource(DataSet.open(HOMES), seed=7) if k % 20 == 0 else source
        assert fresh("home-9/load", start_us, start_us + MINUTE_US) == in_order[k]


def test_another_seed_gives_other_minutes_of_the_same_energy(homes: DataSet) -> None:
    one, two = (minutes(SeriesSource(homes, seed), "home-2/load", DAY_US, 60) for seed in (1, 2))
    assert one != two
    assert sum(one) == pytest.approx(sum(two), rel=1e-12)


def test_the_shape_of_a_seed_is_fixed_for_ever(homes: DataSet) -> None:
    source = SeriesSource(homes, seed=7)
    assert minutes(source, "home-1/pv", DAY_US + 13 * HOUR_US, 3) == pytest.approx(PINNED_PV, rel=1e-9)
    assert minutes(source, "home-1/load", DAY_US + 19 * HOUR_US, 3) == pytest.approx(PINNED_LOAD, rel=1e-9)


PINNED_PV = [2895.0034064592946, 2927.284518717515, 2963.4634992903243]
PINNED_LOAD = [1294.2469601388887, 1269.7249193055554, 1245.6986118055554]


def test_any_interval_is_the_mean_of_its_minutes(homes: DataSet) -> None:
    source = SeriesSource(homes, seed=7)
    start_us = DAY_US + 12 * HOUR_US
    day = minutes(source, "home-1/pv", start_us, 180)
    quarter = source("home-1/pv", start_us + 50 * MINUTE_US, start_us + 65 * MINUTE_US)
    assert quarter == pytest.approx(sum(day[50:65]) / 15, rel=1e-12)
    assert source("home-1/pv", start_us, start_us + 3 * HOUR_US) == pytest.approx(sum(day) / 180, rel=1e-12)
    seconds = source("home-1/pv", start_us + 90_000_000, start_us + 90_250_000)
    assert seconds == day[1]
    half = source("home-1/pv", start_us + 30_000_000, start_us + 90_000_000)
    assert half == pytest.approx((day[0] + day[1]) / 2, rel=1e-12)


def test_without_shape_the_mean_is_held(homes: DataSet) -> None:
    source = SeriesSource(homes, seed=7, shape=False)
    hour = minutes(source, "home-1/load", DAY_US, 60)
    assert set(hour) == {homes.mean_w("home-1/load", DAY_US, DAY_US + HOUR_US)}


def test_a_gap_is_none_and_its_neighbours_keep_their_energy(homes: DataSet) -> None:
    source = SeriesSource(homes, seed=7)
    assert source("home-1/load", GAP_US, GAP_US + MINUTE_US) is None
    assert source("home-1/load", GAP_US - MINUTE_US, GAP_US + MINUTE_US) is None
    assert source("home-1/load", GAP_US - MINUTE_US, GAP_US + 2 * HOUR_US) is None
    before = sum(minutes(source, "home-1/load", GAP_US - HOUR_US, 60)) / 60
    assert before == pytest.approx(homes.mean_w("home-1/load", GAP_US - HOUR_US, GAP_US), rel=1e-12)
    assert source("home-1/load", homes.span_us[1], homes.span_us[1] + MINUTE_US) is None
    assert source("home-1/load", homes.span_us[0] - MINUTE_US, homes.span_us[0]) is None
    with pytest.raises(KeyError):
        source("home-3/load", DAY_US, DAY_US + MINUTE_US)


def test_offsets_and_values_above_the_peak_are_passed_through(tmp_path: Path) -> None:
    data = written(tmp_path, 900, [("100", "-5"), ("-20", "6000"), ("0", "10")])
    start_us = data.span_us[0]
    source = SeriesSource(data, seed=1, peaks={"a/pv": 5000})
    assert set(minutes(source, "a/pv", start_us, 15)) == {-5.0}
    assert set(minutes(source, "a/pv", start_us + 15 * MINUTE_US, 15)) == {6000.0}
    assert set(minutes(source, "a/load", start_us + 15 * MINUTE_US, 30)) == {-20.0, 0.0}
    assert set(minutes(source, "price", start_us, 15)) == {0.2}
    assert sum(minutes(source, "a/load", start_us, 15)) / 15 == pytest.approx(100, rel=1e-12)


@pytest.mark.parametrize("period_s", [30, 90])
def test_periods_without_whole_minutes_are_held(tmp_path: Path, period_s: int) -> None:
    data = written(tmp_path, period_s, [("100", "1"), ("200", "2")])
    start_us = data.span_us[0]
    source = SeriesSource(data, seed=1)
    assert source("a/load", start_us, start_us + 1_000_000) == 100
    assert source("a/load", start_us, start_us + 2 * period_s * 1_000_000) == pytest.approx(150)


WATTS = st.floats(0, 10_000)


@settings(max_examples=300)
@given(before=WATTS | st.just(float("nan")), mean=WATTS, after=WATTS, peak_over=st.floats(1, 5), seed=st.integers())
def test_shapes_keep_energy_and_bounds_whatever_the_neighbours(
    before: float, mean: float, after: float, peak_over: float, seed: int
) -> None:
    if mean < 1e-3:
        return
    peak = mean * peak_over
    curve = curve_means(before, mean, after, peak, 60)
    noisy = clouded(curve, peak, random.Random(seed))
    runs = with_runs(curve_means(before, mean, after, float("inf"), 60), random.Random(seed))
    for cells in (curve, noisy, runs):
        assert sum(cells) / 60 == pytest.approx(mean, rel=1e-9)
        assert min(cells) >= -1e-9 * mean
    for cells in (curve, noisy):
        assert max(cells) <= peak * (1 + 1e-9)
