"""What a sweep is asked for: spans of days, seeds, settings, policies; parsed from the command line's words."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from controller.plan import Budget
from twin.exits import UsageError

SettingName = Literal["fixed", "dynamic", "feeder"]
SETTINGS: tuple[SettingName, ...] = ("fixed", "dynamic", "feeder")
SPANS = "2016-09-20:11,2016-12-01:11,2017-02-20:11"
SEEDS = "1,2,3"
POLICIES = (
    *("no_control", "selfuse", "tou", "tou_night", "tou_night_site"),
    *("central", "central_home", "central_oracle", "twostage", "foresight"),
)
MOST_DAYS = 366


class Span(msgspec.Struct, frozen=True):
    """Whole local days, one after the other; batteries carry over from day to day within a span only."""

    start: str
    """First day, 2016-09-20."""
    days: int

    @property
    def dates(self) -> tuple[str, ...]:
        """Its days."""
        first = dt.date.fromisoformat(self.start)
        return tuple((first + dt.timedelta(days=k)).isoformat() for k in range(self.days))


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep. Checked by the functions below, before anything is computed."""

    spans: tuple[Span, ...]
    seeds: tuple[int, ...]
    settings: tuple[SettingName, ...]
    policies: tuple[str, ...]
    seeds_for: Mapping[str, int] = {}
    """Policy -> how many of the seeds it is computed for, the first ones; all where it is not named."""
    budget: Budget = Budget()
    feeder_w: float | None = None
    """Import limit of the setting `feeder`, W; None: from the days before the first span."""
    feeder_per_kwh: float = 1.0
    dynamic_prices: str | None = None
    """A data folder or table of prices for the setting `dynamic`; None: `../data/prices` beside the site's folder."""

    def seeds_of(self, policy: str) -> tuple[int, ...]:
        """The seeds a policy is computed for."""
        return self.seeds[: self.seeds_for.get(policy, len(self.seeds))]


def spans(text: str) -> tuple[Span, ...]:
    """`2016-09-20:11,2016-12-01:11` as spans. Raises UsageError naming the part that is wrong."""
    found = tuple(_span(part.strip()) for part in text.split(","))
    edges = sorted((dt.date.fromisoformat(s.start), s.days) for s in found)
    for (first, days), (after, _) in itertools.pairwise(edges):
        if first + dt.timedelta(days=days) > after:
            raise UsageError(
                f"the spans from {first} and from {after} overlap", where="--spans", mend="a day may stand in one only"
            )
    return found


def _span(part: str) -> Span:
    start, colon, days = part.partition(":")
    mend = "write FIRST-DAY:DAYS, such as 2016-09-20:11"
    try:
        first = dt.date.fromisoformat(start)
    except ValueError:
        raise UsageError(f"{start!r} is not a date", where="--spans", mend=mend) from None
    if not colon or not days.isdecimal() or not 1 <= int(days) <= MOST_DAYS:
        raise UsageError(f"{part!r} has no number of days from 1 to {MOST_DAYS}", where="--spans", mend=mend)
    return Span(first.isoformat(), int(days))


def seeds(text: str) -> tuple[int, ...]:
    """`1,2,3` as seeds. Raises UsageError."""
    parts = _distinct(text, "--seeds")
    for part in parts:
        if not part.isdecimal():
            raise UsageError(f"{part!r} is no seed", where="--seeds", mend="write whole numbers, such as 1,2,3")
    return tuple(int(part) for part in parts)


def settings(text: str) -> tuple[SettingName, ...]:
    """`fixed,dynamic` as names. Raises UsageError."""
    known: dict[str, SettingName] = {name: name for name in SETTINGS}
    parts = _distinct(text, "--settings")
    for part in parts:
        if part not in known:
            raise UsageError(f"no setting {part!r}", where="--settings", mend=f"there are: {', '.join(SETTINGS)}")
    return tuple(known[part] for part in parts)


def policies(text: str) -> tuple[str, ...]:
    """Names of policies as `twin.sweep.policies.find` reads them, not yet looked up. Raises UsageError."""
    return _distinct(text, "--policies")


def seeds_for(text: str | None, chosen: Sequence[str], count: int) -> dict[str, int]:
    """`twostage=1` as {policy: number of seeds}. Raises UsageError."""
    if text is None:
        return {}
    found = {}
    for part in _distinct(text, "--seeds-for"):
        name, equals, value = part.partition("=")
        if name not in chosen:
            raise UsageError(f"{name!r} is not swept", where="--seeds-for", mend=f"one of: {', '.join(chosen)}")
        if not equals or not value.isdecimal() or not 1 <= int(value) <= count:
            raise UsageError(
                f"{part!r}: not 1 to {count} seeds", where="--seeds-for", mend=f"write {name}=1; --seeds has {count}"
            )
        found[name] = int(value)
    return found


def _distinct(text: str, where: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    twice = sorted({part for part in parts if parts.count(part) > 1})
    if "" in parts or twice:
        what = f"{', '.join(twice)} is named twice" if twice else "a name is empty"
        raise UsageError(what, where=where, mend="separate different names by commas")
    return parts
