"""The error budget of Shop The Look: at which stage the right product is lost, and what each stage could give at most.

    detected -> right category -> among the candidates -> on top after reranking -> shown

over the true objects whose product is in the catalogue. A stage's rate is conditional on all stages before it, so their product is the
share of objects whose product is shown first, end to end (P@1). An oracle run puts the truth in place of one stage; what it gains is the
head-room of that stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from corkboard.errors import InputError
from corkboard.metrics.prediction import auc

STAGES = ("detected", "categorised", "retrieved", "top", "shown")
"""A box that overlaps by half; the category searched is the true one; the product among the candidates; first of them; not gated away."""


@dataclass(frozen=True)
class LookOutcomes:
    """What became of n true objects whose product is in the catalogue. All arrays are ``(n,)``."""

    detected: np.ndarray
    """bool: a box overlaps the true one by half or more."""
    categorised: np.ndarray
    """bool: the true category was searched."""
    retrieved: np.ndarray
    """int: place of the product among the candidates, -1 where it is not there."""
    ranked: np.ndarray
    """int: its place after reranking, before the gate and what else is dropped; -1 where it is not there."""
    shown: np.ndarray
    """int: its place on the shelf, -1 where it is not there."""

    def __post_init__(self) -> None:
        shapes = {np.shape(values) for values in vars(self).values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise InputError("Outcomes do not fit together", found=sorted(map(str, shapes)), expected="five arrays of one length")

    def __len__(self) -> int:
        return len(self.detected)


@dataclass(frozen=True)
class ErrorBudget:
    """Where objects are lost."""

    objects: int
    """True objects whose product is in the catalogue."""
    left: dict[str, int]
    """Objects that are still right after each of :data:`STAGES`."""
    rates: dict[str, float]
    """The share that each stage keeps of what was right before it; NaN where nothing was."""
    p1: float
    """The product of the rates: share of objects whose product is shown first by way of every stage; NaN without objects."""
    shown_first: float
    """Share whose product is shown first by whatever way, such as out of a wrong category's neighbour; at least ``p1``."""
    recall: dict[int, float]
    """Share whose product is among the first k shown, by k."""


def error_budget(outcomes: LookOutcomes, depths: tuple[int, ...] = (1, 10)) -> ErrorBudget:
    """The budget of ``outcomes``; ``depths`` are those of the recall."""
    n = len(outcomes)
    steps = (
        np.asarray(outcomes.detected, bool),
        np.asarray(outcomes.categorised, bool),
        np.asarray(outcomes.retrieved) >= 0,
        np.asarray(outcomes.ranked) == 0,
        np.asarray(outcomes.shown) == 0,
    )
    right, before = np.ones(n, bool), n
    left: dict[str, int] = {}
    rates: dict[str, float] = {}
    for name, step in zip(STAGES, steps, strict=True):
        right = right & step
        left[name] = int(right.sum())
        rates[name] = _share(left[name], before)
        before = left[name]
    shown = np.asarray(outcomes.shown)
    recall = {k: _share(int(((shown >= 0) & (shown < k)).sum()), n) for k in depths}
    return ErrorBudget(n, left, rates, _share(before, n), _share(int((shown == 0).sum()), n), recall)


def headroom(budget: ErrorBudget, oracles: Mapping[str, ErrorBudget]) -> dict[str, float]:
    """How much more often the right product would be shown first with each oracle, by name, in shares of the objects.

    Oracles put the truth in place of a stage: true boxes, true categories, exhaustive search. All must be of the same objects; raises
    :class:`InputError` otherwise.
    """
    for name, oracle in oracles.items():
        if oracle.objects != budget.objects:
            raise InputError(f"The oracle {name} is of other objects", found=oracle.objects, expected=budget.objects)
    return {name: oracle.shown_first - budget.shown_first for name, oracle in oracles.items()}


def matched_boxes(overlaps: np.ndarray, scores: np.ndarray, least: float = 0.5) -> np.ndarray:
    """int64 ``(truths,)``: which found box is which true object of one picture, -1 where none is; each box counts once.

    ``overlaps`` ``(truths, found)`` are intersections over union, ``scores`` ``(found,)`` how sure each box is: the surest chooses first,
    the true object that it overlaps most and that is still free, by ``least`` or more.
    """
    overlaps = np.asarray(overlaps, np.float64)
    match = np.full(len(overlaps), -1, np.int64)
    for box in np.argsort(-np.asarray(scores), kind="stable"):
        free = np.where(match < 0, overlaps[:, box], -1.0)
        if len(free) and free.max() >= least:
            match[int(free.argmax())] = box
    return match


def rejection_auc(best: np.ndarray, present: np.ndarray) -> float:
    """P(the best result of an object whose product is in the catalogue scores above that of one whose product is not), a tie counting half.

    ``best`` ``(n,)`` is the similarity of each object's best result, -inf where it has none; ``present`` bool ``(n,)``. NaN without both.
    """
    return auc(np.asarray(best, np.float64), np.asarray(present, bool))


def extremely_similar_at_1(grades: np.ndarray) -> float:
    """Share of queries whose first result was judged 3 (extremely similar). ``grades`` ``(queries, k)``, -1 where nothing was shown."""
    grades = np.asarray(grades)
    return _share(int((grades[:, 0] == 3).sum()), len(grades))


def similar_at_k(grades: np.ndarray, k: int) -> float:
    """Share of (query, place up to k) judged 2 or 3, of places where something was shown. ``grades`` as above."""
    first = np.asarray(grades)[:, :k]
    return _share(int((first >= 2).sum()), int((first >= 0).sum()))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
