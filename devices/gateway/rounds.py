"""A link on the wall clock: absolute due times, orders before polls, skipping instead of queueing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from devices.clock import Clock
from devices.gateway.line import Line
from devices.readings import Reading

_ASK_AGAIN_S = 0.5


class Rounds:
    """Polls a line every tick at start + phase + n * tick, and settles it whenever an order came.

    Invariant: the line is used by one at a time (`lock`); a slow line skips due times, which count as lost.
    """

    def __init__(self, line: Line, clock: Clock, tick_s: float, deliver: Callable[[Reading], None]) -> None:
        self.lock = asyncio.Lock()
        self._line, self._clock, self._deliver = line, clock, deliver
        self._period_us = max(round(tick_s * 1_000_000), 1)
        self._orders = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, phase: float) -> None:
        """Begin; `phase` in 0..1 of a period spreads the links."""
        first_us = self._clock.now_us() + int(phase * min(self._period_us, 1_000_000))
        self._tasks = [asyncio.create_task(self._poll(first_us)), asyncio.create_task(self._settle())]

    async def stop(self) -> None:
        """End both tasks; a request under way is cut off and its connection closed."""
        pending = set(self._tasks)
        while pending:
            # Until Python 3.12 wait_for loses a cancellation that meets the reply: ask again.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_ASK_AGAIN_S)
        for task in self._tasks:
            if not task.cancelled():
                task.result()
        self._tasks = []

    def wake(self) -> None:
        """An order came."""
        self._orders.set()

    async def _poll(self, due_us: int) -> None:
        while True:
            await self._clock.sleep_until_us(due_us)
            for unit in self._line.units:
                # One unit at a time, so that an order waits for one poll at most.
                async with self.lock:
                    reading = await self._line.poll(unit)
                if reading is not None:
                    self._deliver(reading)
            # Leases are looked after at every tick, orders or not.
            self.wake()
            skipped = max((self._clock.now_us() - due_us) // self._period_us, 0)
            self._line.skipped(skipped)
            due_us += (skipped + 1) * self._period_us

    async def _settle(self) -> None:
        while True:
            await self._orders.wait()
            self._orders.clear()
            async with self.lock:
                await self._line.settle()
