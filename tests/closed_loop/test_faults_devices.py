"""Devices that never answer or die in mid-run: the run goes on, counts what is missing, says so, takes them back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

MINUTE_US = 60_000_000
TICKS = 60
DIES, BACK = 20, 40
"""Minutes of the run."""


@pytest.fixture(scope="module")
def silent(run_here: Callable[..., Any]) -> Any:
    """Half an hour without a battery (Modbus) and a home's meter (MQTT)."""
    return run_here({"bat-1": {"never_answers": True}, "meter-2": {"never_answers": True}}, hours=0.5)


def test_a_run_goes_on_without_a_device_that_never_answers(silent: Any) -> None:
    assert (silent.summary.slots, silent.summary.plans.kept) == (2, 0)
    assert silent.summary.cost.actual is not None
    telemetry = silent.summary.telemetry
    assert (telemetry.missing, telemetry.lost) == (2 * (30 + 1), 0)
    assert telemetry.received == telemetry.stored == 6 * (30 + 1)
    assert silent.rows("SELECT DISTINCT device FROM command WHERE state = 'verified'") == [("bat-2",)]
    assert silent.summary.setpoints.sent == silent.summary.setpoints.verified > 0


def test_a_device_that_never_answers_is_named_once_and_estimated(silent: Any) -> None:
    assert silent.log.count("register 40000+2: connection lost") == silent.log.count("meter-2: no telemetry") == 1
    assert silent.events("bat-1") == silent.events("meter-2") == ["has not answered yet"]
    assert silent.qualities("meter-2") == ["estimated"] * 2
    assert silent.qualities("meter-1") == ["actual"] * 2
    assert "energy estimated for meter-2" in silent.report


@pytest.fixture(scope="module")
def dying(run_here: Callable[..., Any]) -> Any:
    """An hour in which a battery, a home's meter and the grid's meter are dead for 20 minutes."""
    gone = {"dies_at_s": DIES * 60, "back_at_s": BACK * 60}
    return run_here({"bat-1": gone, "meter-2": gone, "meter-grid": gone}, hours=1)


def minutes_of(run: Any, device: str, query: str) -> list[int]:
    began_us = run.rows("SELECT min(ts_us) FROM meter")[0][0]
    return [(ts_us - began_us) // MINUTE_US for (ts_us,) in run.rows(query, device)]


def test_a_device_that_died_is_missing_while_it_is_gone_and_not_longer(dying: Any) -> None:
    missing = 0
    for device, kind in (("meter-2", "meter"), ("meter-grid", "meter"), ("bat-1", "storage")):
        minutes = minutes_of(dying, device, f"SELECT ts_us FROM {kind} WHERE device = ? ORDER BY ts_us")
        assert minutes[:DIES] == list(range(DIES)), device
        assert BACK <= minutes[DIES] <= BACK + 1, f"{device}: at most one poll is left out by the back-off"
        assert minutes[DIES:] == list(range(minutes[DIES], TICKS + 1)), device
        assert f"{device} answers again" in dying.log
        gone, back = dying.events(device)
        assert gone.startswith("no reading for ")
        assert back.startswith("valid readings again after ")
        missing += TICKS + 1 - len(minutes)
    assert (dying.summary.telemetry.missing, dying.summary.telemetry.lost) == (missing, 0)


def test_a_battery_that_came_back_is_under_control_again_and_released_at_the_end(dying: Any) -> None:
    query = "SELECT ts_us FROM command WHERE device = ? AND state = 'verified' ORDER BY id"
    verified = minutes_of(dying, "bat-1", query)
    assert verified[0] < DIES
    assert verified[-1] >= BACK
    assert not [minute for minute in verified if DIES <= minute < BACK]
    assert dying.rows("SELECT state FROM command WHERE device = 'bat-1' ORDER BY id")[-1] == ("released",)


@pytest.mark.parametrize("meter", ["meter-2", "meter-grid"])
def test_the_energy_of_an_outage_is_estimated_and_none_of_it_is_lost(dying: Any, meter: str) -> None:
    assert dying.qualities(meter) == ["actual", "estimated", "estimated", "actual"]
    bodies = dying.metered(meter)
    for before, after in pairwise(body["reg"] for body in bodies):
        assert (before[1], before[3]) == (after[0], after[2]), "a slot opens where the last one closed"
    query = "SELECT e_imp_wh, e_exp_wh FROM meter WHERE device = ? ORDER BY ts_us"
    (first_imp, first_exp), (last_imp, last_exp) = (dying.rows(query, meter)[index] for index in (0, -1))
    assert sum(body["wh"] for body in bodies) == (last_exp - first_exp) - (last_imp - first_imp)
