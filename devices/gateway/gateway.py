"""The gateway: polls links, takes MQTT telemetry, keeps the process image, brings orders to devices."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from devices.adapter import status_of
from devices.clock import Clock
from devices.description import MODES, BrokerSpec, DeviceSpec, LinkSpec, Mode
from devices.drivers import driver_for
from devices.drivers.air import AirDriver
from devices.drivers.driver import DriverError
from devices.envelope import Limits
from devices.errors import DeviceError
from devices.gateway.air import AirLine
from devices.gateway.announcer import Announcer
from devices.gateway.guarding import Guarding
from devices.gateway.headroom import GridLimits, Headroom
from devices.gateway.ingest import Ingest
from devices.gateway.lease import LeaseHolder
from devices.gateway.line import Line, Unit, lines_of
from devices.gateway.plausible import Plausible
from devices.gateway.ratings import limits_of
from devices.gateway.reserver import Mirror, ReServer
from devices.gateway.rounds import Rounds
from devices.gateway.stats import DeviceHealth, Stats
from devices.gateway.terms import Journal, Terms, Wish
from devices.homeassistant import discovery
from devices.orders import Ack
from devices.points import CONTROLS
from devices.readings import ProcessImage, Reading


class GatewayStalled(DeviceError):
    """Something that lockstep waits for did not come within the wall-time guard."""


class Gateway:
    """`async with Gateway(...) as gateway`. One task and one connection per link, one MQTT session.

    Lockstep: the conductor calls poll, gather_mqtt, order, settle each tick. Wall clock: links poll and settle by
    themselves at absolute due times, and poll() hands over what arrived.
    """

    def __init__(
        self,
        links: Sequence[LinkSpec],
        devices: Sequence[DeviceSpec],
        clock: Clock,
        *,
        broker: BrokerSpec | None = None,
        site_id: str = "site",
        lease_s: float = 180.0,
        tick_s: float = 60.0,
        mode: Mode = "full",
        control_enabled: bool = True,
        journal: Journal | None = None,
        guard_s: float = 30.0,
        lockstep: bool = True,
        limits: Mapping[str, Limits] | None = None,
        cap_w: float = math.inf,
        cap_ramp_w_s: float = math.inf,
        silence_s: float = math.inf,
        grid_limits: GridLimits | None = None,
        announce: bool = False,
        home_assistant: bool = False,
    ) -> None:
        """`limits`: instead of what site and device state, per device; `cap_w`, `cap_ramp_w_s`: of mode limited;
        `silence_s`: after so long without an order the controller is taken for dead and the device is released;
        `grid_limits`: import and export limit of the site at a time; `announce`: on the wall clock, tell the broker
        that the service is there and how the wired devices stand; `home_assistant`: and what it can show.

        Raises DriverError or RegmapError for a device that cannot be driven as described.
        """
        self.stats = Stats(devices={device.id: DeviceHealth() for device in devices})
        self.image = ProcessImage(clock.now_us())
        self._clock, self._guard_s, self._lockstep, self._tick_s = clock, guard_s, lockstep, tick_s
        self._given, self._caps = limits or {}, (cap_w, cap_ramp_w_s)
        self._readings: dict[str, Reading] = {}
        self._arrived: list[Reading] = []
        allowed: Mode = mode if control_enabled else "monitor"
        self._plausible = Plausible({device.id: device for device in devices})
        self._headroom = Headroom(grid_limits, max(3 * tick_s, 5.0))
        self._grids = frozenset(device.id for device in devices if device.is_grid)
        self._terms = Terms(clock, lease_s, allowed, journal, self.stats, lockstep, silence_s, self._headroom)
        self._holders: dict[str, LeaseHolder] = {}
        self._guarding = Guarding(links, devices, clock, lease_s, self._held)
        self._lines = lines_of(links, devices, self._unit, self._line)
        flying = [one for one in devices if one.mqtt and one.kind in CONTROLS]
        self._air = {one.id: self._unit(one) for one in flying} if broker is not None else {}
        wired = [unit for line in self._lines for unit in line.units]
        self._lines += [
            AirLine(AirLine.spec_of(name), [unit], clock, self.stats, self._opened) for name, unit in self._air.items()
        ]
        self._rounds = {line.spec.id: Rounds(line, clock, tick_s, self._take) for line in self._lines}
        self._line_of = {unit.id: line for line in self._lines for unit in line.units}
        self._ingest: Ingest | None = None
        wireless = [device for device in devices if device.mqtt]
        speaks = announce and not lockstep
        found = {topic: text for one in devices if home_assistant for topic, text in discovery(site_id, one).items()}
        announcer = Announcer(wired, clock, tick_s, self._readings, self._kept, site_id, found)
        self._announcer = announcer if speaks else None
        self._mqtt = (broker, site_id, wireless) if broker is not None and (wireless or speaks) else None

    async def __aenter__(self) -> Gateway:
        if self._mqtt is not None:
            broker, site_id, wireless = self._mqtt
            foreign = {device.id: status_of(device) for device in wireless if device.adapter is not None}
            self._ingest = Ingest(
                broker,
                site_id,
                [device.id for device in wireless],
                self.stats,
                self._take,
                self._clock.now_us,
                foreign=foreign,
                acknowledged=self._acknowledged if self._air else None,
                reconnected=self._announcer.forget if self._announcer is not None else None,
            )
            await self._ingest.__aenter__()
        if not self._lockstep:
            if self._terms.mode in ("limited", "full"):
                await self._guarding.start()
            for number, rounds in enumerate(self._rounds.values()):
                rounds.start(number / max(len(self._rounds), 1))
        if self._announcer is not None:
            self._announcer.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        for rounds in self._rounds.values():
            await rounds.stop()
        for holder in self._holders.values():
            holder.forget()
        for line in self._lines:
            line.close()
        if self._announcer is not None:
            await self._announcer.stop()
        if self._ingest is not None:
            await self._ingest.__aexit__()
        await self._guarding.stop()

    async def poll(self) -> list[Reading]:
        """New readings since the last call, sorted by (device, time, seq). Lockstep: reads every link now.

        Raises GatewayStalled naming the links that did not come back within the guard.
        """
        if self._lockstep:
            await self._each("poll", self._cycle)
        return self._handed_over()

    async def gather_mqtt(self, expected: Mapping[str, int | None]) -> list[Reading]:
        """Wait until each device's telemetry has reached its expected seq; returns these readings, sorted as poll's.

        None is expected of a device that handed the broker nothing at this tick: it counts as missing.
        A lost broker connection ends the wait at once: what is not there counts as missing. Wall clock: no wait.
        Raises GatewayStalled after guard_s, naming the devices.
        """
        if self._ingest is not None and self._lockstep:
            try:
                await asyncio.wait_for(self._ingest.wait(expected), self._guard_s)
            except TimeoutError as error:
                late = ", ".join(self._ingest.behind(expected))
                raise GatewayStalled(
                    f"no telemetry of {late} in {self._guard_s} s",
                    where="MQTT",
                    mend="does the device publish each tick?",
                ) from error
        return self._handed_over()

    def _handed_over(self) -> list[Reading]:
        arrived, self._arrived = self._arrived, []
        return sorted(arrived, key=lambda reading: (reading.device, reading.ts_us, reading.seq))

    def reserver(self, link: str, port: int = 0) -> ReServer:
        """A read-only Modbus server for other clients of a link, to be entered by the caller; loopback only.

        Raises KeyError for an unknown link.
        """
        rounds, line = self._rounds[link], next(one for one in self._lines if one.spec.id == link)
        mirror = Mirror(3 * self._tick_s)
        line.link.noticed_read = mirror.note

        async def fetch(unit: int, fc: int, address: int, count: int) -> list[int]:
            async with rounds.lock:
                return await line.link.read(unit, fc, address, count)

        return ReServer(mirror, fetch, port=port)

    def freeze(self) -> ProcessImage:
        """The newest reading of each device, as of now; also kept as `image`."""
        self.image = ProcessImage(self._clock.now_us(), dict(sorted(self._readings.items())))
        return self.image

    def order(
        self, device: str, value_w: float, *, until_us: int, reason: str, plan: str, slot_us: int | None = None
    ) -> None:
        """The controller's newest word for a device; written by `settle`, released at until_us.

        `slot_us` names the slot (default: until_us, the slot's end). Raises DriverError for a device without control.
        """
        holder = self._holders.get(device)
        if holder is None:
            raise DriverError("takes no orders", where=device, mend=f"devices with a control: {sorted(self._holders)}")
        holder.ask(Wish(value_w, until_us, until_us if slot_us is None else slot_us, reason, plan))
        if not self._lockstep:
            if device in self._guarding.devices:
                self._guarding.renew()
            self._rounds[self._line_of[device].spec.id].wake()

    async def settle(self) -> None:
        """Lockstep: write, read back and refresh until no order can get further at this time.

        Wall clock: returns at once, links settle by themselves. Raises GatewayStalled.
        """
        if self._lockstep:
            await self._each("settle", lambda line: line.settle())

    async def release_all(self, reason: str = "released by the operator") -> list[str]:
        """Run the release steps of every device under an order; returns the devices that did not take them."""
        for holder in self._holders.values():
            holder.withdraw()
        await self._each("release", lambda line: self._released(line, reason))
        return sorted(device for device, holder in self._holders.items() if holder.in_force)

    def _held(self) -> list[str]:
        return [device for device, one in self._holders.items() if one.in_force or one.wish is not None]

    async def _released(self, line: Line, reason: str) -> None:
        async with self._rounds[line.spec.id].lock:
            await line.release(reason)

    async def _cycle(self, line: Line) -> None:
        for reading in await line.cycle():
            self._take(reading)

    async def _each(self, verb: str, act: Callable[[Line], Awaitable[None]]) -> None:
        tasks = {asyncio.ensure_future(act(line)): line.spec.id for line in self._lines}
        if not tasks:
            return
        done, pending = await asyncio.wait(tasks, timeout=self._guard_s)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()
        if pending:
            late = ", ".join(sorted(tasks[task] for task in pending))
            raise GatewayStalled(f"{verb} of {late} took more than {self._guard_s} s", mend="is the link's host alive?")

    def _take(self, reading: Reading) -> None:
        reading, doubtful = self._plausible.checked(reading)
        if doubtful:
            self.stats.implausible += len(doubtful)
            self.stats.devices[reading.device].last_error = f"not believed: {', '.join(doubtful)}"
        self._readings[reading.device] = reading
        holder = self._holders.get(reading.device) if reading.device in self._air else None
        if holder is not None:
            holder.observe(reading.values)
        self._headroom.observe(reading.device, reading.values, reading.ts_us, is_grid=reading.device in self._grids)
        self._arrived.append(reading)

    def _send(self, device: str, control: str, payload: bytes, expires_s: float) -> bool:
        return self._ingest is not None and self._ingest.order(device, control, payload, expires_s)

    def _kept(self, topic: str, payload: bytes) -> bool:
        return self._ingest is not None and self._ingest.session.keep(topic, payload)

    def _acknowledged(self, device: str, found: Ack) -> None:
        driver = self._air[device].driver if device in self._air else None
        if isinstance(driver, AirDriver):
            driver.acknowledged(found)

    def _line(self, spec: LinkSpec, units: Sequence[Unit]) -> Line:
        return Line(spec, units, self._clock, self.stats, self._opened, self._lockstep)

    def _unit(self, device: DeviceSpec) -> Unit:
        driver = AirDriver(device, self._send, self._clock.now_us) if device.mqtt else driver_for(device)
        holder = None
        if device.kind in CONTROLS:
            limits = self._given.get(device.id) or limits_of(device, driver.bounds, *self._caps)
            mode = min(self._terms.mode, device.control.mode, key=MODES.index)
            unguarded = partial(self._guarding.unguarded, device.id)
            holder = LeaseHolder(driver, limits, replace(self._terms, mode=mode, unguarded=unguarded))
            self._holders[device.id] = holder
        return Unit(driver, holder, self.stats.devices[device.id])

    def _opened(self, unit: Unit) -> None:
        """A device stated its ratings: they bound what may be ordered, unless the limits were given."""
        spec = unit.driver.spec
        if unit.holder is not None and spec.id not in self._given:
            unit.holder.limits = limits_of(spec, unit.driver.bounds, *self._caps)
