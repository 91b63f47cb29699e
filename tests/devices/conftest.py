"""Fixtures of the device tests: a clock moved by hand, Modbus servers over real sockets, a real MQTT broker."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from devices.regmap import load_map
from devices.regmap.map import sign_factor
from devices.sunspec import SunSpecImage

READ, WRITE = (1, 2, 3, 4), (5, 6, 15, 16)


class HandClock:
    """Lockstep time: stands still until `advance`."""

    def __init__(self, now_us: int = 1_473_058_800_000_000) -> None:
        self._now_us = now_us
        self._moved = asyncio.Event()

    def now_us(self) -> int:
        return self._now_us

    def advance(self, seconds: float) -> None:
        self._now_us += round(seconds * 1_000_000)
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until_us(self, t_us: int) -> None:
        while self._now_us < t_us:
            await self._moved.wait()


@dataclass
class FakeUnit:
    """Registers of one unit as its server holds them; faults are switched on by the test."""

    unit: int
    registers: dict[str, tuple[int, list[int]]]
    """'h' and 'i': first address and values."""
    log: list[tuple[int, int, list[int]]] = field(default_factory=list)
    """Every write that arrived: function code, address, registers."""
    reads: list[tuple[int, int, int]] = field(default_factory=list)
    refuse_writes: int = 0
    """Exception code for writes; 0 = none."""
    refuse_reads: int = 0
    ignore_writes: bool = False
    on_write: Callable[[FakeUnit], None] | None = None

    def device(self) -> SimDevice:
        blocks = {}
        for space in ("h", "i"):
            base, values = self.registers.get(space, (0, [0]))
            blocks[space] = [SimData(address=base, values=list(values), datatype=DataType.REGISTERS)]
        bits = [SimData(address=0, values=[False] * 16, datatype=DataType.BITS)]
        return SimDevice(id=self.unit, simdata=(bits, list(bits), blocks["h"], blocks["i"]), action=self._action)

    async def _action(
        self, fc: int, start: int, address: int, count: int, current: list[int], new: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        base, held = self.registers["h" if fc in (3, 6, 16) else "i"]
        if new is None:
            self.reads.append((fc, address, count))
            current[: len(held)] = held
            return ExcCodes(self.refuse_reads) if self.refuse_reads else None
        self.log.append((fc, address, [int(value) for value in new]))
        if self.refuse_writes:
            return ExcCodes(self.refuse_writes)
        if not self.ignore_writes:
            held[address - base : address - base + len(new)] = [int(value) for value in new]
            if self.on_write:
                self.on_write(self)
        new[:] = held[address - base : address - base + len(new)]
        return None


def sunspec_unit(unit: int, image: SunSpecImage) -> FakeUnit:
    """A unit that serves an image; the image's list is the server's memory."""
    return FakeUnit(unit, {"h": (image.base, image.registers)})


def mapped_unit(unit: int, name: str, values: Mapping[str, float], is_grid: bool = False) -> FakeUnit:
    """A unit that serves a shipped map with values given in bus sign."""
    map_ = load_map(name)
    spaces: dict[str, tuple[int, list[int]]] = {"h": (0, [0] * 256), "i": (0, [0] * 256)}
    for point in map_.points.values():
        value = values.get(point.name, 0)
        registers = point.encode(value * sign_factor(point.row.sign, is_grid))
        spaces["h" if point.row.fc == 3 else "i"][1][point.addr : point.addr + point.registers] = registers
    return FakeUnit(unit, spaces)


class ModbusServers:
    """Servers on loopback with ports of the operating system's choice."""

    def __init__(self) -> None:
        self.running: dict[int, ModbusTcpServer] = {}

    async def start(self, units: Sequence[FakeUnit], port: int = 0) -> int:
        server = ModbusTcpServer([unit.device() for unit in units], address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        assert server.transport is not None
        bound = int(server.transport.sockets[0].getsockname()[1])
        self.running[bound] = server
        return bound

    async def stop(self, port: int) -> None:
        server = self.running.pop(port)
        for connection in list(server.active_connections.values()):
            connection.close()
        await server.shutdown()


@pytest.fixture
async def servers() -> AsyncIterator[ModbusServers]:
    made = ModbusServers()
    yield made
    for port in list(made.running):
        await made.stop(port)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def make_sunspec() -> Callable[[int, SunSpecImage], FakeUnit]:
    return sunspec_unit


@pytest.fixture
def make_mapped() -> Callable[..., FakeUnit]:
    return mapped_unit


def battery_image(p_w: float = 5000, soc_pu: float = 0.5) -> SunSpecImage:
    """1 + 701 + 702 + 704 + 713 of a storage with a rating of p_w."""
    image = SunSpecImage([1, 701, 702, 704, 713])
    image.set(1, {"Mn": "test", "Md": "battery"})
    image.set(701, {"W_SF": 0, "VA_SF": 0, "Var_SF": 0, "V_SF": -1, "Hz_SF": -3, "TotWh_SF": 0, "Tmp_SF": -1})
    image.set(701, {"W": -1200, "VA": 1200, "LNV": 230.1, "Hz": 50.01, "TotWhInj": 7, "TotWhAbs": 1234, "InvSt": 3})
    image.set(702, {"W_SF": 0})
    image.set(702, {"WMax": p_w, "WChaRteMax": p_w, "WDisChaRteMax": p_w})
    image.set(704, {"WSet_SF": 0, "WSetPct_SF": -1, "WSetMod": 1, "WSetEna": 0, "WSetRvrtTms": 0, "WSetRvrtRem": 0})
    image.set(704, {"WSet": 0, "WSetRvrt": 0, "WSetPct": 0, "WSetPctRvrt": 0, "WSetEnaRvrt": 0})
    image.set(713, {"Pct_SF": -2, "SoC": soc_pu * 100, "SoH": 99})
    return image


def pv_image(p_w: float = 4000) -> SunSpecImage:
    """1 + 701 + 702 + 704 of an inverter with a rating of p_w."""
    image = SunSpecImage([1, 701, 702, 704])
    image.set(1, {"Mn": "test", "Md": "pv"})
    image.set(701, {"W_SF": 0, "VA_SF": 0, "Var_SF": 0, "V_SF": -1, "Hz_SF": -3, "TotWh_SF": 0, "Tmp_SF": -1})
    image.set(701, {"W": 2345, "VA": 2345, "LNV": 231.4, "Hz": 49.998, "TotWhInj": 98765, "TotWhAbs": 0, "InvSt": 3})
    image.set(702, {"W_SF": 0})
    image.set(702, {"WMax": p_w})
    image.set(704, {"WMaxLimPct_SF": -2})
    image.set(704, {"WMaxLimPct": 100, "WMaxLimPctEna": 0, "WMaxLimPctRvrt": 100, "WMaxLimPctEnaRvrt": 0})
    image.set(704, {"WMaxLimPctRvrtTms": 0, "WMaxLimPctRvrtRem": 0})
    return image


@pytest.fixture
def make_battery() -> Callable[..., SunSpecImage]:
    return battery_image


@pytest.fixture
def make_pv() -> Callable[..., SunSpecImage]:
    return pv_image


class Mosquitto:
    """A broker process that can be stopped and started again on the same port."""

    def __init__(self, binary: str, folder: str) -> None:
        self._binary, self._folder = binary, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        path = os.path.join(self._folder, "mosquitto.conf")
        Path(path).write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n",
            encoding="utf-8",
        )
        self._process = await asyncio.create_subprocess_exec(self._binary, "-c", path)
        for _ in range(200):
            try:
                _reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return
        raise AssertionError("mosquitto does not listen")

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()
            self._process = None


def server_program(name: str) -> str:
    """Path of a server program; skips the test without it, unless REQUIRE_SERVERS=1."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if found is None:
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail(f"{name} is not installed, and REQUIRE_SERVERS=1")
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
async def mosquitto(tmp_path: object) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(server_program("mosquitto"), str(tmp_path))
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """For what a test opens and the fixture closes."""
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait, at most 20 s, until something another thread or process does has happened."""

    async def wait(happened: Callable[[], bool]) -> None:
        for _ in range(2000):
            if happened():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("did not happen within 20 s")

    return wait
