"""The proxy in front of real sockets: what it lets through, what it spoils, and when."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest

from devices.proxy import Fault, Proxy, Script, ScriptError, load_script
from devices.proxy.framing import messages

LOOPBACK = ("127.0.0.1", 0)


def request(tid: int, count: int = 2, unit: int = 1, fc: int = 3) -> bytes:
    return struct.pack(">HHHBBHH", tid, 0, 6, unit, fc, 100, count)


def answer(tid: int, count: int = 2, unit: int = 1, fc: int = 3) -> bytes:
    body = struct.pack(f">BBB{count}H", unit, fc, 2 * count, *range(count))
    return struct.pack(">HHH", tid, 0, len(body)) + body


@pytest.fixture
async def device():
    """A server that answers every read with 0, 1, 2, ..; its port."""

    async def serve(reader, writer):
        try:
            while True:
                tid, _, _, unit, fc, _, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                writer.write(answer(tid, count, unit, fc))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, *LOOPBACK)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def asked(port: int, *requests: bytes, within_s: float = 0.15) -> bytes:
    """What comes back for the requests until the peer closes or nothing more comes; b"RESET" for a reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(requests))
    got = b""
    try:
        while chunk := await asyncio.wait_for(reader.read(4096), within_s):
            got += chunk
    except TimeoutError:
        pass
    except ConnectionResetError:
        got += b"RESET"
    writer.close()
    return got


async def through(device: int, *faults: Fault, requests: tuple[bytes, ...] = (request(7),)) -> tuple[bytes, Proxy]:
    async with Proxy(Script(LOOPBACK, ("127.0.0.1", device), faults=faults)) as proxy:
        return await asked(proxy.port, *requests), proxy


async def test_without_faults_everything_passes_and_is_counted(device):
    got, proxy = await through(device, requests=(request(1), request(2), request(3, fc=4)))
    assert got == answer(1) + answer(2) + answer(3, fc=4)
    seen = proxy.seen
    assert (seen.connections, seen.requests, seen.replies, seen.writes) == (1, 3, 3, 0)
    assert seen.functions == {3: 2, 4: 1}


WHOLE = answer(7)
SPOILED = {
    "drop": (Fault("drop"), b""),
    "truncate": (Fault("truncate", size=5), WHOLE[:5]),
    "split": (Fault("split", size=1), WHOLE),
    "wrong_transaction": (Fault("wrong_transaction"), answer(8)),
    "wrong_unit": (Fault("wrong_unit"), answer(7, unit=2)),
    "wrong_function": (Fault("wrong_function"), answer(7, fc=4)),
    "wrong_protocol": (Fault("wrong_protocol"), WHOLE[:3] + b"\x01" + WHOLE[4:]),
    "exception": (Fault("exception", code=6), struct.pack(">HHHBBB", 7, 0, 3, 1, 0x83, 6)),
    "short": (Fault("short", size=2), answer(7, 1)),
    "reset": (Fault("reset"), b"RESET"),
    "half_open": (Fault("half_open"), b""),
    "black_hole": (Fault("black_hole"), b""),
    "refuse": (Fault("refuse"), b"RESET"),
    "requests of another unit": (Fault("wrong_unit", way="request"), answer(7, unit=2)),
    "not yet": (Fault("drop", from_s=60), WHOLE),
    "no more": (Fault("drop", until_s=1e-9), WHOLE),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_each_fault_does_what_it_says(device, name):
    fault, expected = SPOILED[name]
    got, proxy = await through(device, fault)
    assert got == expected
    assert bool(proxy.seen.faults) == (name not in ("not yet", "no more", "refuse"))


async def test_long_replies_say_their_length(device):
    got, _ = await through(device, Fault("long", size=2))
    assert got == struct.pack(">HHHBBBHHH", 7, 0, 9, 1, 3, 6, 0, 1, 0)


async def test_only_each_nth_message_is_hit(device):
    requests = tuple(request(k) for k in range(1, 7))
    got, _ = await through(device, Fault("drop", every=3), requests=requests)
    assert got == b"".join(answer(k) for k in (1, 2, 4, 5))


async def test_merged_replies_come_in_one_segment(device):
    async with Proxy(Script(LOOPBACK, ("127.0.0.1", device), faults=(Fault("merge", size=2),))) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(request(1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(4096), 0.05)
        writer.write(request(2))
        assert await asyncio.wait_for(reader.read(4096), 1) == answer(1) + answer(2)
        writer.close()


async def test_a_delay_keeps_the_order(device):
    async with Proxy(Script(LOOPBACK, ("127.0.0.1", device), faults=(Fault("delay", seconds=0.05),))) as proxy:
        loop = asyncio.get_running_loop()
        began = loop.time()
        got = await asked(proxy.port, request(1), request(2), within_s=0.3)
    assert got == answer(1) + answer(2)
    assert loop.time() - began >= 0.1


async def test_the_script_runs_by_time(device):
    now_s = [0.0]
    faults = (Fault("drop", from_s=10, until_s=20), Fault("wrong_unit", from_s=20, until_s=30))
    async with Proxy(Script(LOOPBACK, ("127.0.0.1", device), faults=faults), now_s=lambda: now_s[0]) as proxy:
        got = []
        for moment in (0.0, 10.0, 20.0, 30.0):
            now_s[0] = moment
            got.append(await asked(proxy.port, request(7), within_s=0.1))
    assert got == [WHOLE, b"", answer(7, unit=2), WHOLE]


async def test_a_dead_endpoint_is_passed_on_as_a_reset():
    with_nobody = await asyncio.start_server(lambda *_: None, *LOOPBACK)
    port = with_nobody.sockets[0].getsockname()[1]
    with_nobody.close()
    await with_nobody.wait_closed()
    got, proxy = await through(port)
    assert got == b"RESET"
    assert proxy.seen.requests == 0


async def test_open_connections_are_cut_on_demand(device):
    async with Proxy(Script(LOOPBACK, ("127.0.0.1", device))) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(request(1))
        assert await reader.read(4096) == answer(1)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(4096), 1)
        writer.close()


def test_mqtt_messages_are_told_apart_by_their_length():
    connect = bytes([0x10, 2, 0, 0])
    long = bytes([0x30, 0x80, 0x01]) + bytes(128)
    buffer = bytearray(connect + long + long[:50])
    assert messages(buffer, "mqtt") == [connect, long]
    assert bytes(buffer) == long[:50]


GOOD = (
    "schema: 1\nlisten: 127.0.0.1:0\nto: 127.0.0.1:502\nfaults:\n  - {kind: delay, from_s: 1, until_s: 2, seconds: 3}\n"
)


def test_a_script_is_read_and_checked(tmp_path: Path):
    path = tmp_path / "faults.yaml"
    path.write_text(GOOD)
    script = load_script(path)
    assert (script.listen, script.to) == (("127.0.0.1", 0), ("127.0.0.1", 502))
    assert script.faults == (Fault("delay", 1, 2, seconds=3),)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("delay", "dalay", "dalay"),
        ("until_s: 2", "until_s: 1", "before it begins"),
        ("seconds: 3", "secs: 3", "secs"),
        ("127.0.0.1:502", "127.0.0.1", "no address"),
        ("schema: 1", "schema: 2", "schema"),
        ("to: 127.0.0.1:502", "to: 127.0.0.1:502\nprotocol: mqtt", ""),
        ("kind: delay", "kind: wrong_unit", ""),
        ("schema", "[", "no YAML"),
    ],
)
def test_a_wrong_script_is_refused_with_its_mend(tmp_path: Path, old: str, new: str, said: str):
    path = tmp_path / "faults.yaml"
    path.write_text(GOOD.replace(old, new))
    if not said:
        assert load_script(path).faults
        return
    with pytest.raises(ScriptError, match=said):
        load_script(path)


def test_a_fault_of_modbus_is_none_of_mqtt():
    with pytest.raises(ScriptError, match="fault of Modbus"):
        Script(LOOPBACK, LOOPBACK, "mqtt", (Fault("wrong_unit"),))


def test_the_command_serves_a_script_and_says_what_went_through(vpptwin, tmp_path: Path):
    path = tmp_path / "faults.yaml"
    path.write_text(GOOD)
    done = vpptwin("proxy", path, "--seconds", "0.1", "--json")
    assert '"connections": 0' in done.stdout
    path.write_text(GOOD.replace("delay", "dalay"))
    assert "kinds of faults" in vpptwin("proxy", path, expect=3).stderr
