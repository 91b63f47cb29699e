"""The rules exactly as the specification words them."""

from __future__ import annotations

import numpy as np
import pytest

from controller.case import Storage
from controller.errors import ControllerError
from controller.rules import Rule, dear_slots

BATTERY = Storage("bat", "home", 6400.0, 5000.0, 5000.0, 0.95, 0.95, 0.5)


def day_prices(days: int = 3) -> np.ndarray:
    """0.21 by night and day, 0.50 from 16 to 21 h."""
    day = np.full(96, 0.21)
    day[64:84] = 0.5
    return np.tile(day, days)


def test_dear_is_more_than_round_trip_and_wear_above_the_lowest_within_a_day() -> None:
    prices = np.full(400, 0.20)
    prices[200], prices[201] = 0.2217, 0.2215  # 0.20 / 0.9025 = 0.22161
    assert np.flatnonzero(dear_slots(prices, BATTERY, 900)).tolist() == [200]
    worn = Storage("bat", "home", 6400.0, 5000.0, 5000.0, 0.95, 0.95, 0.5, 0.0, 1.0, 0.0, 0.01)
    assert not dear_slots(prices, worn, 900).any()


def test_the_lowest_price_counts_only_within_one_day_either_side() -> None:
    prices = np.full(400, 0.30)
    prices[150] = 0.10
    dear = dear_slots(prices, BATTERY, 900)
    assert np.flatnonzero(dear).tolist() == [k for k in range(150 - 96, 150 + 97) if k != 150]


@pytest.mark.parametrize(
    ("name", "slot", "soc", "expected"),
    [
        ("tou", 96 + 70, 0.5, ("cover", 0)),
        ("tou_night", 96 + 70, 0.5, ("cover", 0)),
        ("tou", 96 + 10, 0.5, ("soak", 0)),
        ("tou_night", 96 + 10, 0.5, ("selfuse", 0)),
        ("selfuse", 96 + 70, 0.5, ("selfuse", 0)),
        # empty: 6400 / 0.95 Wh at 1250 Wh a slot take 5.4 -> 6 slots; 6737 Wh over 1.5 h = 4491 W
        ("tou", 96 + 58, 0.0, ("fixed", -4491)),
        ("tou", 96 + 57, 0.0, ("soak", 0)),
        ("tou", 96 + 63, 0.0, ("fixed", -5000)),
        ("tou_night", 96 + 63, 1.0, ("selfuse", 0)),
    ],
)
def test_orders_of_the_rules(name: str, slot: int, soc: float, expected: tuple[str, int]) -> None:
    order = Rule(name, [BATTERY], day_prices(), 900).order(slot, 0, soc)
    assert (order.kind, order.p_ref_w) == expected


def test_no_dear_slot_ahead_means_no_purchase() -> None:
    order = Rule("tou", [BATTERY], np.full(96, 0.2), 900).order(95, 0, 0.0)
    assert order.kind == "soak"


def test_an_unknown_rule_names_those_there_are() -> None:
    with pytest.raises(ControllerError, match="selfuse, tou, tou_night"):
        Rule("night", [BATTERY], day_prices(), 900)  # type: ignore[arg-type]
