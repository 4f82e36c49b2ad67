"""What the hybrid ranker's network is given: NumPy tables and requests in, batches of tensors out.

A batch is some requests and some rows, each row a candidate of one of the requests. Whatever belongs to the request stands
there once: its last actions, its user vector. Training, evaluation and serving make their batches here, with one set of
scales and one reduction of the item embeddings, :class:`InputScales`, which is part of the artefact.

What is missing is zero and flagged: an unknown item embedding is reduced to zeros, which is the average item; an unknown
user vector and an empty history likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.errors import InputError
from corkboard.lake.schema import ACTION_CODES, NEGATIVE
from corkboard.ranking.config import HybridConfig
from corkboard.ranking.features import MATCHES, NEAREST, PRODUCT_NAMES, SIMILARITIES
from corkboard.ranking.history import RequestHistory
from corkboard.ranking.report import CLIP, standardisation
from corkboard.ranking.table import TrainingRows
from corkboard.ranking.transact import HistoryBatch

_LASTING = [ACTION_CODES[name] for name in NEGATIVE]

HAND_MADE: frozenset[str] = frozenset(
    {*SIMILARITIES, *NEAREST, *MATCHES, *PRODUCT_NAMES, "item_knn", "item_knn_history", "acted", "acted_fading_days"}.union(
        {"price_gap", "price_distance"}
    ).difference({"has_vector", "has_itemsage", "itemsage_beside"})
)
"""Features that are made by hand from the last actions and the candidate: what a sequence module is meant to make unnecessary. Counters of
a user (activity, share of hides, hours since the last action) and what was shown are not among them."""


@dataclass(frozen=True)
class HybridBatch:
    """R requests and n rows of them; every tensor float32 unless it says otherwise."""

    request: Tensor
    """int64 ``(n,)``: the request of each row."""
    dense: Tensor
    """``(n, F)`` standardised features, 0 at their mean."""
    items: Tensor
    """``(n, item_dim)`` reduced item embeddings of the candidates."""
    embeddings: Tensor
    """``(n, dim)`` their item embeddings."""
    items_known: Tensor
    """``(n,)`` 1 where a candidate has an embedding."""
    history: HistoryBatch
    """Last actions of the R requests, with reduced item embeddings."""
    users: Tensor
    """``(R, dim)`` user vectors."""
    users_known: Tensor
    """``(R,)`` 1 where a request has one."""
    users_hours: Tensor
    """``(R,)`` hours since the newest action that it knows."""

    def __len__(self) -> int:
        return len(self.request)

    def without(self, histories: Tensor | None = None, users: Tensor | None = None, items: Tensor | None = None) -> HybridBatch:
        """The batch as it is when inputs are missing: bool ``(R,)``, ``(R,)`` and ``(n,)``, true where one is left out."""
        batch = self
        if histories is not None:
            kept, past = ~histories, self.history
            slots = kept[:, None]
            past = HistoryBatch(past.items * slots[:, :, None], past.actions * slots, past.hours * slots, past.lengths * kept)
            batch = replace(batch, history=past)
        if users is not None:
            kept = ~users
            batch = replace(
                batch, users=self.users * kept[:, None], users_known=self.users_known * kept, users_hours=self.users_hours * kept
            )
        if items is not None:
            kept = ~items
            batch = replace(
                batch, items=self.items * kept[:, None], embeddings=self.embeddings * kept[:, None], items_known=self.items_known * kept
            )
        return batch

    def with_dense(self, columns: Sequence[int], rows: Tensor) -> HybridBatch:
        """The batch with the features ``columns`` of other rows: int64 ``(n,)``."""
        dense = self.dense.clone()
        dense[:, columns] = self.dense[rows][:, columns]
        return replace(self, dense=dense)


@dataclass(frozen=True)
class InputScales:
    """Fitted once, kept with the network: which features are read and how they and the item embeddings are scaled."""

    feature_names: tuple[str, ...]
    mean: np.ndarray
    """float32 ``(F,)``."""
    scale: np.ndarray
    """float32 ``(F,)``."""
    item_mean: np.ndarray
    """float32 ``(dim,)``."""
    item_matrix: np.ndarray
    """float32 ``(dim, item_dim)``: principal axes of the item embeddings, scaled so that a reduced embedding has mean square 1."""
    space: Space
    """The space of item embeddings and user vectors."""

    @classmethod
    def fit(cls, rows: TrainingRows, fit: np.ndarray, item_vectors: EmbeddingTable, config: HybridConfig) -> InputScales:
        """From the fitted rows ``fit`` of ``rows`` and all embeddings of ``item_vectors``."""
        names = tuple(name for name in rows.feature_names if config.features == "all" or name not in HAND_MADE)
        columns = [rows.feature_names.index(name) for name in names]
        mean, scale = standardisation(rows.features[fit])
        item_mean, item_matrix = principal_axes(item_vectors.vectors, config.transact.item_dim)
        return cls(names, mean[columns], scale[columns], item_mean, item_matrix, item_vectors.space)

    @property
    def dim(self) -> int:
        """Width of an item embedding."""
        return len(self.item_mean)

    def dense(self, features: np.ndarray) -> np.ndarray:
        """float32 ``(n, F)`` from the ranker's own features ``(n, F)``; a feature that is not known (NaN) stands at its mean."""
        return np.nan_to_num(np.clip((features - self.mean) / self.scale, -CLIP, CLIP)).astype(np.float32, copy=False)

    def reduced(self, vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
        """float32 ``(n, item_dim)`` from embeddings ``(n, dim)``, zeros where not ``known`` ``(n,)``."""
        return (((vectors - self.item_mean) @ self.item_matrix) * known[:, None]).astype(np.float32, copy=False)

    def tensors(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "scale": self.scale, "item_mean": self.item_mean, "item_matrix": self.item_matrix}

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray], feature_names: Sequence[str], space: Space) -> InputScales:
        """Back from :meth:`tensors`."""
        return cls(tuple(feature_names), *(tensors[name] for name in ("mean", "scale", "item_mean", "item_matrix")), space)


def principal_axes(vectors: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean float32 ``(d,)`` and matrix float32 ``(d, dim)`` such that ``(vectors - mean) @ matrix`` are the leading principal components.

    The components keep their relative sizes and have mean square 1 together. Where ``dim`` exceeds d, the last columns are zero.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :dim]
    axes = axes * np.where(axes.sum(axis=0) < 0, -1.0, 1.0)  # eigenvectors have no sign of their own
    size = float(np.sqrt(np.mean((centred @ axes) ** 2)))
    matrix = np.zeros((vectors.shape[1], dim))
    matrix[:, : axes.shape[1]] = axes / max(size, 1e-12)
    return mean.astype(np.float32), matrix.astype(np.float32)


class TableInputs:
    """Training rows with their item embeddings, made ready so that a batch of pages is a matter of indexing."""

    def __init__(self, rows: TrainingRows, item_vectors: EmbeddingTable, scales: InputScales, config: HybridConfig):
        scales.space.require(item_vectors.space)
        if item_vectors.dim != scales.dim:
            raise InputError("The item embeddings have another width", found=item_vectors.dim, expected=scales.dim)
        if config.sequence != "none" and rows.histories is None:
            raise InputError("The rows have no histories for the sequence module", hint="Set ranking.hybrid.sequence to none.")
        if config.user_vector and rows.user_vectors is None:
            raise InputError("The rows have no user vectors", hint="Set ranking.hybrid.user_vector to false.")
        self.rows, self.scales, self.config = rows, scales, config
        self._columns = np.array([rows.feature_names.index(name) for name in scales.feature_names])
        self._position = scales.feature_names.index("log_position") if "log_position" in scales.feature_names else None
        known = np.ones(len(item_vectors), bool)
        # One row of zeros more stands for every unknown item: index -1.
        self._embeddings = np.concatenate([item_vectors.vectors, np.zeros((1, scales.dim), np.float32)])
        self._reduced = np.concatenate([scales.reduced(item_vectors.vectors, known), np.zeros((1, config.transact.item_dim), np.float32)])
        self._candidates = _places(item_vectors, rows.item_ids.tolist())
        self._past = np.append(item_vectors.rows(rows.histories.ids), -1) if rows.histories is not None else None

    def batch(self, pages: np.ndarray, rows: np.ndarray, request: np.ndarray, on_top: bool = False) -> HybridBatch:
        """``rows`` ``(n,)`` of the table, each of page ``pages[request]``; ``on_top`` scores all as if they were shown there."""
        features = self.rows.features[rows]
        features = features if len(self._columns) == features.shape[1] else features[:, self._columns]
        if on_top and self._position is not None:
            features[:, self._position] = 0.0
        candidates = self._candidates[rows]
        users, users_known, users_hours = self._users(pages)
        return HybridBatch(
            request=torch.from_numpy(request),
            dense=torch.from_numpy(self.scales.dense(features)),
            items=torch.from_numpy(self._reduced[candidates]),
            embeddings=torch.from_numpy(self._embeddings[candidates]),
            items_known=torch.from_numpy((candidates >= 0).astype(np.float32)),
            history=self._history(pages),
            users=torch.from_numpy(users),
            users_known=torch.from_numpy(users_known),
            users_hours=torch.from_numpy(users_hours),
        )

    def _history(self, pages: np.ndarray) -> HistoryBatch:
        histories = self.rows.histories
        if histories is None or self._past is None or self.config.sequence == "none":
            return no_history(len(pages), self.config.transact.item_dim)
        places, actions, hours, lengths = histories.padded(pages, self.config.transact.length)
        if not places.shape[1]:
            return no_history(len(pages), self.config.transact.item_dim)
        items = faded(self._reduced[self._past[places]], actions, hours, self.config)
        return HistoryBatch(*(torch.from_numpy(part) for part in (items, actions.astype(np.int64), hours, lengths)))

    def _users(self, pages: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        vectors, known, hours = self.rows.user_vectors, self.rows.user_vector_known, self.rows.user_vector_hours
        if vectors is None or known is None or hours is None or not self.config.user_vector:
            return np.zeros((len(pages), self.scales.dim), np.float32), np.zeros(len(pages), np.float32), np.zeros(len(pages), np.float32)
        there = known[pages].astype(np.float32)
        return vectors[pages] * there[:, None], there, hours[pages].astype(np.float32) * there


def no_history(requests: int, item_dim: int) -> HistoryBatch:
    """Requests without any past action."""
    slots = torch.zeros(requests, 1)
    return HistoryBatch(torch.zeros(requests, 1, item_dim), slots.to(torch.int64), slots, torch.zeros(requests, dtype=torch.int64))


def request_history_batch(history: RequestHistory | None, reduced: np.ndarray, config: HybridConfig) -> HistoryBatch:
    """One request: its ``history`` with the reduced embeddings ``(t, item_dim)`` of its items."""
    size = 0 if history is None else min(len(history), config.history_length)
    if history is None or not size:
        return no_history(1, reduced.shape[1])
    actions, hours = history.actions[:size], history.hours[:size].astype(np.float32)
    parts = (faded(reduced[:size], actions, hours, config), actions.astype(np.int64), hours)
    return HistoryBatch(*(torch.from_numpy(part)[None] for part in parts), torch.tensor([size]))


def faded(items: np.ndarray, actions: np.ndarray, hours: np.ndarray, config: HybridConfig) -> np.ndarray:
    """float32 ``(..., item_dim)``: reduced embeddings of past items, times ``exp(-hours / fade_hours)``; 0 leaves them as they are.

    ``actions`` and ``hours`` are ``(...)``. TransAct knows the order of actions and not their age: where sessions lie days apart, the last
    action may be of this minute or of last week, and only the first says what is wanted now. The kind of an old action stays, its
    item fades, and what lasts is the user vector's to know. Dislikes may last (:attr:`HybridConfig.dislikes_last`): then hides and reports
    do not fade.
    """
    if not config.fade_hours:
        return items
    kept = np.exp(-hours / config.fade_hours)
    if config.dislikes_last:
        kept = np.where(np.isin(actions, _LASTING), 1.0, kept)
    return items * kept[..., None].astype(np.float32)


def by_page(rows: np.ndarray, page: np.ndarray, pages: int) -> tuple[np.ndarray, np.ndarray]:
    """``rows`` grouped by their ``page``, in their own order within it, and the starts of the groups ``(pages + 1,)``."""
    order = rows[np.argsort(page[rows], kind="stable")]
    return order, np.searchsorted(page[order], np.arange(pages + 1))


def _places(item_vectors: EmbeddingTable, item_ids: Sequence[str]) -> np.ndarray:
    """int64 ``(n,)`` rows of the table, -1 where unknown; each distinct id is looked up once."""
    places = dict.fromkeys(item_ids, -1)
    places |= dict(zip(places, item_vectors.rows(places).tolist(), strict=True))
    return np.fromiter((places[item_id] for item_id in item_ids), np.int64, len(item_ids))
