"""The content tower: a vector for every item from its text, attributes and age, on its first second in the catalogue.

It knows no item ids, so nothing has to be learned about an item before it can be found; every other tower falls back to
this one. Serving is numpy only. The recipe is ItemSage's text side (hash embedding of words, bigrams and trigrams, one bag
a field) with a small residual network where ItemSage has a transformer over images and text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, Space, content_hash
from corkboard.embeddings.config import ContentConfig
from corkboard.embeddings.content_fields import FIELDS, ItemTokens, age_features, read_item, read_items
from corkboard.embeddings.pairs import co_engagement_pairs
from corkboard.errors import ArtifactError
from corkboard.learning.hash_embedding import Bags, HashEmbedding, Vocabulary

if TYPE_CHECKING:
    from corkboard.learning.training import Progress

__all__ = ["FIELDS", "ContentTower", "Network", "co_engagement_pairs", "train_content", "untrained_content"]

EPSILON = 1e-6
_SAYING = [place for place, field in enumerate(FIELDS) if field != "facts"]
"""The fields that tell an item from others: every item has a kind, and a price says little on its own."""
_CHUNK = 8192
"""Items that are encoded at once: their token vectors take some hundred megabytes."""


@dataclass(frozen=True)
class Network:
    """The residual part: ``down (fields * dim + ages, hidden)``, ``down_bias (hidden,)``, ``up (hidden, dim)``."""

    down: np.ndarray
    down_bias: np.ndarray
    up: np.ndarray

    def __call__(self, flat: np.ndarray) -> np.ndarray:
        return np.maximum(flat @ self.down + self.down_bias, 0) @ self.up


class ContentTower:
    """Items to unit vectors.

    A field's vector is the sum of its token vectors, scaled to length 1. An item's is the sum of its fields by ``scales``
    ``(len(FIELDS),)``, plus, once trained, a small network over all fields and the age, scaled to length 1. An item of
    which nothing else is known than kind, price and age has the zero vector: those it has in common with too many to be like any.
    """

    def __init__(
        self, vocabulary: Vocabulary, embedding: HashEmbedding, scales: np.ndarray, network: Network | None, config: ContentConfig
    ):
        self.vocabulary = vocabulary
        self.embedding = embedding
        self.scales = np.asarray(scales, np.float32)
        self.network = network
        self.settings = config

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.embedding.table.shape[1]

    @cached_property
    def space(self) -> Space:
        """The space of its vectors, named after its weights: two towers share one only when they are equal."""
        return Space(
            "content",
            content_hash([(name, value.shape, content_hash(value.tobytes().hex())) for name, value in sorted(self.tensors().items())]),
        )

    def encode(self, items: pl.DataFrame, now_ms: int) -> np.ndarray:
        """float32 ``(n, dim)`` vectors of items (columns of the lake's ``items`` plus ``created_ms``), as of ``now_ms``."""
        parts = [
            self.encode_tokens(read_items(items[start : start + _CHUNK], self.settings.text), now_ms)
            for start in range(0, len(items), _CHUNK)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def encode_item(self, item: Mapping[str, Any], now_ms: int) -> np.ndarray:
        """float32 ``(dim,)``: one live item row, without a detour over a frame."""
        return self.encode_tokens(read_item(item, self.settings.text), now_ms)[0]

    def encode_tokens(self, items: ItemTokens, now_ms: int) -> np.ndarray:
        """float32 ``(n, dim)`` of items that were read before."""
        bags = Bags.of(self.vocabulary.ids(items.tokens.hashes), items.tokens.offsets)
        fields = unit_rows(self.embedding.sums(bags)).reshape(len(items), len(FIELDS), self.dim)
        vectors = np.einsum("nfd,f->nd", fields, self.scales)
        if self.network is not None:
            vectors += self.network(np.concatenate([fields.reshape(len(items), -1), age_features(items.created_ms, now_ms)], axis=1))
        return unit_rows(vectors) * described(bags)[:, None]

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        embedding = self.embedding
        tensors = {
            "vocabulary": self.vocabulary.keys,
            "table": embedding.table,
            "weights": embedding.weights,
            "constants": embedding.constants,
            "scales": self.scales,
        }
        if self.network is not None:
            tensors |= {"down": self.network.down, "down_bias": self.network.down_bias, "up": self.network.up}
        return tensors

    @property
    def config(self) -> dict[str, object]:
        """The settings of an artefact."""
        return self.settings.model_dump()

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> ContentTower:
        """The tower of an artefact written with :meth:`tensors` and :attr:`config`; needs no torch."""
        tensors = artifact.tensors
        config = ContentConfig.model_validate(
            {name: value for name, value in artifact.config.items() if name in ContentConfig.model_fields}
        )
        missing = {"vocabulary", "table", "weights", "constants", "scales"} - tensors.keys()
        if missing:
            raise ArtifactError("This artefact holds no content tower", found=sorted(tensors), expected=sorted(missing))
        network = Network(tensors["down"], tensors["down_bias"], tensors["up"]) if "down" in tensors else None
        embedding = HashEmbedding(tensors["table"], tensors["weights"], tensors["constants"])
        return cls(Vocabulary(tensors["vocabulary"]), embedding, tensors["scales"], network, config)


def untrained_content(items: pl.DataFrame, config: ContentConfig | None = None, seed: int = 0) -> ContentTower:
    """A tower that nothing was trained for: a random projection of IDF-weighted tokens. Serves from the first minute."""
    config = config or ContentConfig()
    return untrained_from(read_items(items, config.text), config, seed)


def untrained_from(read: ItemTokens, config: ContentConfig, seed: int) -> ContentTower:
    """:func:`untrained_content` of items that were read before; training starts from it, too."""
    by_item = type(read.tokens)(read.tokens.hashes, read.tokens.kinds, read.tokens.offsets[:: len(FIELDS)])
    vocabulary, frequency = Vocabulary.fit(by_item, config.text)
    idf = np.log((len(read) + 1) / (frequency + 0.5)).astype(np.float32)
    embedding = HashEmbedding.random(len(vocabulary), config.table_rows, config.dim, seed, idf)
    return ContentTower(vocabulary, embedding, np.array(list(config.scales.model_dump().values()), np.float32), None, config)


def train_content(
    items: pl.DataFrame,
    pairs: pl.DataFrame,
    config: ContentConfig | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    now_ms: int | None = None,
) -> ContentTower:
    """Train a tower on pairs of :func:`co_engagement_pairs`; without any pair the untrained one comes back.

    ``now_ms`` is the cut that items and pairs end at (default: the latest time in them). Needs torch, from here only.
    """
    from corkboard.embeddings.content_training import ContentTraining

    config = config or ContentConfig()
    return ContentTraining(items, pairs, config, seed, now_ms).run(progress)


def described(bags: Bags) -> np.ndarray:
    """bool ``(n,)``: the items with a known token outside of the facts, of ``n * len(FIELDS)`` bags."""
    return (np.diff(bags.offsets).reshape(-1, len(FIELDS))[:, _SAYING] > 0).any(axis=1)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros stays."""
    return vectors / np.maximum(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)), EPSILON)[:, None]
