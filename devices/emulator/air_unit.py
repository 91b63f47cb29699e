"""A device that takes its orders over MQTT (cmd/<control>) and acknowledges them (ack/<control>)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from devices.description import DeviceSpec
from devices.emulator.revert import RevertTimer
from devices.emulator.unit import Command, Refusal, Table, Unit, Values
from devices.orders import Ack, CommandMessage, OrderError, command
from devices.points import CONTROLS

_ENCODER = msgspec.json.Encoder()


class AirUnit(Unit):
    """No registers: one order in force, its revert timer, what it refuses."""

    def __init__(self, device: DeviceSpec) -> None:
        self.control = CONTROLS[device.kind]
        self._timer = RevertTimer()
        self._value: float | None = None
        self._last = ""

    @property
    def holding(self) -> Table | None:
        return None

    @property
    def input(self) -> Table | None:
        return None

    @property
    def command(self) -> Command:
        if self._value is None:
            return Command()
        return Command(self._value) if self.control == "p_set_w" else Command(p_max_w=self._value)

    def write(self, address: int, registers: Sequence[int], now_us: int) -> Refusal | None:
        return Refusal.ADDRESS

    def next_revert_us(self) -> int | None:
        return self._timer.due_us

    def revert(self, now_us: int) -> None:
        if self._timer.expired(now_us):
            self._value = None

    def show(self, values: Values, now_us: int) -> None:
        return

    def state(self, now_us: int) -> dict[str, float | int | None]:
        """Its order, as catalogue points for telemetry."""
        return {
            self.control: self._value,
            "set_ena": int(self._value is not None),
            "set_left_s": self._timer.left_s(now_us),
        }

    def take(self, control: str, payload: bytes, retained: bool, now_us: int) -> bytes | None:
        """Carry out a message of cmd/<control>; the acknowledgement, None for what names no order."""
        try:
            found = command(payload)
        except OrderError:
            return None
        return _ENCODER.encode(self._answer(control, found, retained, now_us))

    def _answer(self, control: str, found: CommandMessage, retained: bool, now_us: int) -> Ack:
        if retained:
            return Ack(found.id, "rejected", self._value, "retained commands are old ones")
        if now_us > found.exp * 1e6:
            return Ack(found.id, "expired", self._value, "its time was over when it came")
        if control != self.control:
            return Ack(found.id, "rejected", self._value, f"takes {self.control} only")
        if found.id != self._last:
            try:
                self._value = found.value(control)
            except OrderError as error:
                return Ack(found.id, "rejected", self._value, str(error))
            self._last = found.id
            self._timer.start(now_us, int(found.revert_s) if self._value is not None else 0)
        return Ack(found.id, "applied", self._value)
