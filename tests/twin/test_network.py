"""Limits at the grid meter that change with the hour, from the site file to the gateway and the planner."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

from twin.network import limits_at
from twin.site import load_site

SITES = Path(__file__).parents[2] / "examples" / "sites"
TIMES = """
network:
  import_max_w: 30000
  times:
    - {from: "17:00", to: "20:00", days: workdays, import_max_w: 4200}
    - {from: "19:00", to: "01:00", export_max_w: 0, months: [9]}
"""


def at(*when: int) -> int:
    return int(dt.datetime(*when, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp()) * 1_000_000


def test_the_tightest_limit_of_the_hour_counts(tmp_path: Path) -> None:
    text = (SITES / "two-homes.yaml").read_text().replace("../data", str(SITES.parent / "data"))
    path = tmp_path / "dimmed.yaml"
    path.write_text(text + TIMES)
    limits, none = limits_at(load_site(path)), float("inf")
    monday = (2016, 9, 12)
    assert limits(at(*monday, 16, 59)) == (30_000, none)
    assert limits(at(*monday, 17, 0)) == (4200, none)
    assert limits(at(*monday, 19, 30)) == (4200, 0)
    assert limits(at(*monday, 20, 0)) == (30_000, 0)
    assert limits(at(2016, 9, 13, 0, 59)) == (30_000, 0), "over midnight"
    assert limits(at(2016, 9, 11, 18, 0)) == (30_000, none), "a Sunday"
    assert limits(at(2016, 10, 3, 23, 0)) == (30_000, none), "of another month"
    assert limits_at(load_site(SITES / "two-homes.yaml"))(at(*monday, 18)) == (none, none)
