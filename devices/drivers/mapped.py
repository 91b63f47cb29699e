"""Driver of any device that a register map describes."""

from __future__ import annotations

import math

from devices.description import DeviceSpec
from devices.drivers.driver import (
    Driver,
    DriverError,
    ReadBack,
    Values,
    catalogued,
    lease_seconds,
    read_back_of,
)
from devices.modbus import ModbusLink
from devices.pace import Pace
from devices.points import GRID_TWINS
from devices.regmap import Block, Control, RegisterMap, Write
from devices.regmap.map import sign_factor

_POWER = "p_w"


class MappedDriver(Driver):
    """Points and controls as the map says; groups are read when their period has passed, measured on `now_us`."""

    def __init__(self, spec: DeviceSpec, unit: int, map_: RegisterMap) -> None:
        super().__init__(spec, unit)
        if map_.kind not in (spec.kind, "gateway"):
            raise DriverError(
                f"map {map_.model} is for a {map_.kind}", where=spec.id, mend=f"the site calls it a {spec.kind}"
            )
        self.map = map_
        self._due_us = dict.fromkeys(map_.groups, -(2**62))
        parts = map_.derived[_POWER].names if _POWER in map_.derived else {_POWER}
        self._powers = frozenset(point.row.group for name, point in map_.points.items() if name in parts)
        self._names = dict(GRID_TWINS) if spec.is_grid else {}
        """Catalogue names of points that the map calls otherwise."""
        rules = map_.transport
        self.pace = Pace(rules.min_interval_ms / 1000, rules.connect_delay_ms / 1000, rules.timeout_s)
        self._order: Control | None = map_.controls.get(self.control or "")
        if self._order is None:
            self.control = None
            return
        factor = self._factor(self._order.row.sign)
        low, high = sorted(factor * edge for edge in self._order.row.range)
        self.bounds = (low, high)
        self.within_s = self._order.row.readback.within_s
        self.refresh_s = self._order.row.refresh_s
        if not self._by_effect:
            self._names[self._order.row.readback.point] = self._order.name
        shown = {self._order.row.readback.point, "set_ena", "set_left_s"}
        shown = shown.union(*(formula.names for name, formula in map_.derived.items() if name in shown))
        self._shown = tuple(block for block in map_.blocks if any(point.name in shown for point in block.points))

    async def open(self, link: ModbusLink) -> None:
        self._due_us = dict.fromkeys(self._due_us, -(2**62))

    async def read(self, link: ModbusLink, now_us: int) -> Values:
        due = [group for group, due_us in self._due_us.items() if now_us >= due_us]
        if due:  # a reading without its power is worth nothing: what makes it is read with whatever is due
            due += sorted(self._powers.difference(due))
        values = await self._read_blocks(link, self.map.blocks_of(*due)) if due else {}
        for group in due:
            self._due_us[group] = now_us + math.floor(self.map.groups[group] * 1_000_000)
        return values

    async def write_order(self, link: ModbusLink, value_w: int, lease_s: float) -> None:
        control = self._control()
        quantum = control.row.quantum
        stepped = round(value_w / quantum) * quantum
        await self._write(link, control.writes(stepped * self._factor(control.row.sign), lease_seconds(lease_s)))

    async def read_back(self, link: ModbusLink) -> ReadBack:
        control = self._control()
        values = await self._read_blocks(link, self._shown)
        if self._by_effect and _POWER in values:
            values[control.name] = values[_POWER]
        return read_back_of(values, control.name)

    async def release(self, link: ModbusLink) -> None:
        await self._write(link, self._control().release())

    @property
    def tolerance_w(self) -> float:
        row = self._control().row
        return max(row.readback.tol, row.quantum / 2)

    @property
    def _by_effect(self) -> bool:
        """Whether the setpoint register cannot be read, so that only the measured power shows what was taken."""
        return self._order is not None and self._order.row.readback.point == _POWER

    def _control(self) -> Control:
        if self._order is None:
            raise DriverError("takes no orders", where=self.spec.id, mend=f"map {self.map.model} has no control for it")
        return self._order

    async def _write(self, link: ModbusLink, writes: list[Write]) -> None:
        for write in writes:
            await link.write(self.unit, write.fc, write.addr, write.registers)

    async def _read_blocks(self, link: ModbusLink, blocks: tuple[Block, ...]) -> Values:
        raw: dict[str, float | int | str] = {}
        for block in blocks:
            raw.update(block.decode(await link.read(self.unit, block.fc, block.addr, block.count)))
        signed: dict[str, float | int | str] = {}
        for name, value in raw.items():
            factor = self._factor(self.map.points[name].row.sign)
            signed[name] = -value if factor < 0 and not isinstance(value, str) else value
        derived = self.map.derive(signed)
        return catalogued({self._names.get(name, name): value for name, value in derived.items()})

    def _factor(self, sign: str) -> int:
        return sign_factor(sign, self.spec.is_grid)
