"""Local time only at the edges: starts, gates and clock changes."""

import datetime as dt

import pytest

from twin.exits import UsageError
from twin.span import DAY_US, Gate, default_start_us, instant_us, parse_start

ZONE = "America/Los_Angeles"


def test_a_date_is_its_local_midnight() -> None:
    assert instant_us(parse_start("2016-09-05"), ZONE) == 1_473_058_800_000_000
    assert instant_us(parse_start("2016-09-05T07:00:00+00:00"), ZONE) == 1_473_058_800_000_000


def test_a_wrong_start_says_how_to_write_it() -> None:
    with pytest.raises(UsageError, match="2016-09-05T06:00"):
        parse_start("5.9.2016")


@pytest.mark.parametrize(("date", "hours"), [("2016-11-05", 24), ("2016-11-06", 25), ("2017-03-12", 23)])
def test_gates_are_23_to_25_hours_apart_where_clocks_change(date: str, hours: int) -> None:
    gate = Gate(ZONE, dt.time())
    start_us = instant_us(parse_start(date), ZONE)
    assert gate.is_gate(start_us)
    assert not gate.is_gate(start_us + 900_000_000)
    assert gate.next_us(start_us) - start_us == hours * 3600 * 1_000_000


def test_the_default_start_leaves_28_days_of_history() -> None:
    data_us = instant_us(parse_start("2016-08-01T03:00"), ZONE)
    start_us = default_start_us(data_us, ZONE)
    assert start_us == instant_us(parse_start("2016-08-30"), ZONE)
    assert start_us - data_us >= 28 * DAY_US
