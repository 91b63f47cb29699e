"""What a sweep refuses, each with status 2, the option and the mend; prices of many kinds; a local Ray."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from controller.costs import FeederLimit
from twin.cli.app import call
from twin.data import DataSet
from twin.exits import UsageError
from twin.feed import Feed
from twin.site import Site
from twin.span import instant_us, parse_start
from twin.sweep import choice
from twin.sweep.prices import WHOLESALE_ADDER, WHOLESALE_FEE, default_path, read_prices
from twin.sweep.setting import Setting, feeder_limit_w

ROOT = Path(__file__).parents[3]
SITE = ROOT / "examples" / "sites" / "two-homes.yaml"
REAL = ROOT.parent / "shared" / "data" / "prices"
SHORT = ("--spans", "2016-09-20:1", "--seeds", "1", "--jobs", "1", "--policies", "no_control,tou_night,foresight")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """`cli(2, "--seeds", "x")` sweeps in this process, wants that status and gives stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(status: int, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["vpptwin", "sweep", str(SITE), *words])
        with pytest.raises(SystemExit) as ended:
            call()
        said = capsys.readouterr()
        assert ended.value.code == status, said.err
        assert "Traceback" not in said.err
        return said.out + said.err

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--spans", "2016-09-31:2"), "--spans: '2016-09-31' is not a date"),
        (("--spans", "2016-09-20"), "--spans: '2016-09-20' has no number of days"),
        (("--spans", "2016-09-20:0"), "number of days from 1 to"),
        (("--spans", "2016-09-20:3,2016-09-22:3"), "overlap"),
        (("--spans", "2015-09-20:3"), "outside the data"),
        (("--spans", "2017-03-29:3"), "end it two days before the data do"),
        (("--seeds", "1,x"), "--seeds: 'x' is no seed"),
        (("--seeds", "1,1"), "--seeds: 1 is named twice"),
        (("--settings", "fixed,free"), "--settings: no setting 'free'"),
        (("--policies", "tou,"), "--policies: a name is empty"),
        (("--policies", "no_such"), "--policies: no policy 'no_such'; there are: no_control"),
        (("--policies", "no_such:Class"), "no module 'no_such'"),
        (("--seeds-for", "two=1"), "--seeds-for: 'two' is not swept"),
        (("--seeds-for", "tou=4"), "not 1 to 3 seeds"),
        (("--feeder-w", "-5"), "--feeder-w: -5"),
        (("--jobs", "0"), "--jobs: 0 processes"),
        (("--budget", "speed=9"), "--budget: 'speed' is unknown"),
        (("--dynamic-prices", "nowhere.csv"), "--dynamic-prices: no prices at nowhere.csv"),
    ],
)
def test_refusals_name_the_option_and_the_mend(cli: Callable[..., str], words: tuple[str, ...], said: str) -> None:
    found = cli(2, *words)
    assert said in found
    assert ";" in found
    assert not (Path.cwd() / "runs").exists()


def test_the_sweep_writes_json_and_a_page(cli: Callable[..., str]) -> None:
    said = cli(0, *SHORT, "--json")
    folder = Path("runs") / "sweep-two-homes"
    found = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    assert found == json.loads(said[: said.rindex("\n}") + 2])
    assert (found["cells"], found["days"], len(found["rows"])) == (9, 1, 9)
    assert "<html" in (folder / "sweep.html").read_text(encoding="utf-8")
    assert "9 cells, 0 of them computed now" in cli(0, *SHORT)


def test_choices_are_read_as_written() -> None:
    assert [span.days for span in choice.spans(choice.SPANS)] == [11, 11, 11]
    assert choice.spans("2016-02-28:2")[0].dates == ("2016-02-28", "2016-02-29")
    assert choice.seeds_for("a=1", ["a"], 3) == {"a": 1}


def test_the_feeder_limit_is_that_of_the_days_before(two_homes: Site, feed: Feed) -> None:
    at_us = instant_us(parse_start("2016-09-20"), two_homes.zone)
    limit = feeder_limit_w(two_homes, feed, at_us)
    assert limit % 100 == 0
    means = feed.slot_means("home-1/load", at_us - 28 * 86_400_000_000, 900, 28 * 96)
    assert 0 < limit < 3 * np.nanmax(means)
    assert Setting("feeder", feeder=FeederLimit(limit, 2.0)).facts["import_max_w"] == limit


def test_the_synthetic_prices_are_those_of_their_script_and_what_their_readme_says(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make", ROOT / "examples" / "make_dynamic_tariff.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    rows = list(make.prices(make.SEED))
    make.write(tmp_path / "dynamic.csv.gz", rows)
    assert (tmp_path / "dynamic.csv.gz").read_bytes() == (ROOT / "examples/data/prices/dynamic.csv.gz").read_bytes()
    bought, sold = (np.array([row[k] for row in rows]) for k in (1, 2))
    assert np.allclose(bought - sold, 0.12)
    assert 0 < np.mean(sold + 0.01 < 0) < 0.05
    assert bought.min() > 0


def test_dynamic_prices_follow_the_clock_of_the_site(two_homes: Site, homes_data: DataSet) -> None:
    prices = read_prices(default_path(two_homes), two_homes)
    at_us = instant_us(parse_start("2016-12-01"), two_homes.zone)
    found = prices.tariff(at_us, 192, np.zeros(192))
    assert np.all(found.export_per_kwh < found.import_per_kwh)
    assert prices.years_away(at_us, 192) == 0
    later_us = instant_us(parse_start("2018-12-06"), two_homes.zone)
    assert prices.years_away(later_us, 192) == -2
    moved = prices.tariff(later_us, 192, np.zeros(192))
    week = prices.tariff(instant_us(parse_start("2016-12-08"), two_homes.zone), 192, np.zeros(192))
    assert np.array_equal(moved.import_per_kwh, week.import_per_kwh)


def test_tables_of_prices_say_by_their_columns_what_they_are(two_homes: Site, tmp_path: Path) -> None:
    hours = [f"2016-09-{day:02}T{hour:02}:00:00Z" for day in range(1, 30) for hour in range(24)]
    for name, value in (("price_EUR_per_MWh", 100.0), ("import_GBP_per_kWh", 0.03)):
        rows = [f"{hour},{value}" for hour in hours]
        (tmp_path / f"{name}.csv").write_text("\n".join([f"ts_utc,{name}", *rows]) + "\n")
    at_us = instant_us(parse_start("2016-09-05"), two_homes.zone)
    own = np.full(96, 0.08)
    wholesale = read_prices(tmp_path / "price_EUR_per_MWh.csv", two_homes).tariff(at_us, 96, own)
    assert np.allclose(wholesale.import_per_kwh, 0.1 + WHOLESALE_ADDER)
    assert np.allclose(wholesale.export_per_kwh, 0.1 - WHOLESALE_FEE)
    retail = read_prices(tmp_path / "import_GBP_per_kWh.csv", two_homes).tariff(at_us, 96, own)
    assert np.allclose(retail.import_per_kwh, 0.03)
    assert np.allclose(retail.export_per_kwh, 0.03), "never above import"
    with pytest.raises(UsageError, match="does not hold the days"):
        read_prices(tmp_path / "import_GBP_per_kWh.csv", two_homes).tariff(at_us, 96 * 60, np.zeros(96 * 60))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real prices are not beside this folder")
def test_real_prices_are_put_on_the_days_of_the_homes(two_homes: Site) -> None:
    prices = read_prices(REAL / "gb_agile_import_regA_hourly_2019_2021.csv.gz", two_homes)
    at_us = instant_us(parse_start("2016-12-01"), two_homes.zone)
    found = prices.tariff(at_us, 11 * 96, np.full(11 * 96, 0.05))
    assert prices.years_away(at_us, 11 * 96) > 0
    days = found.import_per_kwh.reshape(11, 96)
    assert 16 * 4 <= np.median(np.argmax(days, axis=1)) < 19 * 4, (
        "the peak of the source's evening stays in the evening"
    )


def test_without_ray_the_extra_is_named(cli: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "--ray: Ray is not installed; pip install 'vpptwin[cluster]'" in cli(2, *SHORT, "--ray", "local")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray, the extra [cluster], is not installed")
def test_a_local_ray_finds_the_same(vpptwin: Callable[..., object], tmp_path: Path) -> None:
    found = []
    for words in (("--ray", "local", "--jobs", "2"), ("--jobs", "1")):
        folder = tmp_path / words[0].strip("-")
        vpptwin("sweep", SITE, *SHORT[:4], "--settings", "fixed", *SHORT[6:], *words, "--out", folder)
        found.append(json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["daily"])
    assert found[0] == found[1]
