"""The leader's problem over prices, answers and duals as one mixed-integer program: a tighter bound and a certificate.

Every follower is replaced by its optimality conditions and payments by the duals' value, so that the objective is
convex (models/twostage.md section 6a, models/dso.md section 6b). A binary per limit says whether slack or dual is zero.
Squares become tangents, which lie below them: what the solver proves bounds the profit from above, whatever it found.
Even its linear relaxation is far tighter than strong duality alone, because a dual can only be as large as prices let
it, and the slack it then leaves is bounded by the same binary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from controller.case import FloatArray
from controller.qp import IntArray
from controller.stackelberg.duals import DualBox, dual_box, times
from controller.stackelberg.game import PriceGame
from controller.stackelberg.piece import PieceProgram, own_cost
from controller.stackelberg.player import fill
from controller.stackelberg.response import PreparedPlayer


@dataclass(frozen=True, slots=True)
class Limit:
    """Limits of one kind: slack = sign * (row of `rows` @ x - level) >= 0, its dual in column `dual`."""

    dual: IntArray
    rows: sp.csr_matrix
    level: FloatArray
    sign: float
    reach: FloatArray
    """Largest slack."""
    cap: FloatArray
    """Largest dual (duals.py)."""
    step: IntArray
    """Step each limit belongs to."""
    column: IntArray
    """Which column or row it limits, to tell the two sides of one from each other; rows count from -1 downwards."""


@dataclass(frozen=True, slots=True)
class Square:
    """A term weight * (vector @ x[columns])^2 of the cost."""

    columns: IntArray
    vector: FloatArray
    weight: float
    low: float
    high: float

    @property
    def most(self) -> float:
        """Largest value."""
        return self.weight * max(self.low**2, self.high**2)


@dataclass(slots=True)
class _Columns:
    """Columns of the program, each a signed copy of a column of the piece program."""

    source: list[IntArray] = field(default_factory=list)
    sign: list[FloatArray] = field(default_factory=list)
    lo: list[FloatArray] = field(default_factory=list)
    hi: list[FloatArray] = field(default_factory=list)
    cost: list[FloatArray] = field(default_factory=list)
    count: int = 0

    def add(
        self,
        source: IntArray,
        lo: float | FloatArray,
        hi: float | FloatArray,
        cost: float | FloatArray,
        sign: float = 1.0,
    ) -> IntArray:
        """Add columns; returns their places."""
        n = source.shape[0]
        self.source.append(source)
        self.sign.append(np.full(n, sign))
        for rows, value in ((self.lo, lo), (self.hi, hi), (self.cost, cost)):
            rows.append(np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), (n,))))
        self.count += n
        return np.arange(self.count - n, self.count)


class KktProgram:
    """Columns, rows, limits and squares of one window; see the module. Sizes as the players have them."""

    def __init__(self, game: PriceGame, program: PieceProgram) -> None:
        self.game, self.program = game, program
        self._columns = _Columns()
        self._row_lo: list[FloatArray] = []
        self._row_hi: list[FloatArray] = []
        self.limits: list[Limit] = []
        self._answers: list[IntArray] = []
        self._balances: list[IntArray] = []
        self.hours = game.leader_player.hours
        for number in range(len(game.followers)):
            self._add_follower(number)
        leader = fill(program.leader_model, game.leader_player)
        market, places = game.market, program.places
        self._leader = self._columns.add(places[-3], leader.col_lo, leader.col_hi, leader.cost)
        self.to = self._columns.add(places[-2], market.from_prosumer, market.to_prosumer, 0.0)
        self.back = self._columns.add(places[-1], market.from_prosumer, market.to_prosumer, 0.0)
        zero = np.zeros(program.steps)
        self._row_lo += [leader.row_lo, zero]
        self._row_hi += [leader.row_hi, zero + np.inf]
        self.constant = leader.constant
        self.source = np.concatenate(self._columns.source)
        """Column of the piece program behind each column."""
        self.matrix = self._matrix()
        self.cost, self.lo, self.hi = (np.concatenate(rows) for rows in self._parts())
        self.row_lo, self.row_hi = np.concatenate(self._row_lo), np.concatenate(self._row_hi)
        self.squares = self._squares()

    def answer(self, number: int) -> IntArray:
        """Columns of a follower's answer."""
        return self._answers[number]

    def balance(self, number: int) -> IntArray:
        """Columns of the duals of a follower's balance."""
        return self._balances[number]

    def _parts(self) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray]]:
        return self._columns.cost, self._columns.lo, self._columns.hi

    def _matrix(self) -> sp.csr_matrix:
        sign = np.concatenate(self._columns.sign)
        return sp.csr_matrix(self.program.qp.model.matrix.tocsc()[:, self.source] @ sp.diags(sign))

    def _add_follower(self, number: int) -> None:
        """Answer, row duals and column duals of one follower with the limits between them."""
        prepared = self.game.followers[number]
        vectors, own = prepared.vectors, own_cost(prepared)
        box = dual_box(prepared, self.game.market)
        x, y, z = self.program.places[3 * number : 3 * number + 3]
        low, high = _reachable(prepared, box)
        answer = self._columns.add(x, low, high, own)
        self._answers.append(answer)
        self._add_row_duals(prepared, box, y, answer)
        self._row_lo += [vectors.row_lo, -own]
        self._row_hi += [vectors.row_hi, -own]
        fixed = np.flatnonzero(low == high)
        self._columns.add(z[fixed], box.col_lo[fixed], box.col_hi[fixed], -low[fixed])
        for sign, level, cap in ((1.0, vectors.col_lo, box.low_cap), (-1.0, vectors.col_hi, box.high_cap)):
            k = np.flatnonzero((low < high) & np.isfinite(level) & (cap > 0))
            dual = self._columns.add(z[k], 0.0, cap[k], -sign * level[k], sign)
            rows, steps = _unit_rows(answer[k]), _steps(prepared.solver.model.cols, k)
            reach = (high - level if sign > 0 else level - low)[k]
            self.limits.append(Limit(dual, rows, level[k], sign, reach, cap[k], steps, answer[k]))

    def _add_row_duals(self, prepared: PreparedPlayer, box: DualBox, y: IntArray, answer: IntArray) -> None:
        model, vectors = prepared.solver.model, prepared.vectors
        equal = np.flatnonzero(model.equal)
        added = self._columns.add(y[equal], box.row_lo[equal], box.row_hi[equal], -vectors.row_lo[equal])
        self._balances.append(added[np.searchsorted(equal, model.rows["balance"])])
        least, most = times(model.matrix, vectors.col_lo, vectors.col_hi)
        for sign, level, cap in ((1.0, vectors.row_lo, box.row_hi), (-1.0, vectors.row_hi, -box.row_lo)):
            open_ = ~model.equal & np.isfinite(level) & (least < level if sign > 0 else most > level)
            k = np.flatnonzero(open_ & (cap > 0))
            dual = self._columns.add(y[k], 0.0, cap[k], -sign * level[k], sign)
            other = np.minimum(most, vectors.row_hi) if sign > 0 else np.maximum(least, vectors.row_lo)
            reach = np.maximum(sign * (other - level), 0.0)[k]
            rows, steps = _moved(model.matrix[k], answer), _steps(model.rows, k)
            self.limits.append(Limit(dual, rows, level[k], sign, reach, cap[k], steps, -1 - y[k]))

    def _squares(self) -> list[Square]:
        """The quadratic cost of answers and leader as weighted squares, by blocks of columns that belong together."""
        owner = np.full(self.program.qp.model.column_count, -1)
        mine = np.concatenate([*self._answers, self._leader])
        owner[self.source[mine]] = mine
        quad = sp.csr_matrix(self.program.qp.model.quad)
        used = np.flatnonzero(np.diff(quad.indptr))
        block = quad[used][:, used]
        count, label = connected_components(block, directed=False)
        found = []
        for members in (np.flatnonzero(label == k) for k in range(count)):
            values, vectors = np.linalg.eigh(block[np.ix_(members, members)].toarray())
            columns = owner[used[members]]
            for value, vector in zip(values, vectors.T, strict=True):
                if value > 1e-9 * max(float(values[-1]), 1.0):
                    found.append(self._square(columns, vector, float(value) / 2))
        return found

    def _square(self, columns: IntArray, vector: FloatArray, weight: float) -> Square:
        ends = np.array([vector * self.lo[columns], vector * self.hi[columns]])
        return Square(columns, vector, weight, float(ends.min(axis=0).sum()), float(ends.max(axis=0).sum()))


def _steps(blocks: dict[str, IntArray], places: IntArray) -> IntArray:
    """Step of each place: its position in its block."""
    step = np.zeros(sum(block.shape[0] for block in blocks.values()), dtype=np.int64)
    for block in blocks.values():
        step[block] = np.arange(block.shape[0])
    return step[places]


def _unit_rows(columns: IntArray) -> sp.csr_matrix:
    n = columns.shape[0]
    width = int(columns.max(initial=-1)) + 1
    return sp.csr_matrix((np.ones(n), (np.arange(n), columns)), shape=(n, width))


def _moved(matrix: sp.spmatrix, columns: IntArray) -> sp.csr_matrix:
    coo = sp.coo_matrix(matrix)
    return sp.csr_matrix((coo.data, (coo.row, columns[coo.col])), shape=(matrix.shape[0], int(columns.max()) + 1))


def _reachable(prepared: PreparedPlayer, box: DualBox) -> tuple[FloatArray, FloatArray]:
    """Ranges of a follower's columns: at a limit where its dual says so at any price, trade at most what is missing or
    left over (nobody gains by buying and selling at once)."""
    model, vectors = prepared.solver.model, prepared.vectors
    low, high = vectors.col_lo.copy(), vectors.col_hi.copy()
    always_low, always_high = (box.col_lo > 0) & np.isfinite(low), (box.col_hi < 0) & np.isfinite(high)
    high[always_low], low[always_high] = low[always_low], high[always_high]
    buy, sell, balance = model.cols["buy"], model.cols["sell"], model.rows["balance"]
    for columns in (buy, sell):
        low[columns] = high[columns] = 0.0
    least, most = times(model.matrix[balance], low, high)
    load = vectors.row_lo[balance]
    high[buy] = np.minimum(vectors.col_hi[buy], np.maximum(load - least, 0.0))
    high[sell] = np.minimum(vectors.col_hi[sell], np.maximum(most - load, 0.0))
    return low, high
