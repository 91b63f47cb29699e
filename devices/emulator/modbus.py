"""Modbus links of the emulated plant: TCP, RTU, RTU over TCP."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace

from devices.description import LinkSpec, is_loopback
from devices.emulator.server import SerialServer, Served, TcpServer
from devices.emulator.wire import Wire
from devices.errors import DeviceError

__all__ = ["ModbusLink", "Served"]


class ModbusLink:
    """One server for all units of a link."""

    def __init__(self, link: LinkSpec, units: Mapping[int, Served], now_us: Callable[[], int]) -> None:
        """Raises DeviceError for a host that is not this machine's loopback.

        A serial link whose port does not exist yet gets a wire of its own (emulator/wire.py) under that name.
        """
        if link.kind != "modbus-rtu" and not is_loopback(link.host):
            raise DeviceError(
                f"emulated devices listen on loopback only, not on {link.host}",
                where=f"links: {link.id}",
                mend="use host: 127.0.0.1",
            )
        self.link = link
        self.port = link.port
        self._units = units
        self._now_us = now_us
        self._server: TcpServer | SerialServer | None = None
        self._wire: Wire | None = None
        # Every fault is raised with its place; pymodbus' own lines would only repeat it without one.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

    @property
    def listening(self) -> bool:
        """Whether clients can connect."""
        return self._server is not None

    @property
    def bound(self) -> LinkSpec:
        """The link with the port that clients can use."""
        return replace(self.link, port=self.port) if self._wire is None else replace(self.link, serial=self._wire.near)

    async def open(self) -> None:
        """Listen on `port` (0: chosen by the operating system, then kept). Raises DeviceError: port in use."""
        server = self._made()
        try:
            await server.serve_forever(background=True)
        except RuntimeError as error:
            reason = "it cannot be opened" if self._serial else _why_not(self.link.host, self.port)
            raise DeviceError(
                f"cannot listen on {replace(self.link, port=self.port).where}: {reason}",
                where=f"links: {self.link.id}",
                mend="stop what uses the port, or name another in the site file; runs with --ports auto find free ones",
            ) from error
        if isinstance(server, TcpServer):
            self.port = server.bound_port()
        self._server = server

    async def close(self) -> None:
        """Close the listener and every connection. Harmless when closed."""
        server, self._server = self._server, None
        if server is not None:
            listener = server.transport
            await server.shutdown()
            if not self._serial:
                await asyncio.wait_for(listener.wait_closed(), 5)
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    @property
    def _serial(self) -> bool:
        return self.link.kind == "modbus-rtu"

    def _made(self) -> TcpServer | SerialServer:
        if self._serial:
            self._wire = Wire.at(self.link.serial)
            return SerialServer(self._units, self._now_us, self.link, self._wire.far)
        rtu = self.link.kind == "modbus-rtu-tcp"
        return TcpServer(self._units, self._now_us, (self.link.host, self.port), rtu)


def _why_not(host: str, port: int) -> str:
    """pymodbus only says that listening failed; ask the operating system once more."""
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            return "port in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
    return "it was in use a moment ago"
