"""The paper's method and the baselines beside it: what they reach, what they cost, what is unstable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.mechanisms.twostage import Settings, TwoStage, paper_instance
from controller.mechanisms.twostage.intraday import window_game
from controller.mechanisms.twostage.kriging import fit
from controller.mechanisms.twostage.paper import baseline
from controller.mechanisms.twostage.swarm import PAPER, Constants, UnstableSwarmWarning, maximise
from controller.plan import Budget, Plan
from controller.stackelberg.game import PriceGame
from controller.stackelberg.piece import PieceProgram
from controller.stackelberg.response import SolverShelf
from controller.stackelberg.search import SearchLimits
from controller.stackelberg.solve import solve

HARD_END = Settings(late_per_kwh=0.0, terminal_spread_per_kwh=10.0)


@pytest.fixture(scope="module")
def day_ahead() -> Plan:
    return TwoStage(HARD_END).plan(paper_instance.day_ahead_case(), "day_ahead", Budget(nodes=100))


def game_at(day_ahead: Plan, first: int) -> PriceGame:
    load, renewable = (paper_instance.quarter_hours(rows) for rows in paper_instance.hourly_profiles_kw())
    states = paper_instance.planned_states(day_ahead, first)
    return window_game(
        paper_instance.window_case(day_ahead, first, 16, load, renewable, states), HARD_END, SolverShelf()
    )


@pytest.fixture(scope="module")
def game(day_ahead: Plan) -> PriceGame:
    return game_at(day_ahead, 20)


def test_kriging_swarm_needs_a_tenth_of_the_calls_and_never_earns_more_than_the_search(game: PriceGame) -> None:
    """T6: calls at most 10 % of the plain swarm's; error of predicted powers reported; F at least at market prices."""
    market = game.evaluate(game.market).profit
    kriging, plain = baseline(game, "paper"), baseline(game, "pso")
    best = solve(game, PieceProgram(game), SearchLimits(1e-3, 3, 60), 0.01).best.profit
    assert kriging.calls <= 0.1 * plain.calls
    assert kriging.power_error is not None
    assert 0 <= kriging.power_error < 2
    assert market - 1e-9 <= kriging.best.profit <= best + 1e-6
    assert market - 1e-9 <= plain.best.profit <= best + 1e-6


def test_the_papers_constants_warn(game: PriceGame) -> None:
    """T7: w >= 1."""
    with pytest.warns(UnstableSwarmWarning, match=r"w = 2\.0"):
        found = baseline(game, "paper-preset")
    assert found.best.profit >= game.evaluate(game.market).profit - 1e-9


def test_a_stable_swarm_finds_what_the_papers_misses() -> None:
    def bowl(at: np.ndarray) -> np.ndarray:
        return -np.sum((at - 0.3) ** 2, axis=1)

    def reached(constants: Constants) -> float:
        random = np.random.default_rng(1)
        box = np.zeros(8), np.ones(8)
        return maximise(bowl, *box, particles=20, iterations=60, random=random, constants=constants)[1]

    assert reached(Constants()) > -1e-4
    with pytest.warns(UnstableSwarmWarning):
        assert reached(PAPER) < -1e-2
    assert not Constants(w=0.5, c1=2.0, c2=2.0).stable, "the swapped constants lie on the border"


def test_kriging_interpolates_and_knows_where_it_does_not() -> None:
    random = np.random.default_rng(3)
    points = random.random((60, 2))
    outputs = np.column_stack([np.sin(3 * points[:, 0]) + points[:, 1], points[:, 0] * points[:, 1]])
    model = fit(points, outputs)
    assert model.predict(points) == pytest.approx(outputs, abs=5e-3)
    fresh = 0.2 + 0.6 * random.random((20, 2))
    wanted = np.column_stack([np.sin(3 * fresh[:, 0]) + fresh[:, 1], fresh[:, 0] * fresh[:, 1]])
    assert model.predict(fresh) == pytest.approx(wanted, abs=2e-2)
    assert model.deviation(np.array([[3.0, 3.0]]))[0] > 3 * float(np.max(model.deviation(points)))


def test_a_plan_by_the_papers_method_keeps_all_rules(day_ahead: Plan) -> None:
    load, renewable = (paper_instance.quarter_hours(rows) for rows in paper_instance.hourly_profiles_kw())
    states = paper_instance.planned_states(day_ahead, 40)
    case = paper_instance.window_case(day_ahead, 40, 4, load, renewable, states)
    plan = TwoStage(replace(HARD_END, method="paper")).plan(case, "intraday", Budget())
    again = TwoStage(replace(HARD_END, method="paper")).plan(case, "intraday", Budget())
    assert plan.id == again.id
    assert plan.certificate.bound is not None
    assert plan.certificate.bound >= plan.certificate.objective
    assert plan.certificate.work["evaluations"] < 300
