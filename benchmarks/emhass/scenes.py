"""Measured days of an example site as scenes of the ideal loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from controller.baseline import SiteSeries
from controller.case import FloatArray
from controller.closed_loop import TAIL_SLOTS, WINDOW_SLOTS, Scene
from twin import assets, realised
from twin.data import DataSet
from twin.feed import Feed
from twin.history import History
from twin.realised import STEP_S
from twin.site import load_site
from twin.site.schema import Site
from twin.span import instant_us, parse_start

PAST_DAYS = 28


def measured(path: Path, start: str, days: int, step_s: int = 300) -> tuple[Scene, FloatArray]:
    """(scene of whole days from a local date on, import price from a day before to a day after for the rules).

    Raises the site's and the data's own errors where the file or the days do not exist.
    """
    site = load_site(path)
    feed = Feed(site, None if site.data is None else DataSet.open(site.data), seed=0)
    at_us, slot_s = instant_us(parse_start(start), site.zone), site.time.slot_s
    day = 86_400 // slot_s
    slots = days * day
    parties, load_w, pv_w = realised.powers(site, feed.power_w, at_us, slots)
    per = step_s // STEP_S
    load_w, pv_w = (rows.reshape(len(parties), -1, per).mean(axis=2) for rows in (load_w, pv_w))
    scene = Scene(
        id=site.id,
        start_us=at_us,
        series=SiteSeries(parties, load_w, pv_w, step_s, slot_s),
        parties=site.parties,
        storages=tuple(assets.storage(site, spec) for spec in site.devices if spec.kind == "storage"),
        tariff=feed.tariff(at_us, slots + WINDOW_SLOTS + TAIL_SLOTS + day),
        past=_past(site, feed, at_us, parties),
        turbines=tuple(assets.turbine(site, spec) for spec in site.devices if spec.kind == "turbine"),
        flexible=realised.flexible_demand(site, feed.power_w, at_us, slots),
        zone=site.zone,
        gates=tuple(range(0, slots, day)),
    )
    return scene, feed.tariff(at_us - 86_400_000_000, slots + 2 * day).import_per_kwh


def _past(site: Site, feed: Feed, at_us: int, parties: tuple[str, ...]) -> dict[str, FloatArray]:
    """Recorded slot means by party; a series that a party lacks is 0."""
    recorded = History(site, feed, at_us, PAST_DAYS)
    found = {f"{kind}/{party}": np.zeros(recorded.slots) for kind in ("load", "pv") for party in parties}
    for name, row in recorded.rows.items():
        kind, _, who = name.partition("/")
        found[f"pv/{site.device(who).party}" if kind == "pv" else name] = row
    return found
