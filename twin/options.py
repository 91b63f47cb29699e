"""What `vpptwin run` was asked for, as one value that a manifest can hold and `rerun` can repeat."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from twin.clock import AnyClock, LockstepClock, ScaledClock, WallClock
from twin.errors import TwinError
from twin.exits import UsageError

MOST_HOURS = 1e6
"""A century; also keeps out infinity."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Paths are kept as strings so that the manifest stays plain JSON."""

    site: str
    clock: str = "lockstep"
    hours: float = 24.0
    start: str | None = None
    seed: int = 0
    data: str | None = None
    mechanism: str | None = None
    ports: Literal["auto", "fixed"] = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.hours < MOST_HOURS:
            mend = f"ask for more than none and less than {MOST_HOURS:.0f}"
            raise UsageError(f"{self.hours:g} hours", where="--hours", mend=mend)
        scaled = re.fullmatch(r"x([0-9]+(\.[0-9]+)?)", self.clock)
        if self.clock not in ("lockstep", "wall") and not (scaled and float(scaled[1]) > 0):
            raise UsageError(f"clock {self.clock!r}", where="--clock", mend="choose lockstep, wall, or xN such as x60")

    @property
    def lockstep(self) -> bool:
        """Whether time stands still until everything of a tick is done."""
        return self.clock == "lockstep"

    def make_clock(self, start_us: int) -> AnyClock:
        """The clock that was asked for; xN waits for `begin`. On the wall, time is now, whatever the data's dates."""
        if self.lockstep:
            return LockstepClock(start_us)
        if self.clock == "wall":
            return WallClock()
        return ScaledClock(start_us, float(self.clock[1:]), waiting=True)

    def plain(self) -> dict[str, Any]:
        """As JSON types, paths absolute."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        found["site"] = str(Path(self.site).resolve())
        found["data"] = None if self.data is None else str(Path(self.data).resolve())
        return found


def again(plain: dict[str, Any]) -> RunOptions:
    """The options that a manifest holds. Raises TwinError when they are damaged, UsageError when out of range."""
    try:
        return msgspec.convert(plain, RunOptions)
    except msgspec.ValidationError as error:
        raise TwinError(f"damaged options: {error}", where="manifest.json", mend="run it anew") from error
