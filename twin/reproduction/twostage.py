"""Paper 003 (Energies 2026, 19, 842): schemes over a day, price and noise sensitivity, algorithms, sizes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from controller.case import Case, FloatArray, Tariff
from controller.mechanisms.twostage import paper_instance
from controller.mechanisms.twostage.intraday import window_game
from controller.mechanisms.twostage.paper import baseline
from controller.mechanisms.twostage.schemes import HARD_END, SCHEMES, Day, day_plan, roll
from controller.mechanisms.twostage.swarm import UnstableSwarmWarning
from controller.plan import Budget, Plan
from controller.stackelberg.game import PriceGame
from controller.stackelberg.piece import PieceProgram
from controller.stackelberg.response import SolverShelf
from controller.stackelberg.search import Found, SearchLimits
from controller.stackelberg.solve import solve
from twin.reproduction import verdicts
from twin.reproduction.checks import Reproduction

Rows = list[dict[str, Any]]
Say = Callable[[str], None]
SEED = 7
SURPLUS, EVENING = 40, 74
"""Scheduling points: a surplus everywhere, and the peak that the paper looks at."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of the paper's study is repeated."""

    first: int = 0
    pieces: int = 40
    factors: tuple[float, ...] = (0.8, 0.9, 1.0, 1.1, 1.2)
    noises: tuple[float, ...] = (0.01, 0.02, 0.03, 0.04, 0.05)
    seeds: tuple[int, ...] = (7, 8, 9)
    windows: tuple[int, ...] = (20, 66, 74)
    sizes: tuple[int, ...] = (3, 4, 5, 10, 30, 100)
    methods: tuple[str, ...] = ("paper", "paper-preset", "pso", "ga")


FAST = Effort(first=80, pieces=20, factors=(0.9, 1.1), noises=(0.01, 0.05), seeds=(7,), windows=(20,), sizes=(3, 4, 5))
"""For continuous integration: the last four hours of the day, one window, small crowds."""


def reproduce(effort: Effort, say: Say) -> Reproduction:
    """Repeat the paper's study and judge its claims. `say` is told what is being done."""
    say("day-ahead strategies 1, 2, 3")
    plans = {strategy: day_plan(strategy, Budget()) for strategy in (1, 2, 3)}
    study = _Study(plans, effort, say)
    schemes = study.schemes()
    prices, noise = study.prices(), study.noise()
    algorithms, sizes = study.algorithms(), study.sizes()
    checks = [
        *verdicts.day_ahead_checks(plans),
        *verdicts.scheme_checks(schemes),
        *verdicts.price_checks(prices, study.raised(SURPLUS), study.raised(EVENING)),
        *verdicts.noise_checks(noise),
        *verdicts.algorithm_checks(algorithms),
        *verdicts.size_checks(sizes),
    ]
    tables = {"schemes": schemes, "prices": prices, "noise": noise, "algorithms": algorithms, "sizes": sizes}
    return Reproduction(paper="003", mechanism="twostage", checks=tuple(checks), tables=tables)


@dataclass(slots=True)
class _Study:
    plans: dict[int, Plan]
    effort: Effort
    say: Say

    def game(self, first: int, change: Callable[[Case], Case] | None = None) -> PriceGame:
        """The window at a quarter hour as the plan of Strategy 2 has it."""
        load, renewable = _forecast()
        states = paper_instance.planned_states(self.plans[2], first)
        length = min(16, 96 - first)
        case = paper_instance.window_case(self.plans[2], first, length, load, renewable, states)
        return window_game(change(case) if change else case, HARD_END, SolverShelf())

    def solved(self, game: PriceGame) -> Found:
        """Best prices within the effort."""
        return solve(game, PieceProgram(game), SearchLimits(0.01, 3, self.effort.pieces), 0.01)

    def raised(self, first: int) -> float:
        """Most by which the operator's purchase price lies above the market's in a window."""
        game = self.game(first)
        return float(np.max(self.solved(game).best.prices.from_prosumer - game.market.from_prosumer))

    def schemes(self) -> Rows:
        """Table 2: costs of the schemes."""
        actual = paper_instance.noisy(*_forecast(), seed=SEED)
        rows = []
        for scheme, (strategy, _) in SCHEMES.items():
            self.say(f"scheme {scheme}")
            day = roll(scheme, self.plans[strategy], actual, self.effort.pieces, first=self.effort.first)
            rows.append(_scheme_row(day))
        return rows

    def prices(self) -> Rows:
        """Figure 10: internal prices against one external price at a time."""
        rows = []
        for which in ("import", "export"):
            for factor in self.effort.factors:
                self.say(f"{which} price x {factor}")
                best = self.solved(self.game(EVENING, lambda c, w=which, f=factor: _scaled(c, w, f))).best  # type: ignore[misc]
                rows.append(
                    {
                        "external": which,
                        "factor": factor,
                        "to_prosumer": float(np.mean(best.prices.to_prosumer)),
                        "from_prosumer": float(np.mean(best.prices.from_prosumer)),
                        "profit": best.profit,
                    }
                )
        return rows

    def noise(self) -> Rows:
        """Figure 11: spread of the internal prices against the strength of white noise."""
        return [self._noisy(sigma, seed) for seed in self.effort.seeds for sigma in self.effort.noises]

    def _noisy(self, sigma: float, seed: int) -> dict[str, Any]:
        self.say(f"noise {sigma:.0%}, seed {seed}")
        load, renewable = _forecast()
        random = np.random.default_rng(seed)
        actual = (
            load * (1 + sigma * random.standard_normal(load.shape)),
            np.maximum(renewable * (1 + sigma * random.standard_normal(renewable.shape)), 0.0),
        )
        day = roll(4, self.plans[2], actual, self.effort.pieces, first=max(self.effort.first, 56))
        spread = np.array([to - back for to, back in day.prices])
        low, middle, high = (float(value) for value in np.percentile(spread, [25, 50, 75]))
        return {"seed": seed, "sigma": sigma, "mean": float(spread.mean()), "median": middle, "iqr": high - low}

    def algorithms(self) -> Rows:
        """Table 3: calls of the lower level, seconds and profit of each way."""
        rows = []
        for first in self.effort.windows:
            for method in ("exact", *self.effort.methods):
                self.say(f"window {first}: {method}")
                rows.append({"window": first, "method": method, **self._timed(self.game(first), method)})
        return rows

    def _timed(self, game: PriceGame, method: str) -> dict[str, Any]:
        began = time.perf_counter()
        if method == "exact":
            found = self.solved(game)
            best, calls, error = found.best, game.evaluations, None
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnstableSwarmWarning)
                result = baseline(game, method)
            best, calls, error = result.best, result.calls, result.power_error
        seconds = time.perf_counter() - began
        return {"profit": best.profit, "calls": calls, "seconds": round(seconds, 2), "power_error": error}

    def sizes(self) -> Rows:
        """Table 4 and beyond: without a day-ahead plan, so that only the window is measured."""
        rows = []
        for count in self.effort.sizes:
            self.say(f"{count} prosumers")
            game = window_game(_crowd(count), HARD_END, SolverShelf())
            began = time.perf_counter()
            found = self.solved(game)
            seconds = time.perf_counter() - began
            rows.append(
                {
                    "prosumers": count,
                    "seconds": round(seconds, 2),
                    "calls": game.evaluations,
                    "profit": found.best.profit,
                    "bound": found.bound.profit,
                    "gap": (found.bound.profit - found.best.profit) / max(abs(found.best.profit), 0.01),
                }
            )
        return rows


def _forecast() -> tuple[FloatArray, FloatArray]:
    load, renewable = paper_instance.hourly_profiles_kw()
    return paper_instance.quarter_hours(load), paper_instance.quarter_hours(renewable)


def _crowd(count: int) -> Case:
    """A window of `count` prosumers at the evening peak."""
    load, renewable = _forecast()
    plan = paper_instance.window_case
    bare = plan(day_plan(1, Budget(nodes=1)), EVENING, 16, load, renewable, {})
    return paper_instance.crowd(replace(bare, day_ahead=None), count)


def _scaled(case: Case, which: str, factor: float) -> Case:
    """The case with one external price scaled, the other kept; feed-in stays below purchase."""
    buy, sell = case.tariff.import_per_kwh, case.tariff.export_per_kwh
    if which == "import":
        return replace(case, tariff=Tariff(np.maximum(buy * factor, sell), sell))
    return replace(case, tariff=Tariff(buy, np.minimum(sell * factor, buy)))


def _scheme_row(day: Day) -> dict[str, Any]:
    return {
        "scheme": day.scheme,
        "prosumer_cost": day.prosumer_cost,
        "operator_profit": day.operator_profit,
        "system_cost": day.system_cost,
        "start_cost": day.start_cost,
        "curtailed_kwh": day.curtailed_kwh,
        "end_soc_pu": day.end_soc_pu,
        "windows": day.windows,
    }
