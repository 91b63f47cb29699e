"""Prices by one leader, answers by many followers: the leader's profit at given prices and its upper bound.

Leader: max F = sum of payments - cost of serving the followers' net need from the market and its own assets, over
pi_s <= lambda_b <= lambda_s <= pi_b (models/twostage.md section 3, paper eq 24). Followers answer with their optimum.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from controller.case import FloatArray
from controller.stackelberg.player import Player, demand_kw, reach_kw
from controller.stackelberg.response import PreparedPlayer, Response, SolverShelf, trade_cost


@dataclass(frozen=True, slots=True)
class Prices:
    """Uniform prices of the leader, currency per kWh, one per step."""

    to_prosumer: FloatArray
    """lambda_s: what a follower pays for a kWh it takes."""
    from_prosumer: FloatArray
    """lambda_b: what a follower gets for a kWh it gives."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Prices with every answer to them."""

    prices: Prices
    followers: tuple[Response, ...]
    leader: Response
    profit: float
    system_cost: float
    """Cost of all players together; payments between them cancel."""


@dataclass(frozen=True, slots=True)
class Bound:
    """No prices earn the leader more than `profit`."""

    profit: float
    central: Response
    """The site under one hand: its marginal costs are prices worth trying."""
    market: Outcome


@dataclass(slots=True)
class PriceGame:
    """One window. The leader and the site are players that trade with the market at the tariff."""

    followers: tuple[PreparedPlayer, ...]
    leader: PreparedPlayer | None
    """None where the leader owns nothing and meets no grid cap: then its cost has a closed form."""
    leader_player: Player
    central: PreparedPlayer
    evaluations: int = 0
    _seen: dict[bytes, Outcome] = field(default_factory=dict)

    @property
    def market(self) -> Prices:
        """The market's own prices: always allowed, never worse for the leader than not trading."""
        return Prices(self.leader_player.buy_per_kwh, self.leader_player.sell_per_kwh)

    def evaluate(self, prices: Prices) -> Outcome:
        """Answers and profit at these prices, remembered by their exact values."""
        key = prices.to_prosumer.tobytes() + prices.from_prosumer.tobytes()
        if key not in self._seen:
            self._seen[key] = self._evaluate(prices)
        return self._seen[key]

    def _evaluate(self, prices: Prices) -> Outcome:
        self.evaluations += 1
        answers = tuple(f.respond(prices.to_prosumer, prices.from_prosumer) for f in self.followers)
        need = np.sum([answer.need_kw for answer in answers], axis=0) if answers else np.zeros(self.leader_player.steps)
        leader = self._serve(need)
        payments = sum(answer.cost - answer.own_cost for answer in answers)
        own = sum(answer.own_cost for answer in answers)
        return Outcome(prices, answers, leader, float(payments - leader.cost), float(own + leader.cost))

    def _serve(self, need_kw: FloatArray) -> Response:
        """The leader's cheapest way to serve the followers' net need."""
        player = self.leader_player
        if self.leader is None:
            return serve_from_market(player, need_kw)
        rows = self.leader.solver.model.rows["balance"]
        load = self.leader.base_demand_kw + need_kw
        self.leader.vectors.row_lo[rows] = self.leader.vectors.row_hi[rows] = load
        return self.leader.respond(player.buy_per_kwh, player.sell_per_kwh, refill=True)

    def bound(self) -> Bound:
        """Upper bound of the profit by strong duality without complementarity.

        With C_i(lambda) the followers' optimal costs, profit = sum C_i(lambda) - cost of the system at their answers.
        C_i is largest at market prices (each kWh bought is dearest there, each kWh sold earns least) and no operation
        of the system costs less than the central optimum, so profit <= sum C_i(market) - central cost. This is the
        optimum of the relaxation that replaces payments by the duals' value and drops complementarity
        (specs/optimisation.md): given lambda it separates into exactly these programs.
        """
        market = self.evaluate(self.market)
        central = self.central.respond(self.leader_player.buy_per_kwh, self.leader_player.sell_per_kwh)
        profit = sum(answer.cost for answer in market.followers) - central.bound
        return Bound(float(profit), central, market)


def serve_from_market(player: Player, need_kw: FloatArray) -> Response:
    """Cost of a need met by the market alone."""
    total = player.load_kw + need_kw
    cost = trade_cost(total, player.buy_per_kwh, player.sell_per_kwh, player.hours)
    marginal = np.where(total >= 0, player.buy_per_kwh, player.sell_per_kwh)
    return Response(total, cost, cost, 0.0, marginal, {}, {}, {}, 0.0, 0.0)


def open_game(shelf: SolverShelf, followers: tuple[Player, ...], leader: Player, central: Player) -> PriceGame:
    """Fill the solvers of all players for one window."""
    others = [float(np.max(demand_kw(p) + np.sum(reach_kw(p), axis=0), initial=0.0)) for p in followers]
    leader = replace(leader, trade_margin_kw=leader.trade_margin_kw + sum(others))
    alone = not leader.assets and not np.isfinite(leader.import_cap_kw) and not np.isfinite(leader.export_cap_kw)
    return PriceGame(
        followers=tuple(shelf.prepare(player) for player in followers),
        leader=None if alone else shelf.prepare(leader),
        leader_player=leader,
        central=shelf.prepare(central),
    )


def central_player(name: str, players: tuple[Player, ...], leader: Player) -> Player:
    """All players' assets in one hand, trading at the leader's prices."""
    everyone = (*players, leader)
    return replace(
        leader,
        name=name,
        assets=tuple(asset for player in everyone for asset in player.assets),
        load_kw=np.sum([player.load_kw for player in everyone], axis=0),
        terminals={key: value for player in everyone for key, value in player.terminals.items()},
        commitments={key: value for player in everyone for key, value in player.commitments.items()},
        adjustments={key: value for player in everyone for key, value in player.adjustments.items()},
    )
