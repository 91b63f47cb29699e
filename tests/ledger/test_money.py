"""Integer money."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from ledger.errors import LedgerError

big = st.integers(-(10**12), 10**12)


@given(big, st.integers(1, 10**6))
def test_half_even_is_round_of_the_exact_fraction(numerator, denominator):
    assert money.half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def test_ties_go_to_the_even_neighbour():
    assert [money.half_even(n, 2) for n in (-5, -3, -1, 1, 3, 5)] == [-2, -2, 0, 0, 2, 2]


@given(st.integers(-(10**7), 10**7), st.integers(-(10**7), 10**7))
def test_taking_costs_what_giving_earns(wh, price):
    assert money.amount_micro(-wh, price) == -money.amount_micro(wh, price)


@given(big, st.dictionaries(st.text(max_size=3), st.integers(0, 10**9), min_size=1))
def test_a_pool_is_split_to_the_last_micro_and_fairly(total, weights):
    parts = money.split_micro(total, weights)
    assert sum(parts.values()) == total
    whole = sum(weights.values())
    for key, weight in weights.items():
        share = Fraction(total * weight, whole) if whole else Fraction(total, len(weights))
        assert abs(parts[key] - share) < 1


def test_the_split_does_not_depend_on_order():
    weights = {"b": 1, "a": 1, "c": 1}
    assert (
        money.split_micro(100, weights)
        == money.split_micro(100, dict(sorted(weights.items())))
        == {"a": 34, "b": 33, "c": 33}
    )
    with pytest.raises(LedgerError):
        money.split_micro(1, {})
    with pytest.raises(LedgerError):
        money.split_micro(1, {"a": -1})


def test_money_reads_exactly():
    assert money.text(-1_234_567, "USD") == "-1.234567 USD"
    assert money.text(5, "USD") == "0.000005 USD"
