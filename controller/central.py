"""Central control as a yardstick: one linear program over all devices, re-solved every slot, worths sent as orders.

Not a market: parties face the tariff. It shows what the forecast alone costs (against perfect foresight) and what a
game costs beyond (against it). `netting` says whose net load the program and the fast loop see: the whole site's, or
each home's own (then every home plans alone, as a home energy management system would).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from controller.baseline import Netting
from controller.case import Case, FlexibleLoad, FloatArray, Pv, Storage, Tariff, Turbine
from controller.costs import end_price
from controller.dispatch import storage_order
from controller.foresight import Foresight, Site, cheapest_operation
from controller.mechanism import SettleRule
from controller.plan import Budget, Certificate, Order, Plan, Stage, sealed

FREE_W = 2_147_483_647
"""Cap of a curtailable device that runs free."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be chosen; defaults by measurement on 8 homes."""

    netting: Netting = "site"
    late_per_kwh: float = 1e-3
    """Cost of holding a kWh through the whole horizon: among equal costs energy is bought late and used early."""
    end_worth_per_kwh: float | None = None
    """Worth of a kWh stored at the end of horizon and tail; None: mean import price x discharge efficiency."""


class Central:
    """Mechanism: see the module."""

    name = "central"
    settle_rule: SettleRule = "price_taker"

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    def plan(self, case: Case, stage: Stage, budget: Budget, warm: Plan | None = None) -> Plan:
        """Plan the case's horizon together with its tail; budget and warm are not needed by a linear program."""
        parts = [(site, self._solve(site)) for site in self._sites(case)]
        orders: dict[str, tuple[Order, ...] | None] = {}
        for site, found in parts:
            orders |= _orders(case, site, found)
        objective = sum(found.bound for _, found in parts)
        buy, sell = _rounded(case.tariff.import_per_kwh), _rounded(case.tariff.export_per_kwh)
        parties = [party.id for party in case.parties if party.role != "grid"]
        return sealed(
            Plan(
                id="",
                mechanism=self.name,
                stage=stage,
                start_us=case.start_us,
                slot_s=case.slot_s,
                orders=orders,
                buy_per_kwh=dict.fromkeys(parties, buy),
                sell_per_kwh=dict.fromkeys(parties, sell),
                energy_wh={},
                payment_micro={},
                certificate=Certificate(
                    objective=round(objective, 9),
                    bound=round(objective, 9),
                    gap=0.0,
                    residuals={},
                    deviation_gain=None,
                    optimal="proved",
                    solver="HiGHS",
                    version="",
                    work={"iterations": sum(found.iterations for _, found in parts)},
                ),
            )
        )

    def _solve(self, site: Site) -> Foresight:
        settings, slots = self.settings, site.slots
        worths = []
        for storage in site.storages:
            worth = np.full(slots, -settings.late_per_kwh / slots)
            end = settings.end_worth_per_kwh
            worth[-1] = end_price(storage, site.tariff) if end is None else end
            worths.append(worth)
        return cheapest_operation(site, worths)

    def _sites(self, case: Case) -> list[Site]:
        """The programs to solve: one for the site, or one a party."""
        if self.settings.netting == "site":
            return [_site(case, None)]
        return [_site(case, party.id) for party in case.parties if party.role != "grid"]


def _site(case: Case, party: str | None) -> Site:
    """The case's horizon and tail as one problem, of one party or of all."""

    def mine(owner: str) -> bool:
        return party is None or owner == party

    owned = [asset for asset in case.assets if mine(asset.party)]
    tail = case.tail or Tariff(np.zeros(0), np.zeros(0))
    count = len(tail.import_per_kwh)
    now = sum((row for owner, row in case.load_w.items() if mine(owner)), np.zeros(case.slots))
    after = sum((row for owner, row in case.tail_net_w.items() if mine(owner)), np.zeros(count))
    flexible = [asset for asset in owned if isinstance(asset, FlexibleLoad)]
    pv = [asset for asset in owned if isinstance(asset, Pv)]
    net = now + sum((f.demand_w for f in flexible), np.zeros(case.slots))
    net = net - sum((p.available_w for p in pv), np.zeros(case.slots))
    return Site(
        net_w=np.concatenate([net, after]),
        tariff=Tariff(
            np.concatenate([case.tariff.import_per_kwh, tail.import_per_kwh]),
            np.concatenate([case.tariff.export_per_kwh, tail.export_per_kwh]),
        ),
        slot_s=case.slot_s,
        storages=tuple(asset for asset in owned if isinstance(asset, Storage)),
        turbines=tuple(asset for asset in owned if isinstance(asset, Turbine)),
        flexible=tuple(_extended(load, count) for load in flexible),
        import_max_w=case.import_max_w,
        export_max_w=case.export_max_w,
    )


def _extended(load: FlexibleLoad, slots: int) -> FlexibleLoad:
    """The load with no more to curtail in the tail, whose net load already holds its demand."""
    demand = np.concatenate([load.demand_w, np.zeros(slots)])
    return FlexibleLoad(load.id, load.party, demand, load.curtail_max_pu, load.beta_per_kwh, load.beta2_per_kw2h)


def _orders(case: Case, site: Site, found: Foresight) -> Mapping[str, tuple[Order, ...]]:
    """Orders of the horizon's slots from the program's powers and worths."""
    slots, hours = case.slots, site.hours
    orders: dict[str, tuple[Order, ...]] = {}
    power_w = (found.discharged_wh - found.charged_wh) / hours
    net_w = found.grid_wh / hours + power_w.sum(axis=0)
    for k, unit in enumerate(site.storages):
        others = net_w - (power_w.sum(axis=0) - power_w[k])
        worth = found.value_per_kwh[k]
        orders[unit.id] = tuple(
            storage_order(
                float(power_w[k, t]),
                float(worth[t]),
                float(site.tariff.import_per_kwh[t]),
                float(site.tariff.export_per_kwh[t]),
                unit,
                float(others[t]),
            )
            for t in range(slots)
        )
    for k, turbine in enumerate(site.turbines):
        orders[turbine.id] = tuple(_turbine_order(turbine, float(p)) for p in found.turbine_wh[k, :slots] / hours)
    for k, load in enumerate(site.flexible):
        left = load.demand_w[:slots] - found.curtailed_wh[k, :slots] / hours
        rows = zip(left, found.curtailed_wh[k, :slots], strict=True)
        orders[load.id] = tuple(Order("fixed", -round(w), round(w) if cut > 0.5 else FREE_W) for w, cut in rows)
    return orders


def _turbine_order(turbine: Turbine, p_w: float) -> Order:
    """The relaxed commitment rounded: on from half its least power."""
    power = 0 if p_w < turbine.p_min_w / 2 else round(max(p_w, turbine.p_min_w))
    return Order("fixed", power, int(turbine.p_max_w))


def _rounded(values: FloatArray) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
