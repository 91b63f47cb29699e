"""Figures that stand for nothing are None, never an infinity or a division by nothing."""

from __future__ import annotations

import pytest

from twin.figures import captured


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
