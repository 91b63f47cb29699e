"""What was recorded before a span: the past of its forecasts, and of a feeder's limit."""

from __future__ import annotations

import numpy as np

from controller.case import FloatArray
from twin.feed import Feed
from twin.history import History
from twin.site.schema import Site

PAST_DAYS = 28


def recorded_past(site: Site, feed: Feed, start_us: int) -> dict[str, FloatArray]:
    """Recorded slot means of the PAST_DAYS before an instant, by party, W; 0 where it has none, NaN in gaps."""
    recorded = History(site, feed, start_us, PAST_DAYS)
    parties = [party.id for party in site.parties if party.role != "grid"]
    found = {f"{kind}/{party}": np.zeros(recorded.slots) for kind in ("load", "pv") for party in parties}
    summed = set()
    for name, row in recorded.rows.items():
        kind, _, who = name.partition("/")
        key = f"pv/{site.device(who).party}" if kind == "pv" else name
        found[key] = found[key] + row if key in summed else row
        summed.add(key)
    return found
