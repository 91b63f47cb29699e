"""How slowly a device wants to be asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """How a device wants its connection to be used."""

    interval_s: float = 0.0
    """Least time between two requests."""
    connect_delay_s: float = 0.0
    """Least time between connecting and the first request."""
    timeout_s: float = 1.0
    """A device that needs longer than the usual second raises the link's time-out."""

    def slower(self, other: Pace) -> Pace:
        """What suits both."""
        return Pace(
            max(self.interval_s, other.interval_s),
            max(self.connect_delay_s, other.connect_delay_s),
            max(self.timeout_s, other.timeout_s),
        )
