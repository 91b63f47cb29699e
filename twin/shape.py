"""What happens inside an hour of hourly data: a model, not a measurement.

Data sets give one mean per period (an hour, a quarter); the emulated plant steps by the minute. Between the two stands
this model, and reports say that it is one. Its promises: the energy of every measured period is kept (1e-9 relative),
no power is negative, no PV power exceeds its peak, and a minute depends only on (seed, series, its period and the two
beside it), so that any minute can be asked alone and in any order.

 1. A parabola per period with the period's mean, meeting its neighbours at (m_k + m_{k+1}) / 2. Edge values e are
    limited to 0 <= e <= 3 m and 3 m - 2 peak <= e <= peak: then a parabola with mean m stays within [0, peak], because
    it is linear in its two edge values and does so at the corners of that box.
 2. PV: cloud noise, first-order autoregressive, fading at the period's ends, proportional to the curve, of zero sum
    over the period, shrunk as a whole where it would leave [0, peak].
    Load: part of the period's energy moves from the curve into appliance runs of 2 to 20 minutes.

A gap is None, never a guess; beside a gap the parabola ends at its own mean. Held constant are: a negative mean (a
meter's offset), a PV mean above the peak (what was measured is kept), and kinds other than load and PV.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from twin.data import DataSet, Series

CELL_US = 60_000_000
"""Resolution of the model: one minute."""
CLOUD_STEP, CLOUD_MEMORY = 0.12, 0.85
"""Size of a minute's change of the cloud factor, and how much of it is left a minute later."""
APPLIANCE_SHARE = 0.35
"""Part of a load's energy that runs in blocks."""
MOST_RUNS, SHORTEST_RUN, LONGEST_RUN = 4, 2, 20
"""Appliance runs per hour (at most) and their length in minutes."""


@dataclass(frozen=True, slots=True)
class _Period:
    start_us: int
    end_us: int
    cells: tuple[float, ...]
    """Mean power of each minute, W; one entry for a period without shape; empty for a gap."""
    cell_us: int


class SeriesSource:
    """The plant's input: `source(series_id, t0_us, t1_us)` = mean power in [t0, t1), W, or None at a gap.

    peaks : series id -> W that a PV series never exceeds; default: its largest measured mean.
    shape : False holds every mean constant through its period.
    """

    def __init__(
        self, dataset: DataSet, seed: int, shape: bool = True, peaks: Mapping[str, float] | None = None
    ) -> None:
        self._dataset = dataset
        self._seed = seed
        self._shape = shape
        self._peaks = dict(peaks or {})
        self._newest: dict[str, _Period] = {}

    def __call__(self, series_id: str, t0_us: int, t1_us: int) -> float | None:
        """Mean over [t0, t1); None if any part is a gap or outside the data. Raises KeyError for an unknown series."""
        period = self._newest.get(series_id)
        if period is None or not period.start_us <= t0_us < period.end_us:
            period = self._period(series_id, t0_us)
        if t1_us <= period.end_us:
            return _mean(period, t0_us, t1_us)
        return self._over_periods(series_id, period, t0_us, t1_us)

    def _over_periods(self, series_id: str, period: _Period, t0_us: int, t1_us: int) -> float | None:
        total, at_us = 0.0, t0_us
        while at_us < t1_us:
            until_us = min(period.end_us, t1_us)
            part = _mean(period, at_us, until_us)
            if part is None:
                return None
            total += part * (until_us - at_us)
            at_us = until_us
            if at_us < t1_us:
                period = self._period(series_id, at_us)
        return total / (t1_us - t0_us)

    def _period(self, series_id: str, t_us: int) -> _Period:
        series = self._dataset.series(series_id)
        step_us = series.period_s * 1_000_000
        index = (t_us - series.start_us) // step_us
        start_us = series.start_us + index * step_us
        cells = self._cells(series, index)
        period = _Period(start_us, start_us + step_us, cells, step_us // max(len(cells), 1))
        self._newest[series_id] = period
        return period

    def _cells(self, series: Series, index: int) -> tuple[float, ...]:
        mean = _value(series, index)
        if math.isnan(mean):
            return ()
        minutes, rest = divmod(series.period_s, 60)
        if not self._shape or series.info.kind not in ("load", "pv") or mean <= 0 or minutes < 2 or rest:
            return (mean,)
        peak = self._peak(series) if series.info.kind == "pv" else math.inf
        if mean >= peak:
            return (mean,)
        curve = curve_means(_value(series, index - 1), mean, _value(series, index + 1), peak, minutes)
        draw = random.Random(_key(self._seed, series.info.id, series.start_us + index * series.period_s * 1_000_000))
        shaped = clouded(curve, peak, draw) if series.info.kind == "pv" else with_runs(curve, draw)
        return _exact(shaped, mean)

    def _peak(self, series: Series) -> float:
        id = series.info.id
        if id not in self._peaks:
            self._peaks[id] = max((v for v in series.values.tolist() if v == v), default=0.0)
        return self._peaks[id]


def curve_means(before: float, mean: float, after: float, peak: float, cells: int) -> list[float]:
    """Cell means of the parabola of a period, W; `before` and `after` are its neighbours' means, NaN at a gap."""
    first, last = _edge(before, mean, peak), _edge(after, mean, peak)
    b, c = 6 * mean - 4 * first - 2 * last, 3 * (first + last) - 6 * mean
    found = []
    for k in range(cells):
        x0, x1 = k / cells, (k + 1) / cells
        value = first + b * (x0 + x1) / 2 + c * (x0 * x0 + x0 * x1 + x1 * x1) / 3
        found.append(min(max(value, 0.0), peak))
    return found


def clouded(curve: list[float], peak: float, draw: random.Random) -> list[float]:
    """The curve with cloud noise of zero sum, within [0, peak]. `draw.random` alone is used: it is stable for ever."""
    cells, factor, factors = len(curve), 0.0, []
    for k in range(cells):
        factor = CLOUD_MEMORY * factor + CLOUD_STEP * (2 * draw.random() - 1)
        factors.append(factor * math.sin(math.pi * (k + 0.5) / cells))
    offset = math.fsum(p * f for p, f in zip(curve, factors, strict=True)) / math.fsum(curve)
    noise = [p * (f - offset) for p, f in zip(curve, factors, strict=True)]
    room = 1.0
    for p, n in zip(curve, noise, strict=True):
        if n < 0:
            room = min(room, p / -n)
        elif n > 0 and p + n > peak:
            room = min(room, (peak - p) / n)
    return [p + max(room, 0.0) * n for p, n in zip(curve, noise, strict=True)]


def with_runs(curve: list[float], draw: random.Random) -> list[float]:
    """The curve with APPLIANCE_SHARE of its energy moved into runs at seeded times; never negative."""
    cells = len(curve)
    blocks = [0.0] * cells
    for _ in range(1 + int(draw.random() * max(1, MOST_RUNS * cells // 60))):
        length = min(SHORTEST_RUN + int(draw.random() * (LONGEST_RUN - SHORTEST_RUN + 1)), cells)
        start = int(draw.random() * (cells - length + 1))
        power = 0.5 + draw.random()
        for k in range(start, start + length):
            blocks[k] += power
    scale = APPLIANCE_SHARE * math.fsum(curve) / math.fsum(blocks)
    return [(1 - APPLIANCE_SHARE) * p + scale * block for p, block in zip(curve, blocks, strict=True)]


def _edge(neighbour: float, mean: float, peak: float) -> float:
    if math.isnan(neighbour):
        return mean
    neighbour = max(neighbour, 0.0)
    edge = min((neighbour + mean) / 2, 3 * mean, 3 * neighbour, peak)
    return max(edge, 3 * mean - 2 * peak, 0.0)


def _exact(cells: list[float], mean: float) -> tuple[float, ...]:
    # Rounding has moved the mean by parts in 1e16; the scale brings it back.
    scale = mean * len(cells) / math.fsum(cells)
    return tuple(cell * scale for cell in cells)


def _mean(period: _Period, t0_us: int, t1_us: int) -> float | None:
    cells, cell_us = period.cells, period.cell_us
    if not cells:
        return None
    first = (t0_us - period.start_us) // cell_us
    last = (t1_us - 1 - period.start_us) // cell_us
    if first >= last:
        return cells[first]
    total = 0.0
    for k in range(first, last + 1):
        low = period.start_us + k * cell_us
        total += cells[k] * (min(low + cell_us, t1_us) - max(low, t0_us))
    return total / (t1_us - t0_us)


def _value(series: Series, index: int) -> float:
    return float(series.values[index]) if 0 <= index < len(series.values) else math.nan


def _key(seed: int, series_id: str, start_us: int) -> int:
    text = f"vpptwin/shape/1\0{seed}\0{series_id}\0{start_us}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")
