"""A unit around another one that misbehaves as the site's `behaviour` says (see behaviour.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from devices.emulator.behaviour import Behaviour
from devices.emulator.image_unit import ImageUnit
from devices.emulator.unit import Command, Refusal, Table, Unit, Values, sooner

_SECOND_US = 1_000_000
_AUTHORITY, _MEASURE, _POWERS = 715, 701, ("W_SF", "VA_SF", "Var_SF")


class StubbornUnit(Unit):
    """Passes on what it does not spoil. Counts the writes of every register."""

    def __init__(self, unit: Unit, behaviour: Behaviour) -> None:
        self.unit, self._behaviour = unit, behaviour
        self.writes: Counter[int] = Counter()
        for timer in unit.timers:
            timer.factor = float("inf") if behaviour.no_revert else behaviour.revert_factor
        self._beat_due_us: int | None = None
        self._followed = unit.command
        self._shifted = False

    @property
    def holding(self) -> Table | None:
        return self.unit.holding

    @property
    def input(self) -> Table | None:
        return self.unit.input

    @property
    def command(self) -> Command:
        """What it follows: a change inside the dead band is not."""
        ordered, followed = self.unit.command, self._followed
        if ordered.p_set_w is not None and followed.p_set_w is not None:
            near = abs(ordered.p_set_w - followed.p_set_w) < self._behaviour.dead_band_w
            ordered = replace(ordered, p_set_w=followed.p_set_w) if near else ordered
        self._followed = ordered
        return ordered

    def write(self, address: int, registers: Sequence[int], now_us: int) -> Refusal | None:
        touched = range(address, address + len(registers))
        if any(self.writes[register] >= self._behaviour.writes_max for register in touched):
            return Refusal.FAILURE
        before = self._beat
        self.writes.update(touched)
        refusal = None if self._behaviour.ignores_writes else self.unit.write(address, registers, now_us)
        # An order that nobody's heart beats for lasts as long as one beat.
        if self._behaviour.heartbeat_s != float("inf") and (self._beat_due_us is None or self._beat != before):
            self._beat_due_us = now_us + round(self._behaviour.heartbeat_s * _SECOND_US)
        return refusal

    @property
    def _beat(self) -> object:
        """715.ControllerHb, which must change; a device without it is content with any write."""
        unit = self.unit
        if isinstance(unit, ImageUnit) and _AUTHORITY in unit.image.plans:
            return unit.image.get(_AUTHORITY)["ControllerHb"]
        return self.writes.total()

    def next_revert_us(self) -> int | None:
        return sooner(self.unit.next_revert_us(), self._beat_due_us)

    def revert(self, now_us: int) -> None:
        if self._beat_due_us is not None and now_us >= self._beat_due_us:
            self._beat_due_us = None
            for timer in self.unit.timers:
                timer.due_us = now_us
        self.unit.revert(now_us)

    def show(self, values: Values, now_us: int) -> None:
        period_s = self._behaviour.scale_change_s
        if period_s != float("inf"):
            self._rescale(shifted=now_us // round(period_s * _SECOND_US) % 2 == 1)
        self.unit.show(values, now_us)

    def _rescale(self, *, shifted: bool) -> None:
        if shifted == self._shifted or not isinstance(self.unit, ImageUnit) or _MEASURE not in self.unit.image.plans:
            return
        self._shifted = shifted
        shown = self.unit.image.get(_MEASURE)
        by = 1 if shifted else -1
        scales = {name: int(power) + by for name in _POWERS if isinstance(power := shown.get(name), int)}
        self.unit.image.set(_MEASURE, scales)
        self.unit.forget(_MEASURE)
