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
from twin.reproduction.checks import Check, Reproduction, incomparable, judged

Rows = list[dict[str, Any]]
Say = Callable[[str], None]
SEED = 7
EVENING = 74
"""The scheduling point that the paper looks at."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of the paper's study is repeated."""

    first: int = 0
    pieces: int = 40
    factors: tuple[float, ...] = (0.8, 0.9, 1.0, 1.1, 1.2)
    noises: tuple[float, ...] = (0.01, 0.02, 0.03, 0.04, 0.05)
    windows: tuple[int, ...] = (20, 66, 74)
    sizes: tuple[int, ...] = (3, 4, 5, 10, 30, 100)
    methods: tuple[str, ...] = ("paper", "paper-preset", "pso", "ga")


FAST = Effort(first=80, pieces=20, factors=(0.9, 1.1), noises=(0.01, 0.05), windows=(20,), sizes=(3, 4, 5))
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
        *_day_ahead_checks(plans),
        *_scheme_checks(schemes),
        *_price_checks(study, prices),
        *_noise_checks(noise),
        *_algorithm_checks(algorithms),
        *_size_checks(sizes),
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
        rows = []
        load, renewable = _forecast()
        for sigma in self.effort.noises:
            self.say(f"noise {sigma:.0%}")
            random = np.random.default_rng(SEED)
            actual = (
                load * (1 + sigma * random.standard_normal(load.shape)),
                np.maximum(renewable * (1 + sigma * random.standard_normal(renewable.shape)), 0.0),
            )
            first = max(self.effort.first, 56)
            day = roll(4, self.plans[2], actual, self.effort.pieces, first=first)
            spread = np.array([to - back for to, back in day.prices])
            quarters = np.percentile(spread, [25, 50, 75])
            rows.append(
                {
                    "sigma": sigma,
                    "mean": float(spread.mean()),
                    "median": float(quarters[1]),
                    "iqr": float(quarters[2] - quarters[0]),
                }
            )
        return rows

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
        "curtailed_kwh": day.curtailed_kwh,
        "end_soc_pu": day.end_soc_pu,
        "windows": day.windows,
    }


def _day_ahead_checks(plans: dict[int, Plan]) -> list[Check]:
    alone, direct = plans[1].certificate.objective, plans[2].certificate.objective
    return [
        judged(
            "day-ahead-direct",
            "direct control costs less day-ahead than everybody alone",
            direct <= alone + 1e-6,
            paper="S2 below S1",
            ours={"S1": alone, "S2": direct},
            note="a theorem: what each can do alone, one hand can do",
        )
    ]


def _scheme_checks(rows: Rows) -> list[Check]:
    cost, system, cut = (
        {str(row["scheme"]): row[key] for row in rows} for key in ("prosumer_cost", "system_cost", "curtailed_kwh")
    )
    settled = "Scheme 2 is settled per prosumer at wholesale prices, as the paper's text suggests"
    names = {"1": "everybody alone", "2": "direct control twice", "3": "price games twice"}
    checks = [
        judged(
            f"scheme-4-below-{other}",
            f"prosumers pay less under Scheme 4 than under Scheme {other} ({names[other]})",
            cost["4"] < cost[other],
            paper="Table 2, text of section 5.4",
            ours={"4": cost["4"], other: cost[other]},
            note=settled if other == "2" else "penalties for leaving the plan are not counted",
        )
        for other in names
    ]
    return [
        *checks,
        judged(
            "scheme-4-cheapest-for-the-system",
            "Scheme 4 is the most cost-effective",
            system["4"] <= min(system.values()) + 1e-9,
            paper="section 5.4",
            ours=system,
            note="no theorem: with the same plan one hand is never dearer than a game, so Scheme 2 is at most Scheme 4",
        ),
        judged(
            "interruptible-load",
            "price games intraday curtail far more load than fixed prices",
            cut["4"] > 1.1 * max(cut["1"], cut["2"]),
            paper="Figure 6",
            ours=cut,
            note="eq 24 caps lambda_s at the price of the market: no buyer sees a stronger signal than without a game",
        ),
        incomparable("table-2", "costs of the four schemes", ours=cost, note="the stored text lacks Tables 1 and 2"),
    ]


def _price_checks(study: _Study, rows: Rows) -> list[Check]:
    def row(which: str, name: str) -> list[float]:
        return [r[name] for r in rows if r["external"] == which]

    def rises(values: list[float]) -> bool:
        return values[-1] >= values[0] - 1e-6

    surplus, peak = study.solved(study.game(40)), study.solved(study.game(EVENING))
    low, high = (study.game(first).market.from_prosumer for first in (40, EVENING))
    to_low = float(np.max(surplus.best.prices.from_prosumer - low))
    raised = float(np.max(peak.best.prices.from_prosumer - high))
    return [
        judged(
            "surplus-price",
            "where all have a surplus the operator lowers its purchase price to the market's",
            to_low < 1e-3,
            paper="section 5.3",
            ours=to_low,
        ),
        judged(
            "peak-price",
            "in the evening peak it raises its purchase price above the market's",
            raised > 0.01,
            paper="section 5.3",
            ours=raised,
        ),
        *(
            judged(
                f"figure-10-{which}-{name}",
                f"at point 74 the internal {word} price moves with the external {label} price",
                rises(row(which, name)),
                paper="Figure 10",
                ours=row(which, name),
                note="means over the window, first against last factor",
            )
            for which, label in (("import", "purchase"), ("export", "sale"))
            for name, word in (("to_prosumer", "sale"), ("from_prosumer", "purchase"))
        ),
    ]


def _noise_checks(rows: Rows) -> list[Check]:
    return [
        judged(
            f"figure-11-{name}",
            f"the {name} of the price spread falls as noise grows from 1 % to 5 %",
            rows[-1][name] < rows[0][name],
            paper="Figure 11",
            ours=[row[name] for row in rows],
            note="one seed; the same noise scaled",
        )
        for name in ("mean", "median", "iqr")
    ]


def _algorithm_checks(rows: Rows) -> list[Check]:
    def of(method: str, name: str) -> list[Any]:
        return [row[name] for row in rows if row["method"] == method]

    kriging, plain, preset = (of(method, "profit") for method in ("paper", "pso", "paper-preset"))
    errors = of("paper", "power_error")
    best = all(
        row["profit"] <= exact + 1e-6
        for row in rows
        for exact in [r["profit"] for r in rows if r["method"] == "exact" and r["window"] == row["window"]]
    )
    calls = {"kriging": of("paper", "calls"), "pso": of("pso", "calls")}
    return [
        judged(
            "table-3-calls",
            "Kriging needs far fewer calls of the lower level than the plain swarm",
            all(10 * k <= p for k, p in zip(calls["kriging"], calls["pso"], strict=True)),
            paper="Table 3",
            ours=calls,
        ),
        judged(
            "table-3-profit",
            "without losing profit against the plain swarm",
            all(k >= 0.98 * p for k, p in zip(kriging, plain, strict=True)),
            paper="Table 3",
            ours={"kriging": kriging, "pso": plain},
            note="32 dimensions and kinks: a surrogate of 180 samples is good only near its best point",
        ),
        judged(
            "figure-12-error",
            "predicted powers deviate by 2 to 4.5 %",
            all(error is not None and error <= 0.045 for error in errors),
            paper=[0.02, 0.045],
            ours=errors,
            kind="reconstruction",
            tolerance=0.045,
            note="last five infill points",
        ),
        judged(
            "swarm-constants",
            "w = 2 with c1 = c2 = 0.5 is the best choice of constants",
            sum(preset) >= sum(kriging),
            paper={"w": 2, "c": 0.5},
            ours={"paper": sum(preset), "stable": sum(kriging)},
            kind="reconstruction",
            note="|w| < 1 is necessary for the recursion to converge; w and c were probably swapped",
        ),
        judged(
            "exact-is-best",
            "no baseline earns more than the search with a certificate",
            best,
            paper=None,
            ours={method: of(method, "profit") for method in ("exact", "paper", "pso", "ga")},
            kind="reconstruction",
        ),
        incomparable("table-3", "iterations and seconds", ours=of("paper", "seconds"), note="the table is missing"),
    ]


def _size_checks(rows: Rows) -> list[Check]:
    small = [row for row in rows if row["prosumers"] <= 5]
    return [
        judged(
            "table-4-minutes",
            "with 5 prosumers a window takes less than 5 minutes",
            max(row["seconds"] for row in small) < 300,
            paper=300,
            ours=[row["seconds"] for row in small],
            kind="number",
            tolerance=300,
        ),
        incomparable("table-4", "seconds and iterations of 3, 4, 5 prosumers", ours=rows, note="the table is missing"),
    ]
