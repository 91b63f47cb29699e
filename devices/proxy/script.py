"""What the proxy does when: a list of faults, each from one second to another after the proxy's start.

schema: 1
listen: 127.0.0.1:1502
to: 192.168.0.20:502
protocol: modbus            # modbus | mqtt | raw: where a message begins and ends
faults:
  - {kind: delay, from_s: 10, until_s: 20, seconds: 0.5}
  - {kind: wrong_unit, every: 3}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import yaml

from devices.errors import DeviceError

Kind = Literal[
    "delay",
    "drop",
    "truncate",
    "split",
    "merge",
    "wrong_transaction",
    "wrong_unit",
    "wrong_function",
    "wrong_protocol",
    "exception",
    "short",
    "long",
    "half_open",
    "reset",
    "black_hole",
    "refuse",
]
Protocol = Literal["modbus", "mqtt", "raw"]
Way = Literal["reply", "request", "both"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]

MODBUS_ONLY = frozenset({"wrong_transaction", "wrong_unit", "wrong_function", "wrong_protocol", "exception"})
CONNECTION = frozenset({"half_open", "black_hole", "refuse"})
"""Faults of a connection, not of a message."""


class ScriptError(DeviceError):
    """A script that cannot be followed."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault, in force in [from_s, until_s) after the proxy's start.

    delay: a message comes `seconds` late. drop: it does not come. truncate: only its first `size` bytes come, then the
    connection ends. split: in pieces of `size` bytes. merge: it waits until `size` messages are there, at most
    `seconds`. wrong_transaction, wrong_unit, wrong_function, wrong_protocol: that field is one too high. exception:
    a reply becomes exception `code`. short, long: `size` bytes less or more, lengths in the header agreeing. reset:
    the connection is reset instead. half_open: connections stay open, nothing passes either way. black_hole: requests
    are swallowed, replies pass. refuse: new connections are reset, open ones too.
    """

    kind: Kind
    from_s: Seconds = 0.0
    until_s: Seconds = 1e9
    way: Way = "reply"
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Only each n-th message of a connection."""
    seconds: Seconds = 1.0
    size: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 2
    code: Annotated[int, msgspec.Meta(ge=1, le=255)] = 4

    def on(self, t_s: float) -> bool:
        """Whether it is in force at t_s."""
        return self.from_s <= t_s < self.until_s


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    listen: str
    to: str
    protocol: Protocol = "modbus"
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """Where the proxy listens, what stands behind it, and what goes wrong."""

    listen: tuple[str, int]
    to: tuple[str, int]
    protocol: Protocol = "modbus"
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        for number, fault in enumerate(self.faults):
            where = f"faults[{number}]"
            if fault.until_s <= fault.from_s:
                raise ScriptError(
                    f"ends at {fault.until_s:g} s, before it begins", where=where, mend="until_s > from_s"
                )
            if fault.kind in MODBUS_ONLY and self.protocol != "modbus":
                raise ScriptError(f"{fault.kind} is a fault of Modbus", where=where, mend="protocol: modbus")


def load_script(path: Path) -> Script:
    """Read a script. Raises ScriptError naming file and field."""
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = msgspec.convert(raw, _File)
    except OSError as error:
        raise ScriptError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except yaml.YAMLError as error:
        raise ScriptError(f"is no YAML: {error}", where=path.name) from error
    except msgspec.ValidationError as error:
        kinds = ", ".join(get_args(Kind))
        raise ScriptError(str(error), where=path.name, mend=f"kinds of faults: {kinds}") from error
    return Script(address(found.listen), address(found.to), found.protocol, found.faults)


def address(text: str) -> tuple[str, int]:
    """`host:port`. Raises ScriptError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ScriptError(f"{text!r} is no address", mend="host:port, such as 127.0.0.1:1502")
    return host.strip("[]"), int(port)
