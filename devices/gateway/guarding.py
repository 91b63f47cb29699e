"""Devices whose fail-safe is the watchdog: it must run, and know whom to make safe, before anything is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from devices.clock import Clock
from devices.description import DeviceSpec, LinkSpec
from devices.watchdog import Watchdog

_LONGEST_S = 1.0
"""Between two renewals."""
_NOBODY = "no watchdog runs: nobody would make the device safe"


class Guarding:
    """Starts and renews the watchdog for the devices of fail-safe class `watchdog`, if there are any.

    It renews from the gateway's own loop: what stops the loop stops the renewals.
    """

    def __init__(
        self,
        links: Sequence[LinkSpec],
        devices: Sequence[DeviceSpec],
        clock: Clock,
        lease_s: float,
        held: Callable[[], list[str]],
    ) -> None:
        """`held`: devices that are under an order, or about to be."""
        self.devices = frozenset(one.id for one in devices if one.failsafe == "watchdog")
        mine = [one for one in devices if one.id in self.devices]
        used = {one.link for one in mine}
        self.watchdog = Watchdog([link for link in links if link.id in used], mine, lease_s)
        self._clock, self._held = clock, held
        self._period_us = round(min(lease_s / 3, _LONGEST_S) * 1_000_000)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises WatchdogError when the process does not start."""
        if self.devices:
            await self.watchdog.__aenter__()
            self._task = asyncio.create_task(self._renew_for_ever(), name="watchdog renewals")

    async def stop(self) -> None:
        """The devices were released and the watchdog may go; those that were not are left to it."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self.devices.intersection(self._held()):
            await self.watchdog.abandon()
        else:
            await self.watchdog.__aexit__()

    def renew(self) -> None:
        """Now, because a device is about to be written to."""
        if self._task is not None:
            self.watchdog.renew([device for device in self._held() if device in self.devices])

    def unguarded(self, device: str) -> str:
        """Why this device must not be written to; empty if it may."""
        if device not in self.devices or self.watchdog.alive or self._task is None:
            return ""
        return _NOBODY

    async def _renew_for_ever(self) -> None:
        while True:
            self.renew()
            await self._clock.sleep_until_us(self._clock.now_us() + self._period_us)
