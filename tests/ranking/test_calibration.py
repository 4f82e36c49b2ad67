"""Platt scaling and reliability: known answers, order kept, nothing invented from nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.ranking.calibration import MIN_SLOPE, fit_platt, reliability, sigmoid
from corkboard.seeds import generator


def draws(slope: float, offset: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    draw = generator(1, "platt")
    logits = draw.normal(size=n) * 1.5 - 1
    return logits, (draw.random(n) < sigmoid(slope * logits + offset)).astype(np.float32)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.5, -1.0), (2.0, 0.7)])
def test_what_was_distorted_is_found_again(slope, offset):
    logits, labels = draws(slope, offset)
    assert fit_platt(logits, labels) == pytest.approx((slope, offset), abs=0.12)


def test_a_constant_logit_is_moved_to_the_rate():
    # 30 of 100 positive; Platt's targets are 31/32 and 1/72, whose mean over the rows is .3 * 31/32 + .7 / 72 = .30035
    logits, labels = np.zeros(100), np.repeat([1.0, 0.0], [30, 70])
    slope, offset = fit_platt(logits, labels)
    assert sigmoid(slope * 0.0 + offset) == pytest.approx(0.3 * 31 / 32 + 0.7 / 72, abs=1e-4)


def test_weights_count_like_copies():
    logits, labels = draws(1.3, 0.2, 500)
    copies = np.arange(500) % 3 + 1
    # Platt's targets depend on the number of positives, which both count alike
    weighted = fit_platt(logits, labels, copies.astype(float))
    assert weighted == pytest.approx(fit_platt(np.repeat(logits, copies), np.repeat(labels, copies)), abs=1e-4)


def test_without_both_kinds_nothing_changes_and_a_wrong_head_keeps_its_order():
    assert fit_platt(np.array([1.0, 2.0]), np.zeros(2)) == (1.0, 0.0)
    assert fit_platt(np.array([1.0, 2.0]), np.ones(2)) == (1.0, 0.0)
    logits, labels = draws(-1.0, 0.0)
    slope, offset = fit_platt(logits, labels)
    assert slope == MIN_SLOPE
    assert sigmoid(slope * logits + offset).mean() == pytest.approx(labels.mean(), abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-8, 8), st.booleans()), min_size=2, max_size=60))
def test_the_fit_never_reorders_and_is_never_worse_on_average(rows):
    logits = np.array([x for x, _ in rows])
    labels = np.array([float(y) for _, y in rows])
    slope, offset = fit_platt(logits, labels)
    assert slope >= MIN_SLOPE
    assert np.isfinite([slope, offset]).all()
    order = np.argsort(logits, kind="stable")
    assert (np.diff(sigmoid(slope * logits + offset)[order]) >= 0).all()


def test_reliability_by_hand():
    # two bins of two: (.1, .1 | 0, 1) and (.8, .8 | 1, 1); gaps |.2 - 1| and |1.6 - 2|, over 4 rows: (.8 + .4) / 4
    report = reliability(np.array([0.8, 0.1, 0.8, 0.1]), np.array([1.0, 0.0, 1.0, 1.0]), bins=2)
    assert (report.rows, report.positives) == (4, 3)
    assert report.error == pytest.approx(0.3)
    assert report.mean_predicted == pytest.approx(0.45)
    assert report.observed_rate == pytest.approx(0.75)
    assert np.isnan(reliability(np.empty(0), np.empty(0)).error)
