"""Settings of a sweep: the site's tariff, a dynamic one, or the site's tariff behind a feeder with a limit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controller.case import Tariff
from controller.costs import FeederLimit
from twin.exits import UsageError
from twin.feed import Feed
from twin.site.schema import Site
from twin.sweep.choice import Choice, SettingName
from twin.sweep.past import recorded_past
from twin.sweep.prices import OPTION, DynamicPrices, default_path, read_prices

FEEDER_PERCENTILE = 80
"""Of the recorded import without control: a limit that is met often, and that batteries can help to keep."""
FEEDER_QUANTUM_W = 100


@dataclass(frozen=True, slots=True)
class Setting:
    """One tariff, and perhaps a limit, under which all policies are compared."""

    name: SettingName
    dynamic: DynamicPrices | None = None
    feeder: FeederLimit | None = None

    def tariff(self, feed: Feed, start_us: int, slots: int) -> Tariff:
        """Prices of consecutive slots."""
        own = feed.tariff(start_us, slots)
        return own if self.dynamic is None else self.dynamic.tariff(start_us, slots, own.export_per_kwh)

    @property
    def facts(self) -> dict[str, Any]:
        """What a cell's inputs are known by, and what the report says of the setting."""
        found: dict[str, Any] = {"name": self.name}
        if self.dynamic is not None:
            prices = self.dynamic
            found |= {"prices": prices.name, "sha256": prices.sha256, "adder": prices.adder, "fee": prices.fee}
        if self.feeder is not None:
            found |= {"import_max_w": self.feeder.import_max_w, "excess_per_kwh": self.feeder.excess_per_kwh}
        return found


def make_settings(choice: Choice, site: Site, feed: Feed, first_us: int) -> tuple[Setting, ...]:
    """The chosen settings. `first_us` is the start of the first span: a feeder's limit is taken from days before it.

    Raises UsageError where prices are missing or nothing is known of those days.
    """
    return tuple(_make(name, choice, site, feed, first_us) for name in choice.settings)


def feeder_limit_w(site: Site, feed: Feed, first_us: int) -> float:
    """FEEDER_PERCENTILE of the site's slot means of import without control in the days before `first_us`, W."""
    net = np.zeros(1)
    for name, row in recorded_past(site, feed, first_us).items():
        net = net - row if name.startswith("pv/") else net + row
    known = net[~np.isnan(net)]
    if not known.size:
        raise UsageError("nothing is known of the days before", where="--settings feeder", mend="give --feeder-w")
    limit = float(np.percentile(np.maximum(known, 0.0), FEEDER_PERCENTILE))
    return max(round(limit / FEEDER_QUANTUM_W), 1) * float(FEEDER_QUANTUM_W)


def _make(name: SettingName, choice: Choice, site: Site, feed: Feed, first_us: int) -> Setting:
    if name == "dynamic":
        path = default_path(site) if choice.dynamic_prices is None else Path(choice.dynamic_prices)
        if choice.dynamic_prices is None and not path.is_dir():
            raise UsageError("the setting dynamic needs prices", where=OPTION, mend="name a series, or leave it out")
        return Setting(name, dynamic=read_prices(path, site))
    if name == "feeder":
        limit = feeder_limit_w(site, feed, first_us) if choice.feeder_w is None else choice.feeder_w
        return Setting(name, feeder=FeederLimit(limit, choice.feeder_per_kwh))
    return Setting(name)
