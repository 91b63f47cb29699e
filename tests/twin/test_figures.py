"""Figures that stand for nothing are None, never an infinity or a division by nothing."""

from __future__ import annotations

import pytest

from twin.figures import captured, gaps


@pytest.mark.parametrize(
    ("actual", "no_control", "bound", "share"),
    [
        (8.0, 10.0, 6.0, 0.5),
        (6.0, 10.0, 6.0, 1.0),
        (11.0, 10.0, 6.0, -0.25),
        (-3.0, -2.0, -4.0, 0.5),
        (10.0, 10.0, 10.0, None),
        (9.0, 10.0, 10.5, None),
        (None, 10.0, 6.0, None),
        (8.0, None, 6.0, None),
        (8.0, 10.0, None, None),
    ],
)
def test_captured_is_the_share_of_the_saving_that_was_possible(
    actual: float | None, no_control: float | None, bound: float | None, share: float | None
) -> None:
    assert captured(actual, no_control, bound) == share


def test_gaps_say_median_and_share_within_one_per_cent() -> None:
    found = gaps([0.0, 0.004, 0.01, 0.83])
    assert (found.median, found.within_1pct) == (0.007, 0.75)
    assert (gaps([]).median, gaps([]).within_1pct) == (None, None)
