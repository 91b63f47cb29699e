"""Foreign clients on a running `vpptwin devices`: what we serve is what they understand, not only what we do."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
import sunspec2.modbus.client as sunspec

from devices.points import KIND_POINTS

ROOT = Path(__file__).parents[2]
HOMES = (1, 2, 9, 10, 11, 13, 16, 17)
MAPS = {"meter-grid": "eastron-sdm630", "turbine": "generic-microturbine", "flex-13": "generic-interruptible-load"}
PATIENCE_S = 10.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    found = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return found


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for it, and say what did not come."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.05)


@dataclass
class Running:
    """`vpptwin devices` as another program sees it: its process and the endpoints it printed."""

    process: subprocess.Popen[str]
    endpoints: dict[str, dict[str, Any]]

    def address(self, device: str) -> tuple[str, int]:
        return self.endpoints[device]["host"], self.endpoints[device]["port"]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The eight homes on ports that are free, until the tests are done."""
    text = (ROOT / "examples" / "sites" / "homes.yaml").read_text(encoding="utf-8")
    text = text.replace("../data/homes", str(ROOT / "examples" / "data" / "homes"))
    written = re.findall(r"port: (\d+)", text)
    for old, new in zip(written, free_ports(len(written)), strict=True):
        text = text.replace(f"port: {old}", f"port: {new}")
    site = tmp_path_factory.mktemp("site") / "homes.yaml"
    site.write_text(text, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("vpptwin")), "devices", str(site), "--json"]
    errors = (site.parent / "stderr").open("w")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(28)]
        assert all(lines), (site.parent / "stderr").read_text()
        found = [json.loads(line) for line in lines]
        yield Running(process, {one["device"]: one for one in found})
        process.send_signal(signal.SIGINT)
        process.wait(20)
    errors.close()


@pytest.fixture
def inverter(plant: Running) -> Iterator[Callable[[str], Any]]:
    """pysunspec2's client of a device, scanned."""
    opened = []

    def open_(device: str) -> Any:
        host, port = plant.address(device)
        unit = plant.endpoints[device]["unit"]
        client = sunspec.SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr=host, ipport=port, timeout=5)
        opened.append(client)
        client.scan()
        return client

    yield open_
    for client in opened:
        client.close()


@dataclass
class Listener:
    """An MQTT client that keeps what it is told."""

    messages: dict[str, list[mqtt.MQTTMessage]] = field(default_factory=dict)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def take(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        with self.arrived:
            self.messages.setdefault(message.topic, []).append(message)

    def newest(self, device: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.messages[f"vpp/homes/{device}/telemetry"][-1].payload)
        return found


@pytest.fixture
def listener(plant: Running) -> Iterator[Listener]:
    """paho, subscribed to everything of the site."""
    heard = Listener()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_message = heard.take
    client.on_connect = lambda *_: client.subscribe("vpp/homes/#", qos=1)
    client.connect(*plant.address("meter-1"))
    client.loop_start()
    until(lambda: sum(topic.endswith("/telemetry") for topic in heard.messages) >= 9, "telemetry of nine meters")
    yield heard
    client.disconnect()
    client.loop_stop()


def test_every_device_says_where_it_listens(plant: Running) -> None:
    assert len(plant.endpoints) == 28
    for device, one in plant.endpoints.items():
        if device.startswith("meter-") and device != "meter-grid":
            assert {**one, "port": 0} == {
                "device": device,
                "kind": "meter",
                "protocol": "mqtt",
                "host": "127.0.0.1",
                "port": 0,
                "topic": f"vpp/homes/{device}/telemetry",
            }
        else:
            assert (one["protocol"], one["map"]) == ("modbus", MAPS.get(device, "sunspec"))
            assert one["unit"] in (1, 2)


def test_pysunspec2_reads_a_pv_inverter(inverter: Callable[[str], Any], listener: Listener) -> None:
    pv = inverter("pv-1")
    assert [number for number in pv.models if isinstance(number, int)] == [1, 701, 702, 704, 714, 715]
    assert (pv.common[0].Mn.cvalue, pv.common[0].SN.cvalue) == ("vpptwin", "pv-1")
    assert pv.DERCapacity[0].WMaxRtg.cvalue == 4000
    measured = pv.DERMeasureAC[0]
    measured.read()
    assert 0 <= measured.W.cvalue <= 4000
    assert measured.TotWhInj.cvalue >= 0
    assert 49 < measured.Hz.cvalue < 61


def test_pysunspec2_sets_a_battery_and_its_power_and_the_homes_meter_follow(
    inverter: Callable[[str], Any], listener: Listener
) -> None:
    battery = inverter("bat-1")
    assert [number for number in battery.models if isinstance(number, int)] == [1, 701, 702, 704, 713, 714, 715]
    assert battery.DERCapacity[0].WDisChaRteMaxRtg.cvalue == 5000
    storage, measured, control = battery.DERStorageCapacity[0], battery.DERMeasureAC[0], battery.DERCtlAC[0]
    storage.read()
    assert storage.WHRtg.cvalue == 6400
    assert 40 < storage.SoC.cvalue < 60
    measured.read()
    assert measured.W.cvalue == 0, "nobody has asked for anything yet"
    without_w = listener.newest("meter-1")["p"]["p_w"]

    def follows(watts: int) -> bool:
        measured.read()
        return bool(measured.W.cvalue == watts)

    for watts in (-1500, 2000):
        control.WSetMod.cvalue, control.WSet.cvalue, control.WSetEna.cvalue = 1, watts, 1
        control.write()
        control.read()
        assert (control.WSet.cvalue, control.WSetEna.cvalue) == (watts, 1)
        until(lambda watts=watts: follows(watts), f"{watts} W at the battery")  # type: ignore[misc]
        # the load of the home moves, too, but by less than half of what was asked for
        until(
            lambda watts=watts: abs(listener.newest("meter-1")["p"]["p_w"] - without_w - watts) < 700,  # type: ignore[misc]
            f"{watts} W more at the home's meter",
        )
    control.WSetEna.cvalue = 0
    control.write()
    until(lambda: follows(0), "rest after the setpoint was taken away")


def test_meters_publish_the_specified_payload_in_sequence(listener: Listener) -> None:
    topic = "vpp/homes/meter-9/telemetry"
    until(lambda: len(listener.messages[topic]) >= 3, "three readings of a meter")
    messages = listener.messages[topic][:3]
    payloads = [json.loads(message.payload) for message in messages]
    for message, payload in zip(messages, payloads, strict=True):
        assert (message.qos, message.retain) == (1, False)
        assert set(payload) == {"v", "ts", "seq", "q", "p"}
        assert (payload["v"], payload["q"]) == (1, "good")
        assert set(payload["p"]) <= set(KIND_POINTS["meter"])
        assert {"p_w", "e_imp_wh", "e_exp_wh", "u1_v", "f_hz"} <= set(payload["p"])
        assert isinstance(payload["p"]["e_imp_wh"], int)
        assert abs(payload["ts"] - time.time()) < 60
    first = payloads[0]["seq"]
    assert [payload["seq"] for payload in payloads] == list(range(first, first + 3))
    assert all(one["ts"] < two["ts"] for one, two in pairwise(payloads))
    status = listener.messages["vpp/homes/meter-9/status"][0]
    assert (status.payload, status.retain) == (b"online", True)


def test_mbpoll_reads_the_sdm630_and_it_balances_the_homes(
    plant: Running, listener: Listener, require: Callable[[str], str]
) -> None:
    mbpoll = require("mbpoll")
    host, port = plant.address("meter-grid")

    def read(register: int) -> float:
        words = [mbpoll, "-m", "tcp", "-p", str(port), "-a", "1", "-t", "3:float", "-B", "-0", "-r", str(register)]
        done = subprocess.run([*words, "-c", "1", "-1", host], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.search(rf"\[{register}\]:\s+(\S+)", done.stdout)
        assert found is not None, done.stdout
        return float(found[1])

    def balanced() -> bool:
        homes_w = sum(listener.newest(f"meter-{home}")["p"]["p_w"] for home in (*HOMES, "vpp"))
        return abs(read(0x34) + homes_w) <= 10 + 0.02 * abs(homes_w)

    until(balanced, "import at the grid meter as the homes' meters sum to")
    assert 49 < read(0x46) < 61
    assert read(0x48) >= 0


def test_mbpoll_orders_the_turbine_reads_the_order_back_and_sees_it_revert(
    plant: Running, require: Callable[[str], str]
) -> None:
    mbpoll = require("mbpoll")
    host, port = plant.address("turbine")
    unit = str(plant.endpoints["turbine"]["unit"])

    def poll(register: int, *values: int, count: int = 1) -> list[int]:
        words = [mbpoll, "-m", "tcp", "-p", str(port), "-a", unit, "-t", "4", "-0", "-r", str(register), "-1"]
        words += [host, *map(str, values)] if values else ["-c", str(count), host]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return [int(value) for value in re.findall(r"^\[\d+\]:\s+(\d+)", done.stdout, re.MULTILINE)]

    poll(2, 2)  # revert_s
    poll(0, 0, 5000)  # p_set_w, two registers
    poll(3, 1)  # set_ena
    assert poll(0, count=4) == [0, 5000, 2, 1]
    assert poll(4) in ([1], [2])  # set_left_s
    until(lambda: poll(3) == [0], "the order's end by its revert time")


def test_ctrl_c_ends_it_cleanly_and_devices_say_goodbye(plant: Running, listener: Listener) -> None:
    """Last in this file: it stops the plant that the other tests share."""
    plant.process.send_signal(signal.SIGINT)
    assert plant.process.wait(20) == 0
    offline = [message.payload for message in listener.messages["vpp/homes/meter-9/status"]]
    assert offline[-1] == b"offline"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(plant.address("pv-1"), timeout=2)
