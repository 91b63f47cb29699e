"""What can go wrong with SunSpec models and registers."""

from __future__ import annotations

from devices.errors import DeviceError


class SunSpecError(DeviceError):
    """A model that cannot be compiled, a block of the wrong size, a value that does not fit its point."""
