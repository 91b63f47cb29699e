"""Energy balance, limits and ramp of the battery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.description import DeviceSpec
from devices.models import BatteryParameters, BatteryState, ModelError
from devices.models.battery import step

parameters = st.builds(
    lambda e_wh, charge, discharge, eta, low, high, ramp: BatteryParameters(
        e_wh, charge, discharge, eta, (low + high) / 2, low, high, ramp, 0.0
    ),
    st.floats(100, 1e6),
    st.floats(100, 1e5),
    st.floats(100, 1e5),
    st.floats(0.5, 1),
    st.floats(0, 0.4),
    st.floats(0.6, 1),
    st.sampled_from([1.0, 50.0, 1e4, float("inf")]),
)
orders = st.lists(st.tuples(st.floats(-2e5, 2e5), st.sampled_from([0.25, 1.0, 7.5, 60.0, 900.0])), max_size=40)


@given(parameters, orders)
def test_stored_energy_changes_by_what_flows_at_one_way_efficiency(
    battery: BatteryParameters, orders: list[tuple[float, float]]
) -> None:
    state = BatteryState.initial(battery)
    for wanted_w, dt_s in orders:
        before = state.e_wh
        p_w = step(battery, state, dt_s, wanted_w)
        charged_wh, discharged_wh = max(-p_w, 0) * dt_s / 3600, max(p_w, 0) * dt_s / 3600
        expected = battery.eta * charged_wh - discharged_wh / battery.eta
        assert state.e_wh - before == pytest.approx(expected, abs=1e-9 * battery.e_wh)


@given(parameters, orders)
def test_rating_window_and_ramp_are_never_left(battery: BatteryParameters, orders: list[tuple[float, float]]) -> None:
    state = BatteryState.initial(battery)
    for wanted_w, dt_s in orders:
        before_w = state.p_w
        p_w = step(battery, state, dt_s, wanted_w)
        assert -battery.p_charge_w <= p_w <= battery.p_discharge_w
        assert battery.soc_min_pu - 1e-12 <= state.soc_pu(battery) <= battery.soc_max_pu + 1e-12
        grew = abs(p_w) > abs(before_w) and p_w * before_w >= 0
        assert not grew or abs(p_w - before_w) <= battery.ramp_w_s * dt_s + 1e-6


def test_a_full_cycle_keeps_eta_squared() -> None:
    battery = BatteryParameters(10_000, 5000, 5000, 0.9, 0.5, 0, 1, float("inf"), 0)
    state = BatteryState.initial(battery)
    taken_wh = -step(battery, state, 3600, -4000)
    given_wh = 0.0
    while state.e_wh > 5000:
        given_wh += step(battery, state, 60, 4000 if state.e_wh > 5100 else (state.e_wh - 5000) * 0.9 * 60) / 60
    assert given_wh == pytest.approx(taken_wh * 0.81, rel=1e-9)


def test_a_full_battery_takes_exactly_what_fits_and_an_empty_one_gives_what_it_has() -> None:
    battery = BatteryParameters(1000, 5000, 5000, 0.95, 0.9, 0.1, 1, float("inf"), 0)
    state = BatteryState.initial(battery)
    assert step(battery, state, 3600, -5000) == pytest.approx(-100 / 0.95)
    assert state.e_wh == pytest.approx(1000)
    assert step(battery, state, 3600, -5000) == pytest.approx(0)
    assert step(battery, state, 3600, 5000) == pytest.approx(900 * 0.95)
    assert step(battery, state, 3600, 5000) == pytest.approx(0)


def test_standby_drains_to_the_lower_limit_and_no_further() -> None:
    battery = BatteryParameters(1000, 500, 500, 0.95, 0.11, 0.1, 1, float("inf"), 5)
    state = BatteryState.initial(battery)
    assert step(battery, state, 3600, 0) == 0
    assert state.e_wh == pytest.approx(105)
    for _ in range(5):
        assert step(battery, state, 3600, 0) == pytest.approx(0)
    assert state.e_wh == pytest.approx(100)


def test_a_bad_description_names_every_fault_at_once() -> None:
    device = DeviceSpec(
        "bat-3",
        "storage",
        "home-3",
        model={"e_wh": "much", "p_w": -5, "eta": 1.2, "soc0_pu": 0.1, "soc_min_pu": 0.2, "size": 3},
    )
    with pytest.raises(ModelError) as caught:
        BatteryParameters.of(device)
    text = str(caught.value)
    for part in (
        "bat-3: model",
        "e_wh is 'much'",
        "p_w is -5",
        "eta is 1.2",
        "soc_min_pu <= soc0_pu",
        "unknown field size",
    ):
        assert part in text
    assert "known fields: p_w" in text


def test_one_rating_or_two() -> None:
    one = BatteryParameters.of(DeviceSpec("b", "storage", "h", model={"e_wh": 6400, "p_w": 5000}))
    assert (one.p_charge_w, one.p_discharge_w, one.ramp_w_s) == (5000, 5000, float("inf"))
    two = BatteryParameters.of(
        DeviceSpec("b", "storage", "h", model={"e_wh": 6400, "p_charge_w": 3000, "p_discharge_w": 4000})
    )
    assert (two.p_charge_w, two.p_discharge_w) == (3000, 4000)
