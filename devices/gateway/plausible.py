"""What a reading must be to be believed: times, powers and counters that a device can mean.

A value that was torn (two registers of one number read while it changed), corrupted or of another scale is held back
once; when the next reading agrees with it, it was true after all: a jump, a reset or exchanged counter, a roll-over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from devices.description import DeviceSpec
from devices.readings import Quality, Reading

_AHEAD_US = 60_000_000
"""A device's clock that is further ahead than this is wrong: nothing is measured in the future."""
_BEHIND_US = 300_000_000
"""Older than this is stale: a clock that is wrong, or a backlog after an outage."""
_POWERS = ("p_w", "q_var", "s_va")
_COUNTERS = ("e_imp_wh", "e_exp_wh", "e_heat_wh")
_UNKNOWN_W = 1e6
"""Largest power of a device whose rating the site does not state."""
_MARGIN = 3.0
_LEAST_WH = 1000.0


def timely(ts_us: int, now_us: int) -> tuple[int, Quality]:
    """(time to stamp, quality): a time in the future becomes now, substituted; one long ago stays, stale."""
    if ts_us > now_us + _AHEAD_US:
        return now_us, Quality.SUBSTITUTED
    return ts_us, Quality.STALE if ts_us < now_us - _BEHIND_US else Quality.GOOD


@dataclass(slots=True)
class _Counter:
    value: float
    ts_us: int
    doubt: float | None = None
    """A value that was held back."""


class Plausible:
    """Per device: the newest believed counters and powers. `checked` is called with each reading once."""

    def __init__(self, devices: Mapping[str, DeviceSpec]) -> None:
        self._most_w = {name: _MARGIN * largest_w(spec.model) for name, spec in devices.items()}
        self._seen: dict[tuple[str, str], _Counter] = {}

    def checked(self, reading: Reading) -> tuple[Reading, tuple[str, ...]]:
        """(the reading without what is not believed, names of that); without a power it is bad."""
        most_w = self._most_w.get(reading.device, _MARGIN * _UNKNOWN_W)
        wrong = [name for name in _POWERS if self._strange_power(reading, name, most_w)]
        wrong += [name for name in _COUNTERS if self._strange_counter(reading, name, most_w)]
        if not wrong:
            return reading, ()
        values = {name: value for name, value in reading.values.items() if name not in wrong}
        quality = reading.quality if "p_w" in values else Quality.BAD
        return replace(reading, values=values, quality=quality), tuple(wrong)

    def _strange_power(self, reading: Reading, name: str, most_w: float) -> bool:
        """Above three times the rating nothing is believed, however often it comes."""
        value = reading.values.get(name)
        return value is not None and abs(value) > most_w

    def _strange_counter(self, reading: Reading, name: str, most_w: float) -> bool:
        value = reading.values.get(name)
        if value is None:
            return False
        key = (reading.device, name)
        seen = self._seen.get(key)
        if seen is not None:
            passed_us = reading.ts_us - seen.ts_us
            known = [one for one in (seen.value, seen.doubt) if one is not None]
            if not any(self._follows(before, value, passed_us, most_w) for before in known):
                seen.doubt = value
                return True
        self._seen[key] = _Counter(value, reading.ts_us)
        return False

    @staticmethod
    def _follows(before: float, value: float, passed_us: int, most_w: float) -> bool:
        """A monotone counter, and no more than the power allows in the time that passed."""
        return 0 <= value - before <= max(most_w * max(passed_us, 0) / 3.6e9, _LEAST_WH)


def largest_w(model: Mapping[str, Any]) -> float:
    """The largest power that the site states of a device, else a megawatt."""
    keys = ("peak_w", "p_w", "p_charge_w", "p_discharge_w", "p_max_w")
    given = [float(value) for key in keys if isinstance(value := model.get(key), (int, float))]
    return max(given, default=_UNKNOWN_W)
