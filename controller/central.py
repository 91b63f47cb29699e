"""Central control as a yardstick: the pool of all storages planned in one hand, re-planned every slot.

Not a market: parties face the tariff. It shows what the forecast alone costs (against perfect foresight) and what a
game costs beyond (against it). `netting` says whose net load the program and the fast loop see: the whole site's, or
each home's own (then every home plans alone, as a home energy management system would).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from controller.baseline import Netting
from controller.case import Asset, Case, FlexibleLoad, FloatArray, Pv, Storage, Turbine
from controller.errors import ControllerError
from controller.mechanism import SettleRule
from controller.plan import FREE_W, Budget, Order, Plan, Stage
from controller.pool import Pool, Stages, Supply, worth_curves
from controller.pool.shares import storage_orders
from controller.pool.walk import PoolOrder, walk
from controller.tariff_plan import expectation, tariff_plan

T = TypeVar("T", bound=Asset)


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be chosen; defaults by measurement on 8 homes."""

    netting: Netting = "site"
    late_per_kwh: float = 1e-3
    """Cost of holding a kWh through the whole horizon: among equal costs energy is bought late and used early."""
    end_worth_per_kwh: float | None = None
    """Worth of a kWh stored at the end of horizon and tail; None: mean import price x discharge efficiency."""
    scenarios: int = 16
    """Past days whose forecast errors are added to the forecast, one a scenario; 0: the forecast alone."""
    surprise_pu: float = 0.3
    """Chance that another scenario goes on from one slot to the next (controller.pool.Stages)."""


class Central:
    """Mechanism: see the module."""

    name = "central"
    settle_rule: SettleRule = "price_taker"

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.scenarios = self.settings.scenarios

    def plan(self, case: Case, stage: Stage, budget: Budget, warm: Plan | None = None) -> Plan:
        """Plan the case's horizon together with its tail; budget and warm are not needed by a dynamic program.

        Raises ControllerError where a group of parties has several turbines or interruptible loads.
        """
        orders: dict[str, tuple[Order, ...] | None] = {}
        objective = 0.0
        for parties in self._groups(case):
            group = _Group(case, parties, self.settings)
            if group.owned:
                found, cost = group.solved()
                orders |= found
                objective += cost
        # over a grid with scenarios: its own expectation, no bound on what will be
        return tariff_plan(self.name, case, stage, orders, expectation(objective, "dynamic program"))

    def _groups(self, case: Case) -> list[list[str]]:
        """Who plans together: all, or each party alone."""
        parties = [party.id for party in case.parties if party.role != "grid"]
        return [parties] if self.settings.netting == "site" else [[party] for party in parties]


class _Group:
    """Parties that plan together: their horizon and tail as one pool program."""

    def __init__(self, case: Case, parties: Sequence[str], settings: Settings) -> None:
        self.case, self.parties, self.settings = case, parties, settings
        self.owned = [asset for asset in case.assets if asset.party in parties and not isinstance(asset, Pv)]
        self.pool = Pool.of([asset for asset in self.owned if isinstance(asset, Storage)])
        self.turbine = _only([asset for asset in self.owned if isinstance(asset, Turbine)], "turbines")
        self.load = _only([asset for asset in self.owned if isinstance(asset, FlexibleLoad)], "interruptible loads")

    def solved(self) -> tuple[dict[str, tuple[Order, ...] | None], float]:
        """(orders of the horizon's slots, expected cost)."""
        stages = self._stages()
        curves = worth_curves(self.pool, stages)
        way = walk(self.pool, stages, curves, self.case.slots)
        rows: dict[str, list[Order]] = {asset.id: [] for asset in self.owned}
        for slot, order in enumerate(way):
            self._append(rows, order, slot)
        first = int(self.turbine.on) if self.turbine is not None else 0
        cost = float(np.interp(self.pool.content_kwh, self.pool.levels_kwh, curves.cost[0][first]))
        return {name: tuple(row) for name, row in rows.items() if row}, cost

    def _append(self, rows: dict[str, list[Order]], order: PoolOrder, slot: int) -> None:
        for name, own in storage_orders(self.pool, order).items():
            rows[name].append(own)
        if self.turbine is not None:
            power = round(order.turbine_kw * 1000) if order.on else 0
            rows[self.turbine.id].append(Order("fixed", power, int(self.turbine.p_max_w)))
        if self.load is not None:
            left = round(float(self.load.demand_w[slot]) - order.cut_kw * 1000)
            rows[self.load.id].append(Order("fixed", -left, left if order.cut_kw > 0 else FREE_W))

    def _stages(self) -> Stages:
        case, tail = self.case, self.case.tail
        beyond = np.zeros(0) if tail is None else tail.import_per_kwh
        prices = np.concatenate([case.tariff.import_per_kwh, beyond])
        sells = np.concatenate([case.tariff.export_per_kwh, np.zeros(0) if tail is None else tail.export_per_kwh])
        worth = self.settings.end_worth_per_kwh
        demand = None if self.load is None else np.append(self.load.demand_w, np.zeros(len(beyond)))
        alone = self.settings.netting == "site"
        return Stages(
            hours=np.full(len(prices), case.hours),
            net_kw=self._scenarios(len(beyond)) / 1000,
            supply=Supply(
                buy_per_kwh=prices,
                sell_per_kwh=sells,
                import_max_kw=case.import_max_w / 1000 if alone else float("inf"),
                excess_per_kwh=_excess(case),
                turbine=self.turbine,
                load=None if self.load is None or demand is None else _with_demand(self.load, demand),
            ),
            end_worth_per_kwh=float(prices.mean()) * self.pool.eta_discharge if worth is None else worth,
            late_per_kwh=self.settings.late_per_kwh,
            surprise_pu=self.settings.surprise_pu,
        )

    def _scenarios(self, beyond: int) -> FloatArray:
        """Net load of the group, W: (scenarios, slots + tail)."""
        case, total = self.case, self.case.slots + beyond
        mean = np.zeros(total)
        for party in self.parties:
            mean[: case.slots] += case.load_w.get(party, 0.0)
            mean[case.slots :] += case.tail_net_w.get(party, 0.0) if beyond else 0.0
        for asset in case.assets:
            if asset.party in self.parties and isinstance(asset, FlexibleLoad):
                mean[: case.slots] += asset.demand_w[: case.slots]
            elif asset.party in self.parties and isinstance(asset, Pv):
                mean[: case.slots] -= asset.available_w[: case.slots]
        errors = [case.net_errors_w[party][:, :total] for party in self.parties if party in case.net_errors_w]
        if not errors or self.settings.scenarios == 0:
            return mean[None, :]
        return np.asarray(mean[None, :] + np.sum(errors, axis=0)[: self.settings.scenarios])


def _excess(case: Case) -> float:
    """Price of import above the limit; a hard limit is given one that nothing outweighs."""
    return HARD_PER_KWH if case.import_excess_per_kwh is None else case.import_excess_per_kwh


HARD_PER_KWH = 1000.0
"""Stands for a hard limit: physics is what it is, and a plan must exist."""


def _with_demand(load: FlexibleLoad, demand_w: FloatArray) -> FlexibleLoad:
    return FlexibleLoad(load.id, load.party, demand_w, load.curtail_max_pu, load.beta_per_kwh, load.beta2_per_kw2h)


def _only(assets: Sequence[T], what: str) -> T | None:
    if len(assets) > 1:
        raise ControllerError(
            f"{len(assets)} {what}", where="central", mend="central control plans one; use twostage for more"
        )
    return assets[0] if assets else None
