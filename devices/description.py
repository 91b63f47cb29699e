"""Links and devices as the site describes them; built and checked by twin/site, used by emulators and gateway."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["meter", "pv", "storage", "turbine", "load"]
LinkKind = Literal["modbus-tcp", "modbus-rtu", "modbus-rtu-tcp"]
"""TCP with its header; RTU on a serial line; RTU frames inside TCP, as serial converters pass them on."""


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One physical connection: many units may share it, one task serves it."""

    id: str
    kind: LinkKind
    host: str
    port: int
    """0 = chosen by the operating system when the emulator listens (runs with --ports auto)."""
    timeout_s: float = 1.0
    serial: str = ""
    """Path of the serial port, for modbus-rtu alone; the fields below belong to it."""
    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    reserve_port: int | None = None
    """Where the service lets other programs read what it reads of this link (loopback, read-only); None = nowhere."""
    real: bool = False
    """True for hardware (or another program): its devices are not emulated, they are there."""

    @property
    def where(self) -> str:
        """Its address in messages."""
        return self.serial if self.kind == "modbus-rtu" else f"{self.host}:{self.port}"

    @property
    def silence_s(self) -> float:
        """The pause that ends an RTU frame: 3.5 characters of 11 bits, above 19200 baud fixed at 1.75 ms.

        Source: Modbus over serial line specification 1.02, section 2.5.1.1.
        """
        return 1.75e-3 if self.baud > 19200 else 3.5 * 11 / self.baud


Mode = Literal["monitor", "shadow", "limited", "full"]
"""monitor: reads. shadow: also computes and journals what it would write. limited: writes, capped in power and ramp."""
MODES: tuple[Mode, ...] = ("monitor", "shadow", "limited", "full")
"""From the strictest."""


@dataclass(frozen=True, slots=True)
class ControlTerms:
    """Under what terms a device may be written to, besides the site's own and its rating."""

    mode: Mode = "full"
    """The stricter of this and the site's mode holds."""
    range_w: tuple[float, float] | None = None
    """Narrower than the rating, bus sign (for limits: of the limit)."""
    cap_w: float | None = None
    """Largest magnitude of a setpoint in mode limited; the site's where None."""
    ramp_w_s: float | None = None
    """Largest change of the setpoint per second in mode limited; the site's where None."""
    writes_per_day: int | None = None
    """Of each register and UTC day: what flash memory bears. None = no limit."""


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
    adapter: str | None = None
    """For a meter that speaks JSON of its own: a shipped adapter (devices/adapters) or a path of one."""
    topic: str | None = None
    """The meter's own MQTT topic, as its adapter wants it."""
    is_grid: bool = False
    """True for the grid meter: its owner is the grid, so p_w > 0 is import into the site and its e_exp_wh counts it."""
    model: Mapping[str, Any] = field(default_factory=dict)
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    failsafe: Literal["device", "watchdog", "none"] | None = None
    """What makes it safe when the service dies: its own revert timer, our watchdog process, or nothing."""
    control: ControlTerms = field(default_factory=ControlTerms)


@dataclass(frozen=True, slots=True)
class BrokerSpec:
    """Where MQTT is spoken."""

    host: str = "127.0.0.1"
    port: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_ca: str | None = None
    """Path of the certificate authority that signed the broker's certificate; None = no TLS."""
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of emulated devices that log in under their own names, by id."""


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
