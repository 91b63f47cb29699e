"""The life of an order, as a table: queued -> sent -> acked -> verified, or rejected, expired, diverged, superseded.

An order is distinct by (device, control, value, slot). It counts as sent once it reached the wire, and then ends as
exactly one of the five; refreshes, releases and repeats that were not written are not orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from devices.errors import DeviceError


class State(Enum):
    """Where an order stands."""

    QUEUED = "queued"
    WITHHELD = "withheld"
    """Mode shadow: computed and journaled, not written."""
    SENT = "sent"
    RETRY = "retry"
    """Written at least in part, but the link failed; tried again until it expires."""
    ACKED = "acked"
    DOUBTFUL = "doubtful"
    """Read back as something else once."""
    VERIFIED = "verified"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DIVERGED = "diverged"
    SUPERSEDED = "superseded"


class Event(Enum):
    """What happens to an order."""

    WITHHOLD = "withhold"
    HELD = "held"
    """The device already holds this value: nothing is written."""
    WRITE = "write"
    ACK = "ack"
    REFUSE = "refuse"
    LOSE = "lose"
    """Time-out, disconnection, busy."""
    MATCH = "match"
    MISMATCH = "mismatch"
    REPLACE = "replace"
    EXPIRE = "expire"


class Action(Enum):
    """What the gateway does with a transition, besides journaling it."""

    NONE = "none"
    SEND = "send"
    """Count the order as sent, the first time."""
    END = "end"
    """Count how it ended, if it was sent."""


FINAL = frozenset({State.WITHHELD, State.VERIFIED, State.REJECTED, State.EXPIRED, State.DIVERGED, State.SUPERSEDED})

_S, _E, _A = State, Event, Action
_UNDER_WAY = (_S.QUEUED, _S.SENT, _S.RETRY, _S.ACKED, _S.DOUBTFUL)
TRANSITIONS: Mapping[tuple[State, Event], tuple[State, Action]] = MappingProxyType(
    {
        **{(state, _E.REPLACE): (_S.SUPERSEDED, _A.END) for state in _UNDER_WAY},
        **{(state, _E.EXPIRE): (_S.EXPIRED, _A.END) for state in _UNDER_WAY},
        (_S.QUEUED, _E.WITHHOLD): (_S.WITHHELD, _A.END),
        (_S.QUEUED, _E.REFUSE): (_S.REJECTED, _A.END),
        (_S.QUEUED, _E.HELD): (_S.VERIFIED, _A.END),
        (_S.QUEUED, _E.WRITE): (_S.SENT, _A.SEND),
        (_S.SENT, _E.ACK): (_S.ACKED, _A.NONE),
        (_S.SENT, _E.REFUSE): (_S.REJECTED, _A.END),
        (_S.SENT, _E.LOSE): (_S.RETRY, _A.NONE),
        (_S.RETRY, _E.WRITE): (_S.SENT, _A.SEND),
        (_S.RETRY, _E.REFUSE): (_S.REJECTED, _A.END),
        (_S.ACKED, _E.MATCH): (_S.VERIFIED, _A.END),
        (_S.ACKED, _E.MISMATCH): (_S.DOUBTFUL, _A.NONE),
        (_S.ACKED, _E.REFUSE): (_S.REJECTED, _A.END),
        (_S.ACKED, _E.LOSE): (_S.RETRY, _A.NONE),
        (_S.DOUBTFUL, _E.MATCH): (_S.VERIFIED, _A.END),
        (_S.DOUBTFUL, _E.MISMATCH): (_S.DIVERGED, _A.END),
        (_S.DOUBTFUL, _E.REFUSE): (_S.REJECTED, _A.END),
        (_S.DOUBTFUL, _E.LOSE): (_S.RETRY, _A.NONE),
    }
)


class SetpointError(DeviceError):
    """An event that cannot happen in this state: a fault of the program, not of a device."""


def step(state: State, event: Event) -> tuple[State, Action]:
    """The transition. Raises SetpointError when the table has none."""
    found = TRANSITIONS.get((state, event))
    if found is None:
        raise SetpointError(f"{event.value} of an order that is {state.value}")
    return found


@dataclass(frozen=True, slots=True)
class Command:
    """One line of the journal: a transition of an order, a refresh, an adoption, a release, an alarm or its end."""

    ts_us: int
    device: str
    control: str
    value: int | None
    """W, bus sign; None for a release."""
    state: str
    reason: str
    plan: str
    readback: float | None = None


@dataclass(slots=True)
class Order:
    """One value for one control in one slot."""

    value: int
    slot_us: int
    born_us: int
    reason: str
    plan: str
    counts: bool = True
    """False for an order that ended in this slot already and is asked for again: it is distinct only once."""
    state: State = State.QUEUED
    sent: bool = False
    readback: float | None = None

    @property
    def key(self) -> tuple[int, int]:
        return self.value, self.slot_us

    @property
    def open(self) -> bool:
        return self.state not in FINAL
