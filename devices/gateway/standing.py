"""What a controlled device holds as far as the gateway knows, and whose doing that is."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from devices.drivers import ReadBack

MICRO = 1_000_000


class Holds(Enum):
    """What the last look at the device says about our order."""

    UNKNOWN = "unknown"
    OURS = "ours"
    FELL_BACK = "fell back"
    """Not enabled any more: its revert timer, a restart, a person."""
    FOREIGN = "foreign"
    """Enabled with a value that we did not write: another master, or a device that limits itself."""


class Standing:
    """Facts about one device; decides nothing."""

    def __init__(self, control: str) -> None:
        self._control = control
        self.shown: ReadBack | None = None
        self.value_w: int | None = None
        """Our last value; None while no order of ours is in force."""
        self.written_us: int | None = None
        """When the lease was last written; None while no order of ours is in force."""
        self.found_us: int | None = None
        """When a setpoint was found in force that this gateway never wrote."""
        self.p_w: float | None = None
        self._soc: tuple[float, int] | None = None
        self._met = False

    def observe(self, values: Mapping[str, float | int], now_us: int) -> bool:
        """A poll came; True when it is the first one and shows a setpoint in force."""
        self.p_w = values.get("p_w", self.p_w)
        if "soc_pu" in values:
            self._soc = (values["soc_pu"], now_us)
        if self._control not in values:
            return False
        self.shown = ReadBack(values[self._control], values.get("set_ena", 1) == 1, values.get("set_left_s"))
        first, self._met = not self._met, True
        # A device without an enable shows a value at any time; only an enable says that somebody gave an order.
        return first and self.written_us is None and values.get("set_ena") == 1

    def adopt(self, now_us: int, lease_s: float) -> None:
        """Take what was found for ours, as if half of its lease were used up."""
        assert self.shown is not None
        self.found_us = now_us
        self.written_us = now_us - round(lease_s * MICRO / 2) + 1
        self.value_w = None if self.shown.value_w is None else round(self.shown.value_w)

    def wrote(self, now_us: int, value_w: int) -> None:
        """The device took an order of ours."""
        self.written_us, self.value_w, self.found_us, self._met = now_us, value_w, None, True

    def began(self, now_us: int) -> None:
        """A write is under way: from here on the device may be under the order, even if it fails half-way."""
        self.written_us = now_us if self.written_us is None else self.written_us

    def freed(self) -> None:
        """No order of ours is in force any more."""
        self.written_us = self.value_w = self.found_us = None

    def soc_pu(self, now_us: int, max_age_s: float) -> float | None:
        """State of charge, unknown again after max_age_s."""
        if self._soc is None or now_us - self._soc[1] > max_age_s * MICRO:
            return None
        return self._soc[0]

    def young(self, now_us: int, lease_s: float) -> bool:
        """Whether less than half of the lease is used up."""
        return self.written_us is not None and now_us - self.written_us < lease_s * MICRO / 2

    def holds(self, value_w: int, tolerance_w: float) -> Holds:
        """What the device shows of our value."""
        if self.shown is None or self.shown.value_w is None:
            return Holds.UNKNOWN
        if not self.shown.enabled:
            return Holds.FELL_BACK
        return Holds.OURS if abs(self.shown.value_w - value_w) <= tolerance_w else Holds.FOREIGN
