"""Links that fail, and links on the wall clock: faults stay with their unit, and no reply reaches another request."""

from __future__ import annotations

import asyncio
import struct
import time
from itertools import pairwise

import pytest

from devices.description import DeviceSpec, LinkSpec
from devices.gateway import Gateway, GatewayStalled
from devices.gateway.line import BackOff
from devices.modbus import BusyFault, Disconnected, GarbledReply, ModbusFault, ModbusLink, NoAnswer
from devices.readings import Quality


class WallClock:
    """Real time, for what runs by itself."""

    def now_us(self):
        return time.time_ns() // 1000

    async def sleep_until_us(self, t_us):
        await asyncio.sleep(max(t_us - self.now_us(), 0) / 1e6)


@pytest.fixture
async def scripted():
    """A TCP server that answers each Modbus request as a function of (tid, unit, fc, count) says; None = hang up."""
    opened = []

    async def start(answer):
        async def serve(reader, writer):
            try:
                while True:
                    tid, _, _, unit, fc, _, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                    reply = answer(tid, unit, fc, count)
                    if reply is None:
                        break
                    for part in reply:
                        writer.write(part)
                        await writer.drain()
                        await asyncio.sleep(0)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        opened.append(server)
        return server.sockets[0].getsockname()[1]

    yield start
    for server in opened:
        server.close()
        await server.wait_closed()


def reply(tid, unit, fc, registers):
    body = struct.pack(f">BBB{len(registers)}H", unit, fc, 2 * len(registers), *registers)
    return struct.pack(">HHH", tid, 0, len(body)) + body


ANSWERS = {
    "silent": (lambda tid, unit, fc, count: [], NoAnswer),
    "hang up": (lambda tid, unit, fc, count: None, Disconnected),
    "wrong unit": (lambda tid, unit, fc, count: [reply(tid, unit + 1, fc, [7] * count)], ModbusFault),
    "wrong transaction": (lambda tid, unit, fc, count: [reply(tid + 1, unit, fc, [7] * count)], ModbusFault),
    "wrong function": (lambda tid, unit, fc, count: [reply(tid, unit, 4, [7] * count)], GarbledReply),
    "too short": (lambda tid, unit, fc, count: [reply(tid, unit, fc, [7] * (count - 1))], GarbledReply),
    "too long": (lambda tid, unit, fc, count: [reply(tid, unit, fc, [7] * (count + 1))], GarbledReply),
    "byte count lies": (lambda tid, unit, fc, count: [reply(tid, unit, fc, [7] * count)[:-4] + b"\0\0"], ModbusFault),
    "busy": (lambda tid, unit, fc, count: [struct.pack(">HHHBBB", tid, 0, 3, unit, fc | 0x80, 6)], BusyFault),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_bad_answer_is_a_fault_and_never_a_value(scripted, name):
    answer, fault = ANSWERS[name]
    link = ModbusLink("127.0.0.1", await scripted(answer), 0.1)
    await link.connect()
    with pytest.raises(fault):
        await link.read(1, 3, 100, 4)
    # What may still come belongs to a closed connection; only an exception is a proper answer.
    assert link.connected == (name == "busy")
    link.close()


async def test_partial_segments_are_put_together(scripted):
    def answer(tid, unit, fc, count):
        whole = reply(tid, unit, fc, list(range(count)))
        return [whole[k : k + 3] for k in range(0, len(whole), 3)]

    link = ModbusLink("127.0.0.1", await scripted(answer), 1)
    await link.connect()
    assert await link.read(1, 3, 100, 20) == list(range(20))
    link.close()


async def test_a_late_reply_never_answers_the_next_request(scripted):
    held = []

    def answer(tid, unit, fc, count):
        held.append(reply(tid, unit, fc, [len(held)] * count))
        return [] if len(held) == 1 else [held[-1]]

    link = ModbusLink("127.0.0.1", await scripted(answer), 0.1)
    await link.connect()
    with pytest.raises(NoAnswer):
        await link.read(1, 3, 100, 2)
    with pytest.raises(Disconnected):
        await link.read(1, 3, 100, 2)
    await link.connect()
    assert await link.read(1, 3, 100, 2) == [1, 1]
    link.close()


def test_back_off_grows_by_two_seconds_to_five_minutes():
    back_off, waits = BackOff(), []
    for _ in range(200):
        back_off.fail(0)
        waits.append(back_off.due_us // 1_000_000)
    assert waits[:4] == [2, 4, 6, 8]
    assert max(waits) == waits[-1] == 300
    back_off.succeed()
    assert not back_off.waits(0)


def devices_on(link, *units):
    return [DeviceSpec(f"bat-{unit}", "storage", "home", link, unit, "sunspec", model={"p_w": 5000}) for unit in units]


async def test_a_dead_unit_leaves_the_others_on_its_link_alone(servers, clock, stack, make_battery, make_sunspec):
    units = [make_sunspec(unit, make_battery()) for unit in (1, 2, 3)]
    units[1].refuse_reads = 11
    port = await servers.start(units)
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", port, 0.2)
    gateway = await stack.enter_async_context(Gateway([link], devices_on("roof", 1, 2, 3), clock))
    assert [reading.device for reading in await gateway.poll()] == ["bat-1", "bat-3"]
    assert (gateway.stats.lost, gateway.stats.missing) == (1, 0)
    assert "exception 11" in gateway.stats.devices["bat-2"].last_error
    clock.advance(1)
    assert len(await gateway.poll()) == 2
    assert gateway.stats.missing == 1, "in back-off it is an outage"
    units[1].refuse_reads = 0
    clock.advance(1)
    assert len(await gateway.poll()) == 3
    assert gateway.stats.devices["bat-2"].connected


async def test_a_unit_with_a_wrong_map_is_not_hammered(servers, clock, stack, make_battery, make_sunspec):
    port = await servers.start([make_sunspec(1, make_battery())])
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", port, 0.2)
    wrong = DeviceSpec("meter", "meter", "home", "roof", 1, "generic-wrong")
    with pytest.raises(Exception, match="no register map"):
        Gateway([link], [wrong], clock)
    unit = make_sunspec(1, make_battery())
    unit.registers["i"] = (0, [0] * 10)
    port = await servers.start([unit])
    spec = DeviceSpec("meter", "meter", "home", "line", 1, "eastron-sdm630")
    gateway = await stack.enter_async_context(
        Gateway([LinkSpec("line", "modbus-tcp", "127.0.0.1", port, 0.2)], [spec], clock)
    )
    for _ in range(5):
        await gateway.poll()
        clock.advance(60)
    assert gateway.stats.lost == 1
    assert gateway.stats.missing == 4
    assert "exception 2" in gateway.stats.devices["meter"].last_error


async def test_an_absent_link_is_retried_in_clock_time(servers, clock, stack, make_battery, make_sunspec):
    unit = make_sunspec(1, make_battery())
    port = await servers.start([unit])
    await servers.stop(port)
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", port, 0.2)
    gateway = await stack.enter_async_context(Gateway([link], devices_on("roof", 1), clock))
    assert await gateway.poll() == []
    await servers.start([unit], port)
    clock.advance(1)
    assert await gateway.poll() == []
    clock.advance(1)
    assert [reading.seq for reading in await gateway.poll()] == [1]
    assert gateway.stats.missing == 2


async def test_readings_of_a_tick_are_stamped_alike_and_sorted(servers, clock, stack, make_battery, make_sunspec):
    links, devices = [], []
    for name in ("roof-b", "roof-a"):
        port = await servers.start([make_sunspec(unit, make_battery()) for unit in (2, 1)])
        links.append(LinkSpec(name, "modbus-tcp", "127.0.0.1", port))
        devices += [
            DeviceSpec(f"{name}-{unit}", "storage", "home", name, unit, "sunspec", model={"p_w": 1}) for unit in (2, 1)
        ]
    gateway = await stack.enter_async_context(Gateway(links, devices, clock))
    for tick in (1, 2):
        readings = await gateway.poll()
        assert [(reading.device, reading.seq) for reading in readings] == [
            (name, tick) for name in ("roof-a-1", "roof-a-2", "roof-b-1", "roof-b-2")
        ]
        assert {reading.ts_us for reading in readings} == {clock.now_us()}
        clock.advance(60)


async def test_a_reading_without_power_is_bad(servers, clock, stack, make_battery, make_sunspec):
    image = make_battery()
    image.set(701, {"W": None})
    port = await servers.start([make_sunspec(1, image)])
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", port)
    gateway = await stack.enter_async_context(Gateway([link], devices_on("roof", 1), clock))
    (reading,) = await gateway.poll()
    assert reading.quality is Quality.BAD
    assert gateway.freeze().value("bat-1", "soc_pu", 60) is None


async def test_what_hangs_is_named(scripted, clock, stack):
    port = await scripted(lambda tid, unit, fc, count: [])
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", port, timeout_s=5)
    gateway = await stack.enter_async_context(Gateway([link], devices_on("roof", 1), clock, guard_s=0.2))
    with pytest.raises(GatewayStalled, match="poll of roof"):
        await gateway.poll()


async def test_on_the_wall_clock_links_poll_and_settle_by_themselves(
    servers, stack, make_battery, make_sunspec, eventually
):
    image, clock = make_battery(), WallClock()
    unit = make_sunspec(1, image)
    port = await servers.start([unit])
    journal = []
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", port, 0.2)
    gateway = await stack.enter_async_context(
        Gateway([link], devices_on("roof", 1), clock, lease_s=0.4, tick_s=0.05, journal=journal.append, lockstep=False)
    )
    await eventually(lambda: gateway.stats.received >= 3)
    readings = await gateway.poll()
    assert [reading.seq for reading in readings] == list(range(1, len(readings) + 1))
    assert all(before.ts_us < after.ts_us for before, after in pairwise(readings))
    started_us = clock.now_us()
    gateway.order("bat-1", -800, until_us=started_us + 700_000, reason="test", plan="plan")
    await eventually(lambda: gateway.stats.verified == 1)
    assert clock.now_us() - started_us < 500_000
    await eventually(lambda: image.get(704)["WSetEna"] == 0)
    assert clock.now_us() - started_us >= 700_000, "released when the controller's time was over"
    assert journal[-1].state == "released"
    written = [registers for _, address, registers in unit.log if address == image.address(704, "WSetEna")]
    assert len(written) >= 4, "enabled, refreshed at half the lease, released"
    assert gateway.stats.sent == 1


async def test_each_device_has_a_due_time_of_its_own_and_every_cycle_is_told_once(
    servers, stack, make_battery, make_sunspec, eventually
):
    port, clock, cycles = (
        await servers.start([make_sunspec(unit, make_battery()) for unit in (1, 2, 3, 4)]),
        WallClock(),
        [],
    )
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", port, 0.5)
    gateway = Gateway([link], devices_on("roof", 1, 2, 3, 4), clock, tick_s=0.2, lockstep=False)
    gateway._rounds["roof"].noticed = lambda *cycle: cycles.append(cycle)
    await stack.enter_async_context(gateway)
    await eventually(lambda: len(cycles) >= 16)
    due = [due_us + k * 200_000 for due_us, spent, _ in cycles for k in range(spent)]
    phases = sorted({at % 200_000 for at in due})
    assert len(phases) == 4, "absolute due times: the phases never change"
    assert {(b - a) % 200_000 for a, b in zip(phases, [*phases[1:], phases[0]], strict=True)} == {50_000}
    for phase in phases:
        mine = sorted(at for at in due if at % 200_000 == phase)
        assert mine == list(range(mine[0], mine[0] + len(mine) * 200_000, 200_000)), "each due time once, none left out"
    answered = [answered for _, _, answered in cycles]
    assert all(answered)
    assert abs(sum(answered) - gateway.stats.received) <= 1


async def test_polls_go_on_while_another_link_is_dead(servers, scripted, stack, make_battery, make_sunspec, eventually):
    dead = await scripted(lambda tid, unit, fc, count: [])
    port = await servers.start([make_sunspec(1, make_battery())])
    links = [
        LinkSpec("dead", "modbus-tcp", "127.0.0.1", dead, 0.3),
        LinkSpec("roof", "modbus-tcp", "127.0.0.1", port, 0.3),
    ]
    specs = [*devices_on("roof", 1), DeviceSpec("gone", "storage", "home", "dead", 1, "sunspec", model={"p_w": 1})]
    gateway = await stack.enter_async_context(Gateway(links, specs, WallClock(), tick_s=0.05, lockstep=False))
    await eventually(lambda: gateway.stats.devices["gone"].failures > 0)
    received = gateway.stats.received
    await eventually(lambda: gateway.stats.received >= received + 5)
    assert gateway.freeze().age_s("gone") is None
