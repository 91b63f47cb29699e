"""Market prices of a site per slot, from a series, a constant or time-of-use blocks. Local time only here."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from devices.readings import Quality
from twin.data import DataSet
from twin.data.series import FloatArray, QualityArray
from twin.errors import TwinError
from twin.site.schema import Price, Site, TariffBlock

_REPLACEMENT_DAYS = (7, 14, 21, 28, 1, 2, 3)
"""Whose price stands in for a missing one: the same local time that many days before, the first that is known."""
_DECIMALS = 6
"""Prices are whole micro-currency per kWh before anything is made from them."""


class TariffError(TwinError):
    """No price can be given."""


def import_price(site: Site, dataset: DataSet | None, start_us: int, slot_s: int, n: int) -> FloatArray:
    """Price of energy taken from the grid, currency per kWh, shape (n,), slots from start_us (UTC).

    A gap of a price series is filled with the price at the same local time a week before (see price_quality).
    Raises TariffError where none is known.
    """
    return _priced(site, site.tariff.import_, dataset, start_us, slot_s, n)[0]


def export_price(site: Site, dataset: DataSet | None, start_us: int, slot_s: int, n: int) -> FloatArray:
    """Price of energy given to the grid; else as import_price."""
    return _priced(site, site.tariff.export_per_kwh, dataset, start_us, slot_s, n)[0]


def price_quality(site: Site, dataset: DataSet | None, start_us: int, slot_s: int, n: int) -> QualityArray:
    """GOOD or SUBSTITUTED per slot, the worse of import and export, shape (n,)."""
    both = (site.tariff.import_, site.tariff.export_per_kwh)
    marks = [_priced(site, price, dataset, start_us, slot_s, n)[1] for price in both]
    return np.maximum(marks[0], marks[1])


def _priced(
    site: Site, price: Price, dataset: DataSet | None, start_us: int, slot_s: int, n: int
) -> tuple[FloatArray, QualityArray]:
    quality = np.full(n, Quality.GOOD, dtype=np.int8)
    if isinstance(price, float):
        return np.round(np.full(n, price), _DECIMALS), quality
    if isinstance(price, tuple):
        return np.round(_blocks(price, ZoneInfo(site.zone), start_us, slot_s, n), _DECIMALS), quality
    if dataset is None:
        raise TariffError(f"price series {price!r} without data", where=site.path.name, mend="name a data folder")
    values = dataset.slot_means(price, start_us, slot_s, n)
    for k in np.flatnonzero(np.isnan(values)).tolist():
        values[k] = _stand_in(site, price, dataset, start_us + k * slot_s * 1_000_000, slot_s)
        quality[k] = Quality.SUBSTITUTED
    return np.round(values, _DECIMALS), quality


def _stand_in(site: Site, price: str, dataset: DataSet, slot_us: int, slot_s: int) -> float:
    local = dt.datetime.fromtimestamp(slot_us / 1e6, ZoneInfo(site.zone))
    for days in _REPLACEMENT_DAYS:
        earlier_us = round((local - dt.timedelta(days=days)).timestamp()) * 1_000_000
        value = dataset.mean_w(price, earlier_us, earlier_us + slot_s * 1_000_000)
        if value is not None:
            return value
    raise TariffError(
        f"no price {price!r} at {local.isoformat()}, nor at that time in the {max(_REPLACEMENT_DAYS)} days before",
        where=str(dataset.path),
        mend="start within the data",
    )


def _blocks(blocks: tuple[TariffBlock, ...], zone: ZoneInfo, start_us: int, slot_s: int, n: int) -> FloatArray:
    values = np.empty(n)
    for k in range(n):
        local = dt.datetime.fromtimestamp(start_us / 1e6 + k * slot_s, zone)
        day = _day(blocks, local.month, local.weekday() >= 5)
        first = local.hour * 60 + local.minute
        # Clocks change on the hour, so a slot never spans a change; it may span an edge of two blocks.
        values[k] = np.mean(day[first : first + max(1, slot_s // 60)])
    return values


@lru_cache(maxsize=64)
def _day(blocks: tuple[TariffBlock, ...], month: int, weekend: bool) -> FloatArray:
    weekday = 5 if weekend else 0
    prices = (next(b.per_kwh for b in blocks if b.applies(month, weekday, minute)) for minute in range(1440))
    return np.fromiter(prices, dtype=np.float64, count=1440)
