"""Register dumps of real devices (and some of our own making), served by the emulator, read by our driver and by
pysunspec2's client: the same models with the same values, point by point."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from devices.description import DeviceSpec, LinkSpec
from devices.drivers import SunSpecDriver
from devices.drivers.driver import DriverError
from devices.drivers.survey import Survey, survey
from devices.emulator.dump import Dump, DumpUnit
from devices.emulator.modbus import ModbusLink as EmulatedLink
from devices.emulator.modbus import Served
from devices.errors import DeviceError
from devices.modbus import ModbusLink
from devices.sunspec.image import MARK

HERE = Path(__file__).parent
OURS = HERE / "dumps"
REAL = HERE.parents[1] / ".." / "shared" / "data" / "fixtures" / "sunspec"
COUNT = 34
REFUSED = {"test-data-402-01_Solren_PVI85": "402"}
"""pysunspec2 gives up on the whole device because a model's length fits no number of its groups; we on that model."""


def real_dumps() -> list[Path]:
    return sorted(REAL.glob("*.json")) if REAL.is_dir() else []


def all_dumps() -> list[Any]:
    missing = pytest.param(
        None,
        marks=pytest.mark.skip("../shared/data/fixtures/sunspec is absent: only our own dumps are read"),
        id="real",
    )
    return [*sorted(OURS.glob("*.json")), *(real_dumps() or [missing])]


def has_chain(dump: Dump) -> bool:
    return any(tuple(dump.registers.get(base + k) for k in (0, 1)) == MARK for base in (0, 1000, 40000, 50000))


Open = Callable[[Dump], Coroutine[Any, Any, ModbusLink]]


@pytest.fixture
async def serve() -> AsyncIterator[Open]:
    """`serve(dump)` is a connection to an emulated device that holds the dump."""
    opened: list[Any] = []

    async def start(dump: Dump) -> ModbusLink:
        unit = Served(DumpUnit(dump), lambda: False, lambda: 0.0)
        server = EmulatedLink(LinkSpec("dump", "modbus-tcp", "127.0.0.1", 0), {1: unit}, lambda: 0)
        await server.open()
        link = ModbusLink.of(server.bound)
        await link.connect()
        opened.extend([link, server])
        return link

    yield start
    for one in opened:
        if isinstance(one, ModbusLink):
            one.close()
        else:
            await one.close()


def by_pysunspec2(port: int) -> list[tuple[int, Any]]:
    """(model id, model) in the order of the chain, each read."""
    client = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=3)
    try:
        client.base_addr_list = [*client.base_addr_list, 1000]
        client.scan()
        return [(model.model_id, model) for model in client.model_list]
    finally:
        client.close()


def flat(group: Any, prefix: str = "") -> dict[str, Any]:
    """Point values as our plans name them."""
    out = {prefix + name: point for name, point in group.points.items()}
    for name, child in group.groups.items():
        if isinstance(child, list):
            for k, one in enumerate(child):
                out |= flat(one, f"{prefix}{name}[{k}].")
        else:
            out |= flat(child, f"{prefix}{name}.")
    return out


def same(ours: Any, point: Any) -> bool:
    """pysunspec2 gives None for what is not implemented, and text or numbers as we do."""
    theirs = point.cvalue
    if isinstance(theirs, bytes):
        theirs = theirs.hex()
    if isinstance(ours, str):
        told = str(theirs or "").partition("\0")[0].rstrip()
        return ours == told or ours.endswith(told.replace(":", "").lower())
    return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)


def compared(found: Survey, theirs: list[tuple[int, Any]]) -> int:
    """How many values agree; fails at the first that does not."""
    known = [model for model in found.models if not model.fault]
    assert {model.id for model in known} <= {number for number, _ in theirs}
    theirs = [row for row in theirs if row[0] in {model.id for model in known}]
    agreed = 0
    for model, (number, other) in zip(known, theirs, strict=True):
        points = flat(other)
        for name, value in model.values.items():
            if points.get(name) is None or points[name].cvalue is None:
                continue
            assert same(value, points[name]), f"model {number} {name}: {value!r} != {points[name].cvalue!r}"
            agreed += 1
        missing = [
            name
            for name, point in points.items()
            if name not in model.values and point.cvalue is not None and not unreal(point)
        ]
        assert missing == [], f"model {number}: we miss {missing}"
    return agreed


def unreal(point: Any) -> bool:
    """What we count as missing and pysunspec2 shows: empty text, an accumulator at 0, NaN, a scale factor too large."""
    value = point.cvalue
    if isinstance(value, (str, bytes)):
        return not value.strip("\0 " if isinstance(value, str) else b"\0 \xff")
    power = point.sf_value or 0
    kind = point.pdef["type"]
    return (kind.startswith("acc") and value == 0) or kind == "pad" or not math.isfinite(value) or abs(power) > 10


@pytest.mark.parametrize("path", all_dumps(), ids=lambda path: getattr(path, "stem", None))
async def test_our_driver_and_pysunspec2_read_the_same_of_every_dump(path: Path, serve: Open) -> None:
    dump = Dump.load(path)
    link = await serve(dump)
    if not has_chain(dump):
        await reads_as_a_raw_map(dump, link)
        return
    found = await survey(link, 1, dump.name)
    if dump.name in REFUSED:
        assert [str(model.id) for model in found.models if model.fault] == [REFUSED[dump.name]]
    else:
        assert compared(found, await asyncio.to_thread(by_pysunspec2, link.port)) > 5
    document = json.loads(path.read_text(encoding="utf-8"))
    if "models" in document:
        assert [[model.id, model.length - 2] for model in found.models] == document["models"]
    if document.get("serial"):
        assert document["serial"] in found.identity


async def reads_as_a_raw_map(dump: Dump, link: ModbusLink) -> None:
    """Every register as it is; and no driver takes it for a SunSpec device."""
    addresses = sorted(dump.registers)
    at = 0
    while at < len(addresses):
        first = addresses[at]
        count = sum(1 for address in addresses[at : at + 125] if address < first + 125)
        last = addresses[at + count - 1]
        for fc in (3, 4):
            registers = await link.read(1, fc, first, last - first + 1)
            assert {a: registers[a - first] for a in addresses[at : at + count]} == {
                a: dump.registers[a] for a in addresses[at : at + count]
            }
        at += count
    with pytest.raises(DriverError, match="no 'SunS'"):
        await survey(link, 1, dump.name)


@pytest.mark.skipif(not real_dumps(), reason="../shared/data/fixtures/sunspec is absent")
def test_there_are_34_real_dumps_and_18_have_a_chain() -> None:
    dumps = [Dump.load(path) for path in real_dumps()]
    assert len(dumps) == COUNT
    assert sum(map(has_chain, dumps)) == 18


@pytest.mark.skipif(not real_dumps(), reason="../shared/data/fixtures/sunspec is absent")
@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("test-data-103-05_SMA_SolarInverter", "pv", {"p_w": 14470, "f_hz": 49.95, "u1_v": 236.7}),
        ("test-data-203-01_VerisIndustries_E51C2", "meter", {"p_w": -6540, "f_hz": 60.01, "e_imp_wh": 906630}),
    ],
)
async def test_real_inverters_and_meters_come_out_in_bus_sign(
    name: str, kind: Any, expected: dict[str, float], serve: Open
) -> None:
    link = await serve(Dump.load(REAL / f"{name}.json"))
    driver = SunSpecDriver(DeviceSpec("it", kind, "home", "link", 1, "sunspec"), 1)
    await driver.open(link)
    values = await driver.read(link, 0)
    assert {key: values[key] for key in expected} == pytest.approx(expected)


async def test_a_legacy_battery_is_read_with_its_order_in_force(serve: Open) -> None:
    link = await serve(Dump.load(OURS / "legacy-storage.json"))
    driver = SunSpecDriver(DeviceSpec("bat", "storage", "home", "link", 1, "sunspec"), 1)
    await driver.open(link)
    assert driver.bounds == (-4000, 4500)
    values = await driver.read(link, 0)
    assert (values["p_w"], values["soc_pu"], values["e_exp_wh"]) == (-2340, 0.635, 1234560)
    assert (values["p_set_w"], values["set_ena"]) == (-2300, 1)
    assert "set_left_s" not in values


async def test_a_scale_factor_out_of_range_makes_its_points_missing_and_local_control_is_seen(serve: Open) -> None:
    link = await serve(Dump.load(OURS / "battery-local-bad-scale.json"))
    driver = SunSpecDriver(DeviceSpec("bat", "storage", "home", "link", 1, "sunspec"), 1)
    await driver.open(link)
    values = await driver.read(link, 0)
    assert (values["p_w"], values["soc_pu"]) == (-777, 0.415)
    assert "s_va" not in values
    assert driver.local
    with pytest.raises(DriverError, match="own panel"):
        await driver.write_order(link, 500, 60)


async def test_a_map_without_an_end_marker_ends_where_the_registers_end(serve: Open) -> None:
    whole = Dump.load(OURS / "meter-base-0.json")
    last = max(whole.registers)
    cut = Dump("cut", "", "", {address: value for address, value in whole.registers.items() if address < last - 1})
    found = await survey(await serve(cut), 1, "cut")
    assert [model.id for model in found.models] == [1, 203]


def test_a_file_that_is_no_dump_says_so(tmp_path: Path) -> None:
    for text in ("{}", '{"registers": {"40000": 70000}}', '{"registers": {"x": 1}}', "["):
        path = tmp_path / "dump.json"
        path.write_text(text)
        with pytest.raises(DeviceError):
            Dump.load(path)
