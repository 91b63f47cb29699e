"""The instance of models/twostage.md section 1: three prosumers, each with turbine, storage, PV, wind, flexible load.

The paper's own tables are missing; these data restore its qualitative picture. Currency: yuan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from controller.case import Asset, Case, FlexibleLoad, FloatArray, Party, Pv, Storage, Tariff, Turbine
from controller.plan import Plan

IDS = ("p1", "p2", "p3")
BUY = np.repeat([0.45, 0.75, 1.10, 0.75, 1.10, 0.45], [7, 3, 5, 3, 4, 2])
SELL = np.repeat([0.25, 0.38, 0.45, 0.38, 0.45, 0.25], [7, 3, 5, 3, 4, 2])
TURBINES = (
    (4e-4, 0.42, 12.0, 30.0, 300.0, 120.0),
    (5e-4, 0.46, 10.0, 30.0, 250.0, 100.0),
    (6e-4, 0.40, 8.0, 20.0, 200.0, 80.0),
)
"""a, b, c, lowest kW, highest kW, ramp kW/h."""
START_STOP = (30.0, 25.0, 20.0)
STORAGES = ((400.0, 100.0), (350.0, 90.0), (300.0, 75.0))
"""kWh, kW."""
PV_KW = (420.0, 250.0, 520.0)
WIND = ((300.0, 0.55, 0.30, 3.0), (420.0, 0.45, 0.20, 2.0), (260.0, 0.55, 0.25, 1.0))
LOADS = (
    (150.0, ((180.0, 10.0, 3.0), (420.0, 19.5, 2.8))),
    (230.0, ((160.0, 12.0, 3.5), (300.0, 20.0, 2.6))),
    (120.0, ((120.0, 9.0, 2.5), (380.0, 18.5, 3.0))),
)
FLEXIBLE_PU = 0.15
BETA, BETA2 = 0.60, 4e-4
CAP_W = 1_500_000.0
HOUR_S = 3600


def hourly_profiles_kw() -> tuple[FloatArray, FloatArray]:
    """Load and renewable power, arrays (3, 24), kW, rounded to one decimal."""
    h = np.arange(24) + 0.5
    load = [base + sum(a * np.exp(-(((h - m) / s) ** 2)) for a, m, s in humps) for base, humps in LOADS]
    sun = np.where((h > 6) & (h < 19), np.maximum(np.sin(np.pi * (h - 6) / 13), 0.0) ** 1.5, 0.0)
    wind = [c * np.clip(m + a * np.cos(2 * np.pi * (h - phase) / 24), 0, 1) for c, m, a, phase in WIND]
    renewable = [np.round(pv * sun, 1) + np.round(w, 1) for pv, w in zip(PV_KW, wind, strict=True)]
    return np.round(load, 1), np.array(renewable)


def day_ahead_case(prosumers: tuple[int, ...] = (0, 1, 2)) -> Case:
    """The 24-hour case of some or all prosumers."""
    load, renewable = hourly_profiles_kw()
    return _case(load, renewable, BUY, SELL, HOUR_S, 0, prosumers)


def quarter_hours(hourly: FloatArray) -> FloatArray:
    """(3, 24) hourly means as (3, 96) quarter hours."""
    return np.repeat(hourly, 4, axis=1)


def noisy(load_kw: FloatArray, renewable_kw: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    """Actual = forecast * (1 + error): sigma 0.02 for renewables, 0.002 for load (paper)."""
    random = np.random.default_rng(seed)
    actual = np.maximum(renewable_kw * (1 + 0.02 * random.standard_normal(renewable_kw.shape)), 0.0)
    return load_kw * (1 + 0.002 * random.standard_normal(load_kw.shape)), actual


def window_case(
    day_ahead: Plan, first: int, length: int, load_kw: FloatArray, renewable_kw: FloatArray, states: Mapping[str, Asset]
) -> Case:
    """Quarter hours [first, first + length) of arrays (3, 96), storages and turbines in the states given by id."""
    window = slice(first, first + length)
    buy, sell = np.repeat(BUY, 4)[window], np.repeat(SELL, 4)[window]
    fresh = _case(load_kw[:, window], renewable_kw[:, window], buy, sell, HOUR_S // 4, first, (0, 1, 2))
    return replace(fresh, assets=tuple(states.get(asset.id, asset) for asset in fresh.assets), day_ahead=day_ahead)


def planned_states(day_ahead: Plan, first: int) -> dict[str, Asset]:
    """Storages and turbines as the day-ahead plan has them at the start of quarter hour `first`."""
    states: dict[str, Asset] = {}
    for asset in day_ahead_case().assets:
        schedule = day_ahead.schedule[asset.id]
        if isinstance(asset, Storage):
            soc = (asset.soc_pu, *schedule.soc_pu)
            states[asset.id] = replace(asset, soc_pu=float(np.interp(first / 4, np.arange(25), soc)))
        elif isinstance(asset, Turbine) and first:
            hour = (first - 1) // 4
            states[asset.id] = replace(asset, on=schedule.on[hour], p_w=float(schedule.p_w[hour]))
    return states


def _case(
    load_kw: FloatArray,
    renewable_kw: FloatArray,
    buy: FloatArray,
    sell: FloatArray,
    slot_s: int,
    first: int,
    chosen: tuple[int, ...],
) -> Case:
    assets = [asset for i in chosen for asset in _assets(i, load_kw[i], renewable_kw[i])]
    parties = [Party(IDS[i], "prosumer") for i in chosen]
    return Case(
        site="paper-003",
        start_us=first * slot_s * 1_000_000,
        slot_s=slot_s,
        parties=(*parties, Party("vpp", "operator"), Party("grid", "grid")),
        assets=tuple(assets),
        load_w={IDS[i]: load_kw[i] * 1000 * (1 - FLEXIBLE_PU) for i in chosen},
        tariff=Tariff(buy, sell),
        import_max_w=CAP_W,
        export_max_w=CAP_W,
    )


def _assets(i: int, load_kw: FloatArray, renewable_kw: FloatArray) -> list[Asset]:
    a, b, c, lowest, highest, ramp = TURBINES[i]
    e_kwh, p_kw = STORAGES[i]
    party = IDS[i]
    return [
        Turbine(
            id=f"mt-{party}",
            party=party,
            p_min_w=lowest * 1000,
            p_max_w=highest * 1000,
            ramp_w_per_h=ramp * 1000,
            cost_a_per_kw2h=a,
            cost_b_per_kwh=b,
            cost_c_per_h=c,
            start_cost=START_STOP[i],
            stop_cost=START_STOP[i],
            min_up_s=3 * HOUR_S,
            min_down_s=2 * HOUR_S,
        ),
        Storage(f"es-{party}", party, e_kwh * 1000, p_kw * 1000, p_kw * 1000, 0.95, 0.95, 0.4, 0.1, 0.9, 0.02, 0.05),
        FlexibleLoad(f"il-{party}", party, load_kw * 1000 * FLEXIBLE_PU, 1.0, BETA, BETA2),
        Pv(f"res-{party}", party, renewable_kw * 1000),
    ]


def crowd(case: Case, count: int, seed: int = 842) -> Case:
    """The case with `count` prosumers: beyond three, copies whose load and renewables are scaled by 0.6 to 1.4."""
    random, own = np.random.default_rng(seed), prosumer_ids(case)
    parties, assets, load = list[Party](), list[Asset](), dict[str, FloatArray]()
    for k in range(count):
        source, name = own[k % len(own)], f"p{k + 1}"
        demand, sun = (1.0, 1.0) if k < len(own) else random.uniform(0.6, 1.4, 2)
        parties.append(Party(name, "prosumer"))
        load[name] = case.load_w[source] * demand
        for asset in case.assets:
            if asset.party == source:
                assets.append(_copied(asset, name, float(demand), float(sun)))
    return replace(
        case,
        parties=(*parties, *(party for party in case.parties if party.role != "prosumer")),
        assets=tuple(assets),
        load_w=load,
        import_max_w=CAP_W * max(1.0, count / len(own)),
        export_max_w=CAP_W * max(1.0, count / len(own)),
    )


def prosumer_ids(case: Case) -> list[str]:
    """Prosumers in the order of the case."""
    return [party.id for party in case.parties if party.role == "prosumer"]


def _copied(asset: Asset, party: str, demand: float, sun: float) -> Asset:
    name = f"{asset.id.partition('-')[0]}-{party}"
    if isinstance(asset, Pv):
        return replace(asset, id=name, party=party, available_w=asset.available_w * sun)
    if isinstance(asset, FlexibleLoad):
        return replace(asset, id=name, party=party, demand_w=asset.demand_w * demand)
    return replace(asset, id=name, party=party)
