"""The emulated plant over Modbus TCP, as foreign clients see it: pysunspec2, pymodbus, mbpoll, bare sockets."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import struct
import time
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from devices.emulator import Plant
from devices.errors import DeviceError
from devices.gateway import Gateway
from devices.regmap import load_map


def build(site: Any, **options: Any) -> Plant:
    return Plant(site.links, site.devices, site.clock, site.series, site_id="test", **options)


def where(plant: Plant, device: str) -> tuple[str, int, int]:
    found = next(one for one in plant.endpoints if one.device == device)
    assert found.unit is not None
    return found.host, found.port, found.unit


async def test_pysunspec2_scans_and_reads_a_pv_inverter(site: Any, with_sunspec: Any) -> None:
    async with build(site) as plant:
        await plant.step(site.at(0))
        await plant.step(site.at(3600))

        def use(client: Any) -> None:
            assert [model for model in client.models if isinstance(model, int)] == [1, 701, 702, 704, 714, 715]
            measured, rated = client.DERMeasureAC[0], client.DERCapacity[0]
            assert client.common[0].SN.value == "pv-1"
            assert measured.W.cvalue == pytest.approx(plant.powers_w["pv-1"], abs=0.5)
            assert measured.W.cvalue > 1900
            assert measured.TotWhInj.cvalue == plant.counters_wh("pv-1")[1]
            assert measured.Hz.cvalue == pytest.approx(50, abs=0.03)
            assert measured.InvSt.value == 3
            assert (rated.WMax.cvalue, rated.WMaxRtg.cvalue, rated.CtrlModes.value) == (4000, 4000, 1)

        await with_sunspec(plant, "pv-1", use)


async def test_pysunspec2_orders_a_battery_and_sees_the_order_revert(site: Any, with_sunspec: Any) -> None:
    async with build(site) as plant:
        await plant.step(site.at(0))

        def order(client: Any) -> None:
            control = client.DERCtlAC[0]
            control.WSetMod.value, control.WSet.cvalue, control.WSetRvrtTms.value = 1, -2500, 90
            control.write()
            control.WSetEna.value = 1
            control.write()
            control.read()
            assert (control.WSet.cvalue, control.WSetEna.value, control.WSetRvrtRem.value) == (-2500, 1, 90)

        def look(client: Any) -> tuple[float, int, int, float, float]:
            control, measured = client.DERCtlAC[0], client.DERMeasureAC[0]
            state_of_charge = client.DERStorageCapacity[0].SoC.cvalue
            return (
                control.WSet.cvalue,
                control.WSetEna.value,
                control.WSetRvrtRem.value,
                measured.W.cvalue,
                state_of_charge,
            )

        await with_sunspec(plant, "bat-1", order)
        await plant.step(site.at(60))
        charged = 50 + 2500 * 0.95 / 60 / 6400 * 100
        assert await with_sunspec(plant, "bat-1", look) == (-2500, 1, 30, -2500, pytest.approx(charged, abs=0.006))
        await plant.step(site.at(120))
        assert await with_sunspec(plant, "bat-1", look) == (
            0,
            0,
            0,
            0,
            pytest.approx(50 + 1.5 * (charged - 50), abs=0.01),
        )
        assert plant.counters_wh("bat-1")[0] == round(2500 * 90 / 3600 - 0.5)  # 90 s to the second, in a 60 s step


async def test_rewriting_the_timer_keeps_an_order_alive_and_withdrawing_ends_it(site: Any) -> None:
    async with build(site) as plant:
        await plant.step(site.at(0))
        host, port, unit = where(plant, "bat-1")
        image = plant.units["bat-1"].image  # type: ignore[attr-defined]
        tms, ena = image.address(704, "WSetRvrtTms"), image.address(704, "WSetEna")
        async with AsyncModbusTcpClient(host, port=port) as client:
            await client.write_registers(image.address(704, "WSet"), [0, 1000], device_id=unit)
            await client.write_registers(tms, [0, 60], device_id=unit)
            await client.write_registers(ena, [1], device_id=unit)
            await plant.step(site.at(50))
            await client.write_registers(tms, [0, 60], device_id=unit)
            await plant.step(site.at(100))
            assert plant.powers_w["bat-1"] == 1000
            left = await client.read_holding_registers(image.address(704, "WSetRvrtRem"), count=2, device_id=unit)
            assert left.registers == [0, 10]
            await client.write_registers(ena, [0], device_id=unit)
            await plant.step(site.at(105))
            assert plant.powers_w["bat-1"] == 0
            await plant.step(site.at(300))
            held = await client.read_holding_registers(image.address(704, "WSet"), count=2, device_id=unit)
            assert held.registers == [0, 1000], "withdrawn, not reverted"


async def test_an_inverter_is_curtailed_in_percent_of_its_rating(site: Any, with_sunspec: Any) -> None:
    async with build(site) as plant:
        await plant.step(site.at(0))

        def limit(client: Any) -> None:
            control = client.DERCtlAC[0]
            control.WMaxLimPct.cvalue, control.WMaxLimPctRvrtTms.value = 25, 60
            control.write()
            control.WMaxLimPctEna.value = 1
            control.write()

        await with_sunspec(plant, "pv-1", limit)
        await plant.step(site.at(60))
        assert plant.powers_w["pv-1"] == 1000
        await plant.step(site.at(120))
        assert plant.powers_w["pv-1"] > 1900


async def test_a_ramp_slows_a_battery_down(site: Any) -> None:
    site.change("bat-1", behaviour={"ramp_w_s": 20})
    async with build(site) as plant:
        await plant.step(site.at(0))
        image = plant.units["bat-1"].image  # type: ignore[attr-defined]
        host, port, unit = where(plant, "bat-1")
        async with AsyncModbusTcpClient(host, port=port) as client:
            await client.write_registers(image.address(704, "WSet"), [0, 3000], device_id=unit)
            await client.write_registers(image.address(704, "WSetEna"), [1], device_id=unit)
        seen = []
        for second in (60, 120, 180):
            await plant.step(site.at(second))
            seen.append(plant.powers_w["bat-1"])
        assert seen == [1200, 2400, 3000]


async def test_a_turbine_and_a_load_follow_their_maps_controls(site: Any) -> None:
    async with build(site) as plant:
        await plant.step(site.at(0))
        demand_w = -plant.powers_w["flex-1"]
        for device, value in (("turbine", 5000), ("flex-1", demand_w / 2)):
            host, port, unit = where(plant, device)
            map_ = load_map(next(one.map for one in plant.endpoints if one.device == device))  # type: ignore[arg-type]
            async with AsyncModbusTcpClient(host, port=port) as client:
                for write in next(iter(map_.controls.values())).writes(value, 120):
                    answer = await client.write_registers(write.addr, list(write.registers), device_id=unit)
                    assert not answer.isError()
        for second in (60, 120):
            await plant.step(site.at(second))
        assert plant.powers_w["turbine"] == 5000
        assert plant.powers_w["flex-1"] == pytest.approx(-round(demand_w / 2))
        shown = dict(await values(plant, "turbine"))
        assert (shown["p_w"], shown["h_w"], shown["state"], shown["set_ena"], shown["set_left_s"]) == (
            5000,
            7500,
            2,
            0,
            0,
        )
        await plant.step(site.at(180))
        assert plant.powers_w["turbine"] == 0
        assert plant.powers_w["flex-1"] == pytest.approx(-demand_w, rel=0.05)


async def values(plant: Plant, device: str) -> set[tuple[str, Any]]:
    host, port, unit = where(plant, device)
    map_ = load_map(next(one.map for one in plant.endpoints if one.device == device))  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    async with AsyncModbusTcpClient(host, port=port) as client:
        for block in map_.blocks:
            read = client.read_input_registers if block.fc == 4 else client.read_holding_registers
            answer = await read(block.addr, count=block.count, device_id=unit)
            assert not answer.isError()
            found |= block.decode(answer.registers)
    return set(found.items())


async def test_mbpoll_reads_the_sdm630_with_import_positive(site: Any) -> None:
    binary = shutil.which("mbpoll")
    if binary is None:
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail("mbpoll is demanded but not installed")
        pytest.skip("mbpoll is not installed")
    site.gaps |= {"home-1/pv", "home-2/pv"}  # no sun: the site imports
    async with build(site) as plant:
        await plant.step(site.at(0))
        await plant.step(site.at(3600))
        host, port, _ = where(plant, "meter-grid")

        async def poll(address: int) -> float:
            options = [
                "-m",
                "tcp",
                "-p",
                str(port),
                "-a",
                "1",
                "-0",
                "-r",
                str(address),
                "-t",
                "3:float",
                "-B",
                "-1",
                host,
            ]
            child = await asyncio.create_subprocess_exec(binary, *options, stdout=asyncio.subprocess.PIPE)
            said, _ = await child.communicate()
            found = re.search(rb"\]:\s+(\S+)", said)
            assert found, said
            return float(found[1])

        assert await poll(0x34) == pytest.approx(plant.powers_w["meter-grid"], abs=0.01)
        assert await poll(0x34) > 500
        assert await poll(0x46) == pytest.approx(50, abs=0.03)
        taken, given = plant.counters_wh("meter-grid")
        assert (taken, given > 500) == (0, True)
        assert await poll(0x48) == pytest.approx(given / 1000, abs=1e-3), "register 'import' = given by the grid"
        assert await poll(0x4A) == 0


async def test_wrong_requests_get_proper_exceptions(site: Any) -> None:
    async with build(site) as plant:
        await plant.step(site.at(0))
        image = plant.units["bat-1"].image  # type: ignore[attr-defined]
        host, port, _ = where(plant, "bat-1")
        end = image.base + len(image.registers)
        async with AsyncModbusTcpClient(host, port=port) as client:
            read, write = client.read_holding_registers, client.write_registers
            asked = {
                "past the end": (read(end - 1, count=2, device_id=2), 2),
                "before the start": (read(100, count=1, device_id=2), 2),
                "no input registers": (client.read_input_registers(image.base, count=2, device_id=2), 2),
                "no coils": (client.read_coils(0, count=1, device_id=2), 1),
                "measurement written": (write(image.address(701, "W"), [5], device_id=2), 2),
                "point not honoured": (write(image.address(704, "VarSetEna"), [1], device_id=2), 2),
                "enable neither 0 nor 1": (write(image.address(704, "WSetEna"), [7], device_id=2), 3),
                "limit above 100 %": (write(image.address(704, "WMaxLimPct"), [10001], device_id=2), 3),
                "pv takes no setpoint": (write(image.address(704, "WSetEna"), [1], device_id=1), 2),
                "unknown unit": (read(image.base, count=2, device_id=77), 11),
            }
            for what, (request, code) in asked.items():
                answer = await request
                assert (answer.isError(), answer.exception_code) == (True, code), what
            ok = await read(image.base, count=2, device_id=2)
            assert ok.registers == [0x5375, 0x6E53]
            held = await read(image.address(704, "WSetEna"), count=1, device_id=2)
            assert held.registers == [0], "a refused write leaves nothing behind"


async def test_a_gap_shows_not_available(site: Any, with_sunspec: Any) -> None:
    async with build(site) as plant:
        await plant.step(site.at(0))
        site.gaps |= {"home-1/pv", "home-1/load"}
        await plant.step(site.at(60))
        shown = await with_sunspec(plant, "pv-1", lambda client: client.DERMeasureAC[0].W.value)
        assert shown is None
        assert "p_w" not in dict(await values(plant, "flex-1"))


async def test_never_answers_and_dies_and_comes_back(site: Any) -> None:
    site.change("pv-1", behaviour={"never_answers": True})
    site.change("turbine", behaviour={"dies_at_s": 60, "back_at_s": 180})
    async with build(site) as plant:
        await plant.step(site.at(0))
        host, port, _ = where(plant, "bat-1")
        async with AsyncModbusTcpClient(host, port=port, timeout=0.2, retries=0, reconnect_delay=0) as client:
            with pytest.raises(Exception, match=r"[Nn]o response"):
                await client.read_holding_registers(40000, count=2, device_id=1)
            alive = await client.read_holding_registers(40000, count=2, device_id=2)
            assert not alive.isError(), "the silent unit does not take the link with it"
        assert dict(await values(plant, "turbine"))["state"] == 0
        await plant.step(site.at(60))
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(where(plant, "turbine")[:2], 1)
        await plant.step(site.at(180))
        assert dict(await values(plant, "turbine"))["state"] == 0


async def test_in_lockstep_nobody_waits_on_the_wall_for_who_says_nothing(site: Any) -> None:
    site.change("pv-1", behaviour={"never_answers": True})
    site.change("pv-2", behaviour={"dies_at_s": 300, "back_at_s": 900})
    devices = [one for one in site.devices if not one.mqtt]
    async with build(site, patient=False) as plant, Gateway(plant.links, devices, site.clock) as gateway:
        began_s, got = time.monotonic(), dict.fromkeys((one.id for one in devices), 0)
        for tick in range(20):
            await plant.step(site.at(60 * tick))
            for reading in await gateway.poll():
                got[reading.device] += 1
        assert time.monotonic() - began_s < 5, "15 and more waits of a second each, if it waited"
        assert got.pop("pv-1") == 0
        assert 9 <= got.pop("pv-2") <= 10, "ten minutes away, and found again at once"
        assert set(got.values()) == {20}, "its neighbours on the link are read at every tick"
        assert gateway.stats.devices["pv-1"].failures > 10
        assert gateway.stats.lost == 0, "who says nothing is an outage"


async def test_a_wedged_connection_is_closed_and_others_go_on(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.emulator.server._HALF_FRAME_S", 0.2)
    async with build(site) as plant:
        await plant.step(site.at(0))
        host, port, unit = where(plant, "bat-1")
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(struct.pack(">HHHBB", 1, 0xBEEF, 200, 2, 3))  # wrong protocol id, and never complete
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
        async with AsyncModbusTcpClient(host, port=port) as client:
            assert not (await client.read_holding_registers(40000, count=2, device_id=unit)).isError()


async def test_a_port_in_use_is_said_with_its_mend(site: Any, capfd: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.links = [replace(link, port=port) if link.id == "grid" else link for link in site.links]
        with pytest.raises(DeviceError, match=rf"links: grid: cannot listen on 127.0.0.1:{port}: port in use; .*auto"):
            async with build(site, ports="fixed"):
                pass
    assert capfd.readouterr() == ("", ""), "said once, by us"
    async with build(site, ports="fixed") as plant:
        assert next(link for link in plant.links if link.id == "grid").port == port


def test_only_loopback_is_served(site: Any) -> None:
    from dataclasses import replace

    site.links[0] = replace(site.links[0], host="0.0.0.0")
    with pytest.raises(DeviceError, match="loopback only"):
        build(site)
