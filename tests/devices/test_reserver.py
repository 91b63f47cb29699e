"""Other clients read what the gateway holds of a device that takes a single connection."""

from __future__ import annotations

import asyncio
import struct
import subprocess

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from devices.description import DeviceSpec, LinkSpec
from devices.gateway import Gateway
from devices.gateway.reserver import Mirror
from devices.modbus import BusyFault, ConfigurationFault, ModbusLink
from devices.proxy import Fault, Proxy, Script


@pytest.fixture
async def served(servers, clock, stack, make_battery, make_sunspec):
    """(port for other clients, the battery's image, its unit, the proxy before it, the gateway)."""
    image = make_battery()
    unit = make_sunspec(2, image)
    port = await servers.start([unit])
    proxy = await stack.enter_async_context(Proxy(Script(("127.0.0.1", 0), ("127.0.0.1", port))))
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", proxy.port, 0.3)
    spec = DeviceSpec("bat", "storage", "home", "roof", 2, "sunspec", model={"p_w": 5000})
    gateway = await stack.enter_async_context(Gateway([link], [spec], clock))
    await gateway.poll()
    server = await stack.enter_async_context(gateway.reserver("roof"))
    return server.port, image, unit, proxy, gateway


async def test_what_was_polled_is_served_without_asking_the_device(served):
    port, image, _, proxy, gateway = served
    await gateway.poll()
    before = proxy.seen.requests
    client = ModbusLink("127.0.0.1", port, 1)
    await client.connect()
    at = image.address(701, "W")
    assert await client.read(2, 3, at, 1) == [(-1200) & 0xFFFF]
    assert proxy.seen.requests == before
    assert proxy.seen.connections == 1
    client.close()


async def test_writes_never_reach_the_device(served):
    port, image, unit, proxy, _ = served
    client = ModbusLink("127.0.0.1", port, 1)
    await client.connect()
    for fc, registers in ((6, [1]), (16, [1, 2]), (5, [1])):
        with pytest.raises(ConfigurationFault, match="exception 1"):
            await client.write(2, fc, image.address(704, "WSetEna"), registers)
    assert (unit.log, proxy.seen.writes) == ([], 0)
    client.close()


async def test_pysunspec2_scans_through_it_over_the_one_connection(served):
    port, _, _, proxy, _ = served

    def scan():
        client = SunSpecModbusClientDeviceTCP(slave_id=2, ipaddr="127.0.0.1", ipport=port, timeout=5)
        client.scan()
        found = client.DERMeasureAC[0].W.cvalue, client.DERStorageCapacity[0].SoC.cvalue
        client.close()
        return found

    assert await asyncio.to_thread(scan) == (-1200, 50)
    assert proxy.seen.connections == 1


async def test_mbpoll_reads_it(served, require):
    port, image, _, _, _ = served
    program = require("mbpoll")
    words = [program, "-m", "tcp", "-a", "2", "-0", "-r", str(image.address(701, "W")), "-c", "1", "-t", "4", "-1"]
    done = await asyncio.to_thread(
        subprocess.run, [*words, "-p", str(port), "127.0.0.1"], capture_output=True, text=True, check=True
    )
    assert "64336" in done.stdout


async def test_an_unknown_register_or_a_silent_device_is_an_exception(served):
    port, _, _, proxy, _ = served
    client = ModbusLink("127.0.0.1", port, 2)
    await client.connect()
    with pytest.raises(ConfigurationFault, match="exception 2"):
        await client.read(2, 3, 9, 2)
    proxy.faults = (Fault("black_hole"),)
    with pytest.raises(BusyFault, match="exception 11"):
        await client.read(2, 3, 40000, 2)
    client.close()


async def test_what_is_no_modbus_ends_the_connection(served):
    port = served[0]
    for junk in (b"GET / HTTP/1.1\r\n\r\n", struct.pack(">HHHB", 1, 7, 6, 1), struct.pack(">HHHB", 1, 0, 999, 1)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(junk)
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()


def test_the_mirror_forgets():
    now_s = [0.0]
    mirror = Mirror(10, lambda: now_s[0])
    mirror.note(1, 3, 100, [5, 6])
    assert mirror.look(1, 3, 100, 2) == [5, 6]
    assert mirror.look(1, 3, 100, 3) is None
    assert mirror.look(1, 4, 100, 2) is None
    now_s[0] = 11
    assert mirror.look(1, 3, 100, 2) is None
