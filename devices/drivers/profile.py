"""SunSpec models and what of them goes into the point catalogue.

All of SunSpec counts generation as positive (701.W "positive for DER generation"), which is the bus convention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from devices.sunspec.types import Value

Convert = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a catalogue point comes from: the first of `points` that is implemented."""

    name: str
    points: tuple[str, ...]
    factor: float = 1.0


def _rows(*rows: tuple[str, str, float] | tuple[str, str]) -> tuple[Source, ...]:
    return tuple(Source(row[0], tuple(row[1].split()), row[2] if len(row) == 3 else 1.0) for row in rows)


_METER = (
    ("u1_v", "PhVphA PhV"),
    ("u2_v", "PhVphB"),
    ("u3_v", "PhVphC"),
    ("i1_a", "AphA"),
    ("i2_a", "AphB"),
    ("i3_a", "AphC"),
    ("f_hz", "Hz"),
    ("e_imp_wh", "TotWhImp"),
    ("e_exp_wh", "TotWhExp"),
)

SOURCES: Mapping[int, tuple[Source, ...]] = MappingProxyType(
    {
        701: _rows(
            ("p_w", "W"),
            ("q_var", "Var"),
            ("s_va", "VA"),
            ("e_exp_wh", "TotWhInj"),
            ("e_imp_wh", "TotWhAbs"),
            ("u1_v", "VL1 LNV"),
            ("f_hz", "Hz"),
            ("t_c", "TmpCab TmpSnk"),
            ("state", "InvSt St"),
            ("mode", "DERMode"),
            ("alarm", "Alrm"),
        ),
        713: _rows(("soc_pu", "SoC", 0.01), ("soh_pu", "SoH", 0.01)),
        103: _rows(
            ("p_w", "W"),
            ("q_var", "VAr"),
            ("s_va", "VA"),
            ("e_exp_wh", "WH"),
            ("u1_v", "PhVphA"),
            ("f_hz", "Hz"),
            ("t_c", "TmpCab"),
            ("state", "St"),
            ("alarm", "Evt1"),
        ),
        # A SunSpec meter's W and its import are positive when its owner takes from the network.
        203: _rows(("p_w", "W", -1), ("q_var", "VAR", -1), *_METER),
        213: _rows(("p_w", "W", -1), ("q_var", "VAR", -1), *_METER),
    }
)


@dataclass(frozen=True, slots=True)
class ControlPoints:
    """The words of one control function of model 704."""

    value: str
    enable: str
    left: str
    defaults: Mapping[str, Value]
    """What is written with each order besides the value, so that the fall-back is defined: no setpoint, not enabled.
    Points that a device does not implement are left out."""
    revert: str


LIMIT = ControlPoints(
    value="WMaxLimPct",
    enable="WMaxLimPctEna",
    left="WMaxLimPctRvrtRem",
    defaults=MappingProxyType({"WMaxLimPctRvrt": 100, "WMaxLimPctEnaRvrt": 0}),
    revert="WMaxLimPctRvrtTms",
)
SETPOINT = ControlPoints(
    value="WSet",
    enable="WSetEna",
    left="WSetRvrtRem",
    defaults=MappingProxyType({"WSetMod": 1, "WSetRvrt": 0, "WSetPct": 0, "WSetPctRvrt": 0, "WSetEnaRvrt": 0}),
    revert="WSetRvrtTms",
)
CONTROL_POINTS: Mapping[str, ControlPoints] = MappingProxyType({"p_max_w": LIMIT, "p_set_w": SETPOINT})


def reported(model: int, values: Mapping[str, Value]) -> dict[str, float | int]:
    """Catalogue points that a model's values give."""
    out: dict[str, float | int] = {}
    for source in SOURCES.get(model, ()):
        for point in source.points:
            value = values.get(point)
            if isinstance(value, (int, float)):
                out[source.name] = value if source.factor == 1 else value * source.factor
                break
    return out
