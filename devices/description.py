"""Links and devices as the site describes them; built and checked by twin/site, used by emulators and gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["meter", "pv", "storage", "turbine", "load"]


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One physical connection: many units may share it, one task serves it."""

    id: str
    kind: Literal["modbus-tcp"]
    host: str
    port: int
    """0 = chosen by the operating system when the emulator listens (runs with --ports auto)."""
    timeout_s: float = 1.0


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device. `model` describes what the emulator simulates (see devices/models), `behaviour` how it misbehaves."""

    id: str
    kind: Kind
    party: str
    link: str | None = None
    unit: int | None = None
    map: str | None = None
    """`sunspec`, or the name of a shipped register map (devices/maps), or a path of one; None for MQTT."""
    mqtt: bool = False
    is_grid: bool = False
    """True for the grid meter: its owner is the grid, so p_w > 0 is import into the site and its e_exp_wh counts it."""
    model: Mapping[str, Any] = field(default_factory=dict)
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    failsafe: Literal["device", "watchdog", "none"] | None = None


@dataclass(frozen=True, slots=True)
class BrokerSpec:
    """Where MQTT is spoken."""

    host: str = "127.0.0.1"
    port: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
