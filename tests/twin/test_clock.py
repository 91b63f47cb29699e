"""The three clocks: lockstep never goes back and wakes sleepers in order; ticks keep an absolute schedule."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.clock import LockstepClock, ScaledClock, Ticks, WallClock, iso
from twin.errors import TwinError


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_sleepers_wake_in_order_of_due_time_then_of_asking(due_us: list[int]) -> None:
    async def run() -> list[int]:
        clock, woken = LockstepClock(-1), []

        async def sleeper(index: int, t_us: int) -> None:
            await clock.sleep_until_us(t_us)
            woken.append(index)

        tasks = [asyncio.create_task(sleeper(index, t_us)) for index, t_us in enumerate(due_us)]
        await asyncio.sleep(0)
        clock.advance_to(10**6)
        await asyncio.gather(*tasks)
        return woken

    assert asyncio.run(run()) == sorted(range(len(due_us)), key=lambda index: (due_us[index], index))


def test_lockstep_time_stands_still_and_never_goes_back() -> None:
    clock = LockstepClock(100)
    clock.advance_to(100)
    assert clock.now_us() == 100
    with pytest.raises(TwinError, match="cannot go back"):
        clock.advance_to(99)


async def test_a_cancelled_sleeper_does_not_stop_the_clock() -> None:
    clock = LockstepClock(0)
    task = asyncio.create_task(clock.sleep_until_us(10))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    clock.advance_to(20)
    assert clock.now_us() == 20


async def test_scaled_time_runs_faster_than_the_wall() -> None:
    clock, wall = ScaledClock(0, 3600), WallClock()
    began = wall.now_us()
    await clock.sleep_until_us(360_000_000)
    assert 90_000 <= wall.now_us() - began < 2_000_000
    with pytest.raises(TwinError, match="factor"):
        ScaledClock(0, 0)


async def test_a_waiting_clock_stands_until_it_begins() -> None:
    clock = ScaledClock(5, 1e6, waiting=True)
    sleeper = asyncio.create_task(clock.sleep_until_us(2_000_000))
    await asyncio.sleep(0.01)
    assert clock.now_us() == 5
    assert not sleeper.done()
    clock.begin()
    await sleeper
    assert 2_000_000 <= clock.now_us() < 10**12
    passed_us = clock.now_us()
    clock.begin()
    assert clock.now_us() >= passed_us, "begun once"


async def test_what_was_due_before_the_first_tick_is_not_missed() -> None:
    clock = ScaledClock(0, 1000)
    await asyncio.sleep(0.055)
    ticks = Ticks(clock, 0, 10_000_000, 3)
    seen = [t async for t in ticks]
    assert seen[0] >= 50_000_000
    assert len(seen) + ticks.skipped >= 3
    assert all(t % 10_000_000 == 0 for t in seen)
    assert ticks.skipped < 5, "those of the opening do not count"


async def test_lockstep_ticks_are_exact() -> None:
    clock = LockstepClock(0)
    assert [t async for t in Ticks(clock, 0, 60, 4)] == [0, 60, 120, 180]


async def test_wall_ticks_skip_what_was_missed() -> None:
    clock = ScaledClock(0, 1000)
    ticks, seen = Ticks(clock, 0, 10_000_000, 10), []
    async for t in ticks:
        seen.append(t)
        if len(seen) == 1:
            await asyncio.sleep(0.035)
    assert ticks.skipped >= 2
    assert all(t % 10_000_000 == 0 for t in seen)
    assert seen == sorted(set(seen))
    assert len(seen) + ticks.skipped >= 10


async def test_an_end_does_not_wait_for_the_next_tick() -> None:
    clock = WallClock()
    start_us = clock.now_us()
    ticks, seen = Ticks(clock, start_us, 60_000_000, None), []
    async for t in ticks:
        seen.append(t)
        asyncio.get_running_loop().call_later(0.02, ticks.end)
    assert seen[0] == start_us
    assert len(seen) == 2
    assert start_us <= seen[1] < start_us + 10_000_000


def test_iso_is_utc() -> None:
    assert iso(1_473_058_800_000_000) == "2016-09-05T07:00:00Z"
