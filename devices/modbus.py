"""The one file that knows pymodbus: a client connection that reads blocks, writes registers and says what went wrong.

Guards against what pymodbus 3.16 accepts: replies of the wrong length or function code, a late reply that would
satisfy the next request (after a missing or garbled reply the connection is closed), a write repeated by a retry
(retries are 0), reconnecting behind our back (off: the link owns its back-off).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException, ModbusIOException
from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse

from devices.description import LinkSpec
from devices.errors import DeviceError
from devices.pace import Pace

CONFIGURATION = frozenset({1, 2, 3})
"""Illegal function, address, value: the same request will fail again, so it is not repeated."""
_NAMES = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}
_READS = {
    1: "read_coils",
    2: "read_discrete_inputs",
    3: "read_holding_registers",
    4: "read_input_registers",
}


class ModbusFault(DeviceError):
    """A request did not give what was asked for."""


class ConfigurationFault(ModbusFault):
    """Exceptions 1-3: the device does not know this function, address or value. Do not repeat."""


class BusyFault(ModbusFault):
    """Exceptions 4-11: not now; ask again next cycle."""


class DeviceFailure(BusyFault):
    """Exception 4; some devices answer so where there is no register."""


class NoAnswer(ModbusFault):
    """No reply in time; the connection was closed so that a late one cannot be mistaken for another's."""


class GarbledReply(ModbusFault):
    """A reply of another request, unit, function or length; the connection was closed."""


class Disconnected(ModbusFault):
    """There is no connection."""


class ModbusLink:
    """One connection, one request at a time. Several units may be served over it.

    RTU knows no transactions: after a missing or garbled reply the line is listened to until it is silent, and the
    connection is kept (a converter would pass the late reply to the next one).
    """

    def __init__(self, host: str, port: int, timeout_s: float = 1.0, spec: LinkSpec | None = None) -> None:
        """`spec`: instead of the three before; see `of`."""
        self.spec = spec or LinkSpec("", "modbus-tcp", host, port, timeout_s)
        self.timeout_s = self.spec.timeout_s
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None
        self._waiting = False
        self._rtu = self.spec.kind != "modbus-tcp"
        self._interval_s = self.spec.silence_s if self._rtu else 0.0
        self._delay_s = self._ready_s = 0.0
        self._heard = asyncio.Event()
        self._heard_s = 0.0
        """When the last byte (RTU) or reply came or went, monotonic."""
        self.written: Counter[tuple[int, int]] = Counter()
        """Writes sent since the start, by (unit, register)."""
        self.noticed_read: Callable[[int, int, int, list[int]], None] | None = None
        """Told (unit, function code, address, registers) of every answered read."""
        # Every fault is raised with its place; pymodbus' own lines would only repeat it without one.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

    @classmethod
    def of(cls, spec: LinkSpec) -> ModbusLink:
        """The connection a site describes."""
        return cls(spec.host, spec.port, spec.timeout_s, spec)

    def keep(self, pace: Pace) -> None:
        """Use the connection as the slowest of its devices wants it."""
        self._interval_s = max(self._interval_s, pace.interval_s)
        self._delay_s = pace.connect_delay_s
        if pace.timeout_s > Pace().timeout_s:
            self.timeout_s = max(self.timeout_s, pace.timeout_s)

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.connected

    @property
    def where(self) -> str:
        return self.spec.where

    @property
    def port(self) -> int:
        return self.spec.port

    async def connect(self) -> None:
        """Raises Disconnected when the host refuses or does not answer in time, or the port cannot be opened."""
        self.close()
        client = self._made()
        if not await client.connect():
            client.close()
            mend = "is the device on and its port right?"
            if self.spec.kind == "modbus-rtu":
                mend = "is the adapter plugged in, the path right, and no other program using it?"
            raise Disconnected("cannot connect", where=self.where, mend=mend)
        client.register(_Holding)
        client.register(_Input)
        self._client = client
        self._ready_s = time.monotonic() + self._delay_s
        transport = client.ctx.transport
        sock = transport.get_extra_info("socket") if transport is not None else None
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def _made(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        spec = self.spec
        common = {
            "timeout": self.timeout_s,
            "retries": 0,
            "reconnect_delay": 0,
            "reconnect_delay_max": 0,
            "trace_connect": self._noticed,
        }
        if self._rtu:
            common["trace_packet"] = self._hear
        if spec.kind == "modbus-rtu":
            line = {"baudrate": spec.baud, "parity": spec.parity, "stopbits": spec.stop_bits}
            return AsyncModbusSerialClient(spec.serial, **line, **common)
        framer = FramerType.RTU if self._rtu else FramerType.SOCKET
        return AsyncModbusTcpClient(spec.host, port=spec.port, framer=framer, **common)

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def read(self, unit: int, fc: int, address: int, count: int) -> list[int]:
        """`count` registers (fc 3, 4) or bits as 0/1 (fc 1, 2). Raises ModbusFault."""
        await self._pause()
        request = getattr(self._open(), _READS[fc])
        reply = await self._answered(request(address, count=count, device_id=unit), unit, fc, f"{address}+{count}")
        found = [int(bit) for bit in reply.bits[:count]] if fc in (1, 2) else list(reply.registers)
        if len(found) != count:
            await self._abandon()
            raise GarbledReply(f"{len(found)} registers instead of {count}", where=self._place(unit, address))
        if self.noticed_read is not None:
            self.noticed_read(unit, fc, address, found)
        return found

    async def write(self, unit: int, fc: int, address: int, registers: Sequence[int]) -> None:
        """Write once, never repeated: coil (fc 5), one register (6) or several (16). Raises ModbusFault."""
        await self._pause()
        client = self._open()
        self.written.update((unit, address + k) for k in range(len(registers)))
        if fc == 5:
            call = client.write_coil(address, bool(registers[0]), device_id=unit)
        elif fc == 6:
            call = client.write_register(address, registers[0], device_id=unit)
        else:
            call = client.write_registers(address, list(registers), device_id=unit)
        await self._answered(call, unit, fc, str(address))

    def _open(self) -> AsyncModbusTcpClient:
        if self._client is None or not self._client.connected:
            raise Disconnected("not connected", where=self.where)
        return self._client

    async def _answered(self, call: Awaitable[ModbusPDU], unit: int, fc: int, what: str) -> ModbusPDU:
        place = self._place(unit, what)
        self._waiting = True
        try:
            reply = await call
        except ConnectionException as error:
            self.close()
            raise Disconnected("connection lost", where=place) from error
        except ModbusException as error:
            lost = not self.connected
            self._waiting = False
            await self._abandon()
            if lost:
                raise Disconnected("connection lost", where=place) from error
            if "No response" in error.string:
                raise NoAnswer(f"no answer in {self.timeout_s:g} s", where=place) from error
            raise GarbledReply(error.string, where=place) from error
        except asyncio.CancelledError:
            # A reply to a cancelled request may still come: it must not meet the next one.
            self.close()
            raise
        finally:
            self._waiting = False
            self._heard_s = time.monotonic()
        if reply.isError():
            raise _exception(reply, place)
        if reply.function_code != fc:
            await self._abandon()
            raise GarbledReply(f"function code {reply.function_code} instead of {fc}", where=place)
        return reply

    async def _abandon(self) -> None:
        """Make sure that what still comes of this exchange meets no other one."""
        if not self._rtu or not self.connected:
            self.close()
            return
        quiet_s, until_s = 2 * self.spec.silence_s, time.monotonic() + self.timeout_s
        while time.monotonic() < until_s:
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), quiet_s)
            except TimeoutError:
                return
        self.close()  # it never falls silent: begin anew

    async def _pause(self) -> None:
        """Keep the interval between two requests; what speaks in it (RTU) is waited for and not listened to."""
        left_s = max(self._heard_s + self._interval_s, self._ready_s) - time.monotonic()
        if left_s <= 0:
            return
        self._heard.clear()
        try:
            await asyncio.wait_for(self._heard.wait(), left_s)
        except TimeoutError:
            return
        await self._abandon()

    def _hear(self, _sending: bool, data: bytes) -> bytes:
        self._heard_s = time.monotonic()
        self._heard.set()
        return data

    def _noticed(self, made: bool) -> None:
        """pymodbus lets a request wait for its time-out when the peer hangs up; end it at once instead."""
        client = self._client
        if not made and self._waiting and client is not None and not client.ctx.response_future.done():
            client.ctx.response_future.set_exception(ConnectionException("connection lost"))

    def _place(self, unit: int, what: object) -> str:
        return f"{self.where} unit {unit} register {what}"


class _Holding(ReadHoldingRegistersResponse):  # type: ignore[misc]
    """pymodbus unpacks a reply register by register and formats it for a log nobody reads: half of a poll's time."""

    def decode(self, data: bytes) -> None:
        size = data[0]
        if size % 2 or size != len(data) - 1:
            raise ModbusIOException(f"byte count {size} in {len(data)} bytes", function_code=self.function_code)
        self.registers = list(struct.unpack(f">{size // 2}H", data[1:]))

    def __str__(self) -> str:
        return f"registers reply of unit {self.dev_id}"


class _Input(_Holding):
    function_code = ReadInputRegistersResponse.function_code


def _exception(reply: ModbusPDU, place: str) -> ModbusFault:
    code = reply.exception_code if isinstance(reply, ExceptionResponse) else 0
    text = f"exception {code} ({_NAMES.get(code, 'unknown')})"
    if code in CONFIGURATION:
        return ConfigurationFault(text, where=place, mend="check the register map and the unit")
    return (DeviceFailure if code == 4 else BusyFault)(text, where=place)
