"""What devices/ knows of time: a small protocol, implemented in twin/clock.py and handed in."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """One source of time for whatever stamps or sleeps. UTC throughout."""

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        ...

    async def sleep_until_us(self, t_us: int) -> None:
        """Return when `now_us() >= t_us`. In lockstep time only moves when the conductor advances it."""
        ...
