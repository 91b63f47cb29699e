"""The legacy SunSpec profile, meters 203 and 213 and models 714 and 715, as pysunspec2 and our driver see them."""

from __future__ import annotations

from typing import Any

import pytest

from devices.description import DeviceSpec, LinkSpec
from devices.drivers import SunSpecDriver
from devices.emulator import Plant
from devices.modbus import ConfigurationFault, ModbusLink

LINK = LinkSpec("roof", "modbus-tcp", "127.0.0.1", 0)
MODEL = {"e_wh": 6400.0, "p_w": 5000.0, "eta": 0.95, "soc0_pu": 0.5}
START_US = 1_700_000_000_000_000
DEMAND_W = {"home/load": 1000.0, "home/pv": 3000.0}


def devices(map_: str) -> list[DeviceSpec]:
    def one(name: str, kind: Any, unit: int, party: str = "home", **more: Any) -> DeviceSpec:
        return DeviceSpec(name, kind, party, "roof", unit, map_, **more)

    return [
        one("pv", "pv", 1, model={"peak_w": 4000.0, "series": "home/pv"}),
        one("bat", "storage", 2, model=MODEL),
        one("meter", "meter", 3, model={"series": "home/load", "line_ohm": 0.0, "phases": 3}),
        one("grid", "meter", 4, "grid", is_grid=True),
    ]


class Still:
    """A clock that shows what it is told."""

    t_us = START_US

    def now_us(self) -> int:
        return self.t_us

    async def sleep_until_us(self, t_us: int) -> None:
        raise AssertionError("lockstep: nobody sleeps")


@pytest.fixture
async def plant_of() -> Any:
    opened: list[Plant] = []

    async def make(map_: str) -> tuple[Plant, Still]:
        clock = Still()
        plant = Plant([LINK], devices(map_), clock, lambda name, *_: DEMAND_W[name])
        await plant.__aenter__()
        opened.append(plant)
        await plant.step(START_US)
        return plant, clock

    yield make
    for plant in opened:
        await plant.__aexit__()


async def at(plant: Plant, clock: Still, seconds: float) -> None:
    clock.t_us = START_US + round(seconds * 1e6)
    await plant.step(clock.t_us)


async def test_pysunspec2_scans_writes_and_sees_a_legacy_battery_revert(plant_of: Any, with_sunspec: Any) -> None:
    plant, clock = await plant_of("sunspec-legacy")

    def order(client: Any) -> list[int]:
        storage = client.storage_basic[0]
        storage.OutWRte.cvalue, storage.InWRte.cvalue, storage.InOutWRte_RvrtTms.value = -40, 40, 90
        storage.write()
        storage.StorCtl_Mod.value = 3
        storage.write()
        return [model for model in client.models if isinstance(model, int)]

    def look(client: Any) -> tuple[float, int, float, float]:
        storage = client.storage_basic[0]
        return (
            client.inverter_three_phase[0].W.cvalue,
            storage.StorCtl_Mod.value,
            storage.ChaState.cvalue,
            client.mppt[0].module[0].DCW.cvalue,
        )

    assert await with_sunspec(plant, "bat", order) == [1, 103, 120, 121, 122, 123, 124, 160]
    await at(plant, clock, 60)
    power_w, mode, soc, charged_w = await with_sunspec(plant, "bat", look)
    assert (power_w, mode, charged_w) == (-2000, 3, 2000)
    assert soc == pytest.approx(50 + 2000 / 60 * 0.95 / 6400 * 100, abs=0.01)
    await at(plant, clock, 120)
    assert (await with_sunspec(plant, "bat", look))[:2] == (0, 0), "reverted after 90 s"


async def test_our_driver_orders_legacy_devices(plant_of: Any) -> None:
    plant, clock = await plant_of("sunspec-legacy")
    link = ModbusLink("127.0.0.1", plant.links[0].port, 1.0)
    await link.connect()
    specs = devices("sunspec")
    pv, bat = SunSpecDriver(specs[0], 1), SunSpecDriver(specs[1], 2)
    await pv.open(link)
    await bat.open(link)
    assert (pv.bounds, bat.bounds) == ((0, 4000), (-5000, 5000))
    for order_w in (2345, -1234):
        await bat.write_order(link, order_w, 60)
        shown = await bat.read_back(link)
        assert shown.value_w == pytest.approx(order_w, abs=bat.tolerance_w)
        assert shown.enabled
    await pv.write_order(link, 1500, 60)
    await at(plant, clock, 30)
    assert plant.powers_w["bat"] == pytest.approx(-1234, abs=1)
    assert plant.powers_w["pv"] == 1500
    await bat.release(link)
    await pv.release(link)
    await at(plant, clock, 40)
    assert (plant.powers_w["bat"], plant.powers_w["pv"]) == (0, 3000)
    link.close()


@pytest.mark.parametrize(("map_", "model"), [("sunspec", 203), ("sunspec-float", 213)])
async def test_meters_show_their_owners_import_and_the_grid_its_own(
    plant_of: Any, map_: str, model: int, with_sunspec: Any
) -> None:
    plant, clock = await plant_of(map_)
    await at(plant, clock, 3600)
    link = ModbusLink("127.0.0.1", plant.links[0].port, 1.0)
    await link.connect()
    specs = devices("sunspec")
    for unit, spec, p_w in ((3, specs[2], 2000), (4, specs[3], -2000)):
        driver = SunSpecDriver(spec, unit)
        await driver.open(link)
        values = await driver.read(link, START_US)
        assert values["p_w"] == p_w == plant.powers_w[spec.id]
        # An integer accumulator at 0 says "not implemented"; a float says 0.
        told = tuple(values.get(name, 0) for name in ("e_imp_wh", "e_exp_wh"))
        assert told == plant.counters_wh(spec.id)
        assert sum(told) == 2000

    def look(client: Any) -> tuple[float, list[int]]:
        return client.models[model][0].W.cvalue, [found for found in client.models if isinstance(found, int)]

    assert await with_sunspec(plant, "meter", look) == (-2000, [1, model]), "the home exports"
    assert await with_sunspec(plant, "grid", look) == (-2000, [1, model]), "and the grid takes: import is positive"
    link.close()


async def test_a_meters_scale_factor_follows_its_load(plant_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, clock = await plant_of("sunspec")
    link = ModbusLink("127.0.0.1", plant.links[0].port, 1.0)
    await link.connect()
    driver = SunSpecDriver(devices("sunspec")[2], 3)
    await driver.open(link)
    for hour, load_w in ((1, 400.0), (2, 90_000.0), (3, 1_234_000.0), (4, 500.0)):
        monkeypatch.setitem(DEMAND_W, "home/load", load_w)
        await at(plant, clock, 3600 * hour)
        read = (await driver.read(link, START_US))["p_w"]
        assert read == pytest.approx(3000 - load_w, rel=1e-4), "value and scale factor come from one read"
    link.close()


async def test_a_local_battery_refuses_orders_and_its_heart_beats(plant_of: Any) -> None:
    plant, clock = await plant_of("sunspec")
    unit = plant.units["bat"]
    link = ModbusLink("127.0.0.1", plant.links[0].port, 1.0)
    await link.connect()
    driver = SunSpecDriver(devices("sunspec")[1], 2)
    await driver.open(link)
    await driver.write_order(link, 700, 60)
    await at(plant, clock, 10)
    first = unit.image.get(715)
    assert first["ControllerHb"] == 1
    await driver.write_order(link, 800, 60)
    await at(plant, clock, 25)
    second = unit.image.get(715)
    assert (second["ControllerHb"], second["DERHb"] - first["DERHb"]) == (2, 15)
    assert unit.image.get(714)["Prt[0].DCW"] == 800
    unit.image.set(715, {"LocRemCtl": 1})
    with pytest.raises(ConfigurationFault, match="exception 3"):
        await driver.write_order(link, 900, 60)
    await driver.read(link, START_US)
    assert driver.local
    assert unit.command.p_set_w == 800
    link.close()
