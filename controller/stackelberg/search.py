"""Search for the leader's best prices, from the market's and from the central optimum's marginal prices.

Order of use: bound; climb over pieces from marginal prices spread towards the market's; perturbed restarts around the
best; then moves, which change the prices of a run of steps at once, until the gap target or the budget is met. A climb
stops where no neighbouring piece is better; a move leaves it, since batteries shift what one step alone is offered.
Work is counted in pieces, rounds and moves, never in seconds, and the only randomness is seeded: the same game and
budget give the same prices. The result never earns less than market prices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from controller.deadline import ENDLESS, Deadline
from controller.errors import ControllerError
from controller.stackelberg.game import Bound, Outcome, PriceGame, Prices
from controller.stackelberg.piece import PieceProgram, climb

SPREADS = ((0.003, 0.003), (0.0, 0.5), (0.05, 0.1), (0.15, 0.15), (0.4, 0.4), (0.7, 0.7))
"""Starts: marginal prices moved by these shares of their distance to the market's purchase and feed-in price."""
RESTARTS_PER_ROUND = 12
SCALES = (0.002, 0.02, 0.08)
"""How far past, share of the price range; taken in turn."""
SHARES = (0.15, 0.4, 1.0)
"""Shares of the steps that move, taken in turn."""
PIECES_PER_CLIMB = 8
MOVES_PER_ROUND = 50
"""Followers are asked so many times per round; a piece counts as PIECE_MOVES."""
PIECE_MOVES = 4
CLIMB_AFTER_MOVE = 6
"""Pieces visited from a better point."""
SHIFTS = (0.02, 0.05, 0.15, 0.4)
"""Shares of the price range by which a move shifts."""
BEYOND = (0.0, 0.005, 0.03)
"""Shares of the price range past a follower's marginal cost."""
IDLE_KW = 1e-6
"""Nobody trades below this."""
TIE = 1e-6
"""Profits closer than this count as equal, currency."""
SEED = 842


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Work a search may spend."""

    gap: float
    rounds: int
    pieces: int
    nodes: int = 0
    """Branch-and-bound nodes of neighbourhoods and certificate; 0: neither is tried."""
    deadline: Deadline = ENDLESS
    """Beside all of these: what is found by then is what there is."""


@dataclass(frozen=True, slots=True)
class Found:
    """Best prices with what they cost to find."""

    best: Outcome
    bound: Bound
    pieces: int
    restarts: int
    nodes: int = 0
    moves: int = 0


def search(
    game: PriceGame, program: PieceProgram, limits: SearchLimits, denominator: float, warm: Prices | None = None
) -> Found:
    """Best prices found. `denominator`: least one of the gap, currency; `warm`: one more start."""
    run = _Run(game, program, limits, denominator, game.bound())
    for start in run.starts(warm):
        if run.done:
            break
        run.improve(start)
    restarts = 0
    random = np.random.default_rng(SEED)
    while restarts < limits.rounds * RESTARTS_PER_ROUND and not run.done:
        run.improve(run.perturbed(random, restarts))
        restarts += 1
    moves = run.move(random, limits.rounds * MOVES_PER_ROUND) if game.followers else 0
    return Found(settled(game, run.best), run.bound, run.pieces, restarts, moves=moves)


class _Run:
    """The best so far and the work spent."""

    def __init__(
        self, game: PriceGame, program: PieceProgram, limits: SearchLimits, denominator: float, bound: Bound
    ) -> None:
        self.game, self.program, self.limits, self.denominator, self.bound = game, program, limits, denominator, bound
        self.best, self.pieces = bound.market, 0
        self._low, self._high = game.market.from_prosumer, game.market.to_prosumer

    @property
    def done(self) -> bool:
        """Gap reached or budget spent."""
        return self.close or self.pieces >= self.limits.pieces or self.limits.deadline.over

    @property
    def close(self) -> bool:
        """Gap reached."""
        wanted = self.limits.gap * max(abs(self.best.profit), self.denominator)
        return self.bound.profit - self.best.profit <= wanted

    def improve(self, start: Prices) -> None:
        """Climb from a start and keep the result if it is better."""
        left = min(PIECES_PER_CLIMB, self.limits.pieces - self.pieces)
        try:
            found, used = climb(self.game, self.program, self.game.evaluate(start), left)
        except ControllerError:  # an answer did not converge: these prices are no candidate
            self.pieces += 1
            return
        self.pieces += used
        if found.profit > self.best.profit:
            self.best = found

    def starts(self, warm: Prices | None) -> Iterator[Prices]:
        """The last window's prices and marginal prices spread towards the market's."""
        low, high = self._low, self._high
        if warm is not None:
            to = np.clip(warm.to_prosumer, low, high)
            yield Prices(to, np.clip(warm.from_prosumer, low, to))
        marginal = np.clip(self.bound.central.marginal_per_kwh, low, high)
        for up, down in SPREADS:
            yield Prices(marginal + up * (high - marginal), marginal - down * (marginal - low))

    def perturbed(self, random: np.random.Generator, number: int) -> Prices:
        """The best prices with some steps moved past what a follower's next kWh costs it: there its answer changes."""
        share = SHARES[number % len(SHARES)]
        marginal = np.array([answer.marginal_per_kwh for answer in self.best.followers])
        moved = random.random(self._low.shape[0]) < share
        past = SCALES[number // len(SHARES) % len(SCALES)] * (self._high - self._low)
        best, side = self.best.prices, int(random.integers(3))
        to, back = best.to_prosumer, best.from_prosumer
        if side != 0:
            to = np.where(moved, np.minimum(to, marginal.max(axis=0) - past), to)
        if side != 1:
            back = np.where(moved, np.maximum(back, marginal.min(axis=0) + past), back)
        to = np.clip(to, self._low, self._high)
        return Prices(to, np.clip(back, self._low, to))

    def move(self, random: np.random.Generator, budget: int) -> int:
        """Change the prices of runs of steps at once, keep what is better and climb from it; returns the work done."""
        spent = 0
        while spent < budget and not self.close and not self.limits.deadline.over:
            spent += 1
            try:
                found = self.game.evaluate(self._moved(random))
                if found.profit <= self.best.profit + TIE:
                    continue
                found, used = climb(self.game, self.program, found, CLIMB_AFTER_MOVE)
            except ControllerError:  # an answer did not converge: these prices are no candidate
                continue
            self.best = found
            self.pieces += used
            spent += PIECE_MOVES * used
        return spent

    def _moved(self, random: np.random.Generator) -> Prices:
        """A run of steps moved by a share of the range, to the market's prices, to one level, or to just past what a
        follower's next kWh costs it."""
        low, high, best = self._low, self._high, self.best.prices
        n = low.shape[0]
        first = int(random.integers(n))
        run = slice(first, first + int(random.integers(1, n + 1)))
        side, kind = int(random.integers(3)), int(random.integers(4))
        to, back, span = best.to_prosumer.copy(), best.from_prosumer.copy(), high - low
        if kind == 0:
            shift = span * random.choice((-1.0, 1.0)) * random.choice(SHIFTS)
            targets = to + shift, back + shift
        elif kind == 1:
            targets = high, low
        elif kind == 2:
            targets = (np.full(n, random.uniform(np.min(low[run]), np.max(high[run]))),) * 2
        else:
            marginal = self.best.followers[int(random.integers(len(self.best.followers)))].marginal_per_kwh
            past = span * random.choice(BEYOND)
            targets = marginal - past, marginal + past
        if side != 1:
            to[run] = targets[0][run]
        if side != 0:
            back[run] = targets[1][run]
        to = np.clip(to, low, high)
        return Prices(to, np.clip(back, low, to))


def settled(game: PriceGame, best: Outcome) -> Outcome:
    """Market prices in steps where nobody trades at the leader's: no answer changes, what nobody does gets dearer.

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
    return settled if settled.profit >= best.profit - TIE else best
