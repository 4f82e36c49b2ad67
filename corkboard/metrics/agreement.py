"""How far judges agree beyond chance."""

from __future__ import annotations

from typing import Literal

import numpy as np

from corkboard.errors import InputError


def cohen_kappa(left: np.ndarray, right: np.ndarray, grades: int, weights: Literal["none", "linear"] = "none") -> float:
    """Cohen's kappa of two judges who graded the same questions, int ``(n,)`` in 0 .. grades - 1: 1 for full agreement, 0 for chance.

    Chance is what two judges with their habits would agree on by throwing dice. With "linear" weights (Cohen, 1968) grades that are
    neighbours disagree less than those far apart. NaN where both always give one and the same grade, or there are no questions.
    """
    left, right = np.asarray(left, np.int64), np.asarray(right, np.int64)
    if left.shape != right.shape or left.ndim != 1:
        raise InputError("Two judges grade the same questions", found=(left.shape, right.shape), expected="two arrays of one length")
    if len(left) and not 0 <= min(left.min(), right.min()) <= max(left.max(), right.max()) < grades:
        raise InputError(
            "A grade is out of range", found=(int(min(left.min(), right.min())), int(max(left.max(), right.max()))), expected=grades
        )
    table = np.zeros((grades, grades))
    np.add.at(table, (left, right), 1.0)
    return _kappa(table, weights)


def votes_kappa(
    questions: np.ndarray, judges: np.ndarray, grade: np.ndarray, grades: int, weights: Literal["none", "linear"] = "none"
) -> float:
    """Kappa of many judges who each saw some of the questions: Cohen's, over every pair of votes on one question.

    ``questions``, ``judges`` and ``grade`` int ``(votes,)``. Each pair counts in both directions, so that nobody is the first judge.
    """
    order = np.lexsort((judges, questions))
    questions, grade = np.asarray(questions)[order], np.asarray(grade, np.int64)[order]
    most = int(np.unique(questions, return_counts=True)[1].max(initial=1))
    table = np.zeros((grades, grades))
    for shift in range(1, most):  # pairs of votes that stand so far apart among those of their question
        same = questions[:-shift] == questions[shift:]
        np.add.at(table, (grade[:-shift][same], grade[shift:][same]), 1.0)
    return _kappa(table + table.T, weights)


def _kappa(table: np.ndarray, weights: str) -> float:
    total = table.sum()
    if not total:
        return float("nan")
    grades = len(table)
    apart = np.abs(np.subtract.outer(np.arange(grades), np.arange(grades)))
    cost = (apart > 0).astype(float) if weights == "none" else apart / max(grades - 1, 1)
    chance = np.outer(table.sum(1), table.sum(0)) / total
    expected = float((cost * chance).sum())
    return float("nan") if expected == 0 else 1.0 - float((cost * table).sum()) / expected
