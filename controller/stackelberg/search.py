"""Search for the leader's best prices, from the market's and from the central optimum's marginal prices.

Order of use: bound; climb over pieces from marginal prices spread towards the market's; then perturbed restarts around
the best until the gap target or the budget is met. Work is counted in pieces and rounds, never in seconds, and the only
randomness is seeded: the same game and budget give the same prices. The result never earns less than market prices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from controller.errors import ControllerError
from controller.stackelberg.game import Bound, Outcome, PriceGame, Prices
from controller.stackelberg.piece import PieceProgram, climb

SPREADS = (0.003, 0.03, 0.15, 0.4, 0.7)
"""Starts: marginal prices moved by this share of their distance to the market's bounds."""
RESTARTS_PER_ROUND = 12
SCALES = (0.02, 0.06, 0.2)
"""Sizes of perturbations, share of the price range; taken in turn."""
PIECES_PER_CLIMB = 8
IDLE_KW = 1e-6
"""Nobody trades below this."""
SEED = 842


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Work a search may spend."""

    gap: float
    rounds: int
    pieces: int


@dataclass(frozen=True, slots=True)
class Found:
    """Best prices with what they cost to find."""

    best: Outcome
    bound: Bound
    pieces: int
    restarts: int


def search(
    game: PriceGame, program: PieceProgram, limits: SearchLimits, denominator: float, warm: Prices | None = None
) -> Found:
    """Best prices found. `denominator` turns the distance to the bound into the plan's gap; `warm` is one more start."""
    bound = game.bound()
    best, pieces, restarts = bound.market, 0, 0

    def done() -> bool:
        near = bound.profit - best.profit <= limits.gap * max(abs(best.profit), denominator)
        return near or pieces >= limits.pieces

    for start in _starts(game, bound, warm):
        if done():
            break
        best, used = _improve(game, program, start, best, limits.pieces - pieces)
        pieces += used
    for start in _perturbed(game, lambda: best, limits.rounds):
        if done():
            break
        best, used = _improve(game, program, start, best, limits.pieces - pieces)
        pieces, restarts = pieces + used, restarts + 1
    return Found(_settled(game, best), bound, pieces, restarts)


def _improve(game: PriceGame, program: PieceProgram, start: Prices, best: Outcome, left: int) -> tuple[Outcome, int]:
    """Climb from a start; the better of the result and the best so far."""
    try:
        found, used = climb(game, program, game.evaluate(start), min(PIECES_PER_CLIMB, left))
    except ControllerError:  # the answer to these prices did not converge: not a candidate
        return best, 1
    return (found if found.profit > best.profit else best), used


def _starts(game: PriceGame, bound: Bound, warm: Prices | None) -> Iterator[Prices]:
    low, high = game.market.from_prosumer, game.market.to_prosumer
    if warm is not None:
        to = np.clip(warm.to_prosumer, low, high)
        yield Prices(to, np.clip(warm.from_prosumer, low, to))
    marginal = np.clip(bound.central.marginal_per_kwh, low, high)
    for spread in SPREADS:
        yield Prices(marginal + spread * (high - marginal), marginal - spread * (marginal - low))


def _perturbed(game: PriceGame, best: Callable[[], Outcome], rounds: int) -> Iterator[Prices]:
    """Prices around the best, some steps moved at a time."""
    random = np.random.default_rng(SEED)
    low, high = game.market.from_prosumer, game.market.to_prosumer
    n = low.shape[0]
    for number in range(rounds * RESTARTS_PER_ROUND):
        scale, share = SCALES[number % len(SCALES)], (0.15, 0.4, 1.0)[number // len(SCALES) % 3]
        around = best().prices
        moves = [(random.random(n) < share) * scale * (high - low) * random.standard_normal(n) for _ in range(2)]
        to = np.clip(around.to_prosumer + moves[0], low, high)
        yield Prices(to, np.clip(around.from_prosumer + moves[1], low, to))


def _settled(game: PriceGame, best: Outcome) -> Outcome:
    """Market prices in steps where nobody trades at the leader's: no answer changes, since what nobody does gets dearer.

    The rule for ties: among prices of equal profit those nearest the market's, which every prosumer already knows.
    """
    low, high = game.market.from_prosumer, game.market.to_prosumer
    needs = np.array([answer.need_kw for answer in best.followers]).reshape(-1, low.shape[0])
    buys, sells = (needs > IDLE_KW).any(axis=0), (needs < -IDLE_KW).any(axis=0)
    prices = Prices(np.where(buys, best.prices.to_prosumer, high), np.where(sells, best.prices.from_prosumer, low))
    try:
        settled = game.evaluate(prices)
    except ControllerError:
        return best
    return settled if settled.profit >= best.profit - 1e-6 else best
