"""What the store keeps beside readings: commands, plans, forecasts, events. Times are µs UTC."""

from __future__ import annotations

from typing import Literal

import msgspec

from controller.plan import Plan, Stage

Level = Literal["info", "warning", "error"]
MEAN = -1.0
"""The quantile under which a forecast's mean is kept."""
BASELINES = ("persistence", "same-weekday")
"""Sources stored beside a method's forecast to be compared with it; where it is silent, the first takes its place."""


class CommandRow(msgspec.Struct, frozen=True, gc=False):
    """One transition of one setpoint (queued, sent, acked, verified, ...)."""

    ts_us: int
    device: str
    control: str
    """Point that is commanded: p_set_w or p_max_w."""
    value: float | None
    """Commanded power, W; None for a release."""
    state: str
    reason: str = ""
    plan: str = ""
    """Id of the plan it comes from; empty for rules and releases."""
    readback: float | None = None
    """What the device reads back, W; None while not read."""


class PlanRow(msgspec.Struct, frozen=True):
    """A plan with the times that show it knew only the past."""

    plan: Plan
    issued_us: int
    newest_input_us: int
    """Receive time of the newest reading or datum the plan was made from; never after issued_us."""

    @property
    def stage(self) -> Stage:
        """Stage of the plan."""
        return self.plan.stage


class ForecastRows(msgspec.Struct, frozen=True):
    """One forecast of one series as issued at one moment."""

    series: str
    issued_us: int
    newest_input_us: int
    """Receive time of the newest datum it was made from; never after issued_us."""
    start_us: int
    slot_s: int
    quantiles: dict[float, tuple[float, ...]]
    """Quantile in (0, 1) -> a value per slot; the mean is stored as quantile -1."""
    source: str
    """Which forecaster: `persistence`, `similar-days`, ..."""


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """A fault, a gap, a recovery, a decision worth keeping."""

    ts_us: int
    level: Level
    what: str
    where: str = ""
