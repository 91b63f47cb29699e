"""Whether metered power follows: judged one tick after a change, never where the power is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from devices.readings import ProcessImage
from twin.dispatch import Setpoint
from twin.following import Following

Image = Callable[..., ProcessImage]


def asked(device: str, value_w: int) -> Setpoint:
    return Setpoint(device, value_w, 0, "", "")


@pytest.mark.parametrize(
    ("device", "asked_w", "metered_w", "follows"),
    [
        ("bat-1", 1000, 1050, True),
        ("bat-1", 1000, 1051, False),
        ("bat-1", -4000, -3880, True),
        ("bat-1", -4000, -3879, False),
        ("bat-1", 500, -500, False),
        ("pv-1", 1500, 200, True),
        ("pv-1", 1500, 1551, False),
        ("flex-1", 400, -390, True),
        ("flex-1", 400, -500, False),
    ],
)
def test_power_follows_within_the_band_and_a_limit_is_kept_from_below(
    image: Image, device: str, asked_w: int, metered_w: float, follows: bool
) -> None:
    following = Following(frozenset({"pv-1", "flex-1"}), 180)
    following.note([asked(device, asked_w)])
    following.look(image(60_000_000, {device: {"p_w": metered_w}}))
    assert (following.checked, following.followed) == (1, int(follows))


def test_only_changes_are_judged_and_only_what_is_known(image: Image) -> None:
    following = Following(frozenset(), 180)
    assert following.share is None
    following.note([asked("bat-1", 100), asked("bat-2", 100)])
    following.look(image(60_000_000, {"bat-1": {"p_w": 100.0}}))
    assert (following.checked, following.share) == (1, 1.0)
    following.note([asked("bat-1", 100), asked("bat-2", 300)])
    following.look(image(120_000_000, {"bat-1": {"p_w": 999.0}, "bat-2": {"p_w": 100.0}}))
    assert (following.checked, following.share) == (2, 0.5)
    following.look(image(180_000_000, {"bat-1": {"p_w": 0.0}, "bat-2": {"p_w": 0.0}}))
    assert following.checked == 2, "nothing new was asked for"
