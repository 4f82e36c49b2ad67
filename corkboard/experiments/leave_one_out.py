"""Leave-one-out: rank the whole catalogue for the last item of every user. A protocol for comparing with published figures only.

Each user's last item is the test, the one before it is for early stopping, the rest is for training (Kang and McAuley, ICDM
2018). Of the four protocols that are in print under the name "MovieLens-1M leave-one-out" this is the one of RecTools and eSASRec:
all items that occur anywhere are ranked (never a sample of negatives), what a user has already taken is left out, order within a
user is stable. Where we differ: a tie counts against the model, so that a constant scorer reaches nothing.

The split leaks the future: what others did after a user's last moment is in the training part. Claims about models here are made
on a global split by time (:mod:`corkboard.experiments.task`); this one says whether a model was built as well as others built it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import scipy.sparse as sp

from corkboard.errors import InputError, SchemaError
from corkboard.experiments.scorers import RetrievalScorer
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import generator

Part = Literal["valid", "test"]

COLUMNS = ("user_id", "item_id", "pos", "split")
CHUNK_SCORES = 4_000_000
"""Scores held at once: 16 MB of float32."""


@dataclass(frozen=True)
class LeaveOneOut:
    """The sequences of all users, oldest first, without their last two items, which are ``valid`` and ``test``.

    User u has the training items ``items[offsets[u]:offsets[u + 1]]``, int32 rows of ``item_ids``; ``valid`` and ``test`` are int32
    ``(users,)``. ``item_ids`` holds every item of the file, also one that occurs only as a target.
    """

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    offsets: np.ndarray
    items: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, rows: pl.DataFrame) -> LeaveOneOut:
        """From a frame with user_id, item_id, pos (place in the user's order, from 0) and split (train, valid, test), as given.

        Raises :class:`SchemaError` for missing columns, and :class:`InputError` where a user has not exactly one valid and one test
        row at the end, or took a target before: masking what was seen would make such a target unreachable.
        """
        missing = sorted(set(COLUMNS) - set(rows.columns))
        if missing:
            raise SchemaError("A leave-one-out split needs more columns", found=rows.columns, expected=missing)
        rows = rows.select(COLUMNS).sort("user_id", "pos")
        _checked(rows)
        items = rows["item_id"].unique().sort()
        codes = items.search_sorted(rows["item_id"]).to_numpy().astype(np.int32)
        part = rows["split"].to_numpy()
        users = rows["user_id"].unique(maintain_order=True)
        lengths = rows.filter(pl.col("split") == "train")["user_id"].rle().struct.field("len").to_numpy()
        return cls(
            user_ids=users.cast(pl.String).to_list(),
            item_ids=items.cast(pl.String).to_list(),
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            items=codes[part == "train"],
            valid=codes[part == "valid"],
            test=codes[part == "test"],
        )

    @property
    def split_hash(self) -> str:
        """12 hex digits over ids, order and split: figures with the same one were measured on the same targets and may be compared."""
        digest = hashlib.blake2b("\x1f".join([*self.user_ids, *self.item_ids]).encode(), digest_size=6)
        for part in (self.offsets, self.items, self.valid, self.test):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def sample(self, users: int, seed: int = 0) -> LeaveOneOut:
        """The same with at most ``users`` users, drawn by seed; the catalogue stays whole. For trying things out."""
        if users >= len(self.user_ids):
            return self
        kept = np.sort(generator(seed, "leave one out", "users").choice(len(self.user_ids), users, replace=False))
        parts = [self.items[self.offsets[u] : self.offsets[u + 1]] for u in kept]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)])
        ids = [self.user_ids[u] for u in kept]
        return LeaveOneOut(ids, self.item_ids, offsets, np.concatenate(parts), self.valid[kept], self.test[kept])

    def targets(self, part: Part) -> np.ndarray:
        """int32 ``(users,)``: the item to be found."""
        return self.valid if part == "valid" else self.test

    def known(self, user: int, part: Part) -> np.ndarray:
        """What is known of a user, oldest first: the training items, for the test also the item of the validation."""
        trained = self.items[self.offsets[user] : self.offsets[user + 1]]
        return trained if part == "valid" else np.append(trained, self.valid[user])

    def histories(self, part: Part, users: np.ndarray | None = None) -> list[np.ndarray]:
        """:meth:`known` of each user as scorers expect it: int64 rows, newest first."""
        asked = range(len(self.user_ids)) if users is None else users
        return [self.known(int(user), part)[::-1].astype(np.int64) for user in asked]

    def matrix(self) -> sp.csr_array:
        """float32 CSR ``(users, items)``: 1 where a user has the item in the training part."""
        ones = np.ones(len(self.items), np.float32)
        matrix = sp.csr_array((ones, self.items, self.offsets), shape=(len(self.user_ids), len(self.item_ids)))
        matrix.sort_indices()
        return matrix


def target_ranks(data: LeaveOneOut, scorer: RetrievalScorer, part: Part = "test", chunk_scores: int = CHUNK_SCORES) -> np.ndarray:
    """int64 ``(users,)``: how many items of the catalogue that the user has not had score at least as high as the target.

    0 is the top of the list. All items are ranked; a target whose score is -inf is never found. Raises ``ValueError`` for NaN.
    """
    targets = data.targets(part).astype(np.int64)
    ranks = np.empty(len(targets), np.int64)
    size = max(1, chunk_scores // max(len(data.item_ids), 1))
    for start in range(0, len(targets), size):
        users = np.arange(start, min(start + size, len(targets)))
        histories = data.histories(part, users)
        scores = np.array(scorer.score_all(histories), np.float32)
        if scores.shape != (len(users), len(data.item_ids)):
            raise ValueError(
                f"{type(scorer).__name__} returned scores of shape {scores.shape}, expected {(len(users), len(data.item_ids))}"
            )
        if np.isnan(scores).any():
            raise ValueError("A scorer returned NaN, which has no place in an order")
        ranks[users] = _ranks(scores, histories, targets[users])
    return ranks


def leave_one_out_figures(ranks: np.ndarray, k: int = 10) -> dict[str, PerUser]:
    """recall@k, which with one target is the hit rate, and NDCG@k, ``1 / log2(rank + 2)`` of a hit, by user."""
    hits = ranks < k
    gains = np.where(hits, 1.0 / np.log2(np.where(hits, ranks, 0) + 2.0), 0.0)
    ones = np.ones(len(ranks))
    return {f"recall@{k}": PerUser(hits.astype(np.float64), ones, len(ranks)), f"NDCG@{k}": PerUser(gains, ones, len(ranks))}


def best_by_validation(data: LeaveOneOut, candidates: Mapping[str, RetrievalScorer], k: int = 10) -> str:
    """The name of the candidate with the highest NDCG@k on the validation items: how baselines are tuned, never on the test."""
    found = {name: leave_one_out_figures(target_ranks(data, one, "valid"), k)[f"NDCG@{k}"].value for name, one in candidates.items()}
    return max(found, key=found.__getitem__)


def _ranks(scores: np.ndarray, histories: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """Of one chunk; ``scores`` is changed: what was seen, and the target itself, competes with nobody."""
    rows = np.arange(len(scores))
    wanted = scores[rows, targets]
    counted = np.ones(scores.shape, bool)
    counted[np.repeat(rows, [len(history) for history in histories]), np.concatenate([np.empty(0, np.int64), *histories])] = False
    counted[rows, targets] = False
    found = np.count_nonzero((scores >= wanted[:, None]) & counted, axis=1)
    return np.where(np.isneginf(wanted), scores.shape[1], found)


def _checked(rows: pl.DataFrame) -> None:
    ends = rows.group_by("user_id").agg(
        length=pl.len(), last=pl.col("split").last(), before=pl.col("split").slice(-2, 1).first(), train=(pl.col("split") == "train").sum()
    )
    fits = (pl.col("last") == "test") & (pl.col("before") == "valid") & (pl.col("train") == pl.col("length").cast(pl.Int64) - 2)
    bad = ends.filter(~fits | (pl.col("train") < 1))
    if len(bad):
        raise InputError(
            "Every user of a leave-one-out split needs training rows, then one valid row, then one test row",
            found=f"user {bad['user_id'][0]} and {len(bad) - 1} more do not",
        )
    repeated = rows.filter(pl.struct("user_id", "item_id").is_duplicated() & (pl.col("split") != "train"))
    if len(repeated):
        raise InputError(
            "A target was taken before by the same user", found=f"user {repeated['user_id'][0]}, item {repeated['item_id'][0]}"
        )
