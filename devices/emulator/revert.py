"""The revert timer of a setpoint, on the plant's clock."""

from __future__ import annotations

from dataclasses import dataclass

_SECOND_US = 1_000_000


@dataclass(slots=True)
class RevertTimer:
    """Runs from `start` until `due_us`; a start with 0 s means that the setpoint stays for good."""

    due_us: int | None = None

    def start(self, now_us: int, seconds: int) -> None:
        """(Re)start."""
        self.due_us = now_us + seconds * _SECOND_US if seconds > 0 else None

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
