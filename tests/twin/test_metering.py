"""From readings to batches and energies: every reading is a leaf, no Wh is lost or counted twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.readings import Quality, Reading
from ledger import batch
from twin.metering import KEPT_SLOTS, MeteredSlot, Meterings, energies, leaf

KEY = b"k" * 32
T0 = 1_473_112_800_000_000
SLOT_US, TICK_US = 900_000_000, 60_000_000
TICKS = SLOT_US // TICK_US


def meterings(*devices: str) -> Meterings:
    return Meterings(KEY, devices or ("meter-1",), slot_us=SLOT_US, period_us=TICK_US)


def reading(
    tick: float, taken: int = 0, given_: int = 0, *, seq: int | None = None, quality: Quality = Quality.GOOD
) -> Reading:
    values = {"p_w": -123.0, "u1_v": 230.1, "e_imp_wh": taken, "e_exp_wh": given_}
    number = round(tick) + 1 if seq is None else seq
    return Reading("meter-1", T0 + round(tick * TICK_US), number, quality, values)


def root_of(readings: Sequence[Reading]) -> str:
    """What the ledger itself says of readings in time order, each salted with its nonce."""
    return batch.batch_root(leaf(one, batch.nonce(KEY, one.device, one.ts_us, one.seq)) for one in readings)


def test_a_batch_is_the_merkle_root_of_its_readings_in_time_order_with_their_stored_nonces() -> None:
    book, readings = meterings(), [reading(tick, tick * 7) for tick in range(TICKS + 1)]
    nonces = book.collect([*readings[1::2], *readings[0::2]])
    assert nonces[0] == batch.nonce(KEY, "meter-1", readings[1].ts_us, readings[1].seq)
    (slot,) = book.close(T0)
    expected = root_of(readings[:TICKS])
    assert (slot.device, slot.start_us, slot.count, slot.root, slot.rev) == ("meter-1", T0, TICKS, expected, 0)


def test_a_leaf_is_salted_and_holds_whole_quanta() -> None:
    nonce = bytes(range(16))
    assert leaf(reading(0, 5), nonce) == batch.reading_leaf(
        T0, 0, {"p_w": -123, "u1_v": 2301, "e_imp_wh": 5, "e_exp_wh": 0}, nonce
    )
    assert leaf(reading(0, 5), nonce) != leaf(reading(0, 5), bytes(16))


def test_a_slot_nobody_reported_in_has_an_empty_batch_and_an_estimated_energy() -> None:
    book = meterings("meter-1", "pv-1")
    book.collect([reading(0, 100), reading(TICKS, 100)])
    book.close(T0)
    meter, other = book.close(T0 + SLOT_US)
    assert (meter.device, meter.count, meter.net_wh, meter.quality) == ("meter-1", 1, 0, "estimated")
    assert (other.device, other.count, other.root, other.taken) == ("pv-1", 0, batch.batch_root([]), None)
    assert (other.net_wh, other.quality) == (0, "estimated")


def test_a_late_reading_within_a_slot_makes_a_revision_of_its_batch_alone() -> None:
    book, readings = meterings(), [reading(tick, tick * 10) for tick in range(2 * TICKS + 1)]
    late = readings[4]
    book.collect([*readings[:4], *readings[5:]])
    (first,) = book.close(T0)
    assert (first.count, first.rev, first.net_wh) == (TICKS - 1, 0, -150)
    book.collect([late])
    fresh, revised = book.close(T0 + SLOT_US)
    assert (fresh.start_us, fresh.rev, fresh.net_wh) == (T0 + SLOT_US, 0, -150)
    inside = readings[:TICKS]
    expected = root_of(inside)
    assert (revised.start_us, revised.rev, revised.count, revised.root) == (T0, 1, TICKS, expected)
    assert (revised.taken, revised.given) == (first.taken, first.given)
    assert book.revisions() == [], "said once"


def test_the_later_word_on_one_moment_stands_as_it_does_in_the_store() -> None:
    book = meterings()
    book.collect([reading(0, 1), reading(1, 2, seq=7), reading(1, 3, seq=9), reading(1, 4, seq=8), reading(TICKS, 9)])
    (slot,) = book.close(T0)
    stored = [reading(0, 1), reading(1, 3, seq=9)]
    expected = root_of(stored)
    assert (slot.count, slot.root) == (2, expected)


def test_readings_before_the_first_slot_and_after_the_last_one_get_batches_of_their_own() -> None:
    book = meterings()
    book.collect([reading(-3), reading(0), reading(TICKS), reading(TICKS + 1)])
    book.close(T0)
    rest = book.close_rest()
    assert [(one.start_us, one.count, one.taken, one.rev) for one in rest] == [
        (T0 - SLOT_US, 1, None, 0),
        (T0 + SLOT_US, 2, None, 0),
    ]
    assert book.close_rest() == []


def test_a_reading_too_old_for_any_batch_is_known_as_such() -> None:
    book = meterings()
    assert book.in_time(reading(-1000)), "before anything was closed, all can still be batched"
    for slot in range(KEPT_SLOTS + 1):
        book.collect([reading(slot * TICKS, slot)])
        book.close(T0 + slot * SLOT_US)
    assert not book.in_time(reading(TICKS - 1))
    assert not book.in_time(reading(TICKS)), "it would move the edge that is sealed"
    assert book.in_time(reading(TICKS + 1))
    book.collect([reading(TICKS + 1, 1)])
    assert [(one.start_us, one.rev) for one in book.close_rest()] == [(T0 + SLOT_US, 2)]


def test_a_bad_reading_makes_its_slot_an_estimate() -> None:
    book = meterings()
    book.collect([reading(tick, tick, quality=Quality.STALE if tick == 3 else Quality.GOOD) for tick in range(40)])
    assert [book.close(T0 + k * SLOT_US)[0].quality for k in range(2)] == ["estimated", "actual"]


@st.composite
def reported(draw: st.DrawFn) -> tuple[list[Reading], int]:
    """Readings of a counter that only rises, some ticks missing, and how many slots they span."""
    slots = draw(st.integers(1, 5))
    ticks = range(slots * TICKS + 1)
    present = draw(st.lists(st.sampled_from(ticks), min_size=1, max_size=60, unique=True).map(sorted))
    steps = draw(st.lists(st.integers(0, 500), min_size=len(present), max_size=len(present)))
    level, found = draw(st.integers(0, 10**9)), []
    for tick, step in zip(present, steps, strict=True):
        level += step
        found.append(reading(tick, level))
    return found, slots


def closed(book: Meterings, readings: Sequence[Reading], slots: int) -> list[MeteredSlot]:
    """The last word on all slots, closed as a run closes them: each when the readings up to its end are in."""
    found: list[MeteredSlot] = []
    waiting = list(readings)
    for k in range(slots):
        end_us = T0 + (k + 1) * SLOT_US
        book.collect([one for one in waiting if one.ts_us <= end_us])
        waiting = [one for one in waiting if one.ts_us > end_us]
        found += book.close(T0 + k * SLOT_US)
    last = {slot.start_us: slot for slot in found}
    return [last[start_us] for start_us in sorted(last)]


@given(reported())
def test_energies_of_consecutive_slots_add_up_to_the_register_difference(case: tuple[list[Reading], int]) -> None:
    readings, slots = case
    found = [slot.taken for slot in closed(meterings(), readings, slots) if slot.taken]
    assert all(one.wh >= 0 for one in found)
    assert all(one.end_register_wh == two.start_register_wh for one, two in pairwise(found))
    first, last = readings[0].values["e_imp_wh"], readings[-1].values["e_imp_wh"]
    assert sum(one.wh for one in found) == last - first


@given(reported(), st.data())
def test_a_meter_exchange_loses_no_energy_of_either_meter(case: tuple[list[Reading], int], data: st.DataObject) -> None:
    readings, slots = case
    at = data.draw(st.integers(0, len(readings) - 1))
    base = readings[at].values["e_imp_wh"]
    swapped = [
        reading((one.ts_us - T0) / TICK_US, int(one.values["e_imp_wh"] - (base if k >= at else 0)))
        for k, one in enumerate(readings)
    ]
    registers = [int(one.values["e_imp_wh"]) for one in swapped]
    counted = sum(max(after - before, 0) for before, after in pairwise(registers))
    found = [slot.taken for slot in closed(meterings(), swapped, slots) if slot.taken]
    assert all(one.wh >= 0 for one in found)
    assert sum(one.wh for one in found) == counted


@given(reported(), st.data())
def test_the_last_word_on_a_slot_depends_on_the_readings_alone_not_on_when_they_came(
    case: tuple[list[Reading], int], data: st.DataObject
) -> None:
    readings, slots = case
    due = [data.draw(st.integers(0, slots - 1)) for _ in readings]
    book = meterings()
    found: list[MeteredSlot] = []
    for k in range(slots):
        end_us = T0 + (k + 1) * SLOT_US
        book.collect([one for one, when in zip(readings, due, strict=True) if when == k and one.ts_us <= end_us])
        found += book.close(T0 + k * SLOT_US)
    book.collect([one for one, when in zip(readings, due, strict=True) if one.ts_us > T0 + (when + 1) * SLOT_US])
    found += book.revisions()
    last = {slot.start_us: slot for slot in found}
    registers = {"e_imp_wh": [(one.ts_us, int(one.values["e_imp_wh"])) for one in readings],
                 "e_exp_wh": [(one.ts_us, 0) for one in readings]}  # fmt: skip
    for start_us, slot in last.items():
        inside = [one for one in readings if start_us <= one.ts_us < start_us + SLOT_US]
        assert (slot.root, slot.count) == (root_of(inside), len(inside))
        assert (slot.taken, slot.given) == energies(registers, (), start_us, slot_us=SLOT_US, period_us=TICK_US)


def test_readings_after_a_silence_settle_the_estimate_anew() -> None:
    book = meterings()
    book.collect([reading(0, 0), reading(10, 100)])
    (first,) = book.close(T0)
    assert (first.net_wh, first.quality) == (-100, "estimated")
    book.collect([reading(20, 300), reading(30, 400)])
    second, revised = book.close(T0 + SLOT_US)
    assert (second.net_wh, revised.net_wh) == (-200, -200)
    assert (revised.start_us, revised.rev, revised.quality) == (T0, 1, "estimated")
    book.collect([reading(tick, tick * 10) for tick in (14, 15, 16)])
    assert [(one.start_us, one.rev, one.net_wh) for one in book.revisions()] == [(T0, 2, -150), (T0 + SLOT_US, 1, -250)]


@pytest.mark.parametrize("missing", [1, 2])
def test_an_edge_between_readings_close_by_is_actual_and_further_apart_estimated(missing: int) -> None:
    absent = range(TICKS, TICKS + missing)
    book = meterings()
    book.collect([reading(tick, tick * 10) for tick in range(2 * TICKS + 1) if tick not in absent])
    first, second = (book.close(T0 + k * SLOT_US)[0] for k in range(2))
    assert (first.taken and first.taken.wh, second.taken and second.taken.wh) == (150, 150)
    assert (first.quality, second.quality) == (("actual", "actual") if missing == 1 else ("estimated", "estimated"))
