"""The point catalogue: every quantity a device can report, its unit and its quantum.

Store columns, MQTT payload keys, register map points, dashboards and ledger leaves are all made from this table.
Bus convention: `p_w > 0` flows into the site's bus. Counters are the owner's: `e_imp_wh` taken, `e_exp_wh` given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Point:
    """One catalogue row. A stored or settled value is a whole number of quanta."""

    name: str
    unit: str
    quantum: float
    meaning: str
    integer: bool = False
    """True for counters and bit fields, which are stored as integers."""


_ROWS = (
    Point("p_w", "W", 1, "active power, > 0 flows into the bus"),
    Point("q_var", "var", 1, "reactive power"),
    Point("s_va", "VA", 1, "apparent power"),
    Point("e_imp_wh", "Wh", 1, "energy taken from the bus by the owner, monotone", True),
    Point("e_exp_wh", "Wh", 1, "energy given to the bus by the owner, monotone", True),
    Point("e_heat_wh", "Wh", 1, "heat delivered, monotone", True),
    *(Point(f"u{k}_v", "V", 0.1, f"voltage, phase {k}") for k in (1, 2, 3)),
    *(Point(f"i{k}_a", "A", 0.01, f"current, phase {k}") for k in (1, 2, 3)),
    Point("f_hz", "Hz", 0.001, "frequency"),
    Point("soc_pu", "pu", 0.0001, "state of charge"),
    Point("soh_pu", "pu", 0.0001, "state of health"),
    Point("t_c", "°C", 0.1, "temperature"),
    Point("h_w", "W", 1, "heat output"),
    Point("gas_m3", "m³", 0.001, "gas used, monotone"),
    Point("state", "", 1, "operating state, device's own code", True),
    Point("mode", "", 1, "operating mode, device's own code", True),
    Point("alarm", "", 1, "alarm bits", True),
    Point("p_set_w", "W", 1, "power setpoint as read back; set 0 and disabled are told apart by set_ena"),
    Point("p_max_w", "W", 1, "power limit as read back"),
    Point("set_ena", "", 1, "1 while a setpoint is in force", True),
    Point("set_left_s", "s", 1, "seconds until the setpoint reverts", True),
)

CATALOGUE: Mapping[str, Point] = MappingProxyType({row.name: row for row in _ROWS})

KIND_POINTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "meter": ("p_w", "q_var", "e_imp_wh", "e_exp_wh", "u1_v", "u2_v", "u3_v", "i1_a", "i2_a", "i3_a", "f_hz"),
        "pv": (
            "p_w",
            "q_var",
            "s_va",
            "e_exp_wh",
            "u1_v",
            "f_hz",
            "t_c",
            "state",
            "alarm",
            "p_max_w",
            "set_ena",
            "set_left_s",
        ),
        "storage": (
            "p_w",
            "q_var",
            "s_va",
            "e_imp_wh",
            "e_exp_wh",
            "u1_v",
            "f_hz",
            "soc_pu",
            "soh_pu",
            "t_c",
            "state",
            "mode",
            "alarm",
            "p_set_w",
            "set_ena",
            "set_left_s",
        ),
        "turbine": (
            "p_w",
            "e_exp_wh",
            "e_heat_wh",
            "gas_m3",
            "t_c",
            "h_w",
            "state",
            "alarm",
            "p_set_w",
            "set_ena",
            "set_left_s",
        ),
        "load": ("p_w", "e_imp_wh", "state", "alarm", "p_max_w", "set_ena", "set_left_s"),
    }
)
"""Columns of each kind's table in the store, in order."""

CONTROLS: Mapping[str, str] = MappingProxyType(
    {"pv": "p_max_w", "storage": "p_set_w", "turbine": "p_set_w", "load": "p_max_w"}
)
"""The one control of each kind: a power to hold (bus sign) or a limit on its magnitude (>= 0)."""

GRID_TWINS: Mapping[str, str] = MappingProxyType({"e_imp_wh": "e_exp_wh", "e_exp_wh": "e_imp_wh"})
"""A meter at the grid's connection, seen by its owner, the grid: what the site imports is given by the owner."""


def quanta(name: str, value: float) -> int:
    """`value` of point `name` as a whole number of quanta, ties to even. Raises KeyError for an unknown point."""
    return round(value / CATALOGUE[name].quantum)


def quantised(name: str, value: float | None) -> float | int | None:
    """`value` rounded to its quantum; None, NaN and infinities become None (a bad value is never 0)."""
    if value is None or not math.isfinite(value):
        return None
    point = CATALOGUE[name]
    whole = round(value / point.quantum)
    if point.integer or point.quantum == 1:
        return whole if point.integer else float(whole)
    return round(whole * point.quantum, 6)
