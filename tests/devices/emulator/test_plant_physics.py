"""The plant as a whole, seen from the bus: balance, counters, gaps, time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.emulator import Plant
from devices.errors import DeviceError


def build(site: Any, **options: Any) -> Plant:
    return Plant(site.links, site.devices, site.clock, site.series, site_id="test", **options)


def meters(plant: Plant) -> dict[str, float]:
    return {name: p_w for name, p_w in plant.powers_w.items() if name.startswith("meter")}


def assert_balanced(plant: Plant) -> None:
    seen = meters(plant)
    assert sum(seen.values()) == pytest.approx(0, abs=1e-6), seen
    machines = {name: p_w for name, p_w in plant.powers_w.items() if name not in seen}
    for home in ("1", "2"):
        own = sum(p_w for name, p_w in machines.items() if name.endswith(f"-{home}"))
        assert seen[f"meter-{home}"] < own, "the home's own demand is missing"
    assert seen["meter-vpp"] == machines["turbine"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([0.25, 1, 13.7, 60, 900]), min_size=1, max_size=20))
async def test_the_bus_balances_and_counters_are_the_integral(site: Any, steps: list[float]) -> None:
    plant, t_s = build(site), 0.0
    await plant.step(site.at(0))
    assert_balanced(plant)
    energy_wh: dict[str, list[float]] = {name: [0.0, 0.0] for name in meters(plant)}
    before = {name: plant.counters_wh(name) for name in energy_wh}
    for dt_s in steps:
        t_s += dt_s
        await plant.step(site.at(t_s))
        assert_balanced(plant)
        for name in energy_wh:
            now = plant.counters_wh(name)
            assert now[0] >= before[name][0]
            assert now[1] >= before[name][1]
            before[name] = now
            if dt_s <= 60:  # one physics step: the power shown is the power of the whole step
                p_w = plant.powers_w[name]
                energy_wh[name][p_w > 0] += abs(p_w) * dt_s / 3600
    if max(steps) <= 60:
        for name, (taken, given_) in energy_wh.items():
            assert before[name] == (pytest.approx(taken, abs=1), pytest.approx(given_, abs=1))


async def test_grid_and_homes_count_the_same_energy(site: Any) -> None:
    plant = build(site)
    for minute in range(240):
        await plant.step(site.at(60 * minute))
    taken = sum(plant.counters_wh(name)[0] for name in meters(plant))
    given_ = sum(plant.counters_wh(name)[1] for name in meters(plant))
    assert taken == pytest.approx(given_, abs=4)
    assert given_ > 1000


async def test_finer_physics_gives_the_same_energy(site: Any) -> None:
    coarse, fine = build(site, physics_s=60), build(site, physics_s=5)
    for minute in range(60):
        t_us = site.at(60 * minute)
        await coarse.step(t_us)
        await fine.step(t_us)
    for name in meters(coarse):
        assert coarse.counters_wh(name) == pytest.approx(fine.counters_wh(name), abs=20)


async def test_time_only_moves_forward(site: Any) -> None:
    plant = build(site)
    await plant.step(site.at(60))
    with pytest.raises(DeviceError, match="time only moves forward"):
        await plant.step(site.at(0))


async def test_a_gap_is_no_flow_and_counters_go_on_with_what_is_known(site: Any) -> None:
    plant = build(site)
    await plant.step(site.at(0))
    await plant.step(site.at(600))
    before = plant.counters_wh("pv-1"), plant.counters_wh("meter-1")
    site.gaps.add("home-1/pv")
    await plant.step(site.at(1200))
    assert plant.powers_w["pv-1"] == 0
    assert plant.powers_w["meter-1"] < 0, "the known demand still flows"
    assert plant.counters_wh("pv-1") == before[0]
    assert plant.counters_wh("meter-1")[0] > before[1][0]
    assert_balanced(plant)


def test_a_party_without_a_meter_is_refused(site: Any) -> None:
    site.devices = [one for one in site.devices if one.id != "meter-2"]
    with pytest.raises(DeviceError, match=r"home-2.*exactly one settlement meter"):
        build(site)


def test_bad_behaviour_is_refused(site: Any) -> None:
    site.change("bat-1", behaviour={"dies_at_s": 10, "back_at_s": 5, "lazy": True})
    with pytest.raises(DeviceError, match=r"bat-1: behaviour: back_at_s .5. must come after.*unknown field lazy"):
        build(site)
