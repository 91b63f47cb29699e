"""Take eight measured homes out of the CityLearn 2.1.2 wheel (MIT) into examples/data/homes.

    python examples/extract_homes.py                     # fetches the wheel with pip into a temporary folder
    python examples/extract_homes.py CityLearn-2.1.2-py3-none-any.whl

Written are home-<n>.csv.gz (hourly load and own PV), market.csv.gz (tariff and carbon) and LICENSE; dataset.yaml and
README.md beside them are written by hand. The same wheel gives the same bytes. Only the standard library is used.

Time: the source has 24 rows a day and no date, only month and hour (1-24). Row 0 (month 7, hour 24) is taken as
2016-08-01 00:00 wall clock of America/Los_Angeles, the start of its hour. The labels follow summer time (PV steps by an
hour at both changes), so
  - 2016-11-06 01:00, which the zone has twice and the source once, is the first pass (08:00 UTC); the second pass
    (09:00 UTC) is left empty, except for the price, which is a tariff by wall clock and holds for both;
  - 2017-03-12 02:00, which the zone does not have, is dropped with its value.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import gzip
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

REQUIREMENT = "CityLearn==2.1.2"
SET = "citylearn/data/citylearn_challenge_2022_phase_all"
HOMES = (1, 2, 9, 10, 11, 13, 16, 17)
ZONE = ZoneInfo("America/Los_Angeles")
FIRST, END = dt.datetime(2016, 8, 1), dt.datetime(2017, 4, 1)
HOUR = dt.timedelta(hours=1)
OUT = Path(__file__).parent / "data" / "homes"

LOAD, PV = "Equipment Electric Power [kWh]", "Solar Generation [W/kW]"
PRICE, CARBON = "Electricity Pricing [$/kWh]", "kg_CO2/kWh"

Row = tuple[str, ...]


def main() -> None:
    """Parse the call and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="?", type=Path, help="the wheel, if it is already here")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        extract(arguments.wheel or download(Path(folder)), arguments.out)


def download(folder: Path) -> Path:
    """Fetch the wheel from whatever index pip is configured for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), REQUIREMENT]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def extract(wheel: Path, out: Path) -> None:
    """Write all files of the extract."""
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        buildings = json.loads(archive.read(f"{SET}/schema.json"))["buildings"]
        for home in HOMES:
            peak_kw = buildings[f"Building_{home}"]["pv"]["attributes"]["nominal_power"]
            rows = table(archive, f"Building_{home}.csv")
            check_labels(rows)
            values = [(number(row[LOAD]), number(row[PV], peak_kw / 1000)) for row in rows]
            write(out / f"home-{home}.csv.gz", ("load_kwh", "pv_kwh"), placed(values, ("", "")))
            print(f"home-{home}: PV {peak_kw} kW")
        prices = [number(row[PRICE]) for row in table(archive, "pricing.csv")]
        carbon = [number(row[CARBON]) for row in table(archive, "carbon_intensity.csv")]
        market = list(zip(prices, carbon, strict=True))
        again = market[hours_since_first(dt.datetime(2016, 11, 6, 1))][0]
        write(out / "market.csv.gz", ("price_usd_per_kwh", "carbon_kg_per_kwh"), placed(market, (again, "")))
        licence = next(name for name in archive.namelist() if name.endswith(".dist-info/LICENSE"))
        (out / "LICENSE").write_bytes(archive.read(licence))


def table(archive: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    """Rows of one file of the set, one per hour of a year."""
    with archive.open(f"{SET}/{name}") as stream:
        return list(csv.DictReader(io.TextIOWrapper(stream, "utf-8", newline="")))


def check_labels(rows: list[dict[str, str]]) -> None:
    """The source's month and hour must be those of the dates given to its rows."""
    for k, row in enumerate(rows[: hours_since_first(END)]):
        hour_of = FIRST + k * HOUR - HOUR  # hour 24 belongs to the day that ends with it
        if (int(float(row["Month"])), int(float(row["Hour"]))) != (hour_of.month, hour_of.hour + 1):
            raise SystemExit(f"row {k} is month {row['Month']} hour {row['Hour']}, expected {hour_of}")


def placed(values: list[Row], repeated: Row) -> Iterator[Row]:
    """Values with their UTC label; `repeated` stands in the second pass of the hour that comes twice."""
    for k in range(hours_since_first(END)):
        wall = FIRST + k * HOUR
        first, second = (wall.replace(tzinfo=ZONE, fold=fold).astimezone(dt.UTC) for fold in (0, 1))
        if first > second:  # the zone skips this label
            continue
        yield (label(first), *values[k])
        if second > first:
            yield (label(second), *repeated)


def hours_since_first(wall: dt.datetime) -> int:
    """Row number of a wall clock label in the source."""
    return (wall - FIRST) // HOUR


def label(moment: dt.datetime) -> str:
    """`2016-08-01T07:00:00Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def number(text: str, scale: float = 1.0) -> str:
    """The value to six decimals, without trailing zeros."""
    return f"{float(text) * scale:.6f}".rstrip("0").rstrip(".")


def write(path: Path, columns: Row, rows: Iterator[Row]) -> None:
    """A gzipped CSV whose bytes depend on its content alone."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("ts_utc", *columns))
    writer.writerows(rows)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(text.getvalue().encode())


if __name__ == "__main__":
    main()
