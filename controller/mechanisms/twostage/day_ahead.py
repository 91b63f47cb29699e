"""Day-ahead plan by direct control: the site's cheapest operation (models/twostage.md section 2, Strategy 2).

HiGHS decides on/off states and directions; with them fixed, one convex program gives exact powers, true cost and worths
of stored energy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from controller.case import Case, FloatArray, Storage, Turbine
from controller.deadline import ENDLESS, Deadline
from controller.mechanisms.twostage.commitment import commitment_of, declare_commitment, fill_commitment
from controller.mechanisms.twostage.exclusivity import cycling_steps
from controller.mechanisms.twostage.milp import MilpSolution, solve_milp
from controller.mechanisms.twostage.players import (
    CENTRAL,
    party_load_kw,
    prosumers_of,
    storages_of,
    stretched,
    with_caps,
)
from controller.mechanisms.twostage.pooling import pooled
from controller.mechanisms.twostage.settings import Settings
from controller.mechanisms.twostage.tail import cheapest_worth, tail_of
from controller.plan import Budget
from controller.qp import IntArray, Model, Program, Term, Vectors
from controller.stackelberg.player import (
    Player,
    declare_asset,
    declare_trade,
    fill_asset,
    fill_trade,
)
from controller.stackelberg.response import Response, SolverShelf


@dataclass(frozen=True, slots=True)
class DayAhead:
    """Solved day-ahead problem; arrays cover the horizon and its tail, the first case.slots steps are the horizon."""

    player: Player
    response: Response
    milp: MilpSolution

    @property
    def objective(self) -> float:
        """True cost of horizon and tail."""
        return self.response.cost

    @property
    def bound(self) -> float:
        """No operation costs less."""
        return min(self.milp.bound, self.response.cost)


def solve_day_ahead(
    case: Case, settings: Settings, budget: Budget, shelf: SolverShelf, deadline: Deadline = ENDLESS
) -> DayAhead:
    """Commitment by HiGHS or SCIP, powers and duals by PIQP. Raises ControllerError when no plan exists or none was
    found in time.
    """
    player = site_player(case, settings)
    model, vectors, binaries = _commitment_program(player, case.slots)
    nodes = budget.nodes * settings.day_ahead_nodes_factor
    solver = _miqp if by_scip(case, settings) else solve_milp
    milp = solver(model, vectors, gap=min(budget.gap, 1e-3), nodes=nodes, deadline=deadline)
    fixed = replace(
        player,
        commitments={a.id: commitment_of(a, _on(model, milp, a)) for a in player.assets if isinstance(a, Turbine)},
        directions=_directions(model, milp, player, binaries),
    )
    response = shelf.prepare(fixed).respond(player.buy_per_kwh, player.sell_per_kwh)
    return DayAhead(fixed, response, milp)


def by_scip(case: Case, settings: Settings) -> bool:
    """Whether SCIP solves a case of this size."""
    if settings.day_ahead_solver == "auto":
        return len(prosumers_of(case)) * case.slots <= settings.scip_size
    return settings.day_ahead_solver == "SCIP"


def _miqp(model: Model, vectors: Vectors, *, gap: float, nodes: int, deadline: Deadline) -> MilpSolution:
    """SCIP is loaded only where it is used: it doubles the solver process's memory."""
    from controller.mechanisms.twostage.miqp import solve_miqp

    found = solve_miqp(model, vectors, gap=gap, nodes=nodes, deadline=deadline)
    return found or solve_milp(model, vectors, gap=gap, nodes=nodes, deadline=deadline)


def site_player(case: Case, settings: Settings) -> Player:
    """All assets in one hand over horizon and tail; without a tail every storage ends where it began."""
    tail = tail_of(case)
    more = 0 if tail is None else tail.hours.shape[0]
    parties = [party.id for party in case.parties if party.role != "grid"]
    load = np.sum([party_load_kw(case, party) for party in parties], axis=0)
    player = Player(
        name=CENTRAL,
        assets=tuple(stretched(asset, more) for asset in case.assets),
        hours=np.full(case.slots, case.hours),
        load_kw=load,
        buy_per_kwh=case.tariff.import_per_kwh,
        sell_per_kwh=case.tariff.export_per_kwh,
        late_per_kwh=settings.late_per_kwh,
    )
    if tail is not None:
        net = np.sum([np.zeros(more), *tail.net_kw.values()], axis=0)
        player = replace(
            player,
            hours=np.concatenate([player.hours, tail.hours]),
            load_kw=np.concatenate([load, net]),
            buy_per_kwh=np.concatenate([player.buy_per_kwh, tail.buy_per_kwh]),
            sell_per_kwh=np.concatenate([player.sell_per_kwh, tail.sell_per_kwh]),
            terminals={s.id: cheapest_worth(s, tail.buy_per_kwh) for s in storages_of(case)},
        )
    return with_caps(case, player)


def _commitment_program(site: Player, whole: int) -> tuple[Model, Vectors, dict[str, IntArray]]:
    """The mixed-integer program and, per storage, the steps that have a direction binary."""
    cycling = [s.id for s in site.assets if isinstance(s, Storage) and cycling_steps(s, site.sell_per_kwh).any()]
    player = pooled(site, cycling)
    program, supply = Program(), list[Term]()
    binaries: dict[str, IntArray] = {}
    for asset in player.assets:
        if isinstance(asset, Turbine):
            supply += declare_commitment(program, player, asset, whole)
            continue
        supply += declare_asset(program, player, asset)
        if isinstance(asset, Storage):
            steps = np.flatnonzero(cycling_steps(asset, player.sell_per_kwh))
            if steps.size:
                _declare_direction(program, asset, steps)
                binaries[asset.id] = steps
    declare_trade(program, player, supply)
    model = program.build()
    vectors = model.vectors()
    for asset in player.assets:
        if isinstance(asset, Turbine):
            fill_commitment(model, vectors, player, asset)
        else:
            fill_asset(model, vectors, player, asset)
    fill_trade(model, vectors, player)
    return model, vectors, binaries


def _declare_direction(program: Program, asset: Storage, steps: IntArray) -> None:
    """charge <= rating * z, discharge <= rating * (1 - z)."""
    n = steps.shape[0]
    charging = program.add_columns(f"{asset.id}.charging", n, hi=1.0, integer=True)
    charge, discharge = (program.cols[f"{asset.id}.{side}"][steps] for side in ("charge", "discharge"))
    p_charge, p_discharge = asset.p_charge_w / 1000, asset.p_discharge_w / 1000
    program.add_rows(f"{asset.id}.one.charge", n, (charge, 1.0), (charging, -p_charge), lo=-np.inf, hi=0.0)
    program.add_rows(
        f"{asset.id}.one.discharge", n, (discharge, 1.0), (charging, p_discharge), lo=-np.inf, hi=p_discharge
    )


def _on(model: Model, milp: MilpSolution, asset: Turbine) -> FloatArray:
    whole, rest = milp.x[model.cols[f"{asset.id}.on"]], milp.x[model.cols[f"{asset.id}.on.tail"]]
    return np.concatenate([whole, np.clip(rest, 0.0, 1.0)])


def _directions(
    model: Model, milp: MilpSolution, player: Player, binaries: dict[str, IntArray]
) -> dict[str, FloatArray]:
    directions = {}
    for name, steps in binaries.items():
        directions[name] = np.zeros(player.steps)
        directions[name][steps] = np.where(milp.x[model.cols[f"{name}.charging"]] > 0.5, -1.0, 1.0)
    return directions
