"""A device served through a declarative register map (devices/maps).

A control is emulated from its own steps: the register that takes `$x` holds the setpoint, which is in force while every
step with a fixed value holds that value (a control without such a step: from its first write). The revert time is what
the `$lease_s` step wrote, or the map's `after_s`; a write of the setpoint, an enable or the time starts it anew. When
it ends, all registers of the steps are what they were at power-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devices.description import DeviceSpec
from devices.emulator.revert import RevertTimer
from devices.emulator.unit import Command, Refusal, Table, Unit, Values
from devices.errors import DeviceError
from devices.points import GRID_TWINS
from devices.regmap import Control, MapPoint, RegisterMap
from devices.regmap.codec import Codec, codec, number
from devices.regmap.map import sign_factor
from devices.regmap.schema import StepRow

_HOLDING, _INPUT = 3, 4
_STATE = ("set_ena", "set_left_s")


class MappedUnit(Unit):
    """Registers of one device of a shipped or own map; bits (function codes 1, 2, 5) are not emulated."""

    def __init__(self, device: DeviceSpec, map_: RegisterMap) -> None:
        self._map = map_
        self._grid = device.is_grid
        self._control = next(iter(map_.controls.values()), None)
        self._steps = _steps(self._control)
        self._tables = {fc: _table(map_, fc, self._steps if fc == _HOLDING else []) for fc in (_HOLDING, _INPUT)}
        if any(point.row.fc not in self._tables for point in map_.points.values()):
            raise DeviceError(
                "this map reads bits",
                where=f"{device.id}: {map_.model}",
                mend="only function codes 3 and 4 are emulated",
            )
        self._ordered = {
            name for name, point in map_.points.items() if point.row.fc == _HOLDING and self._writes(point)
        } | set(_STATE)
        self._timer = RevertTimer()
        self._shown: dict[str, float | int | None] = {}
        self._command = Command()
        self._written = False
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
        writable = {at for step in self._steps for at in self._span(step)}
        if table is None or control is None or not writable.issuperset(touched):
            return Refusal.ADDRESS
        at = address - table.base
        before = table.registers[at : at + len(registers)]
        table.registers[at : at + len(registers)] = registers
        low, high = control.row.range
        held = [self._held(step) for step in control.row.steps if step.value == "$x"]
        if any(value is None or not low <= value <= high for value in held) or self._odd_state():
            table.registers[at : at + len(registers)] = before
            return Refusal.VALUE
        self._written = True
        self._run_timer(control, touched, now_us)
        self._read_command(control)
        self._show_state(now_us)
        return None

    def next_revert_us(self) -> int | None:
        return self._timer.due_us

    def revert(self, now_us: int) -> None:
        if self._control is not None and self._timer.expired(now_us):
            self._rest(self._control)

    def show(self, values: Values, now_us: int) -> None:
        for name, value in self._spread(values).items():
            point = self._map.points.get(name)
            if point is None or name in self._ordered or (name in self._shown and self._shown[name] == value):
                continue
            self._shown[name] = value
            self._put(point, value)
        self._show_state(now_us)

    def _spread(self, values: Values) -> dict[str, float | int | None]:
        """Values under the map's names; a derived power is put back into the points it is the sum of."""
        # At the grid's meter the register "import" counts what the grid gives: the owner's e_exp_wh.
        out = {GRID_TWINS.get(name, name) if self._grid else name: value for name, value in values.items()}
        for name, expression in self._map.derived.items():
            if name in out:
                signs = {
                    one: expression.value({n: float(n == one) for n in expression.names}) for one in expression.names
                }
                out |= _split(out[name], signs)
        return out

    def _run_timer(self, control: Control, touched: range, now_us: int) -> None:
        if not self._enabled():
            self._timer.stop()
        elif any(at in touched for step in self._begins() for at in self._span(step)):
            lease = next((step for step in control.row.revert.steps if step.value == "$lease_s"), None)
            seconds = control.row.revert.after_s or 0.0 if lease is None else self._held(lease) or 0.0
            self._timer.start(now_us, int(seconds))

    def _begins(self) -> list[StepRow]:
        """Steps that start the timer: the fixed ones and the time; the setpoint itself where it alone puts in force."""
        fixed = [step for step in self._steps if step.value != "$x"]
        return fixed if any(not isinstance(step.value, str) for step in fixed) else self._steps

    def _rest(self, control: Control) -> None:
        """As at power-up: nothing in force, limit open or setpoint 0."""
        for step in self._steps:
            top = control.row.range[1] if control.name == "p_max_w" else 0.0
            self._store(step, top if step.value == "$x" else 0.0)
        for write in control.release():
            self._raw(write.addr, write.registers)
        self._written = False
        self._timer.stop()
        self._read_command(control)
        self._show_state(0)

    def _read_command(self, control: Control) -> None:
        value = self._setpoint(control)
        if value is None or not self._enabled():
            self._command = Command()
            return
        signed = value * sign_factor(control.row.sign, self._grid)
        self._command = Command(p_max_w=signed) if control.name == "p_max_w" else Command(p_set_w=signed)

    def _enabled(self) -> bool:
        return self._in_force() is not None

    def _in_force(self) -> list[StepRow] | None:
        """Steps of the order in force: all their fixed values are held; without such, from the first write on."""
        for steps in self._orders():
            fixed = [step for step in steps if not isinstance(step.value, str)]
            if all(self._held(step) == step.value for step in fixed) if fixed else self._written:
                return steps
        return None

    def _orders(self) -> list[list[StepRow]]:
        """Steps of an order by its sign."""
        return [] if self._control is None else [self._control.steps_for(sign) for sign in (1.0, -1.0)]

    def _odd_state(self) -> bool:
        """An enable that is neither of the values the map knows for it."""
        point = self._map.points.get("set_ena")
        return point is not None and self._writes(point) and self._value(point) not in (0, 1)

    def _setpoint(self, control: Control) -> float | None:
        steps = self._in_force() or control.row.steps
        return self._held(next(step for step in steps if step.value == "$x"))

    def _held(self, step: StepRow) -> float | None:
        """What the register of a step holds, in the unit of its value."""
        table = self._tables[_HOLDING]
        assert table is not None
        span = self._span(step)
        raw = number(self._codec(step).decode(table.registers[span.start - table.base : span.stop - table.base]))
        return None if raw is None else raw * step.scale

    def _store(self, step: StepRow, value: float) -> None:
        self._raw(self._span(step).start, self._codec(step).encode(value / step.scale))

    def _raw(self, address: int, registers: Sequence[int]) -> None:
        table = self._tables[_HOLDING]
        assert table is not None
        table.registers[address - table.base : address - table.base + len(registers)] = registers

    def _span(self, step: StepRow) -> range:
        first = step.addr - self._map.transport.address_base
        return range(first, first + self._codec(step).registers)

    def _codec(self, step: StepRow) -> Codec:
        return codec(step.type, self._map.transport.byte_order, self._map.transport.word_order)

    def _writes(self, point: MapPoint) -> bool:
        return any(point.addr in self._span(step) for step in self._steps)

    def _value(self, point: MapPoint) -> float | int | None:
        table = self._tables[point.row.fc]
        assert table is not None
        at = point.addr - table.base
        value = point.decode(table.registers[at : at + point.registers])
        return value if isinstance(value, int | float) else None

    def _show_state(self, now_us: int) -> None:
        shown = {"set_left_s": self._timer.left_s(now_us), "set_ena": int(self._enabled())}
        for name, value in shown.items():
            point = self._map.points.get(name)
            if point is not None and not self._writes(point):
                self._put(point, value)

    def _put(self, point: MapPoint, value: float | int | None) -> None:
        table = self._tables[point.row.fc]
        assert table is not None
        if value is None and not (point.codec.real or point.nans):
            return  # The map knows no pattern for "not available": such hardware shows its last value.
        signed = None if value is None else value * sign_factor(point.row.sign, self._grid)
        at = point.addr - table.base
        table.registers[at : at + point.registers] = point.encode(signed)


def _split(total: float | int | None, signs: Mapping[str, float | None]) -> dict[str, float | int | None]:
    """Parts whose signed sum is `total`: a flow on the first part of its direction, nothing on the others."""
    if total is None:
        return dict.fromkeys(signs)
    names = sorted(signs)
    same = [name for name in names if (signs[name] or 0) * total > 0] or [n for n in names if (signs[n] or 0) > 0]
    bearer = same[0] if same else names[0]
    return {name: total * (signs[name] or 0) if name == bearer else 0 for name in names}


def _steps(control: Control | None) -> list[StepRow]:
    return [] if control is None else [*control.row.revert.steps, *control.row.steps]


def _table(map_: RegisterMap, fc: int, steps: Sequence[StepRow]) -> Table | None:
    """All registers from the first to the last, so that reads over gaps are answered as hardware does, with zeros."""
    spans = [(point.addr, point.addr + point.registers) for point in map_.points.values() if point.row.fc == fc]
    base = map_.transport.address_base
    spans += [(step.addr - base, step.addr - base + codec(step.type).registers) for step in steps]
    if not spans:
        return None
    first = min(start for start, _ in spans)
    return Table(first, [0] * (max(end for _, end in spans) - first))
