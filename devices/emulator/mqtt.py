"""MQTT side of the emulated plant: one connection per device, so that each has its own last will.

paho's client runs inside the event loop (its documented external-loop interface), without a thread: publishing and the
acknowledgements cost no thread switch. Only connecting runs in a worker thread, because paho's connect blocks.

Topics: vpp/<site>/<device>/telemetry (QoS 1 for meters, else 0, not retained) and .../status (retained; "online", and
"offline" by the last will or on a clean stop), .../meta and .../state (retained; the latter when it changes). Protocol
v5, or 3.1.1 where the broker speaks only that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import paho.mqtt.client as mqtt

from devices.announcement import State, meta
from devices.description import BrokerSpec, DeviceSpec
from devices.emulator.unit import Values
from devices.errors import DeviceError
from devices.points import KIND_POINTS, quantised

log = logging.getLogger(__name__)

_KEEPALIVE_S = 60
_CONNECT_S = 5.0
_PROBE_S = 2.0
_TEND_S = 5.0
_RETRY_S = (0.2, 0.5, 1.0, 2.0)
"""Wall time between attempts to come back; the last one repeats. The network's time, never a value of the run."""
Take = Callable[[str, bytes, bool], bytes | None]
"""(control, payload, retained) of a command -> its acknowledgement."""
_ENCODER = msgspec.json.Encoder()


def topic(site: str, device: str, leaf: str) -> str:
    """vpp/<site>/<device>/<leaf>."""
    return f"vpp/{site}/{device}/{leaf}"


def telemetry(kind: str, values: Values, t_us: int, seq: int) -> bytes:
    """The telemetry payload of the catalogue points of `kind`, rounded to their quanta; a bad value is left out."""
    points = {name: quantised(name, values.get(name)) for name in KIND_POINTS[kind]}
    known = {name: value for name, value in points.items() if value is not None}
    quality = "good" if "p_w" in known else "bad"
    return _ENCODER.encode({"v": 1, "ts": t_us / 1e6, "seq": seq, "q": quality, "p": known})


class Publisher:
    """One device's connection; comes back by itself when the broker does."""

    def __init__(
        self, device: DeviceSpec, site: str, broker: BrokerSpec, protocol: int, take: Take | None = None
    ) -> None:
        """`take`: carries out what comes on cmd/<control>."""
        self.device = device
        self._take = take
        self._commands, self._acks = topic(site, device.id, "cmd/"), topic(site, device.id, "ack/")
        self.seq = 0
        """Of the last sample; the first is 1. A sample that no broker took leaves a gap, so that its loss is seen."""
        self._topic, self._status = topic(site, device.id, "telemetry"), topic(site, device.id, "status")
        self._state, self._meta = topic(site, device.id, "state"), topic(site, device.id, "meta")
        self._stands: State | None = None
        """What the broker keeps of its state."""
        self._qos = 1 if device.kind == "meter" else 0
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._online, self._lost, self._wanted, self._stop = (asyncio.Event() for _ in range(4))
        self._told = asyncio.Event()
        self._farewell: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._protocol, self._client_id = protocol, f"{site}-{device.id}"
        self._client = self._make_client()

    async def open(self) -> bool:
        """Connect; True when the broker accepted within 5 s. Goes on trying either way."""
        self._wanted.set()
        self._task = asyncio.create_task(self._stay_connected(), name=f"mqtt {self.device.id}")
        return await _within(self._online, _CONNECT_S)

    def publish(self, values: Values, t_us: int) -> int | None:
        """Hand a reading to the broker; its seq, or None when there is no connection.

        Then the reading is lost, as with a meter without memory. A dead meter samples nothing.
        """
        if not self._wanted.is_set():
            return None
        self.seq += 1
        if not self._online.is_set():
            return None
        payload = telemetry(self.device.kind, values, t_us, self.seq)
        sent = self._client.publish(self._topic, payload, qos=self._qos)
        state = State.of(values)
        if state != self._stands:
            self._stands = state
            self._client.publish(self._state, state.payload(t_us), qos=1, retain=True)
        self._flush()
        if sent.rc != mqtt.MQTT_ERR_SUCCESS or not self._online.is_set():
            return None
        return self.seq

    def drop(self) -> None:
        """Vanish without a word, as by a power cut; the broker publishes the last will."""
        self._wanted.clear()
        self._cut()

    async def revive(self) -> None:
        """Come back after `drop`, and wait for it (at most 5 s), so that no reading of this tick is lost."""
        if not self._wanted.is_set():
            self._wanted.set()
            await _within(self._online, _CONNECT_S)

    async def close(self) -> None:
        """Say offline, wait until the broker has it, disconnect."""
        self._stop.set()
        if self._online.is_set():
            self._farewell = self._client.publish(self._status, "offline", qos=1, retain=True).mid
            self._flush()
            if not await _within(self._told, 2):
                log.warning("%s: the broker did not acknowledge the last status", self.device.id)
        self._client.disconnect()
        self._flush()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._cut()

    def _make_client(self) -> mqtt.Client:
        version = mqtt.CallbackAPIVersion.VERSION2
        client = mqtt.Client(version, client_id=self._client_id, protocol=self._protocol)
        client.connect_timeout = _CONNECT_S
        client.max_inflight_messages_set(0)
        _log_in(client, self._broker, self.device.id)
        client.will_set(self._status, "offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_close = self._on_socket_close
        return client

    async def _stay_connected(self) -> None:
        failures = 0
        while not self._stop.is_set():
            await self._wanted.wait()
            self._lost.clear()
            try:
                await asyncio.to_thread(self._client.connect, self._broker.host, self._broker.port, _KEEPALIVE_S)
            except OSError as error:
                failures += 1
                await self._pause(failures, str(error))
                continue
            failures = 0 if await self._serve() else failures + 1
            if not self._wanted.is_set():
                self._client = self._make_client()  # a power cut: what was not acknowledged yet is forgotten
            elif not self._stop.is_set():
                await self._pause(failures, "connection lost")

    async def _serve(self) -> bool:
        """Until the connection is lost; whether the broker ever accepted it."""
        connection = self._client.socket()
        if not isinstance(connection, socket.socket):
            return False
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(connection, self._read)
        self._flush()
        accepted = await _within(self._online, _CONNECT_S)
        if not accepted:
            self._cut()
        while not await _within(self._lost, _TEND_S):
            self._client.loop_misc()
            self._flush()
        return accepted

    async def _pause(self, failures: int, reason: str) -> None:
        if failures <= 1:
            log.warning("%s: MQTT %s; trying again", self.device.id, reason)
        await _within(self._stop, _RETRY_S[min(failures, len(_RETRY_S) - 1)])

    def _cut(self) -> None:
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        self._client.loop_read()
        self._flush()

    def _flush(self) -> None:
        """Write what paho has queued; the rest when the socket takes more."""
        if self._client.want_write():
            self._client.loop_write()
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            if self._client.want_write():
                self._loop.add_writer(connection, self._flush)
            else:
                self._loop.remove_writer(connection)

    def _on_connect(self, client: mqtt.Client, _data: object, _flags: object, reason: object, _p: object) -> None:
        if getattr(reason, "is_failure", False):
            log.info("%s: MQTT connection refused: %s", self.device.id, reason)
            return
        self._online.set()
        if self._take is not None:
            client.subscribe(f"{self._commands}+", qos=1)
        client.publish(self._status, "online", qos=1, retain=True)
        client.publish(self._meta, meta(self.device), qos=1, retain=True)
        self._stands = None

    def _on_message(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        control = message.topic.removeprefix(self._commands)
        answer = None if self._take is None else self._take(control, message.payload, message.retain)
        if answer is not None:
            client.publish(f"{self._acks}{control}", answer, qos=1)

    def _on_disconnect(self, *_: object) -> None:
        self._online.clear()
        self._lost.set()

    def _on_publish(self, _client: object, _data: object, mid: int, *_: object) -> None:
        if mid == self._farewell:
            self._told.set()

    def _on_socket_close(self, _client: object, _data: object, connection: socket.socket) -> None:
        self._loop.remove_reader(connection)
        self._loop.remove_writer(connection)


async def publishers(
    devices: Sequence[DeviceSpec], site: str, broker: BrokerSpec, takes: Mapping[str, Take] | None = None
) -> list[Publisher]:
    """One connected publisher per device: v5, or 3.1.1 if the broker refuses v5. Raises DeviceError: no broker."""
    if not devices:
        return []
    protocol = await asyncio.to_thread(_protocol_of, broker)
    made = [Publisher(device, site, broker, protocol, (takes or {}).get(device.id)) for device in devices]
    if all(await asyncio.gather(*(one.open() for one in made))):
        return made
    await asyncio.gather(*(one.close() for one in made))
    raise DeviceError(
        "no MQTT broker accepts the devices",
        where=f"broker {broker.host}:{broker.port}",
        mend="start it, correct host, port and password, or use the embedded one (broker: {embedded: true})",
    )


def _log_in(client: mqtt.Client, broker: BrokerSpec, device: str) -> None:
    """Under the device's own name where it has a password."""
    if device in broker.passwords:
        client.username_pw_set(device, broker.passwords[device])
    elif broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls_ca is not None:
        client.tls_set(ca_certs=broker.tls_ca)


def _protocol_of(broker: BrokerSpec) -> int:
    """What the broker speaks. Asked without a last will: amqtt answers a plain v5 CONNECT with a refusal at once, but
    waits for more bytes when v5 properties of a will follow."""
    answers: list[object] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect_timeout = _CONNECT_S
    client.on_connect = lambda _client, _data, _flags, reason, _p: answers.append(reason)
    _log_in(client, broker, next(iter(broker.passwords), ""))
    with contextlib.suppress(OSError):
        client.connect(broker.host, broker.port)
        deadline = time.monotonic() + _PROBE_S
        while not answers and time.monotonic() < deadline and client.loop(0.05) == mqtt.MQTT_ERR_SUCCESS:
            pass
        client.disconnect()
    accepted = bool(answers) and not getattr(answers[0], "is_failure", True)
    return int(mqtt.MQTTv5 if accepted else mqtt.MQTTv311)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within wall seconds: network time-outs, not the plant's time."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
