"""Making the unit of a device: by its map, and as it misbehaves."""

from __future__ import annotations

from devices.description import DeviceSpec
from devices.emulator.behaviour import Behaviour
from devices.emulator.bus import Bus
from devices.emulator.delayed import DelayedUnit
from devices.emulator.legacy_unit import LegacyUnit
from devices.emulator.mapped_unit import MappedUnit
from devices.emulator.meter_unit import FLOAT, INTEGER, MeterUnit
from devices.emulator.stubborn import StubbornUnit
from devices.emulator.sunspec_unit import SunSpecUnit
from devices.emulator.unit import Unit
from devices.errors import DeviceError
from devices.regmap import load_map

_SUNSPEC = {"sunspec": INTEGER, "sunspec-legacy": INTEGER, "sunspec-float": FLOAT}
"""Maps that mean SunSpec, and the meter model each is emulated with; a driver finds out by itself what is there."""


def unit_of(device: DeviceSpec, bus: Bus, behaviour: Behaviour) -> Unit:
    """Raises DeviceError (RegmapError) for what cannot be emulated."""
    made = _well_behaved(device, bus)
    made = StubbornUnit(made, behaviour) if behaviour.stubborn else made
    return DelayedUnit(made, behaviour.readback_delay_s) if behaviour.readback_delay_s else made


def _well_behaved(device: DeviceSpec, bus: Bus) -> Unit:
    if device.map is None:
        raise DeviceError("on a Modbus link but without map", where=device.id, mend="map: sunspec or a map's name")
    if device.map not in _SUNSPEC:
        return MappedUnit(device, load_map(device.map))
    unit = unit_number(device)
    if device.kind == "meter":
        return MeterUnit(device, unit, _SUNSPEC[device.map])
    if device.kind not in ("pv", "storage"):
        raise DeviceError(
            f"a {device.kind} is not emulated over SunSpec", where=device.id, mend="use a register map for it"
        )
    made = LegacyUnit if device.map == "sunspec-legacy" else SunSpecUnit
    return made(device, unit, bus.machines[device.id].plate)


def unit_number(device: DeviceSpec) -> int:
    """Its address on the link."""
    return 1 if device.unit is None else device.unit
