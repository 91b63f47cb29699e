"""How good a plan is known to be: gap to the bound, residuals, and what a follower could gain alone."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from controller.case import Case
from controller.mechanisms.twostage.day_ahead import DayAhead
from controller.plan import Certificate
from controller.stackelberg.game import Outcome, PriceGame
from controller.stackelberg.oracle import best_cost
from controller.stackelberg.player import Player
from controller.stackelberg.response import Response
from controller.stackelberg.search import Found

TURNOVER_SHARE = 0.01
LEAST_DENOMINATOR = 0.01
DIGITS = 9
GAIN_DIGITS = 6


def turnover(case: Case, needs_kw: tuple[np.ndarray, ...]) -> float:
    """Money moved if every party traded its need at market prices, currency over the horizon."""
    price = case.tariff
    return float(
        sum(
            case.hours
            * np.sum(
                np.maximum(need, 0.0) * np.abs(price.import_per_kwh)
                + np.maximum(-need, 0.0) * np.abs(price.export_per_kwh)
            )
            for need in needs_kw
        )
    )


def gap_of(objective: float, bound: float, turnover_: float) -> float:
    """|bound - objective| / max(|objective|, 1 % of turnover, 0.01), the contract's gap."""
    return abs(bound - objective) / max(abs(objective), gap_floor(turnover_))


def gap_floor(turnover_: float) -> float:
    """Smallest denominator of a gap."""
    return max(TURNOVER_SHARE * turnover_, LEAST_DENOMINATOR)


def window_certificate(case: Case, game: PriceGame, found: Found, target: float, work: dict[str, int]) -> Certificate:
    """Certificate of an intraday window; the objective is the leader's profit."""
    best = found.best
    moved = turnover(case, tuple(answer.need_kw for answer in found.bound.market.followers))
    gap = gap_of(best.profit, found.bound.profit, moved)
    gains = deviation_gains(game, best)
    return Certificate(
        objective=round(best.profit, DIGITS),
        bound=round(max(found.bound.profit, best.profit), DIGITS),
        gap=round(gap, DIGITS),
        residuals=_window_residuals(best),
        deviation_gain=round(max((0.0, *gains.values())), DIGITS),
        deviation_gains={party: round(gain, GAIN_DIGITS) + 0.0 for party, gain in gains.items()},
        optimal="bounded" if gap > 1e-6 else "proved",
        solver=f"PIQP{', HiGHS' if found.nodes else ''}, Clarabel as second opinion",
        version=f"piqp {version('piqp')}, highspy {version('highspy')}, clarabel {version('clarabel')}",
        work={
            **work,
            "pieces": found.pieces,
            "restarts": found.restarts,
            "moves": found.moves,
            "evaluations": game.evaluations,
            "nodes": found.nodes,
        },
    )


def deviation_gains(game: PriceGame, outcome: Outcome) -> dict[str, float]:
    """Party -> what it saves by behaving differently at these prices, by another solver and formulation."""
    gains = {}
    for prepared, answer in zip(game.followers, outcome.followers, strict=True):
        player: Player = prepared.player.priced(outcome.prices.to_prosumer, outcome.prices.from_prosumer)
        gains[player.name] = answer.cost - best_cost(player)
    return gains


def day_ahead_certificate(case: Case, solved: DayAhead) -> Certificate:
    """Certificate of the day-ahead plan; the objective is the site's cost, tail and worth of the end included."""
    moved = turnover(case, (solved.response.need_kw[: case.slots],))
    gap = gap_of(solved.objective, solved.bound, moved)
    return Certificate(
        objective=round(solved.objective, DIGITS),
        bound=round(solved.bound, DIGITS),
        gap=round(gap, DIGITS),
        residuals=_residuals((solved.response,)),
        deviation_gain=None,
        optimal="bounded" if gap > 1e-6 else "proved",
        solver=f"{solved.milp.solver}, PIQP",
        version=day_ahead_version(),
        work={"nodes": solved.milp.nodes, "proved": int(solved.milp.proved)},
    )


def day_ahead_version() -> str:
    """Versions of the day-ahead solvers."""
    return ", ".join(f"{name} {version(name)}" for name in ("highspy", "pyscipopt", "piqp"))


def _window_residuals(outcome: Outcome) -> dict[str, float]:
    return _residuals((*outcome.followers, outcome.leader))


def _residuals(responses: tuple[Response, ...]) -> dict[str, float]:
    return {
        "kkt": float(f"{max(r.residual for r in responses):.3e}"),
        "overlap_kw": float(f"{max(r.overlap_kw for r in responses):.3e}"),
    }
