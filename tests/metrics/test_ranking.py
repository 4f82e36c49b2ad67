"""Measures of lists and pages: by hand, against plain loops, and properties that must hold for any input."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from corkboard.metrics.ranking import (
    hit_at_k,
    hit_at_k_per_user,
    hits_at_top,
    ndcg_at_k,
    order_in_pages,
    positions_in_lists,
    recall_at_k,
    top_k,
)

SCORES = hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=st.integers(-3, 3).map(np.float32))


def plain_top_k(scores, k, tie_order, excluded):
    lists = []
    for row, out in zip(scores, excluded, strict=True):
        items = [i for i in range(len(row)) if not out[i] and row[i] != -np.inf]
        items.sort(key=lambda i: (-row[i], -tie_order[i]))
        items = items[:k]
        lists.append(items + [-1] * (min(k, len(row)) - len(items)))
    return np.array(lists)


def plain_recall_and_ndcg(lists, pairs, n_users, k):
    hits, recalls, gains = 0, [], []
    for user in range(n_users):
        wanted = [item for u, item in pairs if u == user]
        if not wanted:
            continue
        top = list(lists[user][:k])
        found = [item for item in wanted if item in top]
        hits += len(found)
        recalls.append(len(found) / len(wanted))
        ideal = sum(1 / math.log2(i + 2) for i in range(min(k, len(wanted))))
        gains.append(sum(1 / math.log2(top.index(item) + 2) for item in found) / ideal)
    return hits / len(pairs), sum(recalls) / len(recalls), sum(gains) / len(gains)


def test_top_k_by_hand():
    scores = np.array([[0.1, 0.9, 0.5, 0.9]], np.float32)
    assert top_k(scores, 3, np.array([0, 1, 2, 3])).tolist() == [[3, 1, 2]]  # the tie at 0.9 goes to the higher tie order
    assert top_k(scores, 3, np.array([0, 3, 2, 1])).tolist() == [[1, 3, 2]]
    assert top_k(scores, 9, np.arange(4)).tolist() == [[3, 1, 2, 0]]


def test_a_list_ends_where_nothing_is_left_to_show():
    scores = np.array([[1.0, -np.inf, 3.0], [1.0, 2.0, 3.0]], np.float32)
    excluded = np.array([[False, False, True], [True, True, True]])
    assert top_k(scores, 2, np.arange(3), excluded).tolist() == [[0, -1], [-1, -1]]


def test_nan_is_refused_and_an_empty_catalogue_gives_empty_lists():
    with pytest.raises(ValueError, match="NaN"):
        top_k(np.array([[np.nan, 1.0]], np.float32), 1, np.arange(2))
    assert top_k(np.zeros((2, 0), np.float32), 5, np.arange(0)).shape == (2, 0)


@given(SCORES, st.integers(1, 14), st.data())
@settings(max_examples=60, deadline=None)
def test_top_k_equals_a_plain_sort(scores, k, data):
    excluded = data.draw(hnp.arrays(bool, scores.shape))
    tie_order = np.array(data.draw(st.permutations(range(scores.shape[1]))))
    assert np.array_equal(top_k(scores, k, tie_order, excluded), plain_top_k(scores, k, tie_order, excluded))


@given(SCORES, st.data())
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_catalogue_does_not_matter(scores, data):
    """Permuting the items (with their tie order) permutes the lists and nothing else."""
    items = scores.shape[1]
    shuffle = np.array(data.draw(st.permutations(range(items))))
    tie_order = np.arange(items)
    straight = top_k(scores, 4, tie_order)
    shuffled = top_k(scores[:, shuffle], 4, tie_order[shuffle])
    assert np.array_equal(straight, shuffle[shuffled])


@given(SCORES)
@settings(max_examples=30, deadline=None)
def test_a_longer_list_starts_with_the_shorter_one(scores):
    ties = np.arange(scores.shape[1])
    assert np.array_equal(top_k(scores, 2, ties), top_k(scores, 5, ties)[:, : min(2, scores.shape[1])])


def test_recall_and_ndcg_by_hand():
    lists = np.array([[4, 2, 7], [1, 0, 3], [5, 6, 8]])
    users, items = np.array([0, 0, 1]), np.array([2, 9, 3])
    positions = positions_in_lists(lists, users, items)
    assert positions.tolist() == [1, -1, 2]
    recall = recall_at_k(positions, users, 3, 3)
    assert recall.value == pytest.approx(2 / 3)  # 2 of 3 pairs
    assert recall.macro().value == pytest.approx((1 / 2 + 1) / 2)  # user 0: 1 of 2, user 1: 1 of 1; user 2 has no positive
    assert (recall.users, recall.positives) == (2, 3)
    assert recall_at_k(positions, users, 3, 2).value == pytest.approx(1 / 3)  # item 3 stands third
    # user 0: gain 1/log2(3) of an ideal 1 + 1/log2(3); user 1: gain 1/log2(4) = 0.5 of an ideal 1
    third = 1 / math.log2(3)
    assert ndcg_at_k(positions, users, 3, 3).value == pytest.approx((third / (1 + third) + 0.5) / 2)


def random_task(rng, users=60, items=40, pairs=150):
    lists = top_k(rng.random((users, items)).astype(np.float32), 15, np.arange(items))
    chosen = rng.choice(users * items, pairs, replace=False)
    return lists, chosen // items, chosen % items


@pytest.mark.parametrize("k", [1, 5, 10])
def test_recall_and_ndcg_equal_plain_loops(k):
    lists, users, items = random_task(np.random.default_rng(k))
    positions = positions_in_lists(lists, users, items)
    pairs, macro, ndcg = plain_recall_and_ndcg(lists, list(zip(users, items, strict=True)), len(lists), k)
    recall = recall_at_k(positions, users, len(lists), k)
    assert recall.value == pytest.approx(pairs)
    assert recall.macro().value == pytest.approx(macro)
    assert ndcg_at_k(positions, users, len(lists), k).value == pytest.approx(ndcg)


@given(st.integers(0, 10_000), st.permutations(range(30)))
@settings(max_examples=25, deadline=None)
def test_the_order_of_users_and_pairs_does_not_matter(seed, order):
    lists, users, items = random_task(np.random.default_rng(seed), users=30, items=20, pairs=50)
    renamed = np.argsort(np.array(order))
    shuffle = np.random.default_rng(seed + 1).permutation(len(users))
    one = positions_in_lists(lists, users, items)
    other = positions_in_lists(lists[np.array(order)], renamed[users][shuffle], items[shuffle])
    for measure in (recall_at_k, ndcg_at_k):
        assert measure(one, users, 30, 10).value == pytest.approx(measure(other, renamed[users][shuffle], 30, 10).value)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_recall_never_falls_with_k(seed):
    lists, users, items = random_task(np.random.default_rng(seed), users=20, items=20, pairs=40)
    positions = positions_in_lists(lists, users, items)
    values = [recall_at_k(positions, users, 20, k).value for k in range(1, 16)]
    assert values == sorted(values)
    assert 0 <= values[0] <= values[-1] <= 1


def test_a_pair_loses_its_ties():
    positive = np.array([1.0, 1.0, 1.0])
    distractors = np.array([[0.0, 0.5, 0.9], [1.0, 0.5, 0.9], [2.0, 1.0, 0.9]])
    assert hit_at_k(positive, distractors, 1).tolist() == [True, False, False]
    assert hit_at_k(positive, distractors, 2).tolist() == [True, True, False]
    assert not hit_at_k(np.zeros(4), np.zeros(10), 10).any()  # a constant scorer hits nothing


@given(hnp.arrays(np.float64, (8, 5), elements=st.integers(0, 3)), hnp.arrays(np.float64, 8, elements=st.integers(0, 3)))
@settings(max_examples=40, deadline=None)
def test_hit_at_k_grows_with_k_and_ignores_the_order_of_distractors(distractors, positive):
    hits = [hit_at_k(positive, distractors, k) for k in range(1, 7)]
    assert all((a <= b).all() for a, b in itertools.pairwise(hits))
    assert np.array_equal(hits[1], hit_at_k(positive, distractors[:, ::-1], 2))


def test_hit_at_3_by_hand():
    offsets = np.array([0, 4, 6])
    utility = np.array([0.1, 0.4, 0.3, 0.2, 0.5, 0.6])
    save = np.array([1, 1, 0, 1, 1, 1], bool)
    positions = order_in_pages(utility, offsets, np.arange(6))
    assert positions.tolist() == [3, 0, 1, 2, 1, 0]
    beta = hits_at_top(positions, save, offsets, 3)
    assert beta.tolist() == [2, 2]  # page 0 shows saves at 0 and 2; the save at position 3 does not count
    assert hit_at_k_per_user(beta, np.array([0, 0]), 2).value == 4.0  # one user saw both pages: 2 + 2; the other saw none
    assert hit_at_k_per_user(beta, np.array([0, 1]), 2).value == 2.0


def test_equal_utilities_are_ordered_by_the_tie_order_alone():
    offsets = np.array([0, 3])
    assert order_in_pages(np.zeros(3), offsets, np.array([2, 0, 1])).tolist() == [2, 0, 1]
    assert order_in_pages(np.zeros(3), offsets, np.array([0, 1, 2])).tolist() == [0, 1, 2]


def test_hits_in_pages_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 12, 40)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    utility, ties = rng.integers(0, 4, offsets[-1]).astype(float), rng.permutation(offsets[-1])
    label = rng.random(offsets[-1]) < 0.3
    expected = []
    for start, end in itertools.pairwise(offsets):
        best = sorted(range(start, end), key=lambda i: (-utility[i], ties[i]))[:3]
        expected.append(sum(label[i] for i in best))
    assert hits_at_top(order_in_pages(utility, offsets, ties), label, offsets, 3).tolist() == expected
