"""A read-only Modbus server for other clients: what the gateway read of a link, under the same units and addresses.

A device that serves a single connection is not lost to its owner's own programs by that. What the gateway has not read
lately is asked of the device over the gateway's one connection, when it is free. Writes are refused (exception 1).
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from devices.modbus import BusyFault, ConfigurationFault, ModbusFault

Fetch = Callable[[int, int, int, int], Awaitable[list[int]]]
"""(unit, function code, address, count) -> registers from the device. Raises ModbusFault."""
FUNCTION, ADDRESS, VALUE, FAILED, NO_TARGET = 1, 2, 3, 4, 11
_READS = (3, 4)
_MOST = 125
_CLIENTS = 32
_IDLE_S = 60.0
_HEADER = struct.Struct(">HHHB")


class Mirror:
    """Registers of one link as last read, each with the moment it was read (wall seconds that only grow)."""

    def __init__(self, fresh_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._fresh_s, self._now_s = fresh_s, now_s
        self._held: dict[tuple[int, int], dict[int, tuple[int, float]]] = {}

    def note(self, unit: int, fc: int, address: int, registers: list[int]) -> None:
        """A read was answered."""
        held, now_s = self._held.setdefault((unit, fc), {}), self._now_s()
        held.update({address + k: (word, now_s) for k, word in enumerate(registers)})

    def look(self, unit: int, fc: int, address: int, count: int) -> list[int] | None:
        """All of them, if all are known and young."""
        held, since_s = self._held.get((unit, fc), {}), self._now_s() - self._fresh_s
        found = [held.get(address + k) for k in range(count)]
        words = [one[0] for one in found if one is not None and one[1] >= since_s]
        return words if len(words) == count else None


class ReServer:
    """Listens for one link. `async with ReServer(mirror, fetch) as server`, then `server.port`."""

    def __init__(self, mirror: Mirror, fetch: Fetch, host: str = "127.0.0.1", port: int = 0) -> None:
        self.port = port
        self._mirror, self._fetch, self._host = mirror, fetch, host
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ReServer:
        """Raises OSError: port in use."""
        self._server = await asyncio.start_server(self._accept, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        try:
            if len(self._clients) <= _CLIENTS:
                with suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
                    await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await asyncio.wait_for(reader.readexactly(_HEADER.size), _IDLE_S)
            transaction, protocol, length, unit = _HEADER.unpack(head)
            if protocol != 0 or not 2 <= length <= 254:
                return  # no Modbus: nothing after it can be understood
            body = await asyncio.wait_for(reader.readexactly(length - 1), _IDLE_S)
            answer = await self._answer(unit, body)
            writer.write(_HEADER.pack(transaction, 0, len(answer) + 1, unit) + answer)
            await writer.drain()

    async def _answer(self, unit: int, body: bytes) -> bytes:
        fc = body[0]
        if fc not in _READS:
            return bytes((fc | 0x80, FUNCTION))
        if len(body) != 5:
            return bytes((fc | 0x80, VALUE))
        address, count = struct.unpack(">HH", body[1:])
        if not 1 <= count <= _MOST:
            return bytes((fc | 0x80, VALUE))
        words = self._mirror.look(unit, fc, address, count)
        if words is None:
            try:
                words = await self._fetch(unit, fc, address, count)
            except ConfigurationFault:
                return bytes((fc | 0x80, ADDRESS))
            except BusyFault:
                return bytes((fc | 0x80, FAILED))
            except ModbusFault:
                return bytes((fc | 0x80, NO_TARGET))
        return struct.pack(f">BB{count}H", fc, 2 * count, *words)
