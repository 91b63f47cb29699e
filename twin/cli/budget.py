"""`--budget gap=0.01,rounds=6`: work that a solve may spend."""

from __future__ import annotations

import msgspec

from controller.plan import Budget
from twin.exits import UsageError


def changed(base: Budget, text: str | None) -> Budget:
    """The budget with what the option names. Raises UsageError."""
    if text is None:
        return base
    fields = {field.name: field.type for field in msgspec.structs.fields(Budget)}
    given: dict[str, float | int] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key not in fields:
            raise UsageError(f"{key!r} is unknown", where="--budget", mend=f"known: {', '.join(fields)}")
        try:
            given[key] = float(value) if key in ("gap", "wall_s") else int(value)
        except ValueError:
            raise UsageError(
                f"{value!r} is no number", where=f"--budget {key}", mend="write gap=0.01,nodes=200"
            ) from None
    return msgspec.structs.replace(base, **given)
