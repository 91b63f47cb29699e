"""Who fell silent and who speaks again: told once each, from the ages of the readings alone, on any clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from devices.readings import ProcessImage

Level = Literal["info", "warning"]

MICRO = 1_000_000


class Silences:
    """Devices without a valid power reading, and since when."""

    def __init__(self, devices: Iterable[str], start_us: int, max_age_s: float) -> None:
        """max_age_s : how old a reading may be before it counts as unknown."""
        self._devices, self._start_us, self._max_age_s = sorted(devices), start_us, max_age_s
        self._since_us: dict[str, int] = {}

    def look(self, image: ProcessImage) -> list[tuple[Level, str, str]]:
        """(level, device, what) of every change since the last image; at first a device gets max_age_s to speak up."""
        found: list[tuple[Level, str, str]] = []
        for device in self._devices:
            known = image.value(device, "p_w", self._max_age_s) is not None
            if known and device in self._since_us:
                minutes = (image.ts_us - self._since_us.pop(device)) / MICRO / 60
                found.append(("info", device, f"valid readings again after {minutes:.0f} min"))
            elif not known and device not in self._since_us and self._judged(device, image):
                self._since_us[device] = self._newest_us(device, image)
                found.append(("warning", device, self._why(device, image)))
        return found

    def _judged(self, device: str, image: ProcessImage) -> bool:
        return device in image.readings or image.ts_us - self._start_us >= self._max_age_s * MICRO

    def _newest_us(self, device: str, image: ProcessImage) -> int:
        reading = image.readings.get(device)
        return self._start_us if reading is None else reading.ts_us

    def _why(self, device: str, image: ProcessImage) -> str:
        age_s = image.age_s(device)
        if age_s is None:
            return "has not answered yet"
        return f"no reading for {age_s:.0f} s" if age_s > self._max_age_s else "reads no valid power"
