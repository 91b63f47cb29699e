"""What lies beyond the horizon: hourly blocks of prices and net load, and the worth of what is stored at its end.

A hard state of charge from a wrong forecast makes senseless worths. Here the worth of each storage's content is a
concave curve: the saving it brings the site after the window, by the site's own program over the tail, as the day-ahead
plan values it. Without a tail the day-ahead worth is taken,
`terminal_spread_per_kwh` higher below the day-ahead state of charge and lower above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from controller.case import Case, FloatArray, Storage, Turbine
from controller.mechanisms.twostage.players import storages_of
from controller.mechanisms.twostage.settings import Settings
from controller.stackelberg.player import Player, energy_limits_kwh
from controller.stackelberg.response import SolverShelf
from controller.stackelberg.terms import Commitment, Terminal

BLOCK_H = 1.0
"""Length of a tail block, hours."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Blocks after the horizon; arrays (blocks,)."""

    hours: FloatArray
    buy_per_kwh: FloatArray
    sell_per_kwh: FloatArray
    net_kw: Mapping[str, FloatArray]
    """Per party."""


def tail_of(case: Case) -> Tail | None:
    """The case's tail in hourly blocks, or None."""
    if case.tail is None or case.tail.import_per_kwh.shape[0] == 0:
        return None
    slots = case.tail.import_per_kwh.shape[0]
    starts = np.arange(0, slots, max(1, round(BLOCK_H / case.hours)))
    counts = np.diff(np.append(starts, slots))

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.add.reduceat(np.asarray(values, dtype=np.float64), starts) / counts)

    return Tail(
        hours=counts * case.hours,
        buy_per_kwh=mean(case.tail.import_per_kwh),
        sell_per_kwh=mean(case.tail.export_per_kwh),
        net_kw={party: mean(net) / 1000 for party, net in case.tail_net_w.items()},
    )


def cheapest_worth(storage: Storage, buy_per_kwh: FloatArray) -> Terminal:
    """Worth of energy when nothing is known after the end: it replaces the cheapest purchase seen, and never costs."""
    floor, ceiling = energy_limits_kwh(storage)
    worth = max(float(np.min(buy_per_kwh)) * storage.eta_discharge, 0.0)
    return Terminal(np.array([ceiling - floor]), np.array([worth]))


def window_terminals(case: Case, settings: Settings, shelf: SolverShelf) -> dict[str, Terminal]:
    """Worth of every storage's content at the end of an intraday window."""
    tail = tail_of(case)
    if tail is not None:
        return _tail_worths(case, tail, settings, shelf)
    return {s.id: _plan_worth(case, s, settings) for s in storages_of(case)}


def _tail_worths(case: Case, tail: Tail, settings: Settings, shelf: SolverShelf) -> dict[str, Terminal]:
    """Duals of the stored energies with all storages at the middles of equal pieces of their range."""
    pieces, storages = settings.terminal_segments, storages_of(case)
    if not storages:
        return {}
    values = np.empty((len(storages), pieces))
    widths = []
    for piece in range(pieces):
        level = (piece + 0.5) / pieces
        player = _tail_player(case, tail, settings, level)
        response = shelf.prepare(player).respond(tail.buy_per_kwh, tail.sell_per_kwh)
        values[:, piece] = [response.value_per_kwh[s.id][0] for s in storages]
    for storage in storages:
        floor, ceiling = energy_limits_kwh(storage)
        widths.append(np.full(pieces, (ceiling - floor) / pieces))
    falling = np.minimum.accumulate(np.maximum(values, 0.0), axis=1)
    return {s.id: Terminal(widths[k], falling[k]) for k, s in enumerate(storages)}


def _tail_player(case: Case, tail: Tail, settings: Settings, level: float) -> Player:
    """The site in one hand over the tail: storages filled to `level` of their range, turbines free of commitment."""
    zero = np.zeros(tail.hours.shape[0])
    storages = tuple(_filled(s, level) for s in storages_of(case))
    turbines = tuple(_relaxed(a) for a in case.assets if isinstance(a, Turbine))
    always = Commitment(on=np.ones_like(zero), p_before_kw=0.0, on_before=True)
    return Player(
        name="tail",
        assets=(*storages, *turbines),
        hours=tail.hours,
        load_kw=np.asarray(np.sum([zero, *tail.net_kw.values()], axis=0)),
        buy_per_kwh=tail.buy_per_kwh,
        sell_per_kwh=tail.sell_per_kwh,
        terminals={s.id: cheapest_worth(s, tail.buy_per_kwh) for s in storages},
        commitments={turbine.id: always for turbine in turbines},
        late_per_kwh=settings.late_per_kwh,
    )


def _filled(storage: Storage, level: float) -> Storage:
    floor, ceiling = energy_limits_kwh(storage)
    return replace(storage, soc_pu=(floor + level * (ceiling - floor)) / (storage.e_wh / 1000))


def _relaxed(turbine: Turbine) -> Turbine:
    """Without commitment: fixed hourly cost spread over its rating, no lowest power, no ramp."""
    return replace(
        turbine,
        p_min_w=0.0,
        ramp_w_per_h=turbine.p_max_w * 1000,
        cost_b_per_kwh=turbine.cost_b_per_kwh + turbine.cost_c_per_h / (turbine.p_max_w / 1000),
        cost_c_per_h=0.0,
    )


def _plan_worth(case: Case, storage: Storage, settings: Settings) -> Terminal:
    schedule = case.day_ahead.schedule.get(storage.id) if case.day_ahead is not None else None
    if case.day_ahead is None or schedule is None or not schedule.soc_pu or not schedule.value_per_kwh:
        return cheapest_worth(storage, case.tariff.import_per_kwh)
    slot_us = case.day_ahead.slot_s * 1_000_000
    end = (case.start_us + case.slots * case.slot_s * 1_000_000 - case.day_ahead.start_us) / slot_us
    floor, ceiling = energy_limits_kwh(storage)
    known_pu = float(np.interp(end, np.arange(1, len(schedule.soc_pu) + 1), schedule.soc_pu))
    target = min(max(known_pu * storage.e_wh / 1000, floor), ceiling)
    last = min(max(ceil(end) - 1, 0), len(schedule.value_per_kwh) - 1)
    worth, spread = schedule.value_per_kwh[last], settings.terminal_spread_per_kwh
    return Terminal(np.array([target - floor, ceiling - target]), np.array([worth + spread, worth - spread]))
