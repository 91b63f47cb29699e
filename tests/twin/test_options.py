"""What a run was asked for: refused when it means nothing, the same after a manifest has held it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twin.clock import LockstepClock, ScaledClock, WallClock
from twin.errors import TwinError
from twin.exits import UsageError
from twin.options import RunOptions, again


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_run_has_a_length(hours: float) -> None:
    with pytest.raises(UsageError, match="--hours"):
        RunOptions(site="x", hours=hours)


@pytest.mark.parametrize("clock", ["", "x", "x0", "x0.0", "x-1", "fast", "lockstep ", "xnan", "60x", "x1e3"])
def test_an_unknown_clock_is_refused_with_the_choices(clock: str) -> None:
    with pytest.raises(UsageError, match="choose lockstep, wall, or xN such as x60"):
        RunOptions(site="x", clock=clock)


def test_each_clock_is_of_its_kind() -> None:
    made = {name: RunOptions(site="x", clock=name).make_clock(7) for name in ("lockstep", "wall", "x600", "x0.5")}
    assert isinstance(made["lockstep"], LockstepClock)
    assert made["lockstep"].now_us() == 7
    assert isinstance(made["wall"], WallClock)
    assert isinstance(made["x600"], ScaledClock)
    assert isinstance(made["x0.5"], ScaledClock)
    assert [RunOptions(site="x", clock=name).lockstep for name in ("lockstep", "x1")] == [True, False]


def test_a_manifest_gives_back_the_same_run_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    options = RunOptions(site="a/site.yaml", data="d", hours=2, seed=5, clock="x60", start="2016-09-05", mechanism="m")
    plain = json.loads(json.dumps(options.plain()))
    assert plain["site"] == str(tmp_path / "a" / "site.yaml")
    back = again(plain)
    assert back.plain() == options.plain()
    assert (back.hours, back.seed, back.clock, back.start, back.mechanism) == (2, 5, "x60", "2016-09-05", "m")


@pytest.mark.parametrize("damage", [{"seed": "five"}, {"hours": None}, {"site": 3}, {"ports": "some"}])
def test_damaged_options_are_a_plain_error(damage: dict[str, Any]) -> None:
    with pytest.raises(TwinError, match="damaged options"):
        again({**RunOptions(site="x").plain(), **damage})
