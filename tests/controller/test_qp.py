"""Programs built once and solved by PIQP, against cvxpy."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import ControllerError
from controller.qp import Model, PreparedQp, Program, Vectors


def small_model() -> Model:
    program = Program()
    x = program.add_columns("x", 3, lo=-1.0, hi=2.0, cost=[1.0, -2.0, 0.5])
    y = program.add_columns("y", 3)
    program.add_product(x, x, 0.7)
    program.add_product(x, y, 0.1)
    program.add_product(y, y, 0.4)
    program.add_rows("sum", 3, (x, 1.0), (y, -1.0), lo=0.5, hi=0.5)
    program.add_rows("cap", 3, (y, 1.0), lo=-np.inf, hi=1.0)
    return program.build()


def by_cvxpy(model: Model, vectors: Vectors) -> float:
    x = cp.Variable(model.column_count)
    quad = model.quad.toarray()
    values = model.matrix.toarray() @ x
    rules = [x >= vectors.col_lo, values >= vectors.row_lo, values <= vectors.row_hi]
    capped = np.flatnonzero(np.isfinite(vectors.col_hi))
    rules = [rule for rule in rules if rule is not rules[1]] + [x[capped] <= vectors.col_hi[capped]]
    bounded = np.flatnonzero(np.isfinite(vectors.row_lo))
    rules.append(values[bounded] >= vectors.row_lo[bounded])
    problem = cp.Problem(cp.Minimize(0.5 * cp.quad_form(x, cp.psd_wrap(quad)) + vectors.cost @ x), rules)
    problem.solve(solver=cp.CLARABEL)
    return float(problem.value) + vectors.constant


def test_objective_equals_cvxpy_and_duals_price_the_rows() -> None:
    model = small_model()
    prepared, vectors = PreparedQp(model), model.vectors()
    solution = prepared.solve(vectors)
    assert solution.objective == pytest.approx(by_cvxpy(model, vectors), abs=1e-6)
    assert solution.bound == pytest.approx(solution.objective, abs=1e-6)
    moved = model.vectors()
    moved.row_lo[0] = moved.row_hi[0] = 0.5 + 1e-3
    rise = prepared.solve(moved).objective - solution.objective
    assert rise == pytest.approx(1e-3 * solution.row_dual[0], rel=1e-2)


@settings(max_examples=25, deadline=None)
@given(
    cost=st.lists(st.floats(-3, 3), min_size=6, max_size=6),
    high=st.lists(st.floats(0.6, 3), min_size=3, max_size=3),
)
def test_new_vectors_never_rebuild(cost: list[float], high: list[float]) -> None:
    model = small_model()
    prepared = PreparedQp(model)
    prepared.solve(model.vectors())
    vectors = model.vectors()
    vectors.cost[:], vectors.col_hi[model.cols["x"]] = cost, high
    assert prepared.solve(vectors).objective == pytest.approx(by_cvxpy(model, vectors), abs=1e-5)
    vectors.cost[0] += 0.25
    assert prepared.solve(vectors, only_cost=True).objective == pytest.approx(by_cvxpy(model, vectors), abs=1e-5)
    assert prepared.builds == 1
    assert prepared.solves == 3


def test_limits_that_conflict_are_an_error() -> None:
    model = small_model()
    vectors = model.vectors()
    vectors.row_hi[model.rows["cap"]] = -1.0
    with pytest.raises(ControllerError, match="conflict"):
        PreparedQp(model).solve(vectors)
