"""Case files: what is read is what was written, every error at once with its line, and `vpptwin solve`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from controller.mechanisms.twostage import paper_instance
from twin.casefile import CaseFileError, load_case

CASES = Path(__file__).parents[3] / "examples" / "cases"
Vpptwin = Callable[..., subprocess.CompletedProcess[str]]


def test_the_example_is_the_instance_of_the_specification() -> None:
    found, wanted = load_case(CASES / "paper-day.yaml"), paper_instance.day_ahead_case()
    assert (found.stage, found.mechanism, found.case.slots) == ("day_ahead", "twostage", 24)
    assert found.case.parties == wanted.parties
    assert found.case.import_max_w == wanted.import_max_w
    for one, other in zip(found.case.assets, wanted.assets, strict=True):
        assert type(one) is type(other)
        for field in fields(one):
            given, known = getattr(one, field.name), getattr(other, field.name)
            if isinstance(known, np.ndarray):
                assert given == pytest.approx(known, abs=1e-6)
            else:
                assert given == known
    for party, row in wanted.load_w.items():
        assert found.case.load_w[party] == pytest.approx(row, abs=1e-6)
    assert found.case.tariff.import_per_kwh.tolist() == wanted.tariff.import_per_kwh.tolist()


def test_every_error_of_a_file_comes_with_its_line_and_field(tmp_path: Path) -> None:
    text = (CASES / "paper-day.yaml").read_text(encoding="utf-8")
    path = tmp_path / "day.yaml"
    path.write_text(text.replace("party: p3", "party: p4").replace("id: es-p2", "id: es-p1"), encoding="utf-8")
    with pytest.raises(CaseFileError) as caught:
        load_case(path)
    lines = str(caught.value).splitlines()
    assert sum("'p4' is no prosumer or operator" in line for line in lines) == 4
    taken = next(line for line in lines if "is taken" in line)
    place = path.read_text(encoding="utf-8").splitlines()[int(taken.split(":")[1].split()[0]) - 1]
    assert place.strip().endswith("id: es-p1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("slots: 24", "slots: 23", "24 values for 23 slots"),
        ("eta_charge", "eta_chrage", "did you mean 'eta_charge'?"),
        ("stage: day_ahead", "stage: hourly", "allowed: day_ahead, intraday"),
        ("    il-p1:", "    il-p9:", "no row for il-p1"),
        ("slot_s: 3600", "slot_s: soon", "'soon' is text"),
        ("schema: 1", "schema: 9", "out of range"),
    ],
)
def test_what_a_case_cannot_be(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (CASES / "paper-day.yaml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "day.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(CaseFileError, match=message) as caught:
        load_case(path)
    assert str(caught.value).startswith("day.yaml:")


def test_solve_prints_a_plan_with_its_certificate(vpptwin: Vpptwin) -> None:
    done = vpptwin("solve", CASES / "paper-window.yaml", "--json")
    plan = json.loads(done.stdout)
    assert plan["stage"] == "intraday"
    sure = plan["certificate"]
    assert sure["bound"] >= sure["objective"] > 0
    assert sure["deviation_gain"] < 1e-5
    assert len(plan["buy_per_kwh"]["p1"]) == 16


def test_the_papers_swarm_constants_warn_on_the_command_line(vpptwin: Vpptwin) -> None:
    """T7: what cannot converge says so, and the plan that comes out is worth no more than its bound."""
    done = vpptwin("solve", CASES / "paper-window.yaml", "--method", "paper-preset", "--json")
    assert "w = 2.0, c1 = 0.5, c2 = 0.5 do not converge" in done.stderr
    sure = json.loads(done.stdout)["certificate"]
    assert sure["bound"] >= sure["objective"]


def test_solve_names_what_is_wrong(vpptwin: Vpptwin) -> None:
    assert "no such file" in vpptwin("solve", "nothing.yaml", expect=2).stderr
    day = CASES / "paper-day.yaml"
    assert "'speed' is unknown" in vpptwin("solve", day, "--budget", "speed=3", expect=2).stderr
    assert "installed: " in vpptwin("solve", day, "--mechanism", "guess", expect=3).stderr
