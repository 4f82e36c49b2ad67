"""Utility: weights outside the model."""

from __future__ import annotations

import numpy as np
import pytest

from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.utility import utility, utility_terms

HEADS = ("click", "save", "hide", "dance")
P = np.array([[0.5, 0.1, 0.0, 1.0], [0.2, 0.2, 0.1, 0.0]], np.float32)


def test_utility_by_hand_and_a_head_without_a_weight_counts_nothing():
    weights = UtilityWeights(click=0.5, save=2.0, hide=-3.0)
    # .5 * .5 + 2 * .1 = .45;  .5 * .2 + 2 * .2 - 3 * .1 = .2
    assert utility(HEADS, P, weights) == pytest.approx([0.45, 0.2])
    terms = utility_terms(HEADS, P[1].tolist(), weights)
    assert terms == pytest.approx({"click": 0.1, "save": 0.4, "hide": -0.3, "dance": 0.0})
    assert sum(terms.values()) == pytest.approx(utility(HEADS, P, weights)[1])


def test_weights_change_the_order_without_a_new_model():
    assert utility(HEADS, P, UtilityWeights(click=1.0, save=0.0, hide=0.0)).argmax() == 0
    assert utility(HEADS, P, UtilityWeights(click=0.0, save=1.0, hide=0.0)).argmax() == 1


def test_negative_actions_cost_by_default():
    weights = UtilityWeights()
    assert weights.hide < 0 > weights.report
    assert min(weights.close_up, weights.click, weights.long_click, weights.save, weights.add_to_cart, weights.checkout) > 0
