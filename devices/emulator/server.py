"""The servers behind emulated links: pymodbus' own (3.16), with registers that live in the units (emulator/unit.py).

pymodbus keeps none, it asks `Tables` for them. Nothing in there may await: answers of two requests would get crossed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from devices.description import LinkSpec
from devices.emulator.requests import ReadHolding, ReadInput
from devices.emulator.unit import Unit

log = logging.getLogger(__name__)

_READS, _WRITES = (3, 4), (6, 16, 22, 23)
_INPUT = 4
_IDLE_S = 900.0
"""A connection with no request for so long is closed; longer than the longest solve a run allows (600 s)."""
_HALF_FRAME_S = 5.0
"""Bytes that never become a request (a wrong MBAP header) would wedge the connection for good."""
_NO_STORE = SimDevice(0, [SimData(0, values=0, datatype=DataType.REGISTERS)])
"""pymodbus insists on a data store of its own; it is replaced before the server listens."""


@dataclass(frozen=True, slots=True)
class Served:
    """A unit on a link, and how it answers at the moment."""

    unit: Unit
    silent: Callable[[], bool]
    latency_s: Callable[[], float]
    single: bool = False
    """Whether the link serves only one client at a time."""
    hangs_up: bool = False
    """When it is silent, it hangs up instead of letting the client wait (not on a serial line, which cannot)."""


class Tables:
    """The units' tables as pymodbus' requests ask for them; stands in for its own data store."""

    def __init__(self, units: Mapping[int, Served], now_us: Callable[[], int]) -> None:
        self._units, self._now_us = units, now_us

    async def async_getValues(
        self, device_id: int, func_code: int, address: int, count: int = 1
    ) -> list[int] | ExcCodes:
        if func_code not in _READS + _WRITES:
            return ExcCodes.ILLEGAL_FUNCTION
        unit = self._units[device_id].unit
        table = unit.input if func_code == _INPUT else unit.holding
        if table is None or not table.base <= address <= table.base + len(table.registers) - count:
            return ExcCodes.ILLEGAL_ADDRESS
        return table.registers[address - table.base : address - table.base + count]

    async def async_setValues(
        self, device_id: int, func_code: int, address: int, values: Sequence[int]
    ) -> ExcCodes | None:
        if func_code not in _WRITES:
            return ExcCodes.ILLEGAL_FUNCTION
        unit = self._units[device_id].unit
        if unit.holding is None:
            return ExcCodes.ILLEGAL_ADDRESS
        refusal = unit.write(address, [int(word) for word in values], self._now_us())
        return None if refusal is None else ExcCodes(int(refusal))


class TcpServer(ModbusTcpServer):  # type: ignore[misc]
    def __init__(
        self, units: Mapping[int, Served], now_us: Callable[[], int], address: tuple[str, int], rtu: bool
    ) -> None:
        framer = FramerType.RTU if rtu else FramerType.SOCKET
        super().__init__(_NO_STORE, framer=framer, address=address, custom_pdu=[ReadHolding, ReadInput])
        self.units, self.context, self.is_bus = units, Tables(units, now_us), rtu

    def bound_port(self) -> int:
        return int(self.transport.sockets[0].getsockname()[1])

    def callback_new_connection(self) -> _Connection:
        return _Connection(self)


class SerialServer(ModbusSerialServer):  # type: ignore[misc]
    def __init__(self, units: Mapping[int, Served], now_us: Callable[[], int], link: LinkSpec, port: str) -> None:
        super().__init__(
            _NO_STORE,
            port=port,
            baudrate=link.baud,
            parity=link.parity,
            stopbits=link.stop_bits,
            custom_pdu=[ReadHolding, ReadInput],
        )
        self.units, self.context, self.is_bus = units, Tables(units, now_us), True

    def callback_new_connection(self) -> _Connection:
        return _Connection(self)


class _Connection(ServerRequestHandler):  # type: ignore[misc]
    """Adds to pymodbus' handler: an unknown unit (0x0B, on a bus silence), latency, time-outs."""

    def __init__(self, server: TcpServer | SerialServer) -> None:
        super().__init__(server, None, None, None)
        self._units, self._is_bus = server.units, server.is_bus
        self._serial = isinstance(server, SerialServer)
        """A line is never closed for being quiet."""
        self._watch: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._answering: asyncio.Task[None] | None = None

    def callback_connected(self) -> None:
        super().callback_connected()
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        single = any(served.single for served in self._units.values())
        if single and self.listener is not None and len(self.listener.active_connections) > 1:
            self.loop.call_soon(self.close)
        if not self._serial:
            self._arm(_IDLE_S)

    def callback_disconnected(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().callback_disconnected(exc)

    def callback_data(self, data: bytes, addr: tuple[str, int] | None = None) -> int:
        used = int(super().callback_data(data, addr))
        if not self._serial:
            self._arm(_IDLE_S if used >= len(data) else _HALF_FRAME_S)
        return used

    def handle_later(self) -> None:
        # pymodbus passes the request to its own loop as if from another thread: two system calls more for each.
        self._answering = self.loop.create_task(self.handle_request())

    async def handle_request(self) -> None:
        pdu = self.last_pdu
        if pdu is None or pdu.dev_id in self._units:
            await super().handle_request()
            return
        if self._is_bus:
            return
        refusal = ExceptionResponse(
            pdu.function_code, ExcCodes.GATEWAY_NO_RESPONSE, device_id=pdu.dev_id, transaction=pdu.transaction_id
        )
        self.server_send(refusal, self.last_addr)

    def server_send(self, pdu: ModbusPDU, addr: tuple[str, int] | None) -> None:
        served = self._units.get(pdu.dev_id)
        if served is None:
            super().server_send(pdu, addr)
        elif served.silent():
            if served.hangs_up and not self._serial:
                self.close()
        else:
            late_s = served.latency_s()
            if late_s > 0:
                self.loop.call_later(late_s, self._send_late, pdu, addr)
            else:
                super().server_send(pdu, addr)

    def _send_late(self, pdu: ModbusPDU, addr: tuple[str, int] | None) -> None:
        if self.transport is not None:
            super().server_send(pdu, addr)

    def _arm(self, seconds: float) -> None:
        """Close when nothing comes for so long. A timer that runs already is only replaced by an earlier one."""
        self._due_s = self.loop.time() + seconds
        if self._watch is None or self._watch.when() > self._due_s:
            self._set_watch()

    def _set_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self.loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        if self.loop.time() < self._due_s:
            self._set_watch()
            return
        log.info("modbus server: connection closed, no whole request came")
        self.close()
