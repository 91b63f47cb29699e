"""Fixtures of the service's tests: the measured homes, images of their devices, cases and plans made from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from controller.case import Case
from controller.mechanism import load
from controller.plan import Budget, Plan
from devices.readings import ProcessImage, Quality, Reading
from twin.assets import TurbineRuns
from twin.cases import CaseBuilder
from twin.data import DataSet
from twin.feed import Feed
from twin.history import History
from twin.site import Site

HOMES = Path(__file__).parents[2] / "examples" / "data" / "homes"

Image = Callable[..., ProcessImage]


@pytest.fixture(scope="session")
def t0_us() -> int:
    """2016-09-05 15:00 local time of the homes: PV is high, the peak price begins an hour later."""
    return int(dt.datetime.fromisoformat("2016-09-05T15:00-07:00").timestamp()) * 1_000_000


@pytest.fixture(scope="session")
def homes_data() -> DataSet:
    """The measured homes."""
    return DataSet.open(HOMES)


@pytest.fixture(scope="session")
def feed(two_homes: Site, homes_data: DataSet) -> Feed:
    """Two measured homes with their prices."""
    return Feed(two_homes, homes_data, seed=0)


@pytest.fixture(scope="session")
def image() -> Image:
    """`image(t_us, {"meter-1": {"p_w": -500}}, age_s={"meter-1": 300}, quality={...})` is one tick's process image."""

    def build(
        t_us: int,
        values: Mapping[str, Mapping[str, float]],
        *,
        age_s: Mapping[str, float] | None = None,
        quality: Mapping[str, Quality] | None = None,
    ) -> ProcessImage:
        ages, qualities = age_s or {}, quality or {}
        found = {
            device: Reading(
                device, t_us - round(ages.get(device, 0) * 1e6), 1, qualities.get(device, Quality.GOOD), points
            )
            for device, points in values.items()
        }
        return ProcessImage(t_us, found)

    return build


@pytest.fixture(scope="session")
def build_cases(two_homes: Site, feed: Feed) -> Callable[..., CaseBuilder]:
    """Case builders of the two homes, as a run that starts at `start_us` has them."""

    def build(start_us: int, now: ProcessImage | None = None, days: int = 28) -> CaseBuilder:
        history = History(two_homes, feed, start_us, days)
        return CaseBuilder(
            two_homes, history, feed.tariff, lambda: now or ProcessImage(start_us), TurbineRuns(()), max_age_s=180
        )

    return build


@pytest.fixture(scope="session")
def case(build_cases: Callable[..., CaseBuilder], t0_us: int) -> Case:
    """The day-ahead case of the two homes from 15:00 to midnight."""
    return build_cases(t0_us).build(t0_us, "day_ahead", None)


@pytest.fixture(scope="session")
def plan(case: Case) -> Plan:
    """What the shipped mechanism makes of it."""
    return load("twostage").plan(case, "day_ahead", Budget(), None)
