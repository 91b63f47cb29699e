"""A link on the wall clock: absolute due times of every device, orders before polls, skipping instead of queueing."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

from devices.clock import Clock
from devices.gateway.line import Line
from devices.readings import Reading

_ASK_AGAIN_S = 0.5
_SPREAD_US = 1_000_000
"""Devices are spread over a period, but over no more than this: what belongs to one tick is asked near to it."""

Cycle = Callable[[int, int, bool], None]
"""(µs when a device's cycle was due, how many due times it cost, whether it was answered)."""


class Rounds:
    """Polls each device of a line at start + its phase + n * tick, and settles the line whenever an order came.

    Invariant: the line is used by one at a time (`lock`); a slow line skips due times, which count as lost.
    """

    def __init__(self, line: Line, clock: Clock, tick_s: float, deliver: Callable[[Reading], None]) -> None:
        self.lock = asyncio.Lock()
        self.noticed: Cycle | None = None
        """Told of every cycle when it is over."""
        self._line, self._clock, self._deliver = line, clock, deliver
        self._period_us = max(round(tick_s * 1_000_000), 1)
        self._orders = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, phase: float) -> None:
        """Begin; `phase` in 0..1 of the time between two devices spreads the links."""
        count, now_us = len(self._line.units), self._clock.now_us()
        apart_us = min(self._period_us, _SPREAD_US) / max(count, 1)
        due = [(now_us + int((number + phase) * apart_us), number) for number in range(count)]
        self._tasks = [asyncio.create_task(self._poll(due)), asyncio.create_task(self._settle())]

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

    async def _poll(self, due: list[tuple[int, int]]) -> None:
        """Whoever is due first, for ever; `due` is a heap of (µs, number of the unit)."""
        last = len(due) - 1
        while due:
            due_us, number = due[0]
            await self._clock.sleep_until_us(due_us)
            spent = await self._ask(number, due_us)
            heapq.heapreplace(due, (due_us + spent * self._period_us, number))
            if number == last:
                # Leases are looked after at every tick, orders or not.
                self.wake()

    async def _ask(self, number: int, due_us: int) -> int:
        """One cycle of a unit; how many due times it cost."""
        unit = self._line.units[number]
        # One unit at a time, so that an order waits for one poll at most.
        async with self.lock:
            reading = await self._line.poll(unit)
        if reading is not None:
            self._deliver(reading)
        skipped = max((self._clock.now_us() - due_us) // self._period_us, 0)
        if skipped:
            self._line.skipped(unit, skipped)
        if self.noticed is not None:
            self.noticed(due_us, skipped + 1, reading is not None)
        return skipped + 1

    async def _settle(self) -> None:
        while True:
            await self._orders.wait()
            self._orders.clear()
            async with self.lock:
                await self._line.settle()
