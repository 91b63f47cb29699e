"""What a device's orders are made of: the controller's wish and the terms it is carried out under."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from devices.clock import Clock
from devices.description import Mode
from devices.gateway.headroom import Headroom
from devices.gateway.setpoints import Command
from devices.gateway.stats import Stats

Journal = Callable[[Command], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """The newest word of the controller."""

    value_w: float
    until_us: int
    slot_us: int
    reason: str
    plan: str


def _nothing_wrong() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the orders of a device, besides its limits."""

    clock: Clock
    lease_s: float
    mode: Mode
    journal: Journal | None
    stats: Stats
    lockstep: bool
    silence_s: float = math.inf
    """A controller that says nothing for so long is taken for dead."""
    headroom: Headroom = field(default_factory=lambda: Headroom(None, 0))
    unguarded: Callable[[], str] = _nothing_wrong
    """Why nobody would make the device safe if this process died; empty if somebody would."""
