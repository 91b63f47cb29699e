"""SunSpec models and what of them goes into the point catalogue.

Inverters count generation as positive (701.W "positive for DER generation"), which is the bus convention; meters
count what their owner takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from devices.sunspec import ModelPlan
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


_METER = _rows(
    # A SunSpec meter's W and its import are positive when its owner takes from the network.
    ("p_w", "W", -1),
    ("q_var", "VAR", -1),
    ("u1_v", "PhVphA PhV"),
    ("u2_v", "PhVphB"),
    ("u3_v", "PhVphC"),
    ("i1_a", "AphA A"),
    ("i2_a", "AphB"),
    ("i3_a", "AphC"),
    ("f_hz", "Hz"),
    ("e_imp_wh", "TotWhImp"),
    ("e_exp_wh", "TotWhExp"),
)
_INVERTER = _rows(
    ("p_w", "W"),
    ("q_var", "VAr"),
    ("s_va", "VA"),
    ("e_exp_wh", "WH"),
    ("u1_v", "PhVphA"),
    ("f_hz", "Hz"),
    ("t_c", "TmpCab TmpSnk"),
    ("state", "St"),
    ("alarm", "Evt1"),
)
INVERTERS = (103, 113, 102, 112, 101, 111)
"""Integer and float models of three, split and one phase: same names."""
METERS = (203, 213, 204, 214, 202, 212, 201, 211)

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
        124: _rows(("soc_pu", "ChaState", 0.01), ("mode", "ChaSt")),
        **dict.fromkeys(INVERTERS, _INVERTER),
        **dict.fromkeys(METERS, _METER),
    }
)


def names_of(model: int, plan: ModelPlan) -> tuple[str, ...]:
    """Points of a model that go into the catalogue, as far as this device's block has them."""
    return tuple(point for source in SOURCES[model] for point in source.points if point in plan.points)


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
