"""The one source of time: wall, xN and lockstep. Nothing else in the service reads a clock or sleeps."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from twin.errors import TwinError


def iso(t_us: int) -> str:
    """`2016-09-05T07:00:00Z` for microseconds since 1970."""
    return datetime.fromtimestamp(t_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class WallClock:
    """Real time of this machine, UTC."""

    lockstep = False

    def now_us(self) -> int:
        return time.time_ns() // 1000

    async def sleep_until_us(self, t_us: int) -> None:
        while (left_us := t_us - self.now_us()) > 0:  # noqa: ASYNC110 - the one place that sleeps
            await asyncio.sleep(left_us / 1e6)


class ScaledClock:
    """Time that starts at `start_us` and runs `factor` times as fast as the wall; `waiting`: from `begin` on."""

    lockstep = False

    def __init__(self, start_us: int, factor: float, *, waiting: bool = False) -> None:
        if factor <= 0:
            raise TwinError(f"clock factor {factor:g}", where="--clock", mend="use a positive factor, such as x60")
        self._start_us, self._factor = start_us, factor
        self._origin_ns = None if waiting else time.monotonic_ns()

    def begin(self) -> None:
        """Let time run, if it stands still yet: the seconds in which a run is opened are not minutes of the run."""
        if self._origin_ns is None:
            self._origin_ns = time.monotonic_ns()

    def now_us(self) -> int:
        if self._origin_ns is None:
            return self._start_us
        return self._start_us + int((time.monotonic_ns() - self._origin_ns) / 1000 * self._factor)

    async def sleep_until_us(self, t_us: int) -> None:
        while (left_us := t_us - self.now_us()) > 0:  # noqa: ASYNC110 - the one place that sleeps
            await asyncio.sleep(left_us / 1e6 / self._factor)


class LockstepClock:
    """Time that stands still until `advance_to`; it cannot go backwards.

    Whoever sleeps is woken, in order of due time and then of asking, when time reaches the moment asked for.
    """

    lockstep = True

    def __init__(self, start_us: int) -> None:
        self._now_us = start_us
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._asked = 0

    def now_us(self) -> int:
        return self._now_us

    async def sleep_until_us(self, t_us: int) -> None:
        if t_us <= self._now_us:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked += 1
        heapq.heappush(self._waiters, (t_us, self._asked, future))
        await future

    def advance_to(self, t_us: int) -> None:
        """Move time to `t_us` and wake whoever is due. Raises TwinError if that is in the past."""
        if t_us < self._now_us:
            raise TwinError(f"time cannot go back from {iso(self._now_us)} to {iso(t_us)}", where="lockstep clock")
        self._now_us = t_us
        while self._waiters and self._waiters[0][0] <= t_us:
            future = heapq.heappop(self._waiters)[2]
            if not future.done():
                future.set_result(None)


AnyClock = WallClock | ScaledClock | LockstepClock


class Ticks:
    """The absolute schedule t0 + n*dt: never drifts, skips what was missed, measures its lateness.

    What was due before the first tick is asked for is neither waited for nor missed: n begins later.
    """

    def __init__(self, clock: AnyClock, start_us: int, tick_us: int, count: int | None) -> None:
        self._clock, self._start_us, self._tick_us, self._count = clock, start_us, tick_us, count
        self.lateness_s: list[float] = []
        """Seconds between due and awake, for ticks on a clock that runs by itself."""
        self.skipped = 0
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Yield the present moment instead of the next tick, at once, and no more."""
        self._ended.set()

    async def __aiter__(self) -> AsyncIterator[int]:
        """Yield the due time of each tick; `count` ticks, or until `end`."""
        n = 0
        start_us = self._start_us
        if not self._clock.lockstep:
            start_us += max(self._clock.now_us() - start_us, 0) // self._tick_us * self._tick_us
        while self._count is None or n < self._count:
            due_us = start_us + n * self._tick_us
            if isinstance(self._clock, LockstepClock):
                self._clock.advance_to(due_us)
            else:
                await self._sleep_until_us(due_us)
                if self._ended.is_set():
                    yield self._clock.now_us()
                    return
                late_us = self._clock.now_us() - due_us
                self.lateness_s.append(late_us / 1e6)
                missed = late_us // self._tick_us
                self.skipped += missed
                n += missed
                due_us += missed * self._tick_us
            yield due_us
            n += 1

    async def _sleep_until_us(self, due_us: int) -> None:
        either = [asyncio.ensure_future(one) for one in (self._clock.sleep_until_us(due_us), self._ended.wait())]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in either:
                task.cancel()
