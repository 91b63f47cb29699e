"""Driver of SunSpec devices: PV, storage and turbines with models 701-713, and SunSpec meters."""

from __future__ import annotations

from collections.abc import Mapping

from devices.description import DeviceSpec
from devices.drivers.discovery import Found, ReadPlan, find_models, packed
from devices.drivers.driver import (
    GRID_TWINS,
    Driver,
    DriverError,
    ReadBack,
    Values,
    catalogued,
    lease_seconds,
    read_back_of,
)
from devices.drivers.profile import CONTROL_POINTS, SOURCES, reported
from devices.modbus import ModbusLink
from devices.sunspec.schema import encode_point
from devices.sunspec.types import Value

MEASURES = (701, 103, 203, 213)
RATINGS, CONTROLS, STORAGE = 702, 704, 713
_RATED = ("WMax", "WMaxRtg", "WChaRteMax", "WChaRteMaxRtg", "WDisChaRteMax", "WDisChaRteMaxRtg")


class SunSpecDriver(Driver):
    """701 or 103 or a meter model, 713 for storage, 704 for orders with 702 for ratings."""

    def __init__(self, spec: DeviceSpec, unit: int) -> None:
        super().__init__(spec, unit)
        self.rating_w: float | None = None
        self._found: dict[int, Found] = {}
        self._reads: tuple[ReadPlan, ...] = ()
        self._control_read: ReadPlan | None = None
        self._shown: Mapping[str, Value] = {}
        """704 as last read: what is implemented, and the scale factors."""

    async def open(self, link: ModbusLink) -> None:
        wanted = frozenset((*MEASURES, RATINGS, CONTROLS, STORAGE))
        self._found = await find_models(link, self.unit, wanted, self.spec.id)
        measure = next((model for model in MEASURES if model in self._found), None)
        if measure is None:
            raise DriverError(
                "none of the models 701, 103, 203, 213", where=self.spec.id, mend="this device cannot be metered"
            )
        points = {model: self._names(model) for model in (measure, STORAGE) if model in self._found}
        if self.control is not None and CONTROLS in self._found:
            await self._rate(link)
            points[CONTROLS] = self._control_names()
            self._control_read = packed(self._found, {CONTROLS: points[CONTROLS]})[0]
        else:
            self.control = None
        self._reads = packed(self._found, points)

    async def read(self, link: ModbusLink, now_us: int) -> Values:
        out: dict[str, float | int] = {}
        for plan in self._reads:
            for model, values in (await plan.run(link, self.unit)).items():
                out.update(self._controlled(values) if model == CONTROLS else reported(model, values))
        return catalogued(_mirrored(out) if self.spec.is_grid else out)

    async def write_order(self, link: ModbusLink, value_w: int, lease_s: float) -> None:
        if not self._shown:
            await self.read_back(link)
        control = CONTROL_POINTS[self._control()]
        wanted: dict[str, Value] = {name: value for name, value in control.defaults.items() if name in self._shown}
        wanted |= {control.value: self._on_wire(value_w), control.revert: lease_seconds(lease_s)}
        for address, registers in self._runs(wanted):
            await link.write(self.unit, 16, address, registers)
        await self._enable(link, 1)

    async def read_back(self, link: ModbusLink) -> ReadBack:
        if self._control_read is None:
            raise DriverError("not opened, or without model 704", where=self.spec.id)
        values = (await self._control_read.run(link, self.unit))[CONTROLS]
        return read_back_of(catalogued(self._controlled(values)), self._control())

    async def release(self, link: ModbusLink) -> None:
        await self._enable(link, 0)

    @property
    def tolerance_w(self) -> float:
        """Half a step of the register, at least 1 W."""
        control = CONTROL_POINTS[self._control()]
        scale = self._found[CONTROLS].plan.points[control.value].scale if CONTROLS in self._found else None
        power = self._shown.get(str(scale))
        step = 10.0**power if isinstance(power, int) else 1.0
        if self.control == "p_max_w":
            step *= (self.rating_w or 0.0) / 100
        return max(1.0, step / 2 + 0.5)

    def _control(self) -> str:
        if self.control is None:
            raise DriverError("takes no orders", where=self.spec.id, mend="it has no model 704")
        return self.control

    def _names(self, model: int) -> tuple[str, ...]:
        return tuple(point for source in SOURCES[model] for point in source.points)

    def _control_names(self) -> tuple[str, ...]:
        control = CONTROL_POINTS[self._control()]
        names = (control.enable, control.value, control.left, control.revert, *control.defaults)
        points = self._found[CONTROLS].plan.points
        scales = {scale for name in names if isinstance(scale := points[name].scale, str)}
        return (*names, *sorted(scales))

    async def _rate(self, link: ModbusLink) -> None:
        """The settings of 702 where given, else its ratings: both bound what may be ordered."""
        if RATINGS not in self._found:
            return
        plan = packed(self._found, {RATINGS: _RATED})[0]
        values = (await plan.run(link, self.unit))[RATINGS]
        most = _first(values, "WMax", "WMaxRtg")
        self.rating_w = most
        if most is None:
            return
        charge = _first(values, "WChaRteMax", "WChaRteMaxRtg") if self.spec.kind == "storage" else 0.0
        discharge = _first(values, "WDisChaRteMax", "WDisChaRteMaxRtg") if self.spec.kind == "storage" else most
        self.bounds = (-(most if charge is None else charge), most if discharge is None else discharge)

    def _controlled(self, values: Mapping[str, Value]) -> dict[str, float | int]:
        self._shown = values
        control = CONTROL_POINTS[self._control()]
        out: dict[str, float | int] = {}
        held, enabled, left = values.get(control.value), values.get(control.enable), values.get(control.left)
        watts_mode = self.control == "p_max_w" or values.get("WSetMod", 1) == 1
        if isinstance(held, (int, float)) and watts_mode:
            if self.control != "p_max_w":
                out["p_set_w"] = held
            elif self.rating_w is not None:
                out["p_max_w"] = held / 100 * self.rating_w
        if isinstance(enabled, int):
            out["set_ena"] = enabled
        if isinstance(left, int):
            out["set_left_s"] = left
        return out

    def _on_wire(self, value_w: int) -> float:
        if self.control != "p_max_w":
            return value_w
        if not self.rating_w:
            raise DriverError("702.WMax is not implemented", where=self.spec.id, mend="a limit in % needs its rating")
        return value_w / self.rating_w * 100

    def _runs(self, wanted: Mapping[str, Value]) -> list[tuple[int, list[int]]]:
        """Writes for the wanted points of 704: neighbours in one request, nothing else touched."""
        found = self._found[CONTROLS]
        rows: list[tuple[int, list[int]]] = []
        for name in sorted(wanted, key=lambda point: found.plan.offset(point)[0]):
            point = found.plan.points[name]
            registers = encode_point(point, wanted[name], found.plan.power(name, self._shown))
            address = found.address + point.offset
            if rows and rows[-1][0] + len(rows[-1][1]) == address:
                rows[-1][1].extend(registers)
            else:
                rows.append((address, registers))
        return rows

    async def _enable(self, link: ModbusLink, value: int) -> None:
        found = self._found.get(CONTROLS)
        if found is None:
            raise DriverError("not opened, or without model 704", where=self.spec.id)
        offset, _ = found.plan.offset(CONTROL_POINTS[self._control()].enable)
        await link.write(self.unit, 16, found.address + offset, [value])


def _first(values: Mapping[str, Value], *names: str) -> float | None:
    return next((float(value) for name in names if isinstance(value := values.get(name), (int, float))), None)


def _mirrored(values: Mapping[str, float | int]) -> dict[str, float | int]:
    """At the grid's meter import flows into the bus."""
    out = {GRID_TWINS.get(name, name): value for name, value in values.items()}
    return out | {name: -out[name] for name in ("p_w", "q_var") if name in out}
