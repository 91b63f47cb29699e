"""What service and watchdog say to each other: one JSON object a line."""

from __future__ import annotations

import msgspec

from devices.description import DeviceSpec, LinkSpec


class Hello(msgspec.Struct, frozen=True):
    """First line to the watchdog: whom it guards, and how long it waits for a renewal."""

    links: tuple[LinkSpec, ...]
    devices: tuple[DeviceSpec, ...]
    lease_s: float


class Renewal(msgspec.Struct, frozen=True):
    """The service is alive; these devices are under its orders. `done`: it ends in order and released them itself."""

    held: tuple[str, ...]
    done: bool = False


class Said(msgspec.Struct, frozen=True):
    """From the watchdog: it is ready, or what it did."""

    ready: bool = False
    why: str = ""
    released: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
