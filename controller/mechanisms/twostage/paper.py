"""The paper's method for a window: Kriging surrogate of the lower level, particle swarm, infill; plain swarm and GA.

The paper's section 4 is missing; models/twostage.md section 5 restores it. Baselines only: stackelberg.solve earns at
least as much and says how good that is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import Bounds, differential_evolution
from scipy.stats import qmc

from controller.case import FloatArray
from controller.errors import ControllerError
from controller.mechanisms.twostage.kriging import Kriging, fit
from controller.mechanisms.twostage.swarm import PAPER, Constants, maximise
from controller.stackelberg.certificate import PriceMilp
from controller.stackelberg.game import Outcome, PriceGame, Prices
from controller.stackelberg.kkt import KktProgram
from controller.stackelberg.piece import PieceProgram
from controller.stackelberg.search import Found

METHODS = ("exact", "paper", "paper-preset", "pso", "ga")
"""`paper-preset` is `paper` with the paper's own swarm constants, which do not converge."""
SEED = 842
FIRST_SAMPLES = 80
ROUNDS = 25
LOCAL_POINTS = 3
PARTICLES, SURROGATE_ITERATIONS, PLAIN_ITERATIONS = 30, 60, 100
"""Swarm: paper section 5.1; on the surrogate fewer iterations do."""
TRUST, TRUST_FLOOR, GROW, SHRINK = 0.4, 0.02, 1.5, 0.6
ACCURATE, STALE = 0.02, 3
"""The infill ends with a relative error below this after so many rounds without improvement."""
FAILED = -1e9
"""Value of prices to which a follower's answer did not converge."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a baseline found."""

    best: Outcome
    calls: int
    """Lower-level solves (all followers once)."""
    power_error: float | None
    """Kriging: mean relative error of predicted powers at the last five infill points."""


@dataclass(slots=True)
class _Sampler:
    """Points of the unit cube and the true lower level behind them."""

    game: PriceGame
    best: Outcome
    points: list[FloatArray]
    powers: list[FloatArray]

    def prices(self, u: FloatArray) -> Prices:
        """First half: lambda_s between the market's prices; second half: lambda_b between feed-in and lambda_s."""
        low, high = self.game.market.from_prosumer, self.game.market.to_prosumer
        n = low.shape[0]
        to = np.clip(low + u[:n] * (high - low), low, high)
        return Prices(to, np.clip(low + u[n:] * (to - low), low, to))

    def profit(self, u: FloatArray) -> float:
        """True profit at a point; the sample is kept."""
        try:
            outcome = self.game.evaluate(self.prices(u))
        except ControllerError:
            return FAILED
        self.points.append(np.array(u))
        self.powers.append(np.concatenate([answer.need_kw for answer in outcome.followers]))
        if outcome.profit > self.best.profit:
            self.best = outcome
        return outcome.profit

    def predicted(self, model: Kriging, at: FloatArray) -> FloatArray:
        """Profit of predicted powers at points (queries, 2n); the leader trades with the market alone."""
        player = self.game.leader_player
        low, high = self.game.market.from_prosumer, self.game.market.to_prosumer
        n, hours = low.shape[0], player.hours
        to = low + at[:, :n] * (high - low)
        back = low + at[:, n:] * (to - low)
        need = model.predict(at).reshape(at.shape[0], -1, n)
        paid = np.sum(to[:, None] * np.maximum(need, 0) - back[:, None] * np.maximum(-need, 0), axis=1)
        total = need.sum(axis=1) + player.load_kw
        cost = player.buy_per_kwh * np.maximum(total, 0) - player.sell_per_kwh * np.maximum(-total, 0)
        return np.asarray((paid - cost) @ hours)


def baseline(game: PriceGame, method: str, seed: int = SEED) -> Baseline:
    """Best prices by one of METHODS but the first, from market prices on."""
    sampler = _Sampler(game, game.evaluate(game.market), [], [])
    before = game.evaluations
    random = np.random.default_rng(seed)
    run: dict[str, Callable[[], float | None]] = {
        "paper": lambda: _kriging(sampler, random, Constants()),
        "paper-preset": lambda: _kriging(sampler, random, PAPER),
        "pso": lambda: _plain(sampler, random),
        "ga": lambda: _genetic(sampler, seed),
    }
    error = run[method]()
    return Baseline(sampler.best, game.evaluations - before, error)


def baseline_found(game: PriceGame, method: str) -> Found:
    """The same as a window's result, with the relaxation's bound beside it."""
    found = baseline(game, method)
    bound = game.bound()
    relaxed = PriceMilp(KktProgram(game, PieceProgram(game))).relaxation().bound
    return Found(found.best, replace(bound, profit=max(min(bound.profit, relaxed), found.best.profit)), 0, found.calls)


def _kriging(sampler: _Sampler, random: np.random.Generator, constants: Constants) -> float:
    """Latin hypercube, then fit, swarm in a trust region, infill; returns the error of predicted powers."""
    d = 2 * sampler.game.leader_player.steps
    for u in qmc.LatinHypercube(d, rng=random).random(FIRST_SAMPLES):
        sampler.profit(u)
    sampler.profit(np.concatenate([np.ones(d // 2), np.zeros(d // 2)]))
    centre = sampler.points[int(np.argmax([sampler.game.evaluate(sampler.prices(u)).profit for u in sampler.points]))]
    best, trust, stale, errors = sampler.best.profit, TRUST, 0, list[float]()
    for _ in range(ROUNDS):
        model = fit(np.array(sampler.points), np.array(sampler.powers))
        low, high = np.clip(centre - trust, 0, 1), np.clip(centre + trust, 0, 1)
        at, _ = maximise(
            lambda u, model=model: sampler.predicted(model, u),  # type: ignore[misc]
            low,
            high,
            particles=PARTICLES,
            iterations=SURROGATE_ITERATIONS,
            random=random,
            constants=constants,
            start=centre,
        )
        guess = model.predict(at[None])[0]
        found = sampler.profit(at)
        if found > FAILED:
            errors.append(_relative(guess, sampler.powers[-1]))
        for _ in range(LOCAL_POINTS):
            sampler.profit(np.clip(at + trust * (random.random(d) - 0.5), low, high))
        improved = found > best
        centre, best = (at, found) if improved else (centre, best)
        trust, stale = (min(trust * GROW, 1.0), 0) if improved else (max(trust * SHRINK, TRUST_FLOOR), stale + 1)
        if stale >= STALE and errors and errors[-1] < ACCURATE:
            break
    return float(np.mean(errors[-5:])) if errors else float("nan")


def _relative(guess: FloatArray, true: FloatArray) -> float:
    return float(np.linalg.norm(guess - true) / max(float(np.linalg.norm(true)), 1e-9))


def _plain(sampler: _Sampler, random: np.random.Generator) -> None:
    """The swarm on the true lower level."""
    d = 2 * sampler.game.leader_player.steps
    maximise(
        lambda at: np.array([sampler.profit(u) for u in at]),
        np.zeros(d),
        np.ones(d),
        particles=PARTICLES,
        iterations=PLAIN_ITERATIONS,
        random=random,
    )


def _genetic(sampler: _Sampler, seed: int) -> None:
    """An evolutionary search of as many calls: scipy's differential evolution, the paper's GA being unspecified."""
    d = 2 * sampler.game.leader_player.steps
    first = qmc.LatinHypercube(d, rng=np.random.default_rng(seed)).random(PARTICLES)
    differential_evolution(
        lambda u: -sampler.profit(u),
        Bounds(np.zeros(d), np.ones(d)),
        init=first,
        maxiter=PLAIN_ITERATIONS,
        tol=0.0,
        polish=False,
        rng=seed,
    )
