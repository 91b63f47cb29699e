"""Readings and the process image: what the gateway knows of every device at a tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Quality(IntEnum):
    """Ordered from best to worst, so that max() of several is the quality of what is made from them."""

    GOOD = 0
    STALE = 1
    SUBSTITUTED = 2
    BAD = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample of one device."""

    device: str
    ts_us: int
    """Sample time of the device, µs UTC."""
    seq: int
    quality: Quality
    values: Mapping[str, float | int]
    """Point name (devices.points) -> value rounded to its quantum; a missing point is absent, never 0."""


@dataclass(frozen=True, slots=True)
class ProcessImage:
    """The newest reading of each device, frozen at a tick."""

    ts_us: int
    readings: Mapping[str, Reading] = field(default_factory=dict)

    def value(self, device: str, point: str, max_age_s: float) -> float | None:
        """The point's value, or None when it is absent, bad, or its sample is older than max_age_s."""
        reading = self.readings.get(device)
        if reading is None or reading.quality is Quality.BAD:
            return None
        if self.ts_us - reading.ts_us > max_age_s * 1_000_000:
            return None
        return reading.values.get(point)

    def age_s(self, device: str) -> float | None:
        """Age of the device's sample in seconds; None if it never answered."""
        reading = self.readings.get(device)
        return None if reading is None else (self.ts_us - reading.ts_us) / 1e6
