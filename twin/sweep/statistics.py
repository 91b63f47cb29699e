"""What the cells say: captured saving, paired daily differences with intervals, regret in parts. Pure.

A measured day is one day of data, whatever the seeds: seeds shape minutes inside measured hours, so their costs of a
day are averaged before anything is drawn. Two policies are compared on the seeds that both were computed for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from controller.case import FloatArray

BLOCK_DAYS = 3
LEAST_DAYS = 10
"""With fewer days nothing is called better: an interval of a handful of days is no evidence."""
DRAWS = 10_000
SEED = 20_260_000
LEVEL = 0.95
PARTS = ("central", "central_oracle", "twostage", "foresight")
"""The policies that regret is split between."""


class Interval(msgspec.Struct, frozen=True):
    """A mean and the interval that holds it with probability LEVEL."""

    mean: float
    low: float
    high: float


class Captured(msgspec.Struct, frozen=True):
    """Share of the achievable saving: 1 is perfect foresight, 0 no control."""

    overall: float | None
    """Over all days together; None where nothing could be saved."""
    median: float | None
    """Of single days, those on which something could be saved."""
    p10: float | None
    days: int
    days_left_out: int
    """Days on which foresight saves nothing: a share of nothing says nothing."""


class Difference(msgspec.Struct, frozen=True):
    """Cost of one policy less that of another on the same days, currency per day."""

    policy: str
    other: str
    per_day: Interval
    days: int
    seeds: int

    @property
    def better(self) -> bool:
        """Whether the policy may be called cheaper: enough days, and the whole interval below zero."""
        return self.days >= LEAST_DAYS and self.per_day.high < 0


class Regret(msgspec.Struct, frozen=True):
    """Currency per day above perfect foresight, in parts that add up to the whole."""

    tracking: float
    """Central control that knows the future, less foresight: plan against the minute, commitment, curtailment."""
    forecast: float
    """Central control with our forecasts, less the same with the true future."""
    game: float
    """Twostage, less central control with the same forecasts."""
    whole: float
    """Twostage less foresight."""
    days: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Panel:
    """Daily costs of one setting: policy -> seed -> one array a span, (days,)."""

    costs: Mapping[str, Mapping[int, Sequence[FloatArray]]]

    def seeds(self, *policies: str) -> list[int]:
        """Seeds that all of these were computed for, sorted; empty where one is missing."""
        sets = [set(self.costs.get(policy, {})) for policy in policies]
        return sorted(set.intersection(*sets)) if sets else []

    def days(self, policy: str, seeds: Sequence[int]) -> list[FloatArray]:
        """Daily costs averaged over the seeds, one array a span."""
        rows = [self.costs[policy][seed] for seed in seeds]
        return [np.mean(spans, axis=0) for spans in zip(*rows, strict=True)]


def captured(panel: Panel, policy: str) -> Captured | None:
    """Captured saving of a policy; None where no_control or foresight is missing."""
    seeds = panel.seeds(policy, "no_control", "foresight")
    if not seeds:
        return None
    none, cost, best = (np.concatenate(panel.days(p, seeds)) for p in ("no_control", policy, "foresight"))
    saved, possible = none - cost, none - best
    some = possible > 1e-6
    shares = saved[some] / possible[some]
    whole = float(possible.sum())
    return Captured(
        overall=float(saved.sum()) / whole if whole > 1e-6 else None,
        median=float(np.median(shares)) if some.any() else None,
        p10=float(np.percentile(shares, 10)) if some.any() else None,
        days=int(some.sum()),
        days_left_out=int((~some).sum()),
    )


def difference(panel: Panel, policy: str, other: str) -> Difference | None:
    """Paired daily difference; None where they have no seed in common."""
    seeds = panel.seeds(policy, other)
    if not seeds or policy == other:
        return None
    pairs = zip(panel.days(policy, seeds), panel.days(other, seeds), strict=True)
    spans = [mine - theirs for mine, theirs in pairs]
    return Difference(policy, other, block_interval(spans), sum(map(len, spans)), len(seeds))


def regret(panel: Panel) -> Regret | None:
    """The split, on the seeds that all four policies have; None where one is missing."""
    seeds = panel.seeds(*PARTS)
    if not seeds:
        return None
    central, oracle, twostage, foresight = (np.concatenate(panel.days(policy, seeds)) for policy in PARTS)
    mean = {"tracking": oracle - foresight, "forecast": central - oracle, "game": twostage - central}
    parts = {name: float(np.mean(days)) for name, days in mean.items()}
    return Regret(**parts, whole=float(np.mean(twostage - foresight)), days=len(central), seeds=len(seeds))


def block_interval(
    spans: Sequence[FloatArray], draws: int = DRAWS, seed: int = SEED, block: int = BLOCK_DAYS
) -> Interval:
    """Mean over all days of the spans with its percentile interval by block bootstrap.

    Each span is drawn anew from its own blocks of consecutive days, circular so that every day is as likely
    (Politis and Romano 1992): no block crosses a span's border, and the number of its days stays. Blocks are at most
    half a span.
    """
    generator = np.random.default_rng(seed)
    totals, count = np.zeros(draws), 0
    for days in spans:
        index = _blocks(generator, len(days), min(block, max(1, len(days) // 2)), draws)
        totals += np.asarray(days)[index].sum(axis=1)
        count += len(days)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(totals / count, (tail, 1 - tail))
    return Interval(float(np.concatenate(list(spans)).mean()), float(low), float(high))


def _blocks(generator: np.random.Generator, days: int, block: int, draws: int) -> npt.NDArray[np.int64]:
    """(draws, days): indices of circular blocks set one after the other, the last one cut."""
    count = -(-days // block)
    starts = generator.integers(0, days, size=(draws, count, 1))
    return np.asarray(((starts + np.arange(block)) % days).reshape(draws, -1)[:, :days])
