"""The service's end of the watchdog: starts the process, renews its lease, knows when nobody guards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from devices.description import DeviceSpec, LinkSpec
from devices.errors import DeviceError
from devices.watchdog.messages import Hello, Renewal, Said

log = logging.getLogger(__name__)
_START_S = 20.0
_END_S = 5.0


class WatchdogError(DeviceError):
    """The watchdog process does not start."""


class Watchdog:
    """`async with Watchdog(...) as dog`, then `dog.renew(held)` well within the lease."""

    def __init__(self, links: Sequence[LinkSpec], devices: Sequence[DeviceSpec], lease_s: float) -> None:
        self._hello = Hello(tuple(links), tuple(devices), lease_s)
        self._process: asyncio.subprocess.Process | None = None
        self._ears: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._ended = False
        self._newest: Renewal | None = None
        """What a watchdog that replaces another must know at once."""
        self.said: list[Said] = []
        """What it reported, oldest first."""

    async def __aenter__(self) -> Watchdog:
        """Start it. Raises WatchdogError when it is not ready in time."""
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """An orderly end: the service has released its devices itself."""
        self._ended = True
        process = self._process
        if process is None:
            return
        self._send(Renewal((), done=True))
        await self._farewell(process)

    async def abandon(self) -> None:
        """The service ends with devices still under its orders: leave them to the watchdog, which outlives it."""
        self._ended = True
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            await self._farewell(process)

    async def _farewell(self, process: asyncio.subprocess.Process) -> None:
        try:
            await asyncio.wait_for(process.wait(), _END_S)
        except TimeoutError:
            log.error("the watchdog goes on trying: devices do not answer")
            if self._ears is not None:
                self._ears.cancel()
        if self._ears is not None:
            await asyncio.gather(self._ears, return_exceptions=True)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    def renew(self, held: Sequence[str]) -> None:
        """The service lives, and these devices are under its orders."""
        self._newest = Renewal(tuple(sorted(held)))
        self._send(self._newest)

    async def _start(self) -> None:
        self._ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devices.watchdog.process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._ears = asyncio.create_task(self._listen(self._process), name="watchdog reports")
        self._send(self._hello)
        if self._newest is not None:
            self._send(self._newest)
        try:
            await asyncio.wait_for(self._ready.wait(), _START_S)
        except TimeoutError as error:
            self._process.kill()
            raise WatchdogError("does not start", where="watchdog", mend="see its traceback above") from error

    def _send(self, message: Hello | Renewal) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        with contextlib.suppress(ConnectionError, RuntimeError):
            process.stdin.write(msgspec.json.encode(message) + b"\n")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said = msgspec.json.decode(line, type=Said)
            if said.ready:
                self._ready.set()
                continue
            self.said.append(said)
            log.error("watchdog: %s; released %s, failed %s", said.why, list(said.released), list(said.failed))
        await process.wait()
        if not self._ended:
            log.error("the watchdog ended with status %s: starting it again", process.returncode)
            await self._start()
