"""Integer money: micro-currency, Wh and micro-currency per kWh. No float ever becomes an amount here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ledger.errors import LedgerError

MICRO = 1_000_000
K = TypeVar("K", str, int)


def half_even(numerator: int, denominator: int) -> int:
    """numerator / denominator rounded to the nearest integer, ties to the even one; denominator > 0."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient & 1))


def amount_micro(wh: int, price_micro_per_kwh: int) -> int:
    """What `wh` watt-hours cost, micro-currency: rounded once per trade; the payee's leg is the payer's negated."""
    return half_even(wh * price_micro_per_kwh, 1000)


def split_micro(total: int, weights: Mapping[K, int]) -> dict[K, int]:
    """Split a total in proportion to weights >= 0 by largest remainder: parts sum to the total exactly.

    Ties go to the smaller key. If all weights are 0 the total is split evenly. Raises LedgerError without any key.
    """
    if not weights or min(weights.values()) < 0:
        raise LedgerError(
            "a pool is split by weights >= 0, at least one", where="money", mend="leave out who has no part"
        )
    whole = sum(weights.values())
    even = dict.fromkeys(weights, 1) if whole == 0 else dict(weights)
    whole = whole or len(even)
    parts = {key: total * weight // whole for key, weight in even.items()}
    rest = total - sum(parts.values())
    order = sorted(even, key=lambda key: (-(total * even[key] % whole), key))
    for key in order[:rest]:
        parts[key] += 1
    return parts


def text(micro: int, currency: str) -> str:
    """`12.345678 USD`, exact."""
    sign = "-" if micro < 0 else ""
    return f"{sign}{abs(micro) // MICRO}.{abs(micro) % MICRO:06d} {currency}"
