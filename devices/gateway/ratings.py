"""What a device may be told, from the site's description and from what the device itself states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from devices.description import DeviceSpec
from devices.envelope import Control, Limits
from devices.points import CONTROLS


def limits_of(
    spec: DeviceSpec,
    stated: tuple[float, float] | None = None,
    cap_w: float = math.inf,
    cap_ramp_w_s: float = math.inf,
) -> Limits:
    """The narrowest of the site's ratings (`model`), its range for the control, and the `stated` range of the device
    or its map, bus sign. `cap_w`, `cap_ramp_w_s`: of mode limited, where the device has none of its own.

    Without either nothing may be written: an empty range.
    """
    control = cast(Control, CONTROLS[spec.kind])
    ranges = [found for found in (_described(spec), stated, spec.control.range_w) if found is not None]
    low = max((found[0] for found in ranges), default=math.inf)
    high = min((found[1] for found in ranges), default=-math.inf)
    if control == "p_max_w":
        low = max(low, 0.0)
    model = spec.model
    return Limits(
        control,
        low,
        high,
        storage=spec.kind == "storage",
        soc_min_pu=_number(model, "soc_min_pu", 0.0) or 0.0,
        soc_max_pu=_number(model, "soc_max_pu", 1.0) or 1.0,
        ramp_w_s=_number(model, "setpoint_ramp_w_s", math.inf) or math.inf,
        cap_w=cap_w if spec.control.cap_w is None else spec.control.cap_w,
        cap_ramp_w_s=cap_ramp_w_s if spec.control.ramp_w_s is None else spec.control.ramp_w_s,
    )


def _described(spec: DeviceSpec) -> tuple[float, float] | None:
    model = spec.model
    if spec.kind == "storage":
        both = _number(model, "p_w", None)
        charge, discharge = _number(model, "p_charge_w", both), _number(model, "p_discharge_w", both)
        return None if charge is None or discharge is None else (-charge, discharge)
    most = _number(model, {"pv": "peak_w", "turbine": "p_max_w"}.get(spec.kind, "p_max_w"), None)
    return None if most is None else (0.0, most)


def _number(model: Mapping[str, Any], key: str, default: float | None) -> float | None:
    value = model.get(key, default)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else default
