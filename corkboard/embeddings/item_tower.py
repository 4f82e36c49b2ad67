"""The item tower: a frozen content vector and a learned id embedding become an item embedding. Serving is numpy only.

    vector = unit( content W_c + id W_i + relu([content; id] D + d) U )

It is trained together with the user tower (:mod:`corkboard.embeddings.pinnerformer`). PinnerFormer's item tower is a multilayer
perceptron over the content vector alone; the id is ours, for part of what people like in an item stands in no text. Ids are left out
at random in training, so that an item without one is placed by its content among those that have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from corkboard.errors import ArtifactError, InputError

WEIGHTS = ("content", "ids", "id_skip", "down", "down_bias", "up")
"""Names of the arrays of :class:`ItemTower`, in the order of its arguments."""
EPSILON = 1e-6


class ItemTower:
    """Item ids and content vectors to unit vectors.

    ``weights`` holds ``content (content_dim, dim)``, ``ids (len(item_ids), id_dim)``, ``id_skip (id_dim, dim)``,
    ``down (content_dim + id_dim, hidden)``, ``down_bias (hidden,)`` and ``up (hidden, dim)``, all float32.
    """

    def __init__(self, item_ids: Sequence[str], weights: Mapping[str, np.ndarray]):
        missing = set(WEIGHTS) - weights.keys()
        if missing:
            raise ArtifactError("These are not the weights of an item tower", found=sorted(weights), expected=sorted(missing))
        self.item_ids = list(item_ids)
        self.weights = {name: np.asarray(weights[name], np.float32) for name in WEIGHTS}
        if len(self.weights["ids"]) != len(self.item_ids):
            raise ArtifactError("An item tower needs one row an id", found=len(self.weights["ids"]), expected=len(self.item_ids))

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.weights["up"].shape[1]

    @property
    def content_dim(self) -> int:
        """Width of the content vectors."""
        return self.weights["content"].shape[0]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def encode(self, item_ids: Sequence[str], content: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors from ids and their content vectors ``(n, content_dim)``.

        An id that training did not meet, or met too rarely, counts as left out. An item with neither has the zero vector.
        """
        content = np.asarray(content, np.float32)
        if content.shape != (len(item_ids), self.content_dim):
            raise InputError("Content vectors do not fit", found=content.shape, expected=(len(item_ids), self.content_dim))
        rows = np.fromiter((self._row_of.get(item_id, -1) for item_id in item_ids), np.int64, len(item_ids))
        table = np.concatenate([self.weights["ids"], np.zeros((1, self.weights["ids"].shape[1]), np.float32)])
        return self.vectors(content, table[rows])

    def vectors(self, content: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)`` from content vectors and id embeddings ``(n, id_dim)``; rows of zeros stand for "not known"."""
        weights = self.weights
        hidden = np.maximum(np.concatenate([content, ids], axis=1) @ weights["down"] + weights["down_bias"], 0)
        raw = content @ weights["content"] + ids @ weights["id_skip"] + hidden @ weights["up"]
        known = content.any(axis=1) | ids.any(axis=1)
        return raw / np.maximum(np.linalg.norm(raw, axis=1), EPSILON)[:, None] * known[:, None]
