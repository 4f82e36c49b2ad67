"""Small histories and models for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.config import ItemTowerConfig, ObjectiveConfig, PinnerFormerConfig
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.pinnerformer import PinnerFormer
from corkboard.embeddings.pinnerformer_training import train_pinnerformer
from corkboard.learning.config import TrainingConfig, TransformerConfig
from corkboard.seeds import generator

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ITEMS = 40


def histories(times: Sequence[Sequence[int]], items: Sequence[Sequence[int]] | None = None, labels: object = None) -> Histories:
    """Histories by hand: the times (and rows of items) of each user; everything is a label unless said otherwise."""
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in times])]).astype(np.int64)
    n = int(offsets[-1])
    rows = np.concatenate([np.asarray(each, np.int32) for each in items]) if items is not None else np.arange(n, dtype=np.int32) % ITEMS
    return Histories(
        user_keys=[f"u{user:03d}" for user in range(len(times))],
        item_ids=[f"i{item:03d}" for item in range(ITEMS)],
        offsets=offsets,
        items=rows.astype(np.int32),
        actions=np.ones(n, np.int8),
        surfaces=np.ones(n, np.int8),
        time_ms=np.concatenate([np.asarray(each, np.int64) for each in times]) if n else np.empty(0, np.int64),
        duration_ms=np.full(n, np.nan, np.float32),
        labels=np.ones(n, bool) if labels is None else np.concatenate([np.asarray(each, bool) for each in labels]),
    )


def random_histories(users: int = 30, longest: int = 40, seed: int = 0) -> Histories:
    """Users with 0 to ``longest`` actions over twenty days."""
    draw = generator(seed, "tests", "histories")
    counts = draw.integers(0, longest + 1, users)
    made = histories([np.sort(draw.integers(0, 20 * DAY_MS, n)) for n in counts], [draw.integers(0, ITEMS, n) for n in counts])
    n = len(made.items)
    columns = (draw.integers(1, 9, n).astype(np.int8), draw.integers(1, 9, n).astype(np.int8))
    durations = np.where(draw.random(n) < 0.5, np.nan, draw.random(n) * 1e5).astype(np.float32)
    return Histories(made.user_keys, made.item_ids, made.offsets, made.items, *columns, made.time_ms, durations, made.labels)


def content(dim: int = 6, ids: Sequence[str] | None = None) -> EmbeddingTable:
    """Unit content vectors."""
    ids = ids or [f"i{item:03d}" for item in range(ITEMS)]
    vectors = generator(1, "tests", "content").standard_normal((len(ids), dim)).astype(np.float32)
    return EmbeddingTable(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), Space("content", "test"))


def tiny(window: int = 12, steps: int = 3, **changes: object) -> PinnerFormerConfig:
    """Settings of a model that trains in a blink."""
    given = {
        "dim": 8,
        "encoder": TransformerConfig(width=8, heads=2, layers=2, window=window, dropout=0.1),
        "items": ItemTowerConfig(id_dim=4, hidden=8, id_min_actions=2),
        "objective": ObjectiveConfig(positions=4),
        "batch": 8,
        "groups": 2,
        "pool": 10,
        "training": TrainingConfig(steps=steps, warmup_steps=1, learning_rate=0.02, validate_every=100),
    }
    return PinnerFormerConfig.model_validate({**given, **changes})


def trained(window: int = 12, **changes: object) -> PinnerFormer:
    """A model after three steps."""
    return train_pinnerformer(random_histories(), content(), tiny(window, **changes), 5, 21 * DAY_MS)
