"""Slots are begun, announced and closed once each, in order, on any clock."""

from hypothesis import given
from hypothesis import strategies as st

from twin.slots import Slots

TICK, SLOT = 60, 900


def walk(lockstep: bool, ticks: list[int]) -> tuple[list[int], list[int]]:
    """(announced, closed) slot starts over the ticks; asserts that no price comes late."""
    slots, announced, closed = Slots(SLOT, TICK, lockstep), [], []
    for t in ticks:
        begun = slots.begin(t)
        if (start := slots.announce(t, begun)) is not None:
            assert t == start if lockstep else t < start
            announced.append(start)
        while (start := slots.close(t)) is not None:
            assert t >= start + SLOT
            closed.append(start)
    while (start := slots.close_last(ticks[-1])) is not None:
        closed.append(start)
    return announced, closed


def test_lockstep_settles_every_slot_at_its_end() -> None:
    announced, closed = walk(True, list(range(0, 3 * SLOT + 1, TICK)))
    assert closed == [0, SLOT, 2 * SLOT]
    assert announced == [0, SLOT, 2 * SLOT, 3 * SLOT]


def test_on_the_wall_the_first_slot_is_not_settled_because_its_price_was_not_written_before() -> None:
    announced, closed = walk(False, list(range(300, 4 * SLOT, TICK)))
    assert announced[:2] == [SLOT, 2 * SLOT]
    assert closed == [SLOT, 2 * SLOT]


@given(st.sets(st.integers(0, 200), min_size=1))
def test_a_pause_of_the_machine_never_settles_a_slot_twice_or_without_its_price(ticks: set[int]) -> None:
    announced, closed = walk(False, [tick * TICK for tick in sorted(ticks)])
    assert len(set(closed)) == len(closed)
    assert closed == sorted(closed)
    assert set(closed) <= set(announced)


def test_begin_tells_how_many_slots_a_pause_skipped() -> None:
    slots = Slots(SLOT, TICK, False)
    assert [slots.begin(t) for t in (0, TICK, SLOT, 4 * SLOT + TICK)] == [1, 0, 1, 3]
