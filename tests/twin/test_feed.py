"""The recorded world behind a run: one shift in time for powers, past and prices."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from twin.data import DataSet
from twin.feed import Feed, start_us, wall_shift_us
from twin.site import Site

HOUR_US, SLOT_US, DAY_US = 3_600_000_000, 900_000_000, 86_400_000_000


def us(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000


def test_powers_keep_the_recorded_energy_of_every_hour(feed: Feed, homes_data: DataSet, t0_us: int) -> None:
    for series in ("home-1/load", "home-2/pv"):
        for hour in range(6):
            start = t0_us + hour * HOUR_US
            minutes = [
                feed.power_w(series, start + k * HOUR_US // 60, start + (k + 1) * HOUR_US // 60) for k in range(60)
            ]
            assert None not in minutes
            recorded = homes_data.mean_w(series, start, start + HOUR_US)
            assert np.mean(minutes) == pytest.approx(recorded, abs=1e-6)  # type: ignore[arg-type]


def test_the_seed_decides_the_shape_and_nothing_else_does(two_homes: Site, homes_data: DataSet, t0_us: int) -> None:
    def hour(seed: int) -> list[float | None]:
        one = Feed(two_homes, homes_data, seed)
        edges = range(t0_us, t0_us + HOUR_US, HOUR_US // 60)
        return [one.power_w("home-1/load", start, start + HOUR_US // 60) for start in edges]

    assert hour(1) == hour(1)
    assert hour(1) != hour(2)


def test_a_shift_moves_power_past_and_prices_alike(two_homes: Site, homes_data: DataSet, t0_us: int) -> None:
    still, moved = Feed(two_homes, homes_data, 3), Feed(two_homes, homes_data, 3, shift_us=-5 * DAY_US)
    later = t0_us + 5 * DAY_US
    span = (t0_us, t0_us + 60_000_000)
    assert moved.power_w("home-1/pv", *(t + 5 * DAY_US for t in span)) == still.power_w("home-1/pv", *span)
    assert moved.at(later) == still.at(t0_us)
    np.testing.assert_array_equal(
        moved.slot_means("home-1/load", later, 900, 8), still.slot_means("home-1/load", t0_us, 900, 8)
    )


def test_prices_are_the_sites_import_series_and_its_assumed_export_price(feed: Feed, t0_us: int) -> None:
    assert feed.at(t0_us) == (0.22, 0.08)
    tariff = feed.tariff(t0_us, 8)
    assert tariff.import_per_kwh.tolist() == [0.22] * 4 + [0.54] * 4


def test_inputs_name_every_file_that_went_in(feed: Feed, two_homes: Site) -> None:
    inputs = feed.inputs
    assert inputs["two-homes.yaml"] == two_homes.sha256
    assert {"dataset.yaml", "home-1.csv.gz", "market.csv.gz"} <= set(inputs)
    assert all(len(digest) == 64 for digest in inputs.values())
    assert dict(Feed(two_homes, None, 0).inputs) == {"two-homes.yaml": two_homes.sha256}


def test_a_run_starts_where_the_site_says_or_28_days_into_the_data(two_homes: Site, homes_data: DataSet) -> None:
    assert start_us(two_homes, homes_data, 0) == us("2016-09-05T00:00-07:00")
    free = replace(two_homes, start=None)
    assert start_us(free, homes_data, 0) == us("2016-08-29T00:00-07:00")
    assert homes_data.span_us[0] == us("2016-08-01T00:00-07:00")
    assert start_us(free, None, 10 * SLOT_US + 1) == 10 * SLOT_US


def test_on_the_wall_dawn_in_the_data_comes_at_dawn(two_homes: Site, homes_data: DataSet) -> None:
    now_us = us("2026-11-21T09:30-08:00")
    shift_us = wall_shift_us(two_homes, homes_data, now_us)
    shown = dt.datetime.fromtimestamp((now_us + shift_us) / 1e6, dt.timezone(dt.timedelta(hours=-7)))
    assert shown.isoformat() == "2016-09-05T09:30:00-07:00"
    assert wall_shift_us(two_homes, None, now_us) == 0
