"""A second opinion: a player's best cost by another formulation and another solver.

Energy is a cumulative sum instead of a state, trade an epigraph of its two prices instead of two columns, and Clarabel
solves it instead of PIQP. What a player could still gain by deviating from a plan is measured against this.
Rows are written densely and made sparse once: at some hundred columns a dozen sparse matrices cost more than the solve.
"""

from __future__ import annotations

import clarabel
import numpy as np
import scipy.sparse as sp

from controller.case import FlexibleLoad, FloatArray, Pv, Storage, Turbine
from controller.errors import ControllerError
from controller.stackelberg.player import CAP_PENALTY_FACTOR, Player, demand_kw, energy_limits_kwh, turbine_limits_kw


class _Sheet:
    """Columns with costs and rows g'x <= h of one small program."""

    def __init__(self) -> None:
        self.lin: list[FloatArray] = []
        self.quad: list[FloatArray] = []
        self.blocks: list[tuple[dict[int, FloatArray], FloatArray]] = []
        self.constant = 0.0
        self.sizes: list[int] = []

    def column(self, lin: FloatArray, quad: FloatArray | None = None) -> int:
        """A block of columns; returns its number."""
        self.lin.append(lin)
        self.quad.append(np.zeros_like(lin) if quad is None else quad)
        self.sizes.append(lin.shape[0])
        return len(self.sizes) - 1

    def below(self, terms: dict[int, FloatArray], limit: FloatArray) -> None:
        """Rows sum of matrix @ block <= limit; rows without a limit are left out."""
        kept = np.isfinite(limit)
        if kept.any():
            self.blocks.append(({b: m[kept] for b, m in terms.items()}, limit[kept]))

    def between(self, block: int, low: FloatArray, high: FloatArray) -> None:
        """low <= block <= high."""
        eye = np.eye(self.sizes[block])
        self.below({block: eye}, high)
        self.below({block: -eye}, -low)

    def solve(self, where: str) -> float:
        """Optimal value by Clarabel."""
        limits = np.concatenate([limit for _, limit in self.blocks])
        settings = clarabel.DefaultSettings()
        settings.verbose, settings.max_threads = False, 1
        quad = sp.csc_matrix(sp.diags(2 * np.concatenate(self.quad)))
        cones = [clarabel.NonnegativeConeT(limits.shape[0])]
        solver = clarabel.DefaultSolver(
            quad, np.concatenate(self.lin), sp.csc_matrix(self._rows()), limits, cones, settings
        )
        solution = solver.solve()
        if str(solution.status) not in ("Solved", "AlmostSolved"):
            raise ControllerError(f"Clarabel stopped with {solution.status}", where=where)
        return float(solution.obj_val) + self.constant

    def _rows(self) -> FloatArray:
        """All rows over all columns."""
        edges = np.concatenate([[0], np.cumsum(self.sizes)])
        rows = np.zeros((sum(limit.shape[0] for _, limit in self.blocks), edges[-1]))
        at = 0
        for terms, limit in self.blocks:
            for block, matrix in terms.items():
                rows[at : at + limit.shape[0], edges[block] : edges[block + 1]] = matrix
            at += limit.shape[0]
        return rows


def best_cost(player: Player) -> float:
    """Lowest cost the player can reach at its prices, own costs included, currency over the horizon."""
    sheet, n = _Sheet(), player.steps
    supply: dict[int, FloatArray] = {}
    for asset in player.assets:
        if isinstance(asset, Storage):
            supply[_add_storage(sheet, player, asset)] = np.eye(n)
        elif isinstance(asset, Turbine):
            supply[_add_turbine(sheet, player, asset)] = np.eye(n)
        elif isinstance(asset, FlexibleLoad):
            block = sheet.column(asset.beta_per_kwh * player.hours, asset.beta2_per_kw2h * player.hours)
            sheet.between(block, np.zeros(n), asset.curtail_max_pu * np.maximum(asset.demand_w, 0.0) / 1000)
            supply[block] = np.eye(n)
        elif isinstance(asset, Pv):
            block = sheet.column(np.zeros(n))
            sheet.between(block, np.zeros(n), np.maximum(asset.available_w, 0.0) / 1000)
            supply[block] = np.eye(n)
    _add_trade(sheet, player, supply)
    return sheet.solve(player.name)


def _add_trade(sheet: _Sheet, player: Player, supply: dict[int, FloatArray]) -> None:
    """bill >= price * hours * (demand - supply) for both prices; over >= need beyond a cap."""
    demand, hours, n = demand_kw(player), player.hours, player.steps
    bill = sheet.column(np.ones(n))
    for price in (player.buy_per_kwh, player.sell_per_kwh):
        scale = (price * hours)[:, None]
        sheet.below({bill: -np.eye(n), **{b: -scale * m for b, m in supply.items()}}, -price * hours * demand)
    dearest = max(float(np.max(np.abs(player.buy_per_kwh), initial=0.0)), 0.01)
    for sign, cap in ((1.0, player.import_cap_kw), (-1.0, player.export_cap_kw)):
        if np.isfinite(cap):
            over = sheet.column(CAP_PENALTY_FACTOR * dearest * hours)
            terms = {over: -np.eye(n), **{b: -sign * m for b, m in supply.items()}}
            sheet.below(terms, cap - sign * demand)
            sheet.below({over: -np.eye(n)}, np.zeros(n))


def _add_storage(sheet: _Sheet, player: Player, asset: Storage) -> int:
    """Power = discharge - charge as one block, loss and wear through its charging part; returns the power block."""
    n, hours = player.steps, player.hours
    late = player.late_per_kwh * (1.0 - np.cumsum(hours) / float(np.sum(hours)))
    adjustment = player.adjustments.get(asset.id)
    gamma = 0.0 if adjustment is None else adjustment.gamma_per_kw2h
    plan = np.zeros(n) if adjustment is None else adjustment.p_plan_kw
    sheet.constant += float(gamma * (hours @ plan**2))
    wear_c, wear_d = asset.wear_charge_per_kwh + late, asset.wear_discharge_per_kwh
    power = sheet.column((wear_d - 2 * gamma * plan) * hours, gamma * hours)
    charge = sheet.column((wear_c + wear_d) * hours)
    eye, full = np.eye(n), np.ones(n)
    direction = player.directions.get(asset.id, np.zeros(n))
    sheet.between(charge, np.zeros(n), np.where(direction > 0, 0.0, asset.p_charge_w / 1000))
    sheet.below({power: -eye, charge: -eye}, np.zeros(n))
    sheet.below({power: eye, charge: eye}, np.where(direction < 0, 0.0, asset.p_discharge_w / 1000) * full)
    summed = np.tril(np.ones((n, n))) * hours
    gain = {
        power: -summed / asset.eta_discharge,
        charge: summed * (asset.eta_charge - 1 / asset.eta_discharge),
    }
    floor, ceiling = energy_limits_kwh(asset)
    start = asset.soc_pu * asset.e_wh / 1000
    high, low = np.full(n, ceiling - start), np.full(n, start - floor)
    if asset.id not in player.terminals:
        high[-1] = low[-1] = 0.0
    sheet.below(gain, high)
    sheet.below({b: -m for b, m in gain.items()}, low)
    if asset.id in player.terminals:
        terminal = player.terminals[asset.id]
        worth = float(terminal.widths_kwh @ terminal.values_per_kwh)
        segments = sheet.column(-terminal.values_per_kwh)
        sheet.constant += worth
        sheet.between(segments, np.zeros_like(terminal.widths_kwh), terminal.widths_kwh)
        ones = np.ones((1, terminal.widths_kwh.shape[0]))
        last = {b: -m[-1:] for b, m in gain.items()}
        sheet.below({segments: ones, **last}, np.array([start - floor]))
        sheet.below({segments: -ones, **{b: -m for b, m in last.items()}}, np.array([floor - start]))
    return power


def _add_turbine(sheet: _Sheet, player: Player, asset: Turbine) -> int:
    n, hours, commitment = player.steps, player.hours, player.commitments[asset.id]
    adjustment = player.adjustments.get(asset.id)
    gamma = 0.0 if adjustment is None else adjustment.gamma_per_kw2h
    plan = np.zeros(n) if adjustment is None else adjustment.p_plan_kw
    sheet.constant += float(gamma * (hours @ plan**2))
    lowest, ramp, jump = turbine_limits_kw(asset, hours)
    on = commitment.on
    before = np.append(float(commitment.on_before), on[:-1])
    power = sheet.column((asset.cost_b_per_kwh - 2 * gamma * plan) * hours, (asset.cost_a_per_kw2h + gamma) * hours)
    sheet.between(power, lowest * on, asset.p_max_w / 1000 * on)
    step = np.eye(n) - np.eye(n, k=-1)
    first = np.zeros(n)
    first[0] = commitment.p_before_kw
    started, stopped = np.maximum(on - before, 0.0), np.maximum(before - on, 0.0)
    sheet.below({power: step}, ramp * before + jump * started + first)
    sheet.below({power: -step}, ramp * on + jump * stopped - first)
    sheet.constant += float(asset.cost_c_per_h * (on @ hours))
    sheet.constant += float(asset.start_cost * started.sum() + asset.stop_cost * stopped.sum())
    return power
