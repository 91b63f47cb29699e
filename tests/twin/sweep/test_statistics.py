"""Captured saving, paired intervals and regret against cases made by hand, and their laws by hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.sweep.statistics import (
    LEAST_DAYS,
    PARTS,
    Difference,
    Interval,
    Panel,
    block_interval,
    captured,
    difference,
    regret,
)

COSTS = st.floats(-50, 50, allow_nan=False)


def panel(**policies: list[list[float]]) -> Panel:
    """One seed; a list of days per span."""
    return Panel({name: {1: [np.array(span) for span in spans]} for name, spans in policies.items()})


def test_captured_is_the_share_of_the_possible_saving() -> None:
    found = captured(panel(no_control=[[10.0, 10.0]], foresight=[[6.0, 4.0]], mine=[[7.0, 7.0]]), "mine")
    assert found is not None
    assert found.overall == pytest.approx(6 / 10)
    assert found.median == pytest.approx((3 / 4 + 3 / 6) / 2)
    assert found.p10 == pytest.approx(0.5 + 0.1 * 0.25)
    assert (found.days, found.days_left_out) == (2, 0)


def test_a_day_on_which_foresight_saves_nothing_has_no_share_but_counts_in_the_whole() -> None:
    found = captured(panel(no_control=[[10.0, 5.0]], foresight=[[6.0, 6.0]], mine=[[7.0, 5.0]]), "mine")
    assert found is not None
    assert (found.days, found.days_left_out) == (1, 1)
    assert found.overall == pytest.approx(3 / 3)
    assert found.median == pytest.approx(3 / 4)


def test_nothing_is_said_without_the_policies_that_a_figure_needs() -> None:
    bare = panel(mine=[[1.0]], no_control=[[2.0]])
    assert captured(bare, "mine") is None
    assert regret(bare) is None
    assert difference(bare, "mine", "absent") is None
    assert difference(bare, "mine", "mine") is None


def test_where_nothing_can_be_saved_no_share_is_given() -> None:
    found = captured(panel(no_control=[[2.0]], foresight=[[2.0]], mine=[[2.0]]), "mine")
    assert found is not None
    assert (found.overall, found.median, found.p10) == (None, None, None)


def test_seeds_of_a_day_are_averaged_and_policies_meet_on_common_seeds() -> None:
    both = Panel(
        {
            "mine": {1: [np.array([1.0, 2.0])]},
            "other": {1: [np.array([2.0, 4.0])], 2: [np.array([100.0, 100.0])]},
            "third": {2: [np.array([0.0, 0.0])]},
        }
    )
    found = difference(both, "mine", "other")
    assert found is not None
    assert (found.per_day.mean, found.days, found.seeds) == (pytest.approx(-1.5), 2, 1)
    assert difference(both, "mine", "third") is None
    assert both.days("other", [1, 2])[0].tolist() == [51.0, 52.0]


def test_better_needs_an_interval_below_zero_and_days_enough() -> None:
    def said(high: float, days: int) -> bool:
        return Difference("a", "b", Interval(-1.0, -2.0, high), days, 1).better

    assert said(-0.1, LEAST_DAYS)
    assert not said(0.0, LEAST_DAYS)
    assert not said(-0.1, LEAST_DAYS - 1)


def test_a_constant_difference_has_no_width_and_noise_has_one() -> None:
    assert block_interval([np.full(11, -2.0), np.full(7, -2.0)]) == Interval(-2.0, -2.0, -2.0)
    noise = np.random.default_rng(1).normal(size=33)
    found = block_interval([noise[:11], noise[11:22], noise[22:]])
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(noise.mean())
    assert 0.3 < (found.high - found.low) / (2 * 1.96 * noise.std() / np.sqrt(33)) < 1.5


def test_blocks_keep_neighbours_together_so_that_persistent_days_widen_the_interval() -> None:
    alike = np.repeat(np.random.default_rng(2).normal(size=10), 3)
    days, blocks = (block_interval([alike], block=size) for size in (1, 3))
    assert blocks.high - blocks.low > 1.2 * (days.high - days.low)


def test_blocks_never_leave_their_span() -> None:
    """Two spans of constants: every draw holds each of them as often as it has days."""
    assert block_interval([np.full(5, 0.0), np.full(5, 10.0)]) == Interval(5.0, 5.0, 5.0)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(120):
        found = block_interval([random.normal(size=11) for _ in range(3)], draws=400)
        hits += found.low <= 0.0 <= found.high
    assert 0.83 <= hits / 120 <= 1.0


def test_the_same_seed_draws_the_same_interval() -> None:
    days = [np.random.default_rng(4).normal(size=9)]
    assert block_interval(days) == block_interval(days)
    assert block_interval(days) != block_interval(days, seed=1)


@given(st.lists(st.lists(st.tuples(COSTS, COSTS, COSTS, COSTS), min_size=1, max_size=6), min_size=1, max_size=3))
def test_the_parts_of_regret_add_up(spans: list[list[tuple[float, ...]]]) -> None:
    costs = {name: [[day[k] for day in span] for span in spans] for k, name in enumerate(PARTS)}
    split = regret(panel(**costs))
    assert split is not None
    assert split.tracking + split.forecast + split.game == pytest.approx(split.whole, abs=1e-9)
    assert split.whole == pytest.approx(
        np.mean(np.concatenate(costs["twostage"])) - np.mean(np.concatenate(costs["foresight"])), abs=1e-9
    )


@given(st.lists(st.lists(COSTS, min_size=1, max_size=8), min_size=1, max_size=3), st.floats(-5, 5))
def test_an_interval_moves_with_its_days_and_turns_with_their_sign(spans: list[list[float]], shift: float) -> None:
    days = [np.array(span) for span in spans]
    base = block_interval(days, draws=200)
    moved = block_interval([span + shift for span in days], draws=200)
    turned = block_interval([-span for span in days], draws=200)
    assert base.low - 1e-9 <= base.high
    assert moved.low == pytest.approx(base.low + shift, abs=1e-6)
    assert (turned.low, turned.high) == (pytest.approx(-base.high, abs=1e-6), pytest.approx(-base.low, abs=1e-6))
