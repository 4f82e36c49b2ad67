"""The error budget by hand."""

from __future__ import annotations

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.metrics.looks import (
    LookOutcomes,
    error_budget,
    extremely_similar_at_1,
    headroom,
    matched_boxes,
    rejection_auc,
    similar_at_k,
)


def outcomes(*rows: tuple[bool, bool, int, int, int]) -> LookOutcomes:
    return LookOutcomes(*(np.array(column) for column in zip(*rows, strict=True)))


TEN = (
    [(False, False, -1, -1, -1)] * 2  # never found
    + [(True, False, -1, -1, -1)]  # the wrong shelf
    + [(True, False, 3, 0, 0)]  # the wrong shelf, and right all the same: the second category was searched, too
    + [(True, True, -1, -1, -1)]  # not among the candidates
    + [(True, True, 7, 4, 4)]  # not on top
    + [(True, True, 0, 0, -1)]  # gated away
    + [(True, True, 5, 0, 0)] * 3
)


def test_the_budget_by_hand():
    budget = error_budget(outcomes(*TEN), (1, 5, 10))
    assert budget.objects == 10
    assert budget.left == {"detected": 8, "categorised": 6, "retrieved": 5, "top": 4, "shown": 3}
    assert budget.rates == {"detected": 8 / 10, "categorised": 6 / 8, "retrieved": 5 / 6, "top": 4 / 5, "shown": 3 / 4}
    assert budget.p1 == pytest.approx(np.prod(list(budget.rates.values()))) == 0.3
    assert budget.shown_first == 0.4
    assert budget.recall == {1: 0.4, 5: 0.5, 10: 0.5}


def test_what_oracles_gain():
    budget = error_budget(outcomes(*TEN))
    boxes = error_budget(outcomes(*[(True, True, 0, 0, 0)] * 2, *TEN[2:]))
    assert headroom(budget, {"true boxes": boxes, "nothing": budget}) == pytest.approx({"true boxes": 0.2, "nothing": 0.0})
    with pytest.raises(InputError, match="other objects"):
        headroom(budget, {"true boxes": error_budget(outcomes(*TEN[:5]))})


def test_without_objects_nothing_is_said():
    budget = error_budget(LookOutcomes(*(np.zeros(0, int) for _ in range(5))))
    assert np.isnan([budget.p1, budget.recall[1], *budget.rates.values()]).all()
    none = error_budget(outcomes((False, False, -1, -1, -1)))
    assert (none.p1, none.rates["detected"]) == (0.0, 0.0)
    assert np.isnan(none.rates["categorised"])


def test_outcomes_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="do not fit"):
        LookOutcomes(np.zeros(2, bool), np.zeros(2, bool), np.zeros(3, int), np.zeros(2, int), np.zeros(2, int))


def test_each_box_is_one_object_at_most():
    # the surest box overlaps both; it takes the one it overlaps most, the second box takes what is left, the third overlaps by too little
    overlaps = np.array([[0.6, 0.0, 0.4], [0.8, 0.9, 0.2], [0.0, 0.5, 0.49]])
    assert matched_boxes(overlaps, np.array([0.9, 0.8, 0.7])).tolist() == [-1, 0, 1]
    assert matched_boxes(overlaps, np.array([0.8, 0.9, 0.7])).tolist() == [0, 1, -1]
    assert matched_boxes(np.zeros((2, 0)), np.zeros(0)).tolist() == [-1, -1]
    assert matched_boxes(np.zeros((0, 2)), np.ones(2)).tolist() == []


def test_rejection():
    best = np.array([0.9, 0.7, 0.7, -np.inf, 0.2])
    present = np.array([True, True, False, False, False])
    assert rejection_auc(best, present) == pytest.approx((3 + 2.5) / 6)
    assert np.isnan(rejection_auc(best, np.ones(5, bool)))


def test_judged_lists():
    grades = np.array([[3, 2, 0], [2, 3, -1], [-1, -1, -1], [3, -1, -1]])
    assert extremely_similar_at_1(grades) == 0.5
    assert similar_at_k(grades, 2) == 1.0
    assert similar_at_k(grades, 3) == pytest.approx(5 / 6)
