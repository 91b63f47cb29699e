"""Mixed-integer convex quadratic programs by SCIP: squares as they are, for few prosumers (specs/optimisation.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyscipopt import Model as Scip
from pyscipopt import quicksum

from controller.case import FloatArray
from controller.deadline import ENDLESS, Deadline
from controller.mechanisms.twostage.milp import MilpSolution
from controller.qp import Model, Vectors

SCIP_INFINITY = 1e20


def solve_miqp(
    model: Model, vectors: Vectors, *, gap: float, nodes: int, deadline: Deadline = ENDLESS
) -> MilpSolution | None:
    """Cheapest x with the model's integer columns and its own squares, on one thread; at a limit the best that was
    found; None where SCIP finds none.

    None is no proof: at other tolerances SCIP called a feasible day infeasible, so HiGHS is asked then.
    """
    scip, x = _program(model, vectors)
    scip.setParam("limits/gap", gap)
    scip.setParam("limits/nodes", max(nodes, 1))
    scip.setParam("limits/time", min(deadline.left_s, SCIP_INFINITY))
    scip.optimize()
    if scip.getNSols() == 0:
        return None
    values = np.array([scip.getVal(one) for one in x])
    values[model.integer] = np.round(values[model.integer])
    return MilpSolution(
        x=values,
        objective=model.value(vectors, values),
        bound=float(scip.getDualbound()),
        nodes=int(scip.getNNodes()),
        proved=scip.getStatus() in ("optimal", "gaplimit"),
        solver="SCIP",
    )


def _program(model: Model, vectors: Vectors) -> tuple[Scip, list[Any]]:
    scip = Scip()
    scip.hideOutput()
    for name, value in (("randomization/randomseedshift", 0), ("lp/threads", 1)):
        scip.setParam(name, value)
    x = [
        scip.addVar(vtype="I" if whole else "C", lb=_bound(lo), ub=_bound(hi))
        for lo, hi, whole in zip(vectors.col_lo, vectors.col_hi, model.integer, strict=True)
    ]
    matrix = model.matrix.tocsr()
    for row in range(model.row_count):
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        terms = zip(matrix.indices[part], matrix.data[part], strict=True)
        _add_row(scip, quicksum(float(v) * x[k] for k, v in terms), vectors.row_lo[row], vectors.row_hi[row])
    linear = quicksum(float(c) * x[k] for k, c in enumerate(vectors.cost) if c)
    scip.setObjective(linear + _squares(scip, model, x) + vectors.constant, "minimize")
    return scip, x


def _squares(scip: Scip, model: Model, x: list[Any]) -> Any:
    """One column above each square: SCIP's own cuts then meet it exactly."""
    weights: FloatArray = model.quad.diagonal() / 2
    above = []
    for k in np.flatnonzero(weights):
        column = scip.addVar(vtype="C", lb=0.0, ub=None)
        scip.addCons(float(weights[k]) * x[k] * x[k] <= column)
        above.append(column)
    return quicksum(above)


def _add_row(scip: Scip, expression: Any, low: float, high: float) -> None:
    if low == high:
        scip.addCons(expression == float(low))
        return
    if np.isfinite(low):
        scip.addCons(expression >= float(low))
    if np.isfinite(high):
        scip.addCons(expression <= float(high))


def _bound(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
