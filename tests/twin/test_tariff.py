"""Prices per slot: series, constants and time of use, over clock changes and gaps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twin.data import DataSet
from twin.site import Site, load_site
from twin.site.schema import Price, TariffBlock, TariffSpec
from twin.tariff import TariffError, export_price, import_price, price_quality

EXAMPLES = Path(__file__).parents[2] / "examples"
PEAK = TariffBlock(16 * 60, 21 * 60, 0.5, "workdays", (6, 7, 8, 9))
WINTER_PEAK = TariffBlock(16 * 60, 21 * 60, 0.4, "workdays", (10, 11, 12, 1, 2, 3, 4, 5))
NIGHT = TariffBlock(22 * 60, 6 * 60, 0.1)
REST = TariffBlock(0, 1440, 0.2)


@pytest.fixture(scope="module")
def site() -> Site:
    """The small example site."""
    return load_site(EXAMPLES / "sites" / "two-homes.yaml")


@pytest.fixture(scope="module")
def data() -> DataSet:
    """The example data."""
    return DataSet.open(EXAMPLES / "data" / "homes")


@pytest.fixture
def priced(site: Site) -> Callable[[Price], Site]:
    """The site with another import price."""
    return lambda price: replace(site, tariff=TariffSpec(price, 0.08))


def us(text: str) -> int:
    """Microseconds of an ISO time with its offset."""
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000


def test_a_series_prices_quarters_by_its_hours(site: Site, data: DataSet) -> None:
    prices = import_price(site, data, us("2016-09-05T00:00-07:00"), 900, 96)
    assert prices.tolist() == [0.22] * 64 + [0.54] * 20 + [0.22] * 12
    assert export_price(site, data, us("2016-09-05T00:00-07:00"), 900, 2).tolist() == [0.08, 0.08]


def test_the_peak_stays_at_four_oclock_over_both_clock_changes(site: Site, data: DataSet) -> None:
    autumn = import_price(site, data, us("2016-11-06T00:00-07:00"), 900, 100)
    assert np.flatnonzero(autumn > 0.4).tolist() == list(range(17 * 4, 22 * 4))
    spring = import_price(site, data, us("2017-03-12T00:00-08:00"), 900, 92)
    assert np.flatnonzero(spring > 0.4).tolist() == list(range(15 * 4, 20 * 4))
    assert not price_quality(site, data, us("2016-11-06T00:00-07:00"), 900, 100).any()


def test_blocks_follow_local_time_days_and_months(priced: Callable[[Price], Site]) -> None:
    site = priced((PEAK, WINTER_PEAK, NIGHT, REST))
    monday = import_price(site, None, us("2016-09-05T00:00-07:00"), 3600, 24)
    assert monday.tolist() == [0.1] * 6 + [0.2] * 10 + [0.5] * 5 + [0.2] + [0.1] * 2
    sunday = import_price(site, None, us("2016-09-04T00:00-07:00"), 3600, 24)
    assert sunday.tolist() == [0.1] * 6 + [0.2] * 16 + [0.1] * 2
    friday = import_price(site, None, us("2016-09-30T12:00-07:00"), 3600, 12)
    assert friday.tolist() == [0.2] * 4 + [0.5] * 5 + [0.2] + [0.1] * 2
    october = import_price(site, None, us("2016-10-03T12:00-07:00"), 3600, 12)
    assert october.tolist() == [0.2] * 4 + [0.4] * 5 + [0.2] + [0.1] * 2


def test_blocks_have_all_hours_of_long_and_short_days(priced: Callable[[Price], Site]) -> None:
    site = priced((NIGHT, REST))
    long_day = import_price(site, None, us("2016-11-06T00:00-07:00"), 900, 100)
    assert (long_day == 0.1).sum() == 9 * 4
    short_day = import_price(site, None, us("2017-03-12T00:00-08:00"), 900, 92)
    assert (short_day == 0.1).sum() == 7 * 4


def test_a_slot_over_the_edge_of_two_blocks_has_their_mean(priced: Callable[[Price], Site]) -> None:
    site = priced((TariffBlock(0, 16 * 60 + 30, 0.2), TariffBlock(16 * 60 + 30, 1440, 0.5)))
    prices = import_price(site, None, us("2016-09-05T15:00-07:00"), 3600, 3)
    assert prices == pytest.approx([0.2, 0.35, 0.5])


def test_beyond_the_data_a_week_old_price_stands_in_and_is_marked(site: Site, data: DataSet) -> None:
    start = us("2017-03-31T12:00-07:00")
    prices, marks = import_price(site, data, start, 3600, 24), price_quality(site, data, start, 3600, 24)
    assert prices.tolist() == [0.21] * 4 + [0.5] * 5 + [0.21] * 15
    assert marks.tolist() == [0] * 12 + [2] * 12


def test_a_price_that_was_never_known_is_an_error(site: Site, data: DataSet) -> None:
    with pytest.raises(
        TariffError, match="no price 'price' at 2016-07-31T23:00:00-07:00, nor at that time in the 28 days"
    ):
        import_price(site, data, us("2016-07-31T23:00-07:00"), 900, 8)
    with pytest.raises(TariffError, match="price series 'price' without data"):
        import_price(site, None, us("2016-07-31T23:00-07:00"), 900, 8)
