"""10,000 MQTT messages of QoS 1 a second through mosquitto into decoded readings, beside bare paho."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import struct
import threading
import time
from multiprocessing.connection import Connection

import paho.mqtt.client as paho

from benchmarks.figures import Figure, figures
from devices.broker import Broker
from devices.description import BrokerSpec
from devices.gateway.ingest import Ingest
from devices.gateway.stats import Stats
from devices.readings import Reading
from twin.clock import WallClock

RATE, SECONDS, BURSTS, METERS = 10_000, 60, 50, 100
"""Messages a second, for how long, in how many bursts each second, from how many meters."""


def _publish(pipe: Connection, port: int, seconds: int) -> None:
    """One bare socket: packets of QoS 1 on schedule, acknowledgements read and thrown away."""
    raw = socket.create_connection(("127.0.0.1", port))
    raw.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01p")
    raw.recv(4)
    threading.Thread(target=lambda: _drain(raw), daemon=True).start()
    pipe.recv()
    began, each = time.monotonic(), RATE // BURSTS
    for burst in range(seconds * BURSTS):
        late_s = began + burst / BURSTS - time.monotonic()
        if late_s > 0:
            threading.Event().wait(late_s)
        now_s = time.time_ns() / 1e9
        raw.sendall(b"".join(_packet(burst * each + k, now_s) for k in range(each)))
    pipe.send(time.monotonic() - began)
    pipe.recv()


def _drain(raw: socket.socket) -> None:
    while raw.recv(65_536):
        pass


def _packet(number: int, now_s: float) -> bytes:
    topic = f"vpp/s/m{number % METERS}/telemetry".encode()
    payload = f'{{"v":1,"ts":{now_s:.3f},"seq":{number // METERS},"p":{{"p_w":-500.5,"e_imp_wh":{number}}}}}'.encode()
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", 1 + number % 65_535) + payload
    assert len(body) < 128 * 128
    return bytes((0x32, *((len(body) & 127 | 128, len(body) >> 7) if len(body) > 127 else (len(body),)))) + body


def main() -> None:
    """Print the figures."""
    decoded, share, lost, took, late = asyncio.run(_ingested())
    bare = asyncio.run(_bare())
    figures(
        [
            Figure(f"messages decoded of {RATE * SECONDS:,}", decoded, "", at_least=RATE * SECONDS),
            Figure("  lost", lost, "", 0),
            Figure("  sent in", took, "s"),
            Figure("  due to decoded, p99", late * 1e3, "ms"),
            Figure("processor time of a message", share * 1e6, "us", reference=bare * 1e6, beside="bare paho"),
        ]
    )


async def _ingested() -> tuple[int, float, int, float, float]:
    late: list[float] = []
    clock = WallClock()

    def take(reading: Reading) -> None:
        late.append((clock.now_us() - reading.ts_us) / 1e6)

    async with Broker("mosquitto") as spec:
        stats = Stats()
        async with Ingest(spec, "s", [f"m{k}" for k in range(METERS)], stats, take, clock.now_us):
            before = time.process_time()
            took = await _driven(spec, SECONDS, lambda: stats.received >= RATE * SECONDS)
            used = time.process_time() - before
    late.sort()
    return stats.received, used / max(stats.received, 1), stats.lost + stats.dropped, took, late[len(late) * 99 // 100]


async def _bare() -> float:
    """Processor seconds of a message that paho alone takes and throws away."""
    seconds, count = 5, [0]
    async with Broker("mosquitto") as spec:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)

        def arrived(*_: object) -> None:
            count[0] += 1

        client.on_message = arrived
        client.connect(spec.host, spec.port)
        client.subscribe("vpp/s/+/telemetry", qos=1)
        client.loop_start()
        before = time.process_time()
        await _driven(spec, seconds, lambda: count[0] >= RATE * seconds)
        used = time.process_time() - before
        client.disconnect()
        client.loop_stop()
    return used / max(count[0], 1)


async def _driven(spec: BrokerSpec, seconds: int, done: object) -> float:
    """Publish from another process; wait at most 20 s more until `done()`."""
    near, far = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_publish, args=(far, spec.port, seconds), daemon=True)
    process.start()
    near.send("go")
    took: float = await asyncio.to_thread(near.recv)
    until = time.monotonic() + 20
    while not done() and time.monotonic() < until:  # type: ignore[operator]
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.05)
    near.send("end")
    await asyncio.to_thread(process.join, 5)
    return took


if __name__ == "__main__":
    main()
