"""A pool: everybody plans alone against one price per slot, the operator nets what they bring.

The price lies between feed-in and purchase price, the nearer to the latter the more of what is traded is taken.
Storages follow their own party's net load.
"""

from __future__ import annotations

import numpy as np

from controller.case import Case, FlexibleLoad, Pv, Storage, Turbine
from controller.mechanism import SettleRule
from controller.plan import Budget, Certificate, Order, Plan, Schedule, Stage, sealed


class Pool:
    """Mechanism: see the module."""

    name = "pool"
    settle_rule: SettleRule = "price_taker"

    def plan(self, case: Case, stage: Stage, budget: Budget, warm: Plan | None = None) -> Plan:
        """Self-consumption everywhere, traded at the pool's price; budget and warm are not needed by a formula."""
        power_w = {asset.id: np.zeros(case.slots) for asset in case.assets if isinstance(asset, Storage | Turbine)}
        soc_pu: dict[str, tuple[float, ...]] = {}
        given_w = {party.id: np.zeros(case.slots) for party in case.parties if party.role != "grid"}
        for party in given_w:
            net = _net_w(case, party)
            for storage in (a for a in case.assets if isinstance(a, Storage) and a.party == party):
                power_w[storage.id], soc_pu[storage.id] = _follow(storage, net, case.hours)
                net = net - power_w[storage.id]
            given_w[party] = -net
        price = _price(case, given_w)
        return sealed(self._plan(case, stage, price, given_w, power_w, soc_pu))

    def _plan(
        self,
        case: Case,
        stage: Stage,
        price: tuple[float, ...],
        given_w: dict[str, np.ndarray],
        power_w: dict[str, np.ndarray],
        soc_pu: dict[str, tuple[float, ...]],
    ) -> Plan:
        prosumers = [party.id for party in case.parties if party.role == "prosumer"]
        operator = next(party.id for party in case.parties if party.role == "operator")
        grid = next(party.id for party in case.parties if party.role == "grid")
        energy = {party: np.rint(row * case.hours).astype(np.int64) for party, row in given_w.items()}
        energy[grid] = -np.sum(list(energy.values()), axis=0)
        tariff = np.where(energy[grid] >= 0, case.tariff.import_per_kwh, case.tariff.export_per_kwh)
        paid = {party: np.rint(energy[party] * np.array(price) * 1000).astype(np.int64) for party in prosumers}
        paid[grid] = np.rint(energy[grid] * tariff * 1000).astype(np.int64)
        paid[operator] = -np.sum(list(paid.values()), axis=0)
        return Plan(
            id="",
            mechanism=self.name,
            stage=stage,
            start_us=case.start_us,
            slot_s=case.slot_s,
            orders={asset.id: _orders(case, asset) for asset in case.assets},
            buy_per_kwh={party.id: price for party in case.parties},
            sell_per_kwh={party.id: price for party in case.parties},
            energy_wh={party: tuple(int(v) for v in row) for party, row in energy.items()},
            payment_micro={party: tuple(int(v) for v in row) for party, row in paid.items()},
            certificate=Certificate(
                objective=round(float(sum(paid[grid])) / 1e6, 6),
                bound=None,
                gap=None,
                residuals={},
                deviation_gain=None,
                optimal="heuristic",
                solver="none",
                version="0.1.0",
                work={},
            ),
            schedule={
                name: Schedule(
                    p_w=tuple(round(float(p)) for p in row),
                    on=() if name in soc_pu else (False,) * case.slots,
                    soc_pu=soc_pu.get(name, ()),
                )
                for name, row in power_w.items()
            },
        )


def _net_w(case: Case, party: str) -> np.ndarray:
    """Demand of a party less its PV."""
    net = np.array(case.load_w.get(party, np.zeros(case.slots)), dtype=float)
    for asset in case.assets:
        if asset.party == party and isinstance(asset, FlexibleLoad):
            net = net + asset.demand_w
        elif asset.party == party and isinstance(asset, Pv):
            net = net - asset.available_w
    return net


def _follow(storage: Storage, net_w: np.ndarray, hours: float) -> tuple[np.ndarray, tuple[float, ...]]:
    """Power that brings the net load to zero as far as rating and content allow, and the content after each slot."""
    floor = min(storage.soc_min_pu, storage.soc_pu) * storage.e_wh
    ceiling = max(storage.soc_max_pu, storage.soc_pu) * storage.e_wh
    energy, power, content = storage.soc_pu * storage.e_wh, [], []
    for net in net_w:
        give = min(storage.p_discharge_w, (energy - floor) * storage.eta_discharge / hours)
        take = min(storage.p_charge_w, (ceiling - energy) / storage.eta_charge / hours)
        p = round(float(np.clip(net, -max(take, 0.0), max(give, 0.0))))
        energy -= hours * (p / storage.eta_discharge if p > 0 else p * storage.eta_charge)
        power.append(p)
        content.append(round(energy / storage.e_wh, 6))
    return np.array(power, dtype=float), tuple(content)


def _price(case: Case, given_w: dict[str, np.ndarray]) -> tuple[float, ...]:
    """Between feed-in and purchase price by the share of what is taken in all that is traded."""
    rows = np.array(list(given_w.values()))
    taken, given = np.maximum(-rows, 0).sum(axis=0), np.maximum(rows, 0).sum(axis=0)
    share = np.divide(taken, taken + given, out=np.full(case.slots, 0.5), where=taken + given > 0)
    low, high = case.tariff.export_per_kwh, case.tariff.import_per_kwh
    return tuple(float(p) for p in np.clip(np.round(low + share * (high - low), 6), low, high))


def _orders(case: Case, asset: object) -> tuple[Order, ...] | None:
    if isinstance(asset, Storage):
        cap = int(max(asset.p_charge_w, asset.p_discharge_w))
        return (Order("selfuse", 0, cap, 0.0),) * case.slots
    if isinstance(asset, Turbine):
        return (Order("fixed", 0, 0),) * case.slots
    return None
