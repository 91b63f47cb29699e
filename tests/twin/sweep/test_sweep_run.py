"""Two measured days under many policies: costs, resumption, processes, Ctrl-C, the page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from controller.baseline import no_control, rule
from controller.central import Central, Settings
from controller.closed_loop import simulate_mechanism
from controller.forecast import SimilarDays
from twin.errors import TwinError
from twin.feed import Feed
from twin.site import Site
from twin.sweep import policies
from twin.sweep.choice import Choice, Span
from twin.sweep.daily import by_day
from twin.sweep.ground import Ground, grounds
from twin.sweep.oracle import Oracle
from twin.sweep.page import page
from twin.sweep.pool import Pool
from twin.sweep.result import SweepResult, summarise
from twin.sweep.sweep import Finished, Sweep, prepare, run
from twin.sweep.work import Failure, Serial, Task

ROOT = Path(__file__).parents[3]
SITE = ROOT / "examples" / "sites" / "two-homes.yaml"
SPAN = Span("2016-09-20", 2)
POLICIES = ("no_control", "selfuse", "tou", "tou_night", "tou_night_site", "central", "central_oracle", "foresight")
RULES = ("no_control", "tou_night", "foresight")


def chosen(**more: object) -> Choice:
    plain = {"spans": (SPAN,), "seeds": (1,), "settings": ("fixed", "feeder"), "policies": POLICIES, **more}
    return Choice(**plain)  # type: ignore[arg-type]


def silent(done: int, total: int, what: str) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def small(two_homes: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Finished]:
    sweep = prepare(chosen(), two_homes, tmp_path_factory.mktemp("sweep"))
    return sweep, run(sweep, Serial(), silent)


@pytest.fixture(scope="module")
def result(small: tuple[Sweep, Finished]) -> SweepResult:
    return summarise(*small)


@pytest.fixture(scope="module")
def ground(two_homes: Site, small: tuple[Sweep, Finished]) -> Ground:
    feed = Feed(two_homes, small[0].dataset, 1)
    return grounds(two_homes, feed, SPAN, small[0].settings)["feeder"]


def cost(result: SweepResult, setting: str, policy: str) -> float:
    return next(row.cost_per_day for row in result.rows if (row.setting, row.policy) == (setting, policy))


def test_every_cell_is_there_and_foresight_is_below_all(result: SweepResult) -> None:
    assert (result.cells, result.computed, result.days, result.failures) == (16, 16, 2, ())
    for setting in ("fixed", "feeder"):
        for policy in POLICIES:
            assert cost(result, setting, "foresight") <= cost(result, setting, policy) + 1e-9
        assert cost(result, setting, "central") < cost(result, setting, "no_control")


def test_captured_is_of_all_days_together(result: SweepResult) -> None:
    for row in result.rows:
        none, best = cost(result, row.setting, "no_control"), cost(result, row.setting, "foresight")
        assert row.captured is not None
        assert row.captured.overall == pytest.approx((none - row.cost_per_day) / (none - best))


def test_two_days_are_too_few_to_call_anything_better(result: SweepResult) -> None:
    assert result.differences
    assert not any(one.better for one in result.differences)


def test_days_add_up_to_the_costs_of_the_span(small: tuple[Sweep, Finished], ground: Ground) -> None:
    """Against controller.costs over the whole span, for a rule, a mechanism and the bound."""
    costs = {cell.place.policy: cell for cell in small[1].cells if cell.place.setting == "feeder"}
    scene = ground.scene
    assert scene.feeder is not None
    law = rule("tou", scene.series, scene.storages, ground.rule_prices, ground.first_slot)
    assert sum(costs["tou"].cost) == pytest.approx(scene.cost(law).total, abs=1e-9)
    assert sum(costs["no_control"].cost) == pytest.approx(
        scene.cost(no_control(scene.series, scene.storages)).total, abs=1e-9
    )
    made = simulate_mechanism(scene, Central(), SimilarDays(), netting="site")
    assert sum(costs["central"].cost) == pytest.approx(scene.cost(made.operation).total, abs=1e-9)
    for cell in costs.values():
        assert [sum(day.values()) for day in cell.parts] == pytest.approx(list(cell.cost))


def test_turbines_and_curtailment_add_up_too(eight_homes: Site) -> None:
    """The site with a turbine and an interruptible load; central control."""
    assert eight_homes.data is not None
    sweep = prepare(chosen(policies=("foresight",), settings=("fixed",)), eight_homes, Path("unused"))
    found = grounds(eight_homes, Feed(eight_homes, sweep.dataset, 1), Span("2016-09-20", 1), sweep.settings)["fixed"]
    edges = (0, 48, 96)  # two halves of a day stand for days
    short = found.scene
    made = simulate_mechanism(short, Central(Settings(scenarios=0)), SimilarDays(), netting="site")
    days = by_day(made.operation, short.run_tariff, edges, short.turbines)
    whole = short.cost(made.operation)
    assert whole.fuel > 0
    for part in ("import_", "export", "fuel", "wear", "comfort", "end_soc", "total"):
        assert sum(getattr(day, part) for day in days) == pytest.approx(getattr(whole, part), abs=1e-9), part
    bound = policies.operate(policies.find("foresight"), found, SimilarDays(), sweep.choice.budget)
    assert sum(day.total for day in bound.days) <= whole.total


def test_finished_cells_are_not_computed_again(two_homes: Site, small: tuple[Sweep, Finished]) -> None:
    sweep, first = small
    again = run(sweep, Forbidden(), silent)
    assert (again.computed, again.cells) == (0, first.cells)


class Forbidden:
    """An executor that must have nothing to do."""

    def results(self, tasks: Iterable[Task]) -> list[Failure]:
        assert list(tasks) == []
        return []

    def close(self) -> None:
        """Nothing runs."""


def test_cells_of_other_inputs_are_computed_again(two_homes: Site, tmp_path: Path) -> None:
    choice = chosen(policies=RULES, settings=("feeder",))
    assert run(prepare(choice, two_homes, tmp_path), Serial(), silent).computed == 3
    other = msgspec.structs.replace(choice, feeder_w=1500.0)
    found = run(prepare(other, two_homes, tmp_path), Serial(), silent)
    assert found.computed == 3
    longer = msgspec.structs.replace(other, policies=(*RULES, "selfuse"))
    assert run(prepare(longer, two_homes, tmp_path), Serial(), silent).computed == 1


def test_a_damaged_cell_is_named(two_homes: Site, tmp_path: Path) -> None:
    sweep = prepare(chosen(policies=("no_control",), settings=("fixed",)), two_homes, tmp_path)
    run(sweep, Serial(), silent)
    path = next((tmp_path / "cells").iterdir())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(TwinError, match=f"{path.name}.*remove the file"):
        run(sweep, Serial(), silent)


def test_a_pool_of_processes_finds_the_same(small: tuple[Sweep, Finished], two_homes: Site, tmp_path: Path) -> None:
    choice = chosen(policies=(*RULES, "tou"), settings=("fixed",))
    sweep, pool = prepare(choice, two_homes, tmp_path), Pool(2)
    try:
        found = run(sweep, pool, silent)
    finally:
        pool.close()
    alone = {cell.place: cell.cost for cell in small[1].cells}
    assert found.computed == 4
    assert all(cell.cost == alone[cell.place] for cell in found.cells)


def test_fewer_seeds_for_slow_policies(two_homes: Site, tmp_path: Path) -> None:
    choice = chosen(policies=RULES, settings=("fixed",), seeds=(1, 2), seeds_for={"tou_night": 1})
    sweep = prepare(choice, two_homes, tmp_path)
    found = summarise(sweep, run(sweep, Serial(), silent))
    assert {row.policy: row.seeds for row in found.rows} == {"no_control": 2, "tou_night": 1, "foresight": 2}
    pair = next(c.difference for c in found.differences if c.difference.policy == "tou_night")
    assert (pair.seeds, pair.days) == (1, 2)


REFUSING = """
from controller.errors import ControllerError


class Refusing:
    name = "refusing"
    settle_rule = "price_taker"

    def plan(self, case, stage, budget, warm=None):
        raise ControllerError("out of ideas", where="refusing", mend="ask another")
"""


def test_a_mechanism_that_refuses_leaves_a_gap_and_says_why(
    two_homes: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "refusing_mechanism.py").write_text(REFUSING)
    monkeypatch.syspath_prepend(tmp_path / "code")
    choice = chosen(policies=("mine=refusing_mechanism:Refusing", "no_control"), settings=("fixed",))
    sweep = prepare(choice, two_homes, tmp_path)
    found = summarise(sweep, run(sweep, Serial(), silent))
    assert [row.policy for row in found.rows] == ["no_control"]
    assert len(found.failures) == 1
    assert "-mine: " in found.failures[0]
    assert "out of ideas" in found.failures[0]
    assert "out of ideas" in page(found)


def test_the_truth_is_what_happens(ground: Ground) -> None:
    scene = ground.scene
    oracle = Oracle(scene.start_us, ground.truth)
    found = oracle.forecast(scene.history(), scene.start_us, scene.series.slots, scene.series.slot_s).mean
    history, known = scene.history(), len(next(iter(scene.past.values())))
    for name, row in history.series.items():
        assert found[name] == pytest.approx(row[known:]), name


def test_every_figure_and_table_is_on_the_page(result: SweepResult) -> None:
    text = page(result)
    figures = json.loads(text.partition('id="figures">')[2].partition("</script>")[0])
    assert set(figures) == {"captured", "differences", "days"}  # no twostage, so no regret
    assert "Nothing to draw" in text
    for policy in POLICIES:
        assert f">{policy}</td>" in text
    assert len(figures["differences"]["views"]) == 2 * len(POLICIES)
    assert all(len(figures["differences"]["data"]) > view["show"][0] for view in figures["differences"]["views"])


def test_ctrl_c_loses_no_finished_cell(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("vpptwin")), "sweep", str(SITE), "--spans", "2016-09-20:1"]
    command += [
        "--seeds",
        "1",
        "--jobs",
        "2",
        "--settings",
        "fixed,dynamic,feeder",
        "--policies",
        "central,central_oracle",
        "--out",
        str(tmp_path),
    ]
    cells = tmp_path / "cells"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as started:
        for _ in range(600):
            if cells.is_dir() and any(cells.glob("*.json")):
                break
            assert started.poll() is None
            time.sleep(0.1)
        os.killpg(started.pid, signal.SIGINT)
        said = started.communicate(timeout=30)[1]
    assert started.returncode == 130, said
    assert "Traceback" not in said
    assert "the same command continues" in said
    done = len(list(cells.glob("*.json")))
    assert 0 < done < 6
    ended = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=100, check=True)
    found = json.loads(ended.stdout)
    assert (found["cells"], found["computed"]) == (6, 6 - done)
