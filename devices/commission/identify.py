"""What answers at each address of a site: SunSpec devices by their own words, others by their map, MQTT by message."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from devices.clock import Clock
from devices.description import BrokerSpec, DeviceSpec, LinkSpec
from devices.drivers import Driver, MappedDriver, driver_for
from devices.drivers.driver import DriverError
from devices.drivers.survey import survey
from devices.gateway.ingest import Ingest
from devices.gateway.stats import Stats
from devices.modbus import ConfigurationFault, ModbusFault, ModbusLink, NoAnswer
from devices.readings import Reading
from devices.regmap.errors import RegmapError
from devices.sunspec.errors import SunSpecError

READS = 5
_HOUR_US = 3_600_000_000
_FAULTS = (ModbusFault, DriverError, SunSpecError, RegmapError)


@dataclass(frozen=True, slots=True)
class Identity:
    """One device as met; `fault` says why it could not be."""

    device: str
    kind: str
    where: str
    what: str = ""
    values: Mapping[str, float | int] = field(default_factory=dict)
    latency_ms: float | None = None
    """Median of a poll's duration; None for MQTT."""
    latency_max_ms: float | None = None
    control: str = ""
    """Its control and the range that the device or its map states, W."""
    notes: tuple[str, ...] = ()
    fault: str = ""

    @property
    def ok(self) -> bool:
        return not self.fault


async def identify(
    links: Sequence[LinkSpec],
    devices: Sequence[DeviceSpec],
    clock: Clock,
    *,
    broker: BrokerSpec | None = None,
    site_id: str = "site",
    wait_s: float = 5.0,
) -> list[Identity]:
    """Meet every device, writing nothing; in the order of `devices`. `wait_s`: for a first MQTT message."""
    jobs = [_link(link, [one for one in devices if one.link == link.id], clock) for link in links]
    wireless = [one for one in devices if one.mqtt]
    if wireless:
        jobs.append(_wireless(wireless, broker, site_id, clock, wait_s))
    found = {one.device: one for met in await asyncio.gather(*jobs) for one in met}
    return [found[device.id] for device in devices if device.id in found]


async def _link(spec: LinkSpec, devices: Sequence[DeviceSpec], clock: Clock) -> list[Identity]:
    link = ModbusLink.of(spec)
    try:
        return [await _wired(link, device, clock) for device in devices]
    finally:
        link.close()


async def _wired(link: ModbusLink, device: DeviceSpec, clock: Clock) -> Identity:
    where = f"{link.where} unit {1 if device.unit is None else device.unit}"
    try:
        driver = driver_for(device)
        link.keep(driver.pace)
        if not link.connected:
            await link.connect()
        return await _met(link, driver, where, clock)
    except _FAULTS as error:
        return Identity(device.id, device.kind, where, fault=f"{error}{_hint(error, device)}")


async def _met(link: ModbusLink, driver: Driver, where: str, clock: Clock) -> Identity:
    device = driver.spec
    what = await _name(link, driver)
    await driver.open(link)
    values: dict[str, float | int] = {}
    took_s = []
    for k in range(READS):
        began_s = time.monotonic()
        # As if an hour had passed each time, so that every group of a register map is due.
        values.update(await driver.read(link, clock.now_us() + k * _HOUR_US))
        took_s.append(time.monotonic() - began_s)
    control = ""
    if driver.control is not None:
        bounds = driver.bounds
        control = driver.control + ("" if bounds is None else f" {bounds[0]:g}..{bounds[1]:g} W")
    return Identity(
        device.id,
        device.kind,
        where,
        what,
        values,
        statistics.median(took_s) * 1000,
        max(took_s) * 1000,
        control,
        tuple(_oddities(device, driver, values)),
    )


async def _name(link: ModbusLink, driver: Driver) -> str:
    if isinstance(driver, MappedDriver):
        return f"register map {driver.map.model}"
    found = await survey(link, driver.unit, driver.spec.id)
    models = " ".join(f"{model.id}{'?' if model.fault else ''}" for model in found.models)
    return f"{found.identity or 'SunSpec device'}, models {models}"


def _oddities(device: DeviceSpec, driver: Driver, values: Mapping[str, float | int]) -> list[str]:
    """What works, but is worth knowing before one relies on the device."""
    notes = []
    if "p_w" not in values:
        notes.append("shows no power")
    if device.kind == "storage" and "soc_pu" not in values:
        notes.append("shows no state of charge: only 0 W may be ordered")
    if device.kind != "meter" and driver.control is None:
        notes.append("takes no orders")
    if driver.local:
        notes.append("under local control: orders are refused until it is set to remote")
    if driver.control is not None and values.get("set_ena") == 1:
        notes.append("a setpoint is in force already")
    return notes


def _hint(error: Exception, device: DeviceSpec) -> str:
    if isinstance(error, NoAnswer):
        return "; is the unit number right, and is another client holding its only connection?"
    if isinstance(error, ConfigurationFault):
        return f"; is it really a {device.map}?"
    return ""


async def _wireless(
    devices: Sequence[DeviceSpec], broker: BrokerSpec | None, site_id: str, clock: Clock, wait_s: float
) -> list[Identity]:
    topic = f"vpp/{site_id}/%s/telemetry"
    if broker is None:
        return [Identity(one.id, one.kind, topic % one.id, fault="no broker") for one in devices]
    arrived: dict[str, Reading] = {}
    enough = asyncio.Event()

    def take(reading: Reading) -> None:
        arrived.setdefault(reading.device, reading)
        if len(arrived) == len(devices):
            enough.set()

    async with Ingest(broker, site_id, [one.id for one in devices], Stats(), take, clock.now_us):
        with contextlib.suppress(TimeoutError):  # those that did not speak are named below
            await asyncio.wait_for(enough.wait(), wait_s)
    where = f"{broker.host}:{broker.port} "
    return [_heard(one, where + topic % one.id, arrived.get(one.id), clock, wait_s) for one in devices]


def _heard(device: DeviceSpec, where: str, reading: Reading | None, clock: Clock, wait_s: float) -> Identity:
    if reading is None:
        fault = f"no telemetry in {wait_s:g} s; does it publish to this topic of this broker, not retained?"
        return Identity(device.id, device.kind, where, fault=fault)
    notes = [] if "p_w" in reading.values else ["shows no power"]
    apart_s = (clock.now_us() - reading.ts_us) / 1e6
    if abs(apart_s) > 2 * wait_s:
        notes.append(f"its clock is {apart_s:+.0f} s from ours")
    return Identity(device.id, device.kind, where, "MQTT telemetry", reading.values, notes=tuple(notes))
