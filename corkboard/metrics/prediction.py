"""Measures of predicted probabilities: AUC with an interval over users, log loss, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corkboard.metrics.intervals import PerUser


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """P(a positive scores above a negative), a tie counting half; NaN without both kinds. Both are ``(n,)``."""
    positive = np.asarray(labels, bool)
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = _mid_ranks(np.asarray(scores))
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def auc_by_user(scores: np.ndarray, labels: np.ndarray, users: np.ndarray, n_users: int) -> PerUser:
    """The AUC over all rows, with each user's influence on it, so that users can be resampled without sorting again.

    The value is exactly :func:`auc`. A resample is the first-order expansion around it: each row's *placement* (the share of the
    other kind that it beats) less the AUC, summed by user; the clustered variance of DeLong (1988) and Obuchowski (1997).
    ``users`` is int ``(n,)`` in [0, n_users).
    """
    positive = np.asarray(labels, bool)
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    saw = np.bincount(users, minlength=n_users) > 0
    if not n_positive or not n_negative:
        return PerUser(np.zeros(n_users), np.zeros(n_users), n_positive)
    ranks = _mid_ranks(np.asarray(scores))
    among_positive, among_negative = np.empty(len(ranks)), np.empty(len(ranks))
    among_positive[positive] = _mid_ranks(np.asarray(scores)[positive])
    among_negative[~positive] = _mid_ranks(np.asarray(scores)[~positive])
    placement = np.where(positive, (ranks - among_positive) / n_negative, 1.0 - (ranks - among_negative) / n_positive)
    value = placement[positive].mean()
    share = np.where(positive, (placement - value) / n_positive, (placement - value) / n_negative)
    influence = np.bincount(users, share, n_users)
    return PerUser(np.where(saw, value + saw.sum() * influence, 0.0), saw.astype(np.float64), n_positive)


def logloss(probabilities: np.ndarray, labels: np.ndarray, epsilon: float = 1e-7) -> np.ndarray:
    """Negative log likelihood in nats of each row: float64 ``(n,)``. Probabilities are kept ``epsilon`` away from 0 and 1."""
    p = np.clip(np.asarray(probabilities, np.float64), epsilon, 1.0 - epsilon)
    return -np.where(np.asarray(labels, bool), np.log(p), np.log1p(-p))


def mean_by_user(values: np.ndarray, users: np.ndarray, n_users: int, positives: int | None = None) -> PerUser:
    """The mean of ``values``, ``(n,)``, over all rows, kept apart by user."""
    return PerUser(np.bincount(users, values, n_users), np.bincount(users, minlength=n_users).astype(np.float64), positives)


@dataclass(frozen=True)
class Calibration:
    """Predicted against observed by bins of equal size, float64 ``(bins,)``.

    ``error`` is the expected calibration error: the mean gap between the two, weighted by rows, in [0, 1].
    ``ratio`` is all that was predicted over all that was observed: above 1 is too sure; NaN where nothing was observed.
    """

    predicted: np.ndarray
    observed: np.ndarray
    count: np.ndarray
    error: float
    ratio: float


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> Calibration:
    """Calibration by ``bins`` of equal numbers of rows. Rows of equal probability share a bin, so the order of rows is irrelevant."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    if not len(p):
        empty = np.zeros(0)
        return Calibration(empty, empty, empty, float("nan"), float("nan"))
    # The middle rank of a group of ties places the whole group in one bin.
    bin_of = np.minimum(((_mid_ranks(p) - 0.5) * bins / len(p)).astype(np.int64), bins - 1)
    count = np.bincount(bin_of, minlength=bins).astype(np.float64)
    used = count > 0
    count = count[used]
    predicted = np.bincount(bin_of, p, bins)[used] / count
    observed = np.bincount(bin_of, y, bins)[used] / count
    error = float((count * np.abs(predicted - observed)).sum() / len(p))
    return Calibration(predicted, observed, count, error, float(p.sum() / y.sum()) if y.any() else float("nan"))


def _mid_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ascending; equal values share the mean of their ranks. Float64 ``(n,)``."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(values) else np.zeros(0, bool)
    group = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    last = np.concatenate([first[1:], [len(values)]]) if len(values) else first
    ranks = np.empty(len(values))
    ranks[order] = ((first + 1 + last) / 2.0)[group]
    return ranks
