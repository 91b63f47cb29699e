"""Ways of operating the same days: none, rules, mechanisms, perfect foresight."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib import import_module
from math import inf
from typing import Literal

from controller import foresight
from controller.baseline import Netting, no_control, rule
from controller.central import Central, Settings
from controller.closed_loop import simulate_mechanism
from controller.costs import CostBreakdown
from controller.forecast import Forecaster
from controller.mechanism import Mechanism, load, names
from controller.plan import Budget
from controller.rules import RULES
from twin.exits import UsageError
from twin.sweep.daily import bound_by_day, by_day
from twin.sweep.ground import Ground
from twin.sweep.oracle import Oracle

Kind = Literal["none", "rule", "mechanism", "foresight"]


@dataclass(frozen=True, slots=True)
class Policy:
    """One way of operating."""

    name: str
    kind: Kind
    netting: Netting
    """Which net load its storages meet, of each home or of the site, unless its mechanism says so itself."""
    about: str
    source: str = ""
    """An installed mechanism's name or `module:Class`; empty for the sweep's own policies."""
    make: Callable[[], Mechanism] | None = None
    """Mechanisms only."""
    oracle: bool = False
    """Whether it is given the truth as its forecast."""


@dataclass(frozen=True, slots=True)
class Operated:
    """What a policy made of a span."""

    days: list[CostBreakdown]
    netting: Netting
    plans: int = 0
    max_gap: float | None = None
    notes: tuple[str, ...] = ()


def operate(policy: Policy, ground: Ground, forecaster: Forecaster, budget: Budget) -> Operated:
    """Run the policy over the ground with an ideal meter loop. Raises ControllerError where a plan cannot be made."""
    scene = ground.scene
    if policy.kind == "foresight":
        return _foresight(ground)
    if policy.make is not None:
        return _mechanism(policy, policy.make, ground, forecaster, budget)
    if policy.kind == "none":
        operation = no_control(scene.series, scene.storages)
    else:
        law = next(law for law in RULES if policy.name in (law, f"{law}_site"))
        prices = ground.rule_prices
        operation = rule(law, scene.series, scene.storages, prices, ground.first_slot, policy.netting)
    return Operated(by_day(operation, scene.run_tariff, ground.edges, (), scene.feeder), policy.netting)


def find(text: str) -> Policy:
    """The policy of a name: one of `known()`, an installed mechanism, or `module:Class`; `NAME=` before it renames it.

    Raises UsageError.
    """
    alias, equals, name = text.rpartition("=")
    found = _find(name)
    return replace(found, name=alias) if equals else found


def _find(name: str) -> Policy:
    own = known()
    if name in own:
        return own[name]
    if ":" in name:
        return Policy(name, "mechanism", "home", "mechanism from a module", name, lambda: _imported(name))
    if name in names():
        return Policy(name, "mechanism", "home", "installed mechanism, its intraday windows", name, lambda: load(name))
    mend = f"there are: {', '.join([*own, *(n for n in names() if n not in own)])}, or module:Class"
    raise UsageError(f"no policy {name!r}", where="--policies", mend=mend)


def known() -> dict[str, Policy]:
    """Policies of the sweep's own, by name."""
    site, home = "net load of the site", "net load of each home"
    rules = [Policy(law, "rule", "home", f"rule, {home}") for law in RULES]
    rules += [Policy(f"{law}_site", "rule", "site", f"rule, {site}") for law in RULES]
    found = [
        Policy("no_control", "none", "site", "storage idle, turbine off"),
        *rules,
        Policy("central", "mechanism", "site", f"central control, our forecasts, {site}", make=Central),
        Policy("central_home", "mechanism", "home", f"the same for each home alone, {home}", make=_each_home),
        Policy(
            "central_oracle", "mechanism", "site", f"central control, true future, {site}", make=_certain, oracle=True
        ),
        Policy("foresight", "foresight", "site", "bound: cheapest operation, everything known"),
    ]
    return {policy.name: policy for policy in found}


def _each_home() -> Central:
    return Central(Settings(netting="home"))


def _certain() -> Central:
    """With a forecast that is never wrong there are no past errors to plan for."""
    return Central(Settings(scenarios=0))


def _imported(name: str) -> Mechanism:
    """The mechanism of `module:Class`, made without arguments. Raises UsageError."""
    module, _, kind = name.partition(":")
    try:
        made: Mechanism = getattr(import_module(module), kind)()
    except (ImportError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{name!r} cannot be made: {error}", where="--policies", mend="name an importable module and its class"
        ) from error
    return made


def _mechanism(
    policy: Policy, make: Callable[[], Mechanism], ground: Ground, forecaster: Forecaster, budget: Budget
) -> Operated:
    scene = ground.scene
    seen = Oracle(scene.start_us, ground.truth) if policy.oracle else forecaster
    with ExitStack() as stack:
        mechanism = make()
        close = getattr(mechanism, "close", None)
        if close is not None:  # one that keeps a process or a file open
            stack.callback(close)
        netting: Netting = getattr(mechanism, "netting", policy.netting)
        outcome = simulate_mechanism(scene, mechanism, seen, budget, netting)
    days = by_day(outcome.operation, scene.run_tariff, ground.edges, scene.turbines, scene.feeder)
    return Operated(days, netting, len(outcome.day_ahead) + len(outcome.intraday), outcome.max_gap)


def _foresight(ground: Ground) -> Operated:
    scene, series, feeder = ground.scene, ground.scene.series, ground.scene.feeder
    best = foresight.perfect_foresight(
        foresight.Site(
            net_w=series.site_net_w,
            tariff=scene.run_tariff,
            slot_s=series.slot_s,
            storages=scene.storages,
            turbines=scene.turbines,
            flexible=scene.flexible,
            pv_w=series.site_pv_w,
            import_max_w=inf if feeder is None else feeder.import_max_w,
            import_excess_per_kwh=None if feeder is None else feeder.excess_per_kwh,
        )
    )
    days = bound_by_day(best, scene.run_tariff, series.slot_s, scene.storages, ground.edges, feeder)
    return Operated(days, "site")
