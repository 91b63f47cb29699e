"""The proxy itself: one listener, for each client a connection of its own to the endpoint behind.

    async with Proxy(script) as proxy:        # proxy.port is bound
        proxy.faults = (Fault("drop"),)       # a test may also set them by hand

Wall time, because it stands in front of real hardware; nothing of it enters a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from devices.proxy.framing import messages, resized, spoiled
from devices.proxy.script import CONNECTION, MODBUS_ONLY, Fault, Script

_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 s: closing sends RST."""
Direction = Literal["reply", "request"]


@dataclass(slots=True)
class Seen:
    """What went through."""

    connections: int = 0
    requests: int = 0
    replies: int = 0
    functions: Counter[int] = field(default_factory=Counter)
    """Modbus function codes of the requests that came, spoiled or not."""
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def writes(self) -> int:
        """Requests with a function code that writes."""
        return sum(count for code, count in self.functions.items() if code in (5, 6, 15, 16, 21, 22, 23))


class Proxy:
    """Async context manager. `faults` may be replaced at any time; it begins with the script's."""

    def __init__(self, script: Script, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s`: seconds that only grow, from which the script counts."""
        self.faults: tuple[Fault, ...] = script.faults
        self.seen = Seen()
        self.port = script.listen[1]
        self._script, self._now_s = script, now_s
        self._started_s = now_s()
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        """Listen. Raises OSError: port in use."""
        self._server = await asyncio.start_server(self._accept, self._script.listen[0], self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self._started_s = self._now_s()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for pair in list(self._pairs):
            pair.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def active(self, kinds: frozenset[str] | None = None) -> tuple[Fault, ...]:
        """Faults in force now, of these kinds only if given."""
        t_s = self._now_s() - self._started_s
        return tuple(fault for fault in self.faults if fault.on(t_s) and (kinds is None or fault.kind in kinds))

    def cut(self) -> None:
        """Reset every connection now."""
        for pair in list(self._pairs):
            pair.end(reset=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.seen.connections += 1
        if self.active(frozenset({"refuse"})):
            _close(writer, reset=True)
            return
        try:
            behind = await asyncio.open_connection(*self._script.to)
        except OSError:
            _close(writer, reset=True)
            return
        pair = _Pair(self, self._script, (reader, writer), behind)
        self._pairs.add(pair)
        try:
            await pair.run()
        finally:
            self._pairs.discard(pair)


class _Pair:
    """A client's connection and the one behind it."""

    def __init__(
        self,
        proxy: Proxy,
        script: Script,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        behind: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy, self._script = proxy, script
        self._client, self._behind = client, behind
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._numbers: Counter[Fault] = Counter()
        self._held: dict[str, list[bytes]] = {"reply": [], "request": []}

    async def run(self) -> None:
        """Until one side hangs up."""
        pumps = [
            asyncio.create_task(self._pump(self._client[0], self._behind[1], "request")),
            asyncio.create_task(self._pump(self._behind[0], self._client[1], "reply")),
        ]
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([*pumps, self._ended], return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self.end()

    def end(self, *, reset: bool = False) -> None:
        """Close both sides."""
        for _, writer in (self._client, self._behind):
            _close(writer, reset=reset)
        if not self._ended.done():
            self._ended.set_result(None)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Direction) -> None:
        buffer = bytearray()
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                buffer += chunk
                for message in messages(buffer, self._script.protocol):
                    self._count(message, way)
                    await self._pass(message, writer, way)

    def _count(self, message: bytes, way: Direction) -> None:
        seen = self._proxy.seen
        if way == "reply":
            seen.replies += 1
        else:
            seen.requests += 1
            if self._script.protocol == "modbus" and len(message) > 7:
                seen.functions[message[7]] += 1

    async def _pass(self, message: bytes, writer: asyncio.StreamWriter, way: Direction) -> None:
        if self._swallowed(way):
            return
        for fault in self._proxy.active():
            if fault.kind in CONNECTION or fault.way not in (way, "both") or not self._turn(fault):
                continue
            self._proxy.seen.faults[fault.kind] += 1
            if fault.kind in MODBUS_ONLY:
                message = spoiled(message, fault)
            elif fault.kind in ("short", "long"):
                message = resized(message, fault, self._script.protocol)
            elif not await self._mistreat(message, writer, fault, way):
                return
        writer.write(message)
        await writer.drain()

    def _swallowed(self, way: Direction) -> bool:
        for fault in self._proxy.active(CONNECTION):
            if fault.kind == "refuse":
                self.end(reset=True)
            if fault.kind != "black_hole" or way == "request":
                self._proxy.seen.faults[fault.kind] += 1
                return True
        return False

    def _turn(self, fault: Fault) -> bool:
        self._numbers[fault] += 1
        return self._numbers[fault] % fault.every == 0

    async def _mistreat(self, message: bytes, writer: asyncio.StreamWriter, fault: Fault, way: Direction) -> bool:
        """Faults in time and delivery; True when the message is still to be passed on."""
        if fault.kind == "delay":
            await self._pause(fault.seconds)
            return True
        if fault.kind == "truncate":
            writer.write(message[: fault.size])
            await writer.drain()
            self.end()
        elif fault.kind == "reset":
            self.end(reset=True)
        elif fault.kind == "split":
            for at in range(0, len(message), fault.size):
                writer.write(message[at : at + fault.size])
                await writer.drain()
                await self._pause(0.001)
        elif fault.kind == "merge":
            await self._merge(message, writer, fault, way)
        return False

    async def _merge(self, message: bytes, writer: asyncio.StreamWriter, fault: Fault, way: Direction) -> None:
        held = self._held[way]
        held.append(message)
        if len(held) == 1 and fault.size > 1:
            asyncio.get_running_loop().call_later(fault.seconds, self._let_go, writer, way)
        elif len(held) >= fault.size:
            self._let_go(writer, way)

    def _let_go(self, writer: asyncio.StreamWriter, way: Direction) -> None:
        held, self._held[way] = self._held[way], []
        if held and not writer.is_closing():
            writer.write(b"".join(held))

    async def _pause(self, seconds: float) -> None:
        """Wall seconds, less when the connection ends."""
        await asyncio.wait([self._ended], timeout=seconds)


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    raw = writer.get_extra_info("socket")
    if reset and raw is not None and not writer.is_closing():
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    else:
        writer.close()
