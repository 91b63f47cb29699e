"""Home Assistant finds devices by itself: one retained message for every point that a device on MQTT reports.

Source: Home Assistant, MQTT discovery, component `sensor`; `online` and `offline` are its own words for availability.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from devices.description import DeviceSpec
from devices.points import CATALOGUE, KIND_POINTS

PREFIX = "homeassistant"
_CLASSES: Mapping[str, str] = MappingProxyType(
    {"W": "power", "var": "reactive_power", "VA": "apparent_power", "Wh": "energy", "V": "voltage", "A": "current"}
    | {"Hz": "frequency", "°C": "temperature", "m³": "gas"}
)
_COUNTED = ("energy", "gas")


def discovery(site_id: str, device: DeviceSpec) -> dict[str, bytes]:
    """Topic -> payload of all points of a device that publishes telemetry of ours; nothing for any other."""
    if not device.mqtt or device.adapter is not None:
        return {}
    node = re.sub(r"[^A-Za-z0-9_-]", "_", f"vpptwin_{site_id}_{device.id}")
    return {
        f"{PREFIX}/sensor/{node}/{point}/config": msgspec.json.encode(_sensor(site_id, device, node, point))
        for point in KIND_POINTS[device.kind]
    }


def _sensor(site_id: str, device: DeviceSpec, node: str, point: str) -> dict[str, object]:
    unit = CATALOGUE[point].unit
    kind = _CLASSES.get(unit)
    about: dict[str, object] = {
        "name": CATALOGUE[point].meaning,
        "unique_id": f"{node}_{point}",
        "state_topic": f"vpp/{site_id}/{device.id}/telemetry",
        "availability_topic": f"vpp/{site_id}/{device.id}/status",
        # A bad value is left out of its message: unknown, and not 0.
        "value_template": "{{ value_json.p." + point + " | default(none) }}",
        "device": {"identifiers": [node], "name": device.id, "model": device.kind},
    }
    if kind is not None:
        about |= {"unit_of_measurement": unit, "device_class": kind}
        about["state_class"] = "total_increasing" if kind in _COUNTED else "measurement"
    return about
