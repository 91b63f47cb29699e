"""MQTT payloads, decoded to exactly what the specification allows."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from devices.errors import DeviceError
from devices.message import decoded
from devices.points import CATALOGUE, quantised
from devices.readings import Quality

_QUALITIES = {"good": Quality.GOOD, "stale": Quality.STALE, "sub": Quality.SUBSTITUTED, "bad": Quality.BAD}
_LATEST_S = 1e11


class PayloadError(DeviceError):
    """A payload that is not what its topic promises."""


class Telemetry(msgspec.Struct, frozen=True):
    """`{"v":1,"ts":<unix s>,"seq":n,"q":"good|stale|sub|bad","p":{"p_w":..}}`."""

    v: Literal[1]
    ts: int | float
    seq: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    p: dict[str, int | float]
    q: Literal["good", "stale", "sub", "bad"] = "good"

    @property
    def ts_us(self) -> int:
        return round(self.ts * 1_000_000)

    def quality(self) -> Quality:
        """As stated; bad without a power."""
        return max(_QUALITIES[self.q], Quality.GOOD if "p_w" in self.p else Quality.BAD)

    def values(self) -> dict[str, float | int]:
        """Points of the catalogue, rounded to their quanta; others are not ours to store."""
        out: dict[str, float | int] = {}
        for name, value in self.p.items():
            if name in CATALOGUE:
                whole = quantised(name, value)
                if whole is not None:
                    out[name] = whole
        return out


_decoder = msgspec.json.Decoder(Telemetry)


def telemetry(payload: bytes) -> Telemetry:
    """Raises PayloadError for anything else: NaN, wrong types, `true` for a number, bad UTF-8 or JSON, > 64 KiB."""
    found = decoded(_decoder, payload, PayloadError)
    if not 0 <= found.ts < _LATEST_S or not all(map(_finite, found.p.values())):
        raise PayloadError("a number that no device can mean", mend="time in seconds, finite values")
    return found


def _finite(value: float) -> bool:
    return -1e300 < value < 1e300 and math.isfinite(value)
