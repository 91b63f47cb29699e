"""The emulated plant: physics behind real Modbus TCP servers and MQTT connections.

async with Plant(links, devices, clock, series, broker=spec, site_id="homes", seed=1) as plant:
    sent = await plant.step(t_us)        # lockstep: the caller owns time
    await plant.serve()                  # or: the clock owns time, until cancelled
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from devices.clock import Clock
from devices.description import BrokerSpec, DeviceSpec, Kind, LinkSpec
from devices.emulator.air_unit import AirUnit
from devices.emulator.behaviour import Behaviour
from devices.emulator.bus import Bus, Series
from devices.emulator.modbus import ModbusLink, Served
from devices.emulator.mqtt import Publisher, publishers, topic
from devices.emulator.response import Response
from devices.emulator.unit import Unit
from devices.emulator.units import unit_number, unit_of
from devices.errors import DeviceError
from devices.points import CONTROLS

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a client finds one emulated device."""

    device: str
    kind: Kind
    protocol: Literal["modbus", "mqtt"]
    host: str
    port: int
    unit: int | None = None
    map: str | None = None
    topic: str | None = None
    serial: str | None = None
    """Path of the serial line, for modbus-rtu."""


class Plant:
    """All emulated devices of a site. Time never runs backwards; registers always show the last step.

    Without `async with` it can be stepped too: then it is physics and registers without a network.
    """

    def __init__(
        self,
        links: Sequence[LinkSpec],
        devices: Sequence[DeviceSpec],
        clock: Clock,
        series: Series,
        *,
        broker: BrokerSpec | None = None,
        site_id: str = "site",
        seed: int = 0,
        ports: Literal["auto", "fixed"] = "auto",
        physics_s: float = 60.0,
        telemetry_s: float = 1.0,
        patient: bool = True,
    ) -> None:
        """`ports` auto: the operating system chooses all Modbus ports. `physics_s`: longest physics step;
        `telemetry_s`: MQTT period of `serve`; `patient` False: a device that would say nothing hangs up instead, so
        that in lockstep nobody waits for it on the wall. Raises DeviceError (ModelError, RegmapError) for what can not
        be emulated.
        """
        self._clock, self._site, self._broker = clock, site_id, broker
        self._physics_us, self._telemetry_us = round(physics_s * _SECOND_US), round(telemetry_s * _SECOND_US)
        self._devices = tuple(devices)
        self._behaviours = {device.id: Behaviour.of(device) for device in devices}
        wires = {link.id for link in links if link.real}
        self.real = frozenset(one.id for one in devices if one.link in wires or one.adapter is not None)
        """Devices that are there, so not emulated; `observe` tells what they show."""
        self._bus = Bus(devices, self._behaviours, series, _phase(site_id, seed), self.real)
        self.units: dict[str, Unit] = {
            device.id: unit_of(device, self._bus, self._behaviours[device.id])
            for device in devices
            if device.link is not None and device.id not in self.real
        }
        self._responses = {
            name: Response(one) for name, one in self._behaviours.items() if one.dead_time_s or one.gain_pu != 1
        }
        self._given, self._patient = tuple(links), patient
        self._air = {device.id: AirUnit(device) for device in devices if device.mqtt and device.kind in CONTROLS}
        self.units |= self._air
        self._links = {link.id: self._modbus_link(link, ports) for link in links if not link.real}
        self._publishers: dict[str, Publisher] = {}
        self._start_us: int | None = None
        self._t_us = 0
        self._on_wall = self._on_air = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Plant:
        """Listen and connect. Raises DeviceError: port in use, no broker."""
        async with AsyncExitStack() as stack:
            for link in self._links.values():
                stack.push_async_callback(link.close)
                await link.open()
            await self._connect_publishers(stack)
            self._stack = stack.pop_all()
        self._on_air = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._on_air = False
        await self._stack.aclose()

    @property
    def links(self) -> list[LinkSpec]:
        """With the ports really bound; those of real devices as they were given."""
        return [link if link.real else self._links[link.id].bound for link in self._given]

    @property
    def endpoints(self) -> list[Endpoint]:
        """One per device and protocol, in the order of the site file."""
        found: list[Endpoint] = []
        for device in self._devices:
            if device.id in self.real:
                continue
            if device.link is not None:
                link = self._links[device.link]
                where = (link.link.host, link.port, unit_number(device), device.map)
                found.append(Endpoint(device.id, device.kind, "modbus", *where, serial=link.bound.serial or None))
            if device.mqtt and self._broker is not None:
                path = topic(self._site, device.id, "telemetry")
                found.append(Endpoint(device.id, device.kind, "mqtt", self._broker.host, self._broker.port, topic=path))
        return found

    @property
    def powers_w(self) -> Mapping[str, float]:
        """True bus power of every device now, W; what a perfect instrument would show."""
        machines = {name: one.p_w for name, one in self._bus.machines.items()}
        return machines | {name: meter.p_w for name, meter in self._bus.meters.items()}

    def observe(self, device: str, p_w: float | None) -> None:
        """What a real device shows, so that the grid's meter sees it too; None = nothing."""
        self._bus.observe(device, p_w)

    def counters_wh(self, device: str) -> tuple[int, int]:
        """True (e_imp_wh, e_exp_wh) of a device now, the owner's view."""
        one = self._bus.meters.get(device) or self._bus.machines[device]
        return one.counters.imported.whole_wh, one.counters.exported.whole_wh

    async def step(self, t_us: int) -> dict[str, int]:
        """Advance to t_us and publish telemetry of t_us; returns {MQTT device: seq} of what reached the broker.

        The first step only initialises. Setpoints written before the call are in force from the previous step on, and
        revert exactly when their time is over. Raises DeviceError when t_us lies before the previous step.
        """
        await self._advance(t_us)
        return self._publish(t_us)

    async def serve(self) -> None:
        """Step on the clock until cancelled: physics every physics_s, MQTT telemetry every telemetry_s."""
        self._on_wall = True
        try:
            next_us = told_us = self._clock.now_us()
            while True:
                now_us = self._clock.now_us()
                await self._advance(now_us)
                if now_us >= told_us:
                    self._publish(now_us)
                    told_us += self._telemetry_us * (1 + (now_us - told_us) // self._telemetry_us)
                next_us += self._physics_us * (1 + (now_us - next_us) // self._physics_us)
                await self._clock.sleep_until_us(next_us)
        finally:
            self._on_wall = False

    async def _advance(self, t_us: int) -> None:
        if self._start_us is None:
            self._start_us = self._t_us = t_us
            self._bus.initialise(t_us, self._physics_us)
        if t_us < self._t_us:
            raise DeviceError(f"step to {t_us} after {self._t_us}", where="plant", mend="time only moves forward")
        while self._t_us < t_us:
            self._sub_step(t_us)
        self._revert(t_us)
        for name, unit in self.units.items():
            unit.show(self._bus.report(name), t_us)
        if self._on_air:
            await self._live_and_die()

    def _sub_step(self, t_us: int) -> None:
        """One stretch of constant power: at most physics_s, and never across the end of a revert time."""
        self._revert(self._t_us)
        ends = [min(t_us, self._t_us + self._physics_us)]
        ends += [due for unit in self.units.values() if (due := unit.next_revert_us()) is not None]
        commands = {name: unit.command for name, unit in self.units.items()}
        for name, response in self._responses.items():
            commands[name] = response.take(commands[name], self._t_us)
            ends += [] if response.next_us is None else [response.next_us]
        end_us = min(ends)
        self._bus.step(self._t_us, end_us, commands)
        self._t_us = end_us

    def _revert(self, now_us: int) -> None:
        for unit in self.units.values():
            due_us = unit.next_revert_us()
            if due_us is not None and due_us <= now_us:
                unit.revert(now_us)

    def _publish(self, t_us: int) -> dict[str, int]:
        sent: dict[str, int] = {}
        for name, publisher in self._publishers.items():
            own_us = self._behaviours[name].drifted_us(t_us, self._since_start_s())
            held = self._air[name].state(t_us) if name in self._air else {}
            seq = publisher.publish({**self._bus.report(name), **held}, own_us)
            if seq is not None:
                sent[name] = seq
        return sent

    async def _live_and_die(self) -> None:
        """Publishers drop and come back; a link whose units are all dead closes (a serial line only falls silent)."""
        for name, publisher in self._publishers.items():
            if self._dead(name):
                publisher.drop()
            else:
                await publisher.revive()
        for name, link in self._links.items():
            members = [device.id for device in self._devices if device.link == name]
            dead = bool(members) and all(map(self._dead, members))
            if dead and link.listening and link.link.kind != "modbus-rtu":
                await link.close()
            elif not dead and not link.listening:
                await link.open()

    def _dead(self, device: str) -> bool:
        return self._behaviours[device].dead(self._since_start_s())

    def _since_start_s(self) -> float:
        return 0.0 if self._start_us is None else (self._t_us - self._start_us) / _SECOND_US

    def _now_us(self) -> int:
        """Time of a write: the clock's, never before the last step."""
        return max(self._clock.now_us(), self._t_us)

    def _modbus_link(self, link: LinkSpec, ports: Literal["auto", "fixed"]) -> ModbusLink:
        served = {unit_number(device): self._served(device.id) for device in self._devices if device.link == link.id}
        return ModbusLink(replace(link, port=0, serial="") if ports == "auto" else link, served, self._now_us)

    def _served(self, device: str) -> Served:
        behaviour = self._behaviours[device]
        return Served(
            unit=self.units[device],
            silent=lambda: behaviour.silent(self._since_start_s()) or (behaviour.night_sleep and self._asleep(device)),
            latency_s=lambda: behaviour.latency_ms / 1000 if self._on_wall else 0.0,
            single=behaviour.single_connection,
            hangs_up=not self._patient,
        )

    def _asleep(self, device: str) -> bool:
        machine = self._bus.machines.get(device)
        return machine is not None and machine.asleep

    def _taken(self, unit: AirUnit, control: str, payload: bytes, retained: bool) -> bytes | None:
        return unit.take(control, payload, retained, self._now_us())

    async def _connect_publishers(self, stack: AsyncExitStack) -> None:
        speaking = [
            one
            for one in self._devices
            if one.mqtt and one.id not in self.real and not self._behaviours[one.id].never_answers
        ]
        if self._broker is None or not speaking:
            return
        takes = {name: partial(self._taken, unit) for name, unit in self._air.items()}
        made = await publishers(speaking, self._site, self._broker, takes)
        for publisher in made:
            stack.push_async_callback(publisher.close)
        self._publishers = {one.device.id: one for one in made}


def _phase(site_id: str, seed: int) -> float:
    """In [0, 1), from the seed: where the slow swing of the frequency starts."""
    digest = hashlib.sha256(f"{site_id}/{seed}/frequency".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32
