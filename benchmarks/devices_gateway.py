"""What the gateway costs: thousands of polled devices, orders, decoding, beside bare pymodbus and pysunspec2.

The devices are a bare Modbus responder in another process (the other core): only the gateway's own process is measured.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from pymodbus.client import AsyncModbusTcpClient
from sunspec2.device import Model

from benchmarks.figures import Figure, figures
from devices.description import DeviceSpec, LinkSpec
from devices.drivers.profile import SOURCES
from devices.gateway import Gateway
from devices.readings import Reading
from devices.sunspec import SunSpecImage, compile_model
from twin.clock import WallClock

DEVICES, UNITS, SECONDS = 3000, 100, 10
"""Devices, how many share a link, and how long they are polled."""
ORDERED = 500
_NAMED = "bare pymodbus 3.16"


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
            server = await loop.create_server(lambda h=held, o=out: _Answers(h, registers.base, o), "127.0.0.1", 0)
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


def main() -> None:
    """Print the figures of issue B that concern Modbus."""
    with Yard(DEVICES // UNITS, UNITS) as yard, TemporaryDirectory() as folder:
        meters = _meters(yard, Path(folder) / "meter.yaml")
        cpu, p99, missed, polls = asyncio.run(_polled(yard.links, meters, SECONDS))
        bare = asyncio.run(_bare(yard))
    with Yard(100, 1) as yard:
        alive = asyncio.run(_polled(yard.links, yard.devices, 5))[1]
    with Yard(100, 1, dead=1) as yard:
        beside = asyncio.run(_polled(yard.links, yard.devices, 5, dead=1))[1]
    with Yard(ORDERED, 1) as yard:
        all_s, p99_order = asyncio.run(_ordered(yard))
    with Yard(1, 1) as yard:
        single = asyncio.run(_one_order(yard))
    figures(
        [
            Figure("processor time of a poll of 40 registers", cpu * 1e6, "us", reference=bare * 1e6, beside=_NAMED),
            Figure(f"{DEVICES} devices at 1 Hz, of a core", cpu * DEVICES * 100, "%", 50),
            Figure(f"  polls in {SECONDS} s", polls, "", at_least=DEVICES * SECONDS),
            Figure("  due to decoded, p99", p99 * 1e3, "ms", 100),
            Figure("  missed cycles", missed, "", 0),
            Figure(
                "p99 of 99 devices beside a dead one",
                beside * 1e3,
                "ms",
                1.1 * alive * 1e3,
                None,
                alive * 1e3,
                "all alive",
            ),
            Figure("order to verified, one at a time, p99", single * 1e3, "ms", 100),
            Figure(f"{ORDERED} devices ordered and verified", all_s, "s", 1),
            Figure("  each, p99", p99_order * 1e3, "ms"),
            *_decode(),
        ]
    )


def _meters(yard: Yard, path: Path) -> list[DeviceSpec]:
    """Meters with one block of 40 registers, by a map of their own."""
    rows = "".join(
        f"  {name}: {{fc: 3, addr: {40100 + 2 * k}, type: float32, unit: W, group: fast, sign: none}}\n"
        for k, name in enumerate(["p_w", "q_var", "s_va", "t_c", "h_w", *(f"x{k}" for k in range(15))])
    )
    path.write_text(
        "schema: 1\nmodel: bench\nkind: meter\ntransport: {unit: 1}\ngroups: {fast: 0.5}\npoints:\n"
        + rows.replace(", sign: none", ", sign: import_positive", 1).replace(", sign: none", ""),
        encoding="utf-8",
    )
    return [replace(one, kind="meter", map=str(path), model={}) for one in yard.devices]


async def _polled(
    links: Sequence[LinkSpec], devices: Sequence[DeviceSpec], seconds: int, dead: int = 0
) -> tuple[float, float, int, int]:
    """(processor seconds of a poll, p99 of due-to-decoded, missed cycles, polls) after a warm start."""
    clock, late_us = WallClock(), list[int]()
    gateway = Gateway(links, devices, clock, tick_s=1.0, lockstep=False)
    async with gateway:
        while sum(one.connected for one in gateway.stats.devices.values()) < len(devices) - dead:
            await _pause(0.2)
        taken = gateway._take

        def take(reading: Reading) -> None:
            late_us.append(clock.now_us() - reading.ts_us)
            taken(reading)

        for rounds in gateway._rounds.values():
            rounds._deliver = take
        stats = gateway.stats
        before, missed, received = time.process_time(), stats.lost + stats.missing, stats.received
        await _pause(seconds)
        took = time.process_time() - before
        polls = stats.received - received
        return took / polls, _p99(late_us) / 1e6, stats.lost + stats.missing - missed, polls


async def _pause(seconds: float) -> None:
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)


async def _bare(yard: Yard) -> float:
    """Processor seconds of a read of 40 registers by bare pymodbus, not decoded."""
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port, retries=0) for port in yard.ports]
    for client in clients:
        await client.connect()
    before = time.process_time()

    async def ask(client: AsyncModbusTcpClient) -> None:
        for unit in range(1, UNITS + 1):
            await client.read_holding_registers(40100, count=40, device_id=unit)

    await asyncio.gather(*map(ask, clients))
    took = time.process_time() - before
    for client in clients:
        client.close()
    return took / DEVICES


async def _ordered(yard: Yard) -> tuple[float, float]:
    """(seconds until all are verified, p99 of each) when every device gets an order at once."""
    times: list[float] = []
    began = [0.0]

    def note(command: object) -> None:
        if getattr(command, "state", "") == "verified":
            times.append(time.perf_counter() - began[0])

    clock = WallClock()
    async with Gateway(yard.links, yard.devices, clock, journal=note) as gateway:
        await gateway.poll()
        await gateway.poll()
        began[0] = time.perf_counter()
        for device in yard.devices:
            gateway.order(device.id, -1500, until_us=clock.now_us() + 900_000_000, reason="b", plan="p")
        await gateway.settle()
        took = time.perf_counter() - began[0]
        assert gateway.stats.verified == len(yard.devices)
    return took, _p99(times)


async def _one_order(yard: Yard) -> float:
    clock, times = WallClock(), list[float]()
    async with Gateway(yard.links, yard.devices, clock) as gateway:
        await gateway.poll()
        for k in range(500):
            began = time.perf_counter()
            gateway.order(yard.devices[0].id, -1000 - k, until_us=clock.now_us() + 900_000_000, reason="b", plan="p")
            await gateway.settle()
            times.append(time.perf_counter() - began)
        assert gateway.stats.verified == 500
    return _p99(times)


def _decode() -> list[Figure]:
    """Microseconds of a decoding of model 701, ours and pysunspec2's."""
    made, plan = image(), compile_model(701)
    registers = made.block(701)
    everything = _best(lambda: plan.everything.decode(registers))
    polled = plan.select([name for source in SOURCES[701] for name in source.points])
    part = registers[polled.first : polled.first + polled.count]
    ours = _best(lambda: polled.decode(part))
    raw = struct.pack(f">{len(registers)}H", *registers)
    model = Model(model_id=701, data=raw)
    reference = _best(lambda: model.set_mb(raw))
    named = "pysunspec2 1.3.7"
    return [
        Figure("SunSpec 701 decoded as polled", ours, "us", 5, reference=reference, beside=named),
        Figure("SunSpec 701, every point", everything, "us", reference=reference, beside=named),
    ]


def _best(call: Callable[[], object]) -> float:
    """The quickest of many short runs: what the processor needs when nobody takes it away."""
    best = float("inf")
    for _ in range(100):
        began = time.perf_counter()
        for _ in range(20):
            call()
        best = min(best, (time.perf_counter() - began) / 20 * 1e6)
    return best


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else values[0]


if __name__ == "__main__":
    main()
