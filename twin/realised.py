"""The day as it was: what rules and perfect foresight are given, and a run never sees beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from controller.case import FlexibleLoad, FloatArray, Storage, Tariff, Turbine
from twin import assets
from twin.site.schema import Site

STEP_S = 60
SeriesSource = Callable[[str, int, int], float | None]
"""(series id, t0_us, t1_us) -> mean W, None in a gap."""


@dataclass(frozen=True, slots=True)
class Realised:
    """Demand, available PV and prices of a run's slots. Plain arrays: it travels to the solver process."""

    parties: tuple[str, ...]
    load_w: FloatArray
    """(parties, minutes), interruptible demand included."""
    pv_w: FloatArray
    """(parties, minutes), available PV."""
    slot_s: int
    tariff: Tariff
    flexible: tuple[FlexibleLoad, ...]
    """Interruptible loads with their realised demand per slot (already part of the parties' load)."""
    storages: tuple[Storage, ...]
    """With the state of charge at the run's start."""
    turbines: tuple[Turbine, ...]
    prices_around: FloatArray
    """Import price from a day before the run to a day after it, for the rules."""
    first_slot: int
    """Index of the run's first slot in prices_around."""


def powers(
    site: Site, source: SeriesSource, start_us: int, slots: int
) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
    """(parties, demand, available PV), minute by minute, W, as the plant was fed with them; every party but the grid.

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
            values = _minutes(source, str(name), start_us, steps) * float(spec.model.get("share", 1.0))
            (pv if spec.kind == "pv" else load)[row] += values
    return parties, load, pv


def flexible_demand(site: Site, source: SeriesSource, start_us: int, slots: int) -> tuple[FlexibleLoad, ...]:
    """Interruptible loads with the demand they would have had uncurtailed, per slot."""
    per_slot = site.time.slot_s // STEP_S
    found = []
    for spec in site.devices:
        if spec.kind == "load":
            row = _minutes(source, str(spec.model["series"]), start_us, slots * per_slot)
            demand_w = row.reshape(slots, per_slot).mean(axis=1) * float(spec.model.get("share", 1.0))
            found.append(assets.flexible_load(site, spec, demand_w))
    return tuple(found)


def _minutes(source: SeriesSource, name: str, start_us: int, steps: int) -> FloatArray:
    step_us = STEP_S * 1_000_000
    row = (source(name, start_us + k * step_us, start_us + (k + 1) * step_us) for k in range(steps))
    return np.array([0.0 if value is None else value for value in row])
