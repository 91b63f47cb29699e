"""SunSpec models compiled once into struct plans.

The definitions are the JSON files that pysunspec2 ships (the SunSpec Alliance's own); nothing is typed in here.
Names of points in sub-groups are paths: `PFWInj.PF`, and `Prt[0].DCW` where the group repeats.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from math import isfinite
from typing import Any

from devices.sunspec.errors import SunSpecError
from devices.sunspec.types import SCALE_LIMIT, PointType, Value, bytes_of, point_type, registers_of, text_of


@dataclass(frozen=True, slots=True)
class PointPlan:
    """One point: where it is, how it is coded, and the point or number that scales it."""

    name: str
    kind: PointType
    offset: int
    """Registers from the model's ID register."""
    scale: str | int | None
    writable: bool
    where: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """Some points of a model and the struct that picks them (and their scale factors) out of a block's bytes."""

    first: int
    """Register offset of the first byte the struct looks at."""
    count: int
    plan: struct.Struct
    rows: tuple[tuple[str, PointType, int], ...]
    """(name, type, index of its scale factor in the unpacked tuple; -1 = none, <= -100 = fixed power + 200)."""
    wanted: frozenset[str]

    def decode(self, registers: Sequence[int]) -> dict[str, Value]:
        """`registers`: the `count` registers from offset `first`. Missing, NaN or badly scaled points are absent."""
        raws = self.plan.unpack(struct.pack(f">{self.count}H", *registers))
        out: dict[str, Value] = {}
        for raw, (name, kind, scale) in zip(raws, self.rows, strict=True):
            if raw == kind.sentinel or name not in self.wanted:
                continue
            value = _value(kind, raw, scale, raws)
            if value is not None:
                out[name] = value
        return out


_FIXED = -200
HUGE = 1e290
"""Beyond any register, and small enough to multiply by a scale factor."""
TENS = tuple(int(10**n) for n in range(SCALE_LIMIT + 1))


def _value(kind: PointType, raw: Any, scale: int, raws: Sequence[Any]) -> Value | None:
    if not kind.numeric:
        if kind.code in "fd":
            return float(raw) if isfinite(raw) else None
        return text_of(kind, raw) if isinstance(raw, bytes) else None  # a pad: devices put anything there
    if scale == -1:
        return int(raw)
    power = raws[scale] if scale >= 0 else scale - _FIXED
    return None if abs(power) > SCALE_LIMIT else scaled(raw, power)


def scaled(raw: int, power: int) -> float | int:
    """raw * 10**power, correctly rounded: an integer for power >= 0, else a division by a whole power of ten."""
    return raw * TENS[power] if power >= 0 else raw / TENS[-power]


def encode_point(point: PointPlan, value: Value | None, scale_factor: int = 0) -> list[int]:
    """Registers of one point; None = "not implemented". Ties go to even.

    Raises SunSpecError when the value is not finite or does not fit (the sentinel is not a value).
    """
    kind = point.kind
    if kind.code.endswith("s"):
        return registers_of(bytes_of(kind, value, point.where))
    if kind.code in "fd":
        return registers_of(struct.pack(">" + kind.code, float("nan") if value is None else float(value)))
    if value is None or kind.name == "pad":
        return registers_of(struct.pack(">" + kind.code, kind.sentinel))
    return registers_of(struct.pack(">" + kind.code, _raw(point, value, scale_factor)))


def _raw(point: PointPlan, value: Value, power: int) -> int:
    kind = point.kind
    if isinstance(value, str) or not -HUGE < value < HUGE:
        raise SunSpecError(f"{value!r} is not a number", where=point.where, mend="leave the point out instead")
    if abs(power) > SCALE_LIMIT:
        raise SunSpecError(f"scale factor {power}", where=point.where, mend=f"use -{SCALE_LIMIT}..{SCALE_LIMIT}")
    raw = round(value / TENS[power]) if power >= 0 else round(value * TENS[-power])
    if not kind.low <= raw <= kind.high:
        raise SunSpecError(
            f"{value} with scale factor {power} is {raw} on the wire",
            where=point.where,
            mend=f"{kind.name} holds {kind.low}..{kind.high}: choose a larger scale factor",
        )
    return raw


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model with its repeats fixed: every point has one place."""

    id: int
    name: str
    length: int
    """Registers including the ID and L registers."""
    points: Mapping[str, PointPlan]
    everything: Selection = field(repr=False)

    @property
    def padded(self) -> bool:
        """True for a model that ends in a pad register, which old devices leave out (model 1 has 65 or 66)."""
        return next(reversed(list(self.points.values()))).kind.name == "pad"

    def unpadded(self) -> ModelPlan:
        """The model without its last register."""
        points = {name: point for name, point in self.points.items() if point.offset < self.length - 1}
        return ModelPlan(self.id, self.name, self.length - 1, points, _selection(points, tuple(points)))

    def offset(self, point: str) -> tuple[int, int]:
        """(register offset from the ID register, registers) of a point."""
        found = self.point(point)
        return found.offset, found.kind.registers

    def point(self, name: str) -> PointPlan:
        """Raises SunSpecError naming the model when it has no such point."""
        found = self.points.get(name)
        if found is None:
            raise SunSpecError(f"no point {name!r}", where=f"SunSpec model {self.id} ({self.name})")
        return found

    def select(self, names: Iterable[str]) -> Selection:
        """A decoder of these points only, with the scale factors they need: what a poll uses."""
        return _selection(self.points, tuple(names))

    def decode(self, registers: Sequence[int]) -> dict[str, Value]:
        """All implemented points of a whole block (with header). Raises SunSpecError when it is another block."""
        if len(registers) != self.length or registers[0] != self.id:
            raise SunSpecError(
                f"{len(registers)} registers starting with {registers[0] if registers else 'nothing'}",
                where=f"SunSpec model {self.id}",
                mend=f"expected {self.length} registers starting with {self.id}",
            )
        return self.everything.decode(registers)

    def encode(self, values: Mapping[str, Value], scale_factors: Mapping[str, int] | None = None) -> list[int]:
        """The whole block with header; points without a value get their "not implemented" pattern.

        Scale factors may stand in either mapping; a value whose scale factor is missing raises SunSpecError.
        """
        given: dict[str, Value] = {**values, **(scale_factors or {}), "ID": self.id, "L": self.length - 2}
        unknown = [name for name in given if name not in self.points]
        if unknown:
            raise SunSpecError(f"no points {unknown}", where=f"SunSpec model {self.id} ({self.name})")
        registers: list[int] = []
        for name, point in self.points.items():
            value = given.get(name)
            power = 0 if value is None else self.power(name, given)
            registers += encode_point(point, value, power)
        return registers

    def power(self, name: str, values: Mapping[str, Value]) -> int:
        """The scale factor of a point among `values`. Raises SunSpecError when it is not there."""
        scale = self.point(name).scale
        if scale is None:
            return 0
        power = scale if isinstance(scale, int) else values.get(scale)
        if not isinstance(power, int):
            raise SunSpecError(f"{name} needs {scale}", where=f"SunSpec model {self.id}", mend="give the scale factor")
        return power


def _selection(points: Mapping[str, PointPlan], names: tuple[str, ...]) -> Selection:
    needed = set(names)
    needed.update(scale for name in names if isinstance(scale := points[name].scale, str))
    chosen = sorted((points[name] for name in needed), key=lambda point: point.offset)
    first, last = chosen[0], chosen[-1]
    count = last.offset + last.kind.registers - first.offset
    code = ">" + first.kind.code
    for left, right in pairwise(chosen):
        gap = right.offset - left.offset - left.kind.registers
        code += f"{2 * gap}x{right.kind.code}" if gap else right.kind.code
    index = {point.name: place for place, point in enumerate(chosen)}
    rows = tuple((point.name, point.kind, _scale_index(point, index)) for point in chosen)
    return Selection(first.offset, count, struct.Struct(code), rows, frozenset(names))


def _scale_index(point: PointPlan, index: Mapping[str, int]) -> int:
    if point.scale is None:
        return -1
    return point.scale + _FIXED if isinstance(point.scale, int) else index.get(point.scale, -1)


def compile_model(model_id: int, counts: Mapping[str, int] | None = None) -> ModelPlan:
    """The plan of a model. `counts` says how often groups repeat, by the name of their count point (`NPrt`) or,
    where the model has none, of the group (`module`); a group that is not named repeats 0 times.

    Raises SunSpecError when the model is unknown or uses what SunSpec 1.1 does not define.
    """
    return _compiled(model_id, tuple(sorted((counts or {}).items())))


@lru_cache(maxsize=256)
def _compiled(model_id: int, counts: tuple[tuple[str, int], ...]) -> ModelPlan:
    group = definition(model_id)["group"]
    points: dict[str, PointPlan] = {}
    length = _place(group, "", dict(counts), points, 0, f"SunSpec model {model_id}")
    return ModelPlan(model_id, group["name"], length, points, _selection(points, tuple(points)))


@lru_cache(maxsize=256)
def definition(model_id: int) -> dict[str, Any]:
    """The published JSON of a model. Raises SunSpecError when the installed library has none."""
    path = resources.files("sunspec2") / "models" / "json" / f"model_{model_id}.json"
    if not path.is_file():
        raise SunSpecError(f"SunSpec model {model_id} is not published", mend="check the device's model list")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _place(
    group: Mapping[str, Any], prefix: str, counts: Mapping[str, int], out: dict[str, PointPlan], at: int, where: str
) -> int:
    """Lay a group's points and sub-groups into `out` from register `at`; returns the register after it."""
    for row in group["points"]:
        name = prefix + row["name"]
        kind = point_type(row["type"], int(row.get("size", 1)), f"{where} {name}")
        scale = row.get("sf")
        if isinstance(scale, str):
            scale = _resolved(scale, prefix, group, out)
        out[name] = PointPlan(name, kind, at, scale, row.get("access") == "RW", f"{where} {name}")
        at += kind.registers
    for child in group.get("groups", ()):
        at = _place_child(child, prefix, counts, out, at, where)
    return at


def _place_child(
    child: Mapping[str, Any], prefix: str, counts: Mapping[str, int], out: dict[str, PointPlan], at: int, where: str
) -> int:
    count = child.get("count")
    if count is None:
        return _place(child, f"{prefix}{child['name']}.", counts, out, at, where)
    key = count if isinstance(count, str) else child["name"]
    repeats = count if isinstance(count, int) and count else counts.get(key, 0)
    for k in range(repeats):
        at = _place(child, f"{prefix}{child['name']}[{k}].", counts, out, at, where)
    return at


def _resolved(scale: str, prefix: str, group: Mapping[str, Any], out: Mapping[str, PointPlan]) -> str:
    """The scale factor's full name: in the point's own group if it is there, else in the model's root."""
    own = any(row["name"] == scale for row in group["points"])
    return prefix + scale if own or prefix + scale in out else scale
