"""What a run cost, and what others would have made of the same day: no control, the rules, perfect foresight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller import foresight
from controller.baseline import SiteSeries, no_control, rule
from controller.case import FlexibleLoad, FloatArray, Storage, Tariff, Turbine
from controller.rules import RuleName
from controller.costs import CostBreakdown, Curtailment, StorageUse, TurbineUse, run_cost
from twin import assets
from twin.metering import MeteredSlot
from twin.site.schema import Site

STEP_S = 60
SeriesSource = Callable[[str, int, int], float | None]
"""(series id, t0_us, t1_us) -> mean W, None in a gap."""


@dataclass(frozen=True, slots=True)
class Realised:
    """The day as it was: demand, available PV and prices of a run's slots, known to rules and foresight alone."""

    series: SiteSeries
    tariff: Tariff
    flexible: tuple[FlexibleLoad, ...]
    """Interruptible loads with their realised demand (already part of the parties' load)."""
    storages: tuple[Storage, ...]
    """With the state of charge at the run's start."""
    turbines: tuple[Turbine, ...]
    prices_around: FloatArray
    """Import price from a day before the run to a day after it, for the rules."""
    first_slot: int
    """Index of the run's first slot in prices_around."""


def realised_series(site: Site, source: SeriesSource, start_us: int, slots: int) -> SiteSeries:
    """Demand and available PV of every party but the grid, minute by minute, as the plant was fed with them.

    A gap counts as 0, exactly as the emulated plant treats it.
    """
    parties = tuple(party.id for party in site.parties if party.role != "grid")
    steps = slots * site.time.slot_s // STEP_S
    load, pv = np.zeros((len(parties), steps)), np.zeros((len(parties), steps))
    for row, party in enumerate(parties):
        for spec in site.devices_of(party):
            name = spec.model.get("series")
            if name is None:
                continue
            values = minutes(source, str(name), start_us, steps) * float(spec.model.get("share", 1.0))
            (pv if spec.kind == "pv" else load)[row] += values
    return SiteSeries(parties, load, pv, STEP_S, site.time.slot_s)


def minutes(source: SeriesSource, name: str, start_us: int, steps: int) -> FloatArray:
    """Mean power of each minute, W, array (steps,); 0 in a gap."""
    step_us = STEP_S * 1_000_000
    row = (source(name, start_us + k * step_us, start_us + (k + 1) * step_us) for k in range(steps))
    return np.array([0.0 if value is None else value for value in row])


def realised_demand(site: Site, source: SeriesSource, start_us: int, slots: int) -> tuple[FlexibleLoad, ...]:
    """Interruptible loads with the demand they would have had uncurtailed, per slot."""
    per_slot = site.time.slot_s // STEP_S
    found = []
    for spec in site.devices:
        if spec.kind == "load":
            row = minutes(source, str(spec.model["series"]), start_us, slots * per_slot) * float(
                spec.model.get("share", 1.0)
            )
            found.append(assets.flexible_load(site, spec, row.reshape(slots, per_slot).mean(axis=1)))
    return tuple(found)


def actual_cost(
    site: Site,
    book: Sequence[Mapping[str, MeteredSlot]],
    tariff: Tariff,
    flexible: Sequence[FlexibleLoad],
    soc: Mapping[str, tuple[float, float]],
    running: Mapping[str, TurbineUse],
) -> CostBreakdown:
    """Cost of the whole site from what was metered.

    book : a mapping device -> MeteredSlot per slot          soc : device -> (first, final) state of charge, pu
    """
    slots = len(book)
    grid = site.meter_of(site.grid.id).id

    def row(device: str, part: str) -> FloatArray:
        metered = (slot.get(device) for slot in book)
        energies = (None if one is None else getattr(one, part) for one in metered)
        return np.array([0.0 if energy is None else float(energy.wh) for energy in energies])

    uses = []
    for spec in site.devices:
        if spec.kind == "storage" and spec.id in soc:
            unit = assets.storage(site, spec)
            uses.append(StorageUse(unit, row(spec.id, "taken"), row(spec.id, "given"), *soc[spec.id]))
    lost = [Curtailment(load, _curtailed(load, row(load.id, "taken")[:slots], site.time.slot_s)) for load in flexible]
    return run_cost(
        row(grid, "given") - row(grid, "taken"), tariff, site.time.slot_s, uses, list(running.values()), lost
    )


def _curtailed(load: FlexibleLoad, taken_wh: FloatArray, slot_s: int) -> FloatArray:
    """Energy gone without; counters are whole Wh, so less than one Wh a slot is rounding, not curtailment."""
    missing = load.demand_w * slot_s / 3600 - taken_wh
    return np.where(missing > 1.0, missing, 0.0)


@dataclass(frozen=True, slots=True)
class Reference:
    """What one way of operating the same day would have cost."""

    cost: CostBreakdown
    grid_wh: FloatArray


def references(day: Realised) -> dict[str, Reference]:
    """no_control and the rules on the same day, turbine off (module-level: runs in the solver process)."""
    runs = {"no_control": no_control(day.series, day.storages)}
    rules: tuple[RuleName, ...] = ("selfuse", "tou_night")
    for name in rules:
        runs[name] = rule(name, day.series, day.storages, day.prices_around, day.first_slot)
    return {name: Reference(operation.cost(day.tariff), operation.grid_wh) for name, operation in runs.items()}


def foresight_site(site: Site, day: Realised) -> foresight.Site:
    """The day as perfect foresight sees it: the same devices, slot means, the feeder's limits not applied (a bound)."""
    net_w = day.series.slot_means(day.series.load_w - day.series.pv_w).sum(axis=0)
    return foresight.Site(
        net_w=net_w,
        tariff=day.tariff,
        slot_s=site.time.slot_s,
        storages=day.storages,
        turbines=day.turbines,
        flexible=day.flexible,
        pv_w=day.series.slot_means(day.series.pv_w).sum(axis=0),
    )
