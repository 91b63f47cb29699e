"""What the service tells others over MQTT of the devices behind wires: `meta` once, `state` when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from devices.announcement import State, meta
from devices.clock import Clock
from devices.gateway.line import Unit
from devices.readings import Reading

Publish = Callable[[str, bytes], bool]
"""(topic, retained payload) -> False without a broker."""


class Announcer:
    """Speaks for wired devices; a device on MQTT speaks for itself. Looks once a tick.

    Invariant: what the broker keeps of a device is what was said last, also after the broker lost its memory.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        clock: Clock,
        tick_s: float,
        readings: Mapping[str, Reading],
        publish: Publish,
        site_id: str,
        besides: Mapping[str, bytes],
    ) -> None:
        """`readings`: the newest by device; `besides`: what else the broker shall keep, by topic."""
        self._prefix, self._besides = f"vpp/{site_id}", besides
        self._units, self._clock, self._readings, self._publish = tuple(units), clock, readings, publish
        self._period_us = max(round(tick_s * 1_000_000), 1)
        self._said: dict[str, State | bytes] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="announcements")

    async def stop(self) -> None:
        """The last word on every device: it is not connected any more."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for unit in self._units:
            self._say(f"{self._prefix}/{unit.id}/state", State(False))

    def forget(self) -> None:
        """The broker came back and may have lost what it kept: say everything again."""
        self._said.clear()

    async def _run(self) -> None:
        while True:
            for unit in self._units:
                self._look(unit)
            for topic, payload in self._besides.items():
                self._say(topic, payload)
            await self._clock.sleep_until_us(self._clock.now_us() + self._period_us)

    def _look(self, unit: Unit) -> None:
        limits = None if unit.holder is None else unit.holder.limits
        self._say(
            f"{self._prefix}/{unit.id}/meta",
            meta(unit.driver.spec, None if limits is None else (limits.low_w, limits.high_w)),
        )
        reading = self._readings.get(unit.id)
        values = {} if reading is None else reading.values
        self._say(f"{self._prefix}/{unit.id}/state", State.of(values, unit.health.connected, unit.health.alarms))

    def _say(self, topic: str, what: State | bytes) -> None:
        if self._said.get(topic) == what:
            return
        if self._publish(topic, what.payload(self._clock.now_us()) if isinstance(what, State) else what):
            self._said[topic] = what
