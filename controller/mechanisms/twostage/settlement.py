"""Expected energies and payments of a plan in whole Wh and micro-currency; they sum to zero in every slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from controller.case import Case, FloatArray
from controller.mechanisms.twostage.players import grid_of, operator_of, prosumers_of
from controller.qp import IntArray

Row = FloatArray | tuple[float, ...]

PRICE_DIGITS = 6
WH_PER_KWH_MICRO = 1000
"""Energy in Wh times price per kWh times 1e6 / 1000 = micro-currency."""


@dataclass(frozen=True, slots=True)
class Account:
    """Rows per party and slot, as Plan wants them."""

    energy_wh: dict[str, tuple[int, ...]]
    payment_micro: dict[str, tuple[int, ...]]


def account_of(
    case: Case,
    need_kw: Mapping[str, FloatArray],
    buy: Mapping[str, tuple[float, ...]],
    sell: Mapping[str, tuple[float, ...]],
) -> Account:
    """Energies from needs (kW, > 0 takes) of prosumers and operator; the grid gives what they take together.

    Prosumers trade with the operator at their prices, the operator with the grid at the tariff.
    """
    operator, grid = operator_of(case), grid_of(case)
    given = {party: -np.rint(need * case.hours * 1000).astype(np.int64) for party, need in need_kw.items()}
    given[grid] = -np.sum(list(given.values()), axis=0)
    paid = {party: _receipts(given[party], buy[party], sell[party]) for party in prosumers_of(case)}
    paid[grid] = _receipts(given[grid], case.tariff.export_per_kwh, case.tariff.import_per_kwh)
    paid[operator] = -np.sum(list(paid.values()), axis=0)
    order = [party.id for party in case.parties]
    zero = np.zeros(case.slots, dtype=np.int64)
    return Account(
        energy_wh={party: tuple(int(v) for v in given.get(party, zero)) for party in order},
        payment_micro={party: tuple(int(v) for v in paid.get(party, zero)) for party in order},
    )


def _receipts(given_wh: IntArray, buy: Row, sell: Row) -> IntArray:
    """Micro-currency received per slot for energy given at `sell` (> 0) or taken at `buy` (< 0)."""
    price = np.where(given_wh >= 0, np.asarray(sell), np.asarray(buy))
    return np.asarray(np.rint(given_wh * price * WH_PER_KWH_MICRO).astype(np.int64))


def price_row(price: FloatArray, low: FloatArray, high: FloatArray) -> tuple[float, ...]:
    """Prices rounded to 1e-6 and kept inside their bounds."""
    rounded = np.clip(np.round(price, PRICE_DIGITS), low, high)
    return tuple(float(value) for value in rounded)
