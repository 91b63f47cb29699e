"""`state`, `meta` and the last wills: what a broker keeps of devices and of the service, on both brokers."""

from __future__ import annotations

import asyncio
import json
import os

import paho.mqtt.client as paho
import pytest

from devices.announcement import STATE_POINTS, State, meta
from devices.broker import Broker, mosquitto_path
from devices.description import BrokerSpec, DeviceSpec, LinkSpec
from devices.emulator import Plant
from devices.gateway import Gateway
from devices.proxy import Proxy, Script
from twin.clock import WallClock

ABSENT = mosquitto_path() is None and os.environ.get("REQUIRE_SERVERS") != "1"
KINDS = [pytest.param("mosquitto", marks=pytest.mark.skipif(ABSENT, reason="no mosquitto binary")), "embedded"]
BATTERY = DeviceSpec("bat-1", "storage", "home", "roof", 1, "sunspec", model={"p_w": 5000}, failsafe="device")
ONLINE, OFFLINE = b"online", b"offline"


class Ear:
    """A client of its own that holds the newest message of every topic of the site."""

    def __init__(self, port: int) -> None:
        self.kept: dict[str, bytes] = {}
        self.retained: set[str] = set()
        self.statuses: list[bytes] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        self._client.on_connect = lambda *_: self._client.subscribe("vpp/#", qos=1)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _take(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.kept[message.topic] = message.payload
        if message.retain:
            self.retained.add(message.topic)
        # amqtt sometimes delivers a retained message twice.
        if message.topic == "vpp/s/service/status" and self.statuses[-1:] != [message.payload]:
            self.statuses.append(message.payload)

    def state(self, device: str) -> dict:
        found = json.loads(self.kept.get(f"vpp/s/{device}/state", b"{}"))
        return found | {"p": found.get("p", {})}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
async def listen(stack):
    async def start(port):
        ear = await asyncio.to_thread(Ear, port)
        stack.push_async_callback(asyncio.to_thread, ear.close)
        return ear

    return start


@pytest.mark.parametrize("kind", KINDS)
async def test_the_service_speaks_for_wired_devices_and_for_itself(
    kind, servers, stack, make_battery, make_sunspec, eventually, listen
):
    spec = await stack.enter_async_context(Broker(kind))
    port, clock = await servers.start([make_sunspec(1, make_battery())]), WallClock()
    gateway = Gateway(
        [LinkSpec("roof", "modbus-tcp", "127.0.0.1", port, 0.3)],
        [BATTERY],
        clock,
        broker=spec,
        site_id="s",
        tick_s=0.1,
        lockstep=False,
        announce=True,
    )
    async with gateway:
        ear = await listen(spec.port)
        await eventually(lambda: ear.state("bat-1").get("connected") is True)
        gateway.order("bat-1", -1500, until_us=clock.now_us() + 60_000_000, reason="t", plan="p")
        await eventually(lambda: ear.state("bat-1")["p"].get("p_set_w") == -1500)
        shown = ear.state("bat-1")
        assert (shown["v"], shown["p"]["set_ena"], shown["alarms"]) == (1, 1, {})
        assert set(shown["p"]) <= set(STATE_POINTS), "measured values are telemetry, and never retained"
        about = json.loads(ear.kept["vpp/s/bat-1/meta"])
        assert about["controls"] == {"p_set_w": [-5000, 5000]}
        assert (about["kind"], about["party"], about["points"]["soc_pu"]) == ("storage", "home", "pu")
        assert ear.kept["vpp/s/service/status"] == ONLINE
        assert gateway.stats.refused_messages == 0, "its own status is not a stranger's"
        late = await listen(spec.port)
        await eventually(lambda: len(late.retained) == 3)
        assert late.retained == {"vpp/s/service/status", "vpp/s/bat-1/state", "vpp/s/bat-1/meta"}
        await servers.stop(port)
        await eventually(lambda: ear.state("bat-1")["connected"] is False)
    await eventually(lambda: ear.kept["vpp/s/service/status"] == OFFLINE)
    assert ear.state("bat-1")["connected"] is False


@pytest.mark.parametrize("kind", KINDS)
async def test_the_last_will_of_a_service_that_vanishes(
    kind, servers, stack, make_battery, make_sunspec, eventually, listen
):
    spec = await stack.enter_async_context(Broker(kind))
    proxy = await stack.enter_async_context(Proxy(Script(("127.0.0.1", 0), (spec.host, spec.port), "mqtt")))
    port = await servers.start([make_sunspec(1, make_battery())])
    links = [LinkSpec("roof", "modbus-tcp", "127.0.0.1", port, 0.3)]
    away = BrokerSpec(port=proxy.port)
    gateway = Gateway(
        links, [BATTERY], WallClock(), broker=away, site_id="s", tick_s=0.1, lockstep=False, announce=True
    )
    await stack.enter_async_context(gateway)
    ear = await listen(spec.port)
    await eventually(lambda: ear.statuses == [ONLINE] and ear.state("bat-1").get("connected") is True)
    about = ear.kept["vpp/s/bat-1/meta"]
    ear.kept.clear()
    proxy.cut()
    await eventually(lambda: ear.kept.keys() >= {"vpp/s/bat-1/meta", "vpp/s/bat-1/state"})
    assert ear.statuses == [ONLINE, OFFLINE, ONLINE], "the will was published, and the service came back"
    assert ear.kept["vpp/s/bat-1/meta"] == about, "the broker may have lost what it kept, so all is said again"
    assert ear.state("bat-1")["connected"] is True, "the wire was never lost"


async def test_home_assistant_finds_the_points_of_devices_on_mqtt(stack, eventually):
    heard = {}
    spec = await stack.enter_async_context(Broker("auto"))
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.on_message = lambda _c, _d, one: heard.update({one.topic: json.loads(one.payload)})
    client.on_connect = lambda one, *_: one.subscribe("homeassistant/#", qos=1)
    client.connect("127.0.0.1", spec.port)
    client.loop_start()
    devices = [
        DeviceSpec("m.1", "meter", "home", mqtt=True),
        DeviceSpec("shelly", "meter", "b", mqtt=True, adapter="shelly-pro3em", topic="sh"),
    ]
    options = {"broker": spec, "site_id": "s", "tick_s": 0.1, "lockstep": False, "announce": True}
    async with Gateway([], devices, WallClock(), **options, home_assistant=True):
        await eventually(lambda: len(heard) == 11)
    await asyncio.to_thread(client.loop_stop)
    power = heard["homeassistant/sensor/vpptwin_s_m_1/p_w/config"]
    assert (power["state_topic"], power["availability_topic"]) == ("vpp/s/m.1/telemetry", "vpp/s/m.1/status")
    assert (power["device_class"], power["unit_of_measurement"], power["state_class"]) == ("power", "W", "measurement")
    assert power["value_template"] == "{{ value_json.p.p_w | default(none) }}"
    assert heard["homeassistant/sensor/vpptwin_s_m_1/e_imp_wh/config"]["state_class"] == "total_increasing"
    assert len({one["unique_id"] for one in heard.values()}) == 11


@pytest.mark.parametrize("kind", KINDS)
async def test_devices_on_mqtt_speak_for_themselves(kind, clock, stack, eventually, listen):
    devices = [
        DeviceSpec("bat", "storage", "home", mqtt=True, model={"e_wh": 6400, "p_w": 5000}, failsafe="device"),
        DeviceSpec("m-1", "meter", "home", mqtt=True),
        DeviceSpec("m-grid", "meter", "grid", mqtt=True, is_grid=True),
    ]
    spec = await stack.enter_async_context(Broker(kind))
    plant = await stack.enter_async_context(Plant([], devices, clock, lambda *_: 500.0, broker=spec, site_id="s"))
    ear = await listen(spec.port)
    gateway = await stack.enter_async_context(Gateway([], devices, clock, broker=spec, site_id="s"))
    await gateway.gather_mqtt(await plant.step(clock.now_us()))
    await eventually(lambda: ear.state("bat")["p"].get("set_ena") == 0 and "vpp/s/m-1/state" in ear.kept)
    gateway.order("bat", 700, until_us=clock.now_us() + 900_000_000, reason="t", plan="p")
    await gateway.settle()
    clock.advance(60)
    await gateway.gather_mqtt(await plant.step(clock.now_us()))
    await eventually(lambda: ear.state("bat")["p"].get("p_set_w") == 700)
    ts = ear.state("bat")["ts"]
    clock.advance(60)
    await gateway.gather_mqtt(await plant.step(clock.now_us()))
    assert ear.state("bat")["ts"] == ts, "said again only when it changes"
    about = json.loads(ear.kept["vpp/s/m-1/meta"])
    assert (about["kind"], about["controls"], about["points"]["e_imp_wh"]) == ("meter", {}, "Wh")
    assert "vpp/s/service/status" not in ear.kept, "nobody is told of a service in lockstep"
    # What a broker kept is old: a measured value in it is nobody's reading.
    assert gateway.stats.refused_messages == 0


def test_a_state_holds_finite_states_and_nothing_measured():
    state = State.of({"p_w": 5.0, "p_set_w": 7.4, "mode": None, "p_max_w": float("inf"), "alarm": 3})
    assert json.loads(state.payload(1_500_000)) == {
        "v": 1, "ts": 1.5, "connected": True, "p": {"p_set_w": 7, "alarm": 3}, "alarms": {},
    }  # fmt: skip
    pv = DeviceSpec("pv", "pv", "home", "roof", 1, "sunspec")
    assert json.loads(meta(pv, (0.0, float("inf"))))["controls"] == {"p_max_w": None}
