"""What a run cost, from what was metered and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from controller.case import FlexibleLoad, FloatArray, Tariff
from controller.costs import CostBreakdown, Curtailment, StorageUse, TurbineUse, run_cost
from twin import assets
from twin.assets import RUNNING_W
from twin.metering import MeteredSlot
from twin.site.schema import Site
from twin.store import StoreReader

Book = Sequence[Mapping[str, MeteredSlot]]
"""Closed slots, in order: device -> what it metered."""


def actual_cost(
    site: Site,
    book: Book,
    tariff: Tariff,
    flexible: Sequence[FlexibleLoad],
    soc: Mapping[str, tuple[float, float]],
    turbines: Sequence[TurbineUse],
) -> CostBreakdown:
    """Cost of the whole site over the book's slots.

    flexible : interruptible loads with the demand they would have had          soc : device -> (first, final), pu
    """
    grid = site.meter_of(site.grid.id).id
    uses = [
        StorageUse(
            assets.storage(site, site.device(device)), taken_wh(book, device), given_wh(book, device), first, final
        )
        for device, (first, final) in soc.items()
    ]
    lost = [Curtailment(load, _curtailed(load, taken_wh(book, load.id), site.time.slot_s)) for load in flexible]
    imported = given_wh(book, grid) - taken_wh(book, grid)
    return run_cost(imported, tariff, site.time.slot_s, uses, turbines, lost)


def taken_wh(book: Book, device: str) -> FloatArray:
    """Energy a device took from the bus, array (slots,), Wh; 0 where it has no such counter."""
    return np.array([float(slot[device].taken.wh) if slot[device].taken else 0.0 for slot in book])  # type: ignore[union-attr]


def given_wh(book: Book, device: str) -> FloatArray:
    """Energy a device gave to the bus, array (slots,), Wh; 0 where it has no such counter."""
    return np.array([float(slot[device].given.wh) if slot[device].given else 0.0 for slot in book])  # type: ignore[union-attr]


def states_of_charge(site: Site, reader: StoreReader, start_us: int, end_us: int) -> dict[str, tuple[float, float]]:
    """device -> (first, final) measured state of charge; absent if it never answered."""
    found = {}
    for spec in site.devices:
        if spec.kind == "storage":
            _, values = reader.series(spec.id, "soc_pu", start_us, end_us + 1)
            known = values[~np.isnan(values)]
            if known.size:
                found[spec.id] = (float(known[0]), float(known[-1]))
    return found


def turbine_uses(site: Site, book: Book, reader: StoreReader, start_us: int) -> list[TurbineUse]:
    """What every turbine did: counted energy, share of each slot's ticks with power, starts and stops."""
    return [_turbine_use(site, book, reader, spec.id, start_us) for spec in site.devices if spec.kind == "turbine"]


def _turbine_use(site: Site, book: Book, reader: StoreReader, device: str, start_us: int) -> TurbineUse:
    slots, slot_us = len(book), site.time.slot_s * 1_000_000
    tick_pu = site.time.tick_s / site.time.slot_s
    ts_us, power = reader.series(device, "p_w", start_us, start_us + slots * slot_us + 1)
    on = np.nan_to_num(power) >= RUNNING_W
    energy = given_wh(book, device)
    share = np.zeros(slots)
    # A reading at t tells of the tick that ends at t.
    np.add.at(share, np.clip((ts_us - start_us - 1) // slot_us, 0, slots - 1), on * tick_pu)
    share = np.minimum(np.where(energy > 0, np.maximum(share, tick_pu), share), 1.0)
    changes = np.diff(np.concatenate(([False], on)).astype(int))
    turbine = assets.turbine(site, site.device(device))
    return TurbineUse(turbine, energy, share, int((changes > 0).sum()), int((changes < 0).sum()))


def _curtailed(load: FlexibleLoad, taken_wh: FloatArray, slot_s: int) -> FloatArray:
    """Energy gone without; counters are whole Wh, so less than one Wh a slot is rounding, not curtailment."""
    missing = load.demand_w * slot_s / 3600 - taken_wh
    return np.where(missing > 1.0, missing, 0.0)
