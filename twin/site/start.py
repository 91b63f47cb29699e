"""Whether a run may start at a time: forecasts need a past, the plant needs data."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

LEAST_HISTORY_US = 86_400_000_000
"""A day: persistence, the simplest forecast, needs one."""


def start_refusal(span_us: tuple[int, int], start_us: int, zone: str) -> tuple[str, str] | None:
    """(what, mend) when data of that span do not allow a run to start then; None when they do."""
    first_us, end_us = span_us
    if first_us + LEAST_HISTORY_US <= start_us < end_us:
        return None
    first, last = (_local(t_us, zone) for t_us in (first_us, end_us))
    what = f"{_local(start_us, zone)} is outside the data, {first} to {last}"
    if first_us <= start_us < end_us:
        what = f"{_local(start_us, zone)} leaves no day of past: the data begin {first}"
    earliest = _local(first_us + LEAST_HISTORY_US, zone)
    return what, f"from {earliest} (better 28 days after the beginning), before {last}"


def _local(t_us: int, zone: str) -> str:
    return dt.datetime.fromtimestamp(t_us / 1e6, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")
