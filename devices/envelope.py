"""The safety envelope: the last step before any write to a device. A pure function, out of reach of controllers.

Whatever is asked for (NaN, infinities, flipped signs, 1e300), what comes out lies inside rating, state of charge,
ramp, mode and the site's import and export limit, or nothing is written at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from devices.description import Mode

Control = Literal["p_set_w", "p_max_w"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device may be told. Bus sign: charging is negative. For p_max_w the range is of the limit itself."""

    control: Control
    low_w: float
    high_w: float
    storage: bool = False
    soc_min_pu: float = 0.0
    soc_max_pu: float = 1.0
    ramp_w_s: float = math.inf
    """Largest change of the setpoint per second since the last one."""
    cap_w: float = math.inf
    """Largest magnitude of a power setpoint in mode `limited`."""
    cap_ramp_w_s: float = math.inf
    """Largest change per second in mode `limited`."""


@dataclass(frozen=True, slots=True)
class State:
    """What is known of the device when the order is given."""

    soc_pu: float | None = None
    last_w: float | None = None
    """Setpoint in force, None if none is."""
    elapsed_s: float = 0.0
    """Seconds since `last_w` was written."""
    site_low_w: float = -math.inf
    site_high_w: float = math.inf
    """What the connection to the grid leaves at this moment, in terms of the control; see gateway/headroom.py. It
    bounds what may be asked for and never forces anything: 0 is always allowed."""


def sound(wanted_w: float) -> bool:
    """True for what can be meant as a power: a number below 1e300 in magnitude (Python's integers have no end)."""
    return -1e300 < wanted_w < 1e300


def enveloped(wanted_w: float, limits: Limits, state: State, mode: Mode) -> int | None:
    """The whole watts that may be written, nearest to `wanted_w`; None = write nothing.

    A storage without a known state of charge, and any power setpoint that is not a finite number, give 0 W (within
    the rating). A limit (p_max_w) that is not finite gives None: the device falls back by itself. A ramp never
    widens the rating; where it contradicts the state of charge, the state of charge wins.
    """
    if mode == "monitor":
        return None
    if not sound(wanted_w):
        if limits.control == "p_max_w":
            return None
        wanted_w = 0.0
    low, high = _range(limits, state, mode)
    if low > high:
        return None
    value = min(max(wanted_w, low), high)
    value = min(max(_ramped(value, limits, state, mode), low), high)
    return _whole(value, low, high)


def _range(limits: Limits, state: State, mode: Mode) -> tuple[float, float]:
    low, high = limits.low_w, limits.high_w
    if mode == "limited" and limits.control == "p_set_w":
        low, high = max(low, -limits.cap_w), min(high, limits.cap_w)
    low, high = _within_site(low, high, state)
    if limits.storage:
        soc = state.soc_pu
        known = soc is not None and math.isfinite(soc)
        if not known or (soc is not None and soc <= limits.soc_min_pu):
            high = min(high, 0.0)
        if not known or (soc is not None and soc >= limits.soc_max_pu):
            low = max(low, 0.0)
    return low, high


def _within_site(low: float, high: float, state: State) -> tuple[float, float]:
    """The site's limit narrows the range, down to 0 (or to the rating's edge nearest to 0) at most."""
    site_low, site_high = min(state.site_low_w, 0.0), max(state.site_high_w, 0.0)
    return min(max(low, site_low), max(high, low)), max(min(high, site_high), min(low, high))


def _ramped(value: float, limits: Limits, state: State, mode: Mode) -> float:
    ramp_w_s = min(limits.ramp_w_s, limits.cap_ramp_w_s) if mode == "limited" else limits.ramp_w_s
    if state.last_w is None or not math.isfinite(ramp_w_s) or not math.isfinite(state.last_w):
        return value
    step = ramp_w_s * max(state.elapsed_s, 0.0)
    return min(max(value, state.last_w - step), state.last_w + step)


def _whole(value: float, low: float, high: float) -> int | None:
    """Rounded to 1 W, ties to even, without leaving [low, high]; None when no whole watt lies in it."""
    watts = round(value)
    if watts > high:
        watts = math.floor(high)
    elif watts < low:
        watts = math.ceil(low)
    return watts if low <= watts <= high else None
