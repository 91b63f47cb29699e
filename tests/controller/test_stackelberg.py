"""Followers, bound and price search, on random players and on the paper's windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from controller.case import FlexibleLoad, FloatArray, Pv, Storage, Turbine
from controller.mechanisms.twostage import Settings, TwoStage, paper_instance
from controller.mechanisms.twostage.intraday import window_game
from controller.plan import Budget, Plan
from controller.stackelberg.game import PriceGame, Prices
from controller.stackelberg.oracle import best_cost
from controller.stackelberg.piece import PieceProgram, patterns_of
from controller.stackelberg.player import Player
from controller.stackelberg.response import SolverShelf
from controller.stackelberg.search import Found, SearchLimits, search
from controller.stackelberg.terms import Adjustment, Commitment, Terminal
from controller.testing import reference_cost

PAPER = Settings(late_per_kwh=0.0, terminal_spread_per_kwh=10.0)
"""Settings under which the windows are those of models/twostage.md: a hard end of the state of charge."""


@pytest.fixture(scope="module")
def day_ahead() -> Plan:
    return TwoStage(PAPER).plan(paper_instance.day_ahead_case(), "day_ahead", Budget(nodes=100))


@pytest.fixture(scope="module")
def window(day_ahead: Plan) -> Callable[[int], PriceGame]:
    load, renewable = (paper_instance.quarter_hours(rows) for rows in paper_instance.hourly_profiles_kw())

    def at(first: int) -> PriceGame:
        states = paper_instance.planned_states(day_ahead, first)
        case = paper_instance.window_case(day_ahead, first, min(16, 96 - first), load, renewable, states)
        return window_game(case, PAPER, SolverShelf())

    return at


def random_player(seed: int) -> Player:
    """A prosumer with one asset of each kind in a random state."""
    random = np.random.default_rng(seed)
    n = 12

    def rows(low: float, high: float) -> FloatArray:
        return random.uniform(low, high, n)

    assets = (
        Storage("bat", "p", 6400, 3000, 5000, 0.93, 0.96, random.uniform(0.1, 0.9), 0.1, 0.95, 0.01, 0.02),
        Pv("pv", "p", rows(0, 4000) * (random.random(n) < 0.7)),
        FlexibleLoad("flex", "p", rows(0, 800), 0.5, 0.35, 0.02),
        Turbine("mt", "p", 500, 3000, 8000, 0.01, 0.2, 0.1, 0.05, 0.02),
    )
    on = np.ones(n)
    on[:3], on[9:] = 0.0, 0.0
    return Player(
        name="p",
        assets=assets,
        hours=np.full(n, 0.25),
        load_kw=rows(0.2, 4.0),
        buy_per_kwh=rows(0.3, 0.6),
        sell_per_kwh=rows(0.0, 0.3),
        terminals={"bat": Terminal(np.array([2.0, 3.44]), np.array([0.35, 0.2]))},
        commitments={"mt": Commitment(on, 0.0, False)},
        adjustments={"bat": Adjustment(1e-3, rows(-2, 2)), "mt": Adjustment(2e-3, rows(0, 2))},
        late_per_kwh=1e-3,
        import_cap_kw=3.0 if seed % 2 else np.inf,
    )


@pytest.mark.parametrize("seed", range(6))
def test_follower_equals_its_cvxpy_model_and_the_oracle(seed: int) -> None:
    player = random_player(seed)
    answer = SolverShelf().prepare(player).respond(player.buy_per_kwh, player.sell_per_kwh)
    cost, need_kw = reference_cost(player)
    assert answer.cost == pytest.approx(cost, abs=1e-6)
    assert best_cost(player) == pytest.approx(cost, abs=1e-6)
    assert answer.need_kw == pytest.approx(need_kw, abs=2e-2)
    assert answer.bound <= answer.cost + 1e-7
    assert answer.overlap_kw < 1e-4


def test_a_player_is_built_once_and_refilled() -> None:
    shelf = SolverShelf()
    for seed in (0, 2, 4):
        player = random_player(seed)
        prepared = shelf.prepare(player)
        for rise in (0.0, 0.05):
            prepared.respond(player.buy_per_kwh + rise, player.sell_per_kwh)
    assert shelf.builds == 1
    assert shelf.solves == 6


def test_worth_of_stored_energy_is_what_one_more_kwh_saves() -> None:
    player = random_player(2)
    answer = SolverShelf().prepare(player).respond(player.buy_per_kwh, player.sell_per_kwh)
    more = tuple(replace(a, soc_pu=a.soc_pu + 1e-3) if isinstance(a, Storage) else a for a in player.assets)
    richer = replace(player, assets=more)
    saved = answer.cost - SolverShelf().prepare(richer).respond(player.buy_per_kwh, player.sell_per_kwh).cost
    assert saved / 6.4e-3 == pytest.approx(answer.value_per_kwh["bat"][0], abs=5e-3)


def found_at(game: PriceGame, pieces: int = 400) -> Found:
    return search(game, PieceProgram(game), SearchLimits(gap=1e-4, rounds=6, pieces=pieces), 0.01)


@pytest.mark.parametrize("first", [8, 20, 40, 66, 74, 84])
def test_prices_bounds_and_theorems_of_a_window(window: Callable[[int], PriceGame], first: int) -> None:
    game = window(first)
    found = found_at(game, pieces=60)
    best, market = found.best, found.bound.market
    low, high = game.market.from_prosumer, game.market.to_prosumer
    assert np.all(low - 1e-12 <= best.prices.from_prosumer)
    assert np.all(best.prices.from_prosumer <= best.prices.to_prosumer + 1e-12)
    assert np.all(best.prices.to_prosumer <= high + 1e-12)
    assert market.profit - 1e-9 <= best.profit <= found.bound.profit + 1e-6
    for at_best, at_market in zip(best.followers, market.followers, strict=True):
        assert at_best.cost <= at_market.cost + 1e-6 + 1e-8 * abs(at_market.cost), (
            "T3: nobody is worse off than at market prices"
        )
    assert found.bound.central.bound <= best.system_cost + 1e-6, "T4: one hand is never dearer"
    assert best.system_cost <= market.system_cost + 1e-6, "the game never harms the site"
    for prepared, answer in zip(game.followers, best.followers, strict=True):
        player = prepared.player.priced(best.prices.to_prosumer, best.prices.from_prosumer)
        assert answer.cost - best_cost(player) < 5e-5, "T2: followers answer with their best"


@pytest.mark.parametrize("first", [20, 40])
def test_gap_of_the_windows_of_the_specification(window: Callable[[int], PriceGame], first: int) -> None:
    found = found_at(window(first))
    assert found.bound.profit - found.best.profit <= 0.08 * found.best.profit


def test_surplus_lowers_the_purchase_price_to_the_market(window: Callable[[int], PriceGame]) -> None:
    """T8: the cluster has a surplus all through the window, so more volume is worth nothing to the leader."""
    game = window(40)
    best = found_at(game).best
    assert np.all(np.sum([answer.need_kw for answer in best.followers], axis=0) < -1.0)
    assert best.prices.from_prosumer == pytest.approx(game.market.from_prosumer, abs=1e-3)


def test_peak_raises_the_purchase_price_above_the_market(window: Callable[[int], PriceGame]) -> None:
    """T8: in the evening peak the leader pays sellers more than the market does."""
    game = window(74)
    best = found_at(game, pieces=60).best
    assert best.profit > found_at(game, pieces=60).bound.market.profit + 1.0
    assert np.max(best.prices.from_prosumer - game.market.from_prosumer) > 0.01


def test_a_piece_contains_its_own_prices(window: Callable[[int], PriceGame]) -> None:
    """The optimum on a piece is at least the profit it started from, and is what followers really answer."""
    game = window(74)
    low, high = game.market.from_prosumer, game.market.to_prosumer
    start = game.evaluate(Prices(high - 0.3 * (high - low), low + 0.1 * (high - low)))
    optimum = PieceProgram(game).solve(game, patterns_of(game, start))
    assert optimum.profit >= start.profit - 1e-3
    assert game.evaluate(optimum.prices).profit == pytest.approx(optimum.profit, abs=1e-2)


def test_search_is_deterministic(window: Callable[[int], PriceGame]) -> None:
    first, second = found_at(window(74), pieces=40).best, found_at(window(74), pieces=40).best
    assert first.prices.to_prosumer.tobytes() == second.prices.to_prosumer.tobytes()
    assert first.prices.from_prosumer.tobytes() == second.prices.from_prosumer.tobytes()
