"""The recorded world behind a run: series for the emulated plant, past for forecasts, prices."""

from __future__ import annotations

from collections.abc import Mapping

from controller.case import FloatArray, Tariff
from twin.data import DataSet
from twin.shape import SeriesSource
from twin.site.schema import Site
from twin.span import default_start_us, instant_us, midnight_us
from twin.tariff import export_price, import_price


class Feed:
    """A site's data as seen at the clock's time. `shift_us` is added to the clock to find the data's time."""

    def __init__(self, site: Site, dataset: DataSet | None, seed: int, shift_us: int = 0) -> None:
        self.site, self.dataset, self.shift_us = site, dataset, shift_us
        peaks = {
            str(spec.model["series"]): float(spec.model["peak_w"])
            for spec in site.devices
            if spec.kind == "pv" and "series" in spec.model and "peak_w" in spec.model
        }
        self._source = None if dataset is None else SeriesSource(dataset, seed, peaks=peaks)

    def power_w(self, series: str, t0_us: int, t1_us: int) -> float | None:
        """Mean power over [t0, t1) of the clock; None in a gap."""
        return None if self._source is None else self._source(series, t0_us + self.shift_us, t1_us + self.shift_us)

    def slot_means(self, series: str, start_us: int, slot_s: int, n: int) -> FloatArray:
        """Recorded means of slots, NaN in gaps; only ever asked for slots before a run's start."""
        assert self.dataset is not None, "asked only for series the site names"
        return self.dataset.slot_means(series, start_us + self.shift_us, slot_s, n)

    def tariff(self, start_us: int, slots: int) -> Tariff:
        """Import and export prices of consecutive slots."""
        at_us, slot_s = start_us + self.shift_us, self.site.time.slot_s
        bought = import_price(self.site, self.dataset, at_us, slot_s, slots)
        return Tariff(bought, export_price(self.site, self.dataset, at_us, slot_s, slots))

    def at(self, slot_us: int) -> tuple[float, float]:
        """(import, export) price of one slot."""
        one = self.tariff(slot_us, 1)
        return float(one.import_per_kwh[0]), float(one.export_per_kwh[0])

    @property
    def inputs(self) -> Mapping[str, str]:
        """SHA-256 of every file that went in."""
        found = {self.site.path.name: self.site.sha256}
        return found if self.dataset is None else {**found, **self.dataset.sha256}


def start_us(site: Site, dataset: DataSet | None, now_us: int) -> int:
    """When a run starts unless it is told: the site's start, else 28 days into the data, else now, on a slot's edge."""
    if site.start is not None:
        return instant_us(site.start, site.zone)
    if dataset is not None:
        return default_start_us(dataset.span_us[0], site.zone)
    return now_us - now_us % (site.time.slot_s * 1_000_000)


def wall_shift_us(site: Site, dataset: DataSet | None, now_us: int) -> int:
    """Shift that maps today's local midnight onto the site's start day, so that dawn in the data comes at dawn."""
    if dataset is None:
        return 0
    return midnight_us(start_us(site, dataset, now_us), site.zone) - midnight_us(now_us, site.zone)
