"""The case a mechanism plans from: the measured state, prices, and forecasts that never saw the future."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from controller.case import Case, FlexibleLoad, Pv, Storage, Turbine
from controller.errors import ControllerError
from controller.forecast import Forecast
from controller.plan import Plan
from devices.readings import ProcessImage
from twin.assets import TurbineRuns
from twin.cases import WINDOW_SLOTS, CaseBuilder
from twin.data import DataSet
from twin.feed import Feed
from twin.history import History
from twin.site import Site

SLOT_US = 900_000_000

Cases = Callable[..., CaseBuilder]
Image = Callable[..., ProcessImage]


def us(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000


class Altered(DataSet):
    """The measured homes with everything from one moment on replaced by nonsense."""

    @classmethod
    def after(cls, source: DataSet, t_us: int) -> Altered:
        made = cls(source.path, source.description)
        for id in source.ids:
            series = source.series(id)
            values = series.values.copy()
            if series.info.kind in ("load", "pv"):
                values[max(0, -(-(t_us - series.start_us) // (series.period_s * 1_000_000))) :] = 12_345.0
            made._series[id] = replace(series, values=values)
        return made


def same(one: Case, two: Case) -> bool:
    rows = [(one.load_w, two.load_w), (one.tail_net_w, two.tail_net_w)]
    equal = all(np.array_equal(first[name], second[name]) for first, second in rows for name in first)
    for left, right in zip(one.assets, two.assets, strict=True):
        if isinstance(left, Pv):
            assert isinstance(right, Pv)
            equal = equal and np.array_equal(left.available_w, right.available_w)
        else:
            equal = equal and left == right
    return equal


@pytest.mark.parametrize("stage", ["day_ahead", "intraday"])
def test_a_forecast_never_knows_the_future(two_homes: Site, homes_data: DataSet, t0_us: int, stage: str) -> None:
    cases = []
    for dataset in (homes_data, Altered.after(homes_data, t0_us), Altered.after(homes_data, t0_us - 3_600_000_000)):
        feed = Feed(two_homes, dataset, seed=0)
        history = History(two_homes, feed, t0_us, 28)
        builder = CaseBuilder(two_homes, history, feed.tariff, lambda: ProcessImage(0), TurbineRuns(()), max_age_s=180)
        cases.append(builder.build(t0_us, stage, None))  # type: ignore[arg-type]
    true, future_altered, past_altered = cases
    assert same(true, future_altered)
    assert not same(true, past_altered), "the check itself would notice"


def new_builder(site: Site, feed: Feed, t0_us: int, keep: Callable[[Forecast, int], None]) -> CaseBuilder:
    image = ProcessImage(t0_us)
    return CaseBuilder(
        site, History(site, feed, t0_us, 28), feed.tariff, lambda: image, TurbineRuns(()), max_age_s=180, keep=keep
    )


def test_each_forecast_is_kept_with_what_it_was_made_from(two_homes: Site, feed: Feed, t0_us: int) -> None:
    kept: list[tuple[Forecast, int]] = []
    builder = new_builder(two_homes, feed, t0_us, lambda forecast, issued_us: kept.append((forecast, issued_us)))
    builder.build(t0_us, "intraday", None)
    ((forecast, issued_us),) = kept
    assert forecast.newest_input_us <= issued_us == t0_us
    assert set(forecast.mean) == set(forecast.persistence) == {"load/home-1", "load/home-2", "pv/pv-1", "pv/pv-2"}


@pytest.mark.parametrize(
    ("midnight", "slots"),
    [("2016-09-06T00:00-07:00", 96), ("2016-11-06T00:00-07:00", 100), ("2017-03-12T00:00-08:00", 92)],
)
def test_a_day_ahead_reaches_to_the_next_gate_also_when_clocks_change(
    build_cases: Cases, feed: Feed, midnight: str, slots: int
) -> None:
    start_us = us(midnight)
    case = build_cases(start_us).build(start_us, "day_ahead", None)
    assert case.slots == slots
    assert {row.size for row in case.load_w.values()} == {slots}
    assert {asset.available_w.size for asset in case.assets if isinstance(asset, Pv)} == {slots}
    assert case.tail is not None
    assert case.tail.import_per_kwh.size == 96
    assert {row.size for row in case.tail_net_w.values()} == {96}
    expected = feed.tariff(start_us, slots + 96).import_per_kwh
    np.testing.assert_array_equal(np.concatenate([case.tariff.import_per_kwh, case.tail.import_per_kwh]), expected)
    assert np.isfinite(case.load_w["home-1"]).all()


def test_a_day_ahead_asked_for_in_the_afternoon_is_shorter(case: Case) -> None:
    assert case.slots == 36


def test_a_window_looks_four_hours_ahead_over_midnight_and_holds_the_day_ahead(
    build_cases: Cases, plan: Plan, t0_us: int
) -> None:
    late_us = t0_us + 34 * SLOT_US
    case = build_cases(late_us).build(late_us, "intraday", plan)
    assert case.slots == WINDOW_SLOTS
    assert case.day_ahead is plan
    assert build_cases(t0_us).build(t0_us, "day_ahead", plan).day_ahead is None


def test_the_state_is_the_measured_one_and_the_last_known_one_where_that_is_missing(
    two_homes: Site, feed: Feed, image: Image, t0_us: int
) -> None:
    now = [image(t0_us, {"bat-1": {"soc_pu": 0.3125}})]
    history = History(two_homes, feed, t0_us, 28)
    builder = CaseBuilder(two_homes, history, feed.tariff, lambda: now[0], TurbineRuns(()), max_age_s=180)

    def soc() -> dict[str, float]:
        built = builder.build(t0_us, "intraday", None)
        return {asset.id: asset.soc_pu for asset in built.assets if isinstance(asset, Storage)}

    assert soc() == {"bat-1": 0.3125, "bat-2": 0.5}
    now[0] = image(t0_us, {"bat-1": {"soc_pu": 0.9}}, age_s={"bat-1": 181})
    assert soc()["bat-1"] == 0.3125


def test_demand_and_pv_are_kept_apart_and_the_interruptible_part_is_an_asset(
    eight_homes: Site, homes_data: DataSet, image: Image, t0_us: int
) -> None:
    wide = Feed(eight_homes, homes_data, 0)
    history = History(eight_homes, wide, t0_us, 28)
    runs = TurbineRuns(("turbine",))
    runs.observe(image(t0_us - 600_000_000, {"turbine": {"p_w": 6000.0}}), 180)
    builder = CaseBuilder(eight_homes, history, wide.tariff, lambda: ProcessImage(t0_us), runs, max_age_s=180)
    case = builder.build(t0_us, "day_ahead", None)
    (flex,) = (asset for asset in case.assets if isinstance(asset, FlexibleLoad))
    np.testing.assert_allclose(flex.demand_w / (flex.demand_w + case.load_w["home-13"]), 0.3, atol=0.05)
    (turbine,) = (asset for asset in case.assets if isinstance(asset, Turbine))
    assert (turbine.on, turbine.p_w, turbine.held_s) == (True, 6000.0, 600.0)
    kinds = {Pv: 8, Storage: 8, Turbine: 1, FlexibleLoad: 1}
    assert {kind: sum(isinstance(asset, kind) for asset in case.assets) for kind in kinds} == kinds
    np.testing.assert_array_equal(case.load_w["vpp"], np.zeros(case.slots))
    assert "grid" not in case.load_w
    night = case.tail_net_w["home-13"][:8]
    assert (night > 0).all(), "after midnight the home needs its whole demand, the interruptible part included"


def test_looking_back_first_takes_the_time_and_changes_nothing(two_homes: Site, feed: Feed, t0_us: int) -> None:
    kept: list[Forecast] = []

    def builder() -> CaseBuilder:
        return new_builder(two_homes, feed, t0_us, lambda forecast, _: kept.append(forecast))

    prepared, spent_s = builder(), [time.process_time()]
    prepared.look_back()
    assert kept == [], "nothing was forecast for anybody yet"
    spent_s.append(time.process_time())
    case = prepared.build(t0_us, "day_ahead", None)
    spent_s.append(time.process_time())
    assert spent_s[2] - spent_s[1] < (spent_s[1] - spent_s[0]) / 3
    assert same(case, builder().build(t0_us, "day_ahead", None))
    for name, rows in kept[0].quantiles.items():
        for level, row in rows.items():
            np.testing.assert_array_equal(row, kept[1].quantiles[name][level])


def test_without_any_past_there_is_no_case(two_homes: Site, feed: Feed, t0_us: int) -> None:
    history = History(two_homes, None, t0_us, 28)
    builder = CaseBuilder(two_homes, history, feed.tariff, lambda: ProcessImage(0), TurbineRuns(()), max_age_s=180)
    builder.look_back()
    with pytest.raises(ControllerError, match=r"no known value before the issue: load/home-1, load/home-2"):
        builder.build(t0_us, "day_ahead", None)


def test_a_delayed_plan_is_forecast_from_what_is_known_when_it_is_asked_for(
    two_homes: Site, feed: Feed, t0_us: int
) -> None:
    kept: list[tuple[Forecast, int]] = []
    builder = new_builder(two_homes, feed, t0_us, lambda forecast, issued_us: kept.append((forecast, issued_us)))
    case = builder.build(t0_us + SLOT_US, "intraday", None)
    assert (case.start_us, case.slots) == (t0_us + SLOT_US, WINDOW_SLOTS)
    ((forecast, issued_us),) = kept
    assert issued_us == t0_us
    np.testing.assert_array_equal(case.load_w["home-1"], forecast.mean["load/home-1"][1 : 1 + WINDOW_SLOTS])
