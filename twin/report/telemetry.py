"""Curves of a run from its readings: means per minute (or longer) and per slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twin.report.data import DeviceRow
from twin.report.span import Span
from twin.store import StoreReader

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
BALANCED = ("pv", "storage", "turbine", "load")
"""Kinds that stand in the power balance with the grid; the rest of it is the homes' own load."""


@dataclass(slots=True)
class Curves:
    """Arrays over the span's steps; NaN where there was no reading."""

    power_kw: dict[str, FloatArray] = field(default_factory=dict)
    """Kind or `grid` -> sum over its devices, bus sign."""
    charge_kw: FloatArray = field(default_factory=lambda: np.empty(0))
    """What storages took, <= 0; with discharge_kw, so that one charging beside one discharging shows both."""
    discharge_kw: FloatArray = field(default_factory=lambda: np.empty(0))
    soc_pu: dict[str, FloatArray] = field(default_factory=dict)
    slot_w: dict[str, FloatArray] = field(default_factory=dict)
    """Device -> mean power per slot."""
    incomplete: BoolArray = field(default_factory=lambda: np.empty(0, np.bool_))
    """Steps in which a device of the balance has no reading."""
    absent: list[str] = field(default_factory=list)
    """Devices that have no reading in some step."""

    @property
    def rest_kw(self) -> FloatArray | None:
        """The homes' own load, <= 0: what closes the balance. None without a grid meter."""
        if "grid" not in self.power_kw:
            return None
        total = self.power_kw["grid"].copy()
        for kind, row in self.power_kw.items():
            if kind != "grid":
                total += row
        return -total


def curves_of(reader: StoreReader, devices: Sequence[DeviceRow], span: Span) -> Curves:
    """Read every device's power and state of charge once."""
    steps = span.steps
    curves = Curves(charge_kw=np.zeros(steps), discharge_kw=np.zeros(steps), incomplete=np.zeros(steps, np.bool_))
    for device in devices:
        group = "grid" if device.is_grid else device.kind
        times, power_w = reader.series(device.id, "p_w", span.start_us, span.end_us + 1)
        curves.slot_w[device.id] = means(times, power_w, span.start_us, span.slot_s, span.slots)
        if group not in (*BALANCED, "grid") or not steps:
            continue
        row = held(means(times, power_w, span.start_us, span.step_s, steps) / 1000, 3)
        gap = np.isnan(row)
        curves.incomplete |= gap
        if gap.any():
            curves.absent.append(device.id)
        before = curves.power_kw.get(group, np.zeros(steps))
        curves.power_kw[group] = row if group == "grid" else before + np.nan_to_num(row)
        if device.kind == "storage":
            curves.charge_kw += np.minimum(np.nan_to_num(row), 0)
            curves.discharge_kw += np.maximum(np.nan_to_num(row), 0)
            times, soc = reader.series(device.id, "soc_pu", span.start_us, span.end_us + 1)
            curves.soc_pu[device.id] = means(times, soc, span.start_us, span.step_s, steps)
    return curves


def sample_s(reader: StoreReader) -> float:
    """Median time between two readings of the first device that has any; 60 if there is none."""
    for device in reader.devices():
        times, _ = reader.series(device, "p_w")
        if len(times) > 1:
            return float(np.median(np.diff(times))) / 1e6
    return 60.0


def means(times_us: npt.NDArray[np.int64], values: FloatArray, start_us: int, step_s: int, steps: int) -> FloatArray:
    """Mean of the finite values in each (start + k*step, start + (k+1)*step], array (steps,), NaN where there is none.

    A sample stands for the time before it: physics steps first, then the device is read.
    """
    index = (times_us - start_us - 1) // (step_s * 1_000_000)
    used = np.isfinite(values) & (index >= 0) & (index < steps)
    number = np.bincount(index[used], minlength=steps).astype(np.float64)
    total = np.bincount(index[used], weights=values[used], minlength=steps)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def held(values: FloatArray, longest: int) -> FloatArray:
    """Gaps of up to `longest` steps filled with the value before them; longer ones stay."""
    filled = values.copy()
    gap = 0
    for k in range(1, len(values)):
        gap = gap + 1 if np.isnan(values[k]) else 0
        if gap == 1:
            begin = k
        if gap and (k + 1 == len(values) or not np.isnan(values[k + 1])) and gap <= longest:
            filled[begin : k + 1] = values[begin - 1]
    return filled
