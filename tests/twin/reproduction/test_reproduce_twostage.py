"""The fast part of the reproduction: its schema, what must hold by theorem, and the page of plots."""

from __future__ import annotations

import html
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twin.reproduction.verdicts import scheme_checks

Vpptwin = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(vpptwin: Vpptwin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reproduction")
    done = vpptwin("reproduce", "twostage", "--fast", "--out", out, "--json", timeout=110)
    assert json.loads(done.stdout) == json.loads((out / "reproduction.json").read_text(encoding="utf-8"))
    return out


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "reproduction.json").read_text(encoding="utf-8"))
    return read


def test_every_claim_is_judged(found: dict[str, Any]) -> None:
    assert (found["paper"], found["mechanism"]) == ("003", "twostage")
    keys = {"id", "claim", "kind", "paper", "ours", "tolerance", "status", "holds", "note"}
    for check in found["checks"]:
        assert set(check) == keys
        assert check["holds"] == {"holds": True, "fails": False, "incomparable": None}[check["status"]]
        assert check["status"] != "incomparable" or check["note"]
    assert sum(check["status"] != "incomparable" for check in found["checks"]) >= 8
    ids = [check["id"] for check in found["checks"]]
    assert len(set(ids)) == len(ids)


def test_what_is_a_theorem_holds(found: dict[str, Any]) -> None:
    held = {check["id"]: check["holds"] for check in found["checks"]}
    for name in (
        "day-ahead-direct",
        "surplus-price",
        "peak-price",
        "table-3-calls",
        "exact-is-best",
        "table-4-minutes",
    ):
        assert held[name] is True, name


def test_every_scheme_ends_at_the_planned_state_of_charge(found: dict[str, Any]) -> None:
    for row in found["tables"]["schemes"]:
        assert row["windows"] == 4
        assert all(abs(soc - 0.4) < 1 / 300 for soc in row["end_soc_pu"].values()), "T5: 1 kWh"


def test_price_games_cost_the_site_less_than_market_prices(found: dict[str, Any]) -> None:
    """T5: Scheme 4 below Scheme 1 for the site; starts are in both."""
    rows = {row["scheme"]: row for row in found["tables"]["schemes"]}
    assert rows[4]["system_cost"] < rows[1]["system_cost"]
    assert rows[2]["system_cost"] <= rows[4]["system_cost"] + 1e-6


def test_only_whole_days_are_held_against_the_specification(found: dict[str, Any]) -> None:
    rows = [{**row, "windows": 24} for row in found["tables"]["schemes"]]
    assert not any(check["id"].startswith("specification") for check in found["checks"])
    judged = [check for check in scheme_checks(rows) if check.id.startswith("specification")]
    assert [check.id[-1] for check in judged] == ["1", "2", "4"]
    assert not any(check.holds for check in judged), "four hours are no day"


def test_the_page_holds_five_figures(folder: Path) -> None:
    page = (folder / "reproduction.html").read_text(encoding="utf-8")
    drawn = json.loads(page.partition('id="figures">')[2].partition("</script>")[0])
    assert list(drawn) == ["schemes", "prices", "noise", "algorithms", "sizes"]
    assert all(trace["y"] for figure in drawn.values() for trace in figure["data"])
    assert "default-src 'none'" in page
    assert "figure 10" in page


def test_the_page_says_what_came_out_of_each_claim(folder: Path, found: dict[str, Any]) -> None:
    page = (folder / "reproduction.html").read_text(encoding="utf-8")
    for check in found["checks"]:
        assert html.escape(check["claim"]) in page
    schemes = next(check for check in found["checks"] if check["id"] == "scheme-4-cheapest-for-the-system")
    assert f"1: {schemes['ours']['1']:.4g}" in page


def test_an_unknown_paper_is_refused(vpptwin: Vpptwin) -> None:
    assert "there is: twostage" in vpptwin("reproduce", "nothing", expect=2).stderr
