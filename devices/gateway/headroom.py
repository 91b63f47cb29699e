"""What the site's connection leaves for one device: import and export limits turned into bounds on a setpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

GridLimits = Callable[[int], tuple[float, float]]
"""µs UTC -> (largest import, largest export) in W, both >= 0, infinite where there is none. They may change in time."""
_OPEN = (-math.inf, math.inf)


class Headroom:
    """Bounds from the newest grid reading and the setpoints that are not in it yet. Arithmetic only.

    With the grid at g (import positive) and the device at p, a setpoint x makes it g - (x - p), less what the others
    were told beyond what they do now. A grid meter that is silent for longer than `stale_s` closes the limited side.
    """

    def __init__(self, limits_at: GridLimits | None, stale_s: float) -> None:
        self._limits_at, self._stale_us = limits_at, stale_s * 1e6
        self._grid: tuple[float, int] | None = None
        self._powers: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def observe(self, device: str, values: Mapping[str, float | int], ts_us: int, *, is_grid: bool) -> None:
        """A reading came."""
        p_w = values.get("p_w")
        if p_w is None:
            return
        if is_grid:
            self._grid = (p_w, ts_us)
        else:
            self._powers[device] = p_w

    def told(self, device: str, value_w: float | None) -> None:
        """A power setpoint is in force (None: no more)."""
        if value_w is None:
            self._told.pop(device, None)
        else:
            self._told[device] = value_w

    def bounds(self, device: str, now_us: int) -> tuple[float, float]:
        """Bus power that the device may have, (low, high)."""
        if self._limits_at is None:
            return _OPEN
        import_w, export_w = self._limits_at(now_us)
        if math.isinf(import_w) and math.isinf(export_w):
            return _OPEN
        if self._grid is None or now_us - self._grid[1] > self._stale_us:
            return (0.0 if math.isfinite(import_w) else -math.inf, 0.0 if math.isfinite(export_w) else math.inf)
        pending = sum(value - self._powers.get(other, 0.0) for other, value in self._told.items() if other != device)
        free = self._grid[0] - pending + self._powers.get(device, 0.0)
        return free - import_w, free + export_w
