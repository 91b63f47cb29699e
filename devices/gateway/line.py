"""One physical link: its connection, its units served one after another, its back-off."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from devices.clock import Clock
from devices.description import DeviceSpec, LinkSpec
from devices.drivers import Driver
from devices.drivers.driver import DriverError, Values
from devices.gateway.lease import LeaseHolder
from devices.gateway.stats import DeviceHealth, Stats
from devices.modbus import ConfigurationFault, Disconnected, ModbusFault, ModbusLink, NoAnswer
from devices.pace import Pace
from devices.readings import Quality, Reading
from devices.sunspec.errors import SunSpecError

log = logging.getLogger(__name__)

BACK_OFF_S = 2
LONGEST_S = 300
_FAULTS = (ModbusFault, DriverError, SunSpecError)


@dataclass(slots=True)
class BackOff:
    """2 s more with every failure, at most 300 s, in clock time."""

    failures: int = 0
    due_us: int = 0

    def fail(self, now_us: int, at_least_s: int = 0) -> None:
        self.failures += 1
        self.due_us = now_us + max(min(BACK_OFF_S * self.failures, LONGEST_S), at_least_s) * 1_000_000

    def succeed(self) -> None:
        self.failures, self.due_us = 0, 0

    def waits(self, now_us: int) -> bool:
        return now_us < self.due_us


class Unit:
    """One device on the link."""

    def __init__(self, driver: Driver, holder: LeaseHolder | None, health: DeviceHealth) -> None:
        self.driver = driver
        self.holder = holder
        self.health = health
        self.back_off = BackOff()
        self.opened = False
        self.seq = 0

    @property
    def id(self) -> str:
        return self.driver.spec.id


class Line:
    """Serves its units over one connection, one request at a time. Faults of one unit stay with it.

    Invariant: `cycle` and `settle` never run at the same time on one line (the gateway sees to it).
    """

    def __init__(
        self,
        spec: LinkSpec,
        units: Sequence[Unit],
        clock: Clock,
        stats: Stats,
        opened: Callable[[Unit], None],
        lockstep: bool = False,
    ) -> None:
        """In `lockstep` time stands still, and so do the pauses that a device wants between two requests."""
        self.spec = spec
        self.units = tuple(units)
        self.link = ModbusLink.of(spec)
        pace = reduce(Pace.slower, (unit.driver.pace for unit in units), Pace())
        self.link.keep(Pace(timeout_s=pace.timeout_s) if lockstep else pace)
        self._clock = clock
        self._stats = stats
        self._opened = opened
        self._back_off = BackOff()

    async def cycle(self) -> list[Reading]:
        """Poll every unit that is not in back-off, connecting when due."""
        readings = []
        for unit in self.units:
            reading = await self.poll(unit)
            if reading is not None:
                readings.append(reading)
        return readings

    async def poll(self, unit: Unit) -> Reading | None:
        """One reading of a unit, or None and why in its health and in the counters. Raises no device fault."""
        now_us = self._clock.now_us()
        if unit.back_off.waits(now_us) or not await self._connected(unit, now_us):
            self._stats.missing += 1
            return None
        started_s = time.monotonic()
        try:
            values = await self._values(unit, now_us)
        except _FAULTS as error:
            self._failed(unit, error, now_us)
            return None
        if not values and unit.health.connected:
            return None  # asked more often than its map's groups want to be read: nothing was due
        unit.health.latency_s = time.monotonic() - started_s
        return self._read(unit, values, now_us)

    async def settle(self) -> None:
        """Let every controlled unit act on its newest order."""
        for unit in self.units:
            if unit.holder is not None:
                await unit.holder.settle(self.link, await self._ready(unit, unit.holder))

    async def release(self, reason: str) -> bool:
        """Release steps of every unit; True when all took them."""
        taken = True
        for unit in self.units:
            if unit.holder is not None:
                taken = await unit.holder.release(self.link, reason) and taken
        return taken

    def skipped(self, unit: Unit, ticks: int) -> None:
        """Due times of a unit that passed while the link was slow: lost where it was up, missing where it was not."""
        if unit.health.connected:
            self._stats.lost += ticks
        else:
            self._stats.missing += ticks

    def close(self) -> None:
        self.link.close()

    async def _ready(self, unit: Unit, holder: LeaseHolder) -> bool:
        now_us = self._clock.now_us()
        if not unit.opened or unit.back_off.waits(now_us) or (holder.wish is None and not holder.in_force):
            return False
        return await self._connected(unit, now_us)

    async def _connected(self, unit: Unit, now_us: int) -> bool:
        if self.link.connected:
            return True
        if self._back_off.waits(now_us):
            return False
        try:
            await self.link.connect()
        except Disconnected as error:
            self._back_off.fail(now_us)
            for each in self.units:
                self._note_failure(each, error)
            return False
        self._back_off.succeed()
        return True

    async def _values(self, unit: Unit, now_us: int) -> Values:
        try:
            return await self._once(unit, now_us)
        except Disconnected:
            # The peer may have closed an idle connection: one new connection per poll is worth a try.
            await self.link.connect()
            return await self._once(unit, now_us)

    async def _once(self, unit: Unit, now_us: int) -> Values:
        if not unit.opened:
            await unit.driver.open(self.link)
            unit.opened = True
            self._opened(unit)
        return await unit.driver.read(self.link, now_us)

    def _read(self, unit: Unit, values: Values, now_us: int) -> Reading:
        unit.back_off.succeed()
        unit.seq += 1
        if unit.health.failures:
            log.info("%s answers again", unit.id)
        health = unit.health
        health.connected, health.last_us, health.last_error, health.failures = True, now_us, "", 0
        if unit.holder is not None:
            unit.holder.observe(values)
        self._stats.received += 1
        quality = Quality.GOOD if "p_w" in values else Quality.BAD
        return Reading(unit.id, now_us, unit.seq, quality, values)

    def _failed(self, unit: Unit, error: Exception, now_us: int) -> None:
        outage = isinstance(error, (NoAnswer, Disconnected))
        self._stats.missing += outage
        self._stats.lost += not outage
        # What the device does not know it will not learn in two seconds: do not hammer it.
        stubborn = isinstance(error, (ConfigurationFault, DriverError, SunSpecError))
        unit.back_off.fail(now_us, LONGEST_S if stubborn else 0)
        unit.opened = unit.opened and not stubborn
        self._note_failure(unit, error)

    def _note_failure(self, unit: Unit, error: Exception) -> None:
        health = unit.health
        health.connected, health.last_error = False, str(error)
        health.failures += 1
        if unit.holder is not None:
            unit.holder.blind()
        if health.failures == 1:
            log.warning("%s: %s", unit.id, error)


def lines_of(
    links: Sequence[LinkSpec],
    devices: Sequence[DeviceSpec],
    unit: Callable[[DeviceSpec], Unit],
    line: Callable[[LinkSpec, Sequence[Unit]], Line],
) -> list[Line]:
    """One line a link with its devices. Raises DriverError for a device on a link that is not described."""
    wired = [device for device in devices if not device.mqtt]
    known = {link.id for link in links}
    for device in wired:
        if device.link not in known:
            raise DriverError(f"link {device.link!r} is not described", where=device.id, mend=f"links: {sorted(known)}")
    return [line(link, [unit(device) for device in wired if device.link == link.id]) for link in links]
