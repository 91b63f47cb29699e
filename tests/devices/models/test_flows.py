"""PV, load, turbine, counters and meter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.description import DeviceSpec
from devices.models import (
    Counter,
    EnergyCounters,
    LoadParameters,
    MeterParameters,
    ModelError,
    PvParameters,
    TurbineMode,
    TurbineParameters,
    TurbineState,
)
from devices.models import load as load_model
from devices.models import pv as pv_model
from devices.models.meter import frequency_hz, voltage_v
from devices.models.turbine import step

watts = st.floats(0, 1e5)


@given(watts, st.floats(1, 1e5), watts)
def test_pv_gives_the_least_of_sun_rating_and_limit(available_w: float, peak_w: float, limit_w: float) -> None:
    p_w = pv_model.power_w(PvParameters(peak_w, "s"), available_w, limit_w)
    assert p_w == min(available_w, peak_w, limit_w)


@given(watts, st.floats(0, 1), st.floats(0, 1), watts)
def test_an_interrupted_load_keeps_the_part_that_may_not_be_cut(
    demand_w: float, share: float, cut: float, limit_w: float
) -> None:
    load = LoadParameters("s", share, cut)
    free = -load_model.power_w(load, demand_w, float("inf"))
    limited = -load_model.power_w(load, demand_w, limit_w)
    assert free == demand_w * share
    assert (1 - cut) * free - 1e-9 <= limited <= free
    assert limited <= max(limit_w, (1 - cut) * free) + 1e-9


@given(st.lists(st.floats(0, 500), max_size=300))
def test_a_counter_loses_nothing_to_rounding(energies: list[float]) -> None:
    counter, before = Counter(), 0
    for energy in energies:
        counter.add(energy)
        assert counter.whole_wh >= before
        assert 0 <= counter.rest_wh < 1
        before = counter.whole_wh
    assert counter.whole_wh + counter.rest_wh == pytest.approx(sum(energies), abs=1e-6)


def test_counters_are_the_owners_view() -> None:
    counters = EnergyCounters.zero()
    counters.integrate(-1500, 3600)
    counters.integrate(700, 1800)
    assert (counters.imported.whole_wh, counters.exported.whole_wh) == (1500, 350)


MACHINE = TurbineParameters(
    p_min_w=2000, p_max_w=10_000, ramp_w_s=50, start_s=120, efficiency=0.25, gas_kwh_per_m3=10, heat_ratio=2
)


def test_a_turbine_starts_ramps_runs_and_stops() -> None:
    state = TurbineState()
    run = [step(MACHINE, state, 60, 8000) for _ in range(6)]
    assert run == [0, 0, 5000, 8000, 8000, 8000]
    assert state.mode is TurbineMode.RUNNING
    assert step(MACHINE, state, 60, 500) == 5000  # below p_min means p_min, at the ramp
    assert step(MACHINE, state, 60, 500) == 2000
    assert step(MACHINE, state, 10, 0) == 0
    assert state.mode is TurbineMode.OFF


def test_a_start_up_can_be_called_off() -> None:
    state = TurbineState()
    step(MACHINE, state, 60, 8000)
    assert state.mode is TurbineMode.STARTING
    assert step(MACHINE, state, 60, 0) == 0
    assert state.mode is TurbineMode.OFF


@given(st.lists(st.tuples(st.floats(-1000, 20_000), st.sampled_from([1.0, 15.0, 60.0])), max_size=40))
def test_gas_and_heat_follow_from_electric_energy(orders: list[tuple[float, float]]) -> None:
    state, electric_wh = TurbineState(), 0.0
    for order_w, dt_s in orders:
        p_w = step(MACHINE, state, dt_s, order_w)
        assert p_w == 0 or MACHINE.p_min_w <= p_w <= MACHINE.p_max_w
        electric_wh += p_w * dt_s / 3600
    assert state.heat_wh == pytest.approx(2 * electric_wh)
    assert state.gas_m3 == pytest.approx(electric_wh / 1000 / 0.25 / 10)


def test_voltage_rises_with_feed_in_and_frequency_depends_on_time_alone() -> None:
    meter = MeterParameters("s", 1, 1, 230, 50, 0.1)
    assert voltage_v(meter, 2300, False) == pytest.approx(231)
    assert voltage_v(meter, -2300, False) == pytest.approx(229)
    assert voltage_v(meter, 2300, True) == pytest.approx(229)  # grid import pulls the voltage down
    assert voltage_v(meter, -500_000, False) == pytest.approx(0.85 * 230)  # a large building on a line for homes
    seen = {frequency_hz(50, t * 7_000_000, 0.3) for t in range(200)}
    assert seen == {frequency_hz(50, t * 7_000_000, 0.3) for t in range(200)}
    assert 49.979 < min(seen) < 49.985
    assert 50.015 < max(seen) < 50.021


@pytest.mark.parametrize(
    ("kind", "model", "part"),
    [
        ("pv", {"peak_w": 4000}, "series is missing"),
        ("load", {"series": "a", "share": 2}, "share is 2, allowed is [0, 1]"),
        ("turbine", {"p_max_w": 100, "p_min_w": 200}, "p_min_w is 200, allowed is [0, 100]"),
        ("meter", {"phases": 2}, "phases must be 1 or 3"),
        ("meter", {"series": 7}, "series is 7, not a text"),
    ],
)
def test_bad_descriptions_say_what_is_allowed(kind: str, model: dict[str, object], part: str) -> None:
    of = {"pv": PvParameters, "load": LoadParameters, "turbine": TurbineParameters, "meter": MeterParameters}[kind].of
    with pytest.raises(ModelError) as caught:
        of(DeviceSpec("x", kind, "p", model=model))  # type: ignore[arg-type]
    assert part in str(caught.value)
