"""The vectors that a head on attributes reads: where an item stands in the graph and what its picture looks like, none of which has read
what is to be filled.

The content vectors behind them must be of :func:`corkboard.embeddings.attribute_head.unsaid` items, those of neighbours, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from corkboard.artifacts import EmbeddingTable, Space, content_hash
from corkboard.embeddings.node_features import NodeFeatures

if TYPE_CHECKING:
    from corkboard.embeddings.multibisage import MultiBiSage
    from corkboard.graph.neighbour_lists import NeighbourLists

Sources = Mapping[str, Sequence[str]]
"""As in :class:`corkboard.embeddings.attribute_config.AttributeHeadConfig`."""


def unsaid_space(space: Space, sources: Sources) -> Space:
    """The space of what is made by the encoder of ``space`` without ``sources``, so that no head is given vectors that have read them."""
    return Space(f"unsaid_{space.name}", content_hash(str(space), sorted({name for of_one in sources.values() for name in of_one})))


def unsaid_table(model: MultiBiSage, features: NodeFeatures, lists: NeighbourLists | None, sources: Sources) -> EmbeddingTable:
    """float32 ``(n, dim + pictures)``: the vectors of ``model``, and beside them those of the pictures, zeros where there is none."""
    vectors = np.concatenate([model.encode(features, lists), features.values[:, features.widths[0] :]], axis=1)
    return EmbeddingTable(list(features.item_ids), vectors, unsaid_space(model.space, sources))


def just_arrived(model: MultiBiSage, contents: EmbeddingTable, sources: Sources) -> EmbeddingTable:
    """As :func:`unsaid_table`, of items that nobody has put beside anything yet, and whose pictures nobody has read."""
    parts = zip(model.widths[1:], model.spaces[1:], strict=True)
    unseen = [EmbeddingTable([], np.zeros((0, width), np.float32), space) for width, space in parts]
    return unsaid_table(model, NodeFeatures.of(contents.ids, [contents, *unseen]), None, sources)
