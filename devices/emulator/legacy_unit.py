"""An inverter of the generation before model 701: models 1, 103, 120 to 123, 160, and 124 for storage.

Controls: the limit 123.WMaxLimPct (in % of 121.WMax) in force while WMaxLim_Ena is 1; for storage the two rates of
model 124 (in % of WChaMax), limits of discharging (OutWRte) and charging (InWRte), in force as StorCtl_Mod says
(bit 0 charging, bit 1 discharging). A negative rate forces the opposite flow. When a revert time ends, the enable or
mode becomes 0. The seconds left are not shown: these models have no point for them.
"""

from __future__ import annotations

from devices.description import DeviceSpec
from devices.emulator.image_unit import ImageUnit, run_timer
from devices.emulator.nameplate import Nameplate, common
from devices.emulator.revert import RevertTimer
from devices.emulator.unit import Command, Refusal, Values, sooner
from devices.sunspec.types import Value

MEASURE, RATING, SETTING, STATUS, CONTROL, STORAGE, TRACKERS = 103, 120, 121, 122, 123, 124, 160
_LIMIT = ("WMaxLimPct", "WMaxLimPct_RvrtTms", "WMaxLim_Ena")
_RATES = ("StorCtl_Mod", "OutWRte", "InWRte", "InOutWRte_RvrtTms")
_STATES = {1: 2, 3: 4, 4: 5, 7: 8}
"""701.InvSt to 103.St: sleeping, running, throttled, standby."""
_PV, _PV_STORAGE = 4, 82
"""120.DERTyp."""
_CHARGING, _DISCHARGING, _HOLDING = 4, 3, 6
"""124.ChaSt."""


class LegacyUnit(ImageUnit):
    """Registers and controls of one inverter; the power itself is worked out by the physics."""

    def __init__(self, device: DeviceSpec, unit: int, plate: Nameplate) -> None:
        self._plate = plate
        self._stores = device.kind == "storage"
        stores = [STORAGE] if self._stores else []
        super().__init__(
            [1, MEASURE, RATING, SETTING, STATUS, CONTROL, *stores, TRACKERS], {TRACKERS: {"module": 1 + self._stores}}
        )
        self.allow(CONTROL, _LIMIT)
        if self._stores:
            self.allow(STORAGE, _RATES)
        self._limit, self._rates = RevertTimer(), RevertTimer()
        self._fill(device, unit)
        self._command = Command()

    @property
    def command(self) -> Command:
        return self._command

    def accept(self, touched: range, now_us: int) -> Refusal | None:
        limit = self._held(CONTROL, *_LIMIT)
        if limit is None or not 0 <= limit["WMaxLimPct"] <= 100 or limit["WMaxLim_Ena"] not in (0, 1):
            return Refusal.VALUE
        rates = self._held(STORAGE, *_RATES) if self._stores else {}
        if rates is None or any(abs(rates.get(name, 0)) > 100 for name in ("OutWRte", "InWRte")):
            return Refusal.VALUE
        begins = self.touches(touched, CONTROL, "WMaxLim_Ena", "WMaxLimPct_RvrtTms")
        run_timer(self._limit, limit["WMaxLim_Ena"] == 1, begins, limit["WMaxLimPct_RvrtTms"], now_us)
        if rates:
            begins = self.touches(touched, STORAGE, "StorCtl_Mod", "InOutWRte_RvrtTms")
            run_timer(self._rates, rates["StorCtl_Mod"] != 0, begins, rates["InOutWRte_RvrtTms"], now_us)
        self._read_command(limit, rates)
        return None

    def next_revert_us(self) -> int | None:
        return sooner(self._limit.due_us, self._rates.due_us)

    def revert(self, now_us: int) -> None:
        if self._limit.expired(now_us):
            self.image.set(CONTROL, {"WMaxLim_Ena": 0})
        if self._rates.expired(now_us):
            self.image.set(STORAGE, {"StorCtl_Mod": 0})
        self._read_command(
            self._held(CONTROL, *_LIMIT) or {}, (self._held(STORAGE, *_RATES) if self._stores else {}) or {}
        )

    def show(self, values: Values, now_us: int) -> None:
        p_w, u_v = values.get("p_w"), values.get("u1_v")
        amps = None if p_w is None else abs(p_w) / (u_v or self._plate.u_v)
        measured: dict[str, Value | None] = {"A": amps, "AphA": amps, "W": p_w, "VA": None if p_w is None else abs(p_w)}
        measured |= {"VAr": None if p_w is None else 0, "PhVphA": u_v, "Hz": values.get("f_hz")}
        state = _STATES.get(int(values.get("state") or 0))
        measured |= {"WH": values.get("e_exp_wh"), "TmpCab": values.get("t_c"), "St": state}
        self.put(MEASURE, measured)
        self.put(STATUS, {"ActWh": values.get("e_exp_wh")})
        if self._stores:
            soc_pu = values.get("soc_pu")
            state = _HOLDING if not p_w else _DISCHARGING if p_w > 0 else _CHARGING
            self.put(STORAGE, {"ChaState": None if soc_pu is None else soc_pu * 100, "ChaSt": state})
            charge = None if p_w is None else max(-p_w, 0)
            self.put(TRACKERS, {"module[0].DCW": charge, "module[1].DCW": None if p_w is None else max(p_w, 0)})
        else:
            self.put(TRACKERS, {"module[0].DCW": p_w})

    def _held(self, model: int, *points: str) -> dict[str, float] | None:
        """The points as numbers; None when one is not a value."""
        found = self.image.get(model)
        out = {name: float(value) for name in points if isinstance(value := found.get(name), (int, float))}
        return out if len(out) == len(points) else None

    def _read_command(self, limit: dict[str, float], rates: dict[str, float]) -> None:
        limit_w = float("inf")
        if limit.get("WMaxLim_Ena") == 1:
            limit_w = limit["WMaxLimPct"] / 100 * self._plate.p_max_w
        self._command = Command(self._forced_w(rates), limit_w)

    def _forced_w(self, rates: dict[str, float]) -> float | None:
        """The flow that the rates force: a negative limit of one direction is a least flow in the other."""
        mode = int(rates.get("StorCtl_Mod", 0))
        most_out = rates["OutWRte"] if mode & 2 else 100.0
        most_in = rates["InWRte"] if mode & 1 else 100.0
        if not mode or -most_in > most_out:
            return None  # nothing ordered, or a contradiction: it does as it likes
        return min(max(0.0, -most_in), most_out) / 100 * self._plate.p_max_w

    def _fill(self, device: DeviceSpec, unit: int) -> None:
        plate, power = self._plate, self._plate.measure_scales()["W_SF"]
        self.image.set(1, common(device, unit))
        scales: dict[str, Value] = {"W_SF": power, "VA_SF": power, "VAr_SF": power, "V_SF": -1, "Hz_SF": -2}
        self.image.set(MEASURE, {**scales, "A_SF": plate.measure_scales()["A_SF"], "WH_SF": 0, "Tmp_SF": -1})
        self.image.set(MEASURE, {"Evt1": 0, "Evt2": 0})
        rated = plate.rating_scales()["W_SF"]
        self.image.set(RATING, {"WRtg_SF": rated, "VARtg_SF": rated, "ARtg_SF": plate.rating_scales()["A_SF"]})
        self.image.set(RATING, {"DERTyp": _PV_STORAGE if self._stores else _PV, "WRtg": plate.p_max_w})
        self.image.set(RATING, {"VARtg": plate.p_max_w, "ARtg": plate.p_max_w / plate.u_v})
        self.image.set(SETTING, {"WMax_SF": rated, "VRef_SF": -1, "VRefOfs_SF": 0})
        self.image.set(SETTING, {"WMax": plate.p_max_w, "VRef": plate.u_v, "VRefOfs": 0})
        self.image.set(STATUS, {"PVConn": 3, "StorConn": 3 if self._stores else 0, "ECPConn": 1})
        self.image.set(CONTROL, {"WMaxLimPct_SF": -2, "OutPFSet_SF": -2, "VArPct_SF": -2})
        self.image.set(CONTROL, {"Conn": 1, "WMaxLimPct": 100, "WMaxLimPct_RvrtTms": 0, "WMaxLim_Ena": 0})
        self.image.set(TRACKERS, {"DCW_SF": power, "N": 1 + self._stores, "module[0].ID": 1})
        if self._stores:
            self._fill_storage(rated)

    def _fill_storage(self, rated: Value) -> None:
        plate = self._plate
        self.image.set(RATING, {"WHRtg_SF": plate.wh_scale(), "MaxChaRte_SF": rated, "MaxDisChaRte_SF": rated})
        self.image.set(
            RATING, {"WHRtg": plate.e_wh, "MaxChaRte": plate.p_charge_w, "MaxDisChaRte": plate.p_discharge_w}
        )
        self.image.set(STORAGE, {"WChaMax_SF": rated, "WChaDisChaGra_SF": 0, "ChaState_SF": -2, "InOutWRte_SF": -2})
        self.image.set(STORAGE, {"WChaMax": plate.p_max_w, "WChaGra": 100, "WDisChaGra": 100, "StorCtl_Mod": 0})
        self.image.set(STORAGE, {"OutWRte": 100, "InWRte": 100, "InOutWRte_RvrtTms": 0})
        self.image.set(TRACKERS, {"module[1].ID": 2, "module[0].IDStr": "charge", "module[1].IDStr": "discharge"})
