"""Which market slots begin, want their prices announced, and can be settled at a tick."""

from __future__ import annotations

from dataclasses import dataclass, field

SETTLE_AFTER_TICKS = 2
"""On a clock that runs by itself, a slot is settled so many ticks after its end: its last readings are on their way."""


@dataclass(slots=True)
class Slots:
    """Follows the ticks. Every slot is begun, announced and closed at most once, in order.

    In lockstep a slot is announced as it begins (no time has passed) and closed at its end. On the wall it is announced
    at the last tick before it begins, because a price written later does not settle it, and closed when its readings
    have had time to arrive; a slot that was not announced or not measured from its start is not closed.
    """

    slot_us: int
    tick_us: int
    lockstep: bool
    current_us: int | None = None
    """Start of the slot that time is in."""
    _announced: set[int] = field(default_factory=set)
    _open: list[int] = field(default_factory=list)

    def begin(self, t_us: int) -> int:
        """How many slots have begun since the last tick; 1 at the first tick, more after a pause of the machine."""
        start_us = t_us - t_us % self.slot_us
        if start_us == self.current_us:
            return 0
        passed = 1 if self.current_us is None else (start_us - self.current_us) // self.slot_us
        whole = self.current_us is not None or start_us == t_us
        self.current_us = start_us
        if whole and (self.lockstep or start_us in self._announced):
            self._open.append(start_us)
        return passed

    def announce(self, t_us: int, begun: int) -> int | None:
        """Start of the slot whose prices must be written at this tick; None if there is none."""
        assert self.current_us is not None, "begin() comes first"
        start_us = self.current_us if self.lockstep else self.current_us + self.slot_us
        due = bool(begun) if self.lockstep else t_us + self.tick_us >= start_us
        if not due or start_us in self._announced:
            return None
        self._announced = {start_us}
        return start_us

    def close(self, t_us: int) -> int | None:
        """Start of the oldest slot that can be settled now; None if there is none."""
        wait_us = 0 if self.lockstep else SETTLE_AFTER_TICKS * self.tick_us
        if self._open and self._open[0] + self.slot_us + wait_us <= t_us:
            return self._open.pop(0)
        return None

    def close_last(self, t_us: int) -> int | None:
        """As close, without waiting for late readings: for the end of a run."""
        if self._open and self._open[0] + self.slot_us <= t_us:
            return self._open.pop(0)
        return None
