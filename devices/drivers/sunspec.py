"""Driver of SunSpec devices: PV, storage and turbines of today's and yesterday's models, and SunSpec meters."""

from __future__ import annotations

from collections.abc import Mapping

from devices.description import DeviceSpec
from devices.drivers.controls import Style, style_for
from devices.drivers.discovery import Found, ReadPlan, find_models, packed
from devices.drivers.driver import (
    Driver,
    DriverError,
    ReadBack,
    Values,
    catalogued,
    lease_seconds,
    read_back_of,
)
from devices.drivers.profile import INVERTERS, METERS, names_of, reported
from devices.modbus import ModbusLink
from devices.points import GRID_TWINS
from devices.sunspec.schema import encode_point
from devices.sunspec.types import Value

MEASURES = (701, *INVERTERS, *METERS)
STATES = (713, 124)
"""Where the state of charge is."""
CONTROL = 715
_BEATS = 1 << 16
_LOCAL = 1
WANTED = frozenset((*MEASURES, *STATES, 702, 704, 120, 121, 123, CONTROL))


class SunSpecDriver(Driver):
    """A measuring model, 713 or 124 for storage, 704, 123 or 124 for orders, 702 or 120 and 121 for ratings.

    With model 715 each order carries a new controller heartbeat, and none is written while the device says LOCAL.
    """

    def __init__(self, spec: DeviceSpec, unit: int) -> None:
        super().__init__(spec, unit)
        self._found: dict[int, Found] = {}
        self._reads: tuple[ReadPlan, ...] = ()
        self._control_read: ReadPlan | None = None
        self._style: Style | None = None
        self._shown: Mapping[str, Value] = {}
        """The control model as last read: what is implemented, and the scale factors."""
        self._beat = 0

    async def open(self, link: ModbusLink) -> None:
        self._found = await find_models(link, self.unit, WANTED, self.spec.id)
        measure = next((model for model in MEASURES if model in self._found), None)
        if measure is None:
            raise DriverError(
                f"none of the models {', '.join(map(str, MEASURES))}",
                where=self.spec.id,
                mend="this device cannot be metered",
            )
        stored = next((model for model in STATES if model in self._found and self.spec.kind == "storage"), None)
        measured = [measure] if stored is None else [measure, stored]
        points = {model: names_of(model, self._found[model].plan) for model in measured}
        self._style = style_for(self.control or "", self.spec.kind == "storage", self._found)
        if self._style is None:
            self.control = None
        else:
            await self._rate(link, self._style)
            names = self._control_names(self._style)
            self._control_read = packed(self._found, {self._style.model: names})[0]
            points[self._style.model] = tuple(dict.fromkeys((*points.get(self._style.model, ()), *names)))
            if CONTROL in self._found:
                points[CONTROL] = ("LocRemCtl",)
        self._reads = packed(self._found, points)

    async def read(self, link: ModbusLink, now_us: int) -> Values:
        out: dict[str, float | int] = {}
        for plan in self._reads:
            for model, values in (await plan.run(link, self.unit)).items():
                out.update(reported(model, values))
                if model == CONTROL:
                    self.local = values.get("LocRemCtl") == _LOCAL
                if self._style is not None and model == self._style.model:
                    out.update(self._controlled(self._style, values))
        return catalogued(_mirrored(out) if self.spec.is_grid else out)

    async def write_order(self, link: ModbusLink, value_w: int, lease_s: float) -> None:
        style = self._opened()
        if self.local:
            raise DriverError(
                "takes orders only from its own panel (715.LocRemCtl = LOCAL)",
                where=self.spec.id,
                mend="set it to remote control at the device",
            )
        if not self._shown:
            await self.read_back(link)
        must = {style.value} | {name for name in style.names if name.endswith("RvrtTms")}
        wanted = {
            name: value
            for name, value in style.order(value_w, lease_seconds(lease_s)).items()
            if name in must or name in self._shown
        }
        await self._write(link, style.model, wanted)
        if CONTROL in self._found:
            self._beat = (self._beat + 1) % _BEATS
            await self._write(link, CONTROL, {"ControllerHb": self._beat})
        await self._write(link, style.model, style.enable)

    async def read_back(self, link: ModbusLink) -> ReadBack:
        style = self._opened()
        assert self._control_read is not None
        values = (await self._control_read.run(link, self.unit))[style.model]
        return read_back_of(catalogued(self._controlled(style, values)), self._control())

    async def release(self, link: ModbusLink) -> None:
        style = self._opened()
        await self._write(link, style.model, style.release)

    @property
    def tolerance_w(self) -> float:
        """Half a step of the register, at least 1 W."""
        style = self._opened()
        scale = self._found[style.model].plan.points[style.value].scale
        power = self._shown.get(str(scale))
        return max(1.0, style.step_w(10.0**power if isinstance(power, int) else 1.0) / 2 + 0.5)

    def _opened(self) -> Style:
        if self._style is None:
            raise DriverError(
                "not opened, or takes no orders", where=self.spec.id, mend="orders need model 704, 123 or 124"
            )
        return self._style

    def _control(self) -> str:
        assert self.control is not None
        return self.control

    def _control_names(self, style: Style) -> tuple[str, ...]:
        points = self._found[style.model].plan.points
        scales = {scale for name in style.names if isinstance(scale := points[name].scale, str)}
        return (*style.names, *sorted(scales))

    async def _rate(self, link: ModbusLink, style: Style) -> None:
        """The settings where given, else the nameplate: both bound what may be ordered."""
        rated: dict[str, Value] = {}
        for model, names in style.ratings.items():
            if model in self._found:
                plan = packed(self._found, {model: names})[0]
                rated |= (await plan.run(link, self.unit))[model]
        style.rated = rated
        self.bounds = style.bounds()

    def _controlled(self, style: Style, values: Mapping[str, Value]) -> dict[str, float | int]:
        self._shown = values
        return style.shown(values)

    async def _write(self, link: ModbusLink, model: int, wanted: Mapping[str, Value]) -> None:
        """Write points of a model: neighbours in one request, nothing else touched."""
        found = self._found[model]
        rows: list[tuple[int, list[int]]] = []
        for name in sorted(wanted, key=lambda point: found.plan.offset(point)[0]):
            point = found.plan.points[name]
            registers = encode_point(point, wanted[name], found.plan.power(name, self._shown))
            address = found.address + point.offset
            if rows and rows[-1][0] + len(rows[-1][1]) == address:
                rows[-1][1].extend(registers)
            else:
                rows.append((address, registers))
        for address, registers in rows:
            await link.write(self.unit, 16, address, registers)


def _mirrored(values: Mapping[str, float | int]) -> dict[str, float | int]:
    """At the grid's meter import flows into the bus."""
    out = {GRID_TWINS.get(name, name): value for name, value in values.items()}
    return out | {name: -out[name] for name in ("p_w", "q_var") if name in out}
