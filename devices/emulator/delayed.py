"""A unit that shows written registers only after a while, as devices do that pass orders on inside."""

from __future__ import annotations

from collections.abc import Sequence

from devices.emulator.revert import RevertTimer
from devices.emulator.unit import Command, Refusal, Table, Unit, Values


class DelayedUnit(Unit):
    """Orders are taken at once; what clients read of the written registers is late by `delay_s`."""

    def __init__(self, unit: Unit, delay_s: float) -> None:
        self.unit = unit
        self._delay_us = round(delay_s * 1_000_000)
        self._late: dict[int, int] = {}
        self._visible = None if unit.holding is None else Table(unit.holding.base, list(unit.holding.registers))

    @property
    def holding(self) -> Table | None:
        return self._visible

    @property
    def input(self) -> Table | None:
        return self.unit.input

    @property
    def command(self) -> Command:
        return self.unit.command

    @property
    def timers(self) -> tuple[RevertTimer, ...]:
        return self.unit.timers

    def write(self, address: int, registers: Sequence[int], now_us: int) -> Refusal | None:
        refusal = self.unit.write(address, registers, now_us)
        if refusal is None:
            self._late.update(dict.fromkeys(range(address, address + len(registers)), now_us + self._delay_us))
        return refusal

    def next_revert_us(self) -> int | None:
        return self.unit.next_revert_us()

    def revert(self, now_us: int) -> None:
        self.unit.revert(now_us)

    def show(self, values: Values, now_us: int) -> None:
        self.unit.show(values, now_us)
        real, visible = self.unit.holding, self._visible
        if real is None or visible is None:
            return
        self._late = {address: due_us for address, due_us in self._late.items() if due_us > now_us}
        kept = {address: visible.registers[address - visible.base] for address in self._late}
        visible.registers[:] = real.registers
        for address, register in kept.items():
            visible.registers[address - visible.base] = register
