"""The paper's four schemes over a day: a day-ahead strategy, then rolling windows that apply their first steps.

Scheme 1: everybody alone, market prices. 2: direct control in both stages, prosumers settled at wholesale prices.
3: price games in both. 4: direct control, then price games (paper section 5.4, models/twostage.md section 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from controller.case import Asset, Case, FlexibleLoad, FloatArray, Pv, Storage, Turbine
from controller.mechanisms.twostage import paper_instance
from controller.mechanisms.twostage.intraday import window_game
from controller.mechanisms.twostage.mechanism import TwoStage
from controller.mechanisms.twostage.settings import Settings
from controller.plan import Budget, Plan
from controller.stackelberg.game import PriceGame, Prices
from controller.stackelberg.piece import PieceProgram
from controller.stackelberg.response import Response, trade_cost
from controller.stackelberg.search import SearchLimits
from controller.stackelberg.solve import solve

HARD_END = Settings(late_per_kwh=0.0, terminal_spread_per_kwh=10.0)
"""The paper's window ends at the day-ahead state of charge."""
Intraday = Literal["market", "central", "game"]
SCHEMES: Mapping[int, tuple[int, Intraday]] = {1: (1, "market"), 2: (2, "central"), 3: (3, "game"), 4: (2, "game")}
"""Day-ahead strategy and intraday way of each scheme."""
HORIZON, DAY = 16, 96
"""Window and day in quarter hours."""


@dataclass(slots=True)
class Day:
    """What a scheme came to; currency, kWh."""

    scheme: int
    own_cost: dict[str, float] = field(default_factory=dict)
    """Fuel, starts, wear and comfort of each prosumer; penalties for leaving the plan not counted."""
    bill: dict[str, float] = field(default_factory=dict)
    """What each prosumer pays for what it trades."""
    market_bill: float = 0.0
    """What the site pays the market."""
    start_cost: float = 0.0
    """Part of the own costs that starts and stops make: the same in every scheme of one commitment."""
    curtailed_kwh: float = 0.0
    prices: list[tuple[float, float]] = field(default_factory=list)
    """(lambda_s, lambda_b) of every applied quarter hour."""
    end_soc_pu: dict[str, float] = field(default_factory=dict)
    windows: int = 0

    @property
    def prosumer_cost(self) -> float:
        """All prosumers together."""
        return sum(self.own_cost.values()) + sum(self.bill.values())

    @property
    def system_cost(self) -> float:
        """Own costs and what the market gets: payments inside cancel."""
        return sum(self.own_cost.values()) + self.market_bill

    @property
    def operator_profit(self) -> float:
        """What the operator keeps."""
        return sum(self.bill.values()) - self.market_bill


def day_plan(strategy: int, budget: Budget) -> Plan:
    """The day-ahead plan of a strategy."""
    settings = replace(HARD_END, strategy=strategy)
    return TwoStage(settings).plan(paper_instance.day_ahead_case(), "day_ahead", budget)


def roll(
    scheme: int, plan: Plan, actual: tuple[FloatArray, FloatArray], pieces: int, *, first: int = 0, step: int = 4
) -> Day:
    """Windows every `step` quarter hours from `first` to the end of the day, on actual load and renewables in kW.

    pieces : work of a window's price search
    """
    shelf_owner, day = TwoStage(HARD_END), Day(scheme)
    states = paper_instance.planned_states(plan, first)
    way = SCHEMES[scheme][1]
    for start in range(first, DAY, step):
        case = paper_instance.window_case(plan, start, min(HORIZON, DAY - start), *actual, states)
        game = window_game(case, HARD_END, shelf_owner.shelf)
        prices, answers = _decided(game, way, pieces)
        states = _apply(day, case, game, prices, answers, min(step, DAY - start))
        day.windows += 1
    day.end_soc_pu = {name: one.soc_pu for name, one in states.items() if isinstance(one, Storage)}
    return day


def _decided(game: PriceGame, way: Intraday, pieces: int) -> tuple[Prices, Mapping[str, Response]]:
    """Prices of a window and the answer that holds each prosumer's assets."""
    names = [prepared.player.name for prepared in game.followers]
    market = game.market
    if way == "central":
        answer = game.central.respond(market.to_prosumer, market.from_prosumer)
        return market, dict.fromkeys(names, answer)
    if way == "game":
        best = solve(game, PieceProgram(game), SearchLimits(0.01, 2, pieces), 0.01).best
    else:
        best = game.evaluate(market)
    return best.prices, dict(zip(names, best.followers, strict=True))


def _apply(
    day: Day, case: Case, game: PriceGame, prices: Prices, answers: Mapping[str, Response], steps: int
) -> dict[str, Asset]:
    """Book the first steps and return the states after them."""
    states: dict[str, Asset] = {}
    total, hours = np.zeros(steps), np.full(steps, case.hours)
    for prepared in game.followers:
        party = prepared.player.name
        need = case.load_w[party][:steps] / 1000
        for asset in prepared.player.assets:
            power = answers[party].p_kw[asset.id][:steps]
            if isinstance(asset, FlexibleLoad):
                need = need + asset.demand_w[:steps] / 1000
                day.curtailed_kwh += float(hours @ power)
            need = need - power
            on = game.central.player.commitments[asset.id].on[:steps] if isinstance(asset, Turbine) else None
            cost = own_cost(asset, power, hours, on)
            day.own_cost[party] = day.own_cost.get(party, 0.0) + cost
            day.start_cost += switching(asset, on)
            if after := _after(asset, answers[party], on, steps):
                states[asset.id] = after
        bill = trade_cost(need, prices.to_prosumer[:steps], prices.from_prosumer[:steps], hours)
        day.bill[party] = day.bill.get(party, 0.0) + bill
        total = total + need
    market = game.market
    day.market_bill += trade_cost(total, market.to_prosumer[:steps], market.from_prosumer[:steps], hours)
    pairs = zip(prices.to_prosumer[:steps], prices.from_prosumer[:steps], strict=True)
    day.prices += [(float(to), float(back)) for to, back in pairs]
    return states


def own_cost(asset: Asset, p_kw: FloatArray, hours: FloatArray, on: FloatArray | None) -> float:
    """What an asset's operation costs its owner, without penalties."""
    if isinstance(asset, Storage):
        charged, discharged = np.maximum(-p_kw, 0), np.maximum(p_kw, 0)
        return float(hours @ (asset.wear_charge_per_kwh * charged + asset.wear_discharge_per_kwh * discharged))
    if isinstance(asset, FlexibleLoad):
        return float(hours @ (asset.beta_per_kwh * p_kw + asset.beta2_per_kw2h * p_kw**2))
    if isinstance(asset, Pv) or on is None:
        return 0.0
    fuel = asset.cost_a_per_kw2h * p_kw**2 + asset.cost_b_per_kwh * p_kw + asset.cost_c_per_h * on
    return float(hours @ fuel) + switching(asset, on)


def switching(asset: Asset, on: FloatArray | None) -> float:
    """What a turbine's starts and stops cost; nothing for other assets."""
    if not isinstance(asset, Turbine) or on is None:
        return 0.0
    change = np.diff(np.concatenate([[float(asset.on)], on]))
    return float(asset.start_cost * np.maximum(change, 0).sum() + asset.stop_cost * np.maximum(-change, 0).sum())


def _after(asset: Asset, answer: Response, on: FloatArray | None, steps: int) -> Asset | None:
    if isinstance(asset, Storage):
        energy = float(answer.energy_kwh[asset.id][steps - 1])
        return replace(asset, soc_pu=min(max(energy / (asset.e_wh / 1000), 0.0), 1.0))
    if isinstance(asset, Turbine) and on is not None:
        power = float(answer.p_kw[asset.id][steps - 1])
        return replace(asset, on=bool(on[-1] > 0.5), p_w=max(power, 0.0) * 1000, held_s=1e9)
    return None
