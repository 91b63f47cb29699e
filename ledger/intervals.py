"""Energy of a slot from counter readings, such that slots add up to the register difference to the Wh.

The register at a slot's edge is interpolated between the two readings around it; both edges are rounded to whole Wh
before they are subtracted, so consecutive slots share the rounded edge and no Wh is lost or counted twice. The energy
is a function of the readings alone, in whatever order they arrived: whoever has them can recompute it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ledger.errors import LedgerError
from ledger.money import half_even

Quality = Literal["actual", "estimated"]
Sample = tuple[int, int]
"""(time µs UTC, register Wh)."""
FOREVER_US = 2**62


@dataclass(frozen=True, slots=True)
class Edge:
    """The register at a point in time."""

    register_wh: int
    quality: Quality


@dataclass(frozen=True, slots=True)
class SlotEnergy:
    """Energy counted in [start, end), with the registers at both edges (the bill shows them)."""

    wh: int
    quality: Quality
    start_register_wh: int
    end_register_wh: int


def register_at(samples: Sequence[Sample], t_us: int, period_us: int) -> Edge:
    """Register at t, from samples in time order.

    Actual if a reading stands at t, or between two readings at most 2 periods apart; otherwise estimated: on the line
    between the readings around t, or held from the only side there is.
    """
    if not samples:
        return Edge(0, "estimated")
    index = bisect_left(samples, (t_us,))
    if index < len(samples) and samples[index][0] == t_us:
        return Edge(samples[index][1], "actual")
    if index == 0:
        return Edge(samples[0][1], "estimated")
    if index == len(samples):
        return Edge(samples[-1][1], "estimated")
    (t0, r0), (t1, r1) = samples[index - 1], samples[index]
    register = r0 + half_even((r1 - r0) * (t_us - t0), t1 - t0)
    return Edge(register, "actual" if t1 - t0 <= 2 * period_us else "estimated")


def slot_energy(
    samples: Sequence[Sample], start_us: int, end_us: int, period_us: int, *, horizon_us: int = FOREVER_US
) -> SlotEnergy:
    """Energy of one counter in [start, end).

    samples : (time µs, register Wh) in time order, those of the slot and at least one beyond each edge if there is one
    period_us : how often the meter reports
    horizon_us : a reading so much later than an edge says nothing of the register there (the slot is sealed by then)
    A falling register is a new meter: its first reading starts at nothing counted, and the slot is estimated.
    Raises LedgerError if the slot is empty or the samples are not in time order.
    """
    if end_us <= start_us or period_us <= 0:
        raise LedgerError("a slot ends after it starts", where=f"slot at {start_us}")
    first = max(bisect_right(samples, start_us, key=_time) - 1, 0)
    window = samples[first : bisect_left(samples, (end_us,)) + 1]
    if any(b[0] <= a[0] for a, b in pairwise(window)):
        raise LedgerError(
            "readings are not in time order", where=f"slot at {start_us}", mend="sort and deduplicate them"
        )
    counted, exchanges = _joined(window)
    start, end = (_edge(counted, t_us, period_us, horizon_us) for t_us in (start_us, end_us))
    exchanged = any(before < end_us and after > start_us for before, after in exchanges)
    sure = start.quality == end.quality == "actual" and not exchanged
    quality: Quality = "actual" if sure else "estimated"
    return SlotEnergy(end.register_wh - start.register_wh, quality, start.register_wh, end.register_wh)


def _edge(samples: Sequence[Sample], t_us: int, period_us: int, horizon_us: int) -> Edge:
    """The register at t from what was read before t + horizon; from the first reading if there is nothing else."""
    if samples and samples[-1][0] > t_us + horizon_us:
        samples = samples[: max(bisect_right(samples, t_us + horizon_us, key=_time), 1)]
    return register_at(samples, t_us, period_us)


def _time(sample: Sample) -> int:
    return sample[0]


def _joined(samples: Sequence[Sample]) -> tuple[Sequence[Sample], list[tuple[int, int]]]:
    """Samples with registers of later meters lifted to where the earlier one ended, and the times of exchanges."""
    exchanges = [(a[0], b[0]) for a, b in pairwise(samples) if b[1] < a[1]]
    if not exchanges:
        return samples, exchanges
    lift, joined = 0, [samples[0]]
    for before, after in pairwise(samples):
        if after[1] < before[1]:
            lift += before[1] - after[1]
        joined.append((after[0], after[1] + lift))
    return joined, exchanges
