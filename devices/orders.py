"""Orders over MQTT: the payloads of cmd/<control> and ack/<control>, the same for service and device.

cmd `{"v":1,"id":..,"ts":..,"exp":..,"p_set_w":-2500,"revert_s":60}`: never retained, valid until `exp`; a control that
is null withdraws the order. ack `{"id":..,"state":"accepted|applied|verified|rejected|expired","readback":..}`.
"""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Literal

import msgspec

from devices.errors import DeviceError
from devices.message import decoded

AckState = Literal["accepted", "applied", "verified", "rejected", "expired"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class OrderError(DeviceError):
    """A payload that is no order or no acknowledgement."""


class CommandMessage(msgspec.Struct, frozen=True, omit_defaults=False):
    """An order for one control."""

    v: Literal[1]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    ts: Seconds
    exp: Seconds
    revert_s: Seconds = 0.0
    p_set_w: float | msgspec.UnsetType | None = msgspec.UNSET
    p_max_w: float | msgspec.UnsetType | None = msgspec.UNSET

    def value(self, control: str) -> float | None:
        """What is ordered of the control; None withdraws. Raises OrderError: not named, or no number."""
        found = getattr(self, control, msgspec.UNSET)
        if found is msgspec.UNSET:
            raise OrderError(f"no {control} in a message on cmd/{control}")
        if found is not None and not (math.isfinite(found) and abs(found) < 1e300):
            raise OrderError(f"{control} is no power")
        return None if found is None else float(found)


class Ack(msgspec.Struct, frozen=True):
    """What became of an order at the device."""

    id: str
    state: AckState
    readback: float | None = None
    reason: str = ""


_commands, _acks = msgspec.json.Decoder(CommandMessage), msgspec.json.Decoder(Ack)


def command(payload: bytes) -> CommandMessage:
    """Raises OrderError."""
    return decoded(_commands, payload, OrderError)


def ack(payload: bytes) -> Ack:
    """Raises OrderError."""
    return decoded(_acks, payload, OrderError)


def order_id(device: str, control: str, value: float | None, ts_us: int, number: int) -> str:
    """Content and a counter, never chance: equal runs send equal messages."""
    text = f"{device}/{control}/{value}/{ts_us}/{number}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
