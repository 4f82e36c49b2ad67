"""AUC, log loss and calibration: by hand, against plain loops, and properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from corkboard.metrics.intervals import intervals
from corkboard.metrics.prediction import auc, auc_by_user, calibration, logloss, mean_by_user

SCORES = hnp.arrays(np.float64, 12, elements=st.integers(0, 4).map(float))
LABELS = hnp.arrays(bool, 12)


def plain_auc(scores, labels):
    wins = [(p > n) + 0.5 * (p == n) for p in scores[labels] for n in scores[~labels]]
    return sum(wins) / len(wins) if wins else math.nan


def test_auc_by_hand():
    labels = np.array([True, True, False, False])
    assert auc(np.array([0.9, 0.4, 0.5, 0.1]), labels) == 0.75  # three of four pairs in order
    assert auc(np.zeros(4), labels) == 0.5
    assert math.isnan(auc(np.zeros(2), np.ones(2, bool)))


@given(SCORES, LABELS)
@settings(max_examples=80, deadline=None)
def test_auc_equals_a_plain_loop_and_turns_over(scores, labels):
    value = auc(scores, labels)
    assert value == pytest.approx(plain_auc(scores, labels), nan_ok=True)
    assert auc(-scores, labels) == pytest.approx(1 - value, nan_ok=True)
    assert auc(scores[::-1], labels[::-1]) == pytest.approx(value, nan_ok=True)
    assert auc_by_user(scores, labels, np.arange(12) % 5, 6).value == pytest.approx(value, nan_ok=True)


def test_the_interval_of_an_auc_is_that_of_a_full_resample():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(300), 8)
    taste = rng.normal(0, 1, 300)[users]
    labels = rng.random(2400) < 1 / (1 + np.exp(2 - taste))
    scores = labels * 0.6 + rng.normal(0, 1, 2400) + 0.3 * taste
    fast = intervals([auc_by_user(scores, labels, users, 300)], replicates=2000)[0]
    rows = np.arange(2400).reshape(300, 8)
    drawn = [rows[rng.integers(0, 300, 300)].ravel() for _ in range(600)]
    low, high = np.quantile([auc(scores[d], labels[d]) for d in drawn], [0.025, 0.975])
    assert (fast.low, fast.high) == pytest.approx((low, high), abs=0.006)


def test_log_loss_by_hand():
    assert logloss(np.array([0.8, 0.8]), np.array([True, False])) == pytest.approx([-math.log(0.8), -math.log(0.2)])
    assert np.isfinite(logloss(np.array([0.0, 1.0]), np.array([True, False]))).all()
    mean = mean_by_user(np.array([1.0, 3.0, 8.0]), np.array([0, 0, 1]), 2)
    assert mean.value == 4.0
    assert mean.macro().value == 5.0


def test_calibration_by_hand():
    p = np.array([0.1, 0.1, 0.1, 0.1, 0.9, 0.9])
    y = np.array([0, 0, 0, 1, 1, 1])
    result = calibration(p, y, bins=2)
    assert result.predicted == pytest.approx([0.1, 0.9])
    assert result.observed == pytest.approx([0.25, 1.0])
    assert result.count.tolist() == [4, 2]
    assert result.error == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)
    assert result.ratio == pytest.approx(2.2 / 3)


def test_probabilities_that_are_true_are_calibrated_and_doubled_ones_are_not():
    rng = np.random.default_rng(0)
    p = rng.random(40_000) * 0.5
    y = rng.random(40_000) < p
    assert calibration(p, y).error < 0.01
    assert calibration(p, y).ratio == pytest.approx(1.0, abs=0.03)
    assert calibration(2 * p, y).error == pytest.approx(p.mean(), abs=0.02)
    assert calibration(2 * p, y).ratio == pytest.approx(2.0, abs=0.06)


@given(hnp.arrays(np.float64, 20, elements=st.floats(0, 1)), hnp.arrays(bool, 20), st.permutations(range(20)))
@settings(max_examples=40, deadline=None)
def test_calibration_is_bounded_and_blind_to_order(p, y, order):
    result = calibration(p, y, bins=5)
    assert 0 <= result.error <= 1
    assert result.count.sum() == 20
    shuffled = calibration(p[list(order)], y[list(order)], bins=5)
    assert shuffled.error == pytest.approx(result.error)
    assert shuffled.observed == pytest.approx(result.observed)


def test_nothing_to_calibrate():
    assert math.isnan(calibration(np.zeros(0), np.zeros(0)).error)
    assert math.isnan(calibration(np.array([0.5]), np.array([0])).ratio)
