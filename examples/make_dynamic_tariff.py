"""Make the synthetic dynamic tariff of examples/data/prices: day-ahead like, seeded, nobody's market.

    python examples/make_dynamic_tariff.py                # writes examples/data/prices/dynamic.csv.gz
    python examples/make_dynamic_tariff.py --seed 8 --out FOLDER

The same seed gives the same bytes. Only the standard library is used, and of its generator only `random`, which is
stable for ever. One price an hour, from July 2016 to April 2017, the time of the homes beside it. The model, in
currency per kWh, by the local clock of the homes:

  wholesale = LEVEL + season + weekend + hump of the day x morning and evening peaks - sun x noon dip + noise

  - the evening peak is higher than the morning's, both lower at weekends;
  - the noon dip follows the season's sun and each day's own sunshine; bright days go below zero for a few hours;
  - the noise is first-order autoregressive by the hour, and so is the level by the day, so that days differ and stay
    alike for a while;
  - import = wholesale + ADDER (network, taxes, supplier), export = wholesale - FEE: always below import.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import gzip
import io
import math
import random
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

SEED = 7
ZONE = ZoneInfo("America/Los_Angeles")
FIRST, END = dt.date(2016, 7, 25), dt.date(2017, 4, 8)
OUT = Path(__file__).parent / "data" / "prices"

LEVEL = 0.075
ADDER, FEE = 0.110, 0.010
MORNING, EVENING, NOON = 0.022, 0.070, 0.040
"""Heights of the peaks and depth of the dip."""
WEEKEND = -0.012
WINTER = 0.012
"""How much higher the level is in January than in July is twice this."""
HOUR_MEMORY, HOUR_NOISE = 0.85, 0.006
DAY_MEMORY, DAY_NOISE = 0.7, 0.012


def main() -> None:
    """Parse the call and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    rows = list(prices(arguments.seed))
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out / "dynamic.csv.gz", rows)
    negative = sum(export + FEE < 0 for _, _, export in rows)
    print(f"{len(rows)} hours, {negative} of them with a wholesale price below zero")


def prices(seed: int) -> Iterator[tuple[str, float, float]]:
    """(start of the hour in UTC, import, export) of every hour."""
    draw = random.Random(seed)
    hour, end = (dt.datetime.combine(day, dt.time(), ZONE).astimezone(dt.UTC) for day in (FIRST, END))
    today, level, hump, sun, noise = None, 0.0, 1.0, 1.0, 0.0
    while hour < end:
        local = hour.astimezone(ZONE)
        if local.date() != today:
            today = local.date()
            level = DAY_MEMORY * level + DAY_NOISE * normal(draw)
            hump = math.exp(0.3 * normal(draw))
            sun = min(1.5, math.exp(0.35 * normal(draw)))
        noise = HOUR_MEMORY * noise + HOUR_NOISE * normal(draw)
        wholesale = expected(local, hump, sun) + level + noise
        yield (
            hour.strftime("%Y-%m-%dT%H:%M:%SZ"),
            round(wholesale + ADDER, 5),
            round(wholesale - FEE, 5),
        )
        hour += dt.timedelta(hours=1)


def expected(local: dt.datetime, hump: float, sun: float) -> float:
    """The wholesale price without noise; `hump` and `sun` scale the day's peaks and its noon dip."""
    year = 2 * math.pi * (local.timetuple().tm_yday - 15) / 365.25
    winter = math.cos(year)  # 1 in January, -1 in July
    weekend = local.weekday() >= 5
    peaks = MORNING * bell(local.hour, 7.5, 1.5) + EVENING * bell(local.hour, 19.0, 2.0)
    dip = NOON * bell(local.hour, 12.5, 2.5) * (1 - 0.35 * winter) * (1.2 if weekend else 1.0)
    return LEVEL + WINTER * winter + (WEEKEND if weekend else 0.0) + peaks * hump * (0.7 if weekend else 1) - dip * sun


def bell(hour: int, middle: float, width: float) -> float:
    """1 in the middle, falling to 0 on both sides."""
    return math.exp(-(((hour + 0.5 - middle) / width) ** 2) / 2)


def normal(draw: random.Random) -> float:
    """Nearly normal: twelve uniforms, mean 0, variance 1."""
    return sum(draw.random() for _ in range(12)) - 6


def write(path: Path, rows: list[tuple[str, float, float]]) -> None:
    """A gzipped CSV whose bytes depend on its content alone."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("ts_utc", "import_usd_per_kwh", "export_usd_per_kwh"))
    writer.writerows(rows)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(text.getvalue().encode())


if __name__ == "__main__":
    main()
