"""The specification's list of faults to survive, each through the proxy or an emulator, with real sockets.

Faults of control (controller dies, restart, two masters, acknowledged but not applied) are in test_gateway_terms,
test_safety and emulator/test_behaviour; rubbish over MQTT in test_gateway_ingest and test_mqtt_orders.
"""

from __future__ import annotations

import asyncio
import json
import resource
import struct
import time

import paho.mqtt.client as paho
import pytest

from devices.description import BrokerSpec, DeviceSpec, LinkSpec
from devices.emulator import Plant
from devices.gateway import Gateway
from devices.modbus import ModbusLink
from devices.proxy import Fault, Proxy, Script
from devices.readings import Quality

TIMEOUT_S = 0.15
SPEC = DeviceSpec("bat", "storage", "home", "roof", 2, "sunspec", model={"p_w": 5000})

BATTERY = DeviceSpec("bat", "storage", "home", "roof", 1, "sunspec", model={"e_wh": 6400, "p_w": 5000})


class WallClock:
    def now_us(self):
        return time.time_ns() // 1000

    async def sleep_until_us(self, t_us):
        await asyncio.sleep(max(t_us - self.now_us(), 0) / 1e6)


class Rig:
    """A battery behind the proxy, polled in lockstep."""

    def __init__(self, clock, image, proxy, gateway):
        self.clock, self.image, self.proxy, self.gateway = clock, image, proxy, gateway

    async def tick(self, seconds=60):
        self.clock.advance(seconds)
        readings = await self.gateway.poll()
        return readings[0] if readings else None

    @property
    def counts(self):
        stats = self.gateway.stats
        return stats.received, stats.missing, stats.lost


@pytest.fixture
async def rig(servers, clock, stack, make_battery, make_sunspec):
    image = make_battery()
    port = await servers.start([make_sunspec(2, image)])
    proxy = await stack.enter_async_context(Proxy(Script(("127.0.0.1", 0), ("127.0.0.1", port))))
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", proxy.port, TIMEOUT_S)
    gateway = await stack.enter_async_context(Gateway([link], [SPEC], clock))
    made = Rig(clock, image, proxy, gateway)
    assert (await made.tick()).values["p_w"] == -1200
    return made


async def battery_plant(clock, stack, timeout_s):
    """A battery as an emulated plant has it, alone on its link."""
    others = [
        DeviceSpec("m", "meter", "home", mqtt=True),
        DeviceSpec("g", "meter", "grid", "feeder", 1, "eastron-sdm630", is_grid=True),
    ]
    links = [LinkSpec(name, "modbus-tcp", "127.0.0.1", 0, timeout_s) for name in ("roof", "feeder")]
    plant = await stack.enter_async_context(Plant(links, [BATTERY, *others], clock, lambda *_: 0.0))
    await plant.step(clock.now_us())
    return plant


OUTAGES = {
    "refused connection": Fault("refuse"),
    "accepts, never answers": Fault("black_hole"),
    "half open": Fault("half_open"),
    "reset": Fault("reset"),
    "cut off in the middle": Fault("truncate", size=7),
    "reply never comes": Fault("drop"),
    "reply comes late": Fault("delay", seconds=2 * TIMEOUT_S),
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_outage_is_counted_as_missing_and_ends_by_itself(rig, name):
    rig.proxy.faults = (OUTAGES[name],)
    assert await rig.tick() is None
    assert rig.counts == (1, 1, 0)
    assert not rig.gateway.stats.devices["bat"].connected
    rig.image.set(701, {"W": -700})
    rig.proxy.faults = ()
    assert (await rig.tick()).values["p_w"] == -700, "never the late answer to an earlier question"
    assert rig.counts == (2, 1, 0)


GARBLED = ("wrong_transaction", "wrong_unit", "wrong_function", "wrong_protocol", "short", "long")


@pytest.mark.parametrize("kind", GARBLED)
async def test_a_reply_of_another_request_is_never_a_value(rig, kind):
    rig.proxy.faults = (Fault(kind),)
    assert await rig.tick() is None
    assert sum(rig.counts[1:]) == 1
    rig.proxy.faults = ()
    assert (await rig.tick()).values["p_w"] == -1200


@pytest.mark.parametrize(
    "fault", [Fault("split", size=20), Fault("split", size=100), Fault("split", size=1, way="request")]
)
async def test_partial_segments_are_put_together(rig, fault):
    rig.proxy.faults = (fault,)
    assert (await rig.tick()).values["p_w"] == -1200
    assert rig.counts == (2, 0, 0)


async def test_merged_segments_of_two_replies_are_told_apart(rig):
    """The late reply of a poll that was given up arrives in one segment with the next one's."""
    rig.proxy.faults = (Fault("merge", size=2, seconds=9),)
    await rig.tick()
    rig.image.set(701, {"W": -800})
    rig.proxy.faults = ()
    assert (await rig.tick()).values["p_w"] == -800


@pytest.mark.parametrize("code", [1, 2, 3])
async def test_a_configuration_fault_is_not_hammered(rig, code):
    rig.proxy.faults = (Fault("exception", code=code),)
    assert await rig.tick() is None
    asked = rig.proxy.seen.requests
    for _ in range(4):
        assert await rig.tick() is None
    assert rig.proxy.seen.requests == asked, "five minutes of silence"
    assert rig.counts == (1, 4, 1)
    assert f"exception {code}" in rig.gateway.stats.devices["bat"].last_error
    rig.proxy.faults = ()
    await rig.tick()
    assert (await rig.tick()).values["p_w"] == -1200


@pytest.mark.parametrize("code", [4, 5, 6, 10, 11])
async def test_a_busy_device_is_asked_again_at_the_next_cycle(rig, code):
    rig.proxy.faults = (Fault("exception", code=code),)
    assert await rig.tick() is None
    assert rig.counts == (1, 0, 1)
    rig.proxy.faults = ()
    assert (await rig.tick()).values["p_w"] == -1200


async def test_a_device_slower_than_its_period_skips_cycles_and_queues_none(servers, stack, make_battery, make_sunspec):
    port = await servers.start([make_sunspec(2, make_battery())])
    script = Script(("127.0.0.1", 0), ("127.0.0.1", port))
    proxy = await stack.enter_async_context(Proxy(script))
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", proxy.port, 1.0)
    gateway = Gateway([link], [SPEC], WallClock(), tick_s=0.1, lockstep=False)
    await stack.enter_async_context(gateway)
    while not gateway.stats.received:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    proxy.faults = (Fault("delay", seconds=0.15),)
    before = gateway.stats.received, gateway.stats.lost
    await asyncio.sleep(1.2)
    received, lost = gateway.stats.received - before[0], gateway.stats.lost - before[1]
    assert 2 <= received <= 8, "one request takes more than its period"
    assert lost >= 2
    assert received + lost <= 13, "twelve due times, none asked twice"
    proxy.faults = ()


SPOILED = {
    "sentinel for not available": ("W", 0x8000),
    "scale factor not available": ("W_SF", 0x8000),
    "scale factor out of range": ("W_SF", 12),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_what_is_no_value_is_missing_and_never_zero(rig, name):
    point, word = SPOILED[name]
    rig.image.write(rig.image.address(701, point), [word])
    reading = await rig.tick()
    assert "p_w" not in reading.values
    assert reading.quality is Quality.BAD
    assert reading.values["soc_pu"] == 0.5, "the rest is good"
    assert rig.gateway.freeze().value("bat", "p_w", 60) is None


async def test_nan_and_out_of_range_floats_of_a_map_are_missing(servers, clock, stack, make_mapped):
    unit = make_mapped(1, "eastron-sdm630", {"p_w": 500.0})
    port = await servers.start([unit])
    spec = DeviceSpec("m", "meter", "home", "line", 1, "eastron-sdm630")
    link = LinkSpec("line", "modbus-tcp", "127.0.0.1", port, TIMEOUT_S)
    gateway = await stack.enter_async_context(Gateway([link], [spec], clock))
    assert "p_w" in (await gateway.poll())[0].values
    for value in (float("nan"), float("inf"), -float("inf"), 9e9):
        unit.registers["i"][1][0x34:0x36] = struct.unpack(">HH", struct.pack(">f", value))
        clock.advance(60)
        (reading,) = await gateway.poll()
        assert "p_w" not in reading.values
        assert reading.quality is Quality.BAD


async def test_a_power_beyond_three_times_the_rating_is_not_believed(rig):
    rig.image.set(701, {"W": 20_000})
    reading = await rig.tick()
    assert (reading.quality, "p_w" in reading.values) == (Quality.BAD, False)
    assert rig.gateway.stats.implausible == 1
    assert "not believed: p_w" in rig.gateway.stats.devices["bat"].last_error


async def test_a_torn_counter_is_held_back_and_a_real_change_is_believed_the_second_time(rig):
    """Torn: the high word of a 64-bit counter is read before a carry, the low word after it."""
    seen = []
    for wh in (1240, 1250 + 65536, 1260, 1_000_000, 1_000_010, 5, 15, 2**32 - 1, 2**32 - 1, 3, 4):
        rig.image.set(701, {"TotWhAbs": wh})
        seen.append((await rig.tick()).values.get("e_imp_wh"))
    assert seen == [1240, None, 1260, None, 1_000_010, None, 15, None, 2**32 - 1, None, 4]
    assert rig.gateway.stats.implausible == 5


async def test_a_device_under_local_control_is_left_alone_and_said(clock, stack):
    plant = await battery_plant(clock, stack, timeout_s=0.5)
    journal = []
    gateway = Gateway(plant.links[:1], [BATTERY], clock, journal=journal.append)
    await stack.enter_async_context(gateway)

    async def tick():
        clock.advance(60)
        await plant.step(clock.now_us())
        await gateway.poll()
        gateway.order("bat", 900, until_us=clock.now_us() + 900_000_000, slot_us=1, reason="t", plan="p")
        await gateway.settle()

    image = plant.units["bat"].image
    image.set(715, {"LocRemCtl": 1})
    await tick()
    assert "local" in gateway.stats.devices["bat"].alarms
    assert image.get(704)["WSetEna"] == 0
    assert gateway.stats.sent == 0
    image.set(715, {"LocRemCtl": 0})
    await tick()
    assert "local" not in gateway.stats.devices["bat"].alarms
    assert image.get(704)["WSet"] == 900


# ---- MQTT ---------------------------------------------------------------------------------------------------------


async def published(port, messages, seconds=0.4):
    def work():
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.connect("127.0.0.1", port)
        client.loop_start()
        for topic, payload in messages:
            client.publish(topic, payload, qos=1).wait_for_publish(5)
        client.disconnect()
        client.loop_stop()

    await asyncio.to_thread(work)
    await asyncio.sleep(seconds)


def telemetry(seq, ts_s, p_w=-500):
    return json.dumps({"v": 1, "ts": ts_s, "seq": seq, "p": {"p_w": p_w}})


async def test_a_wrong_clock_of_a_device_stamps_nothing_in_the_future(mosquitto, clock, stack):
    devices = [DeviceSpec("m", "meter", "home", mqtt=True)]
    broker = BrokerSpec(port=mosquitto.port)
    gateway = await stack.enter_async_context(Gateway([], devices, clock, broker=broker, site_id="s"))
    now_s = clock.now_us() / 1e6
    times = [now_s, now_s + 59, now_s + 86_400, now_s - 3600]
    await published(mosquitto.port, [("vpp/s/m/telemetry", telemetry(k, ts)) for k, ts in enumerate(times)])
    readings = {reading.seq: reading for reading in await gateway.poll()}
    assert [readings[k].quality for k in range(4)] == [
        Quality.GOOD, Quality.GOOD, Quality.SUBSTITUTED, Quality.STALE,
    ]  # fmt: skip
    assert readings[2].ts_us == clock.now_us()
    assert readings[3].ts_us == clock.now_us() - 3_600_000_000


async def test_a_duplicate_client_id_is_said_and_the_gateway_comes_back(mosquitto, clock, stack, eventually, caplog):
    devices = [DeviceSpec("m", "meter", "home", mqtt=True)]
    broker = BrokerSpec(port=mosquitto.port)
    gateway = await stack.enter_async_context(Gateway([], devices, clock, broker=broker, site_id="s"))

    def intrude():
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="vpptwin-gateway-s", protocol=paho.MQTTv5)
        client.connect("127.0.0.1", mosquitto.port)
        for _ in range(10):
            client.loop(0.02)
        client.disconnect()

    await asyncio.to_thread(intrude)
    await eventually(lambda: "connection lost" in caplog.text)
    await eventually(lambda: gateway._ingest.session.connected)
    await published(mosquitto.port, [("vpp/s/m/telemetry", telemetry(1, clock.now_us() / 1e6))])
    await eventually(lambda: gateway.stats.received == 1)
    assert [(reading.device, reading.seq) for reading in await gateway.poll()] == [("m", 1)]


async def test_the_broker_behind_a_proxy_fails_in_every_way_and_is_found_again(mosquitto, clock, stack, eventually):
    script = Script(("127.0.0.1", 0), ("127.0.0.1", mosquitto.port), "mqtt")
    proxy = await stack.enter_async_context(Proxy(script))
    devices = [DeviceSpec("m", "meter", "home", mqtt=True)]
    gateway = await stack.enter_async_context(
        Gateway([], devices, clock, broker=BrokerSpec(port=proxy.port), site_id="s")
    )
    for seq, fault in enumerate((Fault("split", size=1), Fault("truncate", size=3), Fault("reset"))):
        proxy.faults = (fault,)
        await published(mosquitto.port, [("vpp/s/m/telemetry", telemetry(2 * seq, clock.now_us() / 1e6))], 0.2)
        proxy.faults = ()
        await eventually(lambda: gateway._ingest.session.connected)
        clock.advance(1)
        expected = gateway.stats.received + 1
        message = telemetry(2 * seq + 1, clock.now_us() / 1e6)
        await published(mosquitto.port, [("vpp/s/m/telemetry", message)], 0.1)
        await eventually(lambda wanted=expected: gateway.stats.received >= wanted)
    assert {1, 3, 5} <= {reading.seq for reading in await gateway.poll()}, "what was sent after each fault"


# ---- the emulator as a server -------------------------------------------------------------------------------------


async def test_a_thousand_connections_and_slow_ones_leave_the_others_alone(clock, stack):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"only {hard} open files allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    plant = await battery_plant(clock, stack, timeout_s=2)
    port = plant.links[0].port
    opened = []
    for k in range(1000):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        if k % 3 == 0:  # a slow-loris: half a request
            writer.write(struct.pack(">HHHB", 1, 0, 6, 1))
        elif k % 3 == 1:  # a bad protocol id
            writer.write(struct.pack(">HHHBBHH", 1, 7, 6, 1, 3, 0, 1))
        opened.append(writer)
    client = ModbusLink("127.0.0.1", port, 2)
    await client.connect()
    began = time.monotonic()
    for _ in range(20):
        assert await client.read(1, 3, 40000, 2) == [0x5375, 0x6E53]
    assert time.monotonic() - began < 1
    client.close()
    for writer in opened:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in opened), return_exceptions=True)
