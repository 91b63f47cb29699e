"""A player's answer to prices: its program solved and read back into powers, stored energy and worths."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np

from controller.case import FloatArray, Storage
from controller.qp import Model, PreparedQp, Solution, Vectors
from controller.stackelberg.player import Player, build, demand_kw, fill, price_trade, structure


@dataclass(frozen=True, slots=True)
class Response:
    """What a player does. Powers kW per step, bus sign for assets; money in the site's currency over the horizon."""

    need_kw: FloatArray
    """Net power bought (> 0) or sold (< 0)."""
    cost: float
    """Trade at the player's prices plus all its own costs: the objective it minimises."""
    bound: float
    """Dual value of its program: it cannot cost less."""
    own_cost: float
    """`cost` without the trade."""
    marginal_per_kwh: FloatArray
    """What one more kWh of demand in a step would cost."""
    p_kw: Mapping[str, FloatArray]
    """Per asset; a flexible load's entry is the power curtailed."""
    energy_kwh: Mapping[str, FloatArray]
    """Stored energy at the end of each step, per storage."""
    value_per_kwh: Mapping[str, FloatArray]
    """Worth of one more stored kWh, per storage."""
    residual: float
    overlap_kw: float
    """Largest power charged and discharged at once: 0 where the problem needs no binary."""
    solution: Solution | None = None
    """The raw solution, with its duals."""


@dataclass(slots=True)
class PreparedPlayer:
    """A player with its solver; prices change by one vector, everything else by `refill`."""

    player: Player
    solver: PreparedQp
    vectors: Vectors
    _fresh: bool = True

    def respond(self, buy_per_kwh: FloatArray, sell_per_kwh: FloatArray, *, refill: bool = False) -> Response:
        """Best answer to these prices, arrays (steps,), sell <= buy in every step.

        `refill`: other vectors than the prices were changed since the last answer.
        """
        model = self.solver.model
        price_trade(model, self.vectors, self.player, buy_per_kwh, sell_per_kwh)
        solution = self.solver.solve(self.vectors, only_cost=not (self._fresh or refill))
        self._fresh = False
        return read_response(model, self.vectors, self.player.priced(buy_per_kwh, sell_per_kwh), solution)

    @property
    def base_demand_kw(self) -> FloatArray:
        """Demand without anything added from outside."""
        return demand_kw(self.player)


@dataclass(slots=True)
class SolverShelf:
    """Prepared solvers by structure: each is built once and refilled ever after."""

    limit: int = 256
    """Oldest solvers are dropped beyond this many structures."""
    _solvers: dict[Hashable, PreparedQp] = field(default_factory=dict)
    _past_builds: int = 0
    _past_solves: int = 0

    @property
    def builds(self) -> int:
        """How many times a solver was set up."""
        return self._past_builds + sum(solver.builds for solver in self._solvers.values())

    @property
    def solves(self) -> int:
        """How many programs were solved."""
        return self._past_solves + sum(solver.solves for solver in self._solvers.values())

    def prepare(self, player: Player) -> PreparedPlayer:
        """The player, filled into the solver of its structure."""
        key = structure(player)
        solver = self._solvers.get(key)
        if solver is None:
            if len(self._solvers) >= self.limit:
                oldest = self._solvers.pop(next(iter(self._solvers)))
                self._past_builds += oldest.builds
                self._past_solves += oldest.solves
            solver = self._solvers[key] = PreparedQp(build(player))
        return PreparedPlayer(player, solver, fill(solver.model, player))


def read_response(model: Model, vectors: Vectors, player: Player, solution: Solution) -> Response:
    """Powers, energies and worths of a solved player. Buying and selling are split anew from the net: at equal prices
    the program may raise both."""
    x, cols = solution.x, model.cols
    need = x[cols["buy"]] - x[cols["sell"]]
    programmed = float(player.hours @ (player.buy_per_kwh * x[cols["buy"]] - player.sell_per_kwh * x[cols["sell"]]))
    trade = trade_cost(need, player.buy_per_kwh, player.sell_per_kwh, player.hours)
    total = model.value(vectors, x)
    powers, energies, values, overlap = {}, {}, {}, 0.0
    for asset in player.assets:
        if isinstance(asset, Storage):
            charge, discharge = x[cols[f"{asset.id}.charge"]], x[cols[f"{asset.id}.discharge"]]
            powers[asset.id] = discharge - charge
            energies[asset.id] = x[cols[f"{asset.id}.energy"]]
            values[asset.id] = -solution.row_dual[model.rows[f"{asset.id}.energy"]]
            overlap = max(overlap, float(np.max(np.minimum(charge, discharge))))
        else:
            powers[asset.id] = x[cols[f"{asset.id}.p"]]
    return Response(
        need_kw=need,
        cost=total - programmed + trade,
        bound=solution.bound,
        own_cost=total - programmed,
        marginal_per_kwh=solution.row_dual[model.rows["balance"]] / player.hours,
        p_kw=powers,
        energy_kwh=energies,
        value_per_kwh=values,
        residual=solution.residual,
        overlap_kw=overlap,
        solution=solution,
    )


def trade_cost(need_kw: FloatArray, buy: FloatArray, sell: FloatArray, hours: FloatArray) -> float:
    """Cost of a net need, kW per step, at a purchase and a sale price."""
    return float(hours @ (buy * np.maximum(need_kw, 0.0) - sell * np.maximum(-need_kw, 0.0)))
