"""Convex programs with named columns and rows: declared once, solved many times with new vectors only.

    minimise 1/2 x'Px + c'x + constant   subject to   row_lo <= Ax <= row_hi,  col_lo <= x <= col_hi

A `Program` collects columns and rows, `build()` freezes its matrices into a `Model`; what may change between solves
(costs, bounds) lives in `Vectors`. `PreparedQp` keeps one PIQP solver per model and only updates its vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import piqp
import scipy.sparse as sp

from controller.case import FloatArray
from controller.errors import ControllerError

IntArray = npt.NDArray[np.int64]
Term = tuple[IntArray, float | FloatArray]

TOLERANCE = 1e-9
"""Absolute and relative tolerance of PIQP: prices are rounded to 1e-6, powers to 1 W, so both stay exact."""


NEARLY = 1e-6
"""A solve that stalls is still taken with residuals and relative duality gap below this."""
MAX_ITERATIONS = 80
"""A window takes 10 to 25 interior-point steps."""


@dataclass(slots=True)
class Vectors:
    """What may differ between two solves of one model; arrays (columns,) or (rows,)."""

    cost: FloatArray
    col_lo: FloatArray
    col_hi: FloatArray
    row_lo: FloatArray
    row_hi: FloatArray
    constant: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """Frozen matrices of a program with the places of its named blocks."""

    quad: sp.csc_matrix
    matrix: sp.csr_matrix
    equal: npt.NDArray[np.bool_]
    """Rows declared as equations: their two bounds are the same in every solve."""
    integer: npt.NDArray[np.bool_]
    cols: dict[str, IntArray]
    rows: dict[str, IntArray]
    defaults: Vectors

    @property
    def column_count(self) -> int:
        """Number of columns."""
        return int(self.integer.shape[0])

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return int(self.equal.shape[0])

    def vectors(self) -> Vectors:
        """A fresh copy of the declared vectors, to be filled."""
        d = self.defaults
        return Vectors(d.cost.copy(), d.col_lo.copy(), d.col_hi.copy(), d.row_lo.copy(), d.row_hi.copy(), d.constant)

    def value(self, vectors: Vectors, x: FloatArray) -> float:
        """Objective at x."""
        return float(0.5 * x @ (self.quad @ x) + vectors.cost @ x + vectors.constant)


@dataclass(slots=True)
class Program:
    """A convex program under construction."""

    cols: dict[str, IntArray] = field(default_factory=dict)
    rows: dict[str, IntArray] = field(default_factory=dict)
    _col_parts: list[tuple[FloatArray, FloatArray, FloatArray, bool]] = field(default_factory=list)
    _row_parts: list[tuple[FloatArray, FloatArray, bool]] = field(default_factory=list)
    _entries: list[tuple[IntArray, IntArray, FloatArray]] = field(default_factory=list)
    _quad: list[tuple[IntArray, IntArray, FloatArray]] = field(default_factory=list)
    _n: int = 0
    _m: int = 0

    def add_columns(
        self,
        name: str,
        n: int,
        *,
        lo: float | FloatArray = 0.0,
        hi: float | FloatArray = np.inf,
        cost: float | FloatArray = 0.0,
        integer: bool = False,
    ) -> IntArray:
        """Declare n columns; returns their places."""
        self.cols[name] = np.arange(self._n, self._n + n, dtype=np.int64)
        self._col_parts.append((_full(cost, n), _full(lo, n), _full(hi, n), integer))
        self._n += n
        return self.cols[name]

    def add_rows(
        self, name: str, n: int, *terms: Term, lo: float | FloatArray = 0.0, hi: float | FloatArray = 0.0
    ) -> IntArray:
        """Declare n rows lo <= sum of coefficient * column <= hi; each term gives one column per row."""
        self.rows[name] = np.arange(self._m, self._m + n, dtype=np.int64)
        low, high = _full(lo, n), _full(hi, n)
        self._row_parts.append((low, high, bool(np.array_equal(low, high))))
        self._m += n
        for cols, coefficient in terms:
            self.add_entries(self.rows[name], cols, coefficient)
        return self.rows[name]

    def add_entries(self, rows: IntArray, cols: IntArray, coefficient: float | FloatArray) -> None:
        """Add coefficients to declared rows, one (row, column) pair each."""
        self._entries.append((rows, cols, _full(coefficient, rows.shape[0])))

    def add_product(self, first: IntArray, second: IntArray, weight: float | FloatArray) -> None:
        """Add weight * x_first * x_second to the objective, pair by pair."""
        half = _full(weight, first.shape[0])
        self._quad.append((first, second, half))
        self._quad.append((second, first, half))

    def build(self) -> Model:
        """Freeze the matrices."""
        cost, lo, hi = (np.concatenate([part[i] for part in self._col_parts]) for i in range(3))
        integer = np.concatenate([np.full(part[0].shape[0], part[3]) for part in self._col_parts])
        row_lo, row_hi = (np.concatenate([part[i] for part in self._row_parts]) for i in range(2))
        equal = np.concatenate([np.full(part[0].shape[0], part[2]) for part in self._row_parts])
        return Model(
            quad=_gather(self._quad, (self._n, self._n)).tocsc(),
            matrix=_gather(self._entries, (self._m, self._n)).tocsr(),
            equal=equal,
            integer=integer,
            cols=dict(self.cols),
            rows=dict(self.rows),
            defaults=Vectors(cost, lo, hi, row_lo, row_hi),
        )


@dataclass(frozen=True, slots=True)
class Solution:
    """A solved program. Duals are d(objective)/d(bound): what one more unit of the active bound costs."""

    x: FloatArray
    row_dual: FloatArray
    col_dual: FloatArray
    objective: float
    bound: float
    """Value of the dual: no feasible point costs less, up to the dual residual."""
    residual: float
    """Largest of primal and dual residual."""
    iterations: int


@dataclass(slots=True)
class PreparedQp:
    """One PIQP solver, set up at the first solve; later solves only update vectors."""

    model: Model
    builds: int = 0
    solves: int = 0
    _solver: Any = None

    def solve(self, vectors: Vectors, *, only_cost: bool = False) -> Solution:
        """Solve with these vectors. `only_cost`: nothing but the cost differs from the solve before.

        Raises ControllerError when PIQP finds the program infeasible or fails.
        """
        equal = self.model.equal
        if self._solver is None:
            self._solver = self._setup(vectors)
        elif only_cost:
            self._solver.update(c=vectors.cost)
        else:
            self._solver.update(
                c=vectors.cost,
                b=vectors.row_lo[equal],
                h_l=vectors.row_lo[~equal],
                h_u=vectors.row_hi[~equal],
                x_l=vectors.col_lo,
                x_u=vectors.col_hi,
            )
        self.solves += 1
        status = self._solver.solve()
        if status != piqp.PIQP_SOLVED and not self._nearly_solved():
            raise ControllerError(
                f"PIQP stopped with {status.name}", where="controller.qp", mend="look for limits that conflict"
            )
        return self._solution(vectors)

    def _setup(self, vectors: Vectors) -> Any:
        self.builds += 1
        equal = self.model.equal
        solver = piqp.SparseSolver()
        solver.settings.eps_abs = solver.settings.eps_rel = TOLERANCE
        solver.settings.eps_duality_gap_abs = solver.settings.eps_duality_gap_rel = TOLERANCE
        solver.settings.compute_timings = False
        solver.settings.max_iter = MAX_ITERATIONS
        solver.setup(
            sp.csc_matrix(self.model.quad),
            vectors.cost,
            self.model.matrix[equal].tocsc(),
            vectors.row_lo[equal],
            self.model.matrix[~equal].tocsc(),
            vectors.row_lo[~equal],
            vectors.row_hi[~equal],
            vectors.col_lo,
            vectors.col_hi,
        )
        return solver

    def _nearly_solved(self) -> bool:
        """PIQP may stall a little above its tolerance; a residual far below the rounding quantum is still good."""
        info = self._solver.result.info
        gap = abs(info.duality_gap) / (1.0 + abs(info.primal_obj))
        return bool(max(info.primal_res, info.dual_res, gap) < NEARLY)

    def _solution(self, vectors: Vectors) -> Solution:
        result, equal = self._solver.result, self.model.equal
        row_dual = np.empty(equal.shape[0])
        row_dual[equal] = -result.y
        row_dual[~equal] = result.z_l - result.z_u
        info = result.info
        return Solution(
            x=np.array(result.x),
            row_dual=row_dual,
            col_dual=np.asarray(result.z_bl - result.z_bu),
            objective=float(info.primal_obj) + vectors.constant,
            bound=float(min(info.primal_obj, info.dual_obj)) + vectors.constant,
            residual=float(max(info.primal_res, info.dual_res)),
            iterations=int(info.iter),
        )


def _full(value: float | FloatArray, n: int) -> FloatArray:
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)))


def _gather(entries: list[tuple[IntArray, IntArray, FloatArray]], shape: tuple[int, int]) -> sp.coo_matrix:
    if not entries:
        return sp.coo_matrix(shape)
    rows, cols, values = (np.concatenate([entry[i] for entry in entries]) for i in range(3))
    return sp.coo_matrix((values, (rows, cols)), shape=shape)
