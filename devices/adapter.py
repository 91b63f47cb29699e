"""Meters that speak JSON of their own over MQTT: declarative adapters (devices/adapters/*.yaml, or a path).

An adapter keeps the last known status of its meter: some topics bring all of a component, others only what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from devices.description import DeviceSpec
from devices.errors import DeviceError
from devices.message import decoded
from devices.points import CATALOGUE, GRID_TWINS, quantised

_DEEPEST = 8
_MESSAGE = msgspec.json.Decoder(dict[str, Any])
_SHIPPED = Path(__file__).with_name("adapters")


class AdapterError(DeviceError):
    """An adapter that cannot be read, or a message that is not what its topic promises."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """One topic. `from`: where in the message the values are; `into`: where in the status they go."""

    topic: str
    when: dict[str, str] = {}
    """Fields that a message must have to be meant."""
    from_: str = ""
    into: str = ""
    delta: bool = False
    """True: only what changed, merged over the status; False: it replaces what was there."""
    emits: bool = True
    """Whether a reading follows from it."""
    time: str = ""
    """Where the meter's unix time is, in seconds; empty: the receive time counts."""


class Online(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The topic that says whether the meter is there."""

    topic: str
    says: str


class AdapterPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a catalogue point is in the status; a list's entry by its number, a lone number counting as entry 0."""

    path: str
    scale: float = 1.0
    sign: Literal[1, -1] = 1


class AdapterMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One adapter file."""

    schema: Literal[1]
    adapter: str
    sources: tuple[Source, ...]
    points: dict[str, AdapterPoint]
    online: Online | None = None


def shipped_adapters() -> tuple[str, ...]:
    """Names of the adapters that come with the package."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.yaml")))


def load_adapter(name: str) -> AdapterMap:
    """A shipped adapter by name, or one by its path. Raises AdapterError."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else _SHIPPED / f"{name}.yaml"
    try:
        found = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), AdapterMap)
    except OSError as error:
        mend = f"shipped: {', '.join(shipped_adapters())}"
        raise AdapterError(f"no adapter {name!r}", where="adapter", mend=mend) from error
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise AdapterError(
            str(error), where=path.name, mend="see docs/connect-your-hardware.md, and devices/adapters for examples"
        ) from error
    unknown = sorted(set(found.points) - set(CATALOGUE))
    if unknown:
        raise AdapterError(
            f"no points {unknown} in the catalogue", where=path.name, mend=f"there are {list(CATALOGUE)}"
        )
    return found


def status_of(device: DeviceSpec) -> Status:
    """Of a device with an adapter; its topic is its id where the site says nothing. Raises AdapterError."""
    return Status(load_adapter(device.adapter or ""), device.topic or device.id, is_grid=device.is_grid)


class Status:
    """The last known status of one meter, and the readings that come of it."""

    def __init__(self, adapter: AdapterMap, topic: str, *, is_grid: bool = False) -> None:
        self._map, self._grid = adapter, is_grid
        self._known: dict[str, Any] = {}
        self.sources = {source.topic.replace("{topic}", topic): source for source in adapter.sources}
        self.online = None if adapter.online is None else adapter.online.topic.replace("{topic}", topic)

    @property
    def topics(self) -> tuple[str, ...]:
        """What to subscribe."""
        return (*self.sources, *([self.online] if self.online else []))

    def is_online(self, payload: bytes) -> bool:
        """What a message of the topic `online` says."""
        return self._map.online is not None and payload == self._map.online.says.encode()

    def take(self, topic: str, payload: bytes) -> tuple[float | None, dict[str, float | int]] | None:
        """(the meter's unix time or None, points) of a message; None if no reading follows. Raises AdapterError."""
        source = self.sources[topic]
        message = decoded(_MESSAGE, payload, AdapterError)
        if any(message.get(key) != value for key, value in source.when.items()):
            return None
        found = _at(message, source.from_)
        if not isinstance(found, dict):
            return None
        time_s = _at(found, source.time) if source.time else None
        for key in reversed(source.into.split("/") if source.into else []):
            found = {key: found}
        self._known = _merged(self._known, found, 0) if source.delta or source.into else found
        values = self._points()
        if not source.emits or "p_w" not in values:
            return None
        real = isinstance(time_s, (int, float)) and not isinstance(time_s, bool) and 0 <= time_s < 1e11
        return (time_s if real else None), values

    def _points(self) -> dict[str, float | int]:
        out: dict[str, float | int] = {}
        for name, point in self._map.points.items():
            value = _at(self._known, point.path)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                flip = -1 if self._grid and point.sign < 0 else 1
                whole = quantised(name, value * point.scale * point.sign * flip)
                if whole is not None:
                    out[self._named(name)] = whole
        return out

    def _named(self, name: str) -> str:
        return GRID_TWINS.get(name, name) if self._grid else name


def _at(value: Any, path: str) -> Any:
    for key in path.split("/") if path else []:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list):
            value = value[int(key)] if key.isdecimal() and int(key) < len(value) else None
        elif key != "0":
            return None
    return value


def _merged(known: Mapping[str, Any], change: Mapping[str, Any], depth: int) -> dict[str, Any]:
    out = dict(known)
    for key, value in change.items():
        old = out.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and depth < _DEEPEST:
            out[key] = _merged(old, value, depth + 1)
        else:
            out[key] = value
    return out
