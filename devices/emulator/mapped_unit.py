"""A device served through a declarative register map (devices/maps).

A map with a control is emulated as: the control's read-back point is the setpoint register, `revert_s` its revert
time, `set_ena` its enable and `set_left_s` the seconds left. Writing an enable of 1, or the time while enabled, starts
the timer; when it ends the enable becomes 0 and the setpoint what it was at power-up.
"""

from __future__ import annotations

from collections.abc import Sequence

from devices.description import DeviceSpec
from devices.emulator.revert import RevertTimer
from devices.emulator.unit import Command, Refusal, Table, Unit, Values
from devices.errors import DeviceError
from devices.regmap import Control, MapPoint, RegisterMap
from devices.regmap.map import sign_factor

_HOLDING, _INPUT = 3, 4
_TWINS = {"e_imp_wh": "e_exp_wh", "e_exp_wh": "e_imp_wh"}


class MappedUnit(Unit):
    """Registers of one device of a shipped or own map; bits (function codes 1, 2, 5) are not emulated."""

    def __init__(self, device: DeviceSpec, map_: RegisterMap) -> None:
        self._map = map_
        self._grid = device.is_grid
        self._tables = {fc: _table(map_, fc) for fc in (_HOLDING, _INPUT)}
        if any(point.row.fc not in self._tables for point in map_.points.values()):
            raise DeviceError(
                "this map reads bits",
                where=f"{device.id}: {map_.model}",
                mend="only function codes 3 and 4 are emulated",
            )
        self._timer = RevertTimer()
        self._shown: dict[str, float | int | None] = {}
        self._control = next(iter(map_.controls.values()), None)
        self._writable = _writable(self._control)
        self._command = Command()
        if self._control is not None:
            self._rest(self._control)

    @property
    def holding(self) -> Table | None:
        return self._tables[_HOLDING]

    @property
    def input(self) -> Table | None:
        return self._tables[_INPUT]

    @property
    def command(self) -> Command:
        return self._command

    def write(self, address: int, registers: Sequence[int], now_us: int) -> Refusal | None:
        table, control = self._tables[_HOLDING], self._control
        touched = range(address, address + len(registers))
        if table is None or control is None or not self._writable.issuperset(touched):
            return Refusal.ADDRESS
        at = address - table.base
        before = table.registers[at : at + len(registers)]
        table.registers[at : at + len(registers)] = registers
        value, enabled = self._value(control), self._held("set_ena")
        low, high = control.row.range
        if value is None or not low <= value <= high or enabled not in (0, 1, None):
            table.registers[at : at + len(registers)] = before
            return Refusal.VALUE
        self._run_timer(touched, enabled, now_us)
        self._read_command(control)
        self._show_left(now_us)
        return None

    def next_revert_us(self) -> int | None:
        return self._timer.due_us

    def revert(self, now_us: int) -> None:
        if self._control is not None and self._timer.expired(now_us):
            self._rest(self._control)

    def show(self, values: Values, now_us: int) -> None:
        for name, point in self._map.points.items():
            # At the grid's meter the register "import" counts what the grid gives: the owner's e_exp_wh.
            source = _TWINS.get(name, name) if self._grid else name
            if source in values and point.row.fc == _INPUT:
                value = values[source]
                if name not in self._shown or self._shown[name] != value:
                    self._shown[name] = value
                    self._put(point, value)
        self._show_left(now_us)

    def _run_timer(self, touched: range, enabled: float | None, now_us: int) -> None:
        if enabled == 0:
            self._timer.stop()
        elif any(
            self._map.points[name].addr in touched for name in ("set_ena", "revert_s") if name in self._map.points
        ):
            self._timer.start(now_us, int(self._held("revert_s") or 0))

    def _rest(self, control: Control) -> None:
        """As at power-up: not enabled, limit open or setpoint 0."""
        point = self._map.points[control.row.readback.point]
        self._put(point, control.row.range[1] if control.name == "p_max_w" else 0.0)
        for name in ("set_ena", "set_left_s"):
            if name in self._map.points:
                self._put(self._map.points[name], 0)
        self._timer.stop()
        self._read_command(control)

    def _read_command(self, control: Control) -> None:
        value = self._value(control) if self._held("set_ena") in (1, None) else None
        if value is None:
            self._command = Command()
        else:
            self._command = Command(p_max_w=value) if control.name == "p_max_w" else Command(p_set_w=value)

    def _value(self, control: Control) -> float | None:
        """The setpoint register, bus sign."""
        found = self._held(control.row.readback.point)
        if found is None:
            return None
        return found * sign_factor(self._map.points[control.row.readback.point].row.sign, self._grid)

    def _held(self, name: str) -> float | None:
        """A holding point's value in the map's own sign; None if the map has no such point or it is not available."""
        point, table = self._map.points.get(name), self._tables[_HOLDING]
        if point is None or table is None:
            return None
        at = point.addr - table.base
        value = point.decode(table.registers[at : at + point.registers])
        return value if isinstance(value, int | float) else None

    def _show_left(self, now_us: int) -> None:
        point = self._map.points.get("set_left_s")
        if point is not None:
            self._put(point, self._timer.left_s(now_us))

    def _put(self, point: MapPoint, value: float | int | None) -> None:
        table = self._tables[point.row.fc]
        assert table is not None
        if value is None and not (point.codec.real or point.nans):
            return  # The map knows no pattern for "not available": such hardware shows its last value.
        signed = None if value is None else value * sign_factor(point.row.sign, self._grid)
        at = point.addr - table.base
        table.registers[at : at + point.registers] = point.encode(signed)


def _table(map_: RegisterMap, fc: int) -> Table | None:
    """All registers from 0 to the last point, so that reads over gaps are answered as hardware does, with zeros."""
    ends = [point.addr + point.registers for point in map_.points.values() if point.row.fc == fc]
    return Table(0, [0] * max(ends)) if ends else None


def _writable(control: Control | None) -> set[int]:
    if control is None:
        return set()
    writes = [*control.writes(control.row.range[0], 0), *control.release()]
    return {write.addr + k for write in writes for k in range(len(write.registers))}
