"""JSON that came over MQTT: bounded, and refused in the words of whoever wanted it."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from devices.errors import DeviceError

T = TypeVar("T")
LARGEST = 64 * 1024
"""Bytes of a payload."""


def decoded(decoder: msgspec.json.Decoder[T], payload: bytes, refusal: type[DeviceError]) -> T:
    """Raises `refusal` for too many bytes, bad UTF-8 or JSON, and for what the decoder's type does not allow."""
    if len(payload) > LARGEST:
        raise refusal(f"{len(payload)} bytes", mend=f"at most {LARGEST}")
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refusal(str(error)) from error
