"""Reading a device's `model` mapping into a frozen parameter record, with errors that name device, field and range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from devices.errors import DeviceError


class ModelError(DeviceError):
    """A model description that no physical device can have."""


class Fields:
    """Takes one field after the other; `done()` raises all that was wrong at once.

    A wrong field yields its default (or its lower bound), so that the fields after it are checked too.
    """

    def __init__(self, device: str, model: Mapping[str, Any], section: str = "model") -> None:
        self._where = f"{device}: {section}"
        self._model = model
        self._seen: list[str] = []
        self._wrong: list[str] = []

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A finite number in [low, high]; without a default the field must be there."""
        self._seen.append(name)
        if name not in self._model and default is not None:
            return default
        fallback = low if default is None else default
        value = self._model.get(name)
        if value is None:
            self._wrong.append(f"{name} is missing (a number in [{low:g}, {high:g}])")
            return fallback
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self._wrong.append(f"{name} is {value!r}, not a finite number")
            return fallback
        if not low <= value <= high:
            self._wrong.append(f"{name} is {value:g}, allowed is [{low:g}, {high:g}]")
            return fallback
        return float(value)

    def text(self, name: str, default: str | None = "") -> str | None:
        """A text; default "" means that it must be there, None that it may be absent."""
        self._seen.append(name)
        value = self._model.get(name, default)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            self._wrong.append(
                f"{name} is missing (a series id such as home-1/pv)"
                if value == ""
                else f"{name} is {value!r}, not a text"
            )
            return None
        return value

    def flag(self, name: str) -> bool:
        """True or False, False when absent."""
        self._seen.append(name)
        value = self._model.get(name, False)
        self.require(isinstance(value, bool), f"{name} is {value!r}, not true or false")
        return value is True

    def require(self, holds: bool, complaint: str) -> None:
        """A condition over several fields."""
        if not holds:
            self._wrong.append(complaint)

    def done(self) -> None:
        """Raise ModelError with everything that was wrong, unknown fields included."""
        unknown = sorted(set(self._model) - set(self._seen))
        self._wrong.extend(f"unknown field {name}" for name in unknown)
        if self._wrong:
            raise ModelError("; ".join(self._wrong), where=self._where, mend=f"known fields: {', '.join(self._seen)}")
