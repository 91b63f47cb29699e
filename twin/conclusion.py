"""The end of a run: what it cost, and what others would have made of the same slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from controller.case import FloatArray, Tariff
from controller.costs import CostBreakdown
from twin import assets, outcome, realised
from twin.feed import Feed
from twin.realised import Realised
from twin.session import Session
from twin.span import DAY_US
from twin.store import StoreReader
from twin.worker import SolveFailed

if TYPE_CHECKING:
    from twin.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known once the last slot is settled; None where there was no whole slot or no comparison."""

    start_us: int
    """Start of the first settled slot."""
    slots: int
    tariff: Tariff
    actual: CostBreakdown | None
    comparison: Comparison | None
    stopped: bool


async def conclude(feed: Feed, session: Session, *, stopped: bool, compare: bool = True) -> Ending:
    """Cost of the settled slots, of the rules and of perfect foresight over the same slots.

    compare : False where the demand and the sunshine of the slots are not the feed's, so that nobody knows what others
    would have made of them, nor what interruptible loads would have taken.
    """
    site, settlement = feed.site, session.service.settlement
    book, start_us = settlement.book, settlement.first_slot_us
    slots = len(book)
    if start_us is None:
        return Ending(0, 0, Tariff(np.zeros(0), np.zeros(0)), None, None, stopped)
    tariff = feed.tariff(start_us, slots)
    flexible = realised.flexible_demand(site, feed.power_w, start_us, slots) if compare else ()
    session.store.flush()
    with StoreReader(session.store.path) as reader:
        soc = outcome.states_of_charge(site, reader, start_us, start_us + slots * site.time.slot_s * 1_000_000)
        turbines = outcome.turbine_uses(site, book, reader, start_us)
    actual = outcome.actual_cost(site, book, tariff, flexible, soc, turbines)
    if not compare:
        return Ending(start_us, slots, tariff, actual, None, stopped)
    parties, load_w, pv_w = realised.powers(site, feed.power_w, start_us, slots)
    day = Realised(
        parties=parties,
        load_w=load_w,
        pv_w=pv_w,
        slot_s=site.time.slot_s,
        tariff=tariff,
        flexible=flexible,
        storages=tuple(assets.storage(site, site.device(device), first) for device, (first, _) in soc.items()),
        turbines=tuple(use.turbine for use in turbines),
        prices_around=_prices_around(feed, start_us, slots),
        first_slot=DAY_US // (site.time.slot_s * 1_000_000),
    )
    try:
        comparison: Comparison = await session.worker.call("twin.comparison", "compare", day)
    except SolveFailed as error:
        session.service.report(f"no comparison: {error}", "conclusion", "error")
        return Ending(start_us, slots, tariff, actual, None, stopped)
    return Ending(start_us, slots, tariff, actual, comparison, stopped)


def _prices_around(feed: Feed, start_us: int, slots: int) -> FloatArray:
    """Import prices from a day before the run to a day after it; beyond the data, twin.tariff's stand-in."""
    per_day = int(DAY_US // (feed.site.time.slot_s * 1_000_000))
    return feed.tariff(start_us - DAY_US, slots + 2 * per_day).import_per_kwh
