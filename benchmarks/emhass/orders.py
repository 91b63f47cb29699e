"""EMHASS at work in our ideal loop: its plans as orders, held as they are or carried out through the home's meter."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.emhass.client import Client, HomePlan, HomeRequest
from benchmarks.emhass.setup import Setup, sum_of
from controller.baseline import Operation, simulate
from controller.case import FloatArray, Storage
from controller.closed_loop import Scene, slot_orders
from controller.errors import ControllerError
from controller.forecast import Forecaster
from controller.plan import Order
from controller.rules import SlotOrders

Follow = Literal["held", "metered"]
BAND_W = 50.0
"""Where a plan charges more than its surplus, or gives more than its need, by so much, it trades with the grid."""
IDLE_W = 1.0
"""Below this a planned power is the solver's noise."""
EMPTY_PU = 0.005
"""So near to its lowest state of charge a storage keeps nothing for later."""


class EmhassOrders:
    """A slot policy (controller.baseline.simulate): EMHASS plans every replan_s, each slot gets orders from the plan.

    Forecasts are the given forecaster's, from the scene's past and what was realised before the plan; the tariff is the
    scene's: what our own controller knows. Interruptible demand is demand to EMHASS, turbines stay off.
    Raises ControllerError where homes do not have one storage each, or the tariff is too short.
    """

    def __init__(
        self,
        scene: Scene,
        client: Client,
        forecaster: Forecaster,
        follow: Follow = "metered",
        setup: Setup | None = None,
    ) -> None:
        self.scene, self.client, self.forecaster, self.follow = scene, client, forecaster, follow
        setup = setup or Setup()
        self.statuses: Counter[str] = Counter()
        """EMHASS's status words, how often each came."""
        self._history = scene.history()
        self._per, self._every = setup.step_s // scene.series.slot_s, setup.replan_s // scene.series.slot_s
        self._made_at = 0
        self._plans: list[HomePlan] = []
        self._net_w: list[FloatArray] = []
        everyone = _Group(scene.series.parties, scene.storages, np.arange(len(scene.storages)))
        alone = [_Group((s.party,), (s,), np.array([k])) for k, s in enumerate(scene.storages)]
        self._groups = [everyone] if setup.scope == "site" else alone
        _check(scene, setup)

    def __call__(self, slot: int, soc_pu: FloatArray) -> SlotOrders:
        """The orders of this slot; soc_pu : (storages,), measured at its start."""
        if slot % self._every == 0:
            self._plan(slot, soc_pu)
        step = (slot - self._made_at) // self._per
        orders: list[Order | None] = [None] * len(self.scene.storages)
        for group, plan, net_w in zip(self._groups, self._plans, self._net_w, strict=True):
            order = self._order(group, plan, net_w, step)
            if order is not None:
                for index, own in zip(group.index.tolist(), group.shared(order, soc_pu[group.index]), strict=True):
                    orders[index] = own
        return slot_orders(orders, self.scene.storages)

    def _order(self, group: _Group, plan: HomePlan, net_w: FloatArray, step: int) -> Order | None:
        """None, which means selfuse, where EMHASS found no plan."""
        if step >= plan.p_battery_w.size:
            return None
        p_w = float(plan.p_battery_w[step])
        if self.follow == "held":
            return Order("fixed", round(p_w), abs(round(p_w)))
        return metered(p_w, float(net_w[step]), float(plan.soc_pu[step]), group.total)

    def _plan(self, slot: int, soc_pu: FloatArray) -> None:
        """Ask for the plans from this slot on."""
        scene, slots = self.scene, self.client.steps * self._per
        issue_us = scene.start_us + slot * scene.slot_us
        mean = self.forecaster.forecast(self._history, issue_us, slots, scene.series.slot_s).mean
        homes = []
        for group in self._groups:
            loads = [f"load/{party}" for party in group.parties]
            loads += [f"flex/{f.id}" for f in scene.flexible if f.party in group.parties]
            load_w = self._steps(np.sum([mean[name] for name in loads], axis=0))
            pv_w = self._steps(np.sum([mean[f"pv/{party}"] for party in group.parties], axis=0))
            homes.append(HomeRequest(load_w, pv_w, float(soc_pu[group.index] @ group.share)))
        prices = (scene.tariff.import_per_kwh, scene.tariff.export_per_kwh)
        self._plans = self.client.plan(homes, *(self._steps(row[slot : slot + slots]) for row in prices))
        self._net_w, self._made_at = [home.load_w - home.pv_w for home in homes], slot
        self.statuses.update(plan.status for plan in self._plans)

    def _steps(self, slots: FloatArray) -> FloatArray:
        """Means over EMHASS's steps."""
        return np.asarray(slots.reshape(-1, self._per).mean(axis=1))


@dataclass(slots=True)
class _Group:
    """What one EMHASS plans for: a home with its storage, or all of a site."""

    parties: tuple[str, ...]
    storages: tuple[Storage, ...]
    index: npt.NDArray[np.intp]
    """Of the storages in the scene."""
    total: Storage = field(init=False)
    share: FloatArray = field(init=False)
    """Of each storage in the energy of all."""

    def __post_init__(self) -> None:
        self.total = self.storages[0] if len(self.storages) == 1 else sum_of(self.storages)
        self.share = np.array([s.e_wh for s in self.storages]) / self.total.e_wh

    def shared(self, order: Order, soc_pu: FloatArray) -> list[Order]:
        """The order's power among the storages: charging by the room they have, discharging by what they hold."""
        limits = [s.soc_max_pu if order.p_ref_w < 0 else s.soc_min_pu for s in self.storages]
        weight = np.abs(np.array(limits) - soc_pu) * self.share
        weight = weight / weight.sum() if weight.sum() > 0 else self.share
        caps = [min(order.cap_w, int(max(s.p_charge_w, s.p_discharge_w))) for s in self.storages]
        rows = zip(weight.tolist(), caps, strict=True)
        return [Order(order.kind, round(w * order.p_ref_w), c, None, round(w * order.at_least_w)) for w, c in rows]


def _check(scene: Scene, setup: Setup) -> None:
    """Refuse what EMHASS cannot be asked."""
    slot_s = scene.series.slot_s
    if len({s.party for s in scene.storages}) < len(scene.storages) or min(setup.step_s, setup.replan_s) < slot_s:
        raise ControllerError(
            "two storages of one party, or steps below a slot", where="EmhassOrders", mend="one storage a home"
        )
    need = scene.series.slots - 1 + setup.horizon_s // slot_s
    if len(scene.tariff.import_per_kwh) < need:
        raise ControllerError(
            f"tariff has {len(scene.tariff.import_per_kwh)} slots, {need} needed",
            where="EmhassOrders",
            mend="add prices after the end or shorten Setup.horizon_s",
        )


def metered(p_w: float, net_w: float, soc_end_pu: float, storage: Storage) -> Order:
    """A planned power as an order that follows the home's meter wherever the plan does not trade with the grid.

    p_w : planned, bus sign     net_w : forecast of the plan, need > 0     soc_end_pu : planned for the step's end
    Charging from the grid is held. Charging from surplus stores the measured surplus. Discharging to meet a need meets
    the measured one (and stores a surplus, if it is one after all); a planned sale is the least that is given. Where
    the plan keeps energy for later the storage only stores; an empty or full one does what comes: selfuse.
    """
    p_ref, cap = round(p_w), int(max(storage.p_charge_w, storage.p_discharge_w))
    if p_w < -IDLE_W:
        bought = -p_w > max(-net_w, 0.0) + BAND_W
        return Order("fixed", p_ref, -p_ref) if bought else Order("soak", p_ref, cap)
    if p_w > IDLE_W:
        sold = p_w > max(net_w, 0.0) + BAND_W
        return Order("selfuse", p_ref, cap, at_least_w=p_ref if sold else 0)
    kept = net_w > 0 and soc_end_pu > storage.soc_min_pu + EMPTY_PU
    return Order("soak" if kept else "selfuse", 0, cap)


def simulate_emhass(
    scene: Scene,
    client: Client,
    forecaster: Forecaster,
    follow: Follow = "metered",
    setup: Setup | None = None,
) -> tuple[Operation, EmhassOrders]:
    """Operate the scene by EMHASS, netting where it plans; the client must be one of the same setup (Setup.client)."""
    setup = setup or Setup()
    orders = EmhassOrders(scene, client, forecaster, follow, setup)
    return simulate(scene.series, scene.storages, orders, setup.scope), orders
