import numpy as np
import pytest

from corkboard.graph.pruning import board_entropy, most_alike, without_diverse_boards

TOPICS = np.array([[1, 0], [0, 1], [1, 0], [0, 0]], np.float32)


def entropy(items, boards, times, newest=100):
    return board_entropy(np.array(items), np.array(boards), np.array(times), TOPICS, newest)


def test_the_entropy_of_a_board_is_that_of_its_mean_topics():
    assert entropy([0, 1, 0, 2], [0, 0, 1, 1], [0, 0, 0, 0]) == pytest.approx([np.log(2), 0])
    assert entropy([0, 2, 1], [0, 0, 0], [0, 0, 0]) == pytest.approx([-(2 / 3) * np.log(2 / 3) - (1 / 3) * np.log(1 / 3)])


def test_only_the_newest_items_of_a_board_tell_its_topics():
    assert entropy([0, 1, 2], [0, 0, 0], [3, 1, 2], newest=2) == pytest.approx([0])
    assert entropy([0, 1, 2], [0, 0, 0], [3, 2, 1], newest=2) == pytest.approx([np.log(2)])


def test_items_of_which_nothing_is_known_tell_nothing():
    assert entropy([3, 0], [0, 0], [0, 0]) == pytest.approx([0])
    assert entropy([3], [0], [0]) == pytest.approx([0])


def test_diverse_boards_lose_all_their_edges():
    assert without_diverse_boards(np.array([0.2, 0.9]), np.array([0, 1, 0, 1]), 0.5).tolist() == [True, False, True, False]


def test_an_item_keeps_its_degree_to_a_power():
    rng = np.random.default_rng(0)
    key = np.unique(rng.integers(0, 50 * 40, 900))
    items, boards = key // 40, key % 40
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mask = most_alike(items, boards, vectors, 0.7)
    degrees = np.bincount(items, minlength=50)
    assert np.bincount(items[mask], minlength=50).tolist() == [int(np.ceil(d**0.7 - 1e-9)) for d in degrees]
    means = np.stack([vectors[items[boards == b]].sum(axis=0) for b in range(40)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    alike = np.einsum("ed,ed->e", vectors[items], means[boards])
    for item in range(50):
        mine = items == item
        if mask[mine].any() and not mask[mine].all():
            assert alike[mine & mask].min() >= alike[mine & ~mask].max() - 1e-6
    assert most_alike(items, boards, vectors, 1.0).all()
