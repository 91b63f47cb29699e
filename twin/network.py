"""The limits at the site's grid meter as they stand at a time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from zoneinfo import ZoneInfo

from twin.site.schema import Site


def limits_at(site: Site) -> Callable[[int], tuple[float, float]]:
    """µs UTC -> (largest import, largest export) in W, infinite where there is none."""
    network, zone = site.network, ZoneInfo(site.zone)
    if not network.times:
        return lambda _t_us: (network.import_max_w, network.export_max_w)
    return lambda t_us: network.at(dt.datetime.fromtimestamp(t_us // 1_000_000, zone))
