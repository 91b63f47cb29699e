"""What can go wrong with register maps."""

from __future__ import annotations

from collections.abc import Sequence

from devices.errors import DeviceError


class RegmapError(DeviceError):
    """A map that cannot be used, or a value that does not fit its register."""


class MapFaults(RegmapError):
    """All faults of one map file together; `faults` are lines `file:line key: what; mend`."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))
