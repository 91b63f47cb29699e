"""What a SunSpec device says of itself, all of it: its chain of models with every implemented point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devices.drivers.discovery import MOST_REGISTERS, Block, find_chain
from devices.modbus import ModbusLink
from devices.sunspec import plan_of
from devices.sunspec.errors import SunSpecError
from devices.sunspec.types import Value

COMMON = 1


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the chain."""

    id: int
    address: int
    length: int
    """Registers with the ID and L registers."""
    values: Mapping[str, Value] = field(default_factory=dict)
    fault: str = ""
    """Why its values are not known: a model that is not published, or of another length."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A whole device."""

    models: tuple[Model, ...]

    @property
    def identity(self) -> str:
        """Maker, product, version and serial number of the common model."""
        common = next((model.values for model in self.models if model.id == COMMON), {})
        return " ".join(str(common[name]) for name in ("Mn", "Md", "Vr", "SN") if common.get(name))


async def survey(link: ModbusLink, unit: int, where: str) -> Survey:
    """Read every model. Raises DriverError when it is no SunSpec device, and ModbusFault."""
    return Survey(tuple([await _model(link, unit, block) for block in await find_chain(link, unit, where)]))


async def _model(link: ModbusLink, unit: int, block: Block) -> Model:
    registers: list[int] = []
    while len(registers) < block.length:
        count = min(MOST_REGISTERS, block.length - len(registers))
        registers += await link.read(unit, 3, block.address + len(registers), count)
    try:
        values = plan_of(block.model, registers).decode(registers)
    except SunSpecError as error:
        return Model(block.model, block.address, block.length, fault=str(error))
    return Model(block.model, block.address, block.length, values)
