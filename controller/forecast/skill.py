"""How good a forecast was, against persistence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.case import FloatArray


@dataclass(frozen=True, slots=True)
class Skill:
    """Mean absolute errors over the slots whose truth is known, W."""

    mae_w: float
    persistence_mae_w: float

    @property
    def skill(self) -> float:
        """1 - error / error of persistence: 0 = no better, 1 = perfect; 0 where persistence is perfect."""
        return 1 - self.mae_w / self.persistence_mae_w if self.persistence_mae_w > 0 else 0.0


def skill(mean: FloatArray, persistence: FloatArray, actual: FloatArray) -> Skill:
    """Errors of one forecast; arrays of one shape, W, NaN in `actual` where it was not measured."""
    known = np.isfinite(actual)
    if not known.any():
        return Skill(float("nan"), float("nan"))
    return Skill(float(np.abs(mean - actual)[known].mean()), float(np.abs(persistence - actual)[known].mean()))
