"""Prices of the setting `dynamic`: a data folder, or one table of a market's prices."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from controller.case import FloatArray, Tariff
from twin.data import DataSet, Series
from twin.data.description import Description, FileInfo
from twin.data.series import SeriesInfo
from twin.data.table import header
from twin.exits import UsageError
from twin.site.schema import Site
from twin.span import DAY_US

WHOLESALE_ADDER, WHOLESALE_FEE = 0.11, 0.01
"""What a wholesale price is turned into for a home: import = price + adder, export = price - fee."""
OPTION = "--dynamic-prices"
SUFFIXES = (".csv", ".csv.gz")


@dataclass(frozen=True, slots=True)
class DynamicPrices:
    """Series of import and export prices, perhaps of other years: see `at`."""

    bought: Series
    sold: Series | None
    """None: the site's own export price, nowhere above the import price."""
    adder: float
    fee: float
    zone: str
    """Whose clock the prices follow: its hours are put on the same hours of the site's clock."""
    name: str
    sha256: str
    site: Site

    def tariff(self, start_us: int, slots: int, export_per_kwh: FloatArray) -> Tariff:
        """Prices of consecutive slots; `export_per_kwh` is the site's own, for a source that has none.

        Days that the source lacks are taken from it a whole number of weeks away, the nearest to whole years, so that
        weekday and season stay. A gap repeats the price before it. Raises UsageError where no such days are there.
        """
        shift_us = self._shift_us(start_us, slots)
        slot_s = self.site.time.slot_s
        bought = _filled(self.bought.slot_means(start_us + shift_us, slot_s, slots)) + self.adder
        if self.sold is None:
            sold = np.minimum(export_per_kwh, bought)
        else:
            sold = _filled(self.sold.slot_means(start_us + shift_us, slot_s, slots)) - self.fee
        if np.any(sold > bought + 1e-9):
            raise UsageError(f"{self.name}: an export price above the import price", where=OPTION, mend="mend the data")
        return Tariff(_quantised(bought), _quantised(sold))

    def years_away(self, start_us: int, slots: int) -> int:
        """How many years from the asked days the prices are taken (0: they are the days' own)."""
        return round(self._shift_us(start_us, slots) / DAY_US / 365.25)

    def _shift_us(self, start_us: int, slots: int) -> int:
        end_us = start_us + slots * self.site.time.slot_s * 1_000_000
        years = (0, *(sign * k for k in range(1, 30) for sign in (1, -1)))
        for year in years:
            shift_us = self._weeks_us(start_us, round(year * 365.25 / 7))
            if self.bought.start_us <= start_us + shift_us and end_us + shift_us <= self.bought.end_us:
                return shift_us
        raise UsageError(f"{self.name} does not hold the days of a span", where=OPTION, mend="name a longer series")

    def _weeks_us(self, start_us: int, weeks: int) -> int:
        """From an instant to the one at which the source's clock shows the same, whole weeks away."""
        shown = dt.datetime.fromtimestamp(start_us / 1e6, ZoneInfo(self.site.zone)).replace(tzinfo=ZoneInfo(self.zone))
        return round((shown + dt.timedelta(weeks=weeks)).timestamp() * 1e6) - start_us


def read_prices(path: Path, site: Site) -> DynamicPrices:
    """The prices of a data folder (series `import` and `export`) or of a table with one column of prices.

    A table's price column says what it is: `import...` in its name is a price for homes (the site's own export price
    stands beside it), anything else a wholesale price, which gets WHOLESALE_ADDER and WHOLESALE_FEE. `MWh` in the name
    is a price per MWh. Its first column holds times: `ts_utc`, `ts_CET_local`, else local time of the site.
    Raises UsageError and DataError.
    """
    if path.is_dir() or path.name.endswith(".yaml"):
        data = DataSet.open(path)
        about = data.description
        missing = [name for name in ("import", "export") if name not in data.ids]
        if missing:
            raise UsageError(f"{path}: no series {missing[0]!r}", where=OPTION, mend="describe it in its dataset.yaml")
        digest = hashlib.sha256("".join(data.sha256.values()).encode()).hexdigest()
        return DynamicPrices(
            data.series("import"), data.series("export"), 0.0, 0.0, about.zone, about.name, digest, site
        )
    if not path.is_file() or not path.name.endswith(SUFFIXES):
        raise UsageError(
            f"no prices at {path}", where=OPTION, mend=f"name a data folder or a file, {', '.join(SUFFIXES)}"
        )
    return _of_table(path, site)


def default_path(site: Site) -> Path:
    """`data/prices` beside the folder of the site file: where the examples have theirs."""
    return site.path.parent.parent / "data" / "prices"


def _of_table(path: Path, site: Site) -> DynamicPrices:
    names = header(path)
    if len(names) < 2:
        raise UsageError(f"{path.name}: no column of prices", where=OPTION, mend="give times and prices")
    times, column = names[0], names[1]
    zone = "UTC" if times == "ts_utc" else "Europe/Berlin" if "CET" in times else site.zone
    unit = f"{site.currency}/{'MWh' if 'MWh' in column else 'kWh'}"
    info = SeriesInfo("price", "price", unit, path.name, column, 3600, (-np.inf, np.inf), None)
    file = FileInfo(path.name, times, 3600, zone, "start", (info,))
    description = Description(path.name, str(path.name), "of its owner", site.zone, (), (file,))
    series = DataSet(path.parent, description).series("price")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if "import" in column:
        return DynamicPrices(series, None, 0.0, 0.0, zone, path.name, digest, site)
    return DynamicPrices(series, series, WHOLESALE_ADDER, WHOLESALE_FEE, zone, path.name, digest, site)


def _filled(values: FloatArray) -> FloatArray:
    """Gaps repeat the value before them (the first known one at the beginning)."""
    known = np.flatnonzero(~np.isnan(values))
    if not known.size:
        raise UsageError("no price is known in a span", where=OPTION, mend="name another series")
    before = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
    return np.asarray(values[np.where(before < 0, known[0], before)])


def _quantised(prices: FloatArray) -> FloatArray:
    """Whole micro-currency per kWh, as the site's own prices."""
    return np.asarray(np.round(prices, 6), dtype=np.float64)
