"""One window solved: bound, pieces, relaxation, neighbourhoods, certificate, until gap target or budget is met.

Every stage starts from what the ones before found and proved; work is counted in pieces, rounds and nodes. The profit
is always that of the followers' true answers, never the program's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from controller.errors import ControllerError
from controller.stackelberg.certificate import PriceMilp, Proof
from controller.stackelberg.game import Outcome, PriceGame, Prices
from controller.stackelberg.kkt import KktProgram
from controller.stackelberg.piece import PieceProgram, climb
from controller.stackelberg.search import Found, SearchLimits, search, settled

BLOCK = 0.35
"""Share of a window's steps that a neighbourhood frees (models/twostage.md section 6d)."""
BLOCK_NODES = 8
"""Nodes a neighbourhood may take."""
RELAXED_BELOW = 15_000
"""Columns of the piece program above which only duality bounds the profit: some forty prosumers over 16 steps."""
POLISH = 6
"""Pieces visited from prices that a program found."""


@dataclass(slots=True)
class _Certified:
    """Best prices and best bound so far."""

    game: PriceGame
    program: PieceProgram
    best: Outcome
    bound: float
    nodes: int
    pieces: int

    def take(self, proof: Proof) -> bool:
        """Keep what a proof found; True if profit rose."""
        self.nodes += proof.nodes
        if proof.prices is None:
            return False
        try:
            found, used = climb(self.game, self.program, self.game.evaluate(proof.prices), POLISH)
        except ControllerError:  # an answer did not converge: these prices are no candidate
            return False
        self.pieces += used
        better = found.profit > self.best.profit + 1e-9
        self.best = found if better else self.best
        return better

    def prove(self, proof: Proof) -> None:
        """Keep a proof's bound."""
        self.bound = max(min(self.bound, proof.bound), self.best.profit)


def solve(
    game: PriceGame, program: PieceProgram, limits: SearchLimits, denominator: float, warm: Prices | None = None
) -> Found:
    """Best prices found and the best bound proved. `denominator`: least one of the gap, currency; `warm`: a start."""
    found = search(game, program, limits, denominator, warm)
    wanted = limits.gap * max(abs(found.best.profit), denominator)
    if not limits.rounds or not game.followers or found.bound.profit - found.best.profit <= wanted:
        return found
    if program.qp.model.column_count > RELAXED_BELOW or limits.deadline.over:
        return found
    state = _Certified(game, program, found.best, found.bound.profit, 0, found.pieces)
    milp = PriceMilp(KktProgram(game, program))
    first = milp.relaxation(limits.deadline)
    state.prove(first)
    state.take(first)
    if limits.nodes:
        _neighbourhoods(state, milp, limits, denominator)
        _certify(state, milp, limits, denominator)
    return replace(
        found,
        best=settled(game, state.best),
        bound=replace(found.bound, profit=max(state.bound, state.best.profit)),
        pieces=state.pieces,
        nodes=state.nodes,
    )


def _done(state: _Certified, limits: SearchLimits, denominator: float) -> bool:
    wanted = limits.gap * max(abs(state.best.profit), denominator)
    return state.bound - state.best.profit <= wanted or state.nodes >= limits.nodes or limits.deadline.over


def _neighbourhoods(state: _Certified, milp: PriceMilp, limits: SearchLimits, denominator: float) -> None:
    """Free the binaries of a block of steps, moved along the window, and keep the rest as the best answer has them."""
    steps, n = milp.steps, state.program.steps
    width = max(1, round(BLOCK * n))
    starts = range(0, max(n - width, 0) + 1, max(1, width // 2))
    for _ in range(limits.rounds):
        rose = False
        for first in starts:
            if _done(state, limits, denominator):
                return
            free = ((steps >= first) & (steps < first + width)).astype(np.float64)
            pattern = milp.pattern(state.best)
            state.nodes += 1
            proof = milp.solve(
                gap=limits.gap / 2,
                nodes=BLOCK_NODES,
                known=state.best.profit,
                free=free,
                pattern=pattern,
                deadline=limits.deadline,
            )
            rose = state.take(proof) or rose
        if not rose:
            return


def _certify(state: _Certified, milp: PriceMilp, limits: SearchLimits, denominator: float) -> None:
    """Branch and bound over all binaries with the nodes that are left."""
    while not _done(state, limits, denominator):
        state.nodes += 1
        left = limits.nodes - state.nodes
        proof = milp.solve(gap=limits.gap / 2, nodes=max(left, 1), known=state.best.profit, deadline=limits.deadline)
        before = state.bound
        rose = state.take(proof)
        state.prove(proof)
        if not rose and before - state.bound < 1e-6 * max(abs(before), denominator):
            return
