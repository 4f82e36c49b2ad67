"""One ranking out of two: sums by hand, and what holds for any two rankings."""

from __future__ import annotations

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.retrieval.config import FusionConfig
from corkboard.retrieval.hybrid import fused


def ranking(rows: list[int], scores: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(rows, np.int64), np.array(scores, np.float32)


NONE = ranking([], [])
KINDS = pytest.mark.parametrize("kind", ["reciprocal", "sum"])


def test_reciprocal_places_by_hand():
    """With a softening of 1: row 5 has 1/2 + 1/3, row 7 has 1/3, row 9 has 1/2."""
    rows, scores = fused(
        ranking([5, 7], [9, 1]), ranking([9, 5], [0.9, 0.1]), FusionConfig(kind="reciprocal", vector_share=0.5, softening=1), 9
    )
    assert rows.tolist() == [5, 9, 7]
    np.testing.assert_allclose(scores, [0.5 * (1 / 2 + 1 / 3), 0.25, 0.5 / 3], rtol=1e-6)


def test_standardised_scores_by_hand():
    """Words 9, 1 are +1 and -1 standard deviations, vectors 0.9, 0.1 as well; what one ranking lacks is at -1.5 there."""
    rows, scores = fused(ranking([5, 7], [9, 1]), ranking([9, 5], [0.9, 0.1]), FusionConfig(kind="sum", vector_share=0.75), 9)
    assert rows.tolist() == [9, 5, 7]
    np.testing.assert_allclose(scores, [0.75 - 1.5 * 0.25, -0.75 + 0.25, -1.5 * 0.75 - 0.25], atol=1e-6)


def test_the_only_thing_with_a_word_stands_before_what_lacks_it():
    rows, _ = fused(ranking([4], [7.0]), ranking([1, 2, 4], [0.5, 0.5, 0.5]), FusionConfig(kind="sum", vector_share=0.5), 3)
    assert rows.tolist() == [4, 1, 2]


@KINDS
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_one_ranking_alone_keeps_its_order(kind, share):
    config, alone = FusionConfig(kind=kind, vector_share=share), ranking([8, 2, 6], [3, 2, 1])
    assert fused(alone, NONE, config, 3)[0].tolist() == [8, 2, 6]
    assert fused(NONE, alone, config, 2)[0].tolist() == [8, 2]
    assert len(fused(NONE, NONE, config, 5)[0]) == 0


@KINDS
def test_two_that_agree_are_what_both_say(kind):
    both = ranking([3, 1, 2], [5, 4, 1])
    rows, scores = fused(both, both, FusionConfig(kind=kind), 10)
    assert rows.tolist() == [3, 1, 2]
    assert (np.diff(scores) < 0).all()


@KINDS
def test_the_share_decides_between_two_that_do_not_agree(kind):
    words, vectors = ranking([1, 2], [2, 1]), ranking([2, 1], [2, 1])
    assert fused(words, vectors, FusionConfig(kind=kind, vector_share=0.2), 2)[0].tolist() == [1, 2]
    assert fused(words, vectors, FusionConfig(kind=kind, vector_share=0.8), 2)[0].tolist() == [2, 1]
    assert fused(words, vectors, FusionConfig(kind=kind, vector_share=0.5), 2)[0].tolist() == [1, 2]  # equal ones stand by row


def test_what_cannot_be_merged_is_refused():
    with pytest.raises(InputError, match="how many rows"):
        fused(NONE, NONE, FusionConfig(), 0)
    with pytest.raises(InputError, match="by vectors has no score"):
        fused(NONE, (np.arange(2), np.ones(1, np.float32)), FusionConfig(), 1)
