"""Ratings of an emulated inverter, and the scale factors that let them fit 16-bit registers."""

from __future__ import annotations

from dataclasses import dataclass

from devices.description import DeviceSpec
from devices.sunspec.types import Value

_HEADROOM = 1.25
_CAN_LIMIT, _CAN_HOLD = 1 << 0, 1 << 1
"""702.CtrlModes: MAX_W, FIXED_W."""


@dataclass(frozen=True, slots=True)
class Nameplate:
    """What 702 and 713 say."""

    p_charge_w: float
    """0 for what cannot charge."""
    p_discharge_w: float
    e_wh: float = 0.0
    u_v: float = 230.0

    @property
    def p_max_w(self) -> float:
        """702.WMax, the reference of percentages."""
        return max(self.p_charge_w, self.p_discharge_w)

    def _power_scale(self, limit: int) -> int:
        return _scale(self.p_max_w * _HEADROOM, limit)

    def measure_scales(self) -> dict[str, Value]:
        """Scale factors of model 701 (signed 16 bit): 1 W up to 26 kW, then 10 W, ..."""
        power = self._power_scale(32767)
        fixed: dict[str, Value] = {"V_SF": -1, "Hz_SF": -3, "PF_SF": -2, "TotWh_SF": 0, "Tmp_SF": -1}
        return {"W_SF": power, "VA_SF": power, "Var_SF": power, "A_SF": self._current_scale(32767), **fixed}

    def rating_scales(self) -> dict[str, Value]:
        """Scale factors of model 702 (unsigned 16 bit)."""
        power = self._power_scale(65534)
        return {"W_SF": power, "VA_SF": power, "V_SF": -1, "A_SF": self._current_scale(65534)}

    def wh_scale(self) -> int:
        """Scale factor of the energies of model 713."""
        return _scale(self.e_wh, 65534)

    def _current_scale(self, limit: int) -> int:
        return _scale(self.p_max_w * _HEADROOM / self.u_v, limit, -2)


def _scale(largest: float, limit: int, finest: int = 0) -> int:
    power = finest
    while largest / 10**power > limit:
        power += 1
    return power


def common(device: DeviceSpec, unit: int) -> dict[str, Value]:
    """Model 1: who it is."""
    return {"Mn": "vpptwin", "Md": f"emulated {device.kind}", "Vr": "1", "SN": device.id[:32], "DA": unit}


def ratings(plate: Nameplate, stores: bool) -> dict[str, Value]:
    """Model 702: ratings and settings, equal in an emulator."""
    rated: dict[str, Value] = {"WMax": plate.p_max_w, "VAMax": plate.p_max_w, "VNom": plate.u_v}
    rated["AMax"] = plate.p_max_w / plate.u_v
    if stores:
        rated |= {"WChaRteMax": plate.p_charge_w, "WDisChaRteMax": plate.p_discharge_w}
    settings: dict[str, Value] = {f"{name}Rtg": value for name, value in rated.items()}
    return rated | settings | {"CtrlModes": _CAN_LIMIT | (_CAN_HOLD if stores else 0)}
