"""One intraday window as a price game, commitment from the day-ahead plan (models/twostage.md section 3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from controller.case import Case, FloatArray, Storage, Turbine
from controller.mechanisms.twostage.commitment import commitment_of, still_held_steps
from controller.mechanisms.twostage.exclusivity import cycling_price_per_kwh
from controller.mechanisms.twostage.players import (
    CENTRAL,
    operator_of,
    player_of,
    prosumers_of,
    storages_of,
    with_caps,
)
from controller.mechanisms.twostage.settings import Settings
from controller.mechanisms.twostage.tail import window_terminals
from controller.stackelberg.game import PriceGame, central_player, open_game
from controller.stackelberg.player import Player
from controller.stackelberg.response import SolverShelf
from controller.stackelberg.terms import Adjustment, Commitment


def window_game(case: Case, settings: Settings, shelf: SolverShelf) -> PriceGame:
    """The window's players in their solvers."""
    terminals = window_terminals(case, settings, shelf)
    commitments = {a.id: _commitment(case, a) for a in case.assets if isinstance(a, Turbine)}
    adjustments = _adjustments(case, settings)
    directions = _directions(case)

    def player(party: str) -> Player:
        found = player_of(
            case,
            party,
            terminals=terminals,
            commitments=commitments,
            adjustments=adjustments,
            late_per_kwh=settings.late_per_kwh,
        )
        return replace(found, directions={a.id: directions[a.id] for a in found.assets if a.id in directions})

    followers = tuple(player(party) for party in prosumers_of(case))
    leader = with_caps(case, player(operator_of(case)))
    central = replace(central_player(CENTRAL, followers, leader), directions=directions)
    return open_game(shelf, followers, leader, central)


def planned(case: Case, values: tuple[float, ...] | tuple[int, ...] | tuple[bool, ...]) -> FloatArray:
    """A day-ahead row over the window, held through the day-ahead plan's slots; 0 outside the plan."""
    assert case.day_ahead is not None
    row = np.asarray(values, dtype=np.float64)
    starts_us = case.start_us + np.arange(case.slots) * case.slot_s * 1_000_000
    places = (starts_us - case.day_ahead.start_us) // (case.day_ahead.slot_s * 1_000_000)
    known = (places >= 0) & (places < row.shape[0])
    result = np.zeros(case.slots)
    result[known] = row[places[known]]
    return result


def _commitment(case: Case, turbine: Turbine) -> Commitment:
    """On states of the day-ahead plan, off where there is none; minimum times of the present state come first."""
    schedule = case.day_ahead.schedule.get(turbine.id) if case.day_ahead is not None else None
    on = planned(case, schedule.on) if schedule is not None else np.zeros(case.slots)
    on[: still_held_steps(turbine, case.hours)] = float(turbine.on)
    return commitment_of(turbine, _reachable(turbine, on, case.hours))


def _reachable(turbine: Turbine, on: FloatArray, slot_h: float) -> FloatArray:
    """A running turbine must come down to its stopping step before it stops: keep it on while its ramp needs it."""
    ramp_kw = turbine.ramp_w_per_h / 1000 * slot_h
    stop_kw = max(turbine.p_min_w / 1000, ramp_kw)
    power_kw = commitment_of(turbine, on).p_before_kw
    step = 0
    while turbine.on and step < on.shape[0] and power_kw > stop_kw + 1e-9 and ramp_kw > 0:
        on[step] = 1.0
        power_kw -= ramp_kw
        step += 1
    return on


def _adjustments(case: Case, settings: Settings) -> dict[str, Adjustment]:
    """Penalties for leaving the day-ahead powers; storages keep theirs without a plan, so that answers stay unique."""
    result = {}
    for asset in case.assets:
        gamma = {Storage: settings.gamma_storage_per_kw2h, Turbine: settings.gamma_turbine_per_kw2h}.get(type(asset))
        if gamma is None:
            continue
        schedule = case.day_ahead.schedule.get(asset.id) if case.day_ahead is not None else None
        plan_kw = planned(case, schedule.p_w) / 1000 if schedule is not None else np.zeros(case.slots)
        result[asset.id] = Adjustment(gamma, plan_kw)
    return result


def _directions(case: Case) -> dict[str, FloatArray]:
    """Charge-only steps, where being paid to consume (or a turbine that must run at a negative feed-in) would make
    cycling pay; elsewhere free curtailment keeps charging and discharging exclusive."""
    with_turbine = {asset.party for asset in case.assets if isinstance(asset, Turbine)}
    result = {}
    for storage in storages_of(case):
        price = case.tariff.export_per_kwh if storage.party in with_turbine else case.tariff.import_per_kwh
        steps = price < cycling_price_per_kwh(storage)
        if steps.any():
            result[storage.id] = np.where(steps, -1.0, 0.0)
    return result
