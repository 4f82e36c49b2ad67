from __future__ import annotations

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.learning.config import TextConfig
from corkboard.learning.hash_embedding import PRIME, Bags, HashEmbedding, Vocabulary
from corkboard.learning.hash_embedding_torch import TrainableHashEmbedding
from corkboard.learning.text import WORD, Tokens, tokenize


def test_vocabulary_counts_texts_not_occurrences() -> None:
    tokens = tokenize(["navy navy navy", "red", "red hat"])
    vocabulary, texts = Vocabulary.fit(tokens, TextConfig(min_count=2))
    words = tokenize(["navy", "red", "hat"]).hashes
    known = vocabulary.ids(words) >= 0
    red = tokenize(["red"]).hashes
    assert set(vocabulary.keys.tolist()) == set(red.tolist())  # its word and its trigrams; "navy" stands in one text only
    assert known.sum() == len(red)
    assert set(texts.tolist()) == {2}


def test_the_most_frequent_of_each_kind_are_kept() -> None:
    hashes = np.array([10, 20, 20, 30, 30, 30], np.uint64)
    tokens = Tokens(hashes, np.full(6, WORD, np.uint8), np.arange(7))
    vocabulary, texts = Vocabulary.fit(tokens, TextConfig(min_count=1, max_words_known=2))
    assert vocabulary.keys.tolist() == [20, 30]
    assert texts.tolist() == [2, 3]
    assert vocabulary.ids(np.array([30, 10, 20, 99], np.uint64)).tolist() == [1, -1, 0, -1]


def test_empty_vocabulary_knows_nothing() -> None:
    vocabulary, _ = Vocabulary.fit(tokenize([]), TextConfig())
    assert vocabulary.ids(np.array([1, 2], np.uint64)).tolist() == [-1, -1]


def test_vocabulary_must_be_sorted() -> None:
    with pytest.raises(InputError):
        Vocabulary(np.array([2, 1], np.uint64))


def test_token_vector_by_hand() -> None:
    # h1(x) = (2x + 1) mod p mod 3, h2(x) = (5x + 0) mod p mod 3; token 1: rows 3 mod 3 = 0 and 5 mod 3 = 2
    table = np.array([[1, 0], [0, 1], [10, 20]], np.float32)
    weights = np.array([[0, 0], [2, 0.5]], np.float32)
    embedding = HashEmbedding(table, weights, np.array([[2, 5], [1, 0]]))
    assert embedding.rows_of(np.array([1])).tolist() == [[0, 2]]
    assert embedding.vectors(np.array([1])).tolist() == [[2 * 1 + 0.5 * 10, 2 * 0 + 0.5 * 20]]


def test_hashes_stay_exact_for_large_ids() -> None:
    embedding = HashEmbedding(np.zeros((7, 1), np.float32), np.zeros((1, 2), np.float32), np.array([[PRIME - 1, PRIME - 2], [5, 6]]))
    big = PRIME - 3
    expected = [((PRIME - 1) * big + 5) % PRIME % 7, ((PRIME - 2) * big + 6) % PRIME % 7]
    assert embedding.rows_of(np.array([big])).tolist() == [expected]


def test_bags_drop_unknown_tokens_and_sum_the_rest() -> None:
    embedding = HashEmbedding.random(5, 16, 4, seed=0)
    bags = Bags.of(np.array([0, -1, 2, -1, 4]), np.array([0, 2, 2, 4, 5]))
    assert bags.ids.tolist() == [0, 2, 4]
    vectors = embedding.vectors(np.arange(5))
    expected = np.stack([vectors[0], np.zeros(4), vectors[2], vectors[4]])
    np.testing.assert_allclose(embedding.sums(bags), expected, atol=1e-6)
    np.testing.assert_allclose(embedding.sums(bags.take(np.array([3, 1, 3]))), expected[[3, 1, 3]], atol=1e-6)


def test_two_tokens_hardly_ever_share_both_rows() -> None:
    rows = HashEmbedding.random(2000, 256, 2, seed=1).rows_of(np.arange(2000))
    # in 256 x 256 = 65,536 cells 2000^2 / 2 / 65,536 = 30 pairs are expected to collide; with one hash it were 2000^2 / 2 / 256 = 7,800
    assert 2000 - len(np.unique(rows, axis=0)) < 80


def test_torch_twin_agrees_and_learns() -> None:
    start = HashEmbedding.random(50, 16, 8, seed=2)
    twin = TrainableHashEmbedding(start)
    bags = Bags(np.array([3, 3, 7, 49]), np.array([0, 2, 2, 4]))
    np.testing.assert_allclose(twin(bags).detach().numpy(), start.sums(bags), atol=1e-6)
    twin(bags).sum().backward()
    assert twin.weights.grad is not None
    assert set(np.flatnonzero(np.abs(twin.weights.grad.numpy()).sum(axis=1))) == {3, 7, 49}
    again = twin.frozen()
    assert np.array_equal(again.table, start.table)
    assert np.array_equal(again.rows_of(np.arange(50)), start.rows_of(np.arange(50)))
