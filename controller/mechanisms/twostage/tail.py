"""What lies beyond the horizon: hourly blocks of prices and net load, and the worth of what is stored at its end.

Measured alternatives of the end (models/twostage.md section 3): a hard state of charge from a wrong forecast makes
senseless worths. Here the worth of each storage's content is a concave curve: the saving it brings its owner after the
window, at market prices, by the owner's own program over the tail. Without a tail the day-ahead worth is taken,
`terminal_spread_per_kwh` higher below the day-ahead state of charge and lower above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from controller.case import Case, FloatArray, Storage
from controller.mechanisms.twostage.players import operator_of, storages_of
from controller.mechanisms.twostage.settings import Settings
from controller.stackelberg.player import Player, Terminal, energy_limits_kwh
from controller.stackelberg.response import SolverShelf

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
        return {s.id: _tail_worth(case, tail, s, settings, shelf) for s in storages_of(case)}
    return {s.id: _plan_worth(case, s, settings) for s in storages_of(case)}


def _tail_worth(case: Case, tail: Tail, storage: Storage, settings: Settings, shelf: SolverShelf) -> Terminal:
    """Duals of the stored energy at the middles of equal pieces of its range."""
    floor, ceiling = energy_limits_kwh(storage)
    pieces = settings.terminal_segments
    width = (ceiling - floor) / pieces
    values = np.empty(pieces)
    for piece in range(pieces):
        start = replace(storage, soc_pu=(floor + (piece + 0.5) * width) / (storage.e_wh / 1000))
        player = Player(
            name=f"tail of {storage.id}",
            assets=(start,),
            hours=tail.hours,
            load_kw=_share(case, storage) * _net_seen(case, tail, storage),
            buy_per_kwh=tail.buy_per_kwh,
            sell_per_kwh=tail.sell_per_kwh,
            terminals={storage.id: cheapest_worth(start, tail.buy_per_kwh)},
            late_per_kwh=settings.late_per_kwh,
        )
        values[piece] = shelf.prepare(player).respond(tail.buy_per_kwh, tail.sell_per_kwh).value_per_kwh[storage.id][0]
    return Terminal(np.full(pieces, width), np.minimum.accumulate(np.maximum(values, 0.0)))


def _net_seen(case: Case, tail: Tail, storage: Storage) -> FloatArray:
    """Net load a storage can serve: its party's; the operator's serve the whole site."""
    zero = np.zeros(tail.hours.shape[0])
    if storage.party == operator_of(case):
        return np.asarray(np.sum([zero, *tail.net_kw.values()], axis=0))
    return tail.net_kw.get(storage.party, zero)


def _share(case: Case, storage: Storage) -> float:
    """Storages of one party share its net load by their sizes."""
    total = sum(other.e_wh for other in storages_of(case) if other.party == storage.party)
    return storage.e_wh / total


def _plan_worth(case: Case, storage: Storage, settings: Settings) -> Terminal:
    schedule = case.day_ahead.schedule.get(storage.id) if case.day_ahead is not None else None
    if case.day_ahead is None or schedule is None or not schedule.soc_pu or not schedule.value_per_kwh:
        return cheapest_worth(storage, case.tariff.import_per_kwh)
    first = (case.start_us - case.day_ahead.start_us) // (case.slot_s * 1_000_000)
    last = min(max(first + case.slots - 1, 0), len(schedule.soc_pu) - 1)
    floor, ceiling = energy_limits_kwh(storage)
    target = min(max(schedule.soc_pu[last] * storage.e_wh / 1000, floor), ceiling)
    worth, spread = schedule.value_per_kwh[last], settings.terminal_spread_per_kwh
    return Terminal(np.array([target - floor, ceiling - target]), np.array([worth + spread, worth - spread]))
