"""Solves of the leader's mixed-integer program: linear relaxation, neighbourhood of an incumbent, certificate."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
import scipy.sparse as sp

from controller.case import FloatArray
from controller.qp import IntArray
from controller.stackelberg.game import Outcome, Prices
from controller.stackelberg.kkt import KktProgram
from controller.stackelberg.piece import patterns_of

FIRST_TANGENTS = 5
TANGENT_ERROR = 2e-6
"""A tangent is added where the square lies further above those there are, currency."""
ROUNDS = 12
"""Most rounds of adding tangents to the relaxation."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a solve proved and found."""

    bound: float
    """No prices earn the leader more (within the box of duals)."""
    prices: Prices | None
    """Prices of the best point found; None where none was."""
    nodes: int
    duals: float
    """Largest dual at that point as a share of its box: near 1 the box may have cut."""
    proved: bool


class PriceMilp:
    """The program in HiGHS. Tangents once added stay; each call is one solve from scratch or of the relaxation."""

    def __init__(self, kkt: KktProgram) -> None:
        self.kkt = kkt
        self._squares = len(kkt.squares)
        self._binaries = sum(int(limit.dual.shape[0]) for limit in kkt.limits)
        self._plain = kkt.cost.shape[0]
        self._first_binary = self._plain + self._squares
        self._tangent_rows: list[tuple[int, float]] = []
        for k, square in enumerate(kkt.squares):
            self._tangent_rows += [(k, float(p)) for p in np.linspace(square.low, square.high, FIRST_TANGENTS)]
        self._base, self._base_hi, self._base_lo = self._rows()

    @property
    def steps(self) -> IntArray:
        """Step of every binary."""
        return np.concatenate([limit.step for limit in self.kkt.limits])

    @property
    def binaries(self) -> int:
        """Number of binaries."""
        return self._binaries

    def touch(self, x: FloatArray) -> int:
        """Add tangents where the squares at x lie above those there are; returns how many."""
        added = 0
        for k, square in enumerate(self.kkt.squares):
            at = float(square.vector @ x[square.columns])
            if square.weight * at**2 - x[self._plain + k] > TANGENT_ERROR:
                self._tangent_rows.append((k, at))
                added += 1
        return added

    def relaxation(self) -> Proof:
        """Bound of the linear relaxation, tangents added until it no longer moves."""
        bound, prices = np.inf, None
        for _ in range(ROUNDS):
            solver = self._solver(whole=False)
            solver.run()
            info = solver.getInfo()
            if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                break
            before, bound = bound, -float(info.objective_function_value)
            x = np.array(solver.getSolution().col_value)
            prices = self._prices(x)
            if not self.touch(x) or before - bound < 1e-4 * max(abs(bound), 0.01):
                break
        return Proof(float(bound), prices, 0, 0.0, False)

    def solve(
        self, *, gap: float, nodes: int, known: float, free: FloatArray | None = None, pattern: FloatArray | None = None
    ) -> Proof:
        """Branch and bound within `nodes`. `known`: a profit already earned, worse points are cut off.

        pattern : array (binaries,) of 0 and 1, kept except where `free` is 1; both None: all free
        """
        solver = self._solver(whole=True, pattern=pattern, free=free)
        for name, value in (("mip_rel_gap", gap), ("mip_max_nodes", nodes), ("objective_bound", -known + 1e-6)):
            solver.setOptionValue(name, value)
        solver.run()
        info, status = solver.getInfo(), solver.getModelStatus()
        found = info.primal_solution_status == 2
        x = np.array(solver.getSolution().col_value) if found else None
        if x is not None:
            self.touch(x)
        bound = -float(info.mip_dual_bound)
        done = status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible)
        if status == highspy.HighsModelStatus.kInfeasible or not np.isfinite(bound):
            bound = known if status == highspy.HighsModelStatus.kInfeasible else np.inf
        return Proof(
            bound=max(bound, known),
            prices=None if x is None else self._prices(x),
            nodes=max(int(info.mip_node_count), 0),
            duals=0.0 if x is None else self._duals(x),
            proved=done,
        )

    def pattern(self, outcome: Outcome) -> FloatArray:
        """Binaries of an outcome: 1 where the limit binds."""
        state: dict[int, int] = {}
        for number, pattern in enumerate(patterns_of(self.kkt.game, outcome)):
            answer, y = self.kkt.answer(number), self.kkt.program.places[3 * number + 1]
            state |= dict(zip(answer.tolist(), pattern.cols.tolist(), strict=True))
            state |= dict(zip((-1 - y).tolist(), pattern.rows.tolist(), strict=True))
        return np.concatenate(
            [
                [1.0 if state[int(column)] == -limit.sign else 0.0 for column in limit.column]
                for limit in self.kkt.limits
            ]
        )

    def _prices(self, x: FloatArray) -> Prices:
        market = self.kkt.game.market
        to = np.clip(x[self.kkt.to], market.from_prosumer, market.to_prosumer)
        return Prices(to, np.clip(x[self.kkt.back], market.from_prosumer, to))

    def _duals(self, x: FloatArray) -> float:
        """Of the limits whose cap was assumed, not derived from prices."""
        shares = [x[limit.dual] / np.maximum(limit.cap, 1e-12) for limit in self.kkt.limits]
        assumed = [share[~limit.exact] for share, limit in zip(shares, self.kkt.limits, strict=True)]
        return float(np.max(np.concatenate(assumed), initial=0.0))

    def _rows(self) -> tuple[sp.csr_matrix, FloatArray, FloatArray]:
        """Rows that never change: optimality conditions, dual <= cap * b, slack <= reach * (1 - b), one side only."""
        kkt = self.kkt
        width = self._first_binary + self._binaries
        place, parts = self._first_binary, [_wide(kkt.matrix, width)]
        high, low = [kkt.row_hi], [kkt.row_lo]
        sides: dict[int, int] = {}
        both: list[tuple[int, int]] = []
        for limit in kkt.limits:
            n = limit.dual.shape[0]
            binary = np.arange(place, place + n)
            place += n
            parts.append(_entries(n, width, (limit.dual, np.ones(n)), (binary, -limit.cap)))
            slack = limit.sign * _wide(limit.rows, width)
            parts.append(sp.csr_matrix(slack + _entries(n, width, (binary, limit.reach))))
            high += [np.zeros(n), limit.sign * limit.level + limit.reach]
            for column, b in zip(limit.column.tolist(), binary.tolist(), strict=True):
                both += [(sides[column], b)] if column in sides else []
                sides.setdefault(column, b)
        if both:
            first, second = np.array(both).T
            ones = np.ones(len(both))
            parts.append(_entries(len(both), width, (first, ones), (second, ones)))
            high.append(ones)
        matrix, upper = sp.csr_matrix(sp.vstack(parts)), np.concatenate(high)
        lower = np.concatenate([*low, np.full(upper.shape[0] - kkt.row_lo.shape[0], -np.inf)])
        return matrix, upper, lower

    def _tangents(self) -> tuple[sp.csr_matrix, FloatArray]:
        rows: list[int] = []
        cols: list[int] = []
        values: list[float] = []
        low = []
        for r, (k, at) in enumerate(self._tangent_rows):
            square = self.kkt.squares[k]
            rows += [r] * (1 + square.columns.shape[0])
            cols += [self._plain + k, *square.columns.tolist()]
            values += [1.0, *(-2 * square.weight * at * square.vector).tolist()]
            low.append(-square.weight * at**2)
        shape = (len(self._tangent_rows), self._first_binary + self._binaries)
        return sp.csr_matrix((values, (rows, cols)), shape=shape), np.array(low)

    def _solver(
        self, *, whole: bool, pattern: FloatArray | None = None, free: FloatArray | None = None
    ) -> highspy.Highs:
        kkt, (tangents, low) = self.kkt, self._tangents()
        matrix = sp.vstack([self._base, tangents]).tocsc()
        binary_lo, binary_hi = np.zeros(self._binaries), np.ones(self._binaries)
        if pattern is not None and free is not None:
            binary_lo = np.where(free > 0.5, 0.0, pattern)
            binary_hi = np.where(free > 0.5, 1.0, pattern)
        zeros = np.zeros(self._squares)
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = matrix.shape
        lp.col_cost_ = np.concatenate([kkt.cost, np.ones(self._squares), np.zeros(self._binaries)])
        lp.col_lower_ = np.concatenate([kkt.lo, zeros, binary_lo])
        lp.col_upper_ = np.concatenate([kkt.hi, zeros + np.inf, binary_hi])
        lp.row_lower_ = np.concatenate([self._base_lo, low])
        lp.row_upper_ = np.concatenate([self._base_hi, np.full(low.shape[0], np.inf)])
        lp.offset_ = kkt.constant
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
        lp.a_matrix_.value_ = matrix.data
        if whole:
            kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
            lp.integrality_ = [kinds[int(k >= self._first_binary)] for k in range(matrix.shape[1])]
        solver = highspy.Highs()
        for name, value in (("output_flag", False), ("threads", 1), ("random_seed", 0)):
            solver.setOptionValue(name, value)
        solver.passModel(lp)
        return solver


def _wide(matrix: sp.spmatrix, width: int) -> sp.csr_matrix:
    coo = sp.coo_matrix(matrix)
    return sp.csr_matrix((coo.data, (coo.row, coo.col)), shape=(matrix.shape[0], width))


def _entries(n: int, width: int, *terms: tuple[IntArray, FloatArray]) -> sp.csr_matrix:
    rows = np.tile(np.arange(n), len(terms))
    cols = np.concatenate([places for places, _ in terms])
    return sp.csr_matrix((np.concatenate([values for _, values in terms]), (rows, cols)), shape=(n, width))
