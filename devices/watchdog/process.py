"""The watchdog process: `python -m devices.watchdog.process`, spoken to on standard input (see messages.py).

It holds a lease of its own. When the service's end of the pipe closes (kill -9 closes it too), or no renewal comes
within the lease, it runs the release steps of every device that was under an order, and goes on trying.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import msgspec

from devices.release import release
from devices.watchdog.messages import Hello, Renewal, Said

_LONGEST_S = 600.0
"""After the service's end, devices that do not answer are tried for so long."""
_AGAIN_S = 1.0
_WITHIN_S = 4.0
"""One round of releases: a slow bus needs longer than the 2 s of the command."""


class Guard:
    """What the process knows: whom to guard, who is under an order, until when the lease runs."""

    def __init__(self, hello: Hello) -> None:
        self._hello = hello
        self._held: frozenset[str] = frozenset()
        self._due_s = time.monotonic() + hello.lease_s

    @property
    def left_s(self) -> float:
        """Until the lease ends; without held devices nothing is due."""
        return max(self._due_s - time.monotonic(), 0.0) if self._held else self._hello.lease_s

    def renew(self, renewal: Renewal) -> None:
        """The service lives."""
        self._held = frozenset(renewal.held)
        self._due_s = time.monotonic() + self._hello.lease_s

    async def release(self, why: str) -> bool:
        """Make safe what is held; True when nothing is left to do."""
        if not self._held:
            return True
        devices = [one for one in self._hello.devices if one.id in self._held]
        found = await release(self._hello.links, devices, _WITHIN_S)
        self._held -= {one.device for one in found if one.ok}
        taken = tuple(one.device for one in found if one.ok)
        failed = tuple(f"{one.device}: {one.error}" for one in found if not one.ok)
        say(Said(why=why, released=taken, failed=failed))
        return not self._held


def say(said: Said) -> None:
    """One line to the service, if it still listens."""
    try:
        os.write(1, msgspec.json.encode(said) + b"\n")
    except OSError:
        return


async def watch(reader: asyncio.StreamReader) -> None:
    """Until the service is gone and its devices are safe."""
    guard = Guard(msgspec.json.decode(await reader.readline(), type=Hello))
    say(Said(ready=True))
    while True:
        try:
            line = await asyncio.wait_for(reader.readline(), guard.left_s)
        except TimeoutError:
            if not await guard.release("the service is silent"):
                await _pause(_AGAIN_S)
            continue
        if not line:
            break
        renewal = msgspec.json.decode(line, type=Renewal)
        guard.renew(renewal)
        if renewal.done:
            return
    until_s = time.monotonic() + _LONGEST_S
    while not await guard.release("the service is gone") and time.monotonic() < until_s:
        await _pause(_AGAIN_S)


async def _pause(seconds: float) -> None:
    """Wall seconds: this process guards real hardware and has no other time."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)


async def main() -> None:
    """Read standard input as the service's end."""
    # What ends the service's process group must not end the one that cleans up after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await watch(reader)


if __name__ == "__main__":
    asyncio.run(main())
