"""A day of polls of the homes site: our gateway and plant beside bare pymodbus asking the same registers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from benchmarks.figures import Figure, figures
from benchmarks.runs import HOMES
from devices.emulator import Plant
from devices.gateway import Gateway
from twin.clock import LockstepClock
from twin.site import load_site

TICKS = 1440
SAMPLE = 120
"""Ticks that are measured; the figures are scaled to a day."""
Request = tuple[int, int, int, int]
"""(unit, function code, first register, registers)."""
_ROOF: tuple[Request, ...] = ((1, 3, 40073, 120), (1, 3, 40291, 101), (2, 3, 40073, 120), (2, 3, 40299, 102))
REQUESTS: tuple[tuple[Request, ...], ...] = (
    *(_ROOF,) * 8,
    ((1, 4, 0, 20), (1, 3, 0, 5)),
    ((1, 4, 0, 9), (1, 3, 0, 5)),
    ((1, 4, 0, 12), (1, 4, 52, 20), (1, 4, 72, 4)),
)
"""What the gateway asks of the 11 links of homes.yaml at a tick without orders."""
READS = sum(map(len, REQUESTS)) * TICKS
"""Of a day."""


def main() -> None:
    """Print seconds of a day of polls."""
    bare = asyncio.run(_bare())
    ours = asyncio.run(_ours())
    named = "bare pymodbus 3.16"
    figures(
        [
            Figure(f"gateway and emulated plant, {READS:,} reads", ours, "s", reference=bare, beside=named),
            Figure("a read and its answer", ours / READS * 1e6, "us", reference=bare / READS * 1e6, beside=named),
        ]
    )


async def bare_day_s() -> float:
    """Processor seconds of the day's reads by bare pymodbus, for others to compare with."""
    return await _bare()


async def _bare() -> float:
    """Client and server in one loop, as plant and gateway are in a lockstep run."""
    registers = [SimData(0, values=[7] * 41000, datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    servers, clients = [], []
    for _ in REQUESTS:
        devices = [SimDevice(unit, (bits, list(bits), list(registers), list(registers))) for unit in (1, 2)]
        server = ModbusTcpServer(devices, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        client = AsyncModbusTcpClient("127.0.0.1", port=server.transport.sockets[0].getsockname()[1], retries=0)
        await client.connect()
        servers.append(server)
        clients.append(client)
    began = time.process_time()
    for _ in range(SAMPLE):
        await asyncio.gather(*(_ask(client, wanted) for client, wanted in zip(clients, REQUESTS, strict=True)))
    took = time.process_time() - began
    for client, server in zip(clients, servers, strict=True):
        client.close()
        await server.shutdown()
    return took * TICKS / SAMPLE


async def _ask(client: AsyncModbusTcpClient, wanted: Sequence[Request]) -> None:
    for unit, code, address, count in wanted:
        read = client.read_holding_registers if code == 3 else client.read_input_registers
        reply = await read(address, count=count, device_id=unit)
        assert not reply.isError()


async def _ours() -> float:
    site, clock = load_site(HOMES), LockstepClock(1_473_058_800_000_000)
    wired = [replace(spec, mqtt=False) for spec in site.devices if spec.link is not None]
    meters = [replace(spec, mqtt=False) for spec in site.devices if spec.link is None]
    plant = Plant(site.links, [*wired, *meters], clock, lambda *_: 700.0, site_id=site.id)
    async with plant, Gateway(plant.links, wired, clock, tick_s=60) as gateway:
        await plant.step(clock.now_us())
        await gateway.poll()
        took = 0.0
        for t_us in _moments(clock):
            await plant.step(t_us)
            began = time.process_time()
            found = await gateway.poll()
            took += time.process_time() - began
            assert len(found) == len(wired)
        return took * TICKS / SAMPLE


def _moments(clock: LockstepClock) -> Iterator[int]:
    for _ in range(SAMPLE):
        clock.advance_to(clock.now_us() + 60_000_000)
        yield clock.now_us()
