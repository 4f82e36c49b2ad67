"""What an encoder over graphs reads of an item itself: its vectors in one or more spaces, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.errors import InputError

_EPSILON = 1e-6


@dataclass(frozen=True)
class NodeFeatures:
    """Items and their features.

    ``values`` is float32 ``(items, sum(widths))``: for each part a unit vector, or zeros where the item has none. ``spaces`` names the
    space of each part: an encoder reads no others than it was trained with.
    """

    item_ids: Sequence[str]
    values: np.ndarray
    widths: tuple[int, ...]
    spaces: tuple[Space, ...]

    def __post_init__(self) -> None:
        shape = (len(self.item_ids), sum(self.widths))
        if self.values.shape != shape or len(self.widths) != len(self.spaces):
            raise InputError("Features need a row an item and a space a part", found=(self.values.shape, len(self.spaces)), expected=shape)

    @classmethod
    def of(cls, item_ids: Sequence[str], tables: Sequence[EmbeddingTable]) -> NodeFeatures:
        """The vectors of ``item_ids`` in each of ``tables``: content first, then pictures; zeros where a table does not have an item."""
        if not tables:
            raise InputError("Features need at least one table of vectors", found=0)
        parts = [table.lookup(item_ids)[0] for table in tables]
        parts = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), _EPSILON) for part in parts]
        values = np.concatenate(parts, axis=1).astype(np.float32, copy=False)
        return cls(list(item_ids), values, tuple(table.dim for table in tables), tuple(table.space for table in tables))
