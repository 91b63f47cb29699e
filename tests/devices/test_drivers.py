"""Drivers against real sockets: bus sign, missing values, few reads; pysunspec2 agrees on what was written."""

from __future__ import annotations

import asyncio

import pytest
import sunspec2.modbus.client as oracle

from devices.description import DeviceSpec
from devices.drivers import MappedDriver, SunSpecDriver, driver_for
from devices.drivers.driver import DriverError
from devices.modbus import ConfigurationFault, Disconnected, ModbusLink
from devices.sunspec import SunSpecImage

NOW_US = 1_473_058_800_000_000


@pytest.fixture
async def link_to(servers):
    opened = []

    async def link(*units):
        made = ModbusLink("127.0.0.1", await servers.start(units), 0.3)
        await made.connect()
        opened.append(made)
        return made

    yield link
    for made in opened:
        made.close()


async def test_a_battery_is_read_in_bus_sign_with_two_requests(link_to, make_battery, make_sunspec):
    unit = make_sunspec(2, make_battery())
    link = await link_to(unit)
    driver = SunSpecDriver(DeviceSpec("bat", "storage", "home", "roof", 2, "sunspec"), 2)
    await driver.open(link)
    assert driver.bounds == (-5000, 5000)
    unit.reads.clear()
    values = await driver.read(link, NOW_US)
    assert len(unit.reads) == 2
    assert values == {
        "p_w": -1200.0,
        "s_va": 1200.0,
        "u1_v": 230.1,
        "f_hz": 50.01,
        "e_exp_wh": 7,
        "e_imp_wh": 1234,
        "state": 3,
        "soc_pu": 0.5,
        "soh_pu": 0.99,
        "p_set_w": 0.0,
        "set_ena": 0,
        "set_left_s": 0,
    }


@pytest.mark.parametrize("power", [-1, 0, 1])
async def test_scale_factors_may_change_between_polls(link_to, make_battery, make_sunspec, power):
    image = make_battery()
    link = await link_to(make_sunspec(2, image))
    driver = SunSpecDriver(DeviceSpec("bat", "storage", "home", "roof", 2, "sunspec"), 2)
    await driver.open(link)
    image.set(701, {"W_SF": power})
    image.set(704, {"WSet_SF": power})
    assert (await driver.read(link, NOW_US))["p_w"] == -1200
    await driver.write_order(link, -2500, 60)
    assert (await driver.read_back(link)).value_w == -2500
    assert image.get(704)["WSet"] == -2500


async def test_not_implemented_points_are_absent_never_zero(link_to, make_battery, make_sunspec):
    image = make_battery()
    link = await link_to(make_sunspec(2, image))
    driver = SunSpecDriver(DeviceSpec("bat", "storage", "home", "roof", 2, "sunspec"), 2)
    await driver.open(link)
    image.set(701, {"W": None, "TotWhAbs": None})
    image.write(image.address(713, "Pct_SF"), [0x8000])
    values = await driver.read(link, NOW_US)
    assert not {"p_w", "e_imp_wh", "soc_pu"} & set(values)
    assert values["e_exp_wh"] == 7


async def test_points_that_a_device_lacks_are_not_written(link_to, make_battery, make_sunspec):
    image = make_battery()
    image.set(704, {"WSetPct": None, "WSetPctRvrt": None, "WSetRvrt": None})
    unit = make_sunspec(2, image)
    link = await link_to(unit)
    driver = SunSpecDriver(DeviceSpec("bat", "storage", "home", "roof", 2, "sunspec"), 2)
    await driver.open(link)
    await driver.write_order(link, 700, 60)
    touched = {address + k for _, address, values in unit.log for k in range(len(values))}
    for name in ("WSetPct", "WSetPctRvrt", "WSetRvrt"):
        assert image.address(704, name) not in touched
    assert unit.log[-1][1:] == (image.address(704, "WSetEna"), [1])
    assert image.get(704)["WSet"] == 700


async def test_pysunspec2_scans_and_reads_what_the_driver_ordered(servers, make_pv, make_sunspec):
    image = make_pv()
    port = await servers.start([make_sunspec(1, image)])
    link = ModbusLink("127.0.0.1", port, 0.5)
    await link.connect()
    driver = SunSpecDriver(DeviceSpec("pv", "pv", "home", "roof", 1, "sunspec"), 1)
    await driver.open(link)
    await driver.write_order(link, 1234, 180)
    link.close()

    def scan():
        device = oracle.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=3)
        device.scan()
        try:
            control = device.models[704][0]
            shown = (control.WMaxLimPct.cvalue, control.WMaxLimPctEna.value, control.WMaxLimPctRvrtTms.value)
            return list(dict.fromkeys(device.models)), device.models[701][0].W.cvalue, shown
        finally:
            device.close()

    models, power_w, shown = await asyncio.to_thread(scan)
    assert {1, 701, 702, 704} <= set(models)
    assert power_w == 2345
    assert shown == (30.85, 1, 180)


async def test_a_device_that_is_no_sunspec_device_says_so(link_to, make_mapped):
    link = await link_to(make_mapped(1, "generic-microturbine", {}))
    driver = SunSpecDriver(DeviceSpec("pv", "pv", "home", "roof", 1, "sunspec"), 1)
    with pytest.raises(DriverError, match="SunS"):
        await driver.open(link)


@pytest.mark.parametrize(("is_grid", "owner"), [(True, "grid"), (False, "home")])
async def test_the_grids_meter_is_mirrored_by_its_driver(link_to, make_mapped, is_grid, owner):
    values = {
        "p_w": 4200.0 if is_grid else -4200.0,
        "e_imp_wh": 5000.0,
        "e_exp_wh": 250.0,
        "u1_v": 230.5,
        "f_hz": 50.02,
    }
    link = await link_to(make_mapped(1, "eastron-sdm630", values, is_grid))
    assert await link.read(1, 4, 0x34, 2) == [0x4583, 0x4000], "4200 W import, as the handbook has it"
    spec = DeviceSpec("meter", "meter", owner, "line", 1, "eastron-sdm630", is_grid=is_grid)
    found = await driver_for(spec).read(link, NOW_US)
    assert found["p_w"] == values["p_w"]
    counters = (found["e_imp_wh"], found["e_exp_wh"])
    assert counters == ((250, 5000) if is_grid else (5000, 250))
    assert (found["u1_v"], found["f_hz"]) == (230.5, 50.02)


async def test_slow_groups_are_read_when_they_are_due(link_to, make_mapped):
    link = await link_to(make_mapped(1, "eastron-sdm630", {}))
    driver = driver_for(DeviceSpec("meter", "meter", "home", "line", 1, "eastron-sdm630"))
    seen = ["e_imp_wh" in await driver.read(link, NOW_US + second * 1_000_000) for second in (0, 10, 29, 30, 31, 60)]
    assert seen == [True, False, False, True, False, True]


@pytest.mark.parametrize(
    ("kind", "name", "control", "ordered"),
    [("turbine", "generic-microturbine", "p_set_w", 7000), ("load", "generic-interruptible-load", "p_max_w", 900)],
)
async def test_mapped_devices_take_orders_with_a_lease(link_to, make_mapped, kind, name, control, ordered):
    unit = make_mapped(1, name, {"p_w": 3000 if kind == "turbine" else -3000})
    link = await link_to(unit)
    driver = driver_for(DeviceSpec("it", kind, "vpp", "line", 1, name))
    assert isinstance(driver, MappedDriver)
    await driver.write_order(link, ordered, 180)
    assert [address for _, address, _ in unit.log] == [2, 0, 3]
    values = await driver.read(link, NOW_US)
    assert (values[control], values["set_ena"]) == (ordered, 1)
    assert values["p_w"] == (3000 if kind == "turbine" else -3000)
    assert unit.registers["h"][1][2] == 180
    await driver.release(link)
    assert (await driver.read_back(link)).enabled is False


def test_a_map_for_another_kind_is_refused():
    with pytest.raises(DriverError, match="is for a turbine"):
        driver_for(DeviceSpec("x", "load", "home", "line", 1, "generic-microturbine"))


async def test_an_exception_and_a_missing_server_are_told_apart(link_to, make_battery, make_sunspec, servers):
    unit = make_sunspec(2, make_battery())
    link = await link_to(unit)
    with pytest.raises(ConfigurationFault, match="exception 2"):
        await link.read(2, 3, 1, 2)
    assert link.connected
    await servers.stop(link.port)
    with pytest.raises(Disconnected):
        await link.read(2, 3, 40000, 2)
    with pytest.raises(Disconnected, match="cannot connect"):
        await link.connect()


async def test_a_sunspec_meter_is_read_from_its_owners_side(link_to, make_sunspec):
    image = SunSpecImage([1, 203])
    factors = {"W_SF": 0, "V_SF": -1, "A_SF": -2, "Hz_SF": -2, "TotWh_SF": 0, "VAR_SF": 0}
    image.set(203, factors)
    image.set(203, {"W": 1500, "PhVphA": 229.9, "AphA": 6.52, "Hz": 50.01, "TotWhImp": 42, "TotWhExp": 9})
    link = await link_to(make_sunspec(1, image))
    driver = driver_for(DeviceSpec("m", "meter", "home", "line", 1, "sunspec"))
    await driver.open(link)
    values = await driver.read(link, NOW_US)
    assert (values["p_w"], values["e_imp_wh"], values["e_exp_wh"], values["i1_a"]) == (-1500, 42, 9, 6.52)
