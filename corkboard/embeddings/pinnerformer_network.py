"""The torch side of PinnerFormer: both towers as modules, and how histories become padded tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.config import PinnerFormerConfig
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.item_tower import EPSILON
from corkboard.lake.schema import ACTION_CODES, SURFACE_CODES
from corkboard.learning.time_encoding import GAP_SECONDS, clock_features, gap_buckets, gap_features
from corkboard.learning.transformer import CausalTransformer

_SURFACES = SURFACE_CODES["visual"]
"""Surfaces that are told apart, the first so many; what came into the lake's list later is read as "other", so that models last."""
_TYPES = len(ACTION_CODES) + _SURFACES


@dataclass(frozen=True)
class Tokens:
    """Histories of similar length, padded on the right.

    ``place`` int64 ``(batch, time)`` points into the flat columns, padded slots anywhere; the columns are ``(tokens,)``: ``items``
    (rows of the vectors that are handed in beside them) and ``features`` float32 ``(tokens, width)`` of :func:`token_features`.
    ``gaps`` int64 ``(batch, time, time)`` or None.
    """

    place: Tensor
    items: Tensor
    features: Tensor
    gaps: Tensor | None

    @classmethod
    def of(
        cls, histories: Histories, starts: np.ndarray, stops: np.ndarray, config: PinnerFormerConfig, clock_hours: Sequence[float]
    ) -> Tokens:
        """The slots ``[starts[b], stops[b])`` of each window b; ``items`` are rows of ``histories.item_ids``."""
        lengths = stops - starts
        before = np.cumsum(lengths) - lengths
        slots = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
        inside = np.minimum(np.arange(int(lengths.max(initial=1))), np.maximum(lengths - 1, 0)[:, None])
        place = before[:, None] + inside
        gaps = None
        if config.encoder.time_gaps:
            seconds = (histories.time_ms[slots[place]] - histories.time_ms[starts][:, None]) / 1000.0
            gaps = torch.from_numpy(gap_buckets(seconds[:, :, None] - seconds[:, None, :]))
        return cls(
            place=torch.from_numpy(place),
            items=torch.from_numpy(histories.items[slots].astype(np.int64)),
            features=torch.from_numpy(token_features(histories, slots, clock_hours if config.clock else None)),
            gaps=gaps,
        )


def token_features(histories: Histories, slots: np.ndarray, clock_hours: Sequence[float] | None) -> np.ndarray:
    """float32 ``(len(slots), feature_width(...))``: type and surface as one of several columns; then, unless ``clock_hours`` is None,
    absolute clock, gap to the user's action before (0 for the first), duration and whether it is known."""
    types = np.zeros((len(slots), _TYPES), np.float32)
    row = np.arange(len(slots))
    types[row, histories.actions[slots] - 1] = 1
    surfaces = histories.surfaces[slots]
    types[row, len(ACTION_CODES) + np.where(surfaces > _SURFACES, SURFACE_CODES["other"], surfaces) - 1] = 1
    if clock_hours is None:
        return types
    times = histories.time_ms[slots]
    first = histories.offsets[histories.owners[slots]] == slots
    gaps = np.where(first, 0, times - histories.time_ms[np.maximum(slots - 1, 0)]) / 1000.0
    duration = histories.duration_ms[slots]
    known = ~np.isnan(duration)
    lasted = np.stack([np.log1p(np.where(known, duration, 0) / 1000.0), known], axis=1)
    return np.concatenate([types, clock_features(times, clock_hours), gap_features(gaps), lasted], axis=1, dtype=np.float32)


def feature_width(clock: bool, clock_periods: int) -> int:
    """Columns of :func:`token_features`."""
    return _TYPES + (2 * clock_periods + 2 * len(GAP_SECONDS) + 1 + 2 if clock else 0)


class TrainableItemTower(nn.Module):
    """The torch twin of :class:`corkboard.embeddings.item_tower.ItemTower`; it starts close to the content vectors."""

    def __init__(self, config: PinnerFormerConfig, content_dim: int, ids: int):
        super().__init__()
        self.dropout = config.items.id_dropout
        id_dim, dim = config.items.id_dim, config.dim
        self.content = nn.Parameter(torch.eye(content_dim, dim))
        if content_dim > dim:
            nn.init.orthogonal_(self.content)
        self.ids = nn.Parameter(torch.randn(ids, id_dim) * config.items.id_start / max(id_dim, 1) ** 0.5)
        self.id_skip = nn.Parameter(torch.randn(id_dim, dim) / max(id_dim, 1) ** 0.5)
        self.down = nn.Parameter(torch.randn(content_dim + id_dim, config.items.hidden) / (content_dim + id_dim) ** 0.5)
        self.down_bias = nn.Parameter(torch.zeros(config.items.hidden))
        self.up = nn.Parameter(torch.zeros(config.items.hidden, dim))

    def forward(self, content: Tensor, id_rows: Tensor) -> Tensor:
        """``(n, dim)`` unit vectors from content ``(n, content_dim)`` and rows of the id table ``(n,)``, -1 for items without an id."""
        known = (id_rows >= 0)[:, None].to(content.dtype)
        if self.training and self.dropout:
            known = known * (torch.rand(len(id_rows), 1) >= self.dropout)
        ids = functional.embedding(id_rows.clamp_min(0), self.ids) * known if len(self.ids) else content.new_zeros(len(content), 0)
        if not len(self.ids):
            ids = content.new_zeros(len(content), self.id_skip.shape[0])
        hidden = functional.relu(torch.cat([content, ids], dim=1) @ self.down + self.down_bias)
        raw = content @ self.content + ids @ self.id_skip + hidden @ self.up
        return functional.normalize(raw, dim=1, eps=EPSILON)

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights of the numpy twin."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.named_parameters()}


class UserTower(nn.Module):
    """Tokens to unit vectors, one for each position that is asked for.

    A linear layer over the concatenation of item vector, types and times is the sum of a linear layer for each; that of the item
    vectors is computed once for every distinct item rather than once for every token. The published head is a multilayer perceptron
    alone; ours adds to a linear map, which lets the user vector set out from the item vectors.
    """

    def __init__(self, config: PinnerFormerConfig, clock_periods: int):
        super().__init__()
        width = config.encoder.width
        self.scale = config.dim**0.5
        self.dropout = config.token_dropout
        self.item = nn.Linear(config.dim, width)
        self.features = nn.Linear(feature_width(config.clock, clock_periods), width, bias=False)
        self.encoder = CausalTransformer(config.encoder)
        self.skip = nn.Linear(width, config.dim, bias=False)
        self.head = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, config.dim))
        self._start_as_a_mean()

    def _start_as_a_mean(self) -> None:
        """Before training, a user vector is about the mean of the vectors of all items, the last one a little heavier."""
        with torch.no_grad():
            for linear in (self.item, self.skip):
                linear.weight.copy_(torch.eye(*linear.weight.shape))
            self.features.weight.mul_(0.3)
            for part in (self.item.bias, self.head[2].weight, self.head[2].bias):
                nn.init.zeros_(part)

    def forward(self, tokens: Tokens, item_vectors: Tensor, at: Tensor | None = None) -> Tensor:
        """Encoder outputs before the head, ``(batch, time or m, width)``; ``item_vectors`` ``(n, dim)`` are what ``tokens.items`` count."""
        flat = self.item(item_vectors * self.scale).index_select(0, tokens.items) + self.features(tokens.features)
        if self.training and self.dropout:
            flat = flat * (torch.rand(len(flat), 1) >= self.dropout)
        return self.encoder(flat.index_select(0, tokens.place.flatten()).view(*tokens.place.shape, -1), tokens.gaps, at)

    def at(self, tokens: Tokens, item_vectors: Tensor, owners: np.ndarray, positions: np.ndarray) -> Tensor:
        """Encoder outputs ``(len(owners), width)`` of row ``owners[i]`` at ``positions[i]``; ``owners`` is sorted.

        Where few positions of a row are asked for, the last block computes only these.
        """
        batch, time = tokens.place.shape
        counts = np.bincount(owners, minlength=batch)
        most = int(counts.max(initial=1))
        if 2 * most > time:
            return self(tokens, item_vectors).flatten(0, 1)[torch.from_numpy(owners * time + positions)]
        rank = np.arange(len(owners)) - (np.cumsum(counts) - counts)[owners]
        at = np.zeros((batch, most), np.int64)
        at[owners, rank] = positions
        return self(tokens, item_vectors, torch.from_numpy(at)).flatten(0, 1)[torch.from_numpy(owners * most + rank)]

    def vectors(self, outputs: Tensor) -> Tensor:
        """``(n, dim)`` unit vectors of encoder outputs ``(n, width)``: only the positions that are used go through the head."""
        return functional.normalize(self.skip(outputs) + self.head(outputs), dim=-1, eps=EPSILON)


def by_length(lengths: np.ndarray, groups: int) -> Iterator[np.ndarray]:
    """Rows of ``lengths`` in at most ``groups`` parts of similar length, with about the same number of tokens each."""
    order = np.argsort(-lengths, kind="stable")
    share = np.cumsum(lengths[order]) - lengths[order]
    part = share * groups // max(int(lengths.sum()), 1)
    yield from np.split(order, np.flatnonzero(np.diff(part)) + 1)
