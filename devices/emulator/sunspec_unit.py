"""An inverter that speaks SunSpec: models 1, 701, 702, 704, 714, 715, and 713 for storage.

Controls of model 704 (DER AC controls) that it honours: the limit WMaxLimPct (in % of 702.WMax) and, for storage, the
setpoint WSet (W, injection > 0 = bus sign) or WSetPct. Points it does not honour refuse writes with exception 2.
When a revert timer ends, the value becomes its ...Rvrt and the enable its ...EnaRvrt. Writing an enable of 1 or the
time (...RvrtTms) starts it anew. Model 715 counts its own heartbeat each second and takes the controller's; while it
says LOCAL, orders are refused with exception 3.
"""

from __future__ import annotations

from collections.abc import Mapping

from devices.description import DeviceSpec
from devices.emulator.image_unit import ImageUnit, run_timer
from devices.emulator.nameplate import Nameplate, common, ratings
from devices.emulator.revert import RevertTimer
from devices.emulator.unit import Command, Refusal, Values, sooner
from devices.sunspec.types import Value

MEASURE, RATING, CONTROL, STORAGE, DIRECT, AUTHORITY = 701, 702, 704, 713, 714, 715

_LIMIT = ("WMaxLimPctEna", "WMaxLimPct", "WMaxLimPctRvrt", "WMaxLimPctEnaRvrt", "WMaxLimPctRvrtTms")
_SET = ("WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetPct", "WSetPctRvrt", "WSetEnaRvrt", "WSetRvrtTms")
_ALLOWED = {
    **dict.fromkeys(("WMaxLimPct", "WMaxLimPctRvrt"), (0, 100)),
    **dict.fromkeys(("WSetPct", "WSetPctRvrt"), (-100, 100)),
    **dict.fromkeys(("WMaxLimPctEna", "WMaxLimPctEnaRvrt", "WSetEna", "WSetEnaRvrt", "WSetMod"), (0, 1)),
}
_LOCAL = 1
_BEATS = 1 << 16
"""715.DERHb starts again from 0 after so many seconds."""
_WATTS = 1
"""704.WSetMod: the setpoint is WSet; 0 = WSetPct."""


class SunSpecUnit(ImageUnit):
    """Registers and controls of one inverter; the power itself is worked out by the physics."""

    def __init__(self, device: DeviceSpec, unit: int, plate: Nameplate) -> None:
        self._plate = plate
        self._stores = device.kind == "storage"
        models = [1, MEASURE, RATING, CONTROL, *([STORAGE] if self._stores else []), DIRECT, AUTHORITY]
        super().__init__(models, {DIRECT: {"NPrt": 1}})
        self._honoured = _LIMIT + (_SET if self._stores else ())
        self._select = self.image.plans[CONTROL].select(self._honoured)
        self.allow(CONTROL, self._honoured)
        self.allow(AUTHORITY, ("ControllerHb",))
        self._limit, self._set = RevertTimer(), RevertTimer()
        self._fill(device, unit)
        self._command = self._read_command()

    @property
    def command(self) -> Command:
        return self._command

    def accept(self, touched: range, now_us: int) -> Refusal | None:
        if self.touches(touched, AUTHORITY, "ControllerHb"):
            return None
        control = self._control()
        wrong = any(not low <= control[name] <= high for name, (low, high) in _ALLOWED.items() if name in control)
        if self.local or wrong or len(control) < len(self._honoured):
            return Refusal.VALUE
        self._run(self._limit, "WMaxLimPct", control, touched, now_us)
        if self._stores:
            self._run(self._set, "WSet", control, touched, now_us)
        self._show_left(now_us)
        self._command = self._read_command()
        return None

    @property
    def local(self) -> bool:
        """Whether it is operated at its own panel, as 715.LocRemCtl says."""
        return self.image.registers[self.image.address(AUTHORITY, "LocRemCtl") - self.image.base] == _LOCAL

    def next_revert_us(self) -> int | None:
        return sooner(self._limit.due_us, self._set.due_us)

    def revert(self, now_us: int) -> None:
        if self._limit.expired(now_us):
            self._fall_back("WMaxLimPct", {"WMaxLimPct": "WMaxLimPctRvrt", "WMaxLimPctEna": "WMaxLimPctEnaRvrt"})
        if self._set.expired(now_us):
            self._fall_back("WSet", {"WSet": "WSetRvrt", "WSetPct": "WSetPctRvrt", "WSetEna": "WSetEnaRvrt"})

    def show(self, values: Values, now_us: int) -> None:
        self.put(MEASURE, _measured(values, self._plate.u_v))
        if self._stores:
            soc_pu, soh_pu = values.get("soc_pu"), values.get("soh_pu")
            self.put(STORAGE, {"SoC": _percent(soc_pu), "SoH": _percent(soh_pu), "WHAvail": values.get("e_wh")})
        power = values.get("p_w")
        self.put(DIRECT, {"DCW": power, "Prt[0].DCW": power})
        self.put(AUTHORITY, {"DERHb": now_us // 1_000_000 % _BEATS})
        self._show_left(now_us)

    def _fall_back(self, timer: str, moves: Mapping[str, str]) -> None:
        control = self._control()
        self.image.set(CONTROL, {to: control[source] for to, source in moves.items()} | {f"{timer}RvrtRem": 0})
        self.forget(CONTROL)
        self._command = self._read_command()

    def _run(self, timer: RevertTimer, name: str, control: Mapping[str, float], touched: range, now_us: int) -> None:
        begins = self.touches(touched, CONTROL, f"{name}Ena", f"{name}RvrtTms")
        run_timer(timer, control[f"{name}Ena"] == 1, begins, control[f"{name}RvrtTms"], now_us)

    def _show_left(self, now_us: int) -> None:
        left: dict[str, Value | None] = {"WMaxLimPctRvrtRem": self._limit.left_s(now_us)}
        if self._stores:
            left["WSetRvrtRem"] = self._set.left_s(now_us)
        self.put(CONTROL, left)

    def _control(self) -> dict[str, float]:
        at = self.image.starts[CONTROL] - self.image.base + self._select.first
        found = self._select.decode(self.image.registers[at : at + self._select.count])
        return {name: float(value) for name, value in found.items()}

    def _read_command(self) -> Command:
        control = self._control()
        limit_w = float("inf")
        if control["WMaxLimPctEna"] == 1:
            limit_w = control["WMaxLimPct"] / 100 * self._plate.p_max_w
        if not self._stores or control["WSetEna"] != 1:
            return Command(None, limit_w)
        watts = control["WSetMod"] == _WATTS
        return Command(control["WSet"] if watts else control["WSetPct"] / 100 * self._plate.p_max_w, limit_w)

    def _fill(self, device: DeviceSpec, unit: int) -> None:
        self.image.set(1, common(device, unit))
        scales, given = self._plate.measure_scales(), ratings(self._plate, self._stores)
        self.image.set(MEASURE, scales)
        self.image.set(MEASURE, {"ACType": 0, "St": 1, "ConnSt": 1, "Alrm": 0, "DERMode": 1})
        self.image.set(RATING, self._plate.rating_scales())
        self.image.set(RATING, given)
        self.image.set(DIRECT, {"DCW_SF": scales["W_SF"]})
        self.image.set(DIRECT, {"PrtAlrms": 0, "Prt[0].PrtTyp": int(self._stores), "Prt[0].ID": 1, "Prt[0].DCSta": 1})
        self.image.set(AUTHORITY, {"LocRemCtl": 0, "ControllerHb": 0})
        self.image.set(CONTROL, {"WMaxLimPct_SF": -2, "WSet_SF": 0, "WSetPct_SF": -2})
        self.image.set(CONTROL, dict.fromkeys(_LIMIT, 0) | {"WMaxLimPct": 100, "WMaxLimPctRvrt": 100})
        if self._stores:
            self.image.set(CONTROL, dict.fromkeys(_SET, 0) | {"WSetMod": _WATTS})
            self.image.set(STORAGE, {"WH_SF": self._plate.wh_scale(), "Pct_SF": -2})
            self.image.set(STORAGE, {"WHRtg": self._plate.e_wh, "Sta": 0})


def _measured(values: Values, u_nom_v: float) -> dict[str, Value | None]:
    p_w, u_v = values.get("p_w"), values.get("u1_v")
    apparent = None if p_w is None else abs(p_w)
    return {
        "InvSt": values.get("state"),
        "W": p_w,
        "VA": apparent,
        "Var": None if p_w is None else 0,
        "PF": None if p_w is None else 1,
        "A": None if apparent is None else apparent / (u_v or u_nom_v),
        "LNV": u_v,
        "Hz": values.get("f_hz"),
        "TotWhInj": values.get("e_exp_wh"),
        "TotWhAbs": values.get("e_imp_wh"),
        "TmpCab": values.get("t_c"),
    }


def _percent(share_pu: float | None) -> float | None:
    return None if share_pu is None else share_pu * 100
