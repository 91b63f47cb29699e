"""The report shows what the run folder holds, fetches nothing, and says what is missing."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.plan import Certificate, Order, Plan, Schedule, sealed
from devices.readings import Quality, Reading
from twin.errors import TwinError
from twin.report import CaseCost, DeviceRow, PartyRow, ReportData, build_report
from twin.report.data import read, write
from twin.report.sources import endings
from twin.report.span import Span
from twin.report.telemetry import held, means
from twin.store import CommandRow, EventRow, ForecastRows, Store

T0 = 1_473_058_800_000_000  # 2016-09-05 00:00 in Los Angeles
SLOT_US = 900_000_000
HOMES = (1, 2, 9, 10, 11, 13, 16, 17)


class Day:
    """A made-up but balanced day of eight homes: power of every device per step, W, bus sign."""

    def __init__(self, slots: int = 96, step_s: int = 60, seed: int = 3) -> None:
        self.slots, self.step_s, self.steps = slots, step_s, slots * 900 // step_s
        chance = np.random.default_rng(seed)
        hour = np.arange(self.steps) * step_s / 3600
        self.power: dict[str, np.ndarray] = {}
        self.soc: dict[str, np.ndarray] = {}
        total = np.zeros(self.steps)
        for home in HOMES:
            cloud = np.clip(
                1 - 0.35 * np.abs(np.convolve(chance.normal(size=self.steps), np.ones(9) / 3, "same")), 0, 1
            )
            pv = 3600 * np.clip(np.sin((hour - 6) / 13 * math.pi), 0, None) ** 1.5 * cloud * (0.6 + home / 25)
            load = 350 + 900 * np.exp(-(((hour - 19.5) / 2) ** 2)) + 500 * np.exp(-(((hour - 7.5) / 1.2) ** 2))
            load = load * (0.7 + home / 30) + chance.uniform(0, 160, self.steps)
            battery, soc = self._battery(pv - load, hour)
            self.power |= {f"pv-{home}": pv, f"bat-{home}": battery, f"meter-{home}": pv + battery - load}
            self.soc[f"bat-{home}"] = soc
            total += self.power[f"meter-{home}"]
        self.power["turbine"] = np.where((hour > 17.5) & (hour < 22), np.minimum(8000, (hour - 17.5) * 20_000), 0.0)
        self.power["meter-grid"] = -(total + self.power["turbine"])

    def _battery(self, surplus: np.ndarray, hour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        stored, power, soc = 0.35, np.zeros(self.steps), np.zeros(self.steps)
        hours = self.step_s / 3600
        for k in range(self.steps):
            wanted = -surplus[k] if hour[k] > 16.5 or surplus[k] > 0 else 0.0
            wanted = float(np.clip(wanted, -5000, 5000))
            room = ((1 - stored) * 6400 / 0.95, (stored - 0.05) * 6400 * 0.95)
            wanted = max(-room[0] / hours, min(room[1] / hours, wanted))
            stored += -wanted * hours * (0.95 if wanted < 0 else 1 / 0.95) / 6400
            power[k], soc[k] = wanted, stored
        return power, soc

    def kind(self, device: str) -> str:
        head = device.split("-")[0]
        return {"pv": "pv", "bat": "storage", "turbine": "turbine", "meter": "meter"}[head]

    def slot_w(self, device: str) -> list[float]:
        return [float(value) for value in self.power[device].reshape(self.slots, -1).mean(axis=1)]


def tariff(slots: int) -> list[float]:
    return [0.54 if 16 <= (k / 4) % 24 < 21 else 0.22 for k in range(slots)]


def plan_at(day: Day, slot: int, stage: str, slots: int) -> Plan:
    planned = {}
    for device in day.power:
        if day.kind(device) in ("storage", "turbine"):
            row = [*day.slot_w(device), *([0.0] * slots)][slot : slot + slots]
            drift = 0.93 if stage == "day_ahead" else 0.98
            planned[device] = Schedule(p_w=tuple(round(value * drift) for value in row))
    prices = [*tariff(day.slots), *tariff(slots)][slot : slot + slots]
    homes = [f"home-{home}" for home in HOMES]
    return sealed(
        Plan(
            id="",
            mechanism="twostage",
            stage=stage,  # type: ignore[arg-type]
            start_us=T0 + slot * SLOT_US,
            slot_s=900,
            orders={device: (Order("selfuse", 0, 5000, 0.2),) * slots for device in planned},
            buy_per_kwh={home: tuple(0.9 * price for price in prices) for home in homes},
            sell_per_kwh={home: tuple(0.08 + 0.3 * (price - 0.08) for price in prices) for home in homes},
            energy_wh={},
            payment_micro={},
            certificate=Certificate(
                objective=2.0,
                bound=1.99,
                gap=0.002 + 0.004 * abs(math.sin(slot)),
                residuals={},
                deviation_gain=0.0,
                optimal="bounded",
                solver="piqp",
                version="0.6",
                work={},
                solve_s=0.2 + 0.1 * math.cos(slot / 9) ** 2,
            ),
            schedule=planned,
        )
    )


def demand_w(day: Day) -> np.ndarray:
    """Home 1's own demand, slot means."""
    behind = np.array(day.slot_w("pv-1")) + np.array(day.slot_w("bat-1"))
    return behind - np.array(day.slot_w("meter-1"))


def forecasts_at(day: Day, slot: int) -> list[ForecastRows]:
    """Of home 1's demand: 100 W too much at the first slot, 20 W after it; every fourth interval misses; a baseline."""
    now, ahead = T0 + slot * SLOT_US, demand_w(day)[slot:]
    mean = tuple((ahead + (100 if slot == 0 else 20)).tolist())
    low = tuple((ahead + (5 if slot % 4 == 3 else -30)).tolist())
    high = tuple((ahead + 90).tolist())
    fan = {-1.0: mean, 0.1: low, 0.9: high}
    head = ("load/home-1", now, now, now, 900)
    return [
        ForecastRows(*head, {-1.0: (0.0,) * len(ahead)}, "persistence"),
        ForecastRows(*head, fan, "similar-days"),
    ]


def store_day(day: Day, path: Path, *, dead: range = range(0)) -> None:
    store = Store(path, on_full="wait")
    store.start()
    for k in range(day.steps):
        ts = T0 + (k + 1) * day.step_s * 1_000_000
        batch = []
        for device, power in day.power.items():
            if device == "bat-9" and k in dead:
                continue
            values = {"p_w": float(round(power[k]))}
            if device in day.soc:
                values["soc_pu"] = round(float(day.soc[device][k]), 4)
            batch.append((Reading(device, ts, k, Quality.GOOD, values), day.kind(device), bytes(16)))
        store.write_readings(batch)
    store.write_plan(plan_at(day, 0, "day_ahead", day.slots), T0, T0)
    for slot in range(day.slots):
        now = T0 + slot * SLOT_US
        for row in forecasts_at(day, slot):
            store.write_forecast(row)
        store.write_plan(plan_at(day, slot, "intraday", 16), now, now)
        for home in HOMES:
            state = "superseded" if slot % 7 == home % 7 else "verified"
            row = CommandRow(now, f"bat-{home}", "p_set_w", 100.0, "sent")
            store.write_commands([row, CommandRow(now, f"bat-{home}", "p_set_w", 100.0, state)])
    store.write_commands([CommandRow(T0, "turbine", "p_set_w", 8000.0, state) for state in ("sent", "rejected")])
    store.write_event(EventRow(T0 + 38_000_000_000, "error", "does not answer", "bat-9"))
    store.write_event(EventRow(T0 + 41_000_000_000, "info", "answers again <after 50 min>", "bat-9"))
    store.close()


def data_of(day: Day) -> ReportData:
    """What the run loop would hand over."""
    cost = {"actual": 9.87, "no_control": 16.42, "selfuse": 11.31, "tou_night": 10.62, "perfect_foresight": 9.35}
    grid = np.array(day.slot_w("meter-grid"))
    bare = grid + sum(np.array(day.slot_w(f"bat-{home}")) for home in HOMES) + np.array(day.slot_w("turbine"))
    shape = {"actual": grid, "no_control": bare, "perfect_foresight": 0.9 * grid - 200}
    parties = [
        PartyRow(
            id=f"home-{home}",
            role="prosumer",
            energy_wh=[value / 4 for value in day.slot_w(f"meter-{home}")],
            payment_micro=[round(value / 4000 * 0.25 * 1e6) for value in day.slot_w(f"meter-{home}")],
            alone_micro=[round(value / 4000 * 0.28 * 1e6) for value in day.slot_w(f"meter-{home}")],
        )
        for home in HOMES
    ]
    paid = [-sum(party.payment_micro[k] or 0 for party in parties) for k in range(day.slots)]
    parties.append(PartyRow(id="vpp", role="operator", payment_micro=[round(0.2 * value) for value in paid]))
    parties.append(PartyRow(id="grid", role="grid", payment_micro=[value - round(0.2 * value) for value in paid]))
    owner = {f"{kind}-{home}": f"home-{home}" for kind in ("pv", "bat", "meter") for home in HOMES}
    return ReportData(
        site="homes",
        zone="America/Los_Angeles",
        currency="USD",
        start_us=[T0 + k * SLOT_US for k in range(day.slots)],
        import_per_kwh=tariff(day.slots),
        export_per_kwh=[0.08] * day.slots,
        devices=[
            DeviceRow(id=d, kind=day.kind(d), party=owner.get(d, "vpp"), is_grid=d == "meter-grid") for d in day.power
        ],
        parties=parties,
        costs=[
            CaseCost(
                name=name,
                total=total,
                parts={} if name == "perfect_foresight" else {"import": total + 1.1, "export": -1.5, "wear": 0.4},
                grid_w=[float(value) for value in shape.get(name, 0.8 * bare + 300)],
            )
            for name, total in cost.items()
        ],
        assumptions=["Export price: constant 0.08 USD/kWh, set in the site file, not measured."],
        notes=[
            "Test keys: derived from the seed; the ledger proves integrity, not identity.",
            "Homes: CityLearn 2022 data set (MIT), published as measured; the source does not document how.",
        ],
    )


def summary_of(day: Day) -> dict[str, Any]:
    return {
        "schema": 1,
        "site": "homes",
        "mechanism": "twostage",
        "clock": "lockstep",
        "seed": 7,
        "slots": day.slots,
        "currency": "USD",
        "cost": {case.name: case.total for case in data_of(day).costs},
        "captured": 0.926,
        "telemetry": {"received": 26_000, "stored": 26_000, "lost": 0, "missing": 50},
        "setpoints": {
            "sent": 769, "verified": 657, "rejected": 1, "expired": 0, "diverged": 0, "superseded": 111,
            "following": 0.981,
        },
        "plans": {
            "day_ahead": 1, "intraday": 96, "kept": 0, "max_gap": 0.00599, "max_deviation_gain": 0.0,
            "solve_s_p50": 0.24, "solve_s_p99": 0.31,
        },
        "ledger": {"entries": 1536, "root": "9f2c41e07a35d8b6" * 4, "verified": True},
        "wall_s": 71.4,
    }  # fmt: skip


def made_run(folder: Path, day: Day, **options: Any) -> Path:
    """A whole run folder."""
    folder.mkdir()
    store_day(day, folder / "telemetry.db", **options)
    write(data_of(day), folder)
    (folder / "summary.json").write_text(json.dumps(summary_of(day)))
    manifest = {"version": "0.1.0", "commit": "abc", "inputs": {"homes.yaml": "77" * 32}, "builds": {"numpy": "2"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


class Elements(HTMLParser):
    """Collects what the page would load, its visible text and its figures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text: list[str] = []
        self.figures: dict[str, Any] = {}
        self.policy = ""
        self._inside: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._inside = (tag, found)
        self.loads += [str(found[key]) for key in ("src", "href", "action", "data", "srcset") if key in found]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(found["content"])

    def handle_endtag(self, tag: str) -> None:
        self._inside = ("", {})

    def handle_data(self, data: str) -> None:
        tag, attrs = self._inside
        if tag == "script" and attrs.get("id") == "figures":
            self.figures = json.loads(data)
        elif tag == "style":
            self.loads += re.findall(r"url\(([^)]*)\)|@import", data)
        elif tag != "script":
            self.text.append(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("report") / "homes-1", Day(step_s=300), dead=range(120, 132))


@pytest.fixture(scope="module")
def shown(whole: Path) -> Elements:
    return Elements(build_report(whole).read_text())


def test_the_page_is_one_file_that_fetches_nothing(whole: Path, shown: Elements) -> None:
    assert shown.loads == []
    assert shown.policy.startswith("default-src 'none'")
    html = (whole / "report.html").read_text()
    assert html.count("plotly.js v") == 1
    assert 4_000_000 < len(html) < 7_000_000


def test_all_figures_are_there_with_their_data(shown: Elements) -> None:
    assert set(shown.figures) == {
        "balance", "charge", "tracking", "forecast", "prices", "solves", "costs", "payments", "grid", "setpoints",
    }  # fmt: skip
    bars = shown.figures["costs"]["data"][0]
    assert dict(zip(bars["y"], bars["x"], strict=True))["no control"] == 16.42
    assert [trace["name"] for trace in shown.figures["charge"]["data"]] == [f"home-{home}" for home in HOMES]
    states = {trace["name"]: sum(trace["x"]) for trace in shown.figures["setpoints"]["data"]}
    assert states == {"verified": 96 * 8 - 111, "superseded": 111, "rejected": 1}
    assert len(shown.figures["solves"]["data"][0]["x"]) == 96


def test_the_stacked_powers_balance_at_every_step(shown: Elements) -> None:
    rows = [[value or 0.0 for value in trace["y"]] for trace in shown.figures["balance"]["data"]]
    assert len(rows) >= 7
    assert np.abs(np.sum(rows, axis=0)).max() < 0.01


def test_a_silent_device_leaves_a_grey_band_and_a_sentence(shown: Elements) -> None:
    bands = shown.figures["balance"]["layout"]["shapes"]
    assert [(band["x0"][11:], band["x1"][11:]) for band in bands] == [("10:00:00", "11:00:00")]
    assert any("no reading from at least one of bat-9;" in text for text in shown.text)
    assert any(None in trace["y"] for trace in shown.figures["charge"]["data"])


def test_plan_and_measured_of_a_device_stand_side_by_side(whole: Path, shown: Elements) -> None:
    figure = shown.figures["tracking"]
    view = next(view for view in figure["views"] if view["label"] == "bat-1")
    rows = {figure["data"][k]["name"]: figure["data"][k]["y"][:-1] for k in view["show"]}
    day = Day(step_s=300)
    np.testing.assert_allclose(rows["measured"], np.array(day.slot_w("bat-1")) / 1000, atol=0.001)
    np.testing.assert_allclose(rows["plan in force"], 0.98 * np.array(day.slot_w("bat-1")) / 1000, atol=0.001)
    np.testing.assert_allclose(rows["day-ahead plan"], 0.93 * np.array(day.slot_w("bat-1")) / 1000, atol=0.001)
    visible = [trace["visible"] for trace in figure["data"]]
    assert [k for k, shows in enumerate(visible) if shows] == figure["views"][0]["show"]


def test_what_was_expected_stands_beside_what_came(shown: Elements) -> None:
    figure, day = shown.figures["forecast"], Day(step_s=300)
    assert [view["label"] for view in figure["views"]] == ["demand, home-1"]
    rows = {trace["name"]: np.array(trace["y"][:-1], np.float64) for trace in figure["data"]}
    came = demand_w(day) / 1000
    assert "80 % interval (75 % came true)" in rows
    np.testing.assert_allclose(rows["measured"], came, atol=0.001)
    np.testing.assert_allclose(rows["expected as the slot began"][1:], came[1:] + 0.02, atol=0.001)
    np.testing.assert_allclose(rows["expected at the gate"], came + 0.1, atol=0.001)


def test_numbers_notes_and_root_are_readable(shown: Elements) -> None:
    text = " ".join(shown.text)
    for wanted in (
        "9.87", "39.9", "of what perfect foresight would save", "of 769", "verified ✓", "9f2c41e07a35d8b6" * 4,
        "vpptwin ledger verify homes-1", "Test keys: proves integrity, not identity", "CityLearn 2022",
        "Export price: constant 0.08", "answers again <after 50 min>", "local time, America/Los_Angeles (UTC-07:00)",
        "10.62 USD",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_times_are_local_times_of_the_site(shown: Elements) -> None:
    assert shown.figures["balance"]["data"][0]["x0"] == "2016-09-05 00:00:00"
    assert shown.figures["balance"]["layout"]["xaxis"]["range"] == ["2016-09-05 00:00:00", "2016-09-06 00:00:00"]


def test_a_day_with_a_clock_change_keeps_one_offset_and_says_so() -> None:
    start = 1_478_415_600_000_000  # 2016-11-06 00:00 in Los Angeles, a day of 25 h
    span = Span(start, start + 25 * 3_600_000_000, 900, "America/Los_Angeles")
    assert (span.slots, span.local(span.end_us)) == (100, "2016-11-07 01:00:00")
    assert span.clock_change is not None
    assert Span(T0, T0 + 86_400_000_000, 900, "America/Los_Angeles").clock_change is None


@pytest.mark.parametrize("gone", ["summary.json", "manifest.json", "telemetry.db", "report_data.json"])
def test_a_missing_part_is_named_and_the_rest_is_shown(tmp_path: Path, whole: Path, gone: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in {"summary.json", "manifest.json", "telemetry.db", "report_data.json"} - {gone}:
        (run / name).write_bytes((whole / name).read_bytes())
    found = Elements(build_report(run).read_text())
    assert any(text.startswith(f"Missing: {gone}") for text in found.text)
    expected = {"telemetry.db": {"costs", "grid", "payments", "prices"}, "report_data.json": {"balance", "charge"}}
    assert expected.get(gone, {"balance", "costs"}) <= set(found.figures)


def test_a_stopped_run_and_an_empty_store_still_give_a_report(tmp_path: Path) -> None:
    run = tmp_path / "stopped"
    run.mkdir()
    store = Store(run / "telemetry.db")
    store.start()
    store.close()
    (run / "summary.json").write_text('{"stopped": true, "site": "homes", "cost": {}}')
    write(ReportData(site="homes", start_us=[T0], import_per_kwh=[math.nan]), run)
    found = Elements(build_report(run).read_text())
    assert any("was stopped before its end" in text for text in found.text)
    assert sum("has no data for it" in text for text in found.text) >= 6


def test_a_folder_without_a_run_is_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(TwinError, match="name a folder made by `vpptwin run`"):
        build_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_runs_as_a_program_of_its_own(whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "twin.report"]
    done = subprocess.run([*command, str(whole)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(whole / "report.html"))
    bad = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "holds nothing of a run" in bad.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_report_data_survives_the_file_and_refuses_a_newer_one(tmp_path: Path) -> None:
    data = data_of(Day(slots=4, step_s=300))
    write(data, tmp_path)
    assert read(tmp_path) == data
    data.schema = 2
    write(data, tmp_path)
    with pytest.raises(TwinError, match="has schema 2, this version reads 1; use a newer vpptwin"):
        read(tmp_path)


def test_an_order_counts_once_and_only_if_it_was_sent() -> None:
    def row(minute: int, value: float, state: str) -> CommandRow:
        return CommandRow(T0 + minute * 60_000_000, "bat-1", "p_set_w", value, state)

    rows = [
        *(row(0, 10.0, state) for state in ("queued", "sent", "acked", "verified")),
        *(row(1, 10.0, state) for state in ("queued", "sent", "acked", "verified")),  # the same order, written again
        *(row(2, 20.0, state) for state in ("queued", "superseded")),  # never reached the wire
        *(row(3, 30.0, state) for state in ("queued", "sent", "retry", "sent", "expired")),
        *(row(16, 10.0, state) for state in ("queued", "sent", "acked", "doubtful", "diverged")),
    ]
    assert endings(rows, 900) == {"bat-1": {"verified": 1, "expired": 1, "diverged": 1}}


def test_means_and_short_gaps() -> None:
    times = np.array([0, 1, 60, 61, 120, 200]) * 1_000_000
    values = np.array([9.0, 1.0, 3.0, 5.0, math.nan, 7.0])
    np.testing.assert_array_equal(means(times, values, 0, 60, 4), [2.0, 5.0, math.nan, 7.0])
    gaps = np.array([math.nan, 1.0, math.nan, math.nan, 2.0, math.nan, math.nan, math.nan])
    np.testing.assert_array_equal(held(gaps, 2), [math.nan, 1, 1, 1, 2, math.nan, math.nan, math.nan])
