"""Register types of foreign devices: how a number or text lies in 16-bit registers of any byte and word order."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from devices.regmap.errors import RegmapError

Raw = float | int | str

_CODES = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
    "enum16": "H",
    "enum32": "I",
    "bitfield16": "H",
    "bitfield32": "I",
    "acc32": "I",
    "acc64": "Q",
    "bool": "H",
}
_STRING = re.compile(r"string\((\d+)\)")


@dataclass(frozen=True, slots=True)
class Codec:
    """One type in one byte and word order."""

    type: str
    registers: int
    code: str
    swap_bytes: bool
    swap_words: bool

    @property
    def text(self) -> bool:
        return self.code.endswith("s")

    @property
    def real(self) -> bool:
        return self.code in "fd"

    def decode(self, registers: Sequence[int]) -> Raw:
        """Raises struct.error when the count of registers is not the type's."""
        words = list(registers)
        if self.swap_words:
            words.reverse()
        data = struct.pack(f"{'<' if self.swap_bytes else '>'}{self.registers}H", *words)
        raw = struct.unpack(">" + self.code, data)[0]
        if self.text:
            return str(raw.split(b"\0", 1)[0].decode("utf-8", "replace")).rstrip()
        return bool(raw) if self.type == "bool" else raw

    def encode(self, raw: Raw) -> list[int]:
        """Registers of a raw value; numbers are rounded, ties to even. Raises RegmapError when it does not fit."""
        try:
            data = struct.pack(">" + self.code, self._packed(raw))
        except (struct.error, ValueError, OverflowError) as error:
            raise RegmapError(f"{raw!r} does not fit {self.type}: {error}") from error
        words = list(struct.unpack(f"{'<' if self.swap_bytes else '>'}{self.registers}H", data))
        if self.swap_words:
            words.reverse()
        return words

    def _packed(self, raw: Raw) -> bytes | float | int:
        if self.text:
            data = str(raw).encode()
            if len(data) > 2 * self.registers:
                raise ValueError(f"{len(data)} bytes into {2 * self.registers}")
            return data
        if isinstance(raw, str):
            raise ValueError("text where a number belongs")
        return raw if self.real else round(raw)


@lru_cache(maxsize=256)
def codec(type_name: str, byte_order: str = "big", word_order: str = "big") -> Codec:
    """The codec of a type name of the map schema; `string(n)` holds n characters, two a register.

    Raises RegmapError for an unknown type.
    """
    found = _STRING.fullmatch(type_name)
    if found and int(found[1]):
        registers = (int(found[1]) + 1) // 2
        # Text has no word order: only its bytes are swapped within each register.
        return Codec(type_name, registers, f"{2 * registers}s", byte_order == "little", False)
    code = _CODES.get(type_name)
    if code is None:
        raise RegmapError(f"unknown type {type_name!r}", mend=f"use one of {', '.join(_CODES)}, string(n)")
    registers = struct.calcsize(">" + code) // 2
    return Codec(type_name, registers, code, byte_order == "little", word_order == "little" and registers > 1)


def number(raw: Raw) -> float | int | None:
    """A raw value as a finite number, or None."""
    if isinstance(raw, str) or not math.isfinite(raw):
        return None
    return raw
