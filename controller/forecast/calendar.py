"""Days and slots of day: local for what people do, UTC for what the sun does. Nothing else knows of clock changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Calendar:
    """Day number and slot of day of consecutive slots, arrays (slots,).

    A local day of 23 hours skips slots of day, one of 25 hours has four of them twice (15-minute slots).
    """

    day: IntArray
    """Days since 1970-01-01 (a Thursday)."""
    slot_of_day: IntArray

    @classmethod
    def of(cls, start_us: int, slots: int, slot_s: int, zone: str = "UTC") -> Calendar:
        """The calendar of `slots` slots from start_us in a time zone (IANA name)."""
        utc_s = start_us // 1_000_000 + slot_s * np.arange(slots, dtype=np.int64)
        local_s = utc_s + _offsets_s(utc_s, ZoneInfo(zone))
        return cls(local_s // DAY_S, local_s % DAY_S // slot_s)

    @property
    def weekend(self) -> npt.NDArray[np.bool_]:
        """True on Saturdays and Sundays; array (slots,)."""
        return np.asarray((self.day + 3) % 7 >= 5)


def _offsets_s(utc_s: IntArray, zone: ZoneInfo) -> IntArray:
    """Offset of local time from UTC at each time, s. Looked up once an hour: no zone changes within one."""
    hours, back = np.unique(utc_s // 3600, return_inverse=True)
    offsets = [_offset_s(int(hour) * 3600, zone) for hour in hours]
    return np.array(offsets, dtype=np.int64)[back]


@lru_cache(maxsize=2 * 366 * 24)
def _offset_s(utc_s: int, zone: ZoneInfo) -> int:
    """Kept: every forecast asks for the same weeks again, a third of what a look back at past errors took."""
    offset = datetime.fromtimestamp(utc_s, tz=UTC).astimezone(zone).utcoffset() or timedelta(0)
    return int(offset.total_seconds())
