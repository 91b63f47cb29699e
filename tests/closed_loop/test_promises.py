"""What a whole run promises, held against the files it leaves and by the command that anyone would use."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ledger import show
from twin import manifest
from twin.recording import CommandFrame, ReadingFrame, Recording
from twin.store import StoreReader

ROOT = Path(__file__).parents[2]
SITE = ROOT / "examples" / "sites" / "two-homes.yaml"
CAMPUS = ROOT.parent / "shared" / "data" / "campus"
START = ("--start", "2016-09-05T15:00")
SLOT_US, SLOTS, TICKS, DEVICES = 900_000_000, 8, 120, 8

Vpptwin = Callable[..., subprocess.CompletedProcess[str]]
Batches = Callable[[Path], tuple[dict[Any, Any], dict[Any, Any]]]


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def summary(short_run: Path) -> dict[str, Any]:
    return summary_of(short_run)


# One seed, one root


def test_the_same_seed_and_data_give_the_same_root_in_another_process_and_folder(
    short_run: Path, vpptwin: Vpptwin, tmp_path: Path, summary: dict[str, Any]
) -> None:
    done = vpptwin("rerun", short_run, "--out", tmp_path / "again", cwd=tmp_path, PYTHONHASHSEED="4711")
    assert f"equal: ledger root {summary['ledger']['root']}" in done.stderr
    again = summary_of(tmp_path / "again")
    assert again["ledger"] == summary["ledger"]
    assert again["setpoints"] == summary["setpoints"]
    assert again["cost"] == summary["cost"]
    first, second = manifest.read(short_run), manifest.read(tmp_path / "again")
    assert first.plans == second.plans
    assert len(first.plans) == 1 + SLOTS
    with StoreReader(short_run / "telemetry.db") as one, StoreReader(tmp_path / "again" / "telemetry.db") as two:
        for device in one.devices():
            assert one.readings(device) == two.readings(device)
        assert one.commands() == two.commands()
    digests = {Recording(run / "recording" / "log.bin").digest() for run in (short_run, tmp_path / "again")}
    assert len(digests) == 1


def test_another_seed_gives_another_root_and_a_changed_site_is_named(vpptwin: Vpptwin, tmp_path: Path) -> None:
    text = SITE.read_text(encoding="utf-8").replace("../data/homes", str(ROOT / "examples" / "data" / "homes"))
    site, runs = tmp_path / "mine.yaml", {seed: tmp_path / f"seed-{seed}" for seed in (1, 2)}
    site.write_text(text, encoding="utf-8")
    for seed, folder in runs.items():
        vpptwin("run", site, *START, "--hours", "0.25", "--seed", str(seed), "--out", folder)
    one, two = (summary_of(folder) for folder in runs.values())
    assert one["ledger"]["root"] != two["ledger"]["root"]
    site.write_text(text.replace("soc0_pu: 0.5}", "soc0_pu: 0.8}", 1), encoding="utf-8")
    said = vpptwin("rerun", runs[1], expect=1).stderr
    assert re.search(r"differs: inputs\.mine\.yaml: [0-9a-f]{64} then, [0-9a-f]{64} now", said)
    assert "differs: plan 0 is the first that differs: twostage:day_ahead:" in said
    assert f"differs: ledger root: {one['ledger']['root']} then," in said


# The ledger


def test_a_fresh_ledger_verifies(short_run: Path, vpptwin: Vpptwin, summary: dict[str, Any]) -> None:
    report = json.loads(vpptwin("ledger", "verify", short_run, "--json").stdout)
    assert report["ok"] is True
    assert (report["entries"], report["root"]) == (summary["ledger"]["entries"], summary["ledger"]["root"])
    assert summary["ledger"]["verified"] is True


@pytest.mark.parametrize("kind", ["price", "metering", "settlement"])
def test_one_changed_byte_of_an_entry_is_found(short_run: Path, vpptwin: Vpptwin, tmp_path: Path, kind: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(short_run / "ledger", run / "ledger")
    database = run / "ledger" / "logs" / "main" / "ledger.db"
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        seq, data = db.execute("SELECT seq, data FROM entry WHERE kind = ? ORDER BY seq DESC", (kind,)).fetchone()
    db.close()
    raw = bytearray(database.read_bytes())
    at = raw.index(data[:200]) + data.index(b'"slot":' if kind != "metering" else b'"wh":') + 8
    raw[at] ^= 1
    assert sum(a != b for a, b in zip(raw, database.read_bytes(), strict=True)) == 1
    database.write_bytes(raw)
    said = vpptwin("ledger", "verify", run, expect=1).stderr
    assert f"entry {seq} " in said
    assert "does not verify" in said


def test_every_reading_is_a_leaf_also_on_a_clock_that_runs_by_itself(
    vpptwin: Vpptwin, tmp_path: Path, batches: Batches
) -> None:
    vpptwin("run", SITE, *START, "--hours", "0.75", "--clock", "x300", "--out", tmp_path / "run")
    found = summary_of(tmp_path / "run")
    assert (found["clock"], found["stopped"], found["ledger"]["verified"]) == ("x300", False, True)
    assert found["slots"] >= 1
    assert found["telemetry"]["received"] == found["telemetry"]["stored"] > 0
    said, stored = batches(tmp_path / "run")
    assert said == stored
    vpptwin("ledger", "verify", tmp_path / "run")


# Figures


FIELDS: dict[str, Any] = {
    **dict.fromkeys(("schema", "site", "mechanism", "clock", "seed", "slots", "currency", "captured", "wall_s")),
    "cost": {"actual", "no_control", "selfuse", "tou_night", "perfect_foresight"},
    "telemetry": {"received", "stored", "lost", "missing"},
    "setpoints": {"sent", "verified", "rejected", "expired", "diverged", "superseded", "following"},
    "plans": {"day_ahead", "intraday", "kept", "max_gap", "max_deviation_gain", "solve_s_p50", "solve_s_p99"},
    "ledger": {"entries", "root", "verified"},
}
EXTRA = {"gaps", "onchain_rate", "load", "stopped"}
"""What ours has beside the contract's: spread of the gaps, the machine's load, whether the run was stopped."""


def test_the_summary_has_exactly_the_contracts_fields(summary: dict[str, Any]) -> None:
    assert set(summary) == set(FIELDS) | EXTRA
    for name, inner in FIELDS.items():
        if inner is not None:
            assert set(summary[name]) == inner
    constants = ("site", "mechanism", "clock", "seed", "slots", "currency", "schema", "stopped")
    expected = ["two-homes", "twostage", "lockstep", 7, SLOTS, "USD", 1, False]
    assert [summary[name] for name in constants] == expected


def test_readings_received_are_the_rows_stored_and_none_is_missing(short_run: Path, summary: dict[str, Any]) -> None:
    figures = summary["telemetry"]
    with StoreReader(short_run / "telemetry.db") as reader:
        rows = {device: len(reader.readings(device)) for device in reader.devices()}
        assert reader.findings() == [], "roll-ups and the table `last` agree with the raw rows"
    assert set(rows.values()) == {TICKS + 1}
    assert figures == {"received": sum(rows.values()), "stored": DEVICES * (TICKS + 1), "lost": 0, "missing": 0}


def test_every_order_that_was_sent_ended_in_exactly_one_way(short_run: Path, summary: dict[str, Any]) -> None:
    figures = summary["setpoints"]
    ends = ("verified", "rejected", "expired", "diverged", "superseded")
    assert figures["sent"] == sum(figures[end] for end in ends) > 50
    with StoreReader(short_run / "telemetry.db") as reader:
        journal = reader.commands()
    assert {row.device for row in journal} == {"bat-1", "bat-2"}
    read_back = [row for row in journal if row.state == "verified" and row.readback is not None]
    assert len(read_back) == figures["verified"], "what a device held already was not sent, so it is not counted"
    assert all(row.readback == row.value for row in read_back)
    assert figures["following"] > 0.9


def test_plans_are_one_a_gate_and_one_a_slot_within_their_budget(summary: dict[str, Any]) -> None:
    figures = summary["plans"]
    assert (figures["day_ahead"], figures["intraday"], figures["kept"]) == (1, SLOTS, 0)
    assert figures["max_gap"] >= 0, "certified"
    assert figures["max_deviation_gain"] >= 0
    assert 0 < figures["solve_s_p50"] <= figures["solve_s_p99"]


def test_the_processes_stay_within_their_memory(summary: dict[str, Any]) -> None:
    assert summary["load"]["service_mb"] <= 300
    assert summary["load"]["worker_mb"] <= 700


# Physics and causality


def test_the_meters_of_every_slot_sum_to_nothing(short_run: Path) -> None:
    entries = show.entries(short_run, type="metering", limit=100_000)
    meters = ("meter-1", "meter-2", "meter-vpp", "meter-grid")
    wh = {(one["body"]["device"], one["body"]["start"]): one["body"]["wh"] for one in entries}
    starts = sorted({start for _, start in wh})[:SLOTS]
    for start in starts:
        assert abs(sum(wh[meter, start] for meter in meters)) <= len(meters), "each register is a whole Wh"
        for home in ("1", "2"):
            assert wh[f"meter-{home}", start] <= wh[f"pv-{home}", start] + wh[f"bat-{home}", start] + 2, "a load takes"
    with StoreReader(short_run / "telemetry.db") as reader:
        total = sum(reader.series(meter, "p_w")[1] for meter in meters)
    assert np.abs(total).max() <= len(meters)


def test_money_sums_to_zero_and_wallets_are_its_sum(short_run: Path) -> None:
    entries = show.entries(short_run, limit=100_000)
    legs = [leg for one in entries for leg in one["body"].get("postings", ())]
    assert legs
    assert sum(micro for _, micro, _ in legs) == 0
    wallets = show.overview(short_run)["wallets"]
    for account in {account for account, _, _ in legs}:
        assert wallets[account]["micro"] == sum(micro for name, micro, _ in legs if name == account)


def test_no_plan_and_no_forecast_used_a_reading_younger_than_itself(short_run: Path) -> None:
    with StoreReader(short_run / "telemetry.db") as reader:
        plans, forecasts = reader.plans(), reader.forecasts()
    assert [row.plan.id for row in plans if row.plan.stage == "intraday"] == manifest.read(short_run).plans[1:]
    assert all(row.newest_input_us <= row.issued_us <= row.plan.start_us for row in plans)
    assert len(forecasts) >= 4 * (1 + SLOTS)
    assert {source for *_, source in forecasts} == {"similar-days", "persistence", "same-weekday"}
    assert all(newest_us <= issued_us for _, issued_us, newest_us, _ in forecasts)


def test_every_setpoint_names_the_plan_it_follows(short_run: Path) -> None:
    with StoreReader(short_run / "telemetry.db") as reader:
        starts = {row.plan.id: (row.issued_us, row.plan) for row in reader.plans()}
        queued = [row for row in reader.commands() if row.state == "queued" and row.plan]
    assert queued
    for row in queued:
        issued_us, plan = starts[row.plan]
        assert issued_us <= row.ts_us < plan.start_us + plan.slots * SLOT_US
        assert row.reason


# Files


class Outside(HTMLParser):
    """Collects everything a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            fetched = name in ("src", "srcset", "data", "poster", "action") or (name == "href" and tag == "link")
            if fetched and value and not value.startswith(("data:", "#")):
                self.found.append(f"<{tag} {name}={value[:80]}>")


def test_the_report_is_one_file_that_fetches_nothing(short_run: Path, summary: dict[str, Any]) -> None:
    text = (short_run / "report.html").read_text(encoding="utf-8")
    page = Outside()
    page.feed(text)
    assert page.found == []
    assert "@import" not in text
    assert len(text) > 500_000, "plotly's JavaScript is in it"
    assert summary["ledger"]["root"] in text
    assert "Assumption" in text or "assum" in text


def test_the_recording_holds_every_reading_and_command(short_run: Path, summary: dict[str, Any]) -> None:
    recording = Recording(short_run / "recording" / "log.bin")
    frames = list(recording)
    assert recording.end.complete
    readings = [frame for frame in frames if isinstance(frame, ReadingFrame)]
    commands = [frame for frame in frames if isinstance(frame, CommandFrame)]
    assert len(readings) == summary["telemetry"]["received"]
    with StoreReader(short_run / "telemetry.db") as reader:
        assert len(commands) == len(reader.commands())


def test_a_folder_with_something_in_it_is_not_overwritten(vpptwin: Vpptwin, short_run: Path, tmp_path: Path) -> None:
    said = vpptwin("run", SITE, "--hours", "0.25", "--out", short_run, expect=2).stderr
    assert "the output folder exists and is not empty" in said
    (tmp_path / "precious.txt").write_text("mine")
    said = vpptwin("run", SITE, "--hours", "0.25", "--out", tmp_path, "--force", expect=2).stderr
    assert "not a run folder of ours" in said
    assert (tmp_path / "precious.txt").exists()


# Other data


def test_campus_data_runs_through_a_site_of_its_own(vpptwin: Vpptwin, tmp_path: Path, batches: Batches) -> None:
    if not CAMPUS.is_dir():
        pytest.skip("../shared/data/campus is not here: it may be used but not published")
    run = tmp_path / "run"
    site = ROOT / "examples" / "sites" / "campus.yaml"
    vpptwin("run", site, "--start", "2018-10-10T10:00", "--hours", "2", "--out", run)
    found = summary_of(run)
    assert (found["slots"], found["plans"]["kept"], found["telemetry"]["lost"]) == (8, 0, 0)
    assert found["ledger"]["verified"] is True
    assert found["cost"]["perfect_foresight"] <= found["cost"]["actual"]
    said, stored = batches(run)
    assert said == stored
    with StoreReader(run / "telemetry.db") as reader:
        _, pv_w = reader.series("pv-music", "p_w")
    assert pv_w.max() > 20_000
