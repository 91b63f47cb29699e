"""MQTT telemetry through a real broker: what is taken, what is refused, what is counted."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as mqtt

from devices.broker import Broker
from devices.description import BrokerSpec, DeviceSpec
from devices.gateway import Gateway, GatewayStalled
from devices.gateway.payload import PayloadError, telemetry
from devices.readings import Quality

METERS = [DeviceSpec("meter-1", "meter", "home-1", mqtt=True), DeviceSpec("meter-2", "meter", "home-2", mqtt=True)]
TOPIC = "vpp/homes/meter-1/telemetry"


def message(seq, p_w=-500.0, ts=1_473_058_800.0, **extra):
    return json.dumps({"v": 1, "ts": ts + seq, "seq": seq, "q": "good", "p": {"p_w": p_w, "e_imp_wh": seq}} | extra)


@pytest.fixture
async def meter(mosquitto):
    """A publisher of its own connection."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    yield client
    client.disconnect()
    await asyncio.to_thread(client.loop_stop)


@pytest.fixture
async def gateway(mosquitto, clock, stack):
    broker = BrokerSpec(port=mosquitto.port)
    return await stack.enter_async_context(
        Gateway([], METERS, clock, broker=broker, site_id="homes", guard_s=5, lockstep=True)
    )


async def test_expected_telemetry_is_waited_for_and_sorted(gateway, meter):
    for device in ("meter-2", "meter-1"):
        for seq in (0, 1):
            meter.publish(f"vpp/homes/{device}/telemetry", message(seq), qos=1)
    readings = await gateway.gather_mqtt({"meter-1": 1, "meter-2": 1})
    assert [(reading.device, reading.seq) for reading in readings] == [
        ("meter-1", 0),
        ("meter-1", 1),
        ("meter-2", 0),
        ("meter-2", 1),
    ]
    assert readings[0].ts_us == 1_473_058_800_000_000
    assert dict(readings[1].values) == {"p_w": -500.0, "e_imp_wh": 1}
    assert gateway.freeze().value("meter-1", "p_w", 1e12) == -500.0
    assert (gateway.stats.received, gateway.stats.lost, gateway.stats.missing) == (4, 0, 0)


async def test_what_never_comes_stalls_the_gateway_by_name(gateway, meter):
    gateway._guard_s = 0.2
    meter.publish(TOPIC, message(0), qos=1)
    with pytest.raises(GatewayStalled, match="meter-2"):
        await gateway.gather_mqtt({"meter-1": 0, "meter-2": 0})


async def test_rubbish_is_counted_and_never_raised(gateway, meter):
    rubbish = [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b'{"v":1,"ts":1,"seq":1,"p":{"p_w":NaN}}',
        b'{"v":1,"ts":1,"seq":1,"p":{"p_w":1e999}}',
        b'{"v":1,"ts":1,"seq":1,"p":{"p_w":true}}',
        b'{"v":1,"ts":1,"seq":true,"p":{"p_w":1}}',
        b'{"v":1,"ts":1,"seq":-1,"p":{"p_w":1}}',
        b'{"v":2,"ts":1,"seq":1,"p":{"p_w":1}}',
        b'{"v":1,"ts":1,"seq":1,"q":"fine","p":{"p_w":1}}',
        b'{"v":1,"ts":-1,"seq":1,"p":{"p_w":1}}',
        b'{"v":1,"ts":1,"seq":1,"p":{"p_w":"1"}}',
        b'{"v":1,"ts":1,"seq":1,"p":' + b'{"a":' * 20000 + b"}",
        message(1).encode() + b" " * 70_000,
    ]
    for payload in rubbish:
        meter.publish(TOPIC, payload, qos=1)
    meter.publish("vpp/homes/stranger/telemetry", message(1), qos=1)
    meter.publish(TOPIC, message(5), qos=1)
    readings = await gateway.gather_mqtt({"meter-1": 5})
    assert [reading.seq for reading in readings] == [5]
    assert gateway.stats.refused_messages == len(rubbish) + 1


async def test_a_megabyte_is_refused(gateway, meter):
    meter.publish(TOPIC, b"x" * 1_000_000, qos=1)
    meter.publish(TOPIC, message(1), qos=1)
    assert len(await gateway.gather_mqtt({"meter-1": 1})) == 1
    assert gateway.stats.refused_messages == 1


async def test_duplicates_and_late_messages_are_dropped_and_gaps_are_lost(gateway, meter):
    for seq in (3, 3, 2, 4, 8):
        meter.publish(TOPIC, message(seq), qos=1)
    readings = await gateway.gather_mqtt({"meter-1": 8})
    assert [reading.seq for reading in readings] == [3, 4, 8]
    assert (gateway.stats.duplicates, gateway.stats.lost) == (2, 3)


async def test_a_restarted_meter_counts_from_zero_again(gateway, meter, eventually):
    meter.publish(TOPIC, message(100), qos=1)
    await gateway.gather_mqtt({"meter-1": 100})
    meter.publish(TOPIC, message(0, ts=1_473_059_900.0), qos=1)
    await eventually(lambda: gateway.stats.received == 2)
    assert gateway.freeze().readings["meter-1"].seq == 0
    assert gateway.stats.lost == 0


async def test_retained_telemetry_is_refused(mosquitto, meter, clock, stack, eventually):
    meter.publish(TOPIC, message(1), qos=1, retain=True).wait_for_publish(5)
    meter.publish("vpp/homes/meter-1/status", "online", qos=1, retain=True).wait_for_publish(5)
    gateway = await stack.enter_async_context(
        Gateway([], METERS, clock, broker=BrokerSpec(port=mosquitto.port), site_id="homes")
    )
    await eventually(lambda: gateway.stats.refused_messages == 1)
    assert gateway.stats.received == 0
    await eventually(lambda: gateway.stats.devices["meter-1"].connected)


async def test_a_lost_broker_ends_the_wait_and_counts_missing_once(gateway, mosquitto, meter, eventually):
    meter.publish(TOPIC, message(0), qos=1)
    await gateway.gather_mqtt({"meter-1": 0})
    await mosquitto.stop()
    started_s = time.monotonic()
    await gateway.gather_mqtt({"meter-1": 1, "meter-2": 1})
    assert time.monotonic() - started_s < 3
    assert gateway.stats.missing == 2
    await mosquitto.start()
    await eventually(lambda: gateway._ingest.session.connected)
    await eventually(meter.is_connected)
    # Number 1 never comes: it was counted as missing above and is not lost now.
    meter.publish(TOPIC, message(2), qos=1)
    await gateway.gather_mqtt({"meter-1": 2})
    assert (gateway.stats.missing, gateway.stats.lost, gateway.stats.received) == (2, 0, 2)


async def test_a_reading_that_no_broker_took_is_missing_and_never_counted_again(gateway, clock, meter, caplog):
    caplog.set_level("INFO", "devices")
    meter.publish(TOPIC, message(0), qos=1)
    await gateway.gather_mqtt({"meter-1": 0})
    for _ in range(3):
        clock.advance(60)
        assert await gateway.gather_mqtt({"meter-1": None}) == []
    assert (gateway.stats.missing, gateway.stats.lost) == (3, 0)
    clock.advance(60)
    # Numbers 1 to 3 were sampled while there was no connection.
    meter.publish(TOPIC, message(4, ts=1_473_058_800.0 + 236), qos=1)
    assert [reading.seq for reading in await gateway.gather_mqtt({"meter-1": 4})] == [4]
    assert (gateway.stats.missing, gateway.stats.lost, gateway.stats.received) == (3, 0, 2)
    assert caplog.text.count("meter-1: no telemetry") == caplog.text.count("meter-1 answers again") == 1
    meter.publish(TOPIC, message(6, ts=1_473_058_800.0 + 294), qos=1)
    await gateway.gather_mqtt({"meter-1": 6})
    assert (gateway.stats.missing, gateway.stats.lost) == (3, 1), "a gap while the link is up is a loss"


async def test_a_meter_that_was_dead_resumes_its_count_and_stays_missing(gateway, clock, meter):
    meter.publish(TOPIC, message(0), qos=1)
    await gateway.gather_mqtt({"meter-1": 0})
    for _ in range(3):
        clock.advance(60)
        await gateway.gather_mqtt({"meter-1": None})
    clock.advance(60)
    meter.publish(TOPIC, message(1, ts=1_473_058_800.0 + 239), qos=1)
    await gateway.gather_mqtt({"meter-1": 1})
    assert (gateway.stats.missing, gateway.stats.lost, gateway.stats.received) == (3, 0, 2)


async def test_a_message_sent_again_does_not_make_an_outage_a_loss(gateway, clock, mosquitto, meter, eventually):
    meter.publish(TOPIC, message(0), qos=1)
    await gateway.gather_mqtt({"meter-1": 0})
    await mosquitto.stop()
    await gateway.gather_mqtt({"meter-1": 1})
    clock.advance(600)
    await mosquitto.start()
    await eventually(lambda: gateway._ingest.session.connected)
    await eventually(meter.is_connected)
    # The meter repeats what nobody acknowledged, then goes on; what it sampled in between is gone.
    meter.publish(TOPIC, message(1), qos=1)
    meter.publish(TOPIC, message(11, ts=1_473_058_800.0 + 600), qos=1)
    await gateway.gather_mqtt({"meter-1": 11})
    assert (gateway.stats.missing, gateway.stats.lost, gateway.stats.received) == (9, 0, 3)


async def test_an_absent_broker_is_not_fatal(clock, stack, monkeypatch):
    monkeypatch.setattr("devices.gateway.session.START_S", 0.1)
    gateway = await stack.enter_async_context(Gateway([], METERS, clock, broker=BrokerSpec(port=1), site_id="homes"))
    assert await gateway.gather_mqtt({"meter-1": 0}) == []
    assert gateway.stats.missing == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_embedded_broker_is_spoken_to_in_3_1_1(clock, stack):
    spec = await stack.enter_async_context(Broker("embedded"))
    gateway = await stack.enter_async_context(Gateway([], METERS, clock, broker=spec, site_id="homes", guard_s=5))
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    client.connect(spec.host, spec.port)
    client.loop_start()
    client.publish(TOPIC, message(7), qos=1)
    readings = await gateway.gather_mqtt({"meter-1": 7})
    client.disconnect()
    await asyncio.to_thread(client.loop_stop)
    assert [reading.seq for reading in readings] == [7]


async def test_a_burst_of_ten_thousand_is_taken_whole(gateway, meter):
    started_s = time.monotonic()
    for seq in range(10_000):
        meter.publish(TOPIC, message(seq), qos=0)
    meter.publish(TOPIC, message(10_000), qos=1)
    readings = await gateway.gather_mqtt({"meter-1": 10_000})
    assert len(readings) + gateway.stats.lost == 10_001
    assert gateway.stats.dropped == 0
    assert time.monotonic() - started_s < 5


@given(payload=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_the_decoder_raise_anything_else(payload):
    with pytest.raises(PayloadError):
        telemetry(payload)


@given(
    p_w=st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12),
    wh=st.integers(0, 10**15),
    seq=st.integers(0, 2**53),
    state=st.sampled_from(["good", "stale", "sub", "bad"]),
)
def test_values_are_rounded_to_their_quanta(p_w, wh, seq, state):
    points = {"p_w": p_w, "e_imp_wh": wh, "u1_v": 230.04, "colour": 1}
    found = telemetry(json.dumps({"v": 1, "ts": 5.5, "seq": seq, "q": state, "p": points}).encode())
    assert found.values() == {"p_w": float(round(p_w)), "e_imp_wh": wh, "u1_v": 230.0}
    assert (found.ts_us, found.seq) == (5_500_000, seq)
    assert found.quality() is {"good": Quality.GOOD, "stale": Quality.STALE, "sub": Quality.SUBSTITUTED}.get(
        state, Quality.BAD
    )


def test_telemetry_without_power_is_bad():
    assert telemetry(b'{"v":1,"ts":1,"seq":1,"p":{"f_hz":50}}').quality() is Quality.BAD
