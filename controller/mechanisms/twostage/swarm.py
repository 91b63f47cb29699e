"""Particle swarm on the unit cube, with the constants as an argument: the paper's own do not converge.

The recursion v <- w v + c1 r1 (own best - x) + c2 r2 (swarm's best - x) is stable only for |w| < 1. The paper's w = 2
lets every particle run away; a velocity clamp keeps it inside the cube, where it then jumps from wall to wall.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from controller.case import FloatArray


class UnstableSwarmWarning(UserWarning):
    """Swarm constants outside the region where the recursion converges."""


@dataclass(frozen=True, slots=True)
class Constants:
    """Inertia and learning factors."""

    w: float = 0.7298
    c1: float = 1.49618
    c2: float = 1.49618
    clamp: float = 0.2
    """Largest step per iteration, share of the cube."""

    @property
    def stable(self) -> bool:
        """Order-2 stability of the recursion (Poli 2009): |w| < 1 and c1 + c2 < 24 (1 - w^2) / (7 - 5 w)."""
        return abs(self.w) < 1 and self.c1 + self.c2 < 24 * (1 - self.w**2) / (7 - 5 * self.w)


PAPER = Constants(w=2.0, c1=0.5, c2=0.5)
"""The paper's section 5.1, probably with w and c swapped."""


def maximise(
    value: Callable[[FloatArray], FloatArray],
    low: FloatArray,
    high: FloatArray,
    *,
    particles: int,
    iterations: int,
    random: np.random.Generator,
    constants: Constants | None = None,
    start: FloatArray | None = None,
) -> tuple[FloatArray, float]:
    """Best point found in the box and its value; `value` maps (particles, d) to (particles,).

    Warns UnstableSwarmWarning where the constants cannot converge.
    """
    used = constants or Constants()
    if not used.stable:
        what = f"w = {used.w}, c1 = {used.c1}, c2 = {used.c2} do not converge"
        warnings.warn(f"{what}; |w| < 1 is necessary, w = 0.7298 with c = 1.49618 is usual", UnstableSwarmWarning, 2)
    d = low.shape[0]
    at = low + random.random((particles, d)) * (high - low)
    if start is not None:
        at[0] = start
    step = (random.random((particles, d)) - 0.5) * used.clamp
    own, own_value = at.copy(), value(at)
    for _ in range(iterations):
        best = own[int(np.argmax(own_value))]
        pull = used.c1 * random.random((particles, d)) * (own - at) + used.c2 * random.random((particles, d)) * (
            best - at
        )
        step = np.clip(used.w * step + pull, -used.clamp, used.clamp)
        at = np.clip(at + step, low, high)
        now = value(at)
        better = now > own_value
        own[better], own_value[better] = at[better], now[better]
    return own[int(np.argmax(own_value))], float(np.max(own_value))
