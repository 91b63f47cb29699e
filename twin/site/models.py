"""What a device may say of itself: keys of `model`, `behaviour` and `cost` of each kind, with their ranges."""

from __future__ import annotations

from collections.abc import Mapping

from twin.document.fields import Field, Shape, choice, flag, number, optional, text

_POSITIVE = number(above=0)
_NOT_NEGATIVE = number(0)
_SHARE = number(0, 1)
_PHASES = choice("1", "3")
_RAMP = Field(number(1e-3), None)

MODELS: Mapping[str, Shape] = {
    "meter": {
        "series": Field(optional(text), None),
        "share": Field(_SHARE, 1.0),
        "phases": Field(lambda item: int(_PHASES(item)), None),
        "u_nom_v": Field(number(50, 1000), None),
        "f_nom_hz": Field(number(40, 70), None),
        "line_ohm": Field(_SHARE, None),
    },
    "pv": {"series": Field(text), "peak_w": Field(number(1, 1e9))},
    "storage": {
        "e_wh": Field(number(1, 1e12)),
        "p_w": Field(number(above=0, hi=1e9), None),
        "p_charge_w": Field(number(above=0, hi=1e9), None),
        "p_discharge_w": Field(number(above=0, hi=1e9), None),
        "eta": Field(number(0.05, 1), None),
        "soc0_pu": Field(_SHARE, 0.5),
        "soc_min_pu": Field(_SHARE, 0.0),
        "soc_max_pu": Field(_SHARE, 1.0),
        "ramp_w_s": _RAMP,
        "standby_w": Field(number(0, 1e6), None),
    },
    "turbine": {
        "p_max_w": Field(number(1, 1e9)),
        "p_min_w": Field(number(0, 1e9), 0.0),
        "ramp_w_s": _RAMP,
        "start_s": Field(number(0, 86_400), None),
        "efficiency": Field(number(0.01, 1), None),
        "gas_kwh_per_m3": Field(number(1, 50), None),
        "heat_ratio": Field(number(0, 10), None),
    },
    "load": {"series": Field(text), "share": Field(_SHARE, 1.0), "curtail_max_pu": Field(_SHARE, None)},
}
"""Keys and ranges are those of devices/models; a test holds the two together."""

BEHAVIOUR: Shape = {
    "never_answers": Field(flag, False),
    "dies_at_s": Field(number(0, 1e9), None),
    "back_at_s": Field(number(0, 1e9), None),
    "latency_ms": Field(number(0, 60_000), None),
    "ramp_w_s": Field(number(1e-3, 1e12), None),
    "dead_band_w": Field(number(0, 1e9), None),
    "single_connection": Field(flag, False),
    "night_sleep": Field(flag, False),
    "scale_change_s": Field(number(1, 1e9), None),
    "ignores_writes": Field(flag, False),
    "revert_factor": Field(number(0.1, 100), None),
    "no_revert": Field(flag, False),
    "heartbeat_s": Field(number(0.1, 1e9), None),
    "writes_max": Field(number(0, 1e12), None),
    "clock_drift_ppm": Field(number(-1e6, 1e6), None),
    "dead_time_s": Field(number(0, 3600), None),
    "gain_pu": Field(number(0, 2), None),
    "readback_delay_s": Field(number(0, 3600), None),
    "eta": Field(_SHARE, None),
    "profile": Field(text, None),
}
"""How an emulated device misbehaves (devices/emulator/behaviour.py); same keys for all kinds."""

COSTS: Mapping[str, Shape] = {
    "storage": {
        "wear_charge_per_kwh": Field(_NOT_NEGATIVE, 0.0),
        "wear_discharge_per_kwh": Field(_NOT_NEGATIVE, 0.0),
    },
    "turbine": {
        "a_per_kw2h": Field(_NOT_NEGATIVE, 0.0),
        "b_per_kwh": Field(_NOT_NEGATIVE),
        "c_per_h": Field(_NOT_NEGATIVE, 0.0),
        "start": Field(_NOT_NEGATIVE, 0.0),
        "stop": Field(_NOT_NEGATIVE, 0.0),
        "min_up_s": Field(number(0, 86_400), 0.0),
        "min_down_s": Field(number(0, 86_400), 0.0),
    },
    "load": {
        "beta_per_kwh": Field(_NOT_NEGATIVE),
        "beta2_per_kw2h": Field(_NOT_NEGATIVE, 4e-4),
    },
}
