"""The day as it was: what the plant was fed with, minute by minute, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from twin import realised
from twin.data import DataSet
from twin.feed import Feed
from twin.site import Site

MINUTE_US, SLOT_US = 60_000_000, 900_000_000


@pytest.fixture
def wide(eight_homes: Site, homes_data: DataSet) -> Feed:
    return Feed(eight_homes, homes_data, 0)


def test_every_party_but_the_grid_has_its_demand_and_pv_by_the_minute(wide: Feed, t0_us: int) -> None:
    parties, load_w, pv_w = realised.powers(wide.site, wide.power_w, t0_us, 2)
    assert parties == ("vpp", *(f"home-{h}" for h in (1, 2, 9, 10, 11, 13, 16, 17)))
    assert load_w.shape == pv_w.shape == (9, 30)
    span = (t0_us + 7 * MINUTE_US, t0_us + 8 * MINUTE_US)
    assert pv_w[1, 7] == wide.power_w("home-1/pv", *span)
    assert load_w[parties.index("home-13"), 7] == pytest.approx(wide.power_w("home-13/load", *span))
    assert not load_w[0].any()
    assert not pv_w[0].any()


def test_interruptible_demand_is_its_share_of_the_homes_load_per_slot(wide: Feed, t0_us: int) -> None:
    (flex,) = realised.flexible_demand(wide.site, wide.power_w, t0_us, 4)
    _, load_w, _ = realised.powers(wide.site, wide.power_w, t0_us, 4)
    assert flex.id == "flex-13"
    np.testing.assert_allclose(flex.demand_w, 0.3 * load_w[6].reshape(4, 15).mean(axis=1))


def test_a_gap_counts_as_nothing_as_it_does_in_the_plant(two_homes: Site, t0_us: int) -> None:
    source: Callable[[str, int, int], float | None] = lambda series, start, end: None  # noqa: E731
    _, load_w, pv_w = realised.powers(two_homes, source, t0_us, 1)
    assert not load_w.any()
    assert not pv_w.any()
