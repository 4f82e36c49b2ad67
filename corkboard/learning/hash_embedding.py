"""Hash embedding (Svenstrup et al., NeurIPS 2017, as ItemSage and OmniSearchSage use it), the numpy side.

A token i of a vocabulary V has the vector ``W[i, 0] E[h1(i)] + W[i, 1] E[h2(i)]`` with a small shared table E and two
universal hashes ``h(x) = ((a x + b) mod p) mod rows``. Two tokens that share one row hardly ever share both.
Tokens outside of the vocabulary are dropped. The trainable twin is in :mod:`corkboard.learning.hash_embedding_torch`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corkboard.errors import InputError
from corkboard.learning.config import TextConfig
from corkboard.learning.text import BIGRAM, TRIGRAM, WORD, Tokens
from corkboard.seeds import generator

PRIME = (1 << 31) - 1
"""p of the universal hashes, larger than any vocabulary."""


class Vocabulary:
    """Token hashes that are known; the id of a token is its place in ``keys`` (uint64, sorted, distinct)."""

    def __init__(self, keys: np.ndarray):
        self.keys = np.asarray(keys, np.uint64)
        if len(self.keys) >= PRIME or (len(self.keys) > 1 and not (self.keys[1:] > self.keys[:-1]).all()):
            raise InputError("A vocabulary needs sorted, distinct hashes, and fewer than 2^31", found=len(self.keys))

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def fit(cls, tokens: Tokens, config: TextConfig) -> tuple[Vocabulary, np.ndarray]:
        """The tokens that occur in at least ``min_count`` texts, the most frequent of each kind; and in how many texts each does."""
        owner = np.repeat(np.arange(len(tokens)), np.diff(tokens.offsets))
        once = np.unique(np.stack([tokens.hashes, owner.astype(np.uint64)]), axis=1)[0] if len(owner) else tokens.hashes
        keys, texts = np.unique(once, return_counts=True)
        _, first = np.unique(tokens.hashes, return_index=True)
        kinds = tokens.kinds[first]
        keep = texts >= config.min_count
        for kind, most in ((WORD, config.max_words_known), (BIGRAM, config.max_bigrams_known), (TRIGRAM, config.max_trigrams_known)):
            mine = np.flatnonzero(keep & (kinds == kind))
            keep[mine[np.argsort(-texts[mine], kind="stable")[most:]]] = False
        return cls(keys[keep]), texts[keep]

    def ids(self, hashes: np.ndarray) -> np.ndarray:
        """int64 ``(t,)``: the ids of token hashes, -1 where unknown."""
        if not len(self.keys):
            return np.full(len(hashes), -1, np.int64)
        place = np.minimum(np.searchsorted(self.keys, hashes), len(self.keys) - 1)
        return np.where(self.keys[place] == hashes, place, -1)


@dataclass(frozen=True)
class Bags:
    """Token ids of n bags: bag i owns ``ids[offsets[i] : offsets[i + 1]]``; unknown tokens are already gone."""

    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, ids: np.ndarray, offsets: np.ndarray) -> Bags:
        """Drop the ids that are -1."""
        known = ids >= 0
        return cls(ids[known], np.concatenate([[0], np.cumsum(known)])[offsets])

    def take(self, rows: np.ndarray) -> Bags:
        """The bags at ``rows``, in that order."""
        lengths = (self.offsets[1:] - self.offsets[:-1])[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        place = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Bags(self.ids[place], offsets)


@dataclass(frozen=True)
class HashEmbedding:
    """``table`` float32 ``(rows, dim)``, ``weights`` float32 ``(|V|, 2)``, ``constants`` int64 ``(2, 2)``: a and b of both hashes."""

    table: np.ndarray
    weights: np.ndarray
    constants: np.ndarray

    @classmethod
    def random(cls, vocabulary: int, rows: int, dim: int, seed: int, weights: np.ndarray | None = None) -> HashEmbedding:
        """A table of Gaussian rows of expected length 1; a token's vector has the expected length ``weights[i]`` ``(|V|,)``, default 1."""
        draw = generator(seed, "hash-embedding")
        table = draw.standard_normal((rows, dim), dtype=np.float32) / np.float32(np.sqrt(dim))
        constants = np.stack([draw.integers(1, PRIME, 2), draw.integers(0, PRIME, 2)])
        each = np.ones(vocabulary, np.float32) if weights is None else np.asarray(weights, np.float32)
        return cls(table, np.repeat(each[:, None], 2, axis=1) / np.float32(np.sqrt(2)), constants)

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """int64 ``(t, 2)``: the rows of the table behind each token."""
        multiplier, offset = self.constants
        return (multiplier * np.asarray(ids, np.int64)[:, None] + offset) % PRIME % len(self.table)

    def vectors(self, ids: np.ndarray) -> np.ndarray:
        """float32 ``(t, dim)``."""
        rows, weights = self.rows_of(ids), self.weights[ids]
        return weights[:, :1] * self.table[rows[:, 0]] + weights[:, 1:] * self.table[rows[:, 1]]

    def sums(self, bags: Bags) -> np.ndarray:
        """float32 ``(len(bags), dim)``: the sum of the token vectors of every bag, zeros for empty ones."""
        out = np.zeros((len(bags), self.table.shape[1]), np.float32)
        filled = np.flatnonzero(np.diff(bags.offsets))
        if len(filled):
            out[filled] = np.add.reduceat(self.vectors(bags.ids), bags.offsets[filled], axis=0)
        return out
