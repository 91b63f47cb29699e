"""The window's certificate: a relaxation and a program that bound the profit, neighbourhoods that never lose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from controller.mechanisms.twostage import Settings, TwoStage, paper_instance
from controller.mechanisms.twostage.intraday import window_game
from controller.plan import Budget, Plan
from controller.stackelberg.certificate import PriceMilp
from controller.stackelberg.game import PriceGame, Prices
from controller.stackelberg.kkt import KktProgram
from controller.stackelberg.piece import PieceProgram
from controller.stackelberg.response import SolverShelf
from controller.stackelberg.search import SearchLimits, search
from controller.stackelberg.solve import solve

PAPER = Settings(late_per_kwh=0.0, terminal_spread_per_kwh=10.0)
Window = Callable[..., PriceGame]


@pytest.fixture(scope="module")
def day_ahead() -> Plan:
    return TwoStage(PAPER).plan(paper_instance.day_ahead_case(), "day_ahead", Budget(nodes=100))


@pytest.fixture(scope="module")
def window(day_ahead: Plan) -> Window:
    load, renewable = (paper_instance.quarter_hours(rows) for rows in paper_instance.hourly_profiles_kw())

    def at(first: int, length: int = 16) -> PriceGame:
        states = paper_instance.planned_states(day_ahead, first)
        case = paper_instance.window_case(day_ahead, first, length, load, renewable, states)
        return window_game(case, PAPER, SolverShelf())

    return at


@pytest.mark.parametrize("first", [8, 20, 66])
def test_the_relaxation_bounds_every_profit_and_is_tighter_than_duality(window: Window, first: int) -> None:
    game = window(first)
    found = search(game, PieceProgram(game), SearchLimits(1e-4, 2, 40), 0.01)
    proof = PriceMilp(KktProgram(game, PieceProgram(game))).relaxation()
    assert found.best.profit - 1e-6 <= proof.bound < found.bound.profit
    random, low, high = np.random.default_rng(first), game.market.from_prosumer, game.market.to_prosumer
    for _ in range(10):
        to = low + random.random(16) * (high - low)
        assert game.evaluate(Prices(to, low + random.random(16) * (to - low))).profit <= proof.bound + 1e-6


@pytest.mark.parametrize("first", [20, 40])
def test_gap_of_the_windows_of_the_specification(window: Window, first: int) -> None:
    """T2: on windows 20 and 40 the gap is at most 0.5 %."""
    game = window(first)
    found = solve(game, PieceProgram(game), SearchLimits(0.005, 3, 60, 40), 0.01)
    assert found.bound.profit - found.best.profit <= 0.005 * found.best.profit
    assert found.best.profit >= 0.98 * found.bound.profit


def test_nodes_raise_the_profit_and_close_a_gap_that_duality_leaves_open(window: Window) -> None:
    """Ninety minutes in the evening: pieces alone end a third lower and know nothing better than a gap of 80 %."""
    game = window(72, 6)
    without = solve(game, PieceProgram(game), SearchLimits(0.005, 1, 40), 0.01)
    proved = solve(game, PieceProgram(game), SearchLimits(0.005, 1, 40, 20), 0.01)
    assert without.bound.profit - without.best.profit > 0.5 * without.best.profit
    assert proved.nodes > 0
    assert proved.best.profit >= 1.3 * without.best.profit
    assert proved.bound.profit - proved.best.profit <= 0.005 * proved.best.profit


def test_an_answer_keeps_its_own_pattern(window: Window) -> None:
    """With all binaries at an outcome's pattern the program earns what the followers' answers earn."""
    game = window(84, 8)
    program = PieceProgram(game)
    best = search(game, program, SearchLimits(1e-4, 2, 40), 0.01).best
    milp = PriceMilp(KktProgram(game, program))
    pattern = milp.pattern(best)
    assert set(np.unique(pattern)) <= {0.0, 1.0}
    free = (milp.steps == 0).astype(np.float64)
    for _ in range(4):  # each adds the tangents that the one before lacked
        proof = milp.solve(gap=1e-4, nodes=20, known=-1e6, free=free, pattern=pattern)
    assert proof.prices is not None
    assert game.evaluate(proof.prices).profit >= best.profit - 0.02 * abs(best.profit)
