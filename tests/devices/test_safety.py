"""Devices are safe whatever happens to the service: killed, hung, silent, or gone with everything beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from devices.description import DeviceSpec, LinkSpec
from devices.drivers import driver_for
from devices.emulator import Plant
from devices.modbus import ModbusLink
from devices.proxy import Fault, Proxy, Script
from devices.release import release
from devices.watchdog import Watchdog
from twin.cli.app import app

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("vpptwin")
LEASE_S = 2.0
HOME = {"party": "home", "unit": 1}
BATTERY = {"e_wh": 6400, "p_w": 5000}
TURBINE = {"p_min_w": 2000, "p_max_w": 10_000, "efficiency": 0.3, "heat_ratio": 1.5}

SERVICE = """
import asyncio, sys, time
import msgspec
from devices.description import DeviceSpec, LinkSpec
from devices.gateway import Gateway

class Clock:
    def now_us(self):
        return time.time_ns() // 1000
    async def sleep_until_us(self, t_us):
        await asyncio.sleep(max(t_us - self.now_us(), 0) / 1e6)

async def main():
    links, devices, lease_s, orders = msgspec.json.decode(
        sys.argv[1], type=tuple[list[LinkSpec], list[DeviceSpec], float, dict[str, float]])
    clock = Clock()
    async with Gateway(links, devices, clock, lease_s=lease_s, tick_s=0.2, lockstep=False) as gateway:
        told = 0
        while True:
            for device, value in orders.items():
                until_us = clock.now_us() + 3_600_000_000
                gateway.order(device, value, until_us=until_us, slot_us=1, reason="t", plan="p")
            dog = gateway._guarding.watchdog._process.pid
            if dog != told and gateway.stats.verified == len(orders):
                told = dog
                print(dog, flush=True)
            await asyncio.sleep(0.1)

asyncio.run(main())
"""


class WallClock:
    def now_us(self):
        return time.time_ns() // 1000

    async def sleep_until_us(self, t_us):
        await asyncio.sleep(max(t_us - self.now_us(), 0) / 1e6)


class Yard:
    """A battery with a revert timer, a turbine whose timer never ends (so that the watchdog must act), and a meter."""

    def __init__(self, plant: Plant, devices: list[DeviceSpec]) -> None:
        self.plant = plant
        self.devices = [one for one in devices if one.link in ("roof", "plant")]

    @property
    def links(self) -> list[LinkSpec]:
        return [link for link in self.plant.links if link.id in ("roof", "plant")]

    @property
    def ordered(self) -> list[str]:
        """Devices under an order now."""
        return sorted(one for one, unit in self.plant.units.items() if unit.command.p_set_w is not None)

    async def until(self, ordered: list[str], within_s: float) -> float:
        """Seconds until exactly these are under an order."""
        began = time.monotonic()
        while self.ordered != ordered:
            assert time.monotonic() - began < within_s, f"{self.ordered} instead of {ordered} after {within_s} s"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def service(self, **orders: float) -> tuple[asyncio.subprocess.Process, int]:
        """A service process whose orders are verified, and the process id of its watchdog (a line for each new one)."""
        said = msgspec.json.encode((self.links, self.devices, LEASE_S, orders)).decode()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVICE, said, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        dog = await self.dog(process)
        assert self.ordered == sorted(orders)
        return process, dog

    async def dog(self, process: asyncio.subprocess.Process) -> int:
        """The process id of the service's next watchdog."""
        assert process.stdout is not None
        return int(await asyncio.wait_for(process.stdout.readline(), 30))

    async def gone(self, dog: int, within_s: float = 10) -> bool:
        """Whether a watchdog that outlives its service ends by itself, seeing that its devices are free."""
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            try:
                os.kill(dog, 0)
            except ProcessLookupError:
                return True
            await asyncio.sleep(0.02)
        return False


@pytest.fixture
async def yard():
    clock = WallClock()
    devices = [
        DeviceSpec("bat", "storage", map="sunspec", link="roof", model=BATTERY, failsafe="device", **HOME),
        DeviceSpec("turbine", "turbine", "vpp", link="plant", unit=1, map="generic-microturbine", model=TURBINE,
                   behaviour={"no_revert": True}, failsafe="watchdog"),
        DeviceSpec("m-1", "meter", "home", mqtt=True),
        DeviceSpec("m-2", "meter", "vpp", mqtt=True),
        DeviceSpec("grid", "meter", "grid", link="feeder", unit=1, map="eastron-sdm630", is_grid=True),
    ]  # fmt: skip
    links = [LinkSpec(name, "modbus-tcp", "127.0.0.1", 0, 0.5) for name in ("roof", "plant", "feeder")]
    async with AsyncExitStack() as stack:
        plant = Plant(links, devices, clock, lambda *_: 500.0, physics_s=0.05)
        await stack.enter_async_context(plant)
        serving = asyncio.create_task(plant.serve())
        yield Yard(plant, devices)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_after_kill_9_every_device_is_safe_within_its_revert_time_and_a_second(yard):
    service, dog = await yard.service(bat=1500, turbine=4000)
    service.kill()
    await service.wait()
    await yard.until([], LEASE_S + 1)
    assert await yard.gone(dog)


async def test_what_hangs_is_noticed_by_the_watchdog_within_its_lease(yard):
    service, dog = await yard.service(bat=1500, turbine=4000)
    os.kill(service.pid, signal.SIGSTOP)
    try:
        assert await yard.until([], LEASE_S + 1) > LEASE_S / 3
    finally:
        service.kill()
        await service.wait()
    assert await yard.gone(dog)


async def test_a_watchdog_that_dies_is_replaced(yard):
    service, dog = await yard.service(turbine=4000)
    os.kill(dog, signal.SIGKILL)
    another = await yard.dog(service)
    await asyncio.sleep(2)
    service.kill()
    await service.wait()
    await yard.until([], LEASE_S + 1)
    assert another != dog
    assert await yard.gone(another)


async def test_the_watchdog_goes_on_trying_a_device_that_does_not_answer(yard, eventually):
    turbine = [one for one in yard.devices if one.id == "turbine"]
    link = next(link for link in yard.links if link.id == "plant")
    script = Script(("127.0.0.1", 0), ("127.0.0.1", link.port), faults=(Fault("black_hole"),))
    async with Proxy(script) as proxy, Watchdog([replace(link, port=proxy.port)], turbine, 0.3) as dog:
        dog.renew(["turbine"])
        await eventually(lambda: bool(dog.said))
        assert dog.said[0].failed[0].startswith("turbine: ")
        proxy.faults = ()
        await eventually(lambda: bool(dog.said[-1].released))
        assert dog.said[-1].released == ("turbine",)


async def test_a_replaced_watchdog_knows_at_once_whom_to_guard(yard, eventually):
    turbine = [one for one in yard.devices if one.id == "turbine"]
    async with Watchdog(yard.links, turbine, 1.0) as dog:
        dog.renew(["turbine"])
        os.kill(dog._process.pid, signal.SIGKILL)
        await eventually(lambda: bool(dog.said))
        assert dog.said[0].released == ("turbine",)


async def test_release_needs_nothing_but_the_wires(yard):
    service, dog = await yard.service(bat=1500, turbine=4000)
    for pid in (dog, service.pid):
        os.kill(pid, signal.SIGKILL)
    await service.wait()
    found = await release(yard.links, yard.devices)
    assert [(one.device, one.ok) for one in found] == [("bat", True), ("turbine", True)]
    assert max(one.took_s for one in found) < 2
    assert yard.ordered == []


async def test_release_says_who_did_not_take_it_and_is_not_held_up(yard):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        ports = {"hole": hole.getsockname()[1], "off": 9}
        links = [*yard.links, *(LinkSpec(name, "modbus-tcp", "127.0.0.1", port) for name, port in ports.items())]
        more = [
            DeviceSpec(name, "storage", "home", link=name, unit=1, map="sunspec", model={"p_w": 1}) for name in ports
        ]
        began = time.monotonic()
        found = {one.device: one for one in await release(links, [*yard.devices, *more])}
        assert time.monotonic() - began < 2.2
    assert [name for name, one in found.items() if not one.ok] == ["hole", "off"]
    assert "cannot connect" in found["off"].error


@pytest.fixture
def free_ports():
    def some(count: int) -> list[int]:
        with contextlib.ExitStack() as held:
            probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
            return [probe.getsockname()[1] for probe in probes]

    return some


async def _write_setpoints(ports: list[int]) -> None:
    for port in ports:
        link = ModbusLink("127.0.0.1", port)
        await link.connect()
        driver = driver_for(DeviceSpec("bat", "storage", "home", link="roof", unit=2, map="sunspec"))
        await driver.open(link)
        await driver.write_order(link, -1200, 600)
        assert (await driver.read_back(link)).enabled
        link.close()


async def _enables(ports: list[int]) -> list[int]:
    found = []
    for port in ports:
        link = ModbusLink("127.0.0.1", port)
        await link.connect()
        driver = driver_for(DeviceSpec("bat", "storage", "home", link="roof", unit=2, map="sunspec"))
        await driver.open(link)
        found.append(int((await driver.read_back(link)).enabled))
        link.close()
    return found


def child_s() -> float:
    """Processor time of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_command_releases_a_running_plant_with_everything_else_dead(vpptwin, tmp_path, free_ports):
    """`vpptwin devices` serves; setpoints are written by hand; then the command frees every device within 2 s."""
    site = tmp_path / "site.yaml"
    text = (ROOT / "examples" / "sites" / "two-homes.yaml").read_text()
    ports = free_ports(4)
    for old, new in zip(("15040", "15041", "15042", "18831"), ports, strict=True):
        text = text.replace(old, str(new))
    site.write_text(text.replace("../data/homes", str(ROOT / "examples" / "data" / "homes")))
    plant = subprocess.Popen(
        [str(COMMAND), "devices", str(site), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert plant.stdout is not None
        for _ in range(8):
            json.loads(plant.stdout.readline())
        asyncio.run(_write_setpoints(ports[:2]))
        site.write_text(site.read_text().replace(str(ROOT / "examples" / "data" / "homes"), "gone"))
        used_s = -child_s()
        done = vpptwin("release", site, "--all", "--json")
        used_s += child_s()
        said = json.loads(done.stdout)
        assert [one["device"] for one in said["released"]] == ["bat-1", "bat-2", "pv-1", "pv-2"]
        assert said["ok"]
        took_s = max(one["took_s"] for one in said["released"])
        assert took_s < 1
        assert took_s + used_s < 2, "the whole command where a core is free"
        assert asyncio.run(_enables(ports[:2])) == [0, 0]
    finally:
        plant.kill()
        plant.communicate()
    runner = CliRunner()
    wrong = runner.invoke(app, ["release", str(site), "--device", "bat-9"])
    assert "there are: pv-1, bat-1" in str(wrong.exception)
    assert "--all" in str(runner.invoke(app, ["release", str(site)]).exception)
    assert runner.invoke(app, ["release", str(site), "--device", "bat-1"]).exit_code == 3, "nobody is there any more"
    site.write_text(site.read_text().replace("    link: roof-2\n    unit: 2\n    map: sunspec\n", "    mqtt: true\n"))
    said = vpptwin("release", site, "--all", expect=3).stderr
    assert "not asked: bat-2: orders over MQTT end by the device's own timer" in said
    assert said.count("NOT released") == 3
