"""The time a report covers, its grid of slots and minutes, and how local time is written on an axis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from twin.report.data import ReportData

MAX_POINTS = 3000
"""A curve is thinned to means over 5, 15, ... minutes beyond this."""
_STEPS_S = (60, 300, 900, 3600, 21_600, 86_400)


@dataclass(frozen=True, slots=True)
class Span:
    """[start_us, end_us) in UTC; local times use ONE offset, that of the start, so that an axis has no jump."""

    start_us: int = 0
    end_us: int = 0
    slot_s: int = 900
    zone: str = "UTC"
    sample_s: float = 60.0
    """Usual time between two readings of a device; a curve has no finer step."""

    @property
    def slots(self) -> int:
        """Whole slots covered."""
        return max(0, (self.end_us - self.start_us) // (self.slot_s * 1_000_000))

    @property
    def step_s(self) -> int:
        """Step of the curves: a minute, or more for a long run or rare readings."""
        least = max(self.sample_s, (self.end_us - self.start_us) / 1e6 / MAX_POINTS)
        return next((step for step in _STEPS_S if step >= least), _STEPS_S[-1])

    @property
    def steps(self) -> int:
        """Number of points of a curve."""
        return -(-(self.end_us - self.start_us) // (self.step_s * 1_000_000))

    @property
    def offset(self) -> timedelta:
        """Local time minus UTC at the start."""
        return self._zoned(self.start_us).utcoffset() or timedelta()

    def local(self, ts_us: int) -> str:
        """`YYYY-MM-DD HH:MM:SS`, local time by the offset of the start."""
        moment = datetime.fromtimestamp(ts_us // 1_000_000, UTC) + self.offset
        return moment.strftime("%Y-%m-%d %H:%M:%S")

    @property
    def axis_title(self) -> str:
        """What stands under a time axis."""
        hours, minutes = divmod(abs(round(self.offset.total_seconds() / 60)), 60)
        sign = "-" if self.offset < timedelta() else "+"
        return f"local time, {self.zone} (UTC{sign}{hours:02d}:{minutes:02d})"

    @property
    def clock_change(self) -> str | None:
        """A sentence if clocks change inside the span."""
        if self._zoned(self.end_us).utcoffset() == self._zoned(self.start_us).utcoffset():
            return None
        return "Clocks change during this run; all times are written with the offset of its start."

    def _zoned(self, ts_us: int) -> datetime:
        try:
            zone: ZoneInfo | None = ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError):
            zone = None
        return datetime.fromtimestamp(ts_us // 1_000_000, zone or UTC)


def span_of(data: ReportData, extent_us: tuple[int, int] | None, sample_s: float = 60.0) -> Span:
    """The slots of report_data.json, or else what telemetry covers; empty if there is neither."""
    slot_us = data.slot_s * 1_000_000
    if data.start_us:
        return Span(data.start_us[0], data.start_us[-1] + slot_us, data.slot_s, data.zone, sample_s)
    if extent_us is None:
        return Span(slot_s=data.slot_s, zone=data.zone)
    first, last = extent_us
    return Span(first - first % slot_us, last, data.slot_s, data.zone, sample_s)
