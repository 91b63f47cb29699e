"""Where messages begin and end in a stream of Modbus TCP, MQTT or unknown bytes, and how one is spoiled."""

from __future__ import annotations

from devices.proxy.script import Fault, Protocol

_MBAP = 6
"""Bytes before those that the length field counts."""


def messages(buffer: bytearray, protocol: Protocol) -> list[bytes]:
    """Take all whole messages off the front of the buffer. What is no message of the protocol is passed on as it is."""
    found: list[bytes] = []
    while buffer:
        size = _size(buffer, protocol)
        if size is None or size > len(buffer):
            break
        found.append(bytes(buffer[:size]))
        del buffer[:size]
    return found


def _size(buffer: bytearray, protocol: Protocol) -> int | None:
    if protocol == "modbus":
        return None if len(buffer) < _MBAP else _MBAP + int.from_bytes(buffer[4:6], "big")
    if protocol == "mqtt":
        return _mqtt_size(buffer)
    return len(buffer)


def _mqtt_size(buffer: bytearray) -> int | None:
    """Fixed header: one byte, then the remaining length in 1-4 bytes of seven bits (MQTT 5, section 2.1.4)."""
    length = 0
    for place, byte in enumerate(buffer[1:5]):
        length |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return 2 + place + length
    return len(buffer) if len(buffer) >= 5 else None


def spoiled(message: bytes, fault: Fault) -> bytes:
    """A Modbus message with one field wrong; MQTT and raw ones know only short and long."""
    raw = bytearray(message)
    if fault.kind == "wrong_transaction":
        raw[:2] = ((int.from_bytes(raw[:2], "big") + 1) & 0xFFFF).to_bytes(2, "big")
    elif fault.kind == "wrong_protocol":
        raw[3] ^= 1
    elif fault.kind == "wrong_unit":
        raw[6] = (raw[6] + 1) & 0xFF
    elif fault.kind == "wrong_function":
        raw[7] = (raw[7] + 1) & 0xFF
    elif fault.kind == "exception":
        raw = bytearray((*raw[:4], 0, 3, raw[6], raw[7] | 0x80, fault.code))
    return bytes(raw)


def resized(message: bytes, fault: Fault, protocol: Protocol) -> bytes:
    """`size` bytes shorter or longer; in a Modbus read reply the lengths of header and data say so too."""
    at_least = 9 if protocol == "modbus" else 1
    raw = bytearray(message[: max(len(message) - fault.size, at_least)] if fault.kind == "short" else message)
    if fault.kind == "long":
        raw.extend(bytes(fault.size))
    if protocol == "modbus" and len(message) > at_least:
        raw[4:6] = (len(raw) - _MBAP).to_bytes(2, "big")
        if raw[7] in (1, 2, 3, 4):
            raw[8] = (len(raw) - 9) & 0xFF
    return bytes(raw)
