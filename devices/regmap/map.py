"""A loaded register map: what to read in which blocks, how to decode it, what to write for an order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from devices.regmap.codec import Codec, Raw, codec, number
from devices.regmap.errors import RegmapError
from devices.regmap.expression import Expression
from devices.regmap.schema import ControlRow, PointRow, StepRow, Transport

SCALE_LIMIT = 10
_NEGATIVE = frozenset({"import_positive", "charge_positive", "load_positive"})
_BOUNDARY = frozenset({"import_positive", "export_positive"})


def sign_factor(sign: str, is_grid: bool) -> int:
    """+1 or -1 that turns a device's sign into the bus convention.

    What a party's meter calls import leaves the bus (-1); at the grid's meter, import flows into it (+1).
    """
    factor = -1 if sign in _NEGATIVE else 1
    return -factor if is_grid and sign in _BOUNDARY else factor


@dataclass(frozen=True, slots=True)
class MapPoint:
    """One point of a map."""

    name: str
    row: PointRow
    codec: Codec
    addr: int
    """Address on the wire (base subtracted)."""
    nans: frozenset[int]

    @property
    def registers(self) -> int:
        return self.codec.registers

    def decode(self, registers: Sequence[int], power: int = 0) -> float | int | str | None:
        """The value in the map's own sign; None when not available or outside `valid`. `power`: of a point as sf."""
        raw = self.codec.decode(registers)
        if isinstance(raw, str):
            return raw or None
        value = number(raw)
        if value is None or (isinstance(value, int) and value in self.nans) or abs(power) > SCALE_LIMIT:
            return None
        row = self.row
        if row.mask is not None:
            value = (int(value) & row.mask) >> row.shift
        value = _power(value, power + (row.sf if isinstance(row.sf, int) else 0)) * row.scale + row.offset
        if row.valid and not row.valid[0] <= value <= row.valid[1]:
            return None
        return value

    def encode(self, value: Raw | None, power: int = 0) -> list[int]:
        """The inverse, for emulators; None writes the point's `nan`. Raises RegmapError when it does not fit."""
        if value is None:
            if self.codec.real:
                return self.codec.encode(float("nan"))
            if not self.nans:
                raise RegmapError("no pattern for 'not available'", where=self.name, mend="give `nan:` in the map")
            return self.codec.encode(min(self.nans))
        if isinstance(value, str):
            return self.codec.encode(value)
        row = self.row
        raw = _power((value - row.offset) / row.scale, -(power + (row.sf if isinstance(row.sf, int) else 0)))
        return self.codec.encode(raw if row.mask is None else round(raw) << row.shift)


def _power(value: float, power: int) -> float:
    tens: int = 10 ** abs(power)
    return value * tens if power >= 0 else value / tens


@dataclass(frozen=True, slots=True)
class Block:
    """Registers read in one request: whole points only, a value always with its scale factor."""

    fc: int
    addr: int
    count: int
    group: str
    points: tuple[MapPoint, ...]

    def decode(self, registers: Sequence[int]) -> dict[str, float | int | str]:
        """Values of the block's points, in the map's own sign; absent where not available."""
        parts = {
            point.name: registers[point.addr - self.addr : point.addr - self.addr + point.registers]
            for point in self.points
        }
        powers = {name: self._integer(name, parts[name]) for name in self._factors()}
        out: dict[str, float | int | str] = {}
        for point in self.points:
            sf = point.row.sf
            power = powers[sf] if isinstance(sf, str) else 0
            value = None if power is None else point.decode(parts[point.name], power)
            if value is not None:
                out[point.name] = value
        return out

    def _factors(self) -> set[str]:
        return {point.row.sf for point in self.points if isinstance(point.row.sf, str)}

    def _integer(self, name: str, registers: Sequence[int]) -> int | None:
        point = next(point for point in self.points if point.name == name)
        value = point.decode(registers)
        return value if isinstance(value, int) else (int(value) if isinstance(value, float) else None)


@dataclass(frozen=True, slots=True)
class Write:
    """One write request: coil (fc 5) or registers (6, 16)."""

    fc: int
    addr: int
    registers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """One orderable thing of a map."""

    name: str
    row: ControlRow
    transport: Transport

    def writes(self, x: float, lease_s: float) -> list[Write]:
        """Requests for an order of `x` (the map's sign), revert time first, in order. Raises RegmapError: no fit."""
        return self._encoded([*self.row.revert.steps, *self.steps_for(x)], x, lease_s)

    def steps_for(self, x: float) -> list[StepRow]:
        """The steps of an order of `x`, the map's sign."""
        sign = "negative" if x < 0 else "positive"
        return [step for step in self.row.steps if step.when in (None, sign)]

    def release(self) -> list[Write]:
        """Requests that give the device back to itself."""
        return self._encoded(self.row.release.steps, 0.0, 0.0)

    def _encoded(self, steps: Sequence[StepRow], x: float, lease_s: float) -> list[Write]:
        return [
            Write(step.fc, step.addr - self.transport.address_base, tuple(self._registers(step, x, lease_s)))
            for step in steps
        ]

    def _registers(self, step: StepRow, x: float, lease_s: float) -> list[int]:
        given = {"$x": x, "$lease_s": lease_s}
        value = given[step.value] if isinstance(step.value, str) else step.value
        raw = value / step.scale if step.scale != 1 else value
        kind = codec(step.type, self.transport.byte_order, self.transport.word_order)
        # A revert time that is rounded down could end before it is refreshed, or be 0, which often means for ever.
        return kind.encode(math.ceil(raw) if step.value == "$lease_s" else raw)


@dataclass(frozen=True, slots=True)
class RegisterMap:
    """One model of hardware."""

    model: str
    kind: str
    transport: Transport
    groups: Mapping[str, float]
    points: Mapping[str, MapPoint]
    blocks: tuple[Block, ...]
    derived: Mapping[str, Expression]
    controls: Mapping[str, Control]
    source: str = field(default="", repr=False)

    def blocks_of(self, *groups: str) -> tuple[Block, ...]:
        """Blocks of these groups; of all without arguments."""
        return tuple(block for block in self.blocks if not groups or block.group in groups)

    def derive(self, values: Mapping[str, float | int | str]) -> dict[str, float | int | str]:
        """`values` and what is derived from them, where all inputs are there."""
        out = dict(values)
        for name, expression in self.derived.items():
            value = expression.value(out)
            if value is not None:
                out[name] = value
        return out
