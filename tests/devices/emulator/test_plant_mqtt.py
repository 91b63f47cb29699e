"""The emulated plant over MQTT, on both brokers."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from pymodbus.client import AsyncModbusTcpClient

from devices.broker import Broker, mosquitto_path
from devices.description import BrokerSpec
from devices.emulator import Plant
from devices.errors import DeviceError

ABSENT = mosquitto_path() is None and os.environ.get("REQUIRE_SERVERS") != "1"
NO_MOSQUITTO = pytest.mark.skipif(ABSENT, reason="no mosquitto binary on this machine")
KINDS = [pytest.param("mosquitto", marks=NO_MOSQUITTO), "embedded"]


class Listener:
    """A subscriber that keeps all it hears."""

    def __init__(self, spec: BrokerSpec) -> None:
        self.heard: list[tuple[str, str, bool, int]] = []
        self._ready = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        self._client.on_connect = lambda *_: self._client.subscribe("vpp/#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._take
        self._client.connect(spec.host, spec.port)
        self._client.loop_start()
        assert self._ready.wait(5)

    def _take(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        self.heard.append((message.topic, message.payload.decode(), message.retain, message.qos))

    def statuses(self, device: str) -> list[str]:
        return [text for topic, text, _, _ in self.heard if topic == f"vpp/test/{device}/status"]

    def telemetry(self, device: str) -> list[dict[str, Any]]:
        return [json.loads(text) for topic, text, _, _ in self.heard if topic == f"vpp/test/{device}/telemetry"]

    def until(self, holds: Callable[[], object], seconds: float = 5) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.heard[-5:]
            time.sleep(0.01)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@asynccontextmanager
async def listening(spec: BrokerSpec) -> AsyncIterator[Listener]:
    made = await asyncio.to_thread(Listener, spec)
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


def build(site: Any, spec: BrokerSpec | None, **options: Any) -> Plant:
    return Plant(site.links, site.devices, site.clock, site.series, broker=spec, site_id="test", **options)


@pytest.mark.parametrize("kind", KINDS)
async def test_meters_publish_what_was_promised(site: Any, kind: Any) -> None:
    async with Broker(kind) as spec, listening(spec) as ear:
        async with build(site, spec) as plant:
            assert await plant.step(site.at(0)) == {"meter-1": 1, "meter-2": 1, "meter-vpp": 1}
            site.gaps.add("home-2/load")
            assert await plant.step(site.at(60.25)) == {"meter-1": 2, "meter-2": 2, "meter-vpp": 2}
            await asyncio.to_thread(ear.until, lambda: len(ear.telemetry("meter-2")) == 2)
            told = ear.telemetry("meter-1")[1]
            assert told.keys() == {"v", "ts", "seq", "q", "p"}
            assert round(told["ts"] * 1e6) == site.clock.t_us
            assert (told["v"], told["seq"], told["q"]) == (1, 2, "good")
            assert told["p"]["p_w"] == round(plant.powers_w["meter-1"])
            assert (told["p"]["e_imp_wh"], told["p"]["e_exp_wh"]) == plant.counters_wh("meter-1")
            gap = ear.telemetry("meter-2")[1]
            assert gap["q"] == "bad"
            assert "p_w" not in gap["p"]
            assert gap["p"]["e_exp_wh"] == plant.counters_wh("meter-2")[1]
            assert {qos for topic, _, _, qos in ear.heard if topic.endswith("telemetry")} == {1}
            assert not any(retained for topic, _, retained, _ in ear.heard if topic.endswith("telemetry"))
        await asyncio.to_thread(ear.until, lambda: ear.statuses("meter-1") == ["online", "offline"])
        async with listening(spec) as late:
            # amqtt sometimes delivers a retained message twice: what counts is that nothing else is heard.
            await asyncio.to_thread(late.until, lambda: set(late.statuses("meter-vpp")) == {"offline"})
            assert all(retained for _, _, retained, _ in late.heard)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_dying_meter_leaves_its_last_will_and_comes_back(site: Any, kind: Any) -> None:
    site.change("meter-2", behaviour={"dies_at_s": 60, "back_at_s": 180})
    async with Broker(kind) as spec, listening(spec) as ear, build(site, spec) as plant:
        assert "meter-2" in await plant.step(site.at(0))
        await asyncio.to_thread(ear.until, lambda: ear.statuses("meter-2") == ["online"] and ear.telemetry("meter-2"))
        assert await plant.step(site.at(60)) == {"meter-1": 2, "meter-vpp": 2}
        await asyncio.to_thread(ear.until, lambda: ear.statuses("meter-2") == ["online", "offline"])
        assert "meter-2" not in await plant.step(site.at(120))
        assert (await plant.step(site.at(180)))["meter-2"] == 2
        await asyncio.to_thread(ear.until, lambda: ear.statuses("meter-2") == ["online", "offline", "online"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_broker_that_was_gone_is_found_again(site: Any, kind: Any) -> None:
    broker = Broker(kind)
    await broker.start()
    try:
        async with build(site, broker.spec) as plant:
            assert len(await plant.step(site.at(0))) == 3
            await broker.stop()
            t_s, deadline = 60.0, time.monotonic() + 5
            while await plant.step(site.at(t_s)):
                t_s += 60
                assert time.monotonic() < deadline
                await asyncio.to_thread(time.sleep, 0.02)
            await broker.start()
            sent: dict[str, int] = {}
            while len(sent) < 3:
                t_s += 60
                sent = await plant.step(site.at(t_s))
                assert time.monotonic() < deadline + 10
                await asyncio.to_thread(time.sleep, 0.02)
            assert set(sent.values()) == {1 + t_s / 60}, "every sample counts, so that the lost ones leave a gap"
    finally:
        await broker.stop()


async def test_a_meter_that_never_answers_stays_away(site: Any) -> None:
    site.change("meter-2", behaviour={"never_answers": True})
    async with Broker("embedded") as spec, build(site, spec) as plant:
        assert await plant.step(site.at(0)) == {"meter-1": 1, "meter-vpp": 1}


async def test_no_broker_is_said_with_its_mend(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.emulator.mqtt._CONNECT_S", 0.3)
    async with Broker("embedded") as spec:
        pass
    with pytest.raises(DeviceError, match=rf"broker 127.0.0.1:{spec.port}: no MQTT broker accepts.*embedded"):
        async with build(site, spec):
            pass


class WallClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000

    async def sleep_until_us(self, t_us: int) -> None:
        await asyncio.sleep(max(t_us - self.now_us(), 0) / 1e6)


async def test_serve_steps_on_the_clock_and_publishes_each_period(site: Any) -> None:
    site.clock = WallClock()
    site.change("bat-1", behaviour={"latency_ms": 50})
    async with Broker("embedded") as spec, listening(spec) as ear:
        async with build(site, spec, physics_s=0.05, telemetry_s=0.2) as plant:
            serving = asyncio.ensure_future(plant.serve())
            await asyncio.to_thread(ear.until, lambda: len(ear.telemetry("meter-1")) >= 5)
            battery = next(one for one in plant.endpoints if one.device == "bat-1")
            async with AsyncModbusTcpClient(battery.host, port=battery.port) as client:
                asked = time.monotonic()
                assert (await client.read_holding_registers(40000, count=2, device_id=2)).registers == [0x5375, 0x6E53]
                assert time.monotonic() - asked >= 0.05, "latency_ms"
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        stamps = [told["ts"] for told in ear.telemetry("meter-1")]
        assert [told["seq"] for told in ear.telemetry("meter-1")][:5] == [1, 2, 3, 4, 5]
        assert 0.5 < stamps[4] - stamps[0] < 3
        assert abs(stamps[0] - time.time()) < 30
