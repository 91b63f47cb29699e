"""Choosing the driver of a device."""

from __future__ import annotations

from devices.description import DeviceSpec
from devices.drivers.driver import Driver, DriverError
from devices.drivers.mapped import MappedDriver
from devices.drivers.sunspec import SunSpecDriver
from devices.regmap import load_map

SUNSPEC = "sunspec"
"""`sunspec`, `sunspec-legacy`, `sunspec-float`: one driver, which finds out what the device has."""


def driver_for(spec: DeviceSpec) -> Driver:
    """The driver of a wired device. Raises DriverError or RegmapError when its description is not enough."""
    if spec.map is None or spec.link is None:
        raise DriverError("no link or no map", where=spec.id, mend="give `link` and `map`, or `mqtt: true`")
    if spec.map.startswith(SUNSPEC):
        return SunSpecDriver(spec, 1 if spec.unit is None else spec.unit)
    map_ = load_map(spec.map)
    return MappedDriver(spec, map_.transport.unit if spec.unit is None else spec.unit, map_)
