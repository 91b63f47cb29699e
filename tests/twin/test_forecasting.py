"""Every forecast is stored with its baselines and quantiles; what must be known of it is said, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controller.forecast import Forecast, History, forecaster
from twin.forecasting import ForecastBook
from twin.site import SiteError, load_site
from twin.store import Store, StoreReader

SITES = Path(__file__).parents[2] / "examples" / "sites"
SLOT_US = 900_000_000
START_US = 1_473_033_600_000_000
"""2016-09-05T00:00:00Z."""


def forecast(days: float, intervals: bool = True) -> Forecast:
    rng = np.random.default_rng(1)
    n = round(days * 96)
    rows = {"load/a": rng.uniform(100, 900, n), "pv/a": rng.uniform(0, 500, n)}
    history = History(START_US, 900, rows, {"load/a": "load", "pv/a": "pv"})
    return forecaster(intervals=intervals).forecast(history, history.end_us, 96, 900)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "telemetry.db", on_full="wait")
    store.start()
    yield store
    store.close()


def test_means_baselines_and_quantiles_are_stored_under_the_method_that_made_them(store: Store) -> None:
    said, book = forecast(12), ForecastBook(store, lambda what, where: pytest.fail(what))
    book.keep(said, said.start_us)
    store.flush()
    with StoreReader(store.path) as reader:
        assert {row[3] for row in reader.forecasts()} == {"similar-days", "persistence", "same-weekday"}
        _, mean = reader.forecast("load/a", said.start_us, "similar-days", -1.0)
        np.testing.assert_allclose(mean, said.mean["load/a"].round(1))
        for level, row in said.quantiles["pv/a"].items():
            _, stored = reader.forecast("pv/a", said.start_us, "similar-days", level)
            np.testing.assert_allclose(stored, row.round(1))
        _, weekday = reader.forecast("pv/a", said.start_us, "same-weekday", -1.0)
        np.testing.assert_allclose(weekday, said.same_weekday["pv/a"].round(1))
    assert book.notes == []


def test_a_fall_back_is_stored_as_what_it_is_and_said_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    events: list[tuple[str, str]] = []
    book = ForecastBook(store, lambda what, where: events.append((what, where)))
    short = forecast(5, intervals=False)
    with caplog.at_level(logging.WARNING):
        for slot in range(3):
            book.keep(short, short.start_us + slot * SLOT_US)
    store.flush()
    with StoreReader(store.path) as reader:
        assert {row[3] for row in reader.forecasts()} == {"persistence", "same-weekday"}
    note = "less than 7 days of history, persistence instead: load/a, pv/a"
    assert events == [(note, "forecast 2016-09-10T00:00:00Z")]
    assert book.notes == [f"Forecasts from 2016-09-10T00:00:00Z on: {note}."]
    assert caplog.text.count(note) == 1
    book.keep(replace(short, notes=()), short.start_us + 3 * SLOT_US)
    book.keep(short, short.start_us + 4 * SLOT_US)
    assert len(events) == 2, "it came back"
    assert len(book.notes) == 1


def test_a_site_chooses_its_method(tmp_path: Path) -> None:
    text = (SITES / "two-homes.yaml").read_text().replace("../data/homes", str(SITES.parent / "data" / "homes"))
    path = tmp_path / "site.yaml"
    path.write_text(text + "\nforecast: {method: boosting, intervals: false}\n")
    site = load_site(path)
    assert (site.forecast.method, site.forecast.intervals) == ("boosting", False)
    assert load_site(SITES / "two-homes.yaml").forecast.method == "similar_days"
    path.write_text(text + "\nforecast: {method: crystal_ball}\n")
    with pytest.raises(SiteError, match=r"similar_days, week_mean"):
        load_site(path)
