"""TwoStage: day-ahead direct control, then an intraday price game, behind the mechanism door."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace

import numpy as np

from controller.case import Case, FloatArray, Tariff
from controller.deadline import Deadline
from controller.errors import ControllerError
from controller.mechanism import SettleRule
from controller.mechanisms.twostage.certificate import (
    day_ahead_certificate,
    day_ahead_version,
    gap_floor,
    turnover,
    window_certificate,
)
from controller.mechanisms.twostage.day_ahead import solve_day_ahead
from controller.mechanisms.twostage.exclusivity import check_tariff
from controller.mechanisms.twostage.intraday import window_game
from controller.mechanisms.twostage.orders import orders_of, schedule_of
from controller.mechanisms.twostage.paper import METHODS, baseline_found
from controller.mechanisms.twostage.players import check_case, demand_of, grid_of, operator_of, prosumers_of
from controller.mechanisms.twostage.reasons import dearest, reasons_of
from controller.mechanisms.twostage.settings import Settings
from controller.mechanisms.twostage.settlement import PRICE_DIGITS, account_of, price_row
from controller.mechanisms.twostage.strategies import day_game, everybody_alone
from controller.plan import Budget, Certificate, Order, Plan, Reason, Schedule, Stage, sealed
from controller.stackelberg.game import Outcome, PriceGame, Prices
from controller.stackelberg.piece import PieceProgram
from controller.stackelberg.player import structure
from controller.stackelberg.response import Response, SolverShelf
from controller.stackelberg.search import Found, SearchLimits
from controller.stackelberg.solve import solve

PIECES_SHARE = 0.05
"""Pieces a window may visit per iteration of its budget: 400 iterations are 20 pieces."""


class TwoStage:
    """The mechanism of model 4. Keeps prepared solvers between calls; they speed up, they never change a plan."""

    name = "twostage"
    settle_rule: SettleRule = "price_taker"

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        if self.settings.method not in METHODS:
            mend = f"one of {', '.join(METHODS)}"
            raise ControllerError(f"{self.settings.method!r} is unknown", where="twostage, settings.method", mend=mend)
        if self.settings.strategy not in (1, 2, 3):
            what = f"strategy {self.settings.strategy} is unknown"
            raise ControllerError(what, where="twostage, settings.strategy", mend="one of 1, 2, 3")
        self.shelf = SolverShelf()
        self._programs: dict[Hashable, PieceProgram] = {}

    @property
    def builds(self) -> int:
        """How many solvers were set up so far."""
        return self.shelf.builds + sum(program.qp.builds for program in self._programs.values())

    def plan(self, case: Case, stage: Stage, budget: Budget, warm: Plan | None = None) -> Plan:
        """Plan the case: `day_ahead` by direct control, `intraday` as a price game.

        Raises ControllerError naming what conflicts.
        """
        case = _quantised(case)
        check_tariff(case.tariff)
        check_case(case)
        grid_of(case)
        deadline = Deadline(budget.wall_s)
        if stage == "day_ahead":
            return self._day_ahead(case, budget, deadline)
        return self._intraday(case, budget, deadline, warm)

    def _day_ahead(self, case: Case, budget: Budget, deadline: Deadline) -> Plan:
        if self.settings.strategy != 2:
            return self._day_by_parties(case, budget, deadline)
        solved = solve_day_ahead(case, self.settings, budget, self.shelf, deadline)
        market = Prices(case.tariff.import_per_kwh, case.tariff.export_per_kwh)
        answers = {party.id: solved.response for party in case.parties if party.role != "grid"}
        needs = {party: _party_need(case, party, solved.response) for party in answers}
        reasons = reasons_of(self.shelf.prepare(solved.player).solver.model, solved.player, solved.response)
        on = {name: commitment.on for name, commitment in solved.player.commitments.items()}
        return _assemble(case, "day_ahead", market, answers, needs, on, reasons, day_ahead_certificate(case, solved))

    def _day_by_parties(self, case: Case, budget: Budget, deadline: Deadline) -> Plan:
        """Strategies 1 and 3."""
        alone = everybody_alone(case, self.settings, budget, self.shelf, deadline)
        market = Prices(case.tariff.import_per_kwh, case.tariff.export_per_kwh)
        needs = {party: _party_need(case, party, answer) for party, answer in alone.answers.items()}
        reasons = [
            reason
            for day in alone.days.values()
            for reason in reasons_of(self.shelf.prepare(day.player).solver.model, day.player, day.response)
        ]
        certificate = alone.certificate(case, day_ahead_version())
        plan = _assemble(case, "day_ahead", market, alone.answers, needs, alone.on, reasons, certificate)
        if self.settings.strategy == 1:
            return plan
        game = day_game(case, plan, self.settings, self.shelf)
        return self._played(case, "day_ahead", game, self._limits(budget, deadline), None)

    def _intraday(self, case: Case, budget: Budget, deadline: Deadline, warm: Plan | None) -> Plan:
        game = window_game(case, self.settings, self.shelf)
        return self._played(case, "intraday", game, self._limits(budget, deadline), _warm_prices(case, warm))

    def _limits(self, budget: Budget, deadline: Deadline) -> SearchLimits:
        nodes = max(0, budget.nodes - self.settings.window_nodes_above)
        return SearchLimits(budget.gap, budget.rounds, max(1, round(PIECES_SHARE * budget.iterations)), nodes, deadline)

    def _played(self, case: Case, stage: Stage, game: PriceGame, limits: SearchLimits, warm: Prices | None) -> Plan:
        before = self.shelf.solves
        found = self._search(case, game, limits, warm)
        operator, best = operator_of(case), found.best
        answers = {player.player.name: answer for player, answer in zip(game.followers, best.followers, strict=True)}
        answers[operator] = best.leader
        needs = {party: _party_need(case, party, answer) for party, answer in answers.items()}
        reasons = [
            reason
            for player, answer in zip(game.followers, best.followers, strict=True)
            for reason in reasons_of(player.solver.model, player.player, answer)
        ]
        if game.leader is not None:
            reasons += reasons_of(game.leader.solver.model, game.leader_player, best.leader)
        on = {name: c.on for name, c in game.central.player.commitments.items()}
        work = {"followers": len(game.followers), "programs": self.shelf.solves - before}
        certificate = window_certificate(case, game, found, limits.gap, work)
        return _assemble(case, stage, best.prices, answers, needs, on, reasons, certificate)

    def _search(self, case: Case, game: PriceGame, limits: SearchLimits, warm: Prices | None) -> Found:
        market: Outcome = game.evaluate(game.market)
        floor = gap_floor(turnover(case, tuple(answer.need_kw for answer in market.followers)))
        if self.settings.method != "exact":
            return baseline_found(game, self.settings.method)
        key = tuple(structure(player.player) for player in game.followers), structure(game.leader_player)
        if key not in self._programs:
            if len(self._programs) >= 8:
                self._programs.pop(next(iter(self._programs)))
            self._programs[key] = PieceProgram(game)
        return solve(game, self._programs[key], limits, floor, warm)


def _quantised(case: Case) -> Case:
    """The case with prices in their quantum, so that bounds of prices are prices themselves."""

    def rounded(tariff: Tariff) -> Tariff:
        return Tariff(
            np.asarray(np.round(np.asarray(tariff.import_per_kwh, dtype=np.float64), PRICE_DIGITS), dtype=np.float64),
            np.asarray(np.round(np.asarray(tariff.export_per_kwh, dtype=np.float64), PRICE_DIGITS), dtype=np.float64),
        )

    return replace(case, tariff=rounded(case.tariff), tail=None if case.tail is None else rounded(case.tail))


def _assemble(
    case: Case,
    stage: Stage,
    prices: Prices,
    answers: Mapping[str, Response],
    needs: Mapping[str, FloatArray],
    on: Mapping[str, FloatArray],
    reasons: list[Reason],
    certificate: Certificate,
) -> Plan:
    """Rows of the plan from the answer that holds each party's assets."""
    low, high = case.tariff.export_per_kwh, case.tariff.import_per_kwh
    to, back = price_row(prices.to_prosumer, low, high), price_row(prices.from_prosumer, low, high)
    tariff = tuple(float(p) for p in high), tuple(float(p) for p in low)
    followers = set(prosumers_of(case))
    buy = {party.id: to if party.id in followers else tariff[0] for party in case.parties}
    sell = {party.id: back if party.id in followers else tariff[1] for party in case.parties}
    orders: dict[str, tuple[Order, ...] | None] = {}
    schedule: dict[str, Schedule] = {}
    for asset in case.assets:
        answer, party = answers[asset.party], asset.party
        orders[asset.id] = orders_of(case, asset, answer, needs[party], buy[party], sell[party])
        schedule[asset.id] = schedule_of(case, asset, answer, on)
    account = account_of(case, needs, buy, sell)
    return sealed(
        Plan(
            id="",
            mechanism=TwoStage.name,
            stage=stage,
            start_us=case.start_us,
            slot_s=case.slot_s,
            orders=orders,
            buy_per_kwh=buy,
            sell_per_kwh=sell,
            energy_wh=account.energy_wh,
            payment_micro=account.payment_micro,
            reasons=dearest(reasons, case.slots),
            certificate=certificate,
            schedule=schedule,
        )
    )


def _party_need(case: Case, party: str, answer: Response) -> FloatArray:
    """Net need of one party at its meter, kW per slot of the case, from the powers of its own assets."""
    need = demand_of(case, party)
    for asset in case.assets:
        if asset.party == party:
            need = need - answer.p_kw[asset.id][: case.slots]
    return need


def _warm_prices(case: Case, warm: Plan | None) -> Prices | None:
    """The last plan's prices moved to this window; market prices where it does not reach. A start, never trusted."""
    if warm is None or warm.slot_s != case.slot_s:
        return None
    party = next((p for p in prosumers_of(case) if p in warm.buy_per_kwh and p in warm.sell_per_kwh), None)
    shift = (case.start_us - warm.start_us) // (case.slot_s * 1_000_000)
    if party is None or not 0 <= shift < warm.slots:
        return None
    rows = []
    for row, market in (
        (warm.buy_per_kwh[party], case.tariff.import_per_kwh),
        (warm.sell_per_kwh[party], case.tariff.export_per_kwh),
    ):
        known = np.asarray(row[shift : shift + case.slots])
        rows.append(np.concatenate([known, market[known.shape[0] :]]))
    return Prices(rows[0], rows[1])
