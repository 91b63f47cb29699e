"""A serial line without hardware: two pseudo terminals, joined in this process; what goes in at one end comes out."""

from __future__ import annotations

import asyncio
import os
import tty
from pathlib import Path

from devices.errors import DeviceError

_CHUNK = 4096


class Wire:
    """Two ends with names that any Modbus RTU program can open. Needs a running event loop."""

    def __init__(self, name: str = "") -> None:
        """`name`: a path that shall lead to the near end, kept until `close`."""
        self._loop = asyncio.get_running_loop()
        self._masters, self._slaves = [], []
        for _ in range(2):
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._masters.append(master)
            self._slaves.append(slave)
        self.near, self.far = (os.ttyname(slave) for slave in self._slaves)
        self._name = Path(name) if name else None
        if self._name is not None:
            self._name.symlink_to(self.near)
            self.near = name
        for source, target in (self._masters, self._masters[::-1]):
            self._loop.add_reader(source, self._pass_on, source, target)

    @classmethod
    def at(cls, path: str) -> Wire:
        """A wire whose near end is `path`. Raises DeviceError when something else is there already."""
        try:
            return cls(path)
        except FileExistsError as error:
            raise DeviceError(
                "the emulator makes its serial line there, but the path is taken",
                where=path,
                mend="give `serial` a path that does not exist yet, such as ./bus-1",
            ) from error
        except OSError as error:
            raise DeviceError(f"no serial line can be made: {error.strerror}", where=path) from error

    def close(self) -> None:
        """Take the line away. Harmless when closed."""
        for master in self._masters:
            self._loop.remove_reader(master)
        for end in (*self._masters, *self._slaves):
            os.close(end)
        self._masters, self._slaves = [], []
        if self._name is not None:
            self._name.unlink(missing_ok=True)
            self._name = None

    def _pass_on(self, source: int, target: int) -> None:
        try:
            data = os.read(source, _CHUNK)
            os.write(target, data)
        except BlockingIOError:
            return  # nobody reads at the other end: as on a real line, the bytes are gone
