"""Held-out sets: what each user took, without order or time, and a part of it hidden. A protocol for comparing with published figures.

This is how LightGCN (He et al., SIGIR 2020) and what came after it are measured on Gowalla, Yelp and Amazon-Book: all items are ranked,
less those the user has in the training part, and users count equally. Two files, ``USER ITEM ITEM ...`` a line, are the training and the
test part. Where we differ: equal scores are ordered by a draw that knows nothing, not by row.

The hidden part is a draw, not the newest: it shows whether a model was built as well as others built it, and says nothing about a service.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from corkboard.errors import InputError
from corkboard.experiments.scorers import RetrievalScorer
from corkboard.metrics.intervals import PerUser
from corkboard.metrics.ranking import ndcg_at_k, positions_in_lists, recall_at_k, top_k
from corkboard.seeds import generator

CHUNK_SCORES = 4_000_000
"""Scores held at once: 16 MB of float32."""


@dataclass(frozen=True)
class HeldOutSets:
    """``train`` and ``test`` are float32 CSR ``(users, items)`` of ones that share no cell; ``hidden`` names the draw.

    Users and items are the numbers in the files, from 0; an item may occur in one part only.
    """

    train: sp.csr_array
    test: sp.csr_array
    hidden: str = "as given"

    def __post_init__(self) -> None:
        if self.train.shape != self.test.shape:
            raise InputError("Both parts need the same users and items", found=(self.train.shape, self.test.shape))
        shared = self.train.multiply(self.test).count_nonzero()
        if shared:
            raise InputError("What is to be found was taken in the training part already", found=f"{shared} pairs of user and item")

    @classmethod
    def read(cls, train: Path, test: Path) -> HeldOutSets:
        """From two files, plain or gzipped; a pair that is there twice counts once.

        Raises :class:`InputError`, with the line, for anything that is no number, and where the parts share a pair.
        """
        parts = [_read(Path(file)) for file in (train, test)]
        shape = tuple(1 + max(int(part[side].max(initial=-1)) for part in parts) for side in (0, 1))
        return cls(*(_ones(users, items, shape) for users, items in parts))

    @property
    def users(self) -> int:
        """How many users there are, asked or not."""
        return int(self.train.shape[0])

    @property
    def items(self) -> int:
        """How many items there are."""
        return int(self.train.shape[1])

    @property
    def item_ids(self) -> list[str]:
        """The number of each item, as text."""
        return [str(row) for row in range(self.items)]

    @property
    def split_hash(self) -> str:
        """12 hex digits over all pairs of both parts: figures with the same one were measured on the same targets and may be compared."""
        digest = hashlib.blake2b(repr(self.train.shape).encode(), digest_size=6)
        for part in (self.train, self.test):
            for column in (part.indptr, part.indices):
                digest.update(column.astype(np.int64).tobytes())
        return digest.hexdigest()

    def most_popular(self, items: int) -> HeldOutSets:
        """The same with only the ``items`` most taken items of the training part; users who are left without a test item are not asked."""
        if items >= self.items:
            return self
        taken = np.asarray(self.train.sum(axis=0)).ravel()
        kept = np.sort(np.argsort(-taken, kind="stable")[:items])
        return replace(self, train=sp.csr_array(self.train[:, kept]), test=sp.csr_array(self.test[:, kept]))

    def validation(self, share: float, seed: int, users: int) -> HeldOutSets:
        """The training part, split again: ``share`` of each user's items are hidden, and ``users`` users, drawn by seed, asked for them.

        At least one item of a user is hidden and one is left. The test part is not looked at.
        """
        draw = generator(seed, "held out sets", "validation")
        lengths = np.diff(self.train.indptr)
        owners = np.repeat(np.arange(self.users), lengths)
        order = np.lexsort((draw.random(len(owners)), owners))
        place = np.empty(len(owners), np.int64)
        place[order] = np.arange(len(owners)) - np.repeat(self.train.indptr[:-1], lengths)
        hidden = place < np.minimum(np.maximum(np.round(lengths * share), 1), lengths - 1)[owners]
        able = np.flatnonzero(lengths > 1)
        asked = np.zeros(self.users, bool)
        asked[draw.choice(able, min(users, len(able)), replace=False)] = True
        shape, items = self.train.shape, self.train.indices
        train = _ones(owners[~hidden], items[~hidden], shape)
        wanted = hidden & asked[owners]
        return HeldOutSets(train, _ones(owners[wanted], items[wanted], shape), f"{share:g} of the training items of {asked.sum():,} users")

    def histories(self, users: np.ndarray) -> list[np.ndarray]:
        """What is known of each of ``users``: int64 rows of items, in no order that means anything."""
        return [self.train.indices[self.train.indptr[user] : self.train.indptr[user + 1]].astype(np.int64) for user in users]


def held_out_figures(
    data: HeldOutSets, scorer: RetrievalScorer, k: int = 20, seed: int = 0, chunk_scores: int = CHUNK_SCORES
) -> dict[str, PerUser]:
    """recall@k, hits over test items, and NDCG@k, binary with min(k, test items) hits as the ideal; a mean over users with test items.

    All items are ranked but those of the user's training part. ``seed`` orders equal scores. Raises ``ValueError`` for NaN.
    """
    asked = np.flatnonzero(np.diff(data.test.indptr) > 0)
    tie_order = generator(seed, "held out sets", "ties").permutation(data.items)
    owners = np.repeat(np.arange(data.users), np.diff(data.test.indptr))
    positions = np.empty(len(owners), np.int64)
    size = max(1, chunk_scores // max(data.items, 1))
    for start in range(0, len(asked), size):
        users = asked[start : start + size]
        lists = top_k(_masked_scores(data, scorer, users), k, tie_order)
        pairs = np.concatenate([np.arange(data.test.indptr[user], data.test.indptr[user + 1]) for user in users])
        positions[pairs] = positions_in_lists(lists, np.searchsorted(users, owners[pairs]), data.test.indices[pairs])
    return {
        f"recall@{k}": recall_at_k(positions, owners, data.users, k).macro(),
        f"NDCG@{k}": ndcg_at_k(positions, owners, data.users, k),
    }


def _masked_scores(data: HeldOutSets, scorer: RetrievalScorer, users: np.ndarray) -> np.ndarray:
    """float32 ``(len(users), items)``, -inf for what the user has."""
    histories = data.histories(users)
    scores = np.array(scorer.score_all(histories), np.float32)
    if scores.shape != (len(users), data.items):
        raise ValueError(f"{type(scorer).__name__} returned scores of shape {scores.shape}, expected {(len(users), data.items)}")
    scores[np.repeat(np.arange(len(users)), [len(history) for history in histories]), np.concatenate(histories)] = -np.inf
    return scores


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of all pairs of a file, int64 ``(pairs,)`` each."""
    users, items = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for number, line in enumerate(_lines(file), 1):
        try:
            found = np.array(line.split(), np.int64)
        except (ValueError, OverflowError):
            found = np.array([-1])
        if (found < 0).any():
            raise InputError(f"Line {number} of {file.name} is no set of items", found=line.strip()[:60], expected="USER ITEM ITEM ...")
        users.append(np.repeat(found[:1], len(found[1:])))
        items.append(found[1:])
    return np.concatenate(users), np.concatenate(items)


def _lines(file: Path) -> Iterator[str]:
    with gzip.open(file, "rt") if file.suffix == ".gz" else open(file) as opened:
        yield from opened


def _ones(users: np.ndarray, items: np.ndarray, shape: tuple[int, ...]) -> sp.csr_array:
    matrix = sp.csr_array((np.ones(len(users), np.float32), (users, items)), shape=shape)
    matrix.data[:] = 1.0
    return matrix
