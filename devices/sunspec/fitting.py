"""Which plan fits a device's block: how often its groups repeat, by its own counts or by its length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devices.sunspec.errors import SunSpecError
from devices.sunspec.schema import ModelPlan, compile_model, definition


def plan_of(model_id: int, registers: Sequence[int]) -> ModelPlan:
    """The plan of a whole block, from the counts that it states itself where they give its length.

    Raises SunSpecError when no number of repeats gives the block's length.
    """
    counts = _counts(definition(model_id)["group"])
    plain = compile_model(model_id)
    stated = {name: registers[point.offset] for name, point in plain.points.items() if name in counts}
    if stated and all(count < len(registers) for count in stated.values()):
        stating = compile_model(model_id, stated)
        if stating.length == len(registers):
            return stating
    return fit_model(model_id, len(registers))


def fit_model(model_id: int, length: int) -> ModelPlan:
    """The plan that fits a device's block of `length` registers including header, with its repeats worked out.

    Raises SunSpecError when no number of repeats gives that length.
    """
    plain = compile_model(model_id)
    keys = _open_counts(definition(model_id)["group"])
    if plain.length == length:
        return plain
    if length == plain.length - 1 and plain.padded:
        return plain.unpadded()
    for key in keys:
        step = compile_model(model_id, {key: 1}).length - plain.length
        if step > 0 and (length - plain.length) % step == 0 and length > plain.length:
            return compile_model(model_id, {key: (length - plain.length) // step})
    raise SunSpecError(
        f"a block of {length} registers", where=f"SunSpec model {model_id}", mend=f"the model has {plain.length}"
    )


def _open_counts(group: Mapping[str, Any]) -> list[str]:
    keys = []
    for child in group.get("groups", ()):
        count = child.get("count")
        if count is not None and not (isinstance(count, int) and count):
            keys.append(count if isinstance(count, str) else child["name"])
    return keys


def _counts(group: Mapping[str, Any]) -> set[str]:
    """Names of the points that count groups, at any depth."""
    out = {count for child in group.get("groups", ()) if isinstance(count := child.get("count"), str)}
    return out.union(*(_counts(child) for child in group.get("groups", ())))
