"""MQTT telemetry into readings: paho's thread only appends, one wake-up a burst, all work in the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devices.adapter import AdapterError, Status
from devices.announcement import SERVICE
from devices.description import BrokerSpec
from devices.gateway.payload import PayloadError, telemetry
from devices.gateway.plausible import timely
from devices.gateway.session import Session
from devices.gateway.stats import DeviceHealth, Stats
from devices.orders import Ack, OrderError, ack
from devices.readings import Reading

log = logging.getLogger(__name__)

QUEUE = 200_000
"""Messages that may wait for the loop; at 10,000/s this is 20 s of a stalled loop."""
BATCH_S = 0.02
"""Longest time the loop is kept by one drain under flood."""
_KEPT = ("state", "meta")


@dataclass(slots=True)
class Stream:
    """What is known of one device's sequence."""

    health: DeviceHealth
    seq: int | None = None
    ts_us: int = 0
    owed: int = 0
    """Readings counted as missing by `wait` that may still come, or turn out as a gap."""
    absent: int = 0
    """Readings counted as missing because the device handed the broker none; a gap up to `absent_us` is theirs."""
    absent_us: int = 0
    outage: bool = True
    """True until the first sample taken after a (re)connection: a gap before it is the outage's."""
    status: str = ""


@dataclass(slots=True)
class _Wait:
    expected: dict[str, int | None]
    future: asyncio.Future[None]


class Ingest:
    """Readings of the MQTT devices of one site.

    Invariant: per device, readings are handed on with rising seq or, after a restart of the device, rising time.
    """

    def __init__(
        self,
        broker: BrokerSpec,
        site_id: str,
        devices: Iterable[str],
        stats: Stats,
        deliver: Callable[[Reading], None],
        now_us: Callable[[], int],
        *,
        foreign: Mapping[str, Status] | None = None,
        share: str = "",
        name: str = "gateway",
        acknowledged: Callable[[str, Ack], None] | None = None,
        reconnected: Callable[[], None] | None = None,
    ) -> None:
        """`foreign`: meters with an adapter, by device. `share`: several processes that give the same word share the
        messages out among themselves, each under its own `name`; then a gap in a sequence is another's, not a loss.
        `reconnected`: called when a connection was made; with it this is the service, which says so on its own topic.
        """
        self._now_us, self._since_us = now_us, 0
        self._prefix = f"vpp/{site_id}/"
        self._stats = stats
        self._deliver = deliver
        self._streams = {device: Stream(stats.devices.setdefault(device, DeviceHealth())) for device in devices}
        self._queue: deque[tuple[str, bytes, bool]] = deque()
        self._woken = False
        self._dropped = 0
        self._loop = asyncio.get_running_loop()
        self._waits: list[_Wait] = []
        self._foreign = {topic: (device, one) for device, one in (foreign or {}).items() for topic in one.topics}
        self._shared, self._acknowledged = bool(share), acknowledged
        group = f"$share/{share}/" if share else ""
        topics = [f"{group}{self._prefix}+/telemetry", f"{self._prefix}+/status"]
        topics += [f"{group}{topic}" for topic in self._foreign]
        topics += [f"{self._prefix}+/ack/+"] if acknowledged else []
        self._reconnected = reconnected
        presence = f"{self._prefix}{SERVICE}/status" if reconnected else ""
        self.session = Session(broker, f"vpptwin-{name}-{site_id}", topics, self._arrived, self._connection, presence)

    async def __aenter__(self) -> Ingest:
        await self.session.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.session.stop()

    def behind(self, expected: Mapping[str, int | None]) -> list[str]:
        """Devices whose newest sequence number is below the expected one."""
        return [
            device for device, seq in expected.items() if seq is not None and _before(self._streams[device].seq, seq)
        ]

    async def wait(self, expected: Mapping[str, int | None]) -> list[str]:
        """Until every device's seq is at least as expected, or the connection is lost; returns who is missing.

        None is expected of a device that handed the broker nothing at this tick: its reading is missing without a wait.
        """
        known = {device: seq for device, seq in expected.items() if device in self._streams}
        wait = _Wait(known, self._loop.create_future())
        if self.behind(wait.expected) and self.session.connected:
            self._waits.append(wait)
            try:
                await wait.future
            finally:
                self._waits.remove(wait)
        behind = self.behind(wait.expected)
        for device in behind:
            self._streams[device].owed += 1
        absent = [device for device, seq in known.items() if seq is None]
        for device in absent:
            stream = self._streams[device]
            stream.absent, stream.absent_us = stream.absent + 1, self._now_us()
        self._stats.missing += len(behind) + len(absent)
        for device in sorted((*behind, *absent)):
            self._silent(device)
        return behind

    def _arrived(self, topic: str, payload: bytes, retained: bool) -> None:
        """In paho's thread: nothing but append and wake."""
        if len(self._queue) >= QUEUE:
            self._dropped += 1
            return
        self._queue.append((topic, payload, retained))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._drain)

    def _connection(self, connected: bool) -> None:
        """In the loop: the session came or went."""
        self._since_us = self._now_us()
        for stream in self._streams.values():
            stream.outage = True
            stream.health.connected = connected and stream.health.connected
        if not connected:
            self._wake_waits(force=True)
        elif self._reconnected is not None:
            self._reconnected()

    def _drain(self) -> None:
        self._woken = False
        until_s = time.monotonic() + BATCH_S
        queue = self._queue
        while queue:
            topic, payload, retained = queue.popleft()
            self._take(topic, payload, retained)
            if time.monotonic() > until_s:
                self._woken = True
                self._loop.call_soon(self._drain)
                break
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._stats.dropped += dropped
            self._stats.lost += dropped
            log.error("%d messages dropped: the queue of %d is full", dropped, QUEUE)
        self._wake_waits(force=False)

    def _wake_waits(self, force: bool) -> None:
        for wait in self._waits:
            if not wait.future.done() and (force or not self.behind(wait.expected)):
                wait.future.set_result(None)

    def _take(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic in self._foreign:
            self._take_foreign(topic, payload, retained)
            return
        device, _, leaf = topic.removeprefix(self._prefix).partition("/")
        stream = self._streams.get(device)
        if leaf in _KEPT or (stream is None and (device, leaf) == (SERVICE, "status")):
            return  # what a device says of itself, and our own presence; amqtt delivers more than was asked for
        if stream is None:
            self._refuse(device, "no such MQTT device in the site")
        elif leaf == "status":
            stream.status = payload[:16].decode("utf-8", "replace")
            stream.health.connected = stream.status == "online"
            stream.outage = stream.outage or not stream.health.connected
        elif leaf.startswith("ack/"):
            self._take_ack(device, payload)
        elif retained:
            self._refuse(device, "retained telemetry: old values must not look new")
        else:
            try:
                self._accept(device, stream, payload)
            except PayloadError as error:
                self._refuse(device, str(error))

    def order(self, device: str, control: str, payload: bytes, expires_s: float) -> bool:
        """Send an order to a device; False without a broker."""
        return self.session.publish(f"{self._prefix}{device}/cmd/{control}", payload, expires_s)

    def _take_ack(self, device: str, payload: bytes) -> None:
        try:
            found = ack(payload)
        except OrderError as error:
            self._refuse(device, str(error))
            return
        if self._acknowledged is not None:
            self._acknowledged(device, found)

    def _take_foreign(self, topic: str, payload: bytes, retained: bool) -> None:
        device, status = self._foreign[topic]
        stream = self._streams[device]
        if topic == status.online:
            stream.health.connected = status.is_online(payload)
            return
        if retained:
            self._refuse(device, "retained status: old values must not look new")
            return
        try:
            found = status.take(topic, payload)
        except AdapterError as error:
            self._refuse(device, str(error))
            return
        if found is None:
            return
        time_s, values = found
        now_us = self._now_us()
        ts_us = now_us if time_s is None else round(time_s * 1_000_000)
        stream.seq = (stream.seq or 0) + 1
        at_us, quality = timely(ts_us, now_us)
        self._hand_over(device, stream, Reading(device, at_us, stream.seq, quality, values))

    def _account(self, stream: Stream, gap: int) -> None:
        """`gap` readings will not come any more; those already counted as missing are not counted twice."""
        unexplained = max(gap - stream.owed - stream.absent, 0)
        stream.owed -= min(max(gap - stream.absent, 0), stream.owed)
        if stream.outage:
            self._stats.missing += unexplained
        else:
            self._stats.lost += unexplained

    def _silent(self, device: str) -> None:
        """Nothing came from a device at a tick: said once, until it speaks again."""
        health = self._streams[device].health
        health.connected, health.last_error = False, "no telemetry"
        health.failures += 1
        if health.failures == 1:
            log.warning("%s: no telemetry", device)

    def _refuse(self, device: str, why: str) -> None:
        self._stats.refused_messages += 1
        log.warning("message of %s refused: %s", device[:64], why[:200])

    def _accept(self, device: str, stream: Stream, payload: bytes) -> None:
        found = telemetry(payload)
        ts_us = found.ts_us
        if stream.seq is not None:
            if found.seq == stream.seq or (found.seq < stream.seq and ts_us <= stream.ts_us):
                self._stats.duplicates += 1
                return
            self._account(stream, 0 if self._shared else found.seq - stream.seq - 1)
        if stream.owed:
            stream.owed -= 1
            self._stats.missing -= 1
        stream.seq, stream.ts_us = found.seq, ts_us
        # A message sent again after an outage is older than it, and says nothing of what was lost in it.
        stream.outage = stream.outage and ts_us < self._since_us
        stream.absent = stream.absent if ts_us <= stream.absent_us else 0
        at_us, punctual = timely(ts_us, self._now_us())
        quality = max(found.quality(), punctual)
        self._hand_over(device, stream, Reading(device, at_us, found.seq, quality, found.values()))

    def _hand_over(self, device: str, stream: Stream, reading: Reading) -> None:
        health = stream.health
        if health.failures:
            log.info("%s answers again", device)
        health.connected, health.last_us, health.failures, health.last_error = True, reading.ts_us, 0, ""
        self._stats.received += 1
        self._deliver(reading)


def _before(seen: int | None, expected: int) -> bool:
    return seen is None or seen < expected
