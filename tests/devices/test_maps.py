"""Every shipped register map, served by the emulator and read, ordered and released over the wire by its driver."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from devices import regmap
from devices.description import DeviceSpec, LinkSpec
from devices.drivers import MappedDriver
from devices.drivers.driver import DriverError
from devices.emulator.mapped_unit import MappedUnit
from devices.emulator.modbus import ModbusLink as EmulatedLink
from devices.emulator.modbus import Served
from devices.gateway import Gateway
from devices.modbus import ModbusLink
from devices.pace import Pace
from devices.points import CONTROLS
from devices.regmap import RegisterMap, load_map, shipped_maps
from devices.regmap.errors import MapFaults
from devices.regmap.loader import parse_map

VALUES = {
    **{
        "p_w": -1500.0,
        "q_var": 20.0,
        "soc_pu": 0.64,
        "soh_pu": 0.98,
        "t_c": 31.0,
        "f_hz": 50.01,
        "state": 4,
        "alarm": 0,
    },
    **{"u1_v": 230.1, "u2_v": 229.9, "u3_v": 231.0, "i1_a": 6.5, "i2_a": 0.0, "i3_a": 0.0, "h_w": 900, "gas_m3": 12.5},
    **{"e_imp_wh": 123_450, "e_exp_wh": 67_890, "e_heat_wh": 5_000},
}
NOW_US = 1_700_000_000_000_000


def spec_of(map_: RegisterMap) -> DeviceSpec:
    kind: Any = map_.kind
    return DeviceSpec("it", kind, "home", "link", map_.transport.unit, map_.model)


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    """`serve({unit: MappedUnit})` is the link of a server with these units."""
    opened: list[EmulatedLink] = []

    async def start(units: dict[int, MappedUnit], clock: Any = None) -> LinkSpec:
        served = {unit: Served(made, lambda: False, lambda: 0.0) for unit, made in units.items()}
        server = EmulatedLink(
            LinkSpec("link", "modbus-tcp", "127.0.0.1", 0), served, clock.now_us if clock else lambda: NOW_US
        )
        await server.open()
        opened.append(server)
        return server.bound

    yield start
    for server in opened:
        await server.close()


@pytest.mark.parametrize("name", shipped_maps())
async def test_a_shipped_map_is_read_over_the_wire(name: str, serve: Any) -> None:
    map_ = load_map(name)
    unit = MappedUnit(spec_of(map_), map_)
    power = abs(VALUES["p_w"]) if map_.kind in ("pv", "turbine") else VALUES["p_w"]
    unit.show({**VALUES, "p_w": power}, NOW_US)
    link = ModbusLink.of(await serve({map_.transport.unit: unit}))
    driver = MappedDriver(spec_of(map_), map_.transport.unit, map_)
    await link.connect()
    await driver.open(link)
    found = await driver.read(link, NOW_US)
    expected = {name: VALUES[name] for name in {*map_.points, *map_.derived} if name in VALUES}
    expected["p_w"] = power
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6, abs=0.05)
    link.close()


@pytest.mark.parametrize("name", [name for name in shipped_maps() if load_map(name).controls])
async def test_a_shipped_control_is_ordered_shown_and_released(name: str, serve: Any) -> None:
    map_ = load_map(name)
    unit = MappedUnit(spec_of(map_), map_)
    link = ModbusLink.of(await serve({map_.transport.unit: unit}))
    driver = MappedDriver(spec_of(map_), map_.transport.unit, map_)
    await link.connect()
    await driver.open(link)
    assert driver.control == CONTROLS[map_.kind]
    orders = (1200, -700) if driver.bounds is not None and driver.bounds[0] < 0 else (1200,)
    for value_w in orders:
        await driver.write_order(link, value_w, 60)
        held = unit.command.p_set_w if driver.control == "p_set_w" else unit.command.p_max_w
        assert held == value_w
        unit.show({"p_w": float(value_w)}, NOW_US)
        shown = await driver.read_back(link)
        assert shown.value_w == pytest.approx(value_w, abs=driver.tolerance_w)
        assert shown.enabled
    await driver.release(link)
    assert unit.command.p_set_w in (None, 0)
    assert unit.command.p_max_w >= 1_000_000
    link.close()


@pytest.mark.parametrize(
    ("name", "after_s"),
    [("sma-hybrid", 40), ("kostal-plenticore", 30), ("victron-gx-inverter", 60), ("generic-microturbine", 90)],
)
async def test_a_device_falls_back_after_its_own_time_or_the_written_one(name: str, after_s: int, serve: Any) -> None:
    map_ = load_map(name)
    unit = MappedUnit(spec_of(map_), map_)
    link = ModbusLink.of(await serve({map_.transport.unit: unit}))
    driver = MappedDriver(spec_of(map_), map_.transport.unit, map_)
    await link.connect()
    await driver.write_order(link, 800, 90)
    assert unit.next_revert_us() == NOW_US + after_s * 1_000_000
    unit.revert(NOW_US + after_s * 1_000_000)
    assert unit.command.p_set_w is None
    assert unit.next_revert_us() is None
    link.close()


async def test_kostal_floats_have_their_low_word_first(serve: Any) -> None:
    map_ = load_map("kostal-plenticore")
    unit = MappedUnit(spec_of(map_), map_)
    unit.show({"soc_pu": 0.5}, NOW_US)
    link = ModbusLink.of(await serve({71: unit}))
    await link.connect()
    assert await link.read(71, 3, 210, 2) == [0x0000, 0x4248], "50.0 is 0x42480000"
    link.close()


async def test_several_units_of_one_victron_host_are_read_over_one_connection(serve: Any, clock: Any) -> None:
    names = ("victron-gx", "victron-gx-inverter", "victron-gx-meter")
    maps = {name: load_map(name) for name in names}
    units = {maps[name].transport.unit: MappedUnit(spec_of(maps[name]), maps[name]) for name in names}
    for unit in units.values():
        unit.show({"p_w": 2000.0, "soc_pu": 0.4, "u1_v": 230.0, "f_hz": 50.0, "e_imp_wh": 10, "e_exp_wh": 20}, NOW_US)
    link = await serve(units)
    devices = [
        DeviceSpec(name, spec_of(maps[name]).kind, "home", "link", None, name, model={"p_w": 3000}) for name in names
    ]
    async with Gateway([link], devices, clock) as gateway:
        readings = {reading.device: reading.values for reading in await gateway.poll()}
    assert {name: values["p_w"] for name, values in readings.items()} == dict.fromkeys(names, 2000)


async def test_a_slow_device_is_given_its_pause_and_its_delay(serve: Any) -> None:
    map_ = load_map("huawei-sun2000")
    link = ModbusLink.of(await serve({1: MappedUnit(spec_of(map_), map_)}))
    link.keep(Pace(interval_s=0.05, connect_delay_s=0.2, timeout_s=5.0))
    began = time.monotonic()
    await link.connect()
    for _ in range(3):
        await link.read(1, 3, 32080, 2)
    assert time.monotonic() - began >= 0.2 + 2 * 0.05
    assert link.timeout_s == 5.0
    link.close()


OWN = """
schema: 1
model: acme-b1
kind: storage
transport: {unit: 7, word_order: little}
groups: {fast: 1.0}
points:
  cha_w:   {fc: 4, addr: 10, type: uint16, unit: W, group: fast}
  dch_w:   {fc: 4, addr: 11, type: uint16, unit: W, group: fast}
  soc_pu:  {fc: 4, addr: 12, type: uint16, scale: 0.001, group: fast}
  p_set_w: {fc: 3, addr: 100, type: int32, unit: W, group: fast, sign: charge_positive}
derived: {p_w: "dch_w - cha_w"}
controls:
  p_set_w:
    unit: W
    range: [-3000, 3000]
    quantum: 50
    sign: charge_positive
    steps: [{fc: 16, addr: 100, type: int32, value: $x}]
    readback: {point: p_set_w, tol: 1}
    revert: {after_s: 20}
    release: {steps: [{fc: 16, addr: 100, type: int32, value: 0}]}
"""


async def test_a_new_map_is_one_yaml_file(tmp_path: Path, serve: Any) -> None:
    path = tmp_path / "acme-b1.yaml"
    path.write_text(OWN)
    map_ = load_map(path)
    unit = MappedUnit(spec_of(map_), map_)
    link = ModbusLink.of(await serve({7: unit}))
    driver = MappedDriver(spec_of(map_), 7, map_)
    await link.connect()
    for power_w in (-900.0, 450.0):
        unit.show({"p_w": power_w, "soc_pu": 0.314}, NOW_US)
        assert await driver.read(link, NOW_US) == {"p_w": power_w, "soc_pu": 0.314, "p_set_w": 0}
        await driver.open(link)
    await driver.write_order(link, -1234, 60)
    assert unit.command.p_set_w == -1250
    assert await link.read(7, 3, 100, 2) == [1250, 0], "charging is positive there, low word first"
    link.close()


def test_a_map_for_another_kind_is_refused() -> None:
    with pytest.raises(DriverError, match="is for a pv"):
        MappedDriver(DeviceSpec("it", "storage", "home", "link", 1), 1, load_map("huawei-sun2000"))


async def test_an_order_is_repeated_as_often_as_the_device_needs_it(serve: Any, clock: Any) -> None:
    map_ = load_map("sma-hybrid")
    unit = MappedUnit(spec_of(map_), map_)
    unit.show({"p_w": 0.0, "soc_pu": 0.5}, 0)
    link = await serve({3: unit}, clock)
    spec = DeviceSpec("it", "storage", "home", "link", 3, "sma-hybrid", model={"p_w": 3000})
    async with Gateway([link], [spec], clock, lease_s=180) as gateway:
        await gateway.poll()
        for _ in range(12):
            until_us = clock.now_us() + 900_000_000
            gateway.order("it", 1000, until_us=until_us, slot_us=0, reason="test", plan="p")
            unit.show({"p_w": 1000.0, "soc_pu": 0.5}, clock.now_us())
            await gateway.settle()
            clock.advance(10)
            due_us = unit.next_revert_us()
            assert due_us is not None
            assert due_us > clock.now_us(), "its own 40 s never run out"
            await gateway.poll()


async def test_huawei_charges_and_discharges_by_commands_of_their_own(serve: Any) -> None:
    map_ = load_map("huawei-luna2000")
    unit = MappedUnit(spec_of(map_), map_)
    link = ModbusLink.of(await serve({1: unit}))
    driver = MappedDriver(spec_of(map_), 1, map_)
    driver.pace = Pace()
    await link.connect()
    await driver.open(link)

    async def held() -> tuple[int, int, int, int]:
        """(command, charge power, discharge power, minutes)."""
        (command,), (minutes,) = await link.read(1, 3, 47100, 1), await link.read(1, 3, 47083, 1)
        words = await link.read(1, 3, 47247, 4)
        return command, words[0] << 16 | words[1], words[2] << 16 | words[3], minutes

    assert await held() == (0, 0, 0, 0)
    await driver.write_order(link, -1500, 180)
    assert await held() == (1, 1500, 0, 3)
    assert unit.command.p_set_w == -1500
    await driver.write_order(link, 70_000, 90)
    assert await held() == (2, 1500, 70_000, 2), "a minute that began counts: never shorter than the lease"
    assert unit.command.p_set_w == 70_000
    shown = await driver.read_back(link)
    assert (shown.value_w, shown.enabled) == (70_000, True)
    await driver.write_order(link, 0, 60)
    assert await held() == (1, 0, 70_000, 1)
    assert unit.command.p_set_w == 0
    assert unit.next_revert_us() == NOW_US + 60_000_000
    unit.revert(NOW_US + 60_000_000)
    assert unit.command.p_set_w is None
    assert not (await driver.read_back(link)).enabled
    await driver.write_order(link, -800, 60)
    await driver.release(link)
    assert (await held())[0] == 0
    assert unit.command.p_set_w is None
    link.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "value: $x, scale: -1, when: negative}",
            "value: 5, when: negative}",
            r"no step writes \$x when it is negative",
        ),
        ("release: {steps: [{fc: 6,", "release: {steps: [{when: negative, fc: 6,", "only the steps of an order"),
        ("when: negative", "when: minus", "Invalid enum value 'minus'"),
        ("point: p_set_w, tol", "point: p_sit_w, tol", "no point 'p_sit_w'"),
    ],
)
def test_steps_by_sign_are_checked(old: str, new: str, said: str) -> None:
    text = (Path(regmap.__file__).parents[1] / "maps" / "huawei-luna2000.yaml").read_text()
    assert old in text
    with pytest.raises(MapFaults, match=said):
        parse_map(text.replace(old, new), "x.yaml")
