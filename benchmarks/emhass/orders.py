"""EMHASS at work in our ideal loop: its plans as orders, held as they are or carried out through the home's meter."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from benchmarks.emhass.client import Client, HomePlan, HomeRequest
from benchmarks.emhass.setup import Setup
from controller.baseline import Netting, Operation, simulate
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
    scene's: what our own controller knows. Each home plans alone, as EMHASS does. Interruptible demand is demand to it,
    turbines stay off. Raises ControllerError where homes do not have one storage each, or the tariff is too short.
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
        need = scene.series.slots - 1 + setup.horizon_s // scene.series.slot_s
        if len({s.party for s in scene.storages}) < len(scene.storages) or not self._per or not self._every:
            raise ControllerError(
                "two storages of one party, or steps below a slot", where="EmhassOrders", mend="one storage a home"
            )
        if len(scene.tariff.import_per_kwh) < need:
            raise ControllerError(
                f"tariff has {len(scene.tariff.import_per_kwh)} slots, {need} needed",
                where="EmhassOrders",
                mend="add prices after the end or shorten Setup.horizon_s",
            )

    def __call__(self, slot: int, soc_pu: FloatArray) -> SlotOrders:
        """The orders of this slot; soc_pu : (storages,), measured at its start."""
        if slot % self._every == 0:
            self._plan(slot, soc_pu)
        step = (slot - self._made_at) // self._per
        rows = zip(self._plans, self._net_w, self.scene.storages, strict=True)
        return slot_orders([self._order(plan, net, step, s) for plan, net, s in rows], self.scene.storages)

    def _order(self, plan: HomePlan, net_w: FloatArray, step: int, storage: Storage) -> Order | None:
        """None, which means selfuse, where EMHASS found no plan."""
        if step >= plan.p_battery_w.size:
            return None
        p_w = float(plan.p_battery_w[step])
        if self.follow == "held":
            return Order("fixed", round(p_w), abs(round(p_w)))
        return metered(p_w, float(net_w[step]), float(plan.soc_pu[step]), storage)

    def _plan(self, slot: int, soc_pu: FloatArray) -> None:
        """Ask for the plans from this slot on."""
        scene, slots = self.scene, self.client.steps * self._per
        issue_us = scene.start_us + slot * scene.slot_us
        mean = self.forecaster.forecast(self._history, issue_us, slots, scene.series.slot_s).mean
        loads, pvs = [], []
        for storage in scene.storages:
            own = [f"load/{storage.party}", *(f"flex/{f.id}" for f in scene.flexible if f.party == storage.party)]
            loads.append(self._steps(np.sum([mean[name] for name in own], axis=0)))
            pvs.append(self._steps(mean[f"pv/{storage.party}"]))
        homes = [HomeRequest(*row) for row in zip(loads, pvs, soc_pu.tolist(), strict=True)]
        prices = (scene.tariff.import_per_kwh, scene.tariff.export_per_kwh)
        self._plans = self.client.plan(homes, *(self._steps(row[slot : slot + slots]) for row in prices))
        self._net_w, self._made_at = [load - pv for load, pv in zip(loads, pvs, strict=True)], slot
        self.statuses.update(plan.status for plan in self._plans)

    def _steps(self, slots: FloatArray) -> FloatArray:
        """Means over EMHASS's steps."""
        return np.asarray(slots.reshape(-1, self._per).mean(axis=1))


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
    netting: Netting = "home",
) -> tuple[Operation, EmhassOrders]:
    """Operate the scene by EMHASS; the client must be one of the same setup (Setup.client)."""
    orders = EmhassOrders(scene, client, forecaster, follow, setup)
    return simulate(scene.series, scene.storages, orders, netting), orders
