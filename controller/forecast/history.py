"""What a forecaster is given and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from controller.case import FloatArray
from controller.errors import ControllerError

Kind = Literal["load", "pv"]
Method = Literal["similar_days", "week_mean", "boosting", "persistence", "flat"]


@dataclass(frozen=True, slots=True)
class History:
    """Measured slot means up to `end_us`, the only past that a forecast may use."""

    start_us: int
    slot_s: int
    series: Mapping[str, FloatArray]
    """Name -> mean power per slot, W, >= 0; NaN in a gap. All of one length."""
    kinds: Mapping[str, Kind]
    """Name -> what it is: people's demand follows the local clock, PV the sun."""
    zone: str = "UTC"
    """IANA name of the time zone people live by."""

    def __post_init__(self) -> None:
        lengths = {len(row) for row in self.series.values()}
        if len(lengths) > 1:
            raise ControllerError(f"series of different lengths {sorted(lengths)}", where="History")
        missing = sorted(set(self.series) - set(self.kinds))
        if missing:
            raise ControllerError(f"kind unknown of {', '.join(missing)}", where="History", mend="say load or pv")

    @property
    def slots(self) -> int:
        """Number of slots."""
        return max((len(row) for row in self.series.values()), default=0)

    @property
    def end_us(self) -> int:
        """End of the last slot."""
        return self.start_us + self.slots * self.slot_s * 1_000_000

    def until(self, issue_us: int) -> History:
        """What of it was known at issue_us: slots that had ended by then, NaN from history's end to the issue."""
        known = max(0, (issue_us - self.start_us) // (self.slot_s * 1_000_000))
        gap = np.full(max(0, known - self.slots), np.nan)
        rows = {name: np.append(np.asarray(row[:known], dtype=np.float64), gap) for name, row in self.series.items()}
        return History(self.start_us, self.slot_s, rows, self.kinds, self.zone)

    def newest(self, slots: int) -> History:
        """Only its newest `slots` slots."""
        cut = max(0, self.slots - slots)
        rows = {name: row[cut:] for name, row in self.series.items()}
        return History(self.start_us + cut * self.slot_s * 1_000_000, self.slot_s, rows, self.kinds, self.zone)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected mean powers of the coming slots, W, with the baselines beside."""

    start_us: int
    slot_s: int
    mean: Mapping[str, FloatArray]
    persistence: Mapping[str, FloatArray]
    """Each slot as the newest known one of the same time of day."""
    methods: Mapping[str, Method]
    """How each mean was made."""
    newest_input_us: int
    """End of the newest slot that was used: never after the issue."""
    notes: tuple[str, ...] = ()
    """What a reader must know, e.g. that history was too short."""
    same_weekday: Mapping[str, FloatArray] = field(default_factory=dict)
    """Each slot as the newest known one of the same weekday and time of day: the second baseline."""
    quantiles: Mapping[str, Mapping[float, FloatArray]] = field(default_factory=dict)
    """Quantile in (0, 1) -> values >= 0 that rise with it; empty where no interval is known."""


class Forecaster(Protocol):
    """Anything that forecasts from the past alone."""

    def forecast(self, history: History, issue_us: int, slots: int, slot_s: int) -> Forecast:
        """Forecast `slots` slots from issue_us on.

        Slots of history that end after issue_us are never looked at. Raises ControllerError where a series has no
        known value, or slot_s is not history's.
        """
        ...
