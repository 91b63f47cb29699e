"""Ramp limit, shared by battery and turbine."""

from __future__ import annotations


def ramped(p_w: float, target_w: float, ramp_w_s: float, dt_s: float) -> float:
    """Power after dt_s when it may change by ramp_w_s per second (inf = at once), W."""
    most = ramp_w_s * dt_s
    return min(max(target_w, p_w - most), p_w + most)
