"""How often a register may be written: the flash memory behind setpoints bears a number of writes, not of years."""

from __future__ import annotations

from collections.abc import Mapping

_DAY_US = 86_400_000_000


class WriteBudget:
    """Writes of one unit's registers in the UTC day at hand.

    A changed value needs more than a tenth of the budget left, which is kept for refreshes; releases need none.
    """

    def __init__(self, unit: int, per_day: int | None) -> None:
        self._unit, self._per_day = unit, per_day
        self._day = -1
        self._before: dict[int, int] = {}

    def spent(self, written: Mapping[tuple[int, int], int], now_us: int, *, refresh: bool) -> str:
        """Why nothing may be written now; empty if it may."""
        if self._per_day is None:
            return ""
        mine = {register: count for (unit, register), count in written.items() if unit == self._unit}
        if now_us // _DAY_US != self._day:
            self._day, self._before = now_us // _DAY_US, mine
        counts = {register: count - self._before.get(register, 0) for register, count in mine.items()}
        register = max(counts, key=lambda at: (counts[at], -at), default=0)
        reserve = 0 if refresh else self._per_day // 10
        if counts.get(register, 0) + reserve < self._per_day:
            return ""
        kept = f", {reserve} kept for refreshes" if reserve else ""
        return f"register {register} was written {counts[register]} times today, {self._per_day} are allowed{kept}"
