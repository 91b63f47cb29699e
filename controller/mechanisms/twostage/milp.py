"""Mixed-integer programs by HiGHS: squares become tangents, so its bound stays valid for the true cost.

HiGHS solves no mixed-integer quadratic programs (specs/optimisation.md). Each square of a column is replaced by a
column above K tangents; the tangents lie below the square, so the bound of the linear program bounds the true one.
Limits are nodes and a gap, never seconds: the answer does not depend on the machine's speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import highspy
import numpy as np
import scipy.sparse as sp

from controller.case import FloatArray
from controller.deadline import ENDLESS, Deadline
from controller.errors import ControllerError
from controller.qp import Model, Vectors

TANGENTS = 21
"""Most tangents per square."""
TANGENT_ERROR = 1e-5
"""Fewer tangents do where the square stays this close to them, currency per column."""


@dataclass(frozen=True, slots=True)
class MilpSolution:
    """An incumbent with its bound."""

    x: FloatArray
    objective: float
    """True cost of x, squares included."""
    bound: float
    """No feasible point costs less."""
    nodes: int
    proved: bool
    """Whether the gap asked for was reached."""
    solver: str = "HiGHS"


def solve_milp(model: Model, vectors: Vectors, *, gap: float, nodes: int, deadline: Deadline = ENDLESS) -> MilpSolution:
    """Cheapest x with the model's integer columns, by HiGHS on one thread; at a limit the best that was found.

    Raises ControllerError when there is no feasible point or none was found within `nodes` and the deadline.
    """
    lp, n = _linear_program(model, vectors), vectors.cost.shape[0]
    solver = highspy.Highs()
    for name, value in (
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 0),
        ("mip_rel_gap", gap),
        ("mip_max_nodes", nodes),
        ("time_limit", deadline.left_s),
        ("mip_lp_age_limit", 10),
    ):
        solver.setOptionValue(name, value)
    solver.passModel(lp)
    solver.run()
    status, info = solver.getModelStatus(), solver.getInfo()
    if info.primal_solution_status != 2:
        raise ControllerError(
            f"HiGHS found no plan: {solver.modelStatusToString(status)}",
            where="twostage.day_ahead",
            mend="look for a turbine whose state, ramp and minimum times conflict, or raise the budget",
        )
    x = np.array(solver.getSolution().col_value)[:n]
    x[model.integer] = np.round(x[model.integer])
    bound = float(info.mip_dual_bound) if bool(model.integer.any()) else float(info.objective_function_value)
    return MilpSolution(
        x=x,
        objective=model.value(vectors, x),
        bound=bound,
        nodes=max(int(info.mip_node_count), 0),
        proved=status == highspy.HighsModelStatus.kOptimal,
    )


def _linear_program(model: Model, vectors: Vectors) -> highspy.HighsLp:
    tangents, low = _tangents(model, vectors)
    n, m = vectors.cost.shape[0], model.equal.shape[0]
    squares = tangents.shape[1] - n
    matrix = sp.vstack([sp.hstack([model.matrix, sp.csr_matrix((m, squares))]), tangents]).tocsc()
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = n + squares, m + tangents.shape[0]
    lp.col_cost_ = np.concatenate([vectors.cost, np.ones(squares)])
    lp.col_lower_ = np.concatenate([vectors.col_lo, np.zeros(squares)])
    lp.col_upper_ = np.concatenate([vectors.col_hi, np.full(squares, np.inf)])
    lp.row_lower_ = np.concatenate([vectors.row_lo, low])
    lp.row_upper_ = np.concatenate([vectors.row_hi, np.full(low.shape[0], np.inf)])
    lp.offset_ = vectors.constant
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
    lp.a_matrix_.value_ = matrix.data
    kinds = np.where(np.concatenate([model.integer, np.zeros(squares, dtype=bool)]), 1, 0)
    if kinds.any():
        types = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
        lp.integrality_ = [types[kind] for kind in kinds]
    return lp


def _tangents(model: Model, vectors: Vectors) -> tuple[sp.csr_matrix, FloatArray]:
    """Rows square_j - 2 w x0 x_j >= -w x0^2 at points x0 of each column's range, and their lower bounds."""
    weights = model.quad.diagonal() / 2
    columns = np.flatnonzero(weights)
    n = weights.shape[0]
    rows: list[int] = []
    cols: list[int] = []
    values: list[float] = []
    low: list[float] = []
    for place, column in enumerate(columns):
        weight, lo, hi = weights[column], vectors.col_lo[column], vectors.col_hi[column]
        enough = ceil(1 + (hi - lo) / 2 * sqrt(weight / TANGENT_ERROR))
        for point in np.linspace(lo, hi, min(TANGENTS, max(enough, 2))):
            rows += [len(low)] * 2
            cols += [n + place, int(column)]
            values += [1.0, -2 * weight * point]
            low.append(-weight * point**2)
    matrix = sp.csr_matrix((values, (rows, cols)), shape=(len(low), n + columns.shape[0]))
    return matrix, np.array(low, dtype=np.float64)
