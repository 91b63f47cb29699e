"""The best prices on one piece of the followers' answer.

A follower's answer is piecewise affine in the prices: one piece per set of limits that bind. On a piece the
complementarity conditions are linear, payments equal the duals' value minus the followers' own costs, and the leader's
problem is one convex program over prices, answers and duals together. At its optimum some pairs (slack, dual) are both
zero: there the neighbouring piece begins, and the multipliers tell whether crossing over pays. Following them never
loses profit; it ends where no single neighbour is better.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from controller.case import FloatArray
from controller.errors import ControllerError
from controller.qp import Model, PreparedQp, Vectors
from controller.stackelberg.game import Outcome, PriceGame, Prices
from controller.stackelberg.player import build, fill
from controller.stackelberg.response import PreparedPlayer

StateArray = npt.NDArray[np.int8]
LOW, INSIDE, HIGH, FIXED = -1, 0, 1, 2
ZERO = 1e-4
"""A slack or dual below this counts as zero at the optimum of a piece."""
NUDGE = 1e-6
"""Weight per kWh of price and kW that draws prices which do not matter towards the market's."""
PAYS = 1e-5
"""A multiplier above this promises a gain beyond the neighbouring piece's border."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which limits bind for one follower: a state per column and per row."""

    cols: StateArray
    rows: StateArray


@dataclass(frozen=True, slots=True)
class PieceOptimum:
    """Best prices of a piece and the patterns of the neighbour to try next; None where no neighbour is better."""

    prices: Prices
    profit: float
    next: tuple[Pattern, ...] | None


class PieceProgram:
    """The leader's program on a piece, prepared once per game structure; pieces differ in vectors only."""

    def __init__(self, game: PriceGame) -> None:
        self.models = [player.solver.model for player in game.followers]
        self.leader_model = build(game.leader_player)
        self.steps = game.leader_player.steps
        self._hours = game.leader_player.hours
        sizes = []
        for model in self.models:
            sizes += [model.column_count, model.row_count, model.column_count]
        sizes += [self.leader_model.column_count, self.steps, self.steps]
        edges = np.cumsum([0, *sizes])
        self.places = [np.arange(a, b) for a, b in pairwise(edges)]
        """Columns of each follower's answer, row duals and column duals in turn, then leader, lambda_s, lambda_b."""
        self.qp = PreparedQp(self._model(int(edges[-1])))

    def solve(self, game: PriceGame, patterns: tuple[Pattern, ...]) -> PieceOptimum:
        """Best prices while every follower keeps its pattern. Raises ControllerError where the solver fails."""
        vectors = self._vectors(game, patterns)
        solution = self.qp.solve(vectors)
        n = self.steps
        low, high = game.market.from_prosumer, game.market.to_prosumer
        to = np.clip(solution.x[-2 * n : -n], low, high)
        prices = Prices(to, np.clip(solution.x[-n:], low, to))
        return PieceOptimum(
            prices, -solution.objective, self._neighbour(patterns, solution.x, solution.col_dual, vectors)
        )

    def _model(self, size: int) -> Model:
        """Rows: each follower's own rows and stationarity, the leader's rows, the order of the prices."""
        n, places = self.steps, self.places
        leader, to, back = places[-3], places[-2], places[-1]
        quads, rows, equal = [], [], []
        coupling = sp.csr_matrix((self.leader_model.row_count, size))
        for i, model in enumerate(self.models):
            x, y, z = places[3 * i : 3 * i + 3]
            buy, sell = model.cols["buy"], model.cols["sell"]
            rows += [_spread(model.matrix, x, size)]
            stationarity = _spread(model.quad, x, size) - _spread(model.matrix.T, y, size)
            stationarity -= _spread(sp.identity(model.column_count), z, size)
            trade = sp.coo_matrix(
                (
                    np.concatenate([self._hours, -self._hours]),
                    (np.concatenate([buy, sell]), np.concatenate([to, back])),
                ),
                shape=(model.column_count, size),
            )
            rows.append(stationarity + trade.tocsr())
            equal += [model.equal, np.ones(model.column_count, dtype=bool)]
            quads.append((x, 2 * model.quad))
            balance = np.tile(self.leader_model.rows["balance"], 2)
            coupling += sp.csr_matrix(
                (np.repeat([-1.0, 1.0], n), (balance, np.concatenate([x[buy], x[sell]]))), shape=coupling.shape
            )
        rows.append(_spread(self.leader_model.matrix, leader, size) + coupling)
        equal.append(self.leader_model.equal)
        rows.append(
            sp.csr_matrix(
                (np.repeat([1.0, -1.0], n), (np.tile(np.arange(n), 2), np.concatenate([to, back]))), shape=(n, size)
            )
        )
        equal.append(np.zeros(n, dtype=bool))
        quads.append((leader, self.leader_model.quad))
        matrix = sp.csr_matrix(sp.vstack(rows))
        zeros, nothing = np.zeros(size), np.zeros(matrix.shape[0])
        return Model(
            quad=_diagonal(quads, size),
            matrix=matrix,
            equal=np.concatenate(equal),
            integer=np.zeros(size, dtype=bool),
            cols={},
            rows={},
            defaults=Vectors(zeros, zeros, zeros, nothing, nothing),
        )

    def _vectors(self, game: PriceGame, patterns: tuple[Pattern, ...]) -> Vectors:
        cost, lo, hi, row_lo, row_hi = [], [], [], [], []
        for player, pattern in zip(game.followers, patterns, strict=True):
            own = own_cost(player)
            v = player.vectors
            at = np.where(pattern.cols == HIGH, v.col_hi, v.col_lo)
            at[pattern.cols == INSIDE] = 0.0
            limit = np.where(pattern.rows == HIGH, v.row_hi, v.row_lo)
            limit[pattern.rows == INSIDE] = 0.0
            cost += [own, -limit, -at]
            lo += [np.where(pattern.cols == HIGH, v.col_hi, v.col_lo), _dual_low(pattern.rows), _dual_low(pattern.cols)]
            hi += [
                np.where(pattern.cols == LOW, v.col_lo, v.col_hi),
                _dual_high(pattern.rows),
                _dual_high(pattern.cols),
            ]
            row_lo += [np.where(pattern.rows == HIGH, v.row_hi, v.row_lo), -own]
            row_hi += [np.where(pattern.rows == LOW, v.row_lo, v.row_hi), -own]
        leader = fill(self.leader_model, game.leader_player)
        market = game.market
        nudge = NUDGE * self._hours
        cost += [leader.cost, -nudge, nudge]
        lo += [leader.col_lo, market.from_prosumer, market.from_prosumer]
        hi += [leader.col_hi, market.to_prosumer, market.to_prosumer]
        row_lo += [leader.row_lo, np.zeros(self.steps)]
        row_hi += [leader.row_hi, np.full(self.steps, np.inf)]
        parts = [np.concatenate(part) for part in (cost, lo, hi, row_lo, row_hi)]
        return Vectors(parts[0], parts[1], parts[2], parts[3], parts[4], leader.constant)

    def _neighbour(
        self, patterns: tuple[Pattern, ...], x: FloatArray, multiplier: FloatArray, vectors: Vectors
    ) -> tuple[Pattern, ...] | None:
        """Patterns with every column pair flipped that is zero on both sides and whose multiplier promises a gain."""
        flipped, moved = [], False
        for i, pattern in enumerate(patterns):
            places, duals = self.places[3 * i], self.places[3 * i + 2]
            cols = pattern.cols.copy()
            for state, sign in ((LOW, 1.0), (HIGH, -1.0)):
                # leaving the bound: the dual is zero and moving inwards lowers the program's cost
                leave = (pattern.cols == state) & (np.abs(x[duals]) < ZERO) & (sign * multiplier[places] < -PAYS)
                cols[leave] = INSIDE
                # arriving at it: the slack is zero and a dual of the right sign lowers the cost
                bound = vectors.col_lo[places] if state == LOW else vectors.col_hi[places]
                at = np.isfinite(bound) & (np.abs(x[places] - bound) < ZERO)
                arrive = (pattern.cols == INSIDE) & at & (sign * multiplier[duals] < -PAYS)
                cols[arrive] = state
                moved = moved or bool(leave.any() or arrive.any())
            flipped.append(Pattern(cols, pattern.rows))
        return tuple(flipped) if moved else None


def patterns_of(game: PriceGame, outcome: Outcome) -> tuple[Pattern, ...]:
    """Which limits bind in every follower's answer: those whose dual exceeds their slack."""
    result = []
    for player, answer in zip(game.followers, outcome.followers, strict=True):
        assert answer.solution is not None
        v, model, solution = player.vectors, player.solver.model, answer.solution
        rows = model.matrix @ solution.x
        result.append(
            Pattern(
                cols=_states(solution.x, v.col_lo, v.col_hi, solution.col_dual),
                rows=_states(rows, v.row_lo, v.row_hi, solution.row_dual),
            )
        )
    return tuple(result)


def climb(game: PriceGame, program: PieceProgram, start: Outcome, pieces: int) -> tuple[Outcome, int]:
    """Follow neighbouring pieces from an outcome while profit rises; the best outcome and the pieces visited."""
    best, patterns = start, patterns_of(game, start)
    for visited in range(1, pieces + 1):
        try:
            optimum = program.solve(game, patterns)
        except ControllerError:
            return best, visited
        found = game.evaluate(optimum.prices)
        gain = found.profit - best.profit
        best = found if gain > 0 else best
        if optimum.next is None or (gain < 1e-7 and visited > 1):
            return best, visited
        patterns = optimum.next
    return best, pieces


def own_cost(player: PreparedPlayer) -> FloatArray:
    """The follower's cost vector without trade."""
    cost = player.vectors.cost.copy()
    cost[player.solver.model.cols["buy"]] = 0.0
    cost[player.solver.model.cols["sell"]] = 0.0
    return cost


def _states(value: FloatArray, lo: FloatArray, hi: FloatArray, dual: FloatArray) -> StateArray:
    states = np.full(value.shape[0], INSIDE, dtype=np.int8)
    states[np.maximum(dual, 0.0) > value - lo] = LOW
    states[np.maximum(-dual, 0.0) > hi - value] = HIGH
    states[lo == hi] = FIXED
    return states


def _dual_low(states: StateArray) -> FloatArray:
    return np.where((states == HIGH) | (states == FIXED), -np.inf, 0.0)


def _dual_high(states: StateArray) -> FloatArray:
    return np.where((states == LOW) | (states == FIXED), np.inf, 0.0)


def _spread(matrix: sp.spmatrix, columns: npt.NDArray[np.int64], size: int) -> sp.csr_matrix:
    """The matrix with its columns at these places of a wider one."""
    coo = sp.coo_matrix(matrix)
    return sp.csr_matrix((coo.data, (coo.row, columns[coo.col])), shape=(matrix.shape[0], size))


def _diagonal(blocks: list[tuple[npt.NDArray[np.int64], sp.spmatrix]], size: int) -> sp.csc_matrix:
    parts = [(places, sp.coo_matrix(block)) for places, block in blocks]
    data = np.concatenate([block.data for _, block in parts])
    rows = np.concatenate([places[block.row] for places, block in parts])
    cols = np.concatenate([places[block.col] for places, block in parts])
    return sp.csc_matrix((data, (rows, cols)), shape=(size, size))
