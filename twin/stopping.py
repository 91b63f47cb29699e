"""Ctrl-C and SIGTERM as a request: the loop ends after what it is doing, releases, closes, reports."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stop:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._then: list[Callable[[], None]] = []

    @property
    def asked(self) -> bool:
        """True from the first request on."""
        return self._event.is_set()

    def ask(self) -> None:
        """Request it."""
        if not self.asked:
            self._event.set()
            for act in self._then:
                act()

    def then(self, act: Callable[[], None]) -> None:
        """Call `act` at the first request; at once if there was one."""
        self._then.append(act)
        if self.asked:
            act()

    async def wait(self) -> None:
        """Return when it was requested."""
        await self._event.wait()


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """A Stop that Ctrl-C and SIGTERM request while the block runs."""
    loop, stop = asyncio.get_running_loop(), Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.ask)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
