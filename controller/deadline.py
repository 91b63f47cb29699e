"""When a solve hands in what it has: only where its budget names seconds, which lockstep and replay refuse."""

from __future__ import annotations

import time


class Deadline:
    """Begins when it is made. Without seconds it never comes, and nothing depends on how fast the machine is."""

    def __init__(self, wall_s: float | None = None) -> None:
        self._until_s = float("inf") if wall_s is None else time.monotonic() + wall_s

    @property
    def left_s(self) -> float:
        """Seconds left, >= 0; inf without a deadline."""
        return max(self._until_s - time.monotonic(), 0.0)

    @property
    def over(self) -> bool:
        """Whether it has come."""
        return self.left_s == 0.0


ENDLESS = Deadline()
