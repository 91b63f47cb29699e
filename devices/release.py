"""Making devices safe with nothing but their wires: no service, no broker, no store.

Used by `vpptwin release` and by the watchdog process. Every link is worked on at once, every unit of a link in turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from devices.description import DeviceSpec, LinkSpec
from devices.drivers import driver_for
from devices.errors import DeviceError
from devices.modbus import ModbusLink
from devices.points import CONTROLS

LINK_S = 0.4
"""Longest wait for one answer the first time, so that a dead device does not hold up its neighbours on the link;
who did not answer is asked again with the link's own time-out."""


@dataclass(frozen=True, slots=True)
class Released:
    """How one device took it."""

    device: str
    ok: bool
    error: str = ""
    took_s: float = 0.0
    """Wall seconds from the start of all."""


def controllable(devices: Sequence[DeviceSpec]) -> tuple[DeviceSpec, ...]:
    """Those with a wire and a control."""
    return tuple(one for one in devices if one.link is not None and one.kind in CONTROLS)


async def release(links: Sequence[LinkSpec], devices: Sequence[DeviceSpec], within_s: float = 1.8) -> list[Released]:
    """Run the release steps of `devices` and read back that none is under an order; sorted by device.

    What fails is tried again until `within_s` is over. Raises no device fault: each stands in its line.
    """
    began_s = time.monotonic()
    jobs = []
    for link in links:
        mine = [one for one in controllable(devices) if one.link == link.id]
        if mine:
            jobs.append(_link(link, mine, began_s, within_s))
    return sorted((one for found in await asyncio.gather(*jobs) for one in found), key=lambda one: one.device)


async def _link(spec: LinkSpec, devices: Sequence[DeviceSpec], began_s: float, within_s: float) -> list[Released]:
    link, found = ModbusLink.of(replace(spec, timeout_s=min(spec.timeout_s, LINK_S))), dict[str, Released]()
    try:
        while True:
            for device in devices:
                if device.id not in found or not found[device.id].ok:
                    left_s = began_s + within_s - time.monotonic()
                    error = await _bounded(link, device, max(left_s, 0.05))
                    found[device.id] = Released(device.id, not error, error, time.monotonic() - began_s)
            if all(one.ok for one in found.values()) or time.monotonic() >= began_s + within_s:
                return list(found.values())
            link.close()
            link = ModbusLink.of(spec)
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.05)
    finally:
        link.close()


async def _bounded(link: ModbusLink, device: DeviceSpec, left_s: float) -> str:
    try:
        return await asyncio.wait_for(_device(link, device), left_s)
    except TimeoutError:
        link.close()
        return "no answer in time"


async def _device(link: ModbusLink, device: DeviceSpec) -> str:
    """Empty when it is free, else what went wrong."""
    try:
        driver = driver_for(device)
        link.keep(driver.pace)
        if not link.connected:
            await link.connect()
        await driver.open(link)
        if driver.control is None:
            return "" if device.kind == "pv" else "has no control that could be released"
        await driver.release(link)
        shown = await driver.read_back(link)
    except DeviceError as error:
        return str(error)
    return f"still under an order of {shown.value_w} W" if shown.enabled and shown.left_s is not None else ""
