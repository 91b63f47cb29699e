"""Units that data files may use, turned into the one unit of each kind: mean W, price per kWh, kg per kWh."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

Kind = Literal["load", "pv", "power", "price", "carbon"]
KINDS: tuple[str, ...] = get_args(Kind)

_POWER: Mapping[str, float] = {"W": 1.0, "kW": 1e3, "MW": 1e6}
_ENERGY: Mapping[str, float] = {"Wh": 1.0, "kWh": 1e3, "MWh": 1e6}
_CARBON: Mapping[str, float] = {"kg/kWh": 1.0, "g/kWh": 1e-3}
_PRICE: Mapping[str, float] = {"kWh": 1.0, "MWh": 1e-3}


def factor(kind: str, unit: str, period_s: int) -> float | None:
    """What a number in `unit` is multiplied by; None for a unit that does not fit the kind.

    An energy per period becomes the mean power of the period.
    """
    if kind == "carbon":
        return _CARBON.get(unit)
    if kind == "price":
        match = re.fullmatch(r"[A-Z]{3}/(kWh|MWh)", unit)
        return _PRICE[match.group(1)] if match else None
    if unit in _ENERGY:
        return _ENERGY[unit] * 3600 / period_s
    return _POWER.get(unit)


def allowed(kind: str) -> str:
    """Units of a kind, in words."""
    if kind == "carbon":
        return ", ".join(_CARBON)
    if kind == "price":
        return "a currency per kWh or MWh, like USD/kWh"
    return ", ".join((*_POWER, *_ENERGY))
