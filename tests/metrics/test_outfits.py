"""Outfits: questions and figures against hand arithmetic, and what a scorer that knows nothing, or everything, gets."""

import numpy as np
import pytest

from corkboard.errors import InputError, LeakError
from corkboard.metrics.outfits import (
    AUC,
    FITB,
    TRIPLETS,
    Outfits,
    Questions,
    answered,
    apart,
    compatibility_auc,
    fill_in_the_blank,
    outfit_figures,
    outfit_scores,
    pair_mean,
    positions_in_pools,
    split_outfits,
    triplet_accuracy,
)

RNG = np.random.default_rng(3)
CATEGORY = np.arange(240) % 6


def drawn(count=400, size=4):
    """Outfits of one item each of so many of six categories; item k is of category k % 6."""
    kinds = np.argsort(RNG.random((count, 6)), axis=1)[:, :size]
    return Outfits.of(np.repeat(np.arange(count), size).astype(str), (RNG.integers(0, 40, kinds.shape) * 6 + kinds).ravel())


def nothing(given, category, candidates):
    return np.zeros(candidates.shape)


def test_outfits_keep_their_order_and_count_an_item_once():
    outfits = Outfits.of(["b", "a", "b", "b"], np.array([5, 7, 3, 5]))
    assert outfits.items.tolist() == [5, 3, 7]
    assert outfits.starts.tolist() == [0, 2, 3]
    assert outfits.rows().tolist() == [[5, 3], [7, -1]]
    assert outfits.take(np.array([1, 0])).items.tolist() == [7, 5, 3]
    with pytest.raises(InputError, match="one id a place"):
        Outfits.of(["a"], np.array([1, 2]))


def test_outfits_may_be_none():
    none = Outfits.of([], np.zeros(0, np.int64))
    assert len(none) == 0
    assert len(fill_in_the_blank(none, CATEGORY, 0)) == 0
    assert [len(side) for side in split_outfits(none, "item", 0.5, 0)] == [0, 0]


@pytest.mark.parametrize("by", ["item", "outfit"])
def test_splits_keep_the_sides_apart(by):
    learned, asked = split_outfits(drawn(2000), by, 0.4, 0)
    assert len(learned) > len(asked) > 20
    apart(learned, asked, by)


def test_the_same_items_under_two_ids_are_on_one_side():
    twice = Outfits.of(["a", "a", "b", "b"] * 1, np.array([1, 2, 2, 1]))
    for seed in range(10):
        assert sorted(len(side) for side in split_outfits(twice, "outfit", 0.5, seed)) == [0, 2]


def test_what_is_on_both_sides_is_a_leak():
    one, other = Outfits.of(["a", "a"], np.array([1, 2])), Outfits.of(["b", "b"], np.array([2, 3]))
    apart(one, other, "outfit")
    with pytest.raises(LeakError, match="item"):
        apart(one, other, "item")
    with pytest.raises(LeakError, match="outfit"):
        apart(one, Outfits.of(["c", "c"], np.array([2, 1])), "outfit")


def test_answers_are_of_one_category_and_only_one_is_of_the_outfit():
    outfits = drawn()
    questions = fill_in_the_blank(outfits, CATEGORY, 1)
    assert len(questions) == len(outfits.items)
    assert (CATEGORY[questions.answers] == questions.category[:, None]).all()
    assert all(len(set(row)) == 4 for row in questions.answers.tolist())
    for question in range(0, len(questions), 37):
        mine = set(outfits.take(questions.outfit[[question]]).items.tolist())
        assert mine & set(questions.answers[question].tolist()) == {questions.missing[question]}
        assert set(questions.given[question][questions.given[question] >= 0].tolist()) == mine - {questions.missing[question]}


def test_a_category_with_too_few_answers_is_not_asked():
    outfits = Outfits.of(list("aabbccdd"), np.array([0, 1, 2, 3, 4, 5, 6, 1]))
    category = np.array([0, 1, 0, 1, 0, 1, 0])
    questions = fill_in_the_blank(outfits, category, 0)
    assert set(questions.category.tolist()) == {0}  # three items of category 1 are in outfits


def test_whoever_scores_everything_alike_is_right_in_a_quarter():
    questions = fill_in_the_blank(drawn(1500), CATEGORY, 2)
    error = np.sqrt(0.25 * 0.75 / len(questions))
    assert abs(answered(questions, nothing(None, None, questions.answers), 2).mean() - 0.25) < 2 * error
    for place in range(4):
        assert abs((questions.right == place).mean() - 0.25) < 3 * error


def test_ties_are_drawn_among_the_best_alone():
    count = 4000
    questions = Questions(
        np.zeros((count, 1), int), np.zeros(count, int), np.zeros((count, 4), int), np.zeros(count, int), np.arange(count)
    )
    right = answered(questions, np.tile([1.0, 1.0, 0.0, -2.0], (count, 1)), 0)
    assert abs(right.mean() - 0.5) < 0.03
    with pytest.raises(InputError, match="score"):
        answered(questions, np.full((count, 4), np.nan), 0)


def test_figures_of_nothing_and_of_everything():
    outfits = drawn()
    figures = outfit_figures(nothing, outfits, CATEGORY, 0)
    assert figures[TRIPLETS].value == figures[AUC].value == 0.5
    assert figures["fitb, 3 given"].value == figures[FITB].value
    beside = np.zeros((240, 240), bool)
    for row in outfits.rows():
        beside[np.ix_(row, row)] = True
    figures = outfit_figures(pair_mean(lambda left, right: beside[left, right].astype(float)), outfits, CATEGORY, 0)
    assert figures[FITB].value > 0.95
    assert figures[AUC].value > 0.95
    assert figures["recall@10"].value > 0.95


def test_triplets_by_hand():
    questions = Questions(np.array([[0, 6]]), np.array([1]), np.array([[7, 1, 13, 19]]), np.array([1]), np.array([0]))
    score = {(0, 1): 2.0, (0, 7): 1.0, (6, 1): 0.0, (6, 7): 0.0}
    figure = triplet_accuracy(pair_mean(np.vectorize(lambda a, b: score[a, b])), questions, 1)
    assert (figure.total.tolist(), figure.weight.tolist()) == ([1.5], [2.0])


def test_the_score_of_an_outfit_is_the_mean_over_its_pairs():
    outfits = Outfits.of(list("aaab"), np.array([1, 2, 3, 4]))
    scores = outfit_scores(pair_mean(lambda left, right: (left * right).astype(float)), outfits, CATEGORY)
    assert scores.tolist() == pytest.approx([(2 + 3 + 6) / 3, 0.0])


def test_a_mixed_up_outfit_scores_below_real_ones():
    outfits = Outfits.of(np.repeat(np.arange(20), 2).astype(str), np.stack([np.arange(20), np.arange(20) + 20], 1).ravel())
    category = np.arange(40) // 20
    figure = compatibility_auc(pair_mean(lambda left, right: -np.abs(np.abs(left - right) - 20.0)), outfits, category, 0)
    assert figure.value > 0.9
    assert figure.weight.tolist() == [1.0] * 20


def test_positions_count_what_stands_above_in_the_same_category():
    questions = Questions(np.array([[0]]), np.array([1]), np.array([[7, 1, 13, 19]]), np.array([2]), np.array([0]))
    worth = pair_mean(lambda left, right: np.where(right == 25, 13.0, right.astype(float)))
    items = np.array([1, 7, 13, 19, 25, 31, 14])
    assert positions_in_pools(worth, questions, items, CATEGORY).tolist() == [2]  # 19, 31 above; 25 equal, half of it is none
