"""How large a follower's duals can be at any allowed prices: intervals that follow from its problem, none assumed.

An answer may have many duals; its optimality conditions hold if one set of them does. So each interval need only
contain one optimal set, whatever the prices:

- balance: between feed-in and purchase price, because trade is never at its limit.
- stored energy: every step in which charging or discharging is between or at its limits says that a stored kWh is worth
  at least or at most some price, corrected by losses, wear and the pull of the plan. Duals clipped to the hull of these
  worths stay dual feasible and complementary, since clipping keeps their order from step to step.
- ramps: the duals of a turbine's rows are a flow along its steps, and a basic flow carries through an arc no more than
  what all steps on one side of it can lack or exceed.
- limits of columns: what the stationarity of the column leaves, by interval arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from controller.case import FloatArray, Storage, Turbine
from controller.stackelberg.game import Prices
from controller.stackelberg.piece import own_cost
from controller.stackelberg.response import PreparedPlayer

Range = tuple[FloatArray, FloatArray]
WIDER = 1.0 + 1e-6
"""Intervals are widened by this, against rounding."""


@dataclass(frozen=True, slots=True)
class DualBox:
    """Intervals of a follower's duals; arrays (rows,) and (columns,). Positive at a lower limit."""

    row_lo: FloatArray
    row_hi: FloatArray
    col_lo: FloatArray
    col_hi: FloatArray
    low_cap: FloatArray
    """Largest dual of a column's lower limit; at most 0 where that limit can be left out."""
    high_cap: FloatArray
    """Largest magnitude of the dual of its upper limit."""


def dual_box(prepared: PreparedPlayer, market: Prices) -> DualBox:
    """Intervals that hold one optimal set of duals at any prices inside the market's."""
    return _Box(prepared, market).box()


class _Box:
    def __init__(self, prepared: PreparedPlayer, market: Prices) -> None:
        self.player, self.model, self.vectors = prepared.player, prepared.solver.model, prepared.vectors
        self.hours = self.player.hours
        self.low, self.high = market.from_prosumer * self.hours, market.to_prosumer * self.hours
        own = own_cost(prepared)
        least, most = times(self.model.quad, self.vectors.col_lo, self.vectors.col_hi)
        self.slope = own + least, own + most
        """Own marginal cost of each column."""
        self.row_lo, self.row_hi = np.zeros(self.model.row_count), np.zeros(self.model.row_count)

    def box(self) -> DualBox:
        rows, cols = self.model.rows, self.model.cols
        self.row_lo[rows["balance"]], self.row_hi[rows["balance"]] = self.low, self.high
        for asset in self.player.assets:
            if isinstance(asset, Storage):
                self._storage(asset)
            elif isinstance(asset, Turbine):
                self._ramp(asset)
        least, most = times(sp.csr_matrix(self.model.matrix.T), self.row_lo, self.row_hi)
        col_lo, col_hi = self.slope[0] - most, self.slope[1] - least
        # at a lower limit the column's own square has its least slope, at an upper one its greatest
        square = self.model.quad.diagonal() * np.nan_to_num(self.vectors.col_hi - self.vectors.col_lo, posinf=1e9)
        low_cap, high_cap = col_hi - square, -col_lo - square
        for name in ("buy", "sell"):
            at = cols[name]
            col_lo[at], col_hi[at], low_cap[at], high_cap[at] = 0.0, self.high - self.low, self.high - self.low, 0.0
        parts = self.row_lo, self.row_hi, col_lo, col_hi, low_cap, high_cap
        return DualBox(*(np.asarray(part * WIDER) for part in parts))

    def _storage(self, asset: Storage) -> None:
        """The dual of an energy row is minus the worth of a stored kWh."""
        low, high = self._worths(asset)
        rows = self.model.rows[f"{asset.id}.energy"]
        self.row_lo[rows], self.row_hi[rows] = -high, -low
        if asset.id in self.player.terminals:
            end = self.model.rows[f"{asset.id}.end"]
            self.row_lo[end], self.row_hi[end] = -high, -low

    def _worths(self, asset: Storage) -> tuple[float, float]:
        """Lowest and highest worth of a stored kWh that a step or a piece of the end's curve can name."""
        charge, discharge = (self.model.cols[f"{asset.id}.{side}"] for side in ("charge", "discharge"))
        into, out = self.hours * asset.eta_charge, self.hours / asset.eta_discharge
        named = [
            (self.low + self.slope[0][charge]) / into,
            (self.high + self.slope[1][charge]) / into,
            (self.low - self.slope[1][discharge]) / out,
            (self.high - self.slope[0][discharge]) / out,
        ]
        low, high = float(np.min(named)), float(np.max(named))
        pieces = self._marginal_pieces(asset, low, high)
        return min([low, *pieces]), max([high, *pieces])

    def _marginal_pieces(self, asset: Storage, low: float, high: float) -> list[float]:
        """Worths of the pieces of the end's curve that may be filled in part: all but those worth more than any step
        can cost and sure to be filled, and those worth less than any step can earn and sure to stay empty."""
        if asset.id not in self.player.terminals:
            return []
        terminal, start = self.player.terminals[asset.id], asset.soc_pu * asset.e_wh / 1000
        energy = self.model.cols[f"{asset.id}.energy"]
        floor, ceiling = float(self.vectors.col_lo[energy[-1]]), float(self.vectors.col_hi[energy[-1]])
        p_charge, p_discharge = (
            self.vectors.col_hi[self.model.cols[f"{asset.id}.{s}"]] for s in ("charge", "discharge")
        )
        most = min(ceiling, start + float(self.hours @ p_charge) * asset.eta_charge)
        least = max(floor, start - float(self.hours @ p_discharge) / asset.eta_discharge)
        tops = floor + np.cumsum(terminal.widths_kwh)
        found = []
        for value, top, width in zip(terminal.values_per_kwh, tops, terminal.widths_kwh, strict=True):
            full, empty = value > high and top <= most, value < low and top - width >= least
            if width > 0 and not full and not empty:
                found.append(float(value))
        return found

    def _ramp(self, asset: Turbine) -> None:
        """A basic dual carries either what the steps from k on lack or exceed, or what the steps before k do."""
        power, rows = self.model.cols[f"{asset.id}.p"], self.model.rows[f"{asset.id}.ramp"]
        lacks = np.maximum(self.high - self.slope[0][power], 0.0)
        exceeds = np.maximum(self.slope[1][power] - self.low, 0.0)
        self.row_lo[rows] = -np.maximum(_from(lacks), _before(exceeds))
        self.row_hi[rows] = np.maximum(_from(exceeds), _before(lacks))


def _from(values: FloatArray) -> FloatArray:
    return np.asarray(np.cumsum(values[::-1])[::-1])


def _before(values: FloatArray) -> FloatArray:
    return np.asarray(np.cumsum(values) - values)


def times(matrix: sp.spmatrix, low: FloatArray, high: FloatArray) -> Range:
    """Least and most of matrix @ x for x in a box; infinite sides count as 1e9."""
    up, down = sp.csr_matrix(matrix).maximum(0), sp.csr_matrix(matrix).minimum(0)
    lo, hi = (np.nan_to_num(v, posinf=1e9, neginf=-1e9) for v in (low, high))
    return np.asarray(up @ lo + down @ hi), np.asarray(up @ hi + down @ lo)
