from __future__ import annotations

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.metrics.agreement import cohen_kappa, votes_kappa


def test_kappa_by_hand() -> None:
    """Cohen (1960): 20 + 15 of 50 agree, judges say yes 25 and 30 times: chance is .5, kappa (.7 - .5) / .5."""
    left = np.array([1] * 20 + [1] * 5 + [0] * 10 + [0] * 15)
    right = np.array([1] * 20 + [0] * 5 + [1] * 10 + [0] * 15)
    assert cohen_kappa(left, right, 2) == pytest.approx(0.4)


def test_full_agreement_opposition_and_chance() -> None:
    some = np.array([0, 1, 2, 3] * 5)
    assert cohen_kappa(some, some, 4) == 1
    assert cohen_kappa(np.array([0, 1]), np.array([1, 0]), 2) == -1
    draw = np.random.default_rng(0)
    assert abs(cohen_kappa(draw.integers(4, size=20_000), draw.integers(4, size=20_000), 4)) < 0.03


def test_neighbours_disagree_less_with_weights() -> None:
    truth = np.array([0, 1, 2, 3] * 5)
    near, far = np.where(truth == 3, 2, truth), np.where(truth == 3, 0, truth)
    assert cohen_kappa(truth, near, 4) == cohen_kappa(truth, far, 4)
    assert cohen_kappa(truth, near, 4, "linear") > cohen_kappa(truth, far, 4, "linear")


def test_one_and_the_same_grade_tells_nothing() -> None:
    assert np.isnan(cohen_kappa(np.ones(5, int), np.ones(5, int), 4))
    assert np.isnan(cohen_kappa(np.zeros(0, int), np.zeros(0, int), 4))


@pytest.mark.parametrize(("left", "right"), [([0, 1], [0]), ([0, 4], [0, 1]), ([-1, 0], [0, 1])])
def test_what_is_no_grade_is_refused(left: list[int], right: list[int]) -> None:
    with pytest.raises(InputError):
        cohen_kappa(np.array(left), np.array(right), 4)


def test_two_judges_of_everything_are_cohens_kappa_made_even() -> None:
    draw = np.random.default_rng(1)
    left = draw.integers(4, size=200)
    right = np.where(draw.random(200) < 0.7, left, draw.integers(4, size=200))
    both = cohen_kappa(np.concatenate([left, right]), np.concatenate([right, left]), 4)
    found = votes_kappa(np.tile(np.arange(200), 2), np.repeat([0, 1], 200), np.concatenate([left, right]), 4)
    assert found == pytest.approx(both)


def test_votes_are_paired_within_their_question_alone() -> None:
    """Three votes on one question, one on another: 0-0, 0-1 and 0-1 in both directions, and nothing of the lonely one."""
    found = votes_kappa(np.array([7, 7, 7, 9]), np.array([0, 1, 2, 0]), np.array([0, 0, 1, 3]), 4)
    # 6 directed pairs: 2 of 0-0, 4 of 0-1: agreed 1/3; 0 is said in 4/6: chance 5/9
    assert found == pytest.approx((1 / 3 - 5 / 9) / (1 - 5 / 9))
    shuffled = votes_kappa(np.array([9, 7, 7, 7]), np.array([0, 2, 0, 1]), np.array([3, 1, 0, 0]), 4)
    assert shuffled == pytest.approx(found)
