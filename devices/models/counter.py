"""Energy counters: whole Wh shown, the fraction of a Wh kept, so that nothing is lost to rounding."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counter:
    """Monotone counter; `whole_wh + rest_wh` is the integral of what was added."""

    whole_wh: int = 0
    rest_wh: float = 0.0

    def add(self, energy_wh: float) -> None:
        """Add energy >= 0, Wh."""
        total = self.rest_wh + energy_wh
        whole = int(total)
        self.whole_wh += whole
        self.rest_wh = total - whole


@dataclass(slots=True)
class EnergyCounters:
    """The owner's view: taken from the bus (p < 0) and given to it (p > 0)."""

    imported: Counter
    exported: Counter

    @classmethod
    def zero(cls) -> EnergyCounters:
        """Both counters at zero."""
        return cls(Counter(), Counter())

    def integrate(self, p_w: float, dt_s: float) -> None:
        """Bus power p_w, constant over dt_s."""
        if p_w > 0:
            self.exported.add(p_w * dt_s / 3600)
        elif p_w < 0:
            self.imported.add(-p_w * dt_s / 3600)
