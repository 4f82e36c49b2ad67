"""Weights of labels and users: the published matrix, the impression that must not weigh nothing, cohorts."""

from __future__ import annotations

import numpy as np
import pytest

from corkboard.errors import ConfigError
from corkboard.ranking.config import LabelWeights, UserWeights
from corkboard.ranking.label_weights import label_weights, user_weights, weight_matrix

HEADS = ("click", "save", "hide")
PUBLISHED = {
    "click": {"click": 100.0, "save": 0.0, "hide": 100.0},
    "save": {"click": 0.0, "save": 100.0, "hide": 100.0},
    "hide": {"click": 1.0, "save": 5.0, "hide": 10.0},
}


def test_an_impression_without_an_action_keeps_its_weight():
    nothing = np.zeros((2, 3), np.float32)
    for config in (LabelWeights(), LabelWeights(matrix=PUBLISHED), LabelWeights(own=0.0, disliked=0.0)):
        assert label_weights(nothing, HEADS, config).tolist() == [[1.0] * 3] * 2
    assert label_weights(nothing, HEADS, LabelWeights(impression=2.5)).tolist() == [[2.5] * 3] * 2


def test_the_published_matrix_by_hand():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], np.float32)
    weights = label_weights(labels, HEADS, LabelWeights(matrix=PUBLISHED))
    assert weights.tolist() == [[101, 1, 2], [101, 101, 7], [101, 101, 11]]  # a hide is a strong "no" for click and save


def test_where_the_matrix_is_silent_the_plain_rules_hold():
    config = LabelWeights(own=4.0, disliked=6.0, matrix={"click": {"save": 2.0}})
    assert weight_matrix(("click", "save", "hide", "report"), config).tolist() == [
        [4, 2, 6, 6],
        [0, 4, 6, 6],
        [0, 0, 4, 0],
        [0, 0, 0, 4],
    ]
    with pytest.raises(ConfigError, match="unknown actions"):
        weight_matrix(HEADS, LabelWeights(matrix={"click": {"look": 1.0}}))


def test_an_unknown_label_weighs_nothing_in_its_head_and_adds_nothing_to_the_others():
    labels = np.array([[1.0, np.nan, 0.0]], np.float32)
    assert label_weights(labels, HEADS, LabelWeights(matrix=PUBLISHED)).tolist() == [[101.0, 0.0, 2.0]]


def test_cohorts_count_alike_at_full_balance_and_as_they_are_without():
    actions = np.array([0, 3, 3, 9, 10, 2000])  # below 10: four; 10 to 99: one; 500 and more: one
    even = user_weights(actions, UserWeights(enabled=True, balance=1.0))
    assert even.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 2.0, 2.0])
    assert user_weights(actions, UserWeights(enabled=True, balance=0.0)).tolist() == [1.0] * 6
    assert user_weights(actions, UserWeights()).tolist() == [1.0] * 6
    half = user_weights(actions, UserWeights(enabled=True, balance=0.5))
    assert half[4] / half[0] == pytest.approx(2.0)  # a quarter of the share: the root of four
    assert half.mean() == pytest.approx(1.0)
