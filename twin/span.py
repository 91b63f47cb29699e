"""When a run starts and ends, and where the day-ahead gates lie: local time of the site, only here turned to UTC."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from twin.exits import UsageError
from twin.site.schema import Site

HISTORY_DAYS = 28
"""A run starts by default this long after the data begins, so that forecasts have a past."""
PAST_DAYS = 56
"""So much of the past is read where there is so much: intervals and trained forecasts learn from more of it."""
DAY_US = 86_400_000_000


def parse_start(text: str) -> dt.date | dt.datetime:
    """A date or a date with time from the command line. Raises UsageError."""
    try:
        return dt.date.fromisoformat(text) if len(text) == 10 else dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a date or time: {error}", where="--start", mend="write 2016-09-05 or 2016-09-05T06:00"
        ) from error


def instant_us(when: dt.date | dt.datetime, zone: str) -> int:
    """UTC microseconds of a date (its local midnight) or of a local or zoned time."""
    if not isinstance(when, dt.datetime):
        when = dt.datetime.combine(when, dt.time())
    if when.tzinfo is None:
        when = when.replace(tzinfo=ZoneInfo(zone))
    return round(when.timestamp()) * 1_000_000


def default_start_us(data_start_us: int, zone: str) -> int:
    """The first local midnight at least HISTORY_DAYS after the data begins."""
    local = dt.datetime.fromtimestamp(data_start_us / 1e6, ZoneInfo(zone)) + dt.timedelta(days=HISTORY_DAYS)
    date = local.date() if local.time() == dt.time() else local.date() + dt.timedelta(days=1)
    return instant_us(date, zone)


@dataclass(frozen=True, slots=True)
class Gate:
    """The daily moment at which the day ahead is planned."""

    zone: str
    at: dt.time

    @classmethod
    def of(cls, site: Site) -> Gate:
        """The gate of a site file (checked by its loader)."""
        return cls(site.zone, dt.time.fromisoformat(site.time.gate))

    def next_us(self, t_us: int) -> int:
        """The first gate strictly after `t_us`; 23 to 25 hours apart where clocks change."""
        local = dt.datetime.fromtimestamp(t_us / 1e6, ZoneInfo(self.zone))
        for day in range(3):
            gate_us = instant_us(dt.datetime.combine(local.date() + dt.timedelta(days=day), self.at), self.zone)
            if gate_us > t_us:
                return gate_us
        raise AssertionError("a gate comes every day")

    def is_gate(self, t_us: int) -> bool:
        """Whether `t_us` is a gate."""
        return self.next_us(t_us - 1) == t_us


def midnight_us(t_us: int, zone: str) -> int:
    """The local midnight at or before `t_us`."""
    return instant_us(dt.datetime.fromtimestamp(t_us / 1e6, ZoneInfo(zone)).date(), zone)


def period(start_us: int, hours: float, zone: str) -> str:
    """`2016-09-05 00:00 to 2016-09-06 00:00`, local time."""
    first, last = (dt.datetime.fromtimestamp(t / 1e6, ZoneInfo(zone)) for t in (start_us, start_us + hours * 3.6e9))
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
