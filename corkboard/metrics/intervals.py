"""Figures kept apart by user, and paired bootstrap intervals over users.

Users are the unit of chance: actions of one person hang together, so resampling actions would make every interval too narrow.
A figure keeps a total and a weight for each user; its value is the ratio of their sums. Every resample draws users with
replacement, the same draw for all figures of a comparison, so that a difference between two models is a paired one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from corkboard.seeds import generator

ENOUGH = 200
"""Users and positives below which a figure is too few to tell."""

Verdict = Literal["above", "below", "undecided", "too few to tell"]

BLOCK_DRAWS = 1 << 19
"""Draws made at once: small enough to stay in the cache, large enough to keep NumPy's overhead out of the way."""


@dataclass(frozen=True)
class PerUser:
    """A figure kept apart by user: its value is ``total.sum() / weight.sum()``.

    ``total`` and ``weight`` are float64 ``(users,)``; a user the figure says nothing about has weight 0 and total 0.
    ``positives`` counts the labels behind the figure; None where it has no labels, as with the entropy of a list.
    """

    total: np.ndarray
    weight: np.ndarray
    positives: int | None = None

    def __post_init__(self) -> None:
        if self.total.shape != self.weight.shape or self.total.ndim != 1:
            raise ValueError(f"A figure needs a total and a weight for each user, found shapes {self.total.shape} and {self.weight.shape}")

    @property
    def value(self) -> float:
        """NaN where nobody stands behind the figure."""
        weight = self.weight.sum()
        return float(self.total.sum() / weight) if weight > 0 else float("nan")

    @property
    def users(self) -> int:
        """Users who stand behind the figure."""
        return int(np.count_nonzero(self.weight))

    @property
    def enough(self) -> bool:
        """Whether at least :data:`ENOUGH` users, and positives where there are any to count, stand behind the figure."""
        return self.users >= ENOUGH and (self.positives is None or self.positives >= ENOUGH)

    def macro(self) -> PerUser:
        """The same figure with every user counting once, whatever their weight."""
        has = self.weight > 0
        return PerUser(np.divide(self.total, self.weight, out=np.zeros_like(self.total), where=has), has.astype(np.float64), self.positives)


@dataclass(frozen=True)
class Interval:
    """A percentile interval; NaN bounds where too few resamples had a value."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        return self.low > value or self.high < value


@dataclass(frozen=True)
class Comparison:
    """One figure against another over the same users. ``lift`` is difference / other; NaN where the other is 0."""

    difference: float
    difference_interval: Interval
    lift: float
    lift_interval: Interval
    verdict: Verdict


def resampled_sums(columns: np.ndarray, *, replicates: int = 1000, seed: int = 0) -> np.ndarray:
    """Sums of ``columns``, float64 ``(users, c)``, over users drawn with replacement: float64 ``(replicates, c)``.

    The multinomial weights of a resample depend only on ``seed`` and the number of users: two calls are paired with each other.
    """
    users = len(columns)
    sums = np.zeros((replicates, columns.shape[1]))
    if users == 0:
        return sums
    rng = generator(seed, "bootstrap")
    step = max(1, BLOCK_DRAWS // users)
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = rng.integers(0, users, size=(rows, users), dtype=np.int64)
        drawn += np.arange(rows, dtype=np.int64)[:, None] * users
        weights = np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users)
        sums[start : start + rows] = weights.astype(np.float64) @ columns
    return sums


def resampled_values(figures: Sequence[PerUser], *, replicates: int = 1000, seed: int = 0) -> np.ndarray:
    """The value of each figure in each resample: float64 ``(replicates, figures)``, NaN where a resample drew nobody who counts."""
    if not figures:
        return np.zeros((replicates, 0))
    columns = np.stack([column for figure in figures for column in (figure.total, figure.weight)], axis=1)
    sums = resampled_sums(columns, replicates=replicates, seed=seed)
    return _ratio(sums[:, 0::2], sums[:, 1::2])


def intervals(figures: Sequence[PerUser], *, replicates: int = 1000, seed: int = 0, level: float = 0.95) -> list[Interval]:
    """Percentile interval of each figure's own value."""
    values = resampled_values(figures, replicates=replicates, seed=seed)
    return [percentile_interval(values[:, i], level) for i in range(len(figures))]


def compare(
    figures: Sequence[PerUser], baseline: PerUser, *, replicates: int = 1000, seed: int = 0, level: float = 0.95
) -> list[Comparison]:
    """Each figure against ``baseline``, paired over the same users.

    The verdict is "above" or "below" where the interval of the difference excludes 0, and "too few to tell" where fewer than
    :data:`ENOUGH` users or positives stand behind either side.
    """
    values = resampled_values([baseline, *figures], replicates=replicates, seed=seed)
    return [comparison(figure, baseline, values[:, i], values[:, 0], level) for i, figure in enumerate(figures, start=1)]


def percentile_interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """The central ``level`` of ``values``, float ``(n,)``; NaN bounds where fewer than half of them are numbers."""
    known = values[np.isfinite(values)]
    if len(known) * 2 < max(len(values), 1):
        return Interval(float("nan"), float("nan"))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def comparison(figure: PerUser, baseline: PerUser, values: np.ndarray, others: np.ndarray, level: float = 0.95) -> Comparison:
    """As :func:`compare`, from resampled values, ``(replicates,)`` each, that were drawn in one :func:`resampled_values`."""
    difference = percentile_interval(values - others, level)
    lift = percentile_interval(_ratio(values - others, others), level)
    value = figure.value - baseline.value
    verdict: Verdict = "undecided"
    if not (figure.enough and baseline.enough):
        verdict = "too few to tell"
    elif difference.excludes(0.0):
        verdict = "above" if difference.low > 0 else "below"
    return Comparison(value, difference, value / baseline.value if baseline.value else float("nan"), lift, verdict)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
