"""What all emulated SunSpec devices share: an image of models, writable points, values shown when they change."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from devices.emulator.revert import RevertTimer
from devices.emulator.unit import Command, Refusal, Table, Unit, Values
from devices.sunspec import SunSpecImage
from devices.sunspec.types import Value


class ImageUnit(Unit):
    """Registers of one device. Sub-classes say what a write means; a write is stored as a whole or not at all."""

    def __init__(self, models: Sequence[int], counts: Mapping[int, Mapping[str, int]] | None = None) -> None:
        self.image = SunSpecImage(models, counts=counts)
        self._holding = Table(self.image.base, self.image.registers)
        self._writable: set[int] = set()
        self._shown: dict[int, dict[str, Value | None]] = {}

    @property
    def holding(self) -> Table:
        return self._holding

    @property
    def input(self) -> None:
        return None

    @property
    def command(self) -> Command:
        return Command()

    def write(self, address: int, registers: Sequence[int], now_us: int) -> Refusal | None:
        touched = range(address, address + len(registers))
        if not self._writable.issuperset(touched):
            return Refusal.ADDRESS
        at = address - self.image.base
        before = self.image.registers[at : at + len(registers)]
        self.image.write(address, registers)
        refusal = self.accept(touched, now_us)
        if refusal is not None:
            self.image.write(address, before)
        return refusal

    @abstractmethod
    def accept(self, touched: range, now_us: int) -> Refusal | None:
        """The registers hold a write already; refuse it, or put it in force."""

    def next_revert_us(self) -> int | None:
        return None

    def revert(self, now_us: int) -> None:
        return

    @abstractmethod
    def show(self, values: Values, now_us: int) -> None: ...

    def allow(self, model: int, points: Iterable[str]) -> None:
        """Let clients write these points."""
        for name in points:
            offset, count = self.image.plans[model].offset(name)
            self._writable.update(self.image.starts[model] + offset + k for k in range(count))

    def put(self, model: int, values: Mapping[str, Value | None]) -> None:
        """Encode only what changed: most points stand still most of the time."""
        shown = self._shown.setdefault(model, {})
        changed = {name: value for name, value in values.items() if name not in shown or shown[name] != value}
        if changed:
            self.image.set(model, changed)
            shown.update(changed)

    def forget(self, model: int) -> None:
        """The registers of a model were changed from elsewhere."""
        self._shown.pop(model, None)

    def touches(self, touched: range, model: int, *points: str) -> bool:
        """Whether a write reached one of these points."""
        return any(self.image.address(model, point) in touched for point in points)


def run_timer(timer: RevertTimer, enabled: bool, begins: bool, seconds: float, now_us: int) -> None:
    """Stop the timer of a withdrawn order; (re)start it when the enable or the time was written."""
    if not enabled:
        timer.stop()
    elif begins:
        timer.start(now_us, int(seconds))
