"""What stands still or seldom changes of a device on MQTT: `state` and `meta`, both retained, the same for all senders.

state `{"v":1,"ts":<unix s>,"connected":true,"p":{"p_set_w":-1500,"set_ena":1},"alarms":{"local":".."}}`: what it is set
to and what is wrong with it; sent when it changes. Measured values are telemetry, which is never retained.
meta `{"v":1,"kind":"storage","points":{"p_w":"W"},"controls":{"p_set_w":[-5000,5000]},..}`: what it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from devices.description import DeviceSpec
from devices.points import CATALOGUE, CONTROLS, KIND_POINTS, quantised

STATE_POINTS = ("state", "mode", "alarm", "p_set_w", "p_max_w", "set_ena")
"""Catalogue points that say how a device is set, not what it measures."""
SERVICE = "service"
"""Who speaks for devices behind wires: its MQTT user, and its place among the devices' topics for its own status."""
_encode = msgspec.json.Encoder().encode


class State(msgspec.Struct, frozen=True):
    """How a device stands, without the moment of saying it."""

    connected: bool = True
    p: Mapping[str, float | int] = {}
    alarms: Mapping[str, str] = {}

    @classmethod
    def of(
        cls, values: Mapping[str, float | int | None], connected: bool = True, alarms: Mapping[str, str] | None = None
    ) -> State:
        """Of a reading's values; what is no state, or not finite, is left out."""
        found = {name: quantised(name, values.get(name)) for name in STATE_POINTS}
        return cls(connected, {name: value for name, value in found.items() if value is not None}, dict(alarms or {}))

    def payload(self, ts_us: int) -> bytes:
        """Of the topic `state`."""
        return _encode({"v": 1, "ts": ts_us / 1e6, **msgspec.structs.asdict(self)})


def meta(spec: DeviceSpec, range_w: tuple[float, float] | None = None) -> bytes:
    """Payload of the topic `meta`; `range_w`: of its control, bus sign, where it is known."""
    control = CONTROLS.get(spec.kind)
    known = range_w is not None and all(map(math.isfinite, range_w))
    return _encode(
        {
            "v": 1,
            "kind": spec.kind,
            "party": spec.party,
            "points": {name: CATALOGUE[name].unit for name in KIND_POINTS[spec.kind]},
            "controls": {} if control is None else {control: list(range_w or ()) if known else None},
            "map": spec.map,
            "failsafe": spec.failsafe,
        }
    )
