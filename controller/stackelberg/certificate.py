"""Solves of the leader's mixed-integer program: linear relaxation, neighbourhood of an incumbent, certificate."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
import scipy.sparse as sp

from controller.case import FloatArray
from controller.deadline import ENDLESS, Deadline
from controller.qp import IntArray
from controller.stackelberg.game import Outcome, Prices
from controller.stackelberg.kkt import KktProgram
from controller.stackelberg.piece import patterns_of
from controller.stackelberg.products import Products

FIRST_TANGENTS = 5
TANGENT_ERROR = 2e-6
"""A tangent is added where the square lies further above those there are, currency."""
INTERIOR_ABOVE = 12_000
"""Columns from which relaxations are solved by the interior point method without a basis: 30 prosumers took minutes
by the simplex method, 9 s this way."""
INTERIOR_ROUNDS = 3
"""Its solves cannot start from the last one, so there are few."""
OPEN = 1e6
"""kW that no column without a limit of its own reaches."""
MARGIN = 1e-3
"""Share of the known profit (or of 1) below which branch and bound looks no further."""
ROUNDS = 12
"""Most rounds of adding tangents to the relaxation."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a solve proved and found."""

    bound: float
    """No prices earn the leader more."""
    prices: Prices | None
    """Prices of the best point found; None where none was."""
    nodes: int
    proved: bool


class PriceMilp:
    """The program in HiGHS. Tangents once added stay; each call is one solve from scratch or of the relaxation."""

    def __init__(self, kkt: KktProgram) -> None:
        self.kkt = kkt
        self._squares = len(kkt.squares)
        self._binaries = sum(int(limit.dual.shape[0]) for limit in kkt.limits)
        self._plain = kkt.cost.shape[0]
        self._first_binary = self._plain + self._squares
        self._products = Products(kkt, self._plain, self._first_binary + self._binaries)
        self._width = self._first_binary + self._binaries + self._products.count
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

    def relaxation(self, deadline: Deadline = ENDLESS) -> Proof:
        """Bound of the linear relaxation, tangents added until it no longer moves; each solve starts from the last.

        Ends with the rounds that were done by the deadline; a bound of inf is none.
        """
        bound, prices = np.inf, None
        solver = self._solver(whole=False)
        interior = self._width > INTERIOR_ABOVE
        if interior:
            for name, value in (("solver", "ipm"), ("run_crossover", "off"), ("ipm_optimality_tolerance", 1e-6)):
                solver.setOptionValue(name, value)
        for _ in range(INTERIOR_ROUNDS if interior else ROUNDS):
            solver.setOptionValue("time_limit", solver.getRunTime() + deadline.left_s)  # its clock goes on over rounds
            solver.run()
            if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                break
            before, bound = bound, min(bound, self._safe(solver))
            x = np.array(solver.getSolution().col_value)
            prices = self._prices(x)
            known = len(self._tangent_rows)
            if not self.touch(x) or before - bound < 1e-4 * max(abs(bound), 0.01):
                break
            rows, low = self._tangents(known)
            high = np.full(low.shape[0], np.inf)
            solver.addRows(low.shape[0], low, high, rows.nnz, rows.indptr[:-1], rows.indices, rows.data)
        return Proof(float(bound), prices, 0, False)

    def _safe(self, solver: highspy.Highs) -> float:
        """Bound by the solver's row duals alone, valid whatever its tolerances: every column has finite limits, and the
        reduced costs say what each could add at most."""
        lp, dual = solver.getLp(), np.array(solver.getSolution().row_dual)
        low, high = np.array(lp.row_lower_), np.array(lp.row_upper_)
        dual = np.where(((dual < 0) & (high > OPEN)) | ((dual > 0) & (low < -OPEN)), 0.0, dual)
        reduced = np.array(lp.col_cost_) - sp.vstack([self._base, self._tangents()[0]]).T @ dual
        columns = _least(reduced, np.array(lp.col_lower_), np.array(lp.col_upper_))
        return -(float(np.sum(_least(dual, low, high)) + np.sum(columns)) + self.kkt.constant)

    def solve(
        self,
        *,
        gap: float,
        nodes: int,
        known: float,
        free: FloatArray | None = None,
        pattern: FloatArray | None = None,
        deadline: Deadline = ENDLESS,
    ) -> Proof:
        """Branch and bound within `nodes`. `known`: a profit already earned, points worse by MARGIN are cut off.

        pattern : array (binaries,) of 0 and 1, kept except where `free` is 1; both None: all free
        """
        solver = self._solver(whole=True, pattern=pattern, free=free)
        for name, value in (
            ("mip_rel_gap", gap),
            ("mip_max_nodes", nodes),
            ("time_limit", deadline.left_s),
            ("objective_bound", MARGIN * max(abs(known), 1.0) - known),
        ):
            solver.setOptionValue(name, value)
        solver.run()
        info, status = solver.getInfo(), solver.getModelStatus()
        found = info.primal_solution_status == 2
        x = np.array(solver.getSolution().col_value) if found else None
        if x is not None:
            self.touch(x)
        bound = -float(info.mip_dual_bound)
        if status == highspy.HighsModelStatus.kInfeasible or not np.isfinite(bound):
            bound = np.inf  # what is known lies within the cut, so this is the solver's tolerance and no proof
        return Proof(
            bound=max(bound, known),
            prices=None if x is None else self._prices(x),
            nodes=max(int(info.mip_node_count), 0),
            proved=status == highspy.HighsModelStatus.kOptimal,
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

    def _rows(self) -> tuple[sp.csr_matrix, FloatArray, FloatArray]:
        """Rows that never change: optimality conditions, dual <= cap * b, slack <= reach * (1 - b), one side only."""
        kkt = self.kkt
        width = self._width
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
        upper = np.concatenate(high)
        lower = np.concatenate([*low, np.full(upper.shape[0] - kkt.row_lo.shape[0], -np.inf)])
        more = self._products.rows
        parts.append(more.matrix(width))
        return sp.csr_matrix(sp.vstack(parts)), np.concatenate([upper, more.high]), np.concatenate([lower, more.low])

    def _tangents(self, first: int = 0) -> tuple[sp.csr_matrix, FloatArray]:
        """Rows of the tangents from number `first` on."""
        rows: list[int] = []
        cols: list[int] = []
        values: list[float] = []
        low = []
        for r, (k, at) in enumerate(self._tangent_rows[first:]):
            square = self.kkt.squares[k]
            rows += [r] * (1 + square.columns.shape[0])
            cols += [self._plain + k, *square.columns.tolist()]
            values += [1.0, *(-2 * square.weight * at * square.vector).tolist()]
            low.append(-square.weight * at**2)
        shape = (len(low), self._width)
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
        zeros, products = np.zeros(self._squares), self._products
        most = np.array([square.most for square in kkt.squares])
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = matrix.shape
        lp.col_cost_ = np.concatenate([kkt.cost, zeros + 1.0, np.zeros(self._binaries + products.count)])
        lp.col_lower_ = np.concatenate([kkt.lo, zeros, binary_lo, *products.low])
        lp.col_upper_ = np.concatenate([kkt.hi, most, binary_hi, *products.high])
        lp.row_lower_ = np.concatenate([self._base_lo, low])
        lp.row_upper_ = np.concatenate([self._base_hi, np.full(low.shape[0], np.inf)])
        lp.offset_ = kkt.constant
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
        lp.a_matrix_.value_ = matrix.data
        if whole:
            first = self._first_binary
            kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
            lp.integrality_ = [kinds[int(first <= k < first + self._binaries)] for k in range(self._width)]
        solver = highspy.Highs()
        for name, value in (("output_flag", False), ("threads", 1), ("random_seed", 0)):
            solver.setOptionValue(name, value)
        solver.passModel(lp)
        return solver


def _least(weight: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Least of weight * value, value in [low, high]; a side that is open counts as OPEN."""
    low, high = np.maximum(low, -OPEN), np.minimum(high, OPEN)
    return np.where(weight > 0, weight * low, weight * high)


def _wide(matrix: sp.spmatrix, width: int) -> sp.csr_matrix:
    coo = sp.coo_matrix(matrix)
    return sp.csr_matrix((coo.data, (coo.row, coo.col)), shape=(matrix.shape[0], width))


def _entries(n: int, width: int, *terms: tuple[IntArray, FloatArray]) -> sp.csr_matrix:
    rows = np.tile(np.arange(n), len(terms))
    cols = np.concatenate([places for places, _ in terms])
    return sp.csr_matrix((np.concatenate([values for _, values in terms]), (rows, cols)), shape=(n, width))
