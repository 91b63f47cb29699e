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


def test_moves_and_relaxation_close_a_gap_that_pieces_and_duality_leave_open(window: Window) -> None:
    """Ninety minutes in the evening: pieces alone end a third lower and know no better bound."""
    game = window(72, 6)
    bound, program = game.bound(), PieceProgram(game)
    pieces = search(game, program, SearchLimits(0.01, 0, 40), 0.01).best
    solved = solve(game, program, SearchLimits(0.01, 6, 40), 0.01)
    assert solved.best.profit > 1.3 * pieces.profit
    assert bound.profit - solved.best.profit > 0.1 * solved.best.profit
    assert solved.bound.profit - solved.best.profit <= 0.01 * solved.best.profit
    assert solved.moves > 0


def test_nodes_tighten_the_bound_and_never_lose_profit(window: Window) -> None:
    game = window(92, 4)
    without = solve(game, PieceProgram(game), SearchLimits(1e-3, 1, 40), 0.01)
    proved = solve(game, PieceProgram(game), SearchLimits(1e-3, 1, 40, 40), 0.01)
    assert proved.nodes > 0
    assert proved.best.profit >= without.best.profit
    assert proved.bound.profit < without.bound.profit
    assert proved.bound.profit - proved.best.profit <= 0.01 * proved.best.profit


@pytest.mark.parametrize(("first", "seed"), [(8, 1), (52, 2), (66, 3), (88, 4)])
def test_duals_of_any_prices_lie_in_their_derived_box(window: Window, first: int, seed: int) -> None:
    """With prices fixed the program is feasible and earns what the true answers earn: the box cuts no answer off."""
    game = window(first, 6)
    random, low, high = np.random.default_rng(seed), game.market.from_prosumer, game.market.to_prosumer
    to = low + random.random(6) * (high - low)
    prices = Prices(to, low + random.random(6) * (to - low))
    kkt = KktProgram(game, PieceProgram(game))
    for columns, values in ((kkt.to, prices.to_prosumer), (kkt.back, prices.from_prosumer)):
        kkt.lo[columns], kkt.hi[columns] = values - 1e-4, values + 1e-4
    milp = PriceMilp(kkt)
    for _ in range(3):  # each adds the tangents that the one before lacked
        proof = milp.solve(gap=1e-4, nodes=500, known=-1e6)
    true = game.evaluate(prices).profit
    assert proof.prices is not None, "a point exists"
    assert true - 1e-3 <= proof.bound <= true + 0.2


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
