"""Linear programs by HiGHS: one thread, deterministic, with the duals."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from controller.case import FloatArray
from controller.errors import ControllerError
from controller.qp import Model, Vectors


@dataclass(frozen=True, slots=True)
class LpSolution:
    """An optimal basis. Duals are d(objective)/d(bound of the row)."""

    x: FloatArray
    row_dual: FloatArray
    objective: float
    iterations: int


def solve_lp(model: Model, vectors: Vectors, where: str) -> LpSolution:
    """Solve a model without squares and integers.

    Raises ControllerError, naming `where`, when HiGHS finds no optimum.
    """
    if model.quad.nnz or model.integer.any():
        raise ControllerError("the model has squares or integers", where=where, mend="give a linear program")
    solver = highspy.Highs()
    for name, value in (("output_flag", False), ("threads", 1), ("random_seed", 0)):
        solver.setOptionValue(name, value)
    solver.passModel(_highs_lp(model, vectors))
    solver.run()
    status = solver.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        raise ControllerError(
            f"HiGHS stopped with {solver.modelStatusToString(status)}",
            where=where,
            mend="look for limits that conflict",
        )
    solution, info = solver.getSolution(), solver.getInfo()
    return LpSolution(
        x=np.array(solution.col_value),
        row_dual=np.array(solution.row_dual),
        objective=float(info.objective_function_value),
        iterations=max(int(info.simplex_iteration_count), 0),
    )


def _highs_lp(model: Model, vectors: Vectors) -> highspy.HighsLp:
    matrix = model.matrix.tocsc()
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = vectors.cost, vectors.col_lo, vectors.col_hi
    lp.row_lower_, lp.row_upper_ = vectors.row_lo, vectors.row_hi
    lp.offset_ = vectors.constant
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    return lp
