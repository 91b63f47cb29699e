"""The revert timer of a setpoint, on the plant's clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SECOND_US = 1_000_000


@dataclass(slots=True)
class RevertTimer:
    """Runs from `start` until `due_us`; a start with 0 s means that the setpoint stays for good."""

    due_us: int | None = None
    factor: float = 1.0
    """It runs so much longer than it is told to; infinite = for ever."""

    def start(self, now_us: int, seconds: int) -> None:
        """(Re)start."""
        runs = seconds > 0 and math.isfinite(self.factor)
        self.due_us = now_us + round(seconds * self.factor * _SECOND_US) if runs else None

    def stop(self) -> None:
        """The setpoint was withdrawn."""
        self.due_us = None

    def expired(self, now_us: int) -> bool:
        """Whether it has run out; it stops with that, so it says so once."""
        if self.due_us is None or now_us < self.due_us:
            return False
        self.due_us = None
        return True

    def left_s(self, now_us: int) -> int:
        """Whole seconds left, rounded up; 0 when it does not run."""
        return 0 if self.due_us is None else max(-((now_us - self.due_us) // _SECOND_US), 0)
