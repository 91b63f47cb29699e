"""Modbus RTU on serial lines and RTU frames inside TCP: buses of several units, late replies, a foreign master."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devices.description import DeviceSpec, LinkSpec
from devices.emulator import Plant
from devices.emulator.mapped_unit import MappedUnit
from devices.emulator.modbus import ModbusLink as EmulatedLink
from devices.emulator.modbus import Served
from devices.emulator.wire import Wire
from devices.errors import DeviceError
from devices.gateway import Gateway
from devices.modbus import Disconnected, GarbledReply, ModbusLink, NoAnswer
from devices.regmap import load_map

METER = "eastron-sdm630"
TIMEOUT_S = 0.15


def meter(unit: int, p_w: float) -> MappedUnit:
    made = MappedUnit(DeviceSpec(f"meter-{unit}", "meter", "home", "bus", unit, METER), load_map(METER))
    made.show({"p_w": p_w, "u1_v": 230.0, "f_hz": 50.0, "e_imp_wh": 1000 * unit, "e_exp_wh": 5}, 0)
    return made


class Bus:
    """Units behind an emulated link; what is dead or late is switched by the test."""

    def __init__(self, units: tuple[int, ...], dead: tuple[int, ...] = ()) -> None:
        self.dead = set(dead)
        self.late_s = dict.fromkeys(units, 0.0)
        self.units = {unit: meter(unit, -100.0 * unit) for unit in units}
        self.served = {unit: self._served(unit) for unit in units}

    def _served(self, unit: int) -> Served:
        return Served(self.units[unit], lambda: unit in self.dead, lambda: self.late_s[unit])


@pytest.fixture
async def pair(require, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """Two ends of a serial line made by socat: (ours, the devices')."""
    ends = tmp_path / "ours", tmp_path / "theirs"
    words = [f"pty,raw,echo=0,link={end}" for end in ends]
    process = await asyncio.create_subprocess_exec(require("socat"), *words)
    for _ in range(500):
        if all(end.exists() for end in ends):
            break
        await asyncio.sleep(0.01)
    yield str(ends[0]), str(ends[1])
    process.terminate()
    await process.wait()


@pytest.fixture
async def serve(monkeypatch) -> AsyncIterator:
    """`serve(link, bus)` serves a bus, at an existing end of a line if `far` is given; returns the link to use."""
    opened: list[EmulatedLink] = []

    async def start(link: LinkSpec, bus: Bus, far: str = "") -> LinkSpec:
        made = EmulatedLink(link, bus.served, lambda: 0)
        if far:
            wire = type("End", (), {"near": link.serial, "far": far, "close": lambda self: None})()
            monkeypatch.setattr(Wire, "at", classmethod(lambda _cls, _path: wire))
        await made.open()
        opened.append(made)
        return made.bound

    yield start
    for made in opened:
        await made.close()


def rtu(serial: str = "") -> LinkSpec:
    return LinkSpec("bus", "modbus-rtu", "", 0, TIMEOUT_S, serial, baud=19200)


def rtu_tcp() -> LinkSpec:
    return LinkSpec("bus", "modbus-rtu-tcp", "127.0.0.1", 0, TIMEOUT_S)


def devices(*units: int) -> list[DeviceSpec]:
    return [DeviceSpec(f"meter-{unit}", "meter", "home", "bus", unit, METER) for unit in units]


async def sees_three_of_four(link: LinkSpec, bus: Bus, clock) -> None:
    async with Gateway([link], devices(1, 2, 3, 4), clock) as gateway:
        readings = {reading.device: reading.values["p_w"] for reading in await gateway.poll()}
        assert readings == {"meter-1": -100, "meter-2": -200, "meter-3": -300}
        assert "no answer" in gateway.stats.devices["meter-4"].last_error
        bus.dead.clear()
        clock.advance(60)
        assert {reading.device for reading in await gateway.poll()} == {f"meter-{k}" for k in (1, 2, 3, 4)}
        assert gateway.stats.lost == 0


async def test_three_units_and_a_dead_one_share_a_socat_line(serve, pair, clock):
    bus = Bus((1, 2, 3, 4), dead=(4,))
    await sees_three_of_four(await serve(rtu(pair[0]), bus, pair[1]), bus, clock)


@pytest.mark.parametrize("made", [rtu, rtu_tcp])
async def test_three_units_and_a_dead_one_share_a_bus(made, serve, clock):
    bus = Bus((1, 2, 3, 4), dead=(4,))
    await sees_three_of_four(await serve(made(), bus), bus, clock)


async def test_a_dead_unit_slows_its_bus_by_at_most_one_timeout(serve, clock):
    bus = Bus((1, 2, 3, 4))
    link = await serve(rtu(), bus)
    async with Gateway([link], devices(4, 1, 2, 3), clock) as gateway:

        async def cycle_s() -> float:
            clock.advance(1)
            began = time.monotonic()
            await gateway.poll()
            return time.monotonic() - began

        await cycle_s()
        healthy_s = statistics.median([await cycle_s() for _ in range(5)])
        bus.dead.add(4)
        slowest_s = max([await cycle_s() for _ in range(6)])
        silence_s = 2 * link.silence_s
        assert healthy_s < slowest_s < healthy_s + TIMEOUT_S + silence_s + 0.1, "one time-out, then back-off"
        clock.advance(0.5)
        began = time.monotonic()
        await gateway.poll()
        assert time.monotonic() - began < TIMEOUT_S, "in back-off it costs nothing"


@pytest.mark.parametrize("made", [rtu, rtu_tcp])
async def test_a_late_reply_is_never_taken_for_another_units(made, serve):
    bus = Bus((1, 2))
    bus.late_s[1] = TIMEOUT_S + 0.03
    link = ModbusLink.of(await serve(made(), bus))
    await link.connect()
    with pytest.raises(NoAnswer):
        await link.read(1, 4, 0x34, 2)
    bus.late_s[1] = 0.0
    try:
        registers = await link.read(2, 4, 0x34, 2)
    except GarbledReply:  # the late reply came in between: refused, the line drained, the next request is clean
        registers = await link.read(2, 4, 0x34, 2)
    assert registers == list(bus.units[2].input.registers[0x34:0x36])
    assert link.connected, "on a bus the connection is kept and drained"
    link.close()


async def test_a_unit_that_is_not_there_stays_silent_on_a_bus(serve):
    link = ModbusLink.of(await serve(rtu_tcp(), Bus((1,))))
    await link.connect()
    with pytest.raises(NoAnswer):
        await link.read(9, 4, 0, 2)
    assert await link.read(1, 4, 0x46, 2) == [0x4248, 0]
    link.close()


async def test_mbpoll_reads_the_emulated_bus(require, serve, pair):
    mbpoll = require("mbpoll")
    ours, theirs = pair
    await serve(rtu(ours), Bus((1, 2, 3)), theirs)
    for unit in (1, 2, 3):
        words = (
            "-m",
            "rtu",
            "-b",
            "19200",
            "-P",
            "none",
            "-a",
            str(unit),
            "-t",
            "3:float",
            "-B",
            "-r",
            "53",
            "-1",
            ours,
        )
        done = await asyncio.to_thread(
            subprocess.run, [mbpoll, *words], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stderr
        shown = re.search(r"\[53\]:\s+(\S+)", done.stdout)
        assert shown is not None
        # At a party's meter import is positive on the wire: the bus sign turned round.
        assert float(shown[1]) == 100 * unit


async def test_a_serial_port_that_is_missing_says_what_to_look_at(tmp_path):
    link = ModbusLink.of(rtu(str(tmp_path / "nothing")))
    with pytest.raises(Disconnected, match="adapter plugged in"):
        await link.connect()


async def test_an_emulated_line_never_takes_a_path_that_exists(tmp_path):
    taken = tmp_path / "ttyUSB0"
    taken.write_text("")
    with pytest.raises(DeviceError, match="the path is taken"):
        Wire.at(str(taken))
    wire = Wire.at(str(tmp_path / "bus"))
    assert os.path.realpath(wire.near).startswith("/dev/")
    wire.close()
    wire.close()
    assert not (tmp_path / "bus").exists()


@pytest.mark.parametrize("kind", ["modbus-tcp", "modbus-rtu", "modbus-rtu-tcp"])
async def test_a_plants_sdm630_is_served_and_read_over_every_kind_of_link(kind, clock, tmp_path):
    wanted = LinkSpec("bus", kind, "127.0.0.1", 0, 0.5, str(tmp_path / "ttyS9") if kind == "modbus-rtu" else "")
    specs = [
        DeviceSpec("meter-grid", "meter", "grid", "bus", 1, METER, is_grid=True),
        DeviceSpec("meter-home", "meter", "home", "bus", 2, METER, model={"series": "home/load"}),
    ]
    fixed = "fixed" if kind == "modbus-rtu" else "auto"
    async with Plant([wanted], specs, clock, lambda *_: 1200.0, ports=fixed) as plant:
        await plant.step(clock.now_us())
        clock.advance(3600)
        await plant.step(clock.now_us())
        (link,) = plant.links
        assert link.serial == wanted.serial
        async with Gateway([link], specs, clock) as gateway:
            shown = {reading.device: reading.values for reading in await gateway.poll()}
    assert (shown["meter-grid"]["p_w"], shown["meter-grid"]["e_exp_wh"]) == (1200, 1200)
    assert (shown["meter-home"]["p_w"], shown["meter-home"]["e_imp_wh"]) == (-1200, 1200)
    assert not (tmp_path / "ttyS9").exists(), "the line is taken away with the plant"
