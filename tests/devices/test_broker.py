"""Both brokers: real processes, real clients."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pytest

from devices.broker import Broker, BrokerError, mosquitto_path
from devices.description import BrokerSpec
from devices.errors import DeviceError

COUNT = 200


def kinds() -> list[object]:
    absent = mosquitto_path() is None and os.environ.get("REQUIRE_SERVERS") != "1"
    mark = pytest.mark.skipif(absent, reason="no mosquitto binary on this machine")
    return [pytest.param("mosquitto", mqtt.MQTTv5, marks=mark), pytest.param("embedded", mqtt.MQTTv311)]


@contextmanager
def client(spec: BrokerSpec, protocol: int) -> Iterator[mqtt.Client]:
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=protocol)
    connected = threading.Event()
    made.on_connect = lambda *_: connected.set()
    made.connect(spec.host, spec.port)
    made.loop_start()
    try:
        assert connected.wait(5)
        yield made
    finally:
        made.disconnect()
        made.loop_stop()


def exchange(spec: BrokerSpec, protocol: int) -> list[int]:
    got: list[int] = []
    done, subscribed = threading.Event(), threading.Event()
    with client(spec, protocol) as receiver, client(spec, protocol) as sender:
        receiver.on_subscribe = lambda *_: subscribed.set()

        def take(_c: object, _u: object, message: mqtt.MQTTMessage) -> None:
            got.append(int(message.payload))
            if len(got) == COUNT:
                done.set()

        receiver.on_message = take
        receiver.subscribe("vpp/+/+/telemetry", qos=1)
        assert subscribed.wait(5)
        for n in range(COUNT):
            sender.publish("vpp/site/meter/telemetry", str(n), qos=1)
        assert done.wait(10)
    return got


@pytest.mark.parametrize(("kind", "protocol"), kinds())
async def test_a_broker_carries_qos_1_messages_in_order(kind: str, protocol: int) -> None:
    async with Broker(kind) as spec:  # type: ignore[arg-type]
        got = await asyncio.to_thread(exchange, spec, protocol)
    assert got == list(range(COUNT))


@pytest.mark.parametrize(("kind", "protocol"), kinds())
async def test_a_broker_can_go_away_and_come_back_on_its_port(kind: str, protocol: int) -> None:
    broker = Broker(kind)  # type: ignore[arg-type]
    await broker.start()
    port = broker.spec.port
    await broker.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)
    await broker.start()
    try:
        assert broker.spec.port == port
        assert await asyncio.to_thread(exchange, broker.spec, protocol) == list(range(COUNT))
    finally:
        await broker.stop()


@pytest.mark.parametrize(("kind", "protocol"), kinds())
async def test_a_broker_that_ended_by_itself_is_started_again_on_its_port(
    kind: str, protocol: int, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(kind)  # type: ignore[arg-type]
    async with broker as spec:
        assert broker._guard is not None
        first = broker._guard.pid
        os.killpg(first, signal.SIGKILL)  # the guard's session: itself and the broker
        deadline = time.monotonic() + 10
        while broker._guard is None or broker._guard.pid == first or not listens(spec.port):
            assert time.monotonic() < deadline
            await asyncio.to_thread(time.sleep, 0.02)
        assert await asyncio.to_thread(exchange, spec, protocol) == list(range(COUNT))
        assert "ended by itself" in caplog.text
    assert not listens(spec.port)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


async def test_a_port_in_use_is_said_with_its_mend() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match=rf"127.0.0.1:{port}.*in use.*broker: \{{host, port\}}"):
            await Broker("embedded", port).start()


async def test_the_embedded_broker_is_said_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "devices.broker"):
        async with Broker("embedded"):
            assert "embedded amqtt" in caplog.text


def test_mosquitto_demanded_but_absent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.broker._SEARCH", "/nowhere")
    with pytest.raises(BrokerError, match="install mosquitto"):
        Broker("mosquitto")
    assert Broker("auto").kind == "embedded"


@pytest.mark.parametrize(("kind", "protocol"), kinds())
def test_a_broker_dies_with_its_killed_parent(kind: str, protocol: int) -> None:
    program = (
        "import asyncio\nfrom devices.broker import Broker\n"
        f"async def main():\n    broker = Broker({kind!r})\n    await broker.start()\n"
        "    print(broker.spec.port, flush=True)\n    await asyncio.Event().wait()\nasyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        socket.create_connection(("127.0.0.1", port), 1).close()
        parent.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail(f"{kind} still listens on {port} 5 s after its parent was killed")
