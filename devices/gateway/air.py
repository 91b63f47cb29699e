"""Controlled devices that are reached over MQTT: the same orders and leases, without a link of their own."""

from __future__ import annotations

from devices.description import LinkSpec
from devices.gateway.line import Line, Unit
from devices.readings import Reading


class AirLine(Line):
    """A line whose readings come by themselves; only orders go out."""

    @classmethod
    def spec_of(cls, device: str) -> LinkSpec:
        """Stands for the link that such a device has not."""
        return LinkSpec(f"mqtt:{device}", "modbus-tcp", "", 0)

    async def cycle(self) -> list[Reading]:
        return []

    async def poll(self, unit: Unit) -> Reading | None:
        return None

    async def settle(self) -> None:
        for unit in self.units:
            if unit.holder is not None:
                await unit.holder.settle(self.link, ready=True)

    def skipped(self, unit: Unit, ticks: int) -> None:
        return
