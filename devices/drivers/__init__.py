"""Drivers: from registers of a device to the point catalogue, and from an order to writes."""

from devices.drivers.driver import Driver, ReadBack
from devices.drivers.mapped import MappedDriver
from devices.drivers.opening import driver_for
from devices.drivers.sunspec import SunSpecDriver

__all__ = ["Driver", "MappedDriver", "ReadBack", "SunSpecDriver", "driver_for"]
