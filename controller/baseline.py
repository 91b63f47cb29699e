"""Fast simulation of a site with an ideal meter loop: no wires, no lag, the same battery model and the same law.

Used for the figures that every run is compared with (no_control, the rules), for sweeps, and to tell what the real
loop loses. All arrays are (rows, steps) of mean powers; a slot is a whole number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from controller.case import FloatArray, Storage, Tariff
from controller.costs import CostBreakdown, Curtailment, FeederLimit, StorageUse, TurbineUse, run_cost
from controller.dispatch import reachable_w, wanted_w
from controller.errors import ControllerError
from controller.rules import Rule, RuleName, SlotOrders

Netting = Literal["home", "site"]
"""Which net load the storages meet: that of their own party's meter, or that of the whole site."""


@dataclass(frozen=True, slots=True)
class SiteSeries:
    """What was realised: demand and available PV of each party, as mean powers per step."""

    parties: tuple[str, ...]
    load_w: FloatArray
    """(parties, steps), demand with nothing curtailed, >= 0."""
    pv_w: FloatArray
    """(parties, steps), available PV power, >= 0."""
    step_s: int
    slot_s: int = 900

    def __post_init__(self) -> None:
        if self.load_w.shape != self.pv_w.shape or self.load_w.shape[0] != len(self.parties):
            raise ControllerError(
                f"load {self.load_w.shape}, pv {self.pv_w.shape}, {len(self.parties)} parties",
                where="SiteSeries",
                mend="one row a party, one column a step",
            )
        if self.slot_s % self.step_s or self.load_w.shape[1] % self.steps_per_slot:
            raise ControllerError(
                f"{self.load_w.shape[1]} steps of {self.step_s} s do not fill slots of {self.slot_s} s",
                where="SiteSeries",
                mend="cut the series at slot edges",
            )

    @property
    def steps_per_slot(self) -> int:
        """Steps in a slot."""
        return self.slot_s // self.step_s

    @property
    def slots(self) -> int:
        """Whole slots."""
        return int(self.load_w.shape[1]) // self.steps_per_slot

    def slot_means(self, rows: FloatArray) -> FloatArray:
        """(rows, steps) of mean powers as (rows, slots)."""
        return np.asarray(rows.reshape(*rows.shape[:-1], self.slots, self.steps_per_slot).mean(axis=-1))

    @property
    def site_net_w(self) -> FloatArray:
        """(slots,): demand less PV of all parties."""
        return np.asarray(self.slot_means(self.load_w - self.pv_w).sum(axis=0))

    @property
    def site_pv_w(self) -> FloatArray:
        """(slots,): available PV of all parties."""
        return np.asarray(self.slot_means(self.pv_w).sum(axis=0))


@dataclass(frozen=True, slots=True)
class Operation:
    """What a simulated run did, per slot; energies in Wh on the bus side."""

    slot_s: int
    grid_wh: FloatArray
    """(slots,), import > 0."""
    party_wh: FloatArray
    """(parties, slots), given to the bus > 0: what the settlement meters would count, net."""
    storages: tuple[Storage, ...]
    charged_wh: FloatArray
    """(storages, slots)."""
    discharged_wh: FloatArray
    soc_pu: FloatArray
    """(storages, slots + 1): at each slot's start, and at the end."""
    turbines: tuple[TurbineUse, ...] = ()
    curtailments: tuple[Curtailment, ...] = ()

    def cost(self, tariff: Tariff, feeder: FeederLimit | None = None) -> CostBreakdown:
        """What it cost the whole site (controller.costs)."""
        uses = [
            StorageUse(
                s, self.charged_wh[k], self.discharged_wh[k], float(self.soc_pu[k, 0]), float(self.soc_pu[k, -1])
            )
            for k, s in enumerate(self.storages)
        ]
        return run_cost(self.grid_wh, tariff, self.slot_s, uses, self.turbines, self.curtailments, feeder)


SlotPolicy = Callable[[int, FloatArray], SlotOrders]
"""(slot, state of charge of all storages at its start) -> their orders for the slot."""


@dataclass(slots=True)
class StorageBank:
    """Several batteries stepped together: one-way efficiencies, state-of-charge limits, ratings, 1 W quantum."""

    storages: tuple[Storage, ...]
    soc_pu: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.soc_pu = self._row("soc_pu")
        self.e_wh = self._row("e_wh")
        self.eta_charge, self.eta_discharge = self._row("eta_charge"), self._row("eta_discharge")
        self.p_charge_w, self.p_discharge_w = self._row("p_charge_w"), self._row("p_discharge_w")
        self.soc_min_pu, self.soc_max_pu = self._row("soc_min_pu"), self._row("soc_max_pu")

    e_wh: FloatArray = field(init=False)
    eta_charge: FloatArray = field(init=False)
    eta_discharge: FloatArray = field(init=False)
    p_charge_w: FloatArray = field(init=False)
    p_discharge_w: FloatArray = field(init=False)
    soc_min_pu: FloatArray = field(init=False)
    soc_max_pu: FloatArray = field(init=False)

    def _row(self, name: str) -> FloatArray:
        return np.array([getattr(s, name) for s in self.storages], dtype=np.float64)

    def limits_w(self, dt_s: float) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest power that each can hold for dt_s."""
        return reachable_w(
            self.p_charge_w,
            self.p_discharge_w,
            self.e_wh,
            self.eta_charge,
            self.eta_discharge,
            self.soc_pu - self.soc_min_pu,
            self.soc_max_pu - self.soc_pu,
            dt_s,
        )

    def step(self, p_w: FloatArray, dt_s: float) -> None:
        """Hold p_w (bus sign, within limits_w) for dt_s."""
        hours = dt_s / 3600
        stored_wh = (np.maximum(-p_w, 0.0) * self.eta_charge - np.maximum(p_w, 0.0) / self.eta_discharge) * hours
        self.soc_pu = np.clip(self.soc_pu + stored_wh / self.e_wh, 0.0, 1.0)


class MeterLoop:
    """The fast loop over one site: each step every storage meets its net load as its order allows."""

    def __init__(
        self,
        site: SiteSeries,
        storages: Sequence[Storage],
        netting: Netting = "home",
        import_max_w: float = float("inf"),
    ) -> None:
        """import_max_w : what the site's meter may show before storages help out whatever their orders (site netting).

        Raises ControllerError where a storage belongs to no party of the series.
        """
        self.site, self.netting, self.import_max_w = site, netting, import_max_w
        self.bank = StorageBank(tuple(storages))
        owners = [s.party for s in storages]
        for storage in storages:
            if storage.party not in site.parties:
                raise ControllerError(f"party {storage.party!r} has no series", where=storage.id, mend="add its load")
        self._owner = np.array([site.parties.index(p) for p in owners], dtype=np.intp)
        self._groups = [np.flatnonzero(self._owner == k) for k in sorted(set(self._owner.tolist()))]
        shape = (len(owners), site.slots)
        self.charged_wh, self.discharged_wh = np.zeros(shape), np.zeros(shape)
        self.soc_pu = np.zeros((len(owners), site.slots + 1))
        self.net_w = site.load_w - site.pv_w
        """(parties, steps), need > 0, without storages; a policy may lower it (curtailment) before the slot runs."""
        self.supply_w = np.zeros(site.load_w.shape[1])
        """(steps,), power of the operator's own devices, seen by site netting only."""

    def run_slot(self, slot: int, orders: SlotOrders) -> None:
        """Step through one slot under its orders."""
        dt_s, per = float(self.site.step_s), self.site.steps_per_slot
        self.soc_pu[:, slot] = self.bank.soc_pu
        drawn_w = 0.0
        for step in range(slot * per, (slot + 1) * per):
            low, high = self.bank.limits_w(dt_s)
            left = (slot + 1) * per - step
            power = self._powers(orders, step, low, high, (self.import_max_w * per - drawn_w) / left)
            if self.netting == "site":
                drawn_w += self._need_w(step) - float(power.sum())
            self.bank.step(power, dt_s)
            self.charged_wh[:, slot] += np.maximum(-power, 0.0) * (dt_s / 3600)
            self.discharged_wh[:, slot] += np.maximum(power, 0.0) * (dt_s / 3600)
        self.soc_pu[:, slot + 1] = self.bank.soc_pu

    def _need_w(self, step: int) -> float:
        """Net load of the site without its storages."""
        return float(self.net_w[:, step].sum() - self.supply_w[step])

    def _powers(
        self, orders: SlotOrders, step: int, low: FloatArray, high: FloatArray, import_max_w: float
    ) -> FloatArray:
        """import_max_w : what may be drawn for the rest of the slot, so that its mean keeps the limit."""
        if self.netting == "site":
            need = self._need_w(step)
            return guarded_w(shared_w(orders, need, low, high), need, import_max_w, orders, high)
        if len(self._groups) < len(self._owner):
            power = np.zeros(len(self._owner))
            for group in self._groups:
                need = float(self.net_w[self._owner[group[0]], step])
                power[group] = shared_w(orders.of(group), need, low[group], high[group])
            return power
        met = wanted_w(orders.cover, orders.soak, orders.cap_w, self.net_w[self._owner, step], orders.at_least_w)
        wanted = np.where(orders.fixed, orders.p_ref_w, met)
        return np.asarray(np.minimum(np.maximum(np.rint(wanted), low), high))

    def operation(self, turbines: Sequence[TurbineUse] = (), curtailments: Sequence[Curtailment] = ()) -> Operation:
        """What was done, once all slots have run."""
        site, hours = self.site, self.site.slot_s / 3600
        party_wh = -site.slot_means(self.net_w) * hours
        np.add.at(party_wh, self._owner, self.discharged_wh - self.charged_wh)
        supplied = np.zeros(site.slots)
        for use in turbines:
            supplied += use.energy_wh
        return Operation(
            slot_s=site.slot_s,
            grid_wh=-(party_wh.sum(axis=0) + supplied),
            party_wh=party_wh,
            storages=self.bank.storages,
            charged_wh=self.charged_wh,
            discharged_wh=self.discharged_wh,
            soc_pu=self.soc_pu,
            turbines=tuple(turbines),
            curtailments=tuple(curtailments),
        )


def shared_w(orders: SlotOrders, need_w: float, low_w: FloatArray, high_w: FloatArray) -> FloatArray:
    """Powers of storages that share one net load, array (storages,): dispatch.shared_setpoints_w as arrays.

    Fixed orders and planned sales first; what is left is met in merit order of the worth of stored energy, ties by
    position.
    """
    first = np.where(orders.fixed, orders.p_ref_w, orders.at_least_w)
    power = np.minimum(np.maximum(np.rint(first), low_w), high_w)
    rest = need_w - float(power.sum())
    merit = np.argsort(orders.value_per_kwh if rest >= 0 else -orders.value_per_kwh, kind="stable")
    free = ~orders.fixed[merit]
    upper = np.where(free & orders.cover[merit], (np.minimum(high_w, orders.cap_w) - power)[merit], 0.0)
    lower = np.where(free & orders.soak[merit], (np.maximum(low_w, -orders.cap_w) - power)[merit], 0.0)
    room = np.maximum(upper if rest >= 0 else -lower, 0.0)
    before = np.cumsum(room) - room
    share = np.minimum(np.maximum(abs(np.rint(rest)) - before, 0.0), room)
    power[merit] += share if rest >= 0 else -share
    return power


def guarded_w(
    power: FloatArray, need_w: float, import_max_w: float, orders: SlotOrders, high_w: FloatArray
) -> FloatArray:
    """Powers that keep the site's import at its limit as far as the storages reach.

    Charging gives way first, evenly; only then is energy given, the cheapest first: nobody charges while another gives.
    """
    above = need_w - float(power.sum()) - import_max_w
    if above <= 0:
        return power
    charging = -np.minimum(power, 0.0)
    total = float(charging.sum())
    eased = power + charging * min(above / total, 1.0) if total > 0 else power
    above = np.ceil(above - total)
    if above <= 0:
        return np.asarray(np.ceil(eased))
    merit = np.argsort(orders.value_per_kwh, kind="stable")
    room = np.maximum(high_w - eased, 0.0)[merit]
    before = np.cumsum(room) - room
    eased[merit] += np.minimum(np.maximum(above - before, 0.0), room)
    return eased


def simulate(site: SiteSeries, storages: Sequence[Storage], policy: SlotPolicy, netting: Netting = "home") -> Operation:
    """Run a policy over the whole series with an ideal meter loop. `Storage.soc_pu` is the state at the start."""
    loop = MeterLoop(site, storages, netting)
    for slot in range(site.slots):
        loop.run_slot(slot, policy(slot, loop.bank.soc_pu.copy()))
    return loop.operation()


def no_control(site: SiteSeries, storages: Sequence[Storage] = ()) -> Operation:
    """Storage idle, turbines off, nothing curtailed."""
    loop = MeterLoop(site, storages, "site")
    loop.soc_pu[:] = loop.bank.soc_pu[:, None]
    return loop.operation()


def rule(
    name: RuleName,
    site: SiteSeries,
    storages: Sequence[Storage],
    import_per_kwh: FloatArray,
    first_slot: int = 0,
    netting: Netting = "home",
) -> Operation:
    """Run one of controller.rules, turbines off.

    import_per_kwh : array of slots, at best with a day before and after the run; first_slot : its index of the run's
    first slot.
    """
    law = Rule(name, storages, import_per_kwh, site.slot_s)
    return simulate(site, storages, lambda slot, soc: law.orders(slot + first_slot, soc), netting)
