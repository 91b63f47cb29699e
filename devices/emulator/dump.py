"""Register dumps of real devices, served as they were read: for tests of drivers against hardware one does not have.

A dump is JSON: `{"registers": {"40000": 21365, ...}, ...}`, with addresses as they were read by function code 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from devices.emulator.unit import Command, Refusal, Table, Unit, Values
from devices.errors import DeviceError


class _File(msgspec.Struct, frozen=True):
    registers: dict[str, int]
    manufacturer: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Dump:
    """What a device held once."""

    name: str
    maker: str
    model: str
    registers: Mapping[int, int]

    @classmethod
    def load(cls, path: Path) -> Dump:
        """Raises DeviceError for a file that is no dump."""
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_File)
            registers = {int(address): value for address, value in found.registers.items()}
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            raise DeviceError(
                f"no register dump: {error}", where=str(path), mend='see docs, "a dump of a device"'
            ) from error
        wrong = [
            address for address, value in registers.items() if not (0 <= address < 1 << 16 and 0 <= value < 1 << 16)
        ]
        if wrong or not registers:
            raise DeviceError("no registers, or some that do not fit 16 bits", where=f"{path}: {wrong[:5]}")
        return cls(path.stem, found.manufacturer, found.model, registers)


class DumpUnit(Unit):
    """The dump as holding and input registers alike, read only; gaps between its stretches read as 0."""

    def __init__(self, dump: Dump) -> None:
        first, last = min(dump.registers), max(dump.registers)
        self._table = Table(first, [dump.registers.get(address, 0) for address in range(first, last + 1)])

    @property
    def holding(self) -> Table:
        return self._table

    @property
    def input(self) -> Table:
        return self._table

    @property
    def command(self) -> Command:
        return Command()

    def write(self, address: int, registers: Sequence[int], now_us: int) -> Refusal:
        return Refusal.ADDRESS

    def next_revert_us(self) -> None:
        return None

    def revert(self, now_us: int) -> None:
        return

    def show(self, values: Values, now_us: int) -> None:
        return
