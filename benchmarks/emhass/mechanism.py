"""EMHASS as a mechanism of the ideal loop: `vpptwin sweep --policies benchmarks.emhass.mechanism:Metered`."""

from __future__ import annotations

import numpy as np

from benchmarks.emhass.client import Client, HomePlan, HomeRequest
from benchmarks.emhass.orders import Follow, Group, metered
from benchmarks.emhass.setup import Setup, sale_pays
from controller.baseline import Operation
from controller.case import Case, FlexibleLoad, FloatArray, Pv, Tariff
from controller.closed_loop import Scene, simulate_mechanism
from controller.errors import ControllerError
from controller.forecast import Forecaster
from controller.mechanism import SettleRule
from controller.plan import Budget, Order, Plan, Stage
from controller.tariff_plan import expectation, tariff_plan


class Metered:
    """EMHASS plans every replan_s from the case's forecasts and tariff, window and tail; the meter corrects its plan.

    Between its plans the last one stays in force. Interruptible demand is demand to it, turbines get no orders. It
    keeps an EMHASS process, started at the first plan: close() ends it.
    """

    name = "emhass_metered"
    settle_rule: SettleRule = "price_taker"
    follow: Follow = "metered"

    def __init__(self, setup: Setup | None = None) -> None:
        self.setup = setup or Setup()
        self.netting = self.setup.scope
        self.client: Client | None = None
        self._sells = False
        self.statuses: dict[str, int] = {}
        """EMHASS's status words, how often each came."""

    def plan(self, case: Case, stage: Stage, budget: Budget, warm: Plan | None = None) -> Plan:
        """Orders of the window; none day-ahead. Budget: EMHASS has its own. Raises ControllerError, EmhassError."""
        if stage == "day_ahead":
            return self._plan_of(case, stage, {}, 0.0, 0)
        if warm is not None and case.start_us % (self.setup.replan_s * 1_000_000) and _reaches(warm, case):
            return warm
        groups, slots = Group.of(case, self.setup.scope), self.setup.horizon_s // case.slot_s
        prices = _tariff(case)
        buy, sell = (self._steps(row, case, slots) for row in (prices.import_per_kwh, prices.export_per_kwh))
        homes = [self._request(case, group, slots) for group in groups]
        plans = self._started(case, groups).plan(homes, buy, sell)
        orders: dict[str, tuple[Order, ...] | None] = {}
        for group, home, plan in zip(groups, homes, plans, strict=True):
            self.statuses[plan.status] = self.statuses.get(plan.status, 0) + 1
            orders |= self._orders(case, group, home, plan)
        paid = (np.where(plan.p_grid_w > 0, buy, sell) * plan.p_grid_w for plan in plans if plan.p_grid_w.size)
        cost = sum(float(row.sum()) for row in paid) * self.setup.step_s / 3.6e6
        return self._plan_of(case, stage, orders, cost, len(plans))

    def close(self) -> None:
        """End the EMHASS process."""
        if self.client is not None:
            self.client.close()
            self.client = None

    def _started(self, case: Case, groups: list[Group]) -> Client:
        """The process; begun anew, once, where prices appear at which sales from the store can pay."""
        storages, tariff = [storage for group in groups for storage in group.storages], _tariff(case)
        sells = any(sale_pays(tariff, storage) for storage in storages)
        if self.client is None or (sells and not self._sells):
            self.close()
            self.client, self._sells = self.setup.client(tariff, storages), sells
        return self.client

    def _request(self, case: Case, group: Group, slots: int) -> HomeRequest:
        """Demand and PV of the window; after it only their difference is known, which is all that EMHASS needs."""
        load_w, pv_w = np.zeros(case.slots), np.zeros(case.slots)
        for party in group.parties:
            load_w = load_w + case.load_w[party]
        for asset in case.assets:
            if isinstance(asset, FlexibleLoad) and asset.party in group.parties:
                load_w = load_w + asset.demand_w
            elif isinstance(asset, Pv) and asset.party in group.parties:
                pv_w = pv_w + asset.available_w
        tail_w = np.zeros(0 if case.tail is None else len(case.tail.import_per_kwh))
        for party in group.parties:
            tail_w = tail_w + case.tail_net_w.get(party, 0.0)
        load_w = np.append(load_w, np.maximum(tail_w, 0.0))
        pv_w = np.append(pv_w, np.maximum(-tail_w, 0.0))
        return HomeRequest(self._steps(load_w, case, slots), self._steps(pv_w, case, slots), group.total.soc_pu)

    def _steps(self, row: FloatArray, case: Case, slots: int) -> FloatArray:
        """Means over EMHASS's steps."""
        per = self.setup.step_s // case.slot_s
        if len(row) < slots or per < 1:
            raise ControllerError(
                f"{len(row)} slots of {case.slot_s} s known, {slots} needed in steps of {self.setup.step_s} s",
                where="emhass",
                mend="shorten Setup.horizon_s, or give steps of a slot or more",
            )
        return np.asarray(row[:slots].reshape(-1, per).mean(axis=1))

    def _orders(
        self, case: Case, group: Group, home: HomeRequest, plan: HomePlan
    ) -> dict[str, tuple[Order, ...] | None]:
        """Of all slots of the window; None, which means selfuse, where EMHASS found no plan."""
        if not plan.p_battery_w.size:
            return {storage.id: None for storage in group.storages}
        per, rows = self.setup.step_s // case.slot_s, []
        for step in (slot // per for slot in range(min(case.slots, plan.p_battery_w.size * per))):
            p_w, net_w = float(plan.p_battery_w[step]), float(home.load_w[step] - home.pv_w[step])
            held = Order("fixed", round(p_w), abs(round(p_w)))
            through = metered(p_w, net_w, float(plan.soc_pu[step]), group.total)
            rows.append(group.shared(held if self.follow == "held" else through))
        return {storage.id: tuple(row[k] for row in rows) for k, storage in enumerate(group.storages)}

    def _plan_of(
        self, case: Case, stage: Stage, orders: dict[str, tuple[Order, ...] | None], cost: float, solves: int
    ) -> Plan:
        version = "" if self.client is None else self.client.version
        return tariff_plan(
            self.name, case, stage, orders, expectation(cost, "EMHASS, HiGHS", version, {"solves": solves})
        )


class Held(Metered):
    """The same plans, each planned power held through its step."""

    name = "emhass_held"
    follow: Follow = "held"


class SiteMetered(Metered):
    """One EMHASS for the whole site, for a loop that nets at the site's meter."""

    name = "emhass_site"

    def __init__(self) -> None:
        super().__init__(Setup(scope="site"))


def simulate_emhass(scene: Scene, mechanism: Metered, forecaster: Forecaster) -> Operation:
    """Operate the scene by EMHASS, netting where it plans."""
    return simulate_mechanism(scene, mechanism, forecaster, netting=mechanism.netting).operation


def _tariff(case: Case) -> Tariff:
    """Prices of window and tail."""
    parts = [case.tariff] if case.tail is None else [case.tariff, case.tail]
    return Tariff(
        np.concatenate([part.import_per_kwh for part in parts]), np.concatenate([part.export_per_kwh for part in parts])
    )


def _reaches(plan: Plan, case: Case) -> bool:
    """Whether the plan has orders for the case's first slot."""
    return bool(plan.orders) and case.start_us < plan.start_us + plan.slots * plan.slot_s * 1_000_000
