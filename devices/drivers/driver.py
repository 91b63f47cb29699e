"""What the gateway knows of a device behind a wire."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from devices.description import DeviceSpec
from devices.errors import DeviceError
from devices.modbus import ModbusLink
from devices.pace import Pace
from devices.points import CATALOGUE, CONTROLS, quantised

Values = dict[str, float | int]


class DriverError(DeviceError):
    """A device that is not what the site says it is."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What the device shows of its setpoint, bus sign."""

    value_w: float | None
    enabled: bool
    left_s: float | None
    """Seconds to its revert; None where the device does not tell."""


class Driver(ABC):
    """One unit on a link. Raises ModbusFault and DriverError; keeps no time and decides nothing."""

    within_s: float = 1.0
    """How long the device may take to show what it took."""
    refresh_s: float | None = None
    """It wants an order repeated this often, whatever the lease: its own fall-back time cannot be set."""
    pace: Pace = Pace()
    """How its connection wants to be used."""
    local: bool = False
    """True while the device says that it is switched to local control (SunSpec 715.LocRemCtl)."""

    def __init__(self, spec: DeviceSpec, unit: int) -> None:
        self.spec = spec
        self.unit = unit
        self.control: str | None = CONTROLS.get(spec.kind)
        self.bounds: tuple[float, float] | None = None
        """Range of the control as the device or its map states it, bus sign."""

    @abstractmethod
    async def open(self, link: ModbusLink) -> None:
        """Learn what must be known before the first read."""

    @abstractmethod
    async def read(self, link: ModbusLink, now_us: int) -> Values:
        """One poll cycle: what is due at now_us, bus sign, rounded to quanta; what is missing is absent."""

    @abstractmethod
    async def write_order(self, link: ModbusLink, value_w: int, lease_s: float) -> None:
        """Value and revert time first, then enable in a further write."""

    @abstractmethod
    async def read_back(self, link: ModbusLink) -> ReadBack:
        """What the device holds now."""

    @abstractmethod
    async def release(self, link: ModbusLink) -> None:
        """Give the device back to itself."""

    def renewal_s(self, lease_s: float) -> float:
        """The lease to go by: shorter for a device that falls back sooner whatever it is told."""
        return lease_s if self.refresh_s is None else min(lease_s, 2 * self.refresh_s)

    @property
    @abstractmethod
    def tolerance_w(self) -> float:
        """Largest difference of an order and its read-back that is only resolution."""


def catalogued(values: Mapping[str, float | int | str | None]) -> Values:
    """Only points of the catalogue, rounded to their quanta; missing and unreal values stay out."""
    out: Values = {}
    for name, value in values.items():
        if name in CATALOGUE and isinstance(value, (int, float)):
            whole = quantised(name, value)
            if whole is not None:
                out[name] = whole
    return out


def read_back_of(values: Mapping[str, float | int], control: str) -> ReadBack:
    """The read-back among values of a poll."""
    return ReadBack(values.get(control), values.get("set_ena", 1) == 1, values.get("set_left_s"))


def lease_seconds(lease_s: float) -> int:
    """The revert time as registers hold it: whole seconds, never 0, which would mean "for good"."""
    return max(math.ceil(lease_s), 1)
