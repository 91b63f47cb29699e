"""The one door: what every market mechanism offers to the closed loop."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Literal, Protocol

from controller.case import Case
from controller.errors import ControllerError
from controller.plan import Budget, Plan, Stage

GROUP = "vpptwin.mechanisms"

SettleRule = Literal["price_taker"]
"""`price_taker`: a party pays buy_per_kwh for net energy taken in a slot and gets sell_per_kwh for net energy given,
each against the operator; the operator settles the grid meter at the tariff."""


class Mechanism(Protocol):
    """A market mechanism. Pure: no I/O, no clock, no threads; the same case and budget give the same plan."""

    name: str
    settle_rule: SettleRule

    def plan(self, case: Case, stage: Stage, budget: Budget, warm: Plan | None = None) -> Plan:
        """Plan the case's horizon. `warm` is the previous plan of this stage, used as a start, never trusted.

        Raises ControllerError naming what conflicts when no plan exists.
        """
        ...


def names() -> list[str]:
    """Names of all installed mechanisms, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load(name: str) -> Mechanism:
    """The installed mechanism of that name. Raises ControllerError listing those there are."""
    for point in entry_points(group=GROUP):
        if point.name == name:
            mechanism: Mechanism = point.load()()
            return mechanism
    raise ControllerError(
        f"no mechanism {name!r}", where="mechanism.name", mend=f"installed: {', '.join(names()) or 'none'}"
    )
