"""What is known of the past: measured slot means; what was not measured, or not free, is unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.readings import ProcessImage, Reading
from twin.feed import Feed
from twin.history import History
from twin.site import Site
from twin.span import HISTORY_DAYS

MAX_AGE_S = 180.0
TICK_US, SLOT_US = 60_000_000, 900_000_000

Image = Callable[..., ProcessImage]
Values = Mapping[str, Mapping[str, float]]

HOME_1 = {"meter-1": {"p_w": 900.0}, "pv-1": {"p_w": 2500.0}, "bat-1": {"p_w": -1000.0}}
"""Home 1 gives 900 W: PV 2500 W, battery charging 1000 W, so its demand is 600 W."""
HOME_2 = {"meter-2": {"p_w": -300.0}, "pv-2": {"p_w": 0.0}, "bat-2": {"p_w": 200.0}}


@pytest.fixture
def history(two_homes: Site, t0_us: int) -> History:
    """No recording before: everything of the last day is unknown."""
    return History(two_homes, None, t0_us, 1)


def observe(history: History, image: Image, t0_us: int, ticks: list[Values]) -> None:
    for tick, values in enumerate(ticks, start=1):
        history.observe(image(t0_us + tick * TICK_US, values), MAX_AGE_S)
    history.close_slot()


def test_demand_is_what_the_devices_give_less_what_the_meter_passes_on(
    history: History, image: Image, t0_us: int
) -> None:
    observe(history, image, t0_us, [{**HOME_1, **HOME_2}] * 15)
    assert history.rows["load/home-1"][-1] == 600
    assert history.rows["load/home-2"][-1] == 500
    assert history.rows["pv/pv-1"][-1] == 2500
    assert history.end_us == t0_us + SLOT_US
    assert set(history.rows) == {"load/home-1", "load/home-2", "pv/pv-1", "pv/pv-2"}


@given(
    load_w=st.integers(0, 9000),
    pv_w=st.integers(0, 4000),
    battery_w=st.integers(-5000, 5000),
)
def test_demand_is_found_again_whatever_the_battery_does(
    two_homes: Site, load_w: int, pv_w: int, battery_w: int
) -> None:
    history = History(two_homes, None, 0, 1)
    powers = {"meter-1": pv_w + battery_w - load_w, "pv-1": pv_w, "bat-1": battery_w}
    readings = {name: Reading(name, TICK_US, 1, 0, {"p_w": float(value)}) for name, value in powers.items()}  # type: ignore[arg-type]
    history.observe(ProcessImage(TICK_US, readings), MAX_AGE_S)
    history.close_slot()
    assert history.rows["load/home-1"][-1] == load_w


def test_a_slot_is_the_mean_of_its_ticks(history: History, image: Image, t0_us: int) -> None:
    ticks = [
        {**HOME_1, "pv-2": {"p_w": 100.0 * tick}, "meter-2": {"p_w": 0.0}, "bat-2": {"p_w": 0.0}} for tick in range(15)
    ]
    observe(history, image, t0_us, ticks)
    assert history.rows["pv/pv-2"][-1] == 700
    assert history.rows["load/home-2"][-1] == 700


@pytest.mark.parametrize("missing", ["meter-1", "pv-1", "bat-1"])
def test_one_missing_sample_makes_the_whole_slot_unknown(
    history: History, image: Image, t0_us: int, missing: str
) -> None:
    gap = {name: values for name, values in {**HOME_1, **HOME_2}.items() if name != missing}
    observe(history, image, t0_us, [*[{**HOME_1, **HOME_2}] * 14, gap])
    assert np.isnan(history.rows["load/home-1"][-1])
    assert np.isnan(history.rows["pv/pv-1"][-1]) == (missing == "pv-1")
    assert history.rows["load/home-2"][-1] == 500, "the neighbour is known"
    observe(history, image, t0_us + SLOT_US, [{**HOME_1, **HOME_2}] * 15)
    assert history.rows["load/home-1"][-2:].tolist()[1] == 600, "the next slot starts anew"


def test_a_stale_sample_is_a_missing_one(history: History, image: Image, t0_us: int) -> None:
    history.observe(image(t0_us, HOME_1, age_s={"meter-1": MAX_AGE_S + 1}), MAX_AGE_S)
    history.close_slot()
    assert np.isnan(history.rows["load/home-1"][-1])
    assert history.rows["pv/pv-1"][-1] == 2500


def test_a_curtailed_device_tells_nothing_of_what_it_could_have_given(
    eight_homes: Site, image: Image, t0_us: int
) -> None:
    history = History(eight_homes, None, t0_us, 1)
    limited: Values = {
        "pv-1": {"p_w": 800.0, "set_ena": 1},
        "pv-2": {"p_w": 800.0, "set_ena": 0},
        "flex-13": {"p_w": -150.0, "set_ena": 1},
        "meter-1": {"p_w": 0.0},
        "bat-1": {"p_w": 0.0},
    }
    observe(history, image, t0_us, [limited] * 15)
    assert np.isnan(history.rows["pv/pv-1"][-1])
    assert history.rows["pv/pv-2"][-1] == 800
    assert np.isnan(history.rows["flex/flex-13"][-1])
    assert history.rows["load/home-1"][-1] == 800, "demand is known all the same"
    free = {**limited, "flex-13": {"p_w": -150.0, "set_ena": 0}}
    observe(history, image, t0_us + SLOT_US, [free] * 15)
    assert history.rows["flex/flex-13"][-1] == 150, "a load's power counts as demand"


def test_a_slot_without_any_tick_is_unknown(history: History) -> None:
    slots = history.slots
    history.close_slot()
    assert all(np.isnan(row[-1]) and row.size == slots + 1 for row in history.rows.values())


def test_the_past_is_the_recordings_with_its_gaps(eight_homes: Site, feed: Feed, t0_us: int) -> None:
    wide = Feed(eight_homes, feed.dataset, 0)
    history = History(eight_homes, wide, t0_us, HISTORY_DAYS)
    assert (history.slots, history.end_us) == (28 * 96, t0_us)
    dataset = feed.dataset
    assert dataset is not None
    recorded = dataset.slot_means("home-13/load", history.start_us, 900, history.slots)
    np.testing.assert_allclose(history.rows["flex/flex-13"] + history.rows["load/home-13"], recorded)
    np.testing.assert_allclose(history.rows["flex/flex-13"], 0.3 * recorded)
    before_all = History(eight_homes, wide, dataset.span_us[0] + SLOT_US, 1)
    row = before_all.rows["load/home-1"]
    assert np.isnan(row[:-1]).all()
    assert not np.isnan(row[-1])


def test_a_start_within_a_slot_ends_the_past_at_that_slots_edge(two_homes: Site, feed: Feed, t0_us: int) -> None:
    assert History(two_homes, feed, t0_us + 7 * TICK_US, 1).end_us == t0_us


def test_a_series_of_no_data_set_is_unknown(two_homes: Site, t0_us: int) -> None:
    bare = replace(two_homes, devices=tuple(replace(spec, model={}) for spec in two_homes.devices))
    assert all(np.isnan(row).all() for row in History(bare, None, t0_us, 1).rows.values())
