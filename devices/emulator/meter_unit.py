"""A SunSpec meter: model 203 with integers and scale factors, or 213 with floats.

Signs as its owner reads them: W and the import counter grow with what is taken. The scale factor of model 203's powers
follows the load, as on real meters: a reader that keeps an old one is wrong by a factor of ten.
"""

from __future__ import annotations

from devices.description import DeviceSpec
from devices.emulator.image_unit import ImageUnit
from devices.emulator.nameplate import common
from devices.emulator.unit import Refusal, Values
from devices.sunspec.types import Value

INTEGER, FLOAT = 203, 213
_MOST = 32767
_PHASES = (1, 2, 3)


class MeterUnit(ImageUnit):
    """Registers of one meter; it takes no orders."""

    def __init__(self, device: DeviceSpec, unit: int, model: int) -> None:
        super().__init__([1, model])
        self._model = model
        self._grid = device.is_grid
        self._power = 0
        self.image.set(1, common(device, unit))
        if model == INTEGER:
            scales: dict[str, Value] = {"A_SF": -2, "V_SF": -1, "Hz_SF": -2, "TotWh_SF": 0}
            self.image.set(model, {**scales, "W_SF": 0, "VA_SF": 0, "VAR_SF": 0})
        self.image.set(model, {"Evt": 0})

    def accept(self, touched: range, now_us: int) -> Refusal | None:
        return Refusal.ADDRESS

    def show(self, values: Values, now_us: int) -> None:
        # The grid's own meter shows what flows into the site as import: the bus sign itself.
        factor = 1 if self._grid else -1
        p_w, q_var = values.get("p_w"), values.get("q_var")
        if self._model == INTEGER:
            self._scale(p_w)
        taken, given = ("e_exp_wh", "e_imp_wh") if self._grid else ("e_imp_wh", "e_exp_wh")
        shown: dict[str, Value | None] = {
            "W": None if p_w is None else factor * p_w,
            "VAR": None if q_var is None else factor * q_var,
            "Hz": values.get("f_hz"),
            "PhV": values.get("u1_v"),
            "A": _sum(values),
            "TotWhImp": values.get(taken),
            "TotWhExp": values.get(given),
        }
        for number, letter in zip(_PHASES, "ABC", strict=True):
            shown[f"PhVph{letter}"] = values.get(f"u{number}_v")
            amps = values.get(f"i{number}_a")
            shown[f"Aph{letter}"] = amps if amps is None or self._model == FLOAT else min(amps, _MOST / 100)
        self.put(self._model, shown)

    def _scale(self, p_w: float | None) -> None:
        power = 0
        while p_w is not None and abs(p_w) / 10**power > _MOST:
            power += 1
        if power != self._power:
            self._power = power
            self.put(self._model, {"W": None, "VAR": None})  # what stood there may not fit the new scale
            self.image.set(self._model, {"W_SF": power, "VAR_SF": power, "VA_SF": power})


def _sum(values: Values) -> float | None:
    amps = [found for k in _PHASES if (found := values.get(f"i{k}_a")) is not None]
    return min(sum(amps), _MOST / 100) if amps else None
