"""Slot energy from counters."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import LedgerError
from ledger.intervals import SlotEnergy, register_at, slot_energy

MIN = 60_000_000
SLOT = 15 * MIN


def test_readings_on_the_edges_are_taken_as_they_are():
    samples = [(n * MIN, 100 + 7 * n) for n in range(31)]
    assert slot_energy(samples, 0, SLOT, MIN) == SlotEnergy(105, "actual", 100, 205)


def test_edges_between_readings_are_interpolated():
    samples = [(-MIN // 2, 0), (MIN // 2, 10), (SLOT - MIN // 2, 100), (SLOT + MIN // 2, 110)]
    assert slot_energy(samples, 0, SLOT, MIN) == SlotEnergy(100, "actual", 5, 105)


def test_a_gap_at_an_edge_makes_an_estimate():
    samples = [(0, 0), (10 * MIN, 100), (20 * MIN, 200), (30 * MIN, 300)]
    assert slot_energy(samples, 0, SLOT, MIN) == SlotEnergy(150, "estimated", 0, 150)
    assert slot_energy(samples, 0, SLOT, 5 * MIN).quality == "actual"


def test_no_reading_beyond_an_edge_holds_the_register():
    assert slot_energy([(0, 50), (MIN, 60)], 0, SLOT, MIN) == SlotEnergy(10, "estimated", 50, 60)
    assert slot_energy([], 0, SLOT, MIN) == SlotEnergy(0, "estimated", 0, 0)


def test_readings_beyond_the_horizon_say_nothing_of_an_edge():
    samples = [(0, 0), (10 * MIN, 100), (100 * MIN, 1000)]
    near = slot_energy(samples, SLOT, 2 * SLOT, MIN, horizon_us=85 * MIN)
    assert near == SlotEnergy(150, "estimated", 150, 300)
    far = slot_energy(samples, SLOT, 2 * SLOT, MIN, horizon_us=80 * MIN)
    assert far == SlotEnergy(200, "estimated", 100, 300), "the start edge is sealed, the end edge is not"


@given(st.lists(st.integers(0, 60), min_size=2, max_size=30, unique=True).map(sorted))
def test_the_energy_depends_on_the_readings_near_its_edges_alone(minutes):
    samples = [(minute * MIN, 5 * n) for n, minute in enumerate(minutes)]
    before = [one for one in samples if one[0] <= SLOT]
    after = [one for one in samples if one[0] >= 2 * SLOT]
    kept = before[-1:] + [one for one in samples if SLOT < one[0] < 2 * SLOT] + after[:1]
    assert slot_energy(kept, SLOT, 2 * SLOT, MIN) == slot_energy(samples, SLOT, 2 * SLOT, MIN)


def test_a_new_meter_counts_from_where_it_starts():
    samples = [(0, 5000), (5 * MIN, 5050), (6 * MIN, 3), (15 * MIN, 93), (30 * MIN, 250)]
    assert slot_energy(samples, 0, SLOT, MIN) == SlotEnergy(140, "estimated", 5000, 5140)
    after = slot_energy(samples, SLOT, 2 * SLOT, MIN)
    assert (after.wh, after.quality) == (157, "actual")


@given(
    st.lists(st.tuples(st.integers(1, 40 * MIN), st.integers(0, 10_000)), min_size=2, max_size=40),
    st.integers(2, 12),
    st.integers(MIN, 10 * MIN),
)
def test_slots_add_up_to_the_register_difference(steps, count, period):
    t = r = 0
    samples = [(t, r)]
    for dt, dr in steps:
        t, r = t + dt, r + dr
        samples.append((t, r))
    slots = [slot_energy(samples, n * SLOT, (n + 1) * SLOT, period) for n in range(count)]
    assert sum(slot.wh for slot in slots) == register_at(samples, count * SLOT, period).register_wh
    assert all(slot.wh >= 0 for slot in slots)
    assert all(a.end_register_wh == b.start_register_wh for a, b in pairwise(slots))
    whole = slot_energy(samples, 0, -(-t // SLOT) * SLOT or SLOT, period)
    assert whole.wh == r


def test_disorder_is_refused():
    with pytest.raises(LedgerError, match="time order"):
        slot_energy([(5, 0), (5, 1)], 0, SLOT, MIN)
    with pytest.raises(LedgerError):
        slot_energy([], SLOT, SLOT, MIN)
