"""Orders over MQTT, foreign meters, shared ingest and a locked broker: everything on a real mosquitto."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import shutil
import subprocess
import threading
from contextlib import AsyncExitStack, asynccontextmanager

import paho.mqtt.client as paho
import pytest

from devices.adapter import AdapterError, Status, load_adapter, shipped_adapters
from devices.description import BrokerSpec, DeviceSpec
from devices.emulator import Plant
from devices.gateway import Gateway
from devices.gateway.ingest import Ingest
from devices.gateway.stats import Stats
from devices.orders import OrderError, ack, command
from devices.security import SecurityError, password_line, write_security

NOW = dt.datetime.now(dt.UTC)
BAT = DeviceSpec("bat", "storage", "home", mqtt=True, model={"e_wh": 6400, "p_w": 5000}, failsafe="device")
DEVICES = [
    BAT,
    DeviceSpec("m-1", "meter", "home", mqtt=True),
    DeviceSpec("m-grid", "meter", "grid", mqtt=True, is_grid=True),
]


class Loop:
    """An emulated plant that is only on MQTT, and the gateway before it, in lockstep."""

    def __init__(self, clock, plant, gateway, journal):
        self.clock, self.plant, self.gateway, self.journal = clock, plant, gateway, journal

    async def tick(self, value_w=None):
        self.clock.advance(60)
        expected = await self.plant.step(self.clock.now_us())
        readings = await self.gateway.gather_mqtt(expected)
        if value_w is not None:
            until_us = self.clock.now_us() + 900_000_000
            self.gateway.order("bat", value_w, until_us=until_us, slot_us=1, reason="t", plan="p")
        await self.gateway.settle()
        return {reading.device: reading.values for reading in readings}


@asynccontextmanager
async def looped(clock, spec, gateway_spec=None):
    journal = []
    async with AsyncExitStack() as stack:
        plant = Plant([], DEVICES, clock, lambda *_: 500.0, broker=spec, site_id="s")
        await stack.enter_async_context(plant)
        await plant.step(clock.now_us())
        made = Gateway([], DEVICES, clock, broker=gateway_spec or spec, site_id="s", journal=journal.append)
        yield Loop(clock, plant, await stack.enter_async_context(made), journal)


async def test_an_order_over_mqtt_is_acknowledged_followed_refreshed_and_released(mosquitto, clock):
    async with looped(clock, BrokerSpec(port=mosquitto.port)) as loop:
        await loop.tick(-2500)
        shown = (await loop.tick(-2500))["bat"]
        assert (shown["p_set_w"], shown["set_ena"], shown["p_w"]) == (-2500, 1, -2500)
        await loop.tick(-2500)
        states = [line.state for line in loop.journal]
        assert states == ["queued", "sent", "acked", "verified", "refreshed"]
        assert loop.plant.units["bat"].command.p_set_w == -2500
        assert await loop.gateway.release_all() == []
        assert loop.plant.units["bat"].command.p_set_w is None
        assert loop.gateway.stats.verified == 1


async def test_an_order_expires_in_the_broker_and_is_not_kept(mosquitto, clock):
    async with looped(clock, BrokerSpec(port=mosquitto.port)) as loop:
        got, client = [], paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        ready = threading.Event()
        client.on_connect = lambda one, *_: one.subscribe("vpp/s/+/cmd/+", qos=1)
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda _c, _d, one: got.append(one)
        client.connect("127.0.0.1", mosquitto.port)
        client.loop_start()
        assert await asyncio.to_thread(ready.wait, 5)
        await loop.tick(700)
        for _ in range(100):
            if got:
                break
            await asyncio.sleep(0.02)
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
        (order,) = got
        assert (order.topic, order.qos, order.retain) == ("vpp/s/bat/cmd/p_set_w", 1, False)
        payload = command(order.payload)
        assert order.properties.MessageExpiryInterval == payload.exp - payload.ts == 180, "the lease"
        assert await asyncio.to_thread(heard, mosquitto.port, ["vpp/s/+/cmd/#"], [], seconds=0.3) == [], (
            "never retained"
        )


async def test_without_refresh_the_device_reverts_by_itself(mosquitto, clock):
    async with looped(clock, BrokerSpec(port=mosquitto.port)) as loop:
        await loop.tick(1000)
        clock.advance(181)
        await loop.plant.step(clock.now_us())
        assert loop.plant.units["bat"].command.p_set_w is None


def heard(port, topics, messages, user=None, password=None, ca=None, seconds=0.6):
    """What one client hears on `topics` after publishing `messages` (topic, payload, retain); its v5 properties too."""
    got = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    if user:
        client.username_pw_set(user, password)
    if ca:
        client.tls_set(ca_certs=str(ca))
    client.on_message = lambda _c, _d, one: got.append((one.topic, one.payload, one.retain))
    client.on_connect = lambda one, *_: [one.subscribe(topic, qos=1) for topic in topics]
    client.on_subscribe = lambda one, *_: [one.publish(*message[:2], qos=1, retain=message[2]) for message in messages]
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        threading.Event().wait(seconds)
    finally:
        client.disconnect()
        client.loop_stop()
    return got


def cmd(clock, **changes):
    now_s = clock.now_us() / 1e6
    return json.dumps({"v": 1, "id": "x", "ts": now_s, "exp": now_s + 60, "p_set_w": 700, "revert_s": 60} | changes)


@pytest.mark.parametrize(
    ("change", "retain", "state"),
    [
        ({}, False, "applied"),
        ({"exp": 0}, False, "expired"),
        ({"p_set_w": 1e301}, False, "rejected"),
        ({"p_set_w": True}, False, None),
        ({"p_set_w": "700"}, False, None),
        ({"v": 2}, False, None),
    ],
)
async def test_a_device_says_what_became_of_a_command(mosquitto, clock, change, retain, state):
    async with looped(clock, BrokerSpec(port=mosquitto.port)) as loop:
        message = ("vpp/s/bat/cmd/p_set_w", cmd(clock, **change), retain)
        got = await asyncio.to_thread(heard, mosquitto.port, ["vpp/s/bat/ack/#"], [message])
        assert [json.loads(payload)["state"] for _, payload, _ in got] == ([state] if state else [])
        assert (loop.plant.units["bat"].command.p_set_w == 700) == (state == "applied")


async def test_a_retained_command_is_refused_by_the_device(mosquitto, clock):
    await asyncio.to_thread(heard, mosquitto.port, ["x"], [("vpp/s/bat/cmd/p_set_w", cmd(clock), True)], seconds=0.3)
    async with looped(clock, BrokerSpec(port=mosquitto.port)) as loop:
        await asyncio.sleep(0.2)
        assert loop.plant.units["bat"].command.p_set_w is None


def test_payloads_of_orders_are_exact():
    good = b'{"v":1,"id":"a","ts":1,"exp":2,"p_set_w":-5}'
    assert command(good).value("p_set_w") == -5
    with pytest.raises(OrderError, match="no p_max_w"):
        command(good).value("p_max_w")
    spoiled = (good.replace(b"-5", b"NaN"), good.replace(b"1,", b"true,", 1), good + b" " * 70_000)
    for bad in (b"{}", b"\xff", b"[]", *spoiled):
        with pytest.raises(OrderError):
            command(bad)
    assert ack(b'{"id":"a","state":"applied","readback":1}').readback == 1
    with pytest.raises(OrderError):
        ack(b'{"id":"a","state":"done"}')


# ---- the locked broker --------------------------------------------------------------------------------------------


@asynccontextmanager
async def locked(require, folder, port, tls):
    made = write_security(folder, "s", ["bat", "m-1", "m-grid", "other"], wired=["pv"], port=port, tls=tls, now=NOW)
    process = await asyncio.create_subprocess_exec(
        require("mosquitto"), "-c", str(made.conf), stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            break
        words = {name: word for name, word in made.passwords.items() if name != "service"}
        ca = str(made.tls_ca) if made.tls_ca else None
        devices = BrokerSpec(port=port, passwords=words, tls_ca=ca)
        yield devices, BrokerSpec(port=port, username="service", password=made.passwords["service"], tls_ca=ca)
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("tls", [False, True])
async def test_plant_and_service_work_on_a_locked_broker(require, clock, tmp_path, unused_tcp_port, tls):
    async with (
        locked(require, tmp_path / "broker", unused_tcp_port, tls) as (devices, service),
        looped(clock, devices, service) as loop,
    ):
        readings = await loop.tick(800)
        assert set(readings) == {"bat", "m-1", "m-grid"}
        assert loop.gateway.stats.verified == 1


async def in_turn(*trials):
    """Three at a time: each of them waits in two threads."""
    return [held for k in range(0, len(trials), 3) for held in await asyncio.gather(*trials[k : k + 3])]


async def test_the_access_list_holds_on_a_real_broker(require, tmp_path, unused_tcp_port):
    port = unused_tcp_port
    async with locked(require, tmp_path / "broker", port, False) as (devices, service):
        words = dict(devices.passwords) | {"service": service.password}

        async def passed(sender, topic, listener, *, retain=False):
            """Whether a message of `sender` on `topic` reaches `listener`."""
            hearing = asyncio.create_task(
                asyncio.to_thread(heard, port, [topic], [], listener, words[listener], seconds=0.8)
            )
            await asyncio.sleep(0.3)
            await asyncio.to_thread(heard, port, ["x"], [(topic, b"1", retain)], sender, words[sender], seconds=0.2)
            return bool(await hearing)

        allowed = await in_turn(
            passed("bat", "vpp/s/bat/telemetry", "service"),
            passed("bat", "vpp/s/bat/ack/p_set_w", "service"),
            passed("service", "vpp/s/bat/cmd/p_set_w", "bat"),
            *(passed("bat", f"vpp/s/bat/{leaf}", "service") for leaf in ("state", "meta", "status")),
            *(passed("service", f"vpp/s/{topic}", "service") for topic in ("pv/state", "pv/meta", "service/status")),
        )
        refused = await in_turn(
            passed("bat", "vpp/s/bat/cmd/p_set_w", "bat"),
            passed("bat", "vpp/s/bat/cmd/p_set_w", "service"),
            passed("bat", "vpp/s/other/cmd/p_set_w", "other"),
            passed("service", "vpp/s/other/cmd/p_set_w", "bat"),
            passed("bat", "vpp/s/other/telemetry", "service"),
            passed("service", "vpp/s/bat/telemetry", "service"),
            passed("service", "vpp/s/bat/state", "service"),
            passed("bat", "vpp/s/pv/state", "service"),
            passed("bat", "vpp/s/service/status", "service"),
            passed("other", "vpp/s/other/telemetry", "bat"),
        )
        assert (allowed, refused) == ([True] * 9, [False] * 10)
        reasons = []
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.on_connect = lambda _c, _d, _f, reason, _p: reasons.append(str(reason))
        client.connect("127.0.0.1", port)
        for _ in range(20):
            client.loop(0.05)
        assert reasons[:1] == ["Not authorized"], "nobody comes in without a name"


def test_security_files_are_private_and_never_overwritten(tmp_path):
    made = write_security(tmp_path / "b", "s", ["bat"], now=NOW)
    for name in ("passwords", "secrets.txt", "acl", "server.key"):
        assert (tmp_path / "b" / name).stat().st_mode & 0o077 == 0
    assert len(set(made.passwords.values())) == 2
    assert all(word not in (tmp_path / "b" / "passwords").read_text() for word in made.passwords.values())
    with pytest.raises(SecurityError, match="holds files"):
        write_security(tmp_path / "b", "s", ["bat"], now=NOW)
    for wrong in (["service"], ["a/b"], ["+"], ["a", "a"]):
        with pytest.raises(SecurityError):
            write_security(tmp_path / "c", "s", wrong, now=NOW)
    with pytest.raises(SecurityError, match="in the clear"):
        write_security(tmp_path / "d", "s", ["bat"], host="10.0.0.1", tls=False, now=NOW)


def test_password_lines_are_those_of_mosquitto_passwd(tmp_path):
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed")
    path = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", str(path), "bat", "secret"], check=True, capture_output=True)
    theirs = path.read_text()
    salt = base64.b64decode(theirs.split("$")[3])
    assert password_line("bat", "secret", salt) == theirs


# ---- foreign meters and shared ingest -------------------------------------------------------------------------------

SHELLY_EM = {
    "id": 0, "a_current": 4.029, "a_voltage": 236.1, "a_act_power": 951.2, "a_freq": 50, "b_current": 4.027,
    "b_voltage": 236.2, "c_current": 3.03, "c_voltage": 236.3, "total_current": 11.116, "total_act_power": 2484.782,
}  # fmt: skip
SHELLY_DATA = {"id": 0, "total_act": 12345.6, "total_act_ret": 78.9}


def test_a_shelly_pro_3em_sends_statuses_and_partial_changes():
    meter = Status(load_adapter("shelly-pro3em"), "shelly-1")
    assert meter.take("shelly-1/status/emdata:0", json.dumps(SHELLY_DATA).encode()) is None
    _, values = meter.take("shelly-1/status/em:0", json.dumps(SHELLY_EM).encode())
    assert values == {
        "p_w": -2485, "u1_v": 236.1, "u2_v": 236.2, "u3_v": 236.3, "i1_a": 4.03, "i2_a": 4.03, "i3_a": 3.03,
        "f_hz": 50, "e_imp_wh": 12346, "e_exp_wh": 79,
    }  # fmt: skip
    change = {"src": "x", "method": "NotifyStatus", "params": {"ts": 1700000000.5, "em:0": {"total_act_power": -300.4}}}
    time_s, values = meter.take("shelly-1/events/rpc", json.dumps(change).encode())
    assert (time_s, values["p_w"], values["u1_v"], values["e_imp_wh"]) == (1700000000.5, 300, 236.1, 12346)
    assert meter.take("shelly-1/events/rpc", json.dumps(change | {"method": "NotifyEvent"}).encode()) is None


def test_a_tasmota_meter_of_one_or_three_phases():
    meter = Status(load_adapter("tasmota"), "plug", is_grid=True)
    one = {"Time": "2026-11-21T10:00:00", "ENERGY": {"Total": 3.185, "Power": 21.4, "Voltage": 226, "Current": 0.107}}
    time_s, values = meter.take("tele/plug/SENSOR", json.dumps(one).encode())
    assert time_s is None, "its time names no zone"
    assert values == {"p_w": 21, "u1_v": 226, "i1_a": 0.11, "e_exp_wh": 3185}, "the grid gives what the site imports"
    three = {"ENERGY": {"Power": -5, "Voltage": [230, 231, 232]}}
    found = meter.take("tele/plug/SENSOR", json.dumps(three).encode())
    assert found[1] == {"p_w": -5, "u1_v": 230, "u2_v": 231, "u3_v": 232}
    assert meter.take("tele/plug/SENSOR", b'{"ENERGY": {"Power": true}}') is None
    for bad in (b"\xff", b"[]", b"{", b"{}" + b" " * 70_000):
        with pytest.raises(AdapterError):
            meter.take("tele/plug/SENSOR", bad)


async def test_foreign_meters_over_a_real_broker(mosquitto, clock, stack, eventually):
    devices = [
        DeviceSpec("shelly", "meter", "a", mqtt=True, adapter="shelly-pro3em", topic="sh"),
        DeviceSpec("plug", "meter", "b", mqtt=True, adapter="tasmota", topic="pl"),
    ]
    gateway = Gateway([], devices, clock, broker=BrokerSpec(port=mosquitto.port))
    await stack.enter_async_context(gateway)
    ts = clock.now_us() / 1e6
    delta = {"method": "NotifyStatus", "params": {"ts": ts, "em:0": {"total_act_power": 5.2}}}
    await asyncio.to_thread(
        heard,
        mosquitto.port,
        ["x"],
        [
            ("sh/online", b"true", True),
            ("sh/events/rpc", json.dumps(delta), False),
            ("tele/pl/SENSOR", json.dumps({"ENERGY": {"Power": 9}}), False),
            ("tele/pl/SENSOR", b"no json", False),
        ],
    )
    await eventually(lambda: gateway.stats.received == 2)
    readings = {one.device: one for one in await gateway.poll()}
    assert (readings["shelly"].values["p_w"], readings["plug"].values["p_w"]) == (-5, -9)
    assert {one.ts_us for one in readings.values()} == {clock.now_us()}
    assert gateway.stats.refused_messages == 1
    assert shipped_adapters() == ("shelly-pro3em", "tasmota")


async def test_several_ingest_processes_share_the_messages_and_lose_none(mosquitto, clock, stack, eventually):
    got = {"one": [], "two": []}
    for name, taken in got.items():
        ingest = Ingest(
            BrokerSpec(port=mosquitto.port), "s", ["m"], Stats(), taken.append, clock.now_us, share="ingest", name=name
        )
        await stack.enter_async_context(ingest)
    ts = clock.now_us() / 1e6
    messages = [
        ("vpp/s/m/telemetry", json.dumps({"v": 1, "ts": ts + k, "seq": k, "p": {"p_w": k}}), False) for k in range(200)
    ]
    await asyncio.to_thread(heard, mosquitto.port, ["x"], messages)
    await eventually(lambda: sum(map(len, got.values())) == 200)
    assert sorted(one.seq for taken in got.values() for one in taken) == list(range(200))
    assert all(len(taken) > 20 for taken in got.values())
