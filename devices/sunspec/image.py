"""The register image of a whole SunSpec device: 'SunS', its models one after another, the end marker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devices.sunspec.errors import SunSpecError
from devices.sunspec.schema import ModelPlan, PointPlan, compile_model, encode_point
from devices.sunspec.types import Value

MARK = (0x5375, 0x6E53)
"""'SunS', the two registers every SunSpec map starts with."""
END = (0xFFFF, 0)
"""Model id and length after the last model."""


class SunSpecImage:
    """Registers `base .. base + len(registers) - 1` of a device. Values are set by name; scaling follows the image.

    Invariant: `registers` always decodes to what was set last (to the resolution of its scale factor).
    """

    def __init__(
        self, models: Sequence[int], base: int = 40000, counts: Mapping[int, Mapping[str, int]] | None = None
    ) -> None:
        self.base = base
        self.plans: dict[int, ModelPlan] = {}
        self.starts: dict[int, int] = {}
        self.registers: list[int] = list(MARK)
        for model in models:
            repeats = (counts or {}).get(model, {})
            plan = compile_model(model, repeats)
            if model in self.plans:
                raise SunSpecError(f"model {model} twice", mend="an image holds each model once")
            self.plans[model] = plan
            self.starts[model] = base + len(self.registers)
            held = {name: count for name, count in repeats.items() if name in plan.points}
            self.registers += plan.encode(held)
        self.registers += END

    def set(self, model: int, values: Mapping[str, Value | None]) -> None:
        """Set points of a model; None = not implemented. A changed scale factor re-scales what depends on it.

        Raises SunSpecError for an unknown point or a value that does not fit.
        """
        plan = self._plan(model)
        if any(plan.point(name).kind.name == "sunssf" for name in values):
            kept = {**self.get(model), **values}
            self._put(model, 0, plan.encode({name: value for name, value in kept.items() if value is not None}))
            return
        for name, value in values.items():
            point = plan.point(name)
            self._put(model, point.offset, encode_point(point, value, self._power(model, point, value)))

    def get(self, model: int) -> dict[str, Value]:
        """All implemented points of a model, scaled."""
        plan = self._plan(model)
        at = self.starts[model] - self.base
        return plan.decode(self.registers[at : at + plan.length])

    def address(self, model: int, point: str = "ID") -> int:
        """Absolute register address of a model's point."""
        return self.starts[model] + self._plan(model).offset(point)[0]

    def block(self, model: int) -> list[int]:
        """The registers of one model, with header."""
        at = self.starts[model] - self.base
        return self.registers[at : at + self._plan(model).length]

    def write(self, address: int, registers: Sequence[int]) -> None:
        """Put raw registers at an absolute address, as a master's write does. Raises SunSpecError outside the image."""
        at = address - self.base
        if at < 0 or at + len(registers) > len(self.registers):
            raise SunSpecError(f"registers {address}..{address + len(registers) - 1} are outside the image")
        self.registers[at : at + len(registers)] = registers

    def _put(self, model: int, offset: int, registers: Sequence[int]) -> None:
        self.write(self.starts[model] + offset, registers)

    def _power(self, model: int, point: PointPlan, value: Value | None) -> int:
        if value is None or point.scale is None:
            return 0
        if isinstance(point.scale, int):
            return point.scale
        raw = self.registers[self.address(model, point.scale) - self.base]
        if raw == 0x8000:
            raise SunSpecError(f"{point.scale} is not set", where=point.where, mend="set the scale factor first")
        return raw - 0x10000 if raw & 0x8000 else raw

    def _plan(self, model: int) -> ModelPlan:
        plan = self.plans.get(model)
        if plan is None:
            raise SunSpecError(f"no model {model} in this image", mend=f"it has {sorted(self.plans)}")
        return plan
