"""Bootstrap over users: known answers, honest coverage, pairing, and speed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.metrics.intervals import Interval, PerUser, compare, intervals, percentile_interval, resampled_sums, resampled_values


def mean_of(values, positives=None):
    values = np.asarray(values, float)
    return PerUser(values, np.ones_like(values), positives)


def test_a_figure_by_hand():
    figure = PerUser(np.array([1.0, 0.0, 3.0]), np.array([2.0, 0.0, 4.0]), 4)
    assert figure.value == pytest.approx(4 / 6)
    assert figure.users == 2
    assert figure.macro().value == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert np.isnan(PerUser(np.zeros(3), np.zeros(3)).value)
    with pytest.raises(ValueError, match="shapes"):
        PerUser(np.zeros(3), np.zeros(2))


def test_resampled_sums_are_sums_over_drawn_users():
    """A column of ones counts the draws, so every resample has exactly as many as there are users; a constant keeps its mean."""
    columns = np.stack([np.ones(50), np.full(50, 3.0), np.eye(50)[7]], axis=1)
    sums = resampled_sums(columns, replicates=400, seed=1)
    assert (sums[:, 0] == 50).all()
    assert (sums[:, 1] == 150).all()
    assert sums[:, 2].mean() == pytest.approx(1.0, abs=0.15)  # a user is drawn once on average, variance 49/50
    assert sums[:, 2].var() == pytest.approx(0.98, abs=0.25)


def test_two_calls_of_one_seed_draw_the_same_users():
    rng = np.random.default_rng(0)
    a, b = rng.random((30, 1)), rng.random((30, 1))
    together = resampled_sums(np.hstack([a, b]), replicates=50, seed=3)
    assert np.allclose(together[:, 1:], resampled_sums(b, replicates=50, seed=3))
    assert not np.allclose(together[:, 1:], resampled_sums(b, replicates=50, seed=4))


def test_the_blocks_that_draws_are_made_in_leave_no_seam(monkeypatch):
    columns = np.ones((40, 1))
    monkeypatch.setattr("corkboard.metrics.intervals.BLOCK_DRAWS", 100)
    assert (resampled_sums(columns, replicates=7, seed=0) == 40).all()


def test_an_interval_of_a_mean_has_the_width_that_theory_gives():
    values = np.random.default_rng(0).normal(5.0, 2.0, 1000)
    interval = intervals([mean_of(values)], replicates=2000, seed=0)[0]
    half_width = 1.96 * values.std() / np.sqrt(1000)  # 0.124
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.02)


def test_ninety_five_percent_intervals_cover_about_ninety_five_percent():
    covered = 0
    for trial in range(200):
        values = np.random.default_rng(trial).normal(0.0, 1.0, 200)
        covered += not intervals([mean_of(values)], replicates=300, seed=trial)[0].excludes(0.0)
    assert 0.89 <= covered / 200 <= 0.99


def test_pairing_sees_a_small_steady_difference_that_two_separate_intervals_hide():
    rng = np.random.default_rng(0)
    base = rng.normal(1.0, 1.0, 400)
    better = base + 0.05 + rng.normal(0, 0.05, 400)
    comparison = compare([mean_of(better)], mean_of(base))[0]
    assert comparison.verdict == "above"
    assert comparison.difference == pytest.approx(0.05, abs=0.01)
    assert comparison.lift == pytest.approx(0.05 / base.mean(), rel=0.2)
    assert comparison.lift_interval.low > 0
    first, second = intervals([mean_of(base), mean_of(better)])
    assert first.high > second.low  # apart, they overlap


def test_verdicts():
    rng = np.random.default_rng(0)
    base = rng.normal(1.0, 0.1, 300)
    assert compare([mean_of(base - 0.5)], mean_of(base))[0].verdict == "below"
    assert compare([mean_of(rng.permutation(base))], mean_of(base))[0].verdict == "undecided"
    assert compare([mean_of(base[:199] - 0.5)], mean_of(base[:199]))[0].verdict == "too few to tell"
    assert compare([mean_of(base - 0.5, positives=199)], mean_of(base, positives=199))[0].verdict == "too few to tell"
    assert compare([mean_of(base - 0.5, positives=200)], mean_of(base, positives=200))[0].verdict == "below"


def test_a_lift_over_nothing_is_not_a_number():
    comparison = compare([mean_of(np.ones(300))], mean_of(np.zeros(300)))[0]
    assert comparison.difference == 1.0
    assert np.isnan(comparison.lift)
    assert np.isnan(comparison.lift_interval.low)


def test_figures_without_users_have_no_interval():
    empty = PerUser(np.zeros(5), np.zeros(5))
    interval = intervals([empty], replicates=10)[0]
    assert np.isnan(interval.low)
    assert not interval.excludes(0.0)
    assert intervals([PerUser(np.zeros(0), np.zeros(0))], replicates=10)[0].high != 0
    assert resampled_values([], replicates=4).shape == (4, 0)


def test_percentiles_by_hand():
    interval = percentile_interval(np.arange(101.0), level=0.9)
    assert (interval.low, interval.high) == pytest.approx((5.0, 95.0))
    assert interval.excludes(4.0)
    assert not interval.excludes(50.0)
    assert percentile_interval(np.array([1.0, np.nan, 3.0]), level=0.0) == Interval(2.0, 2.0)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_an_interval_stays_within_the_values_and_a_figure_equals_itself(values, seed):
    figure = mean_of(values)
    interval = intervals([figure], replicates=50, seed=seed)[0]
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9
    same = compare([figure], figure, replicates=50, seed=seed)[0]
    assert same.difference == 0
    assert same.difference_interval == Interval(0.0, 0.0)


def plain_bootstrap(values, replicates, seed):
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(replicates):
        total = 0.0
        for row in rng.integers(0, len(values), len(values)):
            total += values[row]
        means.append(total / len(values))
    return np.quantile(means, [0.025, 0.975])


def test_agrees_with_a_plain_bootstrap():
    values = np.random.default_rng(5).exponential(1.0, 300)
    interval = intervals([mean_of(values)], replicates=2000, seed=0)[0]
    low, high = plain_bootstrap(values.tolist(), 500, 1)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.03)
