"""Ordinary Kriging: one shared kernel for many outputs (models/twostage.md section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from controller.case import FloatArray

NUGGET = 1e-4
LENGTHS = (0.3, 0.6, 1.0, 2.0, 4.0)
"""Length scales among which the likelihood chooses."""


@dataclass(frozen=True, slots=True)
class Kriging:
    """A fitted surrogate of outputs (samples, outputs) over points (samples, dimensions) of the unit cube."""

    points: FloatArray
    length: float
    mean: FloatArray
    weights: FloatArray
    inverse: FloatArray
    variance: float

    def predict(self, at: FloatArray) -> FloatArray:
        """Outputs at points (queries, dimensions): mean + r'R^-1 (Y - mean)."""
        return self.mean + correlation(at, self.points, self.length) @ self.weights

    def deviation(self, at: FloatArray) -> FloatArray:
        """Standard deviation at points, array (queries,): sigma * sqrt(1 - r'R^-1 r)."""
        near = correlation(at, self.points, self.length)
        left = 1.0 - np.einsum("qs,st,qt->q", near, self.inverse, near)
        return np.asarray(np.sqrt(self.variance * np.maximum(left, 0.0)))


def correlation(first: FloatArray, second: FloatArray, length: float) -> FloatArray:
    """exp(-|x - x'|^2 / (2 length^2 d / 4)), array (first, second)."""
    square = np.sum(first**2, axis=1)[:, None] + np.sum(second**2, axis=1)[None] - 2 * first @ second.T
    return np.asarray(np.exp(-np.maximum(square, 0.0) / (2 * length**2 * first.shape[1] / 4)))


def fit(points: FloatArray, outputs: FloatArray) -> Kriging:
    """The length scale of greatest likelihood, one variance for all outputs scaled by their spread."""
    return min((_fitted(points, outputs, length) for length in LENGTHS), key=lambda pair: pair[0])[1]


def _fitted(points: FloatArray, outputs: FloatArray, length: float) -> tuple[float, Kriging]:
    """(negative log likelihood, surrogate)."""
    n = points.shape[0]
    factor = cho_factor(correlation(points, points, length) + NUGGET * np.eye(n), lower=True)
    ones = np.ones(n)
    solved = cho_solve(factor, ones)
    mean = solved @ outputs / (ones @ solved)
    left = outputs - mean
    weights = cho_solve(factor, left)
    spread = np.maximum(np.var(outputs, axis=0), 1e-9)
    variance = float(np.mean(np.sum(left * weights, axis=0) / spread) / n)
    loss = 0.5 * n * np.log(max(variance, 1e-300)) + float(np.sum(np.log(np.diag(factor[0]))))
    scale = float(np.mean(spread)) * variance
    return loss, Kriging(points, length, mean, weights, cho_solve(factor, np.eye(n)), scale)
