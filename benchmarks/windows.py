"""Windows of the price game: time and certified gap over the paper's day, for crowds, beside bare PIQP and the paper's
method. Process time of one core, since the machine may be busy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from benchmarks.figures import Figure, figures, table
from controller.case import Case
from controller.mechanisms.twostage import paper_instance
from controller.mechanisms.twostage.certificate import gap_floor, gap_of, turnover
from controller.mechanisms.twostage.intraday import window_game
from controller.mechanisms.twostage.paper import baseline
from controller.mechanisms.twostage.schemes import HARD_END, day_plan
from controller.plan import Budget, Plan
from controller.stackelberg.game import PriceGame
from controller.stackelberg.piece import PieceProgram
from controller.stackelberg.response import SolverShelf
from controller.stackelberg.search import Found, SearchLimits
from controller.stackelberg.solve import solve

DAY, HORIZON = 96, 16
DEFAULT = Budget()
BUDGETS = (
    ("default", DEFAULT, 1),
    ("larger", Budget(rounds=12, iterations=1200), 4),
    ("certified", Budget(rounds=6, iterations=800, nodes=208), 16),
)
"""Name, budget, every how many windows. The last grants 8 nodes of neighbourhoods and branch and bound beyond the
mechanism's 200."""
CROWDS = {10: (8, 20, 40, 52, 66, 74), 30: (8, 20, 40, 66), 300: (20, 66)}
"""Prosumers -> windows; the other prosumers are scaled copies of the paper's three."""
RIVALS = {"paper": "Kriging and swarm", "pso": "swarm", "ga": "differential evolution"}


@dataclass(frozen=True, slots=True)
class Solved:
    """One window."""

    seconds: float
    profit: float
    bound: float
    duality: float
    """The bound by strong duality alone."""
    gap: float


def main() -> None:
    """Print the tables; about ten minutes."""
    plan = day_plan(2, Budget())
    day(plan)
    followers(plan)
    rivals(plan)
    crowds(plan)


def day(plan: Plan) -> None:
    """Windows of the paper's day with three prosumers, by budget."""
    print("Three prosumers over the paper's day, process time:\n")
    for name, budget, every in BUDGETS:
        solved = [window(plan, 3, first, budget) for first in range(0, DAY, every)]
        head = ("budget", "", "windows", "<= 1 %", "<= 5 %", "gap median", "90 %", "time median", "90 %", "largest")
        table(head, [[name, _words(budget), str(len(solved)), *_shares(solved)]])
        figures(_goals(name, solved))


def window(plan: Plan, prosumers: int, first: int, budget: Budget) -> Solved:
    """A window from the planned states, with the mechanism's own limits."""
    case = crowd_case(plan, prosumers, first)
    began = time.process_time()
    game, found = _found(case, budget)
    seconds = time.process_time() - began
    duality, moved = game.bound().profit, turnover(case, tuple(a.need_kw for a in found.bound.market.followers))
    gap = gap_of(found.best.profit, found.bound.profit, moved)
    return Solved(seconds, found.best.profit, found.bound.profit, duality, gap)


def _found(case: Case, budget: Budget) -> tuple[PriceGame, Found]:
    game = window_game(case, HARD_END, SolverShelf())
    market = game.evaluate(game.market)
    floor = gap_floor(turnover(case, tuple(answer.need_kw for answer in market.followers)))
    nodes = max(0, budget.nodes - HARD_END.window_nodes_above)
    limits = SearchLimits(budget.gap, budget.rounds, budget.iterations // 20, nodes)
    return game, solve(game, PieceProgram(game), limits, floor)


def crowd_case(plan: Plan, prosumers: int, first: int) -> Case:
    """The window of some prosumers; each copy keeps to the plan of the one it copies."""
    load, renewable = (paper_instance.quarter_hours(rows) for rows in paper_instance.hourly_profiles_kw())
    states = paper_instance.planned_states(plan, first)
    case = paper_instance.window_case(plan, first, min(HORIZON, DAY - first), load, renewable, states)
    if prosumers <= len(paper_instance.IDS):
        return case
    case = paper_instance.crowd(case, prosumers)
    number = {asset.id: (int(asset.party[1:]) - 1) % len(paper_instance.IDS) for asset in case.assets}
    source = {name: f"{name.partition('-')[0]}-{paper_instance.IDS[k]}" for name, k in number.items()}
    schedule = {name: plan.schedule[known] for name, known in source.items() if known in plan.schedule}
    return replace(case, day_ahead=msgspec.structs.replace(plan, schedule=schedule))


def crowds(plan: Plan) -> None:
    """Ten, thirty and three hundred prosumers."""
    print("Crowds, default budget, process time (gap by duality: bound before the relaxation, same prices):\n")
    rows = []
    for prosumers, firsts in CROWDS.items():
        for first in firsts:
            found = window(plan, prosumers, first, DEFAULT)
            before = (found.duality - found.profit) / abs(found.profit)
            figures_ = (f"{found.profit:.1f}", f"{found.bound:.1f}", f"{found.gap:.1%}", f"{before:.1%}")
            rows.append([str(prosumers), str(first), *figures_, f"{found.seconds:.1f} s"])
    table(("prosumers", "window", "profit", "bound", "gap", "by duality", "time"), rows)


def followers(plan: Plan) -> None:
    """A follower's answer beside its own PIQP solver, updated and solved with the same vectors."""
    game = window_game(crowd_case(plan, 3, 74), HARD_END, SolverShelf())
    low, high = game.market.from_prosumer, game.market.to_prosumer
    random = np.random.default_rng(1)
    prices = [low + random.random(HORIZON) * (high - low) for _ in range(400)]
    one = game.followers[0]
    one.respond(high, low)
    solver, answer = one.solver, one.vectors

    def ours() -> None:
        for price in prices:
            one.respond(price, low)

    def bare() -> None:
        for price in prices:
            answer.cost[solver.model.cols["buy"]] = price * one.player.hours
            solver._solver.update(c=answer.cost)
            solver._solver.solve()

    def solved() -> None:
        for price in prices:
            answer.cost[solver.model.cols["buy"]] = price * one.player.hours
            solver.solve(answer, only_cost=True)

    times = {name: _fastest(work) / len(prices) * 1e6 for name, work in (("bare", bare), ("qp", solved), ("all", ours))}
    figures(
        [
            Figure(
                "follower QP: update, solve, duals",
                times["qp"],
                "us",
                1.2 * times["bare"],
                None,
                times["bare"],
                "bare PIQP",
            ),
            Figure(
                "and read back as powers, energies, worths",
                times["all"],
                "us",
                reference=times["bare"],
                beside="bare PIQP",
            ),
        ]
    )


def rivals(plan: Plan) -> None:
    """Profit beside the paper's method, a plain swarm and an evolutionary search, in the same run."""
    print("Profit and calls of the lower level beside other methods:\n")
    rows, least = [], np.inf
    for first in (8, 20, 40, 52, 66, 74):
        case = crowd_case(plan, 3, first)
        game, found = _found(case, DEFAULT)
        profits = [found.best.profit]
        cells = [str(first), f"{found.best.profit:.3f} ({game.evaluations})"]
        for method in RIVALS:
            rival = baseline(window_game(case, HARD_END, SolverShelf()), method)
            profits.append(rival.best.profit)
            cells.append(f"{rival.best.profit:.3f} ({rival.calls})")
        least = min(least, profits[0] - max(profits[1:]))
        rows.append(cells)
    table(("window", "search with certificate", *RIVALS.values()), rows)
    figures([Figure("least profit above the best other method", float(least), "yuan", at_least=-1e-6)])


def _fastest(work: Callable[[], None]) -> float:
    """Least process time of seven runs."""
    found = []
    for _ in range(7):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def _words(budget: Budget) -> str:
    return f"rounds {budget.rounds}, iterations {budget.iterations}, nodes {budget.nodes}"


def _shares(solved: Iterable[Solved]) -> list[str]:
    gaps, seconds = (np.array([getattr(one, name) for one in solved]) for name in ("gap", "seconds"))
    share = [f"{np.mean(gaps <= limit):.0%}" for limit in (0.01, 0.05)]
    spread = [f"{np.median(gaps):.1%}", f"{np.quantile(gaps, 0.9):.1%}"]
    return [*share, *spread, *(f"{value:.2f} s" for value in (*np.quantile(seconds, (0.5, 0.9)), seconds.max()))]


def _goals(name: str, solved: list[Solved]) -> list[Figure]:
    goals = []
    for limit, least in ((1.0, 90.0), (10.0, 95.0)):
        good = 100 * float(np.mean([one.gap <= 0.01 and one.seconds <= limit for one in solved]))
        goals.append(Figure(f"{name}: windows with a gap <= 1 % within {limit:.0f} s", good, "%", at_least=least))
    return goals
