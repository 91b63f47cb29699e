"""What the gateway costs: thousands of polled devices, orders, decoding, beside bare pymodbus and pysunspec2.

The devices are a bare Modbus responder in another process (the other core): only the gateway's own process is measured.
"""

from __future__ import annotations

import asyncio
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pymodbus.client import AsyncModbusTcpClient
from sunspec2.device import Model

from benchmarks.figures import Figure, figures
from benchmarks.yard import Yard, image
from devices.description import DeviceSpec, LinkSpec
from devices.drivers.profile import SOURCES
from devices.gateway import Gateway
from devices.sunspec import compile_model
from twin.clock import WallClock

DEVICES, UNITS, SECONDS = 3000, 100, 10
"""Devices, how many share a link, and how long they are polled."""
ORDERED, TURNS = 500, 5
_NAMED = "bare pymodbus 3.16"


def main() -> None:
    """Print the figures of issue B that concern Modbus."""
    with Yard(DEVICES // UNITS, UNITS) as yard, TemporaryDirectory() as folder:
        meters = _meters(yard, Path(folder) / "meter.yaml")
        run = asyncio.run(_polled(yard.links, meters, SECONDS))
        bare = asyncio.run(_bare(yard))
    beside = _beside_a_dead_one()
    with Yard(ORDERED, 1) as yard:
        all_s, p99_order = asyncio.run(_ordered(yard))
    with Yard(1, 1) as yard:
        single = asyncio.run(_one_order(yard))
    figures(
        [
            Figure(
                "processor time of a poll of 40 registers", run.cpu_s * 1e6, "us", reference=bare * 1e6, beside=_NAMED
            ),
            Figure(f"{DEVICES} devices at 1 Hz, of a core", run.core_pct, "%", 50),
            Figure(f"  cycles due in {SECONDS} s", run.due, "", at_least=DEVICES * SECONDS),
            Figure("  missed cycles", run.due - run.answered, "", 0),
            Figure("  due to decoded, p99", run.p99_s * 1e3, "ms", 100),
            Figure("  due to decoded, median", statistics.median(run.late_us) / 1e3, "ms"),
            *beside,
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


@dataclass(slots=True)
class Polled:
    """What came of the cycles that were due within some seconds."""

    used_s: float
    """Processor seconds of the whole process."""
    seconds: float
    due: int = 0
    answered: int = 0
    late_us: list[int] = field(default_factory=list)
    """From the moment a cycle was due to its decoded reading."""

    @property
    def cpu_s(self) -> float:
        """Of one answered cycle."""
        return self.used_s / max(self.answered, 1)

    @property
    def core_pct(self) -> float:
        return self.used_s / self.seconds * 100

    @property
    def p99_s(self) -> float:
        return _p99(self.late_us) / 1e6


async def _polled(
    links: Sequence[LinkSpec], devices: Sequence[DeviceSpec], seconds: float, dead: int = 0, tick_s: float = 1.0
) -> Polled:
    """Every cycle that fell due within `seconds`, whenever it was answered, after a warm start."""
    clock, cycles = WallClock(), list[tuple[int, int, bool, int]]()
    gateway = Gateway(links, devices, clock, tick_s=tick_s, lockstep=False)

    def note(due_us: int, spent: int, answered: bool) -> None:
        cycles.append((due_us, spent, answered, clock.now_us() - due_us))

    async with gateway:
        while sum(one.connected for one in gateway.stats.devices.values()) < len(devices) - dead:
            await _pause(0.2)
        for rounds in gateway._rounds.values():
            rounds.noticed = note
        await _pause(2 * tick_s)  # what was late when the last device came up is over
        from_us, before = clock.now_us(), time.process_time()
        await _pause(seconds)
        used, until_us = time.process_time() - before, from_us + round(seconds * 1e6)
        await _pause(2 * tick_s)  # the last ones due are answered
    period_us = round(tick_s * 1e6)
    out = Polled(used, seconds)
    for due_us, spent, answered, late_us in cycles:
        out.due += sum(from_us <= due_us + k * period_us < until_us for k in range(spent))
        if answered and from_us <= due_us < until_us:
            out.answered += 1
            out.late_us.append(late_us)
    return out


def _beside_a_dead_one() -> list[Figure]:
    """99 devices with all alive and with one dead, each on a link of its own: both take turns, the best turn counts.

    The best, because what else the machine does only ever adds.
    """
    found: dict[int, list[Polled]] = {0: [], 1: []}
    with Yard(100, 1) as alive, Yard(100, 1, dead=1) as dying:
        for _ in range(TURNS):
            for dead, yard in ((0, alive), (1, dying)):
                # Ten times a second, so that a turn's 99 % stands on thousands of polls and not on five hundred.
                found[dead].append(asyncio.run(_polled(yard.links, yard.devices, 4, dead, tick_s=0.1)))
    late, cpu = ({dead: min(map(of, runs)) for dead, runs in found.items()} for of in (_late_ms, _cpu_us))
    what, beside = "beside a dead one", "all alive"
    return [
        Figure(f"99 devices {what}, due to decoded, p99", late[1], "ms", 1.1 * late[0], None, late[0], beside),
        Figure("  processor time of a poll", cpu[1], "us", None, None, cpu[0], beside),
    ]


def _late_ms(run: Polled) -> float:
    return run.p99_s * 1e3


def _cpu_us(run: Polled) -> float:
    return run.cpu_s * 1e6


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
