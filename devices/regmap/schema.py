"""The shape of a register map file, as typed structures; msgspec refuses unknown keys and wrong types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from devices.description import Kind

Order = Literal["big", "little"]
Sign = Literal[
    "bus",
    "import_positive",
    "export_positive",
    "charge_positive",
    "discharge_positive",
    "load_positive",
    "generation_positive",
]
Address = Annotated[int, msgspec.Meta(ge=0, le=65536 + 400000)]
Range = tuple[float, float]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all structures of the file."""


class Transport(Row, frozen=True):
    """How the device wants to be spoken to."""

    unit: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    byte_order: Order = "big"
    word_order: Order = "big"
    address_base: int = 0
    """Subtracted from every `addr`: 1 or 40001 for handbooks that count from there."""
    max_block: Annotated[int, msgspec.Meta(ge=1, le=125)] = 125
    max_gap: Annotated[int, msgspec.Meta(ge=0, le=124)] = 8
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    min_interval_ms: Annotated[float, msgspec.Meta(ge=0)] = 0
    connect_delay_ms: Annotated[float, msgspec.Meta(ge=0)] = 0
    single_connection: bool = True


class PointRow(Row, frozen=True):
    """One readable quantity: value = (raw & mask >> shift) * 10**sf * scale + offset, then the sign."""

    fc: Literal[1, 2, 3, 4]
    addr: Address
    type: str
    group: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    sf: int | str | None = None
    nan: int | list[int] | None = None
    """Raw values that mean "not available"; floats are always unavailable as NaN or infinity."""
    mask: Annotated[int, msgspec.Meta(ge=1)] | None = None
    shift: Annotated[int, msgspec.Meta(ge=0, le=63)] = 0
    sign: Sign = "bus"
    valid: Range | None = None
    monotonic: bool = False


class StepRow(Row, frozen=True):
    """One write. `value`: a number, `$x` (the setpoint after sign) or `$lease_s` (revert time, seconds)."""

    fc: Literal[5, 6, 16]
    addr: Address
    type: str
    value: float | str
    scale: float = 1.0
    when: Literal["positive", "negative"] | None = None
    """Only for setpoints of this sign, where charging and discharging are commands of their own; 0 is positive."""


class ReadbackRow(Row, frozen=True):
    """Where the device shows what it took."""

    point: str
    """A point, or a derived one."""
    tol: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    within_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class StepsRow(Row, frozen=True):
    """A list of writes, in order."""

    steps: list[StepRow] = msgspec.field(default_factory=list)


class RevertRow(StepsRow, frozen=True):
    """What makes the device fall back by itself: a time that is written, or one that is built in."""

    after_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The device's own time without a write, where it cannot be set."""


class ControlRow(Row, frozen=True):
    """One thing that can be ordered. Each order writes revert.steps, then steps, then reads back."""

    unit: str
    range: Range
    steps: Annotated[list[StepRow], msgspec.Meta(min_length=1)]
    readback: ReadbackRow
    quantum: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    sign: Sign = "bus"
    refresh_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    revert: RevertRow = RevertRow()
    release: StepsRow = StepsRow()


class MapFile(Row, frozen=True):
    """The whole file. Points and controls are converted one by one, so that each fault can name its line."""

    schema: Literal[1]
    model: str
    kind: Kind | Literal["gateway"]
    groups: dict[str, Annotated[float, msgspec.Meta(gt=0)]]
    points: Annotated[dict[str, Any], msgspec.Meta(min_length=1)]
    transport: Transport = Transport()
    derived: dict[str, str] = msgspec.field(default_factory=dict)
    controls: dict[str, Any] = msgspec.field(default_factory=dict)
    note: str = ""
