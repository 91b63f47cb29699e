"""Time labels of data files turned into UTC: the only place where a recording's local clock is understood.

Labels with an offset or Z say it themselves. Labels without one are wall clock of the file's zone; in the hour that a
zone repeats in autumn, a label seen for the second time (or after a later one) is the second pass. A file that has the
hour only once is read as its first pass, and the second is a gap. A label that the zone skips in spring is refused.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICRO = dt.timedelta(microseconds=1)


class LabelError(ValueError):
    """A label that is no point in time; the text says why."""


class Labels:
    """Converts labels one after the other, in the order of the file."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._last_us: int | None = None

    def utc_us(self, label: str | dt.datetime) -> int:
        """Microseconds UTC of a label. Raises LabelError."""
        when = label if isinstance(label, dt.datetime) else _parsed(label)
        if when.tzinfo is None:
            when = self._placed(when)
        self._last_us = (when - _EPOCH) // _MICRO
        return self._last_us

    def _placed(self, when: dt.datetime) -> dt.datetime:
        first, second = (when.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        if first.utcoffset() == second.utcoffset():
            return first.astimezone(dt.UTC)
        if first.astimezone(dt.UTC).astimezone(self._zone).replace(tzinfo=None) != when:
            raise LabelError(f"{when} does not exist in {self._zone.key} (clocks go forward)")
        first, second = first.astimezone(dt.UTC), second.astimezone(dt.UTC)
        again = self._last_us is not None and (first - _EPOCH) // _MICRO <= self._last_us
        return second if again else first


def _parsed(label: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(label.strip())
    except ValueError:
        raise LabelError(f"{label!r} is no time") from None
