"""Finding a SunSpec device's models, and packing what is wanted of them into few reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from devices.drivers.driver import DriverError
from devices.modbus import ConfigurationFault, DeviceFailure, ModbusLink
from devices.sunspec import ModelPlan, fit_model
from devices.sunspec.image import MARK
from devices.sunspec.schema import Selection
from devices.sunspec.types import Value

BASES = (40000, 50000, 0, 1000)
"""Where devices start their map: the three places of the specification, and one that is met in the field."""
MOST_MODELS = 64
MOST_REGISTERS = 125


@dataclass(frozen=True, slots=True)
class Found:
    """A model of a device."""

    plan: ModelPlan
    address: int
    """Of its ID register."""


@dataclass(frozen=True, slots=True)
class Block:
    """One link of a device's chain of models."""

    model: int
    address: int
    """Of its ID register."""
    length: int
    """Registers with the ID and L registers."""


async def find_chain(link: ModbusLink, unit: int, where: str) -> list[Block]:
    """All models of a device in order. Raises DriverError when it is no SunSpec device, and ModbusFault."""
    at = await _start(link, unit, where)
    chain: list[Block] = []
    for _ in range(MOST_MODELS):
        try:
            model, length = await link.read(unit, 3, at, 2)
        except ConfigurationFault:
            if not chain:
                raise
            return chain  # some maps simply stop, without the end marker
        if model == 0xFFFF:
            return chain
        chain.append(Block(model, at, length + 2))
        at += length + 2
    raise DriverError(f"no end marker after {MOST_MODELS} models", where=where, mend="check the device's SunSpec map")


async def find_models(link: ModbusLink, unit: int, wanted: frozenset[int], where: str) -> dict[int, Found]:
    """The wanted models that the device has. Raises DriverError when it is no SunSpec device, and ModbusFault."""
    found: dict[int, Found] = {}
    for block in await find_chain(link, unit, where):
        if block.model in wanted and block.model not in found:
            found[block.model] = Found(fit_model(block.model, block.length), block.address)
    return found


async def _start(link: ModbusLink, unit: int, where: str) -> int:
    for base in BASES:
        try:
            if tuple(await link.read(unit, 3, base, 2)) == MARK:
                return base + 2
        except (ConfigurationFault, DeviceFailure):
            continue
    raise DriverError(
        f"no 'SunS' at {', '.join(map(str, BASES))}", where=where, mend="enable SunSpec on the device or give it a map"
    )


@dataclass(frozen=True, slots=True)
class Part:
    """The wanted points of one model inside a read; the model's ID comes with it where it costs nothing."""

    model: int
    selection: Selection
    address: int


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """One request and what is in it."""

    address: int
    count: int
    parts: tuple[Part, ...]

    async def run(self, link: ModbusLink, unit: int) -> dict[int, dict[str, Value]]:
        """Values by model. Values and their scale factors are of this one request. Raises ModbusFault."""
        registers = await link.read(unit, 3, self.address, self.count)
        out = {}
        for part in self.parts:
            at = part.address - self.address
            out[part.model] = part.selection.decode(registers[at : at + part.selection.count])
        return out


def packed(found: Mapping[int, Found], wanted: Mapping[int, Sequence[str]]) -> tuple[ReadPlan, ...]:
    """As few requests as possible for the wanted points: a request costs far more than the registers in between.

    Raises DriverError when the points of one model do not fit one request with their scale factors.
    """
    parts = []
    for model, names in wanted.items():
        selection = found[model].plan.select(names)
        if selection.count > MOST_REGISTERS:
            raise DriverError(f"points of model {model} span {selection.count} registers", mend="read fewer points")
        parts.append(Part(model, selection, found[model].address + selection.first))
    parts.sort(key=lambda part: part.address)
    bins: list[tuple[int, Part]] = []
    first, number = 0, -1
    for part in parts:
        if number < 0 or part.address + part.selection.count - first > MOST_REGISTERS:
            first, number = part.address, number + 1
        bins.append((number, part))
    return tuple(_plan([part for _, part in members]) for _, members in groupby(bins, key=lambda row: row[0]))


def _plan(parts: Sequence[Part]) -> ReadPlan:
    first = parts[0].address
    after = max(part.address + part.selection.count for part in parts)
    return ReadPlan(first, after - first, tuple(parts))
