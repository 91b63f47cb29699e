"""Tidy data: read as written, gaps stay gaps, and what is wrong is named with file and line."""

# ruff: noqa: E501 - exact messages stay on one line

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import importlib.util
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.readings import Quality
from twin.data import DataError, DataSet, Series, SeriesInfo

ROOT = Path(__file__).parents[3]
HOMES = ROOT / "examples" / "data" / "homes"
SHARED = ROOT.parent / "shared" / "data"
HOUR_US = 3_600_000_000

HEAD = "schema: 1\nname: test\nsource: written by a test\nlicence: none\nfiles:\n"
HOURLY = HEAD + (
    "  - file: a.csv\n    time: {column: ts_utc, period_s: 3600}\n    series:\n"
    "      - {id: a/load, column: load_kwh, unit: kWh, kind: load}\n"
)
ROWS = (
    "ts_utc,load_kwh\n2016-09-05T00:00:00Z,0.5\n2016-09-05T01:00:00Z,\n2016-09-05T02:00:00Z,2\n2016-09-05T05:00:00Z,1\n"
)

Write = Callable[..., DataSet]


def us(text: str) -> int:
    """Microseconds of an ISO time with its offset."""
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000


T0 = us("2016-09-05T00:00:00Z")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a description and files, and opens them."""

    def write_all(description: str = HOURLY, **files: str | bytes) -> DataSet:
        (tmp_path / "dataset.yaml").write_text(description, encoding="utf-8")
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (tmp_path / name.replace("_", ".")).write_bytes(data)
        return DataSet.open(tmp_path)

    return write_all


def message(read: Callable[[], object]) -> list[str]:
    """Lines of the error that reading gives."""
    with pytest.raises(DataError) as caught:
        read()
    return str(caught.value).splitlines()


def test_energies_become_mean_powers_and_gaps_stay_gaps(write: Write) -> None:
    data = write(a_csv=ROWS)
    series = data.series("a/load")
    assert (series.start_us, series.end_us, series.period_s) == (T0, T0 + 6 * HOUR_US, 3600)
    np.testing.assert_array_equal(series.values, [500, np.nan, 2000, np.nan, np.nan, 1000])
    good, bad = Quality.GOOD, Quality.BAD
    assert series.quality.tolist() == [good, bad, good, bad, bad, good]
    assert series.gaps_us() == [(T0 + HOUR_US, T0 + 2 * HOUR_US), (T0 + 3 * HOUR_US, T0 + 5 * HOUR_US)]
    assert data.mean_w("a/load", T0, T0 + HOUR_US) == 500
    assert data.mean_w("a/load", T0 + HOUR_US // 2, T0 + HOUR_US + 1) is None
    assert data.mean_w("a/load", T0 - 1, T0 + 1) is None
    assert data.mean_w("a/load", T0 + 5 * HOUR_US, T0 + 6 * HOUR_US + 1) is None
    np.testing.assert_array_equal(
        data.slot_means("a/load", T0 - HOUR_US, 1800, 8), [np.nan, np.nan, 500, 500, np.nan, np.nan, 2000, 2000]
    )
    np.testing.assert_array_equal(data.slot_means("a/load", T0, 7200, 3), [np.nan] * 3)


def test_values_cannot_be_changed_by_a_reader(write: Write) -> None:
    with pytest.raises(ValueError, match="read-only"):
        write(a_csv=ROWS).series("a/load").values[0] = 1


def test_end_labels_units_floor_and_valid_range(write: Write) -> None:
    description = HEAD + (
        "  - file: a.csv\n    time: {column: t, period_s: 900, label: end}\n    series:\n"
        "      - {id: roof/pv, column: pv, unit: kW, kind: pv, floor: 0, valid: [-1, 10]}\n"
        "      - {id: price, column: eur, unit: EUR/MWh, kind: price}\n"
        "      - {id: carbon, column: co2, unit: g/kWh, kind: carbon}\n"
    )
    rows = "t,pv,eur,co2\n2016-09-05T00:15Z,-0.3,120,400\n2016-09-05T00:30Z,99,-5,NaN\n2016-09-05T02:45+02:00,4,0,0\n"
    data = write(description, a_csv=rows)
    pv = data.series("roof/pv")
    assert pv.start_us == T0
    np.testing.assert_array_equal(pv.values, [0, np.nan, 4000])
    assert pv.quality.tolist() == [Quality.SUBSTITUTED, Quality.BAD, Quality.GOOD]
    np.testing.assert_allclose(data.series("price").values, [0.12, -0.005, 0])
    np.testing.assert_allclose(data.series("carbon").values, [0.4, np.nan, 0])
    assert data.span_us == (T0, T0 + 3 * 900_000_000)


def test_local_labels_follow_the_zone_and_its_two_changes(write: Write) -> None:
    description = HOURLY.replace("period_s: 3600", "period_s: 3600, zone: America/Los_Angeles")
    autumn = "ts_utc,load_kwh\n2016-11-06 00:00,1\n2016-11-06 01:00,2\n2016-11-06 01:00,3\n2016-11-06 02:00,4\n"
    series = write(description, a_csv=autumn).series("a/load")
    assert series.start_us == us("2016-11-06T07:00Z")
    assert series.values.tolist() == [1000, 2000, 3000, 4000]
    once = write(description, a_csv=autumn.replace("2016-11-06 01:00,3\n", "")).series("a/load")
    np.testing.assert_array_equal(once.values, [1000, 2000, np.nan, 4000])
    spring = write(description, a_csv="ts_utc,load_kwh\n2017-03-12 01:00,1\n2017-03-12 02:00,2\n")
    assert message(lambda: spring.series("a/load")) == [
        "a.csv:3 ts_utc: 2017-03-12 02:00:00 does not exist in America/Los_Angeles (clocks go forward);"
        " write times like 2016-09-05T07:00:00Z"
    ]


AGAIN = "fetch or write the file again"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS.replace(",2\n", ",two\n"), "a.csv:4 load_kwh: 'two' is no number; leave the field empty where nothing was measured"),
        (ROWS.replace(",2\n", ",inf\n"), "a.csv:4 load_kwh: 'inf' is no number; leave the field empty where nothing was measured"),
        (ROWS.replace(",2\n", "\n"), f"a.csv:4: 1 fields, the header has 2; {AGAIN}"),
        (ROWS.replace("T02:00:00Z", "T25:00:00Z"), "a.csv:4 ts_utc: '2016-09-05T25:00:00Z' is no time; write times like 2016-09-05T07:00:00Z"),
        (ROWS.replace("T02:", "T01:"), "a.csv:4 ts_utc: the time of the row before again; sort the rows and keep one per time"),
        (ROWS.replace("T02:", "T00:"), "a.csv:4 ts_utc: earlier than the row before; sort the rows and keep one per time"),
        (ROWS.replace("T02:00", "T02:10"), "a.csv:4 ts_utc: not on the grid of 3600 s from the first row; mend period_s in dataset.yaml or the row"),
        (ROWS.replace("2016-09-05T05", "9016-09-05T05"), "a.csv:5 ts_utc: years after the row before; mend the time"),
        (ROWS.replace("load_kwh", "load"), "a.csv:1: no column 'load_kwh'; columns: ts_utc, load"),
        ("ts_utc,load_kwh\n", f"a.csv: no rows; {AGAIN}"),
        ("", "a.csv:1: no column 'ts_utc'; columns: none"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_named_with_line_and_column(write: Write, rows: str, expected: str) -> None:
    data = write(a_csv=rows)
    assert message(lambda: data.series("a/load")) == [expected]


def test_many_faults_come_at_once_but_not_without_end(write: Write) -> None:
    rows = "ts_utc,load_kwh\n" + "".join(f"2016-09-05T{hour:02d}:00:00Z,x\n" for hour in range(24))
    data = write(a_csv=rows)
    found = message(lambda: data.series("a/load"))
    assert len(found) == 20
    assert found[0].startswith("a.csv:2 load_kwh: 'x' is no number")


def test_a_truncated_or_false_archive_says_where_it_ends(write: Write) -> None:
    description = HOURLY.replace("a.csv", "a.csv.gz")
    many = "ts_utc,load_kwh\n" + "".join(
        f"{dt.datetime.fromtimestamp(T0 / 1e6 + 3600 * k, dt.UTC).isoformat()},{k % 7}.{k}\n" for k in range(3000)
    )
    packed = gzip.compress(many.encode())
    truncated = write(description, a_csv_gz=packed[: len(packed) // 2])
    (line,) = message(lambda: truncated.series("a/load"))
    assert line.startswith("a.csv.gz:")
    assert 1000 < int(line.split(":")[1]) < 2000
    assert "truncated or damaged here" in line
    false = write(description, a_csv_gz=many)
    (line,) = message(lambda: false.series("a/load"))
    assert line.startswith("a.csv.gz: truncated or damaged here (Not a gzipped file")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("unit: kWh", "unit: kVA", "dataset.yaml:9 files[0].series[0].unit: 'kVA' does not fit load; allowed: W, kW, MW, Wh, kWh, MWh"),
        ("kind: load", "kind: loud", "dataset.yaml:9 files[0].series[0].kind: 'loud' is not known; did you mean 'load'? allowed: load, pv, power, price, carbon"),
        ("file: a.csv", "file: b.csv", "dataset.yaml:6 files[0].file: no file b.csv; put it beside dataset.yaml or mend the name"),
        ("file: a.csv", "file: dataset.yaml", "dataset.yaml:6 files[0].file: dataset.yaml is of no known format; allowed: .csv, .csv.gz, .parquet"),
        ("period_s: 3600", "period: 3600, period_s: 60", "dataset.yaml:7 files[0].time.period: unknown field; did you mean 'period_s'? allowed: column, label, period_s, zone"),
        ("schema: 1", "schema: 2", "dataset.yaml:1 schema: 2 is out of range; a whole number from 1 to 1 is wanted"),
        ("licence: none\n", "", "dataset.yaml:1 licence: missing; add `licence:` here"),
        ("kind: load}", "kind: load, valid: [1]}", "dataset.yaml:9 files[0].series[0].valid: 1 entries; a list of two is wanted, [low, high]"),
        ("kind: load}\n", "kind: load}\n      - {id: a/load, column: load_kwh, unit: kW, kind: load}\n", "dataset.yaml:10 files[0].series[1].id: 'a/load' is used twice (first in line 9); series need own ids"),
    ],
)  # fmt: skip
def test_a_faulty_description_is_named_with_line_and_field(write: Write, old: str, new: str, expected: str) -> None:
    assert old in HOURLY
    assert message(lambda: write(HOURLY.replace(old, new), a_csv=ROWS)) == [expected]


def test_a_folder_without_description_says_what_is_needed(tmp_path: Path) -> None:
    assert message(lambda: DataSet.open(tmp_path)) == [
        f"dataset.yaml: No such file or directory ({tmp_path / 'dataset.yaml'});"
        " a data folder needs a dataset.yaml; see examples/data/homes"
    ]


def test_series_without_common_time_have_no_span(write: Write) -> None:
    later = ROWS.replace("2016", "2017")
    second = HOURLY.partition("files:\n")[2].replace("a.csv", "b.csv").replace("a/load", "b/load")
    data = write(HOURLY + second, a_csv=ROWS, b_csv=later)
    assert message(lambda: data.span_us) == [
        "dataset.yaml files: the series have no time in common; describe recordings of one period"
    ]


def test_inputs_are_hashed_for_the_manifest(write: Write) -> None:
    data = write(a_csv=ROWS)
    assert data.sha256["a.csv"] == hashlib.sha256(ROWS.encode()).hexdigest()
    assert set(data.sha256) == {"dataset.yaml", "a.csv"}


@given(
    values=st.lists(st.floats(0, 1e4) | st.just(math.nan), min_size=1, max_size=12),
    cuts=st.tuples(st.integers(-2000, 14_000), st.integers(1, 9000)),
)
def test_a_mean_is_the_integral_of_its_parts_or_a_gap(values: list[float], cuts: tuple[int, int]) -> None:
    info = SeriesInfo("x", "load", "W", "x.csv", "x", 900, (-math.inf, math.inf), None)
    array = np.array(values)
    series = Series(info, 0, 900, array, np.zeros(len(values), dtype=np.int8))
    t0_s, length_s = cuts
    seconds = np.repeat(array, 900)
    inside = t0_s >= 0 and t0_s + length_s <= len(seconds)
    expected = seconds[t0_s : t0_s + length_s].mean() if inside else math.nan
    found = series.mean(t0_s * 1_000_000, (t0_s + length_s) * 1_000_000)
    if math.isnan(expected):
        assert found is None
    else:
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    slots = series.slot_means(t0_s * 1_000_000, length_s, 2)
    np.testing.assert_allclose(slots[0], expected, rtol=1e-9, atol=1e-9)


# The example data


def extraction() -> ModuleType:
    """examples/extract_homes.py as a module."""
    spec = importlib.util.spec_from_file_location("extract_homes", ROOT / "examples" / "extract_homes.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_homes_are_complete_but_for_the_repeated_hour() -> None:
    data = DataSet.open(HOMES)
    assert sum(path.stat().st_size for path in HOMES.iterdir()) < 3_000_000
    assert data.span_us == (us("2016-08-01T00:00-07:00"), us("2017-04-01T00:00-07:00"))
    again = (us("2016-11-06T01:00-08:00"), us("2016-11-06T02:00-08:00"))
    homes = [id for id in data.ids if id.startswith("home-")]
    assert len(homes) == 16
    for id in homes:
        assert data.series(id).gaps_us() == [again]
    assert data.series("price").gaps_us() == []
    prices = data.slot_means("price", us("2016-11-06T00:00-07:00"), 3600, 25)
    assert prices.tolist() == [0.21] * 17 + [0.5] * 5 + [0.21] * 3
    assert "MIT License" in (HOMES / "LICENSE").read_text(encoding="utf-8")


def test_the_extract_equals_the_shared_copy_of_the_same_source() -> None:
    path = SHARED / "homes" / "citylearn2022_hourly_2016-08_2017-04.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the project (../shared/data)")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {f"home-{h}/{kind}": f"{kind}_h{h}_kWh" for h in (1, 2, 9, 10, 11, 13) for kind in ("load", "pv")}
    table = parquet.read_table(path)
    wall = table.column("ts_local").cast("timestamp[us]").to_pylist()
    module, data = extraction(), DataSet.open(HOMES)
    skipped = dt.datetime(2017, 3, 12, 2)
    kept = [k for k, when in enumerate(wall) if when < module.END and when != skipped]
    utc = [wall[k].replace(tzinfo=module.ZONE) for k in kept]
    index = [round((when.timestamp() * 1e6 - data.span_us[0]) / HOUR_US) for when in utc]
    for id, column in columns.items():
        theirs = table.column(column).to_numpy()[kept] * 1000.0
        np.testing.assert_allclose(data.series(id).values[index], theirs, atol=0.0055)  # they keep 1e-5 kWh


def test_the_extraction_writes_the_same_bytes_again(tmp_path: Path) -> None:
    module = extraction()
    module.HOMES = (13,)
    wheel = tmp_path / "CityLearn-2.1.2-py3-none-any.whl"
    _write_small_wheel(wheel, module)
    first, second = tmp_path / "one", tmp_path / "two"
    for out in (first, second):
        module.extract(wheel, out)
    names = sorted(path.name for path in first.iterdir())
    assert names == ["LICENSE", "home-13.csv.gz", "market.csv.gz"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    rows = gzip.decompress((first / "home-13.csv.gz").read_bytes()).decode().splitlines()
    assert rows[:3] == ["ts_utc,load_kwh,pv_kwh", "2016-08-01T07:00:00Z,0,0.01", "2016-08-01T08:00:00Z,0.001,0.01"]
    assert "2016-11-06T09:00:00Z,," in rows
    assert len(rows) == 1 + 243 * 24


def _write_small_wheel(path: Path, module: ModuleType) -> None:
    """A wheel of the same layout with counted values."""
    hours = module.hours_since_first(module.END)
    labels = [module.FIRST + (k - 1) * module.HOUR for k in range(hours)]
    home = ["Month,Hour,Equipment Electric Power [kWh],Solar Generation [W/kW]"]
    home += [f"{when.month}.0,{when.hour + 1}.0,{k / 1000},2" for k, when in enumerate(labels)]
    buildings = ",".join(f'"Building_{h}": {{"pv": {{"attributes": {{"nominal_power": 5}}}}}}' for h in module.HOMES)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module.SET}/schema.json", f'{{"buildings": {{{buildings}}}}}')
        for h in module.HOMES:
            archive.writestr(f"{module.SET}/Building_{h}.csv", "\n".join(home))
        archive.writestr(f"{module.SET}/pricing.csv", "Electricity Pricing [$/kWh]\n" + "0.2\n" * hours)
        archive.writestr(f"{module.SET}/carbon_intensity.csv", "kg_CO2/kWh\n" + "0.1\n" * hours)
        archive.writestr("CityLearn-2.1.2.dist-info/LICENSE", "MIT License\n")


# Other recordings through the same reader

CAMPUS = (
    HEAD
    + """\
  - file: {file}
    time: {{column: ts_utc, period_s: 900}}
    series:
      - {{id: gilman/load, column: load_Gilman_kW, unit: kW, kind: load}}
      - {{id: students/load, column: load_StudentServices_kW, unit: kW, kind: load}}
      - {{id: parking/pv, column: pv_HopkinsParking_kW, unit: kW, kind: pv, floor: 0}}
      - {{id: tradestreet/net, column: tradestreet_total_kW, unit: kW, kind: power}}
"""
)


def test_the_campus_recording_runs_through_the_same_reader(tmp_path: Path) -> None:
    path = SHARED / "campus" / "ucsd_15min_2018-08_2019-03.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the project (../shared/data)")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "dataset.yaml").write_text(CAMPUS.format(file=path), encoding="utf-8")
    data = DataSet.open(tmp_path)
    raw = parquet.read_table(path, columns=["load_Gilman_kW", "pv_HopkinsParking_kW", "tradestreet_total_kW"])
    gilman = raw.column("load_Gilman_kW").to_numpy().astype(np.float64) * 1000
    np.testing.assert_allclose(data.series("gilman/load").values, gilman)
    assert data.span_us[0] == us("2018-08-01T07:00Z")
    longest = max(t1 - t0 for t0, t1 in data.series("students/load").gaps_us())
    assert longest == pytest.approx(58.54 * 24 * HOUR_US, rel=1e-3)
    assert np.isnan(gilman).sum() == sum(t1 - t0 for t0, t1 in data.series("gilman/load").gaps_us()) // 900_000_000
    parking = data.series("parking/pv")
    night = raw.column("pv_HopkinsParking_kW").to_numpy() < 0
    assert night.sum() > 1000
    assert np.flatnonzero(parking.quality == Quality.SUBSTITUTED).tolist() == np.flatnonzero(night).tolist()
    assert np.nanmin(parking.values) == 0
    repeated = us("2018-11-04T01:00-08:00")
    assert data.mean_w("tradestreet/net", repeated, repeated + HOUR_US) is None
    assert data.mean_w("gilman/load", repeated, repeated + HOUR_US) is not None


def test_hours_missing_from_a_parquet_file_are_a_gap(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kept = [k for k in range(96) if not 40 <= k < 52]
    times = pa.array([T0 + k * 900_000_000 for k in kept], pa.timestamp("us", "UTC"))
    parquet.write_table(
        pa.table({"t": times, "kw": pa.array([None if k == 5 else k / 10 for k in kept])}), tmp_path / "a.parquet"
    )
    description = HOURLY.replace("a.csv", "a.parquet").replace("ts_utc, period_s: 3600", "t, period_s: 900")
    (tmp_path / "dataset.yaml").write_text(description.replace("load_kwh, unit: kWh", "kw, unit: kW"), encoding="utf-8")
    series = DataSet.open(tmp_path).series("a/load")
    assert len(series.values) == 96
    minutes = [((t0 - T0) // 60_000_000, (t1 - T0) // 60_000_000) for t0, t1 in series.gaps_us()]
    assert minutes == [(75, 90), (600, 780)]
    assert series.values[39] == pytest.approx(3900)


@pytest.mark.parametrize("damage", ["truncated", "text", "column"])
def test_a_faulty_parquet_file_is_named(tmp_path: Path, damage: str) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    values = ["x"] if damage == "text" else [1.0]
    name = "other" if damage == "column" else "load_kwh"
    parquet.write_table(pa.table({"ts_utc": pa.array([T0], pa.timestamp("us", "UTC")), name: values}), path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    (tmp_path / "dataset.yaml").write_text(HOURLY.replace("a.csv", "a.parquet"), encoding="utf-8")
    (line,) = message(lambda: DataSet.open(tmp_path).series("a/load"))
    assert line.startswith(
        {
            "truncated": "a.parquet: truncated or damaged (",
            "text": "a.parquet load_kwh: a column of string; a column of numbers is wanted",
            "column": "a.parquet:1: no column 'load_kwh'; columns: ts_utc, other",
        }[damage]
    )
