"""Calibration of head probabilities: Platt scaling on logits, and how far off a head is.

Platt (1999): ``p = sigmoid(slope * logit + offset)`` by maximum likelihood with his smoothed targets. Two parameters stand
on the few positives that rare heads have where a free monotone fit would follow noise, and with a slope above zero a
head's order never changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_SLOPE = 0.1
_STEPS = 50


@dataclass(frozen=True)
class Reliability:
    """How calibrated one head is: mean prediction beside the observed rate, and the expected calibration error."""

    rows: int
    positives: int
    mean_predicted: float
    observed_rate: float
    error: float
    """Mean absolute gap between prediction and rate over equally filled bins, weighted by rows; in [0, 1]."""

    def as_dict(self) -> dict[str, float]:
        return {
            "rows": self.rows,
            "positives": self.positives,
            "mean_predicted": self.mean_predicted,
            "observed_rate": self.observed_rate,
            "calibration_error": self.error,
        }


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -40.0, 40.0)))


def fit_platt(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """(slope, offset) for logits ``(n,)`` and 0/1 labels ``(n,)``; slope is at least ``MIN_SLOPE``.

    With no positive or no negative there is nothing to fit and (1, 0) comes back.
    """
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    labels, x = np.asarray(labels, np.float64), np.asarray(logits, np.float64)
    positive, negative = float(weights @ labels), float(weights @ (1 - labels))
    if positive == 0 or negative == 0:
        return 1.0, 0.0
    target = np.where(labels > 0.5, (positive + 1) / (positive + 2), 1 / (negative + 2))
    slope, offset = _newton(x, target, weights)
    if slope < MIN_SLOPE:  # the head knows next to nothing: keep its order, fit its level
        slope, offset = MIN_SLOPE, _level(MIN_SLOPE * x, target, weights)
    return slope, offset


def fit_level(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The offset that alone makes the mean prediction the observed rate, for heads whose few positives say nothing of a slope.

    Arrays as in :func:`fit_platt`; half a positive and half a negative are added, so that a rate is never 0 or 1.
    """
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    total = float(weights.sum())
    rate = (float(weights @ np.asarray(labels, np.float64)) + 0.5) / (total + 1.0)
    return _level(np.asarray(logits, np.float64), np.full(len(labels), rate), weights) if total else 0.0


def reliability(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, bins: int = 10) -> Reliability:
    """Compare predictions ``(n,)`` with 0/1 labels ``(n,)`` over ``bins`` equally filled bins."""
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    if len(labels) == 0:
        return Reliability(0, 0, float("nan"), float("nan"), float("nan"))
    order = np.argsort(probabilities, kind="stable")
    total, error = weights.sum(), 0.0
    for rows in np.array_split(order, min(bins, len(order))):
        error += abs(float(weights[rows] @ (probabilities[rows] - labels[rows])))
    predicted, observed = float(weights @ probabilities / total), float(weights @ labels / total)
    return Reliability(len(labels), int(np.sum(labels > 0.5)), predicted, observed, float(error / total))


def _newton(x: np.ndarray, target: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Maximum likelihood of (slope, offset) by damped Newton steps; the loss is convex."""
    slope, offset = 1.0, 0.0
    loss = _loss(slope, offset, x, target, weights)
    for _ in range(_STEPS):
        p = sigmoid(slope * x + offset)
        gap, curve = weights * (p - target), weights * p * (1 - p) + 1e-12
        gradient = np.array([gap @ x, gap.sum()])
        hessian = np.array([[curve @ (x * x) + 1e-9, curve @ x], [curve @ x, curve.sum() + 1e-9]])
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while (lower := _loss(slope - scale * step[0], offset - scale * step[1], x, target, weights)) > loss and scale > 1e-6:
            scale /= 2
        if loss - lower < 1e-9 * abs(loss):
            break
        slope, offset, loss = slope - scale * step[0], offset - scale * step[1], lower
    return float(slope), float(offset)


def _level(x: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    """The offset that makes the mean prediction right for fixed logits, by bisection."""
    low, high, goal = -40.0, 40.0, float(weights @ target)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(weights @ sigmoid(x + middle)) < goal else (low, middle)
    return (low + high) / 2


def _loss(slope: float, offset: float, x: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    z = slope * x + offset
    return float(weights @ (np.logaddexp(0.0, z) - target * z))
