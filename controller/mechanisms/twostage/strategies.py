"""The paper's other day-ahead strategies: everybody alone (1) and a price game over the day (3); 2 is direct control.

Followers with on/off states have no optimality conditions, so Strategy 3 takes the states of Strategy 1 and plays the
window's game over the whole day (models/twostage.md section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.case import Case, FloatArray
from controller.deadline import ENDLESS, Deadline
from controller.mechanisms.twostage.certificate import DIGITS, gap_of, turnover
from controller.mechanisms.twostage.day_ahead import DayAhead, solve_day_ahead
from controller.mechanisms.twostage.intraday import window_game
from controller.mechanisms.twostage.settings import Settings
from controller.plan import Budget, Certificate, Plan
from controller.stackelberg.game import PriceGame
from controller.stackelberg.response import Response, SolverShelf

TIE_PER_KW2H = 1e-5
"""Strategy 3 has no plan to adhere to; this little keeps the followers' answers unique."""


@dataclass(frozen=True, slots=True)
class Alone:
    """Everybody's own day, at market prices."""

    days: Mapping[str, DayAhead]

    @property
    def answers(self) -> dict[str, Response]:
        """Per party."""
        return {party: day.response for party, day in self.days.items()}

    @property
    def on(self) -> dict[str, FloatArray]:
        """On states per turbine."""
        return {name: c.on for day in self.days.values() for name, c in day.player.commitments.items()}

    def certificate(self, case: Case, version: str) -> Certificate:
        """Sum of all costs and of all bounds."""
        objective = sum(day.objective for day in self.days.values())
        bound = sum(day.bound for day in self.days.values())
        moved = turnover(case, tuple(day.response.need_kw[: case.slots] for day in self.days.values()))
        gap = gap_of(objective, bound, moved)
        solvers = sorted({day.milp.solver for day in self.days.values()})
        return Certificate(
            objective=round(objective, DIGITS),
            bound=round(bound, DIGITS),
            gap=round(gap, DIGITS),
            residuals={"kkt": float(f"{max(day.response.residual for day in self.days.values()):.3e}")},
            deviation_gain=0.0,
            optimal="bounded" if gap > 1e-6 else "proved",
            solver=f"{', '.join(solvers)}, PIQP",
            version=version,
            work={"nodes": sum(day.milp.nodes for day in self.days.values())},
        )


def everybody_alone(
    case: Case, settings: Settings, budget: Budget, shelf: SolverShelf, deadline: Deadline = ENDLESS
) -> Alone:
    """Strategy 1: each party minimises its own cost at market prices; the grid's caps count for each."""
    parties = [party.id for party in case.parties if party.role != "grid"]
    return Alone({party: solve_day_ahead(_only(case, party), settings, budget, shelf, deadline) for party in parties})


def _only(case: Case, party: str) -> Case:
    """The case with one party's assets and load."""
    return replace(
        case,
        assets=tuple(asset for asset in case.assets if asset.party == party),
        load_w={party: case.load_w[party]} if party in case.load_w else {},
        tail_net_w={party: case.tail_net_w[party]} if party in case.tail_net_w else {},
    )


def day_game(case: Case, alone: Plan, settings: Settings, shelf: SolverShelf) -> PriceGame:
    """Strategy 3: the price game over the day with the on states and ends of the plan of Strategy 1."""
    free = replace(settings, gamma_storage_per_kw2h=TIE_PER_KW2H, gamma_turbine_per_kw2h=0.0)
    return window_game(replace(case, day_ahead=alone), free, shelf)
