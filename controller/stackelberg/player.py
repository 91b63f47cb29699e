"""One player: assets behind one meter that trade at two prices; its convex program, built once and refilled.

A prosumer who answers prices, the leader with its own assets, and the whole site under one hand are all players: they
differ in who owns which asset and in the prices. Sizes kW and kWh, n steps of `hours` each (models/twostage.md
sections 2 and 3; storage, turbine, flexible load and curtailment as in its follower problem).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from controller.case import Asset, FlexibleLoad, FloatArray, Pv, Storage, Turbine
from controller.qp import Model, Program, Term, Vectors
from controller.stackelberg.terms import Adjustment, Commitment, Terminal

CAP_PENALTY_FACTOR = 20.0
"""A kWh beyond the site's grid cap costs this many times the dearest price: a wish, but a strong one."""


@dataclass(frozen=True, slots=True)
class Player:
    """All that defines a player's problem. Arrays have one entry per step."""

    name: str
    assets: tuple[Asset, ...]
    hours: FloatArray
    load_kw: FloatArray
    buy_per_kwh: FloatArray
    sell_per_kwh: FloatArray
    terminals: Mapping[str, Terminal] = field(default_factory=dict)
    """Per storage; without one the storage ends where it began."""
    commitments: Mapping[str, Commitment] = field(default_factory=dict)
    """Per turbine."""
    adjustments: Mapping[str, Adjustment] = field(default_factory=dict)
    late_per_kwh: float = 0.0
    """Tie-break: charging in the first step costs this much more than in the last."""
    import_cap_kw: float = np.inf
    export_cap_kw: float = np.inf
    directions: Mapping[str, FloatArray] = field(default_factory=dict)
    """Per storage and step: +1 may only discharge, -1 may only charge, 0 free; absent: free throughout."""

    trade_margin_kw: float = 1.0
    """Bounds of the trade columns lie this far beyond what its own assets can reach, so that they never bind."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        return int(self.hours.shape[0])

    def priced(self, buy_per_kwh: FloatArray, sell_per_kwh: FloatArray) -> Player:
        """The same player at other prices."""
        return replace(self, buy_per_kwh=buy_per_kwh, sell_per_kwh=sell_per_kwh)


def structure(player: Player) -> Hashable:
    """Everything that enters the matrices; players that share it share a model."""
    parts: list[Hashable] = [player.name, tuple(player.hours), bool(np.isfinite(player.import_cap_kw))]
    parts.append(bool(np.isfinite(player.export_cap_kw)))
    for asset in player.assets:
        gamma = player.adjustments[asset.id].gamma_per_kw2h if asset.id in player.adjustments else 0.0
        head: tuple[Hashable, ...] = (type(asset).__name__, asset.id, gamma)
        if isinstance(asset, Storage):
            segments = len(player.terminals[asset.id].widths_kwh) if asset.id in player.terminals else 0
            head += (asset.eta_charge, asset.eta_discharge, segments)
        elif isinstance(asset, Turbine):
            head += (asset.cost_a_per_kw2h,)
        elif isinstance(asset, FlexibleLoad):
            head += (asset.beta2_per_kw2h,)
        parts.append(head)
    return tuple(parts)


def build(player: Player) -> Model:
    """The player's convex program with given commitments, unfilled."""
    program = Program()
    supply: list[Term] = []
    for asset in player.assets:
        supply += declare_asset(program, player, asset)
    declare_trade(program, player, supply)
    return program.build()


def declare_asset(program: Program, player: Player, asset: Asset) -> list[Term]:
    """Columns and rows of one asset; returns its terms in the power balance."""
    if isinstance(asset, Storage):
        return _declare_storage(program, player, asset)
    if isinstance(asset, Turbine):
        return _declare_turbine(program, player, asset)
    columns = program.add_columns(f"{asset.id}.p", player.steps)
    if isinstance(asset, FlexibleLoad):
        program.add_product(columns, columns, asset.beta2_per_kw2h * player.hours)
    return [(columns, 1.0)]


def declare_trade(program: Program, player: Player, supply: list[Term]) -> None:
    """Balance buy - sell + supply = load, and the soft grid caps."""
    n = player.steps
    buy, sell = program.add_columns("buy", n), program.add_columns("sell", n)
    program.add_rows("balance", n, (buy, 1.0), (sell, -1.0), *supply)
    for side, columns, cap in (("import", buy, player.import_cap_kw), ("export", sell, player.export_cap_kw)):
        if np.isfinite(cap):
            over = program.add_columns(f"over.{side}", n)
            program.add_rows(f"cap.{side}", n, (columns, 1.0), (over, -1.0), lo=-np.inf, hi=cap)


def _declare_storage(program: Program, player: Player, asset: Storage) -> list[Term]:
    n, hours, gamma = player.steps, player.hours, _gamma(player, asset)
    charge, discharge = (program.add_columns(f"{asset.id}.{side}", n) for side in ("charge", "discharge"))
    energy = program.add_columns(f"{asset.id}.energy", n)
    rows = program.add_rows(
        f"{asset.id}.energy",
        n,
        (energy, 1.0),
        (charge, -hours * asset.eta_charge),
        (discharge, hours / asset.eta_discharge),
    )
    program.add_entries(rows[1:], energy[:-1], -1.0)
    if gamma:
        program.add_product(charge, charge, gamma * hours)
        program.add_product(discharge, discharge, gamma * hours)
        program.add_product(charge, discharge, -2 * gamma * hours)
    if asset.id in player.terminals:
        width = len(player.terminals[asset.id].widths_kwh)
        segments = program.add_columns(f"{asset.id}.end", width)
        row = program.add_rows(f"{asset.id}.end", 1, (energy[-1:], -1.0))
        program.add_entries(np.repeat(row, width), segments, 1.0)
    return [(discharge, 1.0), (charge, -1.0)]


def _declare_turbine(program: Program, player: Player, asset: Turbine) -> list[Term]:
    n, gamma = player.steps, _gamma(player, asset)
    power = program.add_columns(f"{asset.id}.p", n)
    program.add_product(power, power, (asset.cost_a_per_kw2h + gamma) * player.hours)
    rows = program.add_rows(f"{asset.id}.ramp", n, (power, 1.0), lo=-np.inf, hi=np.inf)
    program.add_entries(rows[1:], power[:-1], -1.0)
    return [(power, 1.0)]


def fill(model: Model, player: Player) -> Vectors:
    """The player's costs and bounds for its model."""
    vectors = model.vectors()
    for asset in player.assets:
        fill_asset(model, vectors, player, asset)
    fill_trade(model, vectors, player)
    return vectors


def fill_asset(model: Model, vectors: Vectors, player: Player, asset: Asset) -> None:
    """Costs and bounds of one asset."""
    if isinstance(asset, Storage):
        _fill_storage(model, vectors, player, asset)
    elif isinstance(asset, Turbine):
        _fill_turbine(model, vectors, player, asset)
    else:
        columns = model.cols[f"{asset.id}.p"]
        if isinstance(asset, Pv):
            vectors.col_hi[columns] = np.maximum(asset.available_w, 0.0) / 1000
        else:
            vectors.col_hi[columns] = asset.curtail_max_pu * np.maximum(asset.demand_w, 0.0) / 1000
            vectors.cost[columns] = asset.beta_per_kwh * player.hours


def fill_trade(model: Model, vectors: Vectors, player: Player) -> None:
    """Prices, demand and caps. A flexible load's uncurtailed demand counts as load."""
    vectors.cost[model.cols["buy"]] = player.buy_per_kwh * player.hours
    vectors.cost[model.cols["sell"]] = -player.sell_per_kwh * player.hours
    load = demand_kw(player)
    vectors.row_lo[model.rows["balance"]] = vectors.row_hi[model.rows["balance"]] = load
    give, take = reach_kw(player)
    vectors.col_hi[model.cols["buy"]] = np.maximum(load, 0.0) + take + player.trade_margin_kw
    vectors.col_hi[model.cols["sell"]] = np.maximum(-load, 0.0) + give + player.trade_margin_kw
    dearest = max(float(np.max(np.abs(player.buy_per_kwh), initial=0.0)), 0.01)
    for side, cap in (("import", player.import_cap_kw), ("export", player.export_cap_kw)):
        if np.isfinite(cap):
            vectors.cost[model.cols[f"over.{side}"]] = CAP_PENALTY_FACTOR * dearest * player.hours
            vectors.row_hi[model.rows[f"cap.{side}"]] = cap


def reach_kw(player: Player) -> tuple[FloatArray, FloatArray]:
    """Most that the assets can give and take: with it the trade columns stay bounded even at equal prices."""
    give, take = np.zeros(player.steps), np.zeros(player.steps)
    for asset in player.assets:
        if isinstance(asset, Storage):
            give += asset.p_discharge_w / 1000
            take += asset.p_charge_w / 1000
        elif isinstance(asset, Turbine):
            give += asset.p_max_w / 1000
        else:
            give += np.asarray(asset.available_w if isinstance(asset, Pv) else asset.demand_w) / 1000
    return give, take


def demand_kw(player: Player) -> FloatArray:
    """Load and uncurtailed flexible demand, kW per step."""
    flexible = [asset.demand_w for asset in player.assets if isinstance(asset, FlexibleLoad)]
    return player.load_kw + np.sum(flexible, axis=0) / 1000 if flexible else player.load_kw


def price_trade(model: Model, vectors: Vectors, player: Player, buy: FloatArray, sell: FloatArray) -> None:
    """Change nothing but the prices."""
    vectors.cost[model.cols["buy"]] = buy * player.hours
    vectors.cost[model.cols["sell"]] = -sell * player.hours


def energy_limits_kwh(asset: Storage) -> tuple[float, float]:
    """Lowest and highest stored energy; a measured state outside the limits widens them, physics comes first."""
    e_kwh = asset.e_wh / 1000
    return min(asset.soc_min_pu, asset.soc_pu) * e_kwh, max(asset.soc_max_pu, asset.soc_pu) * e_kwh


def _fill_storage(model: Model, vectors: Vectors, player: Player, asset: Storage) -> None:
    hours, name = player.hours, asset.id
    charge, discharge, energy = (model.cols[f"{name}.{part}"] for part in ("charge", "discharge", "energy"))
    floor, ceiling = energy_limits_kwh(asset)
    start = asset.soc_pu * asset.e_wh / 1000
    late = player.late_per_kwh * (1.0 - np.cumsum(hours) / float(np.sum(hours)))
    vectors.cost[charge] = (asset.wear_charge_per_kwh + late) * hours
    vectors.cost[discharge] = asset.wear_discharge_per_kwh * hours
    vectors.col_hi[charge] = asset.p_charge_w / 1000
    vectors.col_hi[discharge] = asset.p_discharge_w / 1000
    if name in player.directions:
        vectors.col_hi[charge[player.directions[name] > 0]] = 0.0
        vectors.col_hi[discharge[player.directions[name] < 0]] = 0.0
    vectors.col_lo[energy], vectors.col_hi[energy] = floor, ceiling
    first = model.rows[f"{name}.energy"][0]
    vectors.row_lo[first] = vectors.row_hi[first] = start
    if name in player.terminals:
        terminal, segments = player.terminals[name], model.cols[f"{name}.end"]
        row = model.rows[f"{name}.end"][0]
        vectors.row_lo[row] = vectors.row_hi[row] = -floor
        vectors.col_hi[segments] = terminal.widths_kwh
        vectors.cost[segments] = -terminal.values_per_kwh
        vectors.constant += float(terminal.widths_kwh @ terminal.values_per_kwh)
    else:
        vectors.col_lo[energy[-1]] = vectors.col_hi[energy[-1]] = start
    pull, constant = _pull(player, name)
    vectors.cost[charge] += pull
    vectors.cost[discharge] -= pull
    vectors.constant += constant


def _fill_turbine(model: Model, vectors: Vectors, player: Player, asset: Turbine) -> None:
    hours, power, rows = player.hours, model.cols[f"{asset.id}.p"], model.rows[f"{asset.id}.ramp"]
    commitment = player.commitments[asset.id]
    before = np.concatenate([[float(commitment.on_before)], commitment.on[:-1]])
    started, stopped = np.maximum(commitment.on - before, 0.0), np.maximum(before - commitment.on, 0.0)
    lowest, ramp, jump = turbine_limits_kw(asset, hours)
    vectors.cost[power] = asset.cost_b_per_kwh * hours
    vectors.col_lo[power] = lowest * commitment.on
    vectors.col_hi[power] = asset.p_max_w / 1000 * commitment.on
    vectors.row_hi[rows] = ramp * before + jump * started
    vectors.row_lo[rows] = -(ramp * commitment.on + jump * stopped)
    vectors.row_hi[rows[0]] += commitment.p_before_kw
    vectors.row_lo[rows[0]] += commitment.p_before_kw
    vectors.constant += float(asset.cost_c_per_h * (commitment.on @ hours))
    vectors.constant += float(asset.start_cost * started.sum() + asset.stop_cost * stopped.sum())
    pull, constant = _pull(player, asset.id)
    vectors.cost[power] -= pull
    vectors.constant += constant


def turbine_limits_kw(asset: Turbine, hours: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Lowest power while on, ramp per step, and the step allowed at a start or stop: max(p_min, ramp)."""
    lowest = asset.p_min_w / 1000
    ramp = asset.ramp_w_per_h / 1000 * hours
    return lowest, ramp, np.maximum(lowest, ramp)


def _gamma(player: Player, asset: Asset) -> float:
    return player.adjustments[asset.id].gamma_per_kw2h if asset.id in player.adjustments else 0.0


def _pull(player: Player, name: str) -> tuple[FloatArray, float]:
    """Linear and constant part of an adjustment penalty."""
    if name not in player.adjustments:
        return np.zeros(player.steps), 0.0
    adjustment = player.adjustments[name]
    weight = adjustment.gamma_per_kw2h * adjustment.p_plan_kw * player.hours
    return 2 * weight, float(weight @ adjustment.p_plan_kw)
