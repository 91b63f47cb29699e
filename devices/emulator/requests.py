"""Reads as the emulated servers answer them: packed at once, from the units' own tables."""

from __future__ import annotations

import struct
from typing import Protocol

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadHoldingRegistersResponse


class Registers(Protocol):
    """What a request reads from."""

    async def async_getValues(
        self, device_id: int, func_code: int, address: int, count: int = 1
    ) -> list[int] | ExcCodes:
        """Registers, or why not."""
        ...


class _HoldingReply(ReadHoldingRegistersResponse):  # type: ignore[misc]
    def encode(self) -> bytes:
        """All registers in one packing: pymodbus packs one by one, which is most of an answer's time."""
        return struct.pack(f">B{len(self.registers)}H", 2 * len(self.registers), *self.registers)


class _InputReply(_HoldingReply):
    function_code = 4


class ReadHolding(ReadHoldingRegistersRequest):  # type: ignore[misc]
    """A read whose answer is packed at once."""

    reply = _HoldingReply

    async def datastore_update(self, context: Registers, device_id: int) -> ModbusPDU:
        found = await context.async_getValues(device_id, self.function_code, self.address, self.count)
        if isinstance(found, ExcCodes):
            return ExceptionResponse(self.function_code, found)
        return self.reply(registers=found, dev_id=device_id, transaction_id=self.transaction_id)

    def __str__(self) -> str:
        """For a log that nobody reads, but pymodbus writes it for every request."""
        return f"read {self.count} at {self.address}"


class ReadInput(ReadHolding):
    function_code = 4
    reply = _InputReply
