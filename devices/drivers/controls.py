"""How SunSpec devices take orders: model 704 of today, and 123 and 124 of what Fronius, SolarEdge and others speak.

A style knows points, not addresses: what to read, what to write first (values and revert time), what puts it in force.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from types import MappingProxyType

from devices.drivers.driver import DriverError
from devices.sunspec.types import Value

Numbers = dict[str, float | int]
Ratings = Mapping[int, tuple[str, ...]]


class Style(ABC):
    """One way to order a power. `values` are the points of `model` as last read, `ratings` what was read at opening."""

    model: int
    names: tuple[str, ...]
    """Points read at each poll; those that a device does not implement are neither shown nor written."""
    ratings: Ratings
    """Model -> points that bound an order; they are read when the device has the model."""
    value: str
    """The point whose scale factor sets the resolution."""

    def __init__(self) -> None:
        self.rated: Mapping[str, Value] = {}

    @abstractmethod
    def bounds(self) -> tuple[float, float] | None:
        """Range of orders as the device states it, W, bus sign."""

    @abstractmethod
    def order(self, value_w: int, lease_s: int) -> dict[str, Value]:
        """What is written first; points besides the value and the revert time may be missing in the device."""

    @abstractmethod
    def shown(self, values: Mapping[str, Value]) -> Numbers:
        """Catalogue points of the read-back."""

    @abstractmethod
    def step_w(self, step: float) -> float:
        """Watts of one step of the value's register."""

    enable: Mapping[str, Value]
    release: Mapping[str, Value]

    def first(self, *names: str) -> float | None:
        """The first rating that the device states."""
        found = (self.rated.get(name) for name in names)
        return next((float(value) for value in found if isinstance(value, (int, float))), None)

    def reference(self, *names: str) -> float:
        """The rating that percentages refer to. Raises DriverError when the device states none."""
        most = self.first(*names)
        if not most:
            raise DriverError(f"{' and '.join(names)} not implemented", mend="an order in % needs its rating")
        return most


class Limit(Style):
    """704.WMaxLimPct: a limit in % of 702.WMax."""

    model, value = 704, "WMaxLimPct"
    names = (
        *("WMaxLimPctEna", "WMaxLimPct", "WMaxLimPctRvrtRem", "WMaxLimPctRvrtTms"),
        *("WMaxLimPctRvrt", "WMaxLimPctEnaRvrt"),
    )
    ratings: Ratings = MappingProxyType({702: ("WMax", "WMaxRtg")})
    enable: Mapping[str, Value] = MappingProxyType({"WMaxLimPctEna": 1})
    release: Mapping[str, Value] = MappingProxyType({"WMaxLimPctEna": 0})

    def bounds(self) -> tuple[float, float] | None:
        most = self.first("WMax", "WMaxRtg")
        return None if most is None else (0.0, most)

    def order(self, value_w: int, lease_s: int) -> dict[str, Value]:
        percent = value_w / self.reference("WMax", "WMaxRtg") * 100
        fall_back: dict[str, Value] = {"WMaxLimPctRvrt": 100, "WMaxLimPctEnaRvrt": 0}
        return {"WMaxLimPct": percent, "WMaxLimPctRvrtTms": lease_s, **fall_back}

    def shown(self, values: Mapping[str, Value]) -> Numbers:
        return _limit_shown(values, "WMaxLimPct", "WMaxLimPctEna", "WMaxLimPctRvrtRem", self.first("WMax", "WMaxRtg"))

    def step_w(self, step: float) -> float:
        return step * (self.first("WMax", "WMaxRtg") or 0.0) / 100


class Setpoint(Style):
    """704.WSet: a signed power in W."""

    model, value = 704, "WSet"
    names = (
        *("WSetEna", "WSet", "WSetRvrtRem", "WSetRvrtTms"),
        *("WSetMod", "WSetRvrt", "WSetPct", "WSetPctRvrt", "WSetEnaRvrt"),
    )
    ratings: Ratings = MappingProxyType(
        {702: ("WMax", "WMaxRtg", "WChaRteMax", "WChaRteMaxRtg", "WDisChaRteMax", "WDisChaRteMaxRtg")}
    )
    enable: Mapping[str, Value] = MappingProxyType({"WSetEna": 1})
    release: Mapping[str, Value] = MappingProxyType({"WSetEna": 0})

    def __init__(self, stores: bool) -> None:
        super().__init__()
        self._stores = stores

    def bounds(self) -> tuple[float, float] | None:
        most = self.first("WMax", "WMaxRtg")
        if most is None:
            return None
        if not self._stores:
            return 0.0, most
        charge, discharge = self.first("WChaRteMax", "WChaRteMaxRtg"), self.first("WDisChaRteMax", "WDisChaRteMaxRtg")
        return -(most if charge is None else charge), most if discharge is None else discharge

    def order(self, value_w: int, lease_s: int) -> dict[str, Value]:
        fall_back = dict.fromkeys(("WSetRvrt", "WSetPct", "WSetPctRvrt", "WSetEnaRvrt"), 0)
        return {"WSet": value_w, "WSetRvrtTms": lease_s, "WSetMod": 1, **fall_back}

    def shown(self, values: Mapping[str, Value]) -> Numbers:
        out = _state(values, "WSetEna", "WSetRvrtRem")
        held = values.get("WSet")
        if isinstance(held, (int, float)) and values.get("WSetMod", 1) == 1:
            out["p_set_w"] = held
        return out

    def step_w(self, step: float) -> float:
        return step


class OldLimit(Style):
    """123.WMaxLimPct: a limit in % of 121.WMax, with WMaxLimPct_RvrtTms and WMaxLim_Ena."""

    model, value = 123, "WMaxLimPct"
    names = ("WMaxLimPct", "WMaxLimPct_RvrtTms", "WMaxLim_Ena")
    ratings: Ratings = MappingProxyType({121: ("WMax",), 120: ("WRtg",)})
    enable: Mapping[str, Value] = MappingProxyType({"WMaxLim_Ena": 1})
    release: Mapping[str, Value] = MappingProxyType({"WMaxLim_Ena": 0})

    def bounds(self) -> tuple[float, float] | None:
        most = self.first("WMax", "WRtg")
        return None if most is None else (0.0, most)

    def order(self, value_w: int, lease_s: int) -> dict[str, Value]:
        percent = value_w / self.reference("WMax", "WRtg") * 100
        return {"WMaxLimPct": percent, "WMaxLimPct_RvrtTms": lease_s}

    def shown(self, values: Mapping[str, Value]) -> Numbers:
        return _limit_shown(values, "WMaxLimPct", "WMaxLim_Ena", "", self.first("WMax", "WRtg"))

    def step_w(self, step: float) -> float:
        return step * (self.first("WMax", "WRtg") or 0.0) / 100


class OldStorage(Style):
    """Model 124: both rates are limits in % of WChaMax; a discharge of x % is forced by OutWRte = x, InWRte = -x."""

    model, value = 124, "OutWRte"
    names = ("OutWRte", "InWRte", "InOutWRte_RvrtTms", "StorCtl_Mod", "WChaMax")
    ratings: Ratings = MappingProxyType({124: ("WChaMax",), 120: ("MaxChaRte", "MaxDisChaRte")})
    enable: Mapping[str, Value] = MappingProxyType({"StorCtl_Mod": 3})
    release: Mapping[str, Value] = MappingProxyType({"StorCtl_Mod": 0})

    def bounds(self) -> tuple[float, float] | None:
        most = self.first("WChaMax")
        if most is None:
            return None
        charge, discharge = self.first("MaxChaRte"), self.first("MaxDisChaRte")
        return -min(most, charge or most), min(most, discharge or most)

    def order(self, value_w: int, lease_s: int) -> dict[str, Value]:
        percent = value_w / self.reference("WChaMax") * 100
        return {"OutWRte": percent, "InWRte": -percent, "InOutWRte_RvrtTms": lease_s}

    def shown(self, values: Mapping[str, Value]) -> Numbers:
        mode, out_pct, in_pct = (values.get(name) for name in ("StorCtl_Mod", "OutWRte", "InWRte"))
        out: Numbers = {} if not isinstance(mode, int) else {"set_ena": int(mode & 3 == 3)}
        most = self.first("WChaMax")
        if not isinstance(out_pct, (int, float)) or not isinstance(in_pct, (int, float)) or most is None:
            return out
        # Two different rates are two limits, which is no setpoint.
        return out | {"p_set_w": out_pct / 100 * most} if out_pct == -in_pct else out

    def step_w(self, step: float) -> float:
        return step * (self.first("WChaMax") or 0.0) / 100


def style_for(control: str, stores: bool, models: Collection[int]) -> Style | None:
    """The style of a device with these models; None when it takes no such orders."""
    if control == "p_max_w":
        return Limit() if 704 in models else OldLimit() if 123 in models else None
    if 704 in models:
        return Setpoint(stores)
    return OldStorage() if stores and 124 in models else None


def _limit_shown(values: Mapping[str, Value], value: str, enable: str, left: str, rating_w: float | None) -> Numbers:
    out = _state(values, enable, left)
    held = values.get(value)
    if isinstance(held, (int, float)) and rating_w is not None:
        out["p_max_w"] = held / 100 * rating_w
    return out


def _state(values: Mapping[str, Value], enable: str, left: str) -> Numbers:
    names = {"set_ena": enable, "set_left_s": left}
    return {name: found for name, point in names.items() if isinstance(found := values.get(point), int)}
