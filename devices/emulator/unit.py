"""What a Modbus server serves: units with register tables, an answer to writes, a setpoint in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from devices.emulator.revert import RevertTimer

Values = Mapping[str, float | int | None]
"""Catalogue point -> value; None = known to be bad."""


class Refusal(IntEnum):
    """Modbus exception codes a unit answers with."""

    FUNCTION = 1
    ADDRESS = 2
    VALUE = 3
    FAILURE = 4


@dataclass(frozen=True, slots=True)
class Table:
    """Contiguous registers from `base`; the list changes in place."""

    base: int
    registers: list[int]


@dataclass(frozen=True, slots=True)
class Command:
    """What the registers order now, bus sign."""

    p_set_w: float | None = None
    """None = no setpoint in force: the device does as it likes (storage and turbine: nothing)."""
    p_max_w: float = float("inf")
    """Limit on the magnitude."""


class Unit(Protocol):
    """One device on a link. No method may block or await: they run inside the server's hook."""

    @property
    def holding(self) -> Table | None:
        """Function codes 3, 6, 16, 22, 23."""
        ...

    @property
    def input(self) -> Table | None:
        """Function code 4."""
        ...

    @property
    def command(self) -> Command:
        """In force now."""
        ...

    def write(self, address: int, registers: Sequence[int], now_us: int) -> Refusal | None:
        """A client's write; refused as a whole or stored as a whole."""
        ...

    def next_revert_us(self) -> int | None:
        """When a setpoint will revert, µs UTC."""
        ...

    def revert(self, now_us: int) -> None:
        """Revert what is due at now_us."""
        ...

    @property
    def timers(self) -> tuple[RevertTimer, ...]:
        """Those that withdraw its setpoints."""
        return tuple(value for value in vars(self).values() if isinstance(value, RevertTimer))

    def show(self, values: Values, now_us: int) -> None:
        """Put readings and the remaining time of setpoints into the registers."""
        ...


def sooner(left_us: int | None, right_us: int | None) -> int | None:
    """The earlier of two times, None = never."""
    if left_us is None or right_us is None:
        return right_us if left_us is None else left_us
    return min(left_us, right_us)
