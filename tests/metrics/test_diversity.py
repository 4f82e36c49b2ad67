"""Entropy, coverage and impression diversity: by hand, against plain loops, and their bounds."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from corkboard.metrics.diversity import coverage, impression_diversity, interest_entropy

LISTS = hnp.arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(1, 8)), elements=st.integers(-1, 9))


def plain_entropy(row, topics):
    counts = Counter(int(topics[i]) for i in row if i >= 0)
    n = sum(counts.values())
    return -sum(c / n * math.log(c / n) for c in counts.values()) if n else math.nan


def plain_coverage(lists, n_items, share):
    counts = sorted(Counter(int(i) for row in lists for i in row if i >= 0).values(), reverse=True)
    reached, needed = 0, share * sum(counts)
    for items, count in enumerate(counts, start=1):
        reached += count
        if reached >= needed - 1e-6:
            return items / n_items
    return math.nan


def test_entropy_by_hand():
    topics = np.array([0, 0, 1, 2])
    lists = np.array([[0, 1, -1, -1], [0, 2, -1, -1], [0, 1, 2, 3], [-1, -1, -1, -1]])
    entropy = interest_entropy(lists, topics, 3)
    assert entropy[0] == 0.0  # one topic
    assert entropy[1] == pytest.approx(math.log(2))  # two topics, half each
    assert entropy[2] == pytest.approx(1.5 * math.log(2))  # 1/2, 1/4, 1/4: half a bit and twice a quarter of two bits
    assert np.isnan(entropy[3])


def test_coverage_by_hand():
    # 10 retrievals: item 0 six times, item 1 three times, item 2 once; 9 of 10 are covered by two items of a hundred
    lists = np.array([[0, 1], [0, 1], [0, 1], [0, 2], [0, -1], [0, -1]])
    assert coverage(lists, 100) == pytest.approx(0.02)
    assert coverage(lists, 100, share=0.6) == pytest.approx(0.01)
    assert coverage(lists, 100, share=1.0) == pytest.approx(0.03)
    assert np.isnan(coverage(np.full((2, 2), -1), 100))


def test_coverage_tells_collapse_from_spread():
    collapsed = np.tile(np.arange(10), (100, 1))
    spread = np.arange(1000).reshape(100, 10)
    assert coverage(collapsed, 1000) == pytest.approx(0.009)  # 9 items make up 90 % of 10 equal ones
    assert coverage(spread, 1000) == pytest.approx(0.9)


@given(LISTS)
@settings(max_examples=60, deadline=None)
def test_both_equal_plain_loops_whatever_the_order(lists):
    topics = np.array([0, 1, 2, 0, 1, 2, 3, 3, 3, 3])
    expected = [plain_entropy(row, topics) for row in lists]
    assert interest_entropy(lists, topics, 4) == pytest.approx(expected, nan_ok=True, abs=1e-9)
    assert interest_entropy(lists[:, ::-1], topics, 4) == pytest.approx(expected, nan_ok=True, abs=1e-9)
    assert coverage(lists, 10) == pytest.approx(plain_coverage(lists, 10, 0.9), nan_ok=True)
    assert coverage(lists[::-1], 10) == pytest.approx(coverage(lists, 10), nan_ok=True)


@given(LISTS)
@settings(max_examples=30, deadline=None)
def test_entropy_is_bounded_by_the_number_of_topics(lists):
    entropy = interest_entropy(lists, np.arange(10) % 3, 3)
    known = entropy[~np.isnan(entropy)]
    assert ((known >= 0) & (known <= math.log(3) + 1e-9)).all()


def test_impression_diversity_by_hand():
    users = np.array([0, 0, 0, 0, 1])
    days = np.array([1, 1, 1, 2, 1])
    topics = np.array([5, 6, 5, 5, 7])
    figure = impression_diversity(users, days, topics, 3)
    assert figure.value == pytest.approx(4 / 3)  # user-days: {5, 6}, {5}, {7}
    assert figure.macro().value == pytest.approx((1.5 + 1) / 2)
    assert figure.users == 2
    assert np.isnan(impression_diversity(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), 2).value)
