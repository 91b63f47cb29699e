"""A yard of devices for benchmarks: bare Modbus responders in another process, which cost the gateway nothing."""

from __future__ import annotations

import asyncio
import multiprocessing
import struct
from functools import partial
from multiprocessing.connection import Connection

from devices.description import DeviceSpec, LinkSpec
from devices.sunspec import SunSpecImage


def image() -> SunSpecImage:
    """A battery as the gateway reads it."""
    made = SunSpecImage([1, 701, 702, 704, 713])
    made.set(701, {"W_SF": 0, "VA_SF": 0, "Var_SF": 0, "V_SF": -1, "Hz_SF": -3, "TotWh_SF": 0, "Tmp_SF": -1})
    made.set(701, {"W": -1200, "VA": 1200, "LNV": 230.1, "Hz": 50.01, "TotWhInj": 7, "TotWhAbs": 1234, "InvSt": 3})
    made.set(702, {"W_SF": 0})
    made.set(702, {"WMax": 5000, "WChaRteMax": 5000, "WDisChaRteMax": 5000})
    made.set(704, {"WSet_SF": 0, "WSetPct_SF": -1, "WSetMod": 1, "WSetEna": 0, "WSetRvrtTms": 0, "WSetRvrtRem": 0})
    made.set(704, {"WSet": 0, "WSetRvrt": 0, "WSetPct": 0, "WSetPctRvrt": 0, "WSetEnaRvrt": 0})
    made.set(713, {"Pct_SF": -2, "SoC": 50, "SoH": 99})
    return made


class _Answers(asyncio.Protocol):
    """Modbus TCP, reads and writes of units that share nothing but code."""

    def __init__(self, units: dict[int, list[int]], base: int, dead: int) -> None:
        self._units, self._base, self._dead = units, base, dead
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 6 and len(self._buffer) >= (end := 6 + self._buffer[5]):
            self._one(self._buffer[:end])
            self._buffer = self._buffer[end:]

    def _one(self, frame: bytes) -> None:
        tid, _, _, unit, fc, address, count = struct.unpack(">HHHBBHH", frame[:12])
        if unit == self._dead:
            return
        words = self._units[unit]
        at = address - self._base
        if fc == 16:
            words[at : at + count] = struct.unpack(f">{count}H", frame[13:])
            body = struct.pack(">BBHH", unit, fc, address, count)
        elif at < 0 or at + count > len(words):
            body = bytes((unit, fc | 0x80, 2))
        else:
            body = struct.pack(f">BBB{count}H", unit, fc, 2 * count, *words[at : at + count])
        assert self._transport is not None
        self._transport.write(struct.pack(">HHH", tid, 0, len(body)) + body)


def _serve(pipe: Connection, links: int, units: int, dead: int) -> None:
    registers = image()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        ports = []
        for link in range(links):
            held = {unit: list(registers.registers) for unit in range(1, units + 1)}
            out = dead if link == 0 else 0
            server = await loop.create_server(partial(_Answers, held, registers.base, out), "127.0.0.1", 0)
            ports.append(server.sockets[0].getsockname()[1])
        pipe.send(ports)
        await loop.run_in_executor(None, pipe.recv)

    asyncio.run(run())


class Yard:
    """The responders, in a process of their own."""

    def __init__(self, links: int, units: int, dead: int = 0) -> None:
        self._pipe, far = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_serve, args=(far, links, units, dead), daemon=True)
        self._units = units

    def __enter__(self) -> Yard:
        self._process.start()
        self.ports: list[int] = self._pipe.recv()
        self.links = [LinkSpec(f"l{k}", "modbus-tcp", "127.0.0.1", port, 10.0) for k, port in enumerate(self.ports)]
        self.devices = [
            DeviceSpec(f"d{link.id}-{unit}", "storage", "home", link.id, unit, "sunspec", model={"p_w": 5000})
            for link in self.links
            for unit in range(1, self._units + 1)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(10)
