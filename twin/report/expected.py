"""What was expected of demand and PV, and how sure: as forecast for the slot about to begin, and at the day's gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from twin.report.data import DeviceRow
from twin.report.span import Span
from twin.report.telemetry import BALANCED, FloatArray
from twin.store import ForecastRows, StoreReader
from twin.store.rows import BASELINES, MEAN

LOW, HIGH = 0.1, 0.9


@dataclass(slots=True)
class Expected:
    """One series. Arrays over the span's slots, W; NaN where nothing was said."""

    now: dict[float, FloatArray] = field(default_factory=dict)
    """Quantile (-1 is the mean) -> what was expected of a slot when it began."""
    day_ahead: FloatArray = field(default_factory=lambda: np.empty(0))
    """Mean that the day-ahead plan in force was made from."""


def expected_of(reader: StoreReader, span: Span) -> dict[str, Expected]:
    """Series (`load/<party>`, `pv/<device>`, `flex/<device>`) -> what was expected of it."""
    gates = {row.plan.start_us for row in reader.each_plan("day_ahead")}
    found: dict[str, Expected] = {}
    for said in _by_method(reader.each_forecast()):
        mine = found.setdefault(said.series, Expected(day_ahead=np.full(span.slots, np.nan)))
        for level, row in said.quantiles.items():
            _put(mine.now.setdefault(level, np.full(span.slots, np.nan)), said, row[:1], span)
        if said.start_us in gates:
            _put(mine.day_ahead, said, said.quantiles[MEAN], span)
    return found


def realised_w(series: str, devices: list[DeviceRow], slot_w: dict[str, FloatArray]) -> FloatArray | None:
    """What came of a series, mean power of each slot, W, >= 0; None where its devices were not read."""
    kind, _, name = series.partition("/")
    if kind != "load":
        return np.abs(slot_w[name]) if name in slot_w else None
    own = [device for device in devices if device.party == name]
    meter = next((device.id for device in own if device.kind == "meter"), None)
    if meter is None or meter not in slot_w:
        return None
    behind = [slot_w[device.id] for device in own if device.kind in BALANCED and device.id in slot_w]
    return np.sum(behind, axis=0) - slot_w[meter] if behind else -slot_w[meter]


def held_pu(expected: Expected, realised: FloatArray) -> float | None:
    """Share of the slots whose value came between the quantiles 0.1 and 0.9; None without intervals."""
    if LOW not in expected.now or HIGH not in expected.now:
        return None
    low, high = expected.now[LOW], expected.now[HIGH]
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(realised)
    if not known.any():
        return None
    return float(np.mean((low[known] <= realised[known]) & (realised[known] <= high[known])))


def _by_method(rows: Iterator[ForecastRows]) -> Iterator[ForecastRows]:
    """Of all sources of a series at an issue the method's own, else the first baseline."""
    for _, same in groupby(rows, key=lambda row: (row.issued_us, row.series)):
        yield min(same, key=lambda row: BASELINES.index(row.source) + 1 if row.source in BASELINES else 0)


def _put(target: FloatArray, said: ForecastRows, values: tuple[float, ...], span: Span) -> None:
    """Write values over the slots that they are for, as far as the span reaches."""
    first = (said.start_us - span.start_us) // (span.slot_s * 1_000_000)
    if said.slot_s == span.slot_s and 0 <= first < len(target):
        row = np.array(values[: len(target) - first], np.float64)
        target[first : first + len(row)] = row
