"""One series on a regular grid. A gap is NaN with quality BAD; nothing is filled in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.readings import Quality
from twin.data.units import Kind

FloatArray = npt.NDArray[np.float64]
QualityArray = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """What the data set says of a series."""

    id: str
    kind: Kind
    unit: str
    """Of the file; values are converted when read."""
    file: str
    column: str
    period_s: int
    valid: tuple[float, float]
    """In the file's unit; a value outside is a gap of quality BAD."""
    floor: float | None
    """In the file's unit; a smaller value is raised to it, of quality SUBSTITUTED (night offsets of PV meters)."""


@dataclass(frozen=True, slots=True)
class Series:
    """Means over [start + k*period, start + (k+1)*period): W for load, pv and power; price or kg per kWh else."""

    info: SeriesInfo
    start_us: int
    period_s: int
    values: FloatArray
    """Shape (n,), NaN where nothing was recorded."""
    quality: QualityArray
    """Shape (n,), codes of devices.readings.Quality."""

    @property
    def end_us(self) -> int:
        """End of the last period."""
        return self.start_us + len(self.values) * self.period_s * 1_000_000

    def mean(self, t0_us: int, t1_us: int) -> float | None:
        """Time-weighted mean over [t0, t1); None if any part is a gap or outside the series."""
        step_us = self.period_s * 1_000_000
        first, last = (t0_us - self.start_us) // step_us, (t1_us - 1 - self.start_us) // step_us
        if t1_us <= t0_us or first < 0 or last >= len(self.values):
            return None
        if first == last:
            value = float(self.values[first])
            return None if value != value else value
        edges = self.start_us + np.arange(first, last + 2) * step_us
        shares: FloatArray = (np.clip(edges, t0_us, t1_us) - t0_us) / (t1_us - t0_us)
        value = float(np.diff(shares) @ self.values[first : last + 1])
        return None if value != value else value

    def slot_means(self, start_us: int, slot_s: int, n: int) -> FloatArray:
        """Means of n slots from start_us, shape (n,); NaN for a slot that touches a gap or lies outside."""
        step_us, slot_us = self.period_s * 1_000_000, slot_s * 1_000_000
        offset_us = start_us - self.start_us
        if step_us % slot_us == 0 and offset_us % slot_us == 0:
            index = (offset_us + np.arange(n) * slot_us) // step_us
            return self._taken(index)
        if slot_us % step_us == 0 and offset_us % step_us == 0:
            per_slot = slot_us // step_us
            index = offset_us // step_us + np.arange(n * per_slot)
            return np.asarray(self._taken(index).reshape(n, per_slot).mean(axis=1), dtype=np.float64)
        means = (self.mean(start_us + k * slot_us, start_us + (k + 1) * slot_us) for k in range(n))
        return np.array([np.nan if mean is None else mean for mean in means])

    def gaps_us(self) -> list[tuple[int, int]]:
        """Intervals [t0, t1) without a value, inside the series."""
        missing = np.concatenate(([0], np.isnan(self.values).astype(np.int8), [0]))
        edges = np.flatnonzero(np.diff(missing)).reshape(-1, 2)
        step_us = self.period_s * 1_000_000
        return [(self.start_us + int(a) * step_us, self.start_us + int(b) * step_us) for a, b in edges]

    def _taken(self, index: npt.NDArray[np.int64]) -> FloatArray:
        found = np.full(len(index), np.nan)
        inside = (index >= 0) & (index < len(self.values))
        found[inside] = self.values[index[inside]]
        return found


def gridded(info: SeriesInfo, start_us: int, index: npt.NDArray[np.int64], raw: FloatArray, scale: float) -> Series:
    """Place raw values (file's unit, shape (m,)) at their periods `index` (shape (m,), ascending from 0)."""
    n = int(index[-1]) + 1
    values, quality = np.full(n, np.nan), np.full(n, Quality.BAD, dtype=np.int8)
    kept = np.where((raw >= info.valid[0]) & (raw <= info.valid[1]), raw, np.nan)
    marks = np.where(np.isnan(kept), Quality.BAD, Quality.GOOD).astype(np.int8)
    if info.floor is not None:
        low = kept < info.floor
        kept, marks = np.where(low, info.floor, kept), np.where(low, Quality.SUBSTITUTED, marks).astype(np.int8)
    values[index], quality[index] = kept * scale, marks
    values.flags.writeable = quality.flags.writeable = False
    return Series(info, start_us, info.period_s, values, quality)
