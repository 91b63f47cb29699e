"""One sweep: what is asked for is checked, what is missing is computed and kept, what is there is summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from twin.data import DataSet
from twin.exits import UsageError
from twin.feed import Feed
from twin.site.schema import Site
from twin.span import instant_us, parse_start
from twin.sweep import policies, program
from twin.sweep.cells import Cell, Place, Store, inputs_of
from twin.sweep.choice import Choice, Span
from twin.sweep.ground import LOOP_S, check_span, grounds
from twin.sweep.policies import Policy
from twin.sweep.setting import Setting, make_settings
from twin.sweep.work import Executor, Failure, Task

Show = Callable[[int, int, str], None]
"""(cells done, cells in all, what was done last)."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A checked sweep."""

    choice: Choice
    site: Site
    dataset: DataSet
    settings: tuple[Setting, ...]
    policies: tuple[Policy, ...]
    inputs: dict[Place, str]
    """Every cell of the sweep with the hash of its inputs, in the order of work."""
    store: Store


@dataclass(frozen=True, slots=True)
class Finished:
    """The cells of a sweep."""

    cells: tuple[Cell, ...]
    failures: tuple[Failure, ...]
    computed: int
    """How many were computed now; the others were there."""


def prepare(choice: Choice, site: Site, out: Path) -> Sweep:
    """Check everything that can be wrong before the first cell. Raises UsageError and DataError."""
    if site.data is None:
        raise UsageError("a sweep needs measured days", where=site.path.name, mend="give the site data, or --data")
    chosen = tuple(policies.find(name) for name in choice.policies)
    if len({policy.name for policy in chosen}) < len(chosen):
        raise UsageError("two policies have one name", where="--policies", mend="name them apart: NAME=module:Class")
    dataset = DataSet.open(site.data)
    feed = Feed(site, dataset, 0)
    for span in choice.spans:
        check_span(site, feed, span)
    first_us = min(instant_us(parse_start(span.start), site.zone) for span in choice.spans)
    settings = make_settings(choice, site, feed, first_us)
    inputs = dict(_inputs(choice, feed, settings, chosen))
    return Sweep(choice, site, dataset, settings, chosen, inputs, Store(out / "cells"))


def run(sweep: Sweep, executor: Executor, show: Show) -> Finished:
    """Compute the cells that are missing; each is kept as soon as it is done."""
    known = {place: sweep.store.find(place, inputs) for place, inputs in sweep.inputs.items()}
    cells = {place: cell for place, cell in known.items() if cell is not None}
    missing = [place for place in sweep.inputs if place not in cells]
    failures, there = list[Failure](), len(cells)
    show(there, len(sweep.inputs), "")
    for outcome in executor.results(_tasks(sweep, missing)):
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            sweep.store.keep(outcome)
            cells[outcome.place] = outcome
        place = outcome.place
        what = f"{place.policy}, {place.setting}, {place.span.start}, seed {place.seed}"
        show(len(cells) + len(failures), len(sweep.inputs), what)
    ordered = tuple(cells[place] for place in sweep.inputs if place in cells)
    return Finished(ordered, tuple(failures), len(cells) - there)


def _inputs(
    choice: Choice, feed: Feed, settings: tuple[Setting, ...], chosen: tuple[Policy, ...]
) -> Iterator[tuple[Place, str]]:
    facts: dict[str, Any] = {
        "files": dict(feed.inputs),
        "program": program.common(),
        "loop_s": LOOP_S,
        "forecast": feed.site.forecast.method,
        "budget": msgspec.to_builtins(choice.budget),
    }
    code = {policy.name: [policy.source, program.of_mechanism(policy.source)] for policy in chosen}
    for seed in choice.seeds:
        for span in choice.spans:
            for policy in sorted(chosen, key=_lightness):
                if seed not in choice.seeds_of(policy.name):
                    continue
                for setting in settings:
                    place = Place(span, seed, setting.name, policy.name)
                    yield place, inputs_of(place, {**facts, "setting": setting.facts, "code": code[policy.name]})


def _lightness(policy: Policy) -> int:
    """The heaviest first: what is handed out last should end soon."""
    if policy.kind == "mechanism":
        return 1 if policy.name in policies.known() else 0
    return 2


def _tasks(sweep: Sweep, missing: list[Place]) -> Iterator[Task]:
    """Tasks in the order of work; a span's days are made when the first of its cells is due."""
    policy_of = {policy.name: policy.source or policy.name for policy in sweep.policies}
    ready: tuple[Span, int] | None = None
    found: dict[str, Any] = {}
    for place in missing:
        if ready != (place.span, place.seed):
            ready = (place.span, place.seed)
            found = grounds(sweep.site, Feed(sweep.site, sweep.dataset, place.seed), place.span, sweep.settings)
        yield Task(
            place,
            policy_of[place.policy],
            sweep.inputs[place],
            found[place.setting],
            sweep.choice.budget,
            sweep.site.forecast.method,
        )
