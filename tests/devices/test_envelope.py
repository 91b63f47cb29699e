"""No write gets outside the envelope, whatever is asked for."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.envelope import Limits, State, enveloped

ANYTHING = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**400), 10**400)
WATTS = st.floats(0, 1e7)
SOC = st.none() | st.floats(0, 1) | st.just(math.nan)
MODES = st.sampled_from(["monitor", "shadow", "limited", "full"])


def assert_inside(value, limits, state, mode):
    if value is None:
        return
    assert isinstance(value, int)
    assert mode != "monitor"
    assert limits.low_w <= value <= limits.high_w
    if mode == "limited" and limits.control == "p_set_w":
        assert abs(value) <= limits.cap_w
    if limits.control == "p_set_w":
        assert min(state.site_low_w, 0) <= value <= max(state.site_high_w, 0)
    if limits.storage:
        known = state.soc_pu is not None and not math.isnan(state.soc_pu)
        assert known or value == 0
        if known and state.soc_pu <= limits.soc_min_pu:
            assert value <= 0
        if known and state.soc_pu >= limits.soc_max_pu:
            assert value >= 0


@given(wanted=ANYTHING, charge=WATTS, discharge=WATTS, soc=SOC, cap=WATTS, mode=MODES)
def test_a_storage_is_never_told_more_than_rating_charge_and_mode_allow(wanted, charge, discharge, soc, cap, mode):
    limits = Limits("p_set_w", -charge, discharge, storage=True, soc_min_pu=0.1, soc_max_pu=0.9, cap_w=cap)
    state = State(soc)
    assert_inside(enveloped(wanted, limits, state, mode), limits, state, mode)


@given(wanted=ANYTHING, rating=WATTS, mode=MODES)
def test_a_limit_is_never_negative_nor_above_the_rating(wanted, rating, mode):
    limits, state = Limits("p_max_w", 0, rating), State()
    assert_inside(enveloped(wanted, limits, state, mode), limits, state, mode)


@given(wanted=ANYTHING, last=st.floats(-5000, 5000), ramp=st.floats(0.1, 1000), elapsed=st.floats(0, 100))
def test_the_setpoint_moves_no_faster_than_the_ramp(wanted, last, ramp, elapsed):
    limits = Limits("p_set_w", -5000, 5000, ramp_w_s=ramp)
    value = enveloped(wanted, limits, State(last_w=last, elapsed_s=elapsed), "full")
    assert value is not None
    assert abs(value - last) <= ramp * elapsed + 0.5


@pytest.mark.parametrize("plans", [100_000, pytest.param(1_000_000, marks=pytest.mark.torture)])
def test_random_plans_stay_inside(plans):
    draw = random.Random(7)
    strange = [math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0, -0.0, 5e-324]
    limits = Limits("p_set_w", -5000.5, 4999.5, storage=True, soc_min_pu=0.05, soc_max_pu=0.95, ramp_w_s=500, cap_w=999)
    for _ in range(plans):
        wanted = draw.choice(strange) if draw.random() < 0.2 else draw.uniform(-2e4, 2e4) * draw.choice((1, -1))
        state = State(
            draw.choice([None, 0.0, 0.05, 0.5, 0.95, 1.0]),
            draw.uniform(-5e3, 5e3),
            draw.uniform(-10, 100),
            draw.choice([-math.inf, -3000, 200]),
            draw.choice([math.inf, 3000, -200]),
        )
        mode = draw.choice(["monitor", "shadow", "limited", "full"])
        assert_inside(enveloped(wanted, limits, state, mode), limits, state, mode)


@pytest.mark.parametrize(
    ("wanted", "expected"), [(math.nan, 0), (math.inf, 0), (-math.inf, 0), (2.5, 2), (3.5, 4), (-2500.4, -2500)]
)
def test_what_is_no_number_is_standstill_and_ties_go_to_even(wanted, expected):
    assert enveloped(wanted, Limits("p_set_w", -5000, 5000), State(), "full") == expected


def test_a_limit_that_is_no_number_is_not_written():
    assert enveloped(math.nan, Limits("p_max_w", 0, 4000), State(), "full") is None


def test_an_unknown_rating_allows_nothing():
    assert enveloped(100.0, Limits("p_set_w", math.inf, -math.inf), State(), "full") is None
