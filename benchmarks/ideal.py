"""A finished run's own plans, followed by an ideal loop: what lag, dead band, quanta and verified writes cost."""

from __future__ import annotations

from pathlib import Path

from controller.case import Case
from controller.closed_loop import simulate_mechanism
from controller.forecast import forecaster
from controller.mechanism import SettleRule
from controller.plan import Budget, Plan, Stage
from twin.data import DataSet
from twin.feed import Feed
from twin.site import load_site
from twin.store.reader import StoreReader
from twin.sweep.choice import Span
from twin.sweep.ground import Ground, grounds
from twin.sweep.setting import Setting


class Recorded:
    """Mechanism: the plans that a run made, each at its time; where one was not made, the one before it."""

    name = "recorded"
    settle_rule: SettleRule = "price_taker"

    def __init__(self, folder: Path) -> None:
        """Raises the store's own errors where the folder has no telemetry.db."""
        with StoreReader(folder / "telemetry.db") as store:
            self._plans = {(row.stage, row.plan.start_us): row.plan for row in store.each_plan()}

    def plan(self, case: Case, stage: Stage, budget: Budget, warm: Plan | None = None) -> Plan:
        """The plan of the case's start. Raises KeyError where there is none and none before it."""
        found = self._plans.get((stage, case.start_us), warm)
        if found is None:
            raise KeyError((stage, case.start_us))
        return found


def ideal_cost(path: Path, day: str, folder: Path) -> float:
    """What the day of the run in `folder` would have cost had its orders been followed at once and exactly; currency.

    The run began at the day's local midnight with seed 0. Steps are the site's ticks.
    """
    site = load_site(path)
    scene = measured(path, Span(day, 1), site.time.tick_s).scene
    netting = "site" if site.control.netting == "site" else "home"
    outcome = simulate_mechanism(scene, Recorded(folder), forecaster(site.forecast.method), netting=netting)
    return scene.cost(outcome.operation).total


def measured(path: Path, span: Span, step_s: int) -> Ground:
    """The span's days under the site's own tariff. Raises the site's and the data's errors where there are none."""
    site = load_site(path)
    feed = Feed(site, None if site.data is None else DataSet.open(site.data), seed=0)
    return grounds(site, feed, span, (Setting("fixed"),), step_s)["fixed"]
