"""SunSpec point types: register count, struct code and the bit pattern that says "not implemented".

Source: SunSpec Device Information Model Specification 1.1, section 4.2 (types and their unimplemented values).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from devices.sunspec.errors import SunSpecError

Value = float | int | str

SCALE_LIMIT = 10
"""The specification allows scale factors -10..10; anything else is a fault of the device."""


@dataclass(frozen=True, slots=True)
class PointType:
    """One wire type. `low..high` are the integers that carry a value, so never the sentinel."""

    name: str
    registers: int
    code: str
    sentinel: int | None
    low: int = 0
    high: int = 0

    @property
    def numeric(self) -> bool:
        return self.low != self.high


def _signed(name: str, bits: int, code: str) -> PointType:
    top = 1 << (bits - 1)
    return PointType(name, bits // 16, code, -top, 1 - top, top - 1)


def _unsigned(name: str, bits: int, code: str) -> PointType:
    top = (1 << bits) - 1
    return PointType(name, bits // 16, code, top, 0, top - 1)


def _accumulator(name: str, bits: int, code: str) -> PointType:
    return PointType(name, bits // 16, code, 0, 0, (1 << bits) - 1)


_ROWS = (
    _signed("int16", 16, "h"),
    _signed("sunssf", 16, "h"),
    _signed("int32", 32, "i"),
    _signed("int64", 64, "q"),
    _unsigned("uint16", 16, "H"),
    _unsigned("count", 16, "H"),
    _unsigned("enum16", 16, "H"),
    _unsigned("bitfield16", 16, "H"),
    _unsigned("uint32", 32, "I"),
    _unsigned("enum32", 32, "I"),
    _unsigned("bitfield32", 32, "I"),
    _unsigned("uint64", 64, "Q"),
    _unsigned("bitfield64", 64, "Q"),
    _accumulator("acc16", 16, "H"),
    _accumulator("acc32", 32, "I"),
    _accumulator("acc64", 64, "Q"),
    PointType("float32", 2, "f", None),
    PointType("float64", 4, "d", None),
    PointType("pad", 1, "H", 0x8000),
)

TYPES: Mapping[str, PointType] = MappingProxyType({row.name: row for row in _ROWS})
BYTES: Mapping[str, int] = MappingProxyType({"string": 0, "ipaddr": 2, "ipv6addr": 8, "eui48": 4})
"""Byte-string types and their registers; a string's length is its point's."""


def point_type(name: str, size: int, where: str) -> PointType:
    """The type called `name` as used by a point of `size` registers. Raises SunSpecError for an unknown type."""
    if name in BYTES:
        return PointType(name, size, f"{2 * size}s", None)
    found = TYPES.get(name)
    if found is None:
        raise SunSpecError(f"unknown point type {name!r}", where=where, mend="use a type of SunSpec 1.1")
    return found


def text_of(kind: PointType, raw: bytes) -> str | None:
    """A string point as text, other byte types as hex; None where the device has nothing to say (all zero)."""
    if kind.name != "string":
        empty = raw == bytes(len(raw)) or raw == b"\xff" * len(raw)
        return None if empty else raw.hex()
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace").rstrip()
    return text or None


def bytes_of(kind: PointType, value: Value | None, where: str) -> bytes:
    """The inverse of `text_of`, zero padded. Raises SunSpecError when it does not fit."""
    size = 2 * kind.registers
    if value is None:
        return bytes(size)
    text = str(value)
    raw = text.encode() if kind.name == "string" else bytes.fromhex(text)
    if len(raw) > size:
        raise SunSpecError(f"{text!r} needs {len(raw)} bytes", where=where, mend=f"at most {size} bytes fit")
    return raw.ljust(size, b"\0")


def registers_of(data: bytes) -> list[int]:
    """Big-endian bytes as 16-bit registers."""
    return list(struct.unpack(f">{len(data) // 2}H", data))
