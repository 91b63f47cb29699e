"""How EMHASS is run beside us: steps, horizon, and the keys of its configuration that differ from its defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.emhass.client import Client, Setting
from controller.case import Storage, Tariff
from controller.errors import ControllerError

GRID_W = 25_000
"""A home's connection, W; EMHASS's default of 9 kW would make some plans of a charging home infeasible."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A new plan each step, of which the first step is carried out, is how EMHASS's users run its MPC."""

    step_s: int = 3600
    replan_s: int = 3600
    horizon_s: int = 28 * 3600
    """As far as our own window and its tail look."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Further keys of EMHASS's config.json; they win over those chosen here."""

    def __post_init__(self) -> None:
        if self.replan_s > self.horizon_s or self.horizon_s % self.step_s:
            raise ControllerError(
                f"horizon of {self.horizon_s} s, steps of {self.step_s} s, a plan every {self.replan_s} s",
                where="emhass.Setup",
                mend="make the horizon whole steps and no shorter than the time between plans",
            )

    @property
    def steps(self) -> int:
        """Steps of the horizon."""
        return self.horizon_s // self.step_s

    def chosen(self, tariff: Tariff, storages: Sequence[Storage]) -> dict[str, Setting]:
        """All settings for these storages under this tariff."""
        return {
            # energy is left where it is worth something within the horizon, not tied up at its end
            "battery_target_state_of_charge": min((s.soc_min_pu for s in storages), default=0.0),
            "maximum_power_from_grid": GRID_W,
            "maximum_power_to_grid": GRID_W,
            # EMHASS's default; it also saves two thirds of the solver's time. Off where a sale can pay.
            "set_nodischarge_to_grid": not any(sale_pays(tariff, storage) for storage in storages),
            **self.settings,
        }

    def client(self, tariff: Tariff, storages: Sequence[Storage]) -> Client:
        """A started EMHASS for these homes. It serves any number of days of the same storages and kind of tariff."""
        return Client(storages, self.step_s, self.steps, self.chosen(tariff, storages))


def sale_pays(tariff: Tariff, storage: Storage) -> bool:
    """Whether energy stored at the lowest price (bought, or not sold) could ever be sold from the store with a gain."""
    lowest = min(float(tariff.import_per_kwh.min()), float(tariff.export_per_kwh.min())) + storage.wear_charge_per_kwh
    best = float(tariff.export_per_kwh.max()) - storage.wear_discharge_per_kwh
    return best * storage.eta_charge * storage.eta_discharge > lowest
