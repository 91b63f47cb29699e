"""The one cost function: what a run, a rule, a simulation or a bound costs the whole site.

CONTRACT "Figures of a run": net energy at the grid meter x tariff or feed-in, fuel, wear per kWh of throughput,
curtailment at its comfort price, and a changed state of charge valued at the run's mean import price x discharge
efficiency. Payments inside the site cancel and do not appear. Every part is a cost: an earning is negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.case import FlexibleLoad, FloatArray, Storage, Tariff, Turbine
from controller.errors import ControllerError


@dataclass(frozen=True, slots=True)
class CostBreakdown:
    """Costs of a run in the site's currency; total is the sum of the others."""

    import_: float
    export: float
    """Earnings from feed-in as a cost: <= 0 while feed-in prices are positive."""
    fuel: float
    """Turbines: fuel while on, starts and stops."""
    wear: float
    comfort: float
    """Compensation for curtailed demand."""
    end_soc: float
    """Energy that storages lost over the run (negative: gained) at its mean import price x discharge efficiency."""
    excess: float = 0.0
    """Price of import above a feeder's limit; 0 where there is none."""

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.import_ + self.export + self.fuel + self.wear + self.comfort + self.end_soc + self.excess


@dataclass(frozen=True, slots=True)
class FeederLimit:
    """What the site may draw from the grid, as a slot's mean power, and the price of each kWh above it."""

    import_max_w: float
    excess_per_kwh: float

    def excess_cost(self, grid_wh: FloatArray, slot_s: int) -> float:
        """Price of what was imported above the limit; grid_wh: array (slots,), import > 0."""
        above_wh = np.maximum(np.asarray(grid_wh, dtype=np.float64) - self.import_max_w * slot_s / 3600, 0.0)
        return float(above_wh.sum()) / 1000 * self.excess_per_kwh


@dataclass(frozen=True, slots=True)
class StorageUse:
    """What one storage did: energies on the bus side per slot, Wh >= 0, and its state of charge before and after."""

    storage: Storage
    charged_wh: FloatArray
    discharged_wh: FloatArray
    soc_first_pu: float
    soc_final_pu: float


@dataclass(frozen=True, slots=True)
class TurbineUse:
    """What one turbine did: energy per slot, Wh >= 0, and the share of each slot in which it was on."""

    turbine: Turbine
    energy_wh: FloatArray
    on_pu: FloatArray
    starts: int = 0
    stops: int = 0


@dataclass(frozen=True, slots=True)
class Curtailment:
    """Energy that an interruptible load went without, Wh per slot."""

    load: FlexibleLoad
    curtailed_wh: FloatArray


def run_cost(
    grid_wh: FloatArray,
    tariff: Tariff,
    slot_s: int,
    storages: Sequence[StorageUse] = (),
    turbines: Sequence[TurbineUse] = (),
    curtailments: Sequence[Curtailment] = (),
    feeder: FeederLimit | None = None,
) -> CostBreakdown:
    """Cost of a run of the whole site.

    grid_wh : array (slots,), net energy at the grid meter per slot, Wh, import > 0
    tariff : prices of the same slots, currency per kWh          slot_s : length of a slot, s (15 minutes: 900)
    Raises ControllerError where lengths differ or an energy or price is unknown (NaN).
    """
    _check("grid_wh", grid_wh, tariff)
    import_, export = exchange_cost(grid_wh, tariff)
    hours = slot_s / 3600
    return CostBreakdown(
        import_=import_,
        export=export,
        fuel=sum(fuel_cost(use, hours) for use in turbines),
        wear=sum(wear_cost(use) for use in storages),
        comfort=sum(comfort_cost(use, hours) for use in curtailments),
        end_soc=sum(end_soc_cost(use, tariff) for use in storages),
        excess=0.0 if feeder is None else feeder.excess_cost(grid_wh, slot_s),
    )


def exchange_cost(grid_wh: FloatArray, tariff: Tariff) -> tuple[float, float]:
    """(cost of import, cost of export: negative when paid for), from net energies per slot in Wh."""
    kwh = np.asarray(grid_wh, dtype=np.float64) / 1000
    return (
        float(np.maximum(kwh, 0.0) @ tariff.import_per_kwh),
        float(np.minimum(kwh, 0.0) @ tariff.export_per_kwh),
    )


def fuel_cost(use: TurbineUse, hours: float) -> float:
    """Fuel, starts and stops of one turbine: (a P^2 + b P + c) per hour on, P in kW the mean power while on."""
    turbine, on_h = use.turbine, np.asarray(use.on_pu, dtype=np.float64) * hours
    kwh = np.asarray(use.energy_wh, dtype=np.float64) / 1000
    if np.any((on_h <= 0) & (kwh > 1e-9)):
        raise ControllerError("energy in a slot in which it was off", where=turbine.id, mend="give on_pu > 0 there")
    square = np.divide(kwh**2, on_h, out=np.zeros_like(kwh), where=on_h > 0)
    running = turbine.cost_a_per_kw2h * square + turbine.cost_b_per_kwh * kwh + turbine.cost_c_per_h * on_h
    return float(running.sum()) + use.starts * turbine.start_cost + use.stops * turbine.stop_cost


def wear_cost(use: StorageUse) -> float:
    """Wear of one storage, per kWh charged and discharged on the bus side."""
    charged, discharged = float(np.sum(use.charged_wh)), float(np.sum(use.discharged_wh))
    storage = use.storage
    return (charged * storage.wear_charge_per_kwh + discharged * storage.wear_discharge_per_kwh) / 1000


def comfort_cost(use: Curtailment, hours: float) -> float:
    """Compensation of one interruptible load: beta x + beta2 x^2 per hour of curtailing x kW."""
    kw = np.asarray(use.curtailed_wh, dtype=np.float64) / 1000 / hours
    return float(np.sum(use.load.beta_per_kwh * kw + use.load.beta2_per_kw2h * kw**2) * hours)


def end_price(storage: Storage, tariff: Tariff) -> float:
    """Worth of a kWh stored at the run's end: mean import price x discharge efficiency, currency per kWh stored."""
    return float(np.mean(tariff.import_per_kwh)) * storage.eta_discharge


def end_soc_cost(use: StorageUse, tariff: Tariff) -> float:
    """Cost of energy that a storage lost over the run (negative: gained)."""
    lost_kwh = (use.soc_first_pu - use.soc_final_pu) * use.storage.e_wh / 1000
    return lost_kwh * end_price(use.storage, tariff)


def _check(name: str, values: FloatArray, tariff: Tariff) -> None:
    """Same length as the tariff, nothing unknown. An unknown energy is estimated before it is priced, never here."""
    for row_name, row in ((name, values), ("import", tariff.import_per_kwh), ("export", tariff.export_per_kwh)):
        if np.shape(row) != np.shape(values):
            raise ControllerError(f"{np.size(row)} slots, {name} has {np.size(values)}", where=row_name)
        if not np.all(np.isfinite(row)):
            slot = int(np.flatnonzero(~np.isfinite(row))[0])
            raise ControllerError(
                f"unknown value in slot {slot}",
                where=row_name,
                mend="substitute an estimate and flag it before pricing",
            )
