"""What step responses say: dead time, ramp, settling, steady error, efficiency. Pure functions over samples."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_LOW, _HIGH = 0.2, 0.8
"""The part of a transition that its slope is taken from."""
_BAND = 0.02
"""Settled within this share of the step."""
_TAIL = 0.3
"""Last part of a step that its final value is taken from."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One poll. Times in seconds since the order was acknowledged; powers in W, bus sign."""

    t_s: float
    p_w: float
    shown_w: float | None
    """The setpoint as read back, None if none is in force."""
    soc_pu: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """How one order was followed."""

    order_w: float
    from_w: float
    reached_w: float
    dead_s: float
    ramp_w_s: float | None
    """None where the change was over between two polls."""
    settled_s: float
    readback_s: float | None
    """None where the order never was shown."""


def step_of(order_w: float, samples: Sequence[Sample], tolerance_w: float) -> Step:
    """The figures of one step; `samples` from the order on, the first still on the old power."""
    start_w = samples[0].p_w
    tail = [one.p_w for one in samples[-max(int(len(samples) * _TAIL), 1) :]]
    end_w = statistics.fmean(tail)
    dead_s, ramp_w_s = _transition(samples, start_w, end_w)
    band_w = max(_BAND * abs(end_w - start_w), tolerance_w)
    outside = [one.t_s for one in samples if abs(one.p_w - end_w) > band_w]
    shown = [one.t_s for one in samples if one.shown_w is not None and abs(one.shown_w - order_w) <= tolerance_w]
    return Step(
        order_w,
        start_w,
        end_w,
        dead_s,
        ramp_w_s,
        max(outside, default=0.0),
        shown[0] if shown else None,
    )


def _transition(samples: Sequence[Sample], start_w: float, end_w: float) -> tuple[float, float | None]:
    """(dead time, ramp): a line through the middle of the transition, and where it leaves the old power."""
    change_w = end_w - start_w
    if change_w == 0:
        return 0.0, None
    done = [((one.p_w - start_w) / change_w, one.t_s) for one in samples]
    first = next((k for k, (share, _) in enumerate(done) if share > _HIGH), len(done))
    middle = [(t_s, share) for share, t_s in done[:first] if share >= _LOW]
    if len({share for _, share in middle}) < 3:
        before = [t_s for share, t_s in done[:first] if share < _LOW]
        after = done[first][1] if first < len(done) else done[-1][1]
        return (before[-1] + after) / 2 if before else after, None
    slope = regression(middle)
    if slope <= 0:
        return 0.0, None
    t_mean, share_mean = (statistics.fmean(column) for column in zip(*middle, strict=True))
    return max(t_mean - share_mean / slope, 0.0), slope * abs(change_w)


def gain(steps: Sequence[Step]) -> float:
    """Reached power over ordered power, least squares through the origin."""
    return sum(one.order_w * one.reached_w for one in steps) / sum(one.order_w**2 for one in steps)


def energy_slope(samples: Sequence[Sample]) -> float | None:
    """Change of the state of charge per Wh that flowed out at the terminals; None without a change."""
    points, energy_wh = [], 0.0
    for left, right in pairwise(samples):
        energy_wh += (left.p_w + right.p_w) / 2 * (right.t_s - left.t_s) / 3600
        if right.soc_pu is not None:
            points.append((energy_wh, right.soc_pu))
    if len({soc for _, soc in points}) < 3:
        return None
    return regression(points)


def regression(points: Sequence[tuple[float, float]]) -> float:
    """Slope of the least-squares line through (x, y); 0 when all x are equal."""
    x_mean, y_mean = (statistics.fmean(column) for column in zip(*points, strict=True))
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread if spread else 0.0
