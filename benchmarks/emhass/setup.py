"""How EMHASS is run beside us: steps, horizon, and the keys of its configuration that differ from its defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.emhass.client import Client, Setting
from controller.case import Storage, Tariff
from controller.errors import ControllerError

CONNECTION_PU = 5
"""A connection beside the battery's power: 25 kW for a home's 5 kW. EMHASS's default of 9 kW would make some plans of a
charging home infeasible, and all of a large building."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A new plan each step, of which the first step is carried out, is how EMHASS's users run its MPC."""

    scope: Literal["home", "site"] = "home"
    """home: one EMHASS a home, as its users run it. site: one for all, told the sum of demand, PV and batteries; it
    belongs to a loop that nets at the site's meter."""
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
        powers = [max(s.p_charge_w, s.p_discharge_w) for s in storages]
        connection_w = CONNECTION_PU * (sum(powers) if self.scope == "site" else max(powers, default=0.0))
        return {
            # energy is left where it is worth something within the horizon, not tied up at its end
            "battery_target_state_of_charge": min((s.soc_min_pu for s in storages), default=0.0),
            "maximum_power_from_grid": connection_w,
            "maximum_power_to_grid": connection_w,
            # EMHASS's default; it also saves two thirds of the solver's time. Off where a sale can pay.
            "set_nodischarge_to_grid": not any(sale_pays(tariff, storage) for storage in storages),
            **self.settings,
        }

    def client(self, tariff: Tariff, storages: Sequence[Storage]) -> Client:
        """A started EMHASS for these homes and any number of days; whether it may sell from store is this tariff's."""
        units = [sum_of(storages)] if self.scope == "site" else storages
        return Client(units, self.step_s, self.steps, self.chosen(tariff, storages))


def sale_pays(tariff: Tariff, storage: Storage) -> bool:
    """Whether energy stored at the lowest price (bought, or not sold) could ever be sold from the store with a gain."""
    lowest = min(float(tariff.import_per_kwh.min()), float(tariff.export_per_kwh.min())) + storage.wear_charge_per_kwh
    best = float(tariff.export_per_kwh.max()) - storage.wear_discharge_per_kwh
    return best * storage.eta_charge * storage.eta_discharge > lowest


def sum_of(storages: Sequence[Storage]) -> Storage:
    """One storage that stands for all: sums of energies and ratings, efficiencies, wear and SOC weighted by energy."""
    e_wh = sum(s.e_wh for s in storages)
    means = ("eta_charge", "eta_discharge", "soc_pu", "soc_min_pu", "soc_max_pu")
    wear = ("wear_charge_per_kwh", "wear_discharge_per_kwh")
    weighted = {name: sum(s.e_wh * getattr(s, name) for s in storages) / e_wh for name in (*means, *wear)}
    p_charge_w, p_discharge_w = sum(s.p_charge_w for s in storages), sum(s.p_discharge_w for s in storages)
    return Storage("all", "site", e_wh, p_charge_w, p_discharge_w, **weighted)
