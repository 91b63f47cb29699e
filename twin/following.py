"""Whether metered power follows its setpoints: each new setpoint is looked at one tick later."""

from __future__ import annotations

from collections.abc import Iterable

from devices.readings import ProcessImage
from twin.dispatch import Setpoint

TOLERANCE_W = 50.0
TOLERANCE_PU = 0.03


class Following:
    """Counts setpoints whose device gives the power asked for (or keeps the limit) one tick after they changed."""

    def __init__(self, limits: frozenset[str], max_age_s: float) -> None:
        """`limits` are the devices whose setpoint is a limit on their power, not a power."""
        self._limits, self._max_age_s = limits, max_age_s
        self._last: dict[str, int] = {}
        self._fresh: list[Setpoint] = []
        self.checked = self.followed = 0

    @property
    def share(self) -> float | None:
        """Followed of checked; None before the first."""
        return self.followed / self.checked if self.checked else None

    def look(self, image: ProcessImage) -> None:
        """Judge the setpoints of the tick before by what is metered now; an unknown power is not judged."""
        for setpoint in self._fresh:
            p_w = image.value(setpoint.device, "p_w", self._max_age_s)
            if p_w is None:
                continue
            self.checked += 1
            band = max(TOLERANCE_W, TOLERANCE_PU * abs(setpoint.value_w))
            off = abs(p_w) - setpoint.value_w if setpoint.device in self._limits else abs(p_w - setpoint.value_w)
            self.followed += off <= band
        self._fresh = []

    def note(self, setpoints: Iterable[Setpoint]) -> None:
        """Remember which setpoints changed at this tick."""
        for setpoint in setpoints:
            if self._last.get(setpoint.device) != setpoint.value_w:
                self._fresh.append(setpoint)
            self._last[setpoint.device] = setpoint.value_w
