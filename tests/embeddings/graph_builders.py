"""Small features, neighbour lists and pairs for the tests of the graph encoders."""

from __future__ import annotations

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.config import MultiBiSageConfig, PinSageConfig
from corkboard.embeddings.graph_encoder import GraphEncoder
from corkboard.embeddings.multibisage import MultiBiSage
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.embeddings.pairs import PAIR_SCHEMA
from corkboard.embeddings.pinsage import PinSage
from corkboard.graph.neighbour_lists import NeighbourLists

DAY_MS = 86_400_000
GRAPHS = ("board", "click", "tag")
SPACES = (Space("content", "1"), Space("visual", "1"))


def features(items: int = 30, widths: tuple[int, ...] = (6,), seed: int = 0) -> NodeFeatures:
    """Random features; the last item has none."""
    draw = np.random.default_rng(seed)
    ids = [f"i{row:03d}" for row in range(items)]
    tables = [
        EmbeddingTable(ids[:-1], draw.standard_normal((items - 1, width)), space)
        for width, space in zip(widths, SPACES[: len(widths)], strict=True)
    ]
    return NodeFeatures.of(ids, tables)


def lists(items: int = 30, graphs: tuple[str, ...] = GRAPHS, k: int = 4, seed: int = 1) -> NeighbourLists:
    """Random lists of different lengths, most visited first; items 0 and the last have no neighbours at all."""
    draw = np.random.default_rng(seed)
    rows, visits = np.full((len(graphs), items, k), -1, np.int32), np.zeros((len(graphs), items, k), np.int32)
    for graph in range(len(graphs)):
        for item in range(1, items - 1):
            count = draw.integers(0, k + 1)
            others = np.delete(np.arange(items), item)
            rows[graph, item, :count] = draw.choice(others, count, replace=False)
            visits[graph, item, :count] = np.sort(draw.integers(2, 90, count))[::-1]
    degrees = np.where((rows >= 0).any(axis=2), draw.integers(1, 40, (len(graphs), items)), 0)
    return NeighbourLists(graphs, [f"i{row:03d}" for row in range(items)], rows, visits, degrees.astype(np.int32))


def random_encoder(kind: type[GraphEncoder], config: PinSageConfig | MultiBiSageConfig, given: NodeFeatures, read: NeighbourLists):
    """An encoder with random weights everywhere: nothing that starts at zero hides anything."""
    draw = np.random.default_rng(5)
    empty = kind(config, read.graphs, given.widths, given.spaces, read.rows.shape[2], {})
    shapes = {name: tuple(value.shape) for name, value in empty.network().state_dict().items()}
    weights = {name: (draw.standard_normal(shape) * 0.5).astype(np.float32) for name, shape in shapes.items()}
    return kind(config, read.graphs, given.widths, given.spaces, read.rows.shape[2], weights)


def pinsage(given: NodeFeatures, read: NeighbourLists, **settings: object) -> PinSage:
    """A random PinSage over the first of the lists."""
    config = PinSageConfig.model_validate({"dim": 6, "small_dim": 3, "hidden": 16, **settings})
    return random_encoder(PinSage, config, given, read.only(("board",)))


def multibisage(given: NodeFeatures, read: NeighbourLists, **settings: object) -> MultiBiSage:
    """A random MultiBiSage over all lists."""
    config = MultiBiSageConfig.model_validate({"dim": 6, "small_dim": 3, "width": 8, "hidden": 16, **settings})
    return random_encoder(MultiBiSage, config, given, read)


def co_neighbour_pairs(groups: np.ndarray, count: int = 2000, seed: int = 2) -> pl.DataFrame:
    """Random pairs of two items of one group, ``groups`` ``(items,)``."""
    draw = np.random.default_rng(seed)
    left = draw.integers(0, len(groups), count)
    right = np.array([draw.choice(np.flatnonzero(groups == groups[row])) for row in left])
    kept = left != right
    left, right = left[kept], right[kept]
    return pl.DataFrame(
        {
            "left_id": [f"i{row:03d}" for row in left],
            "right_id": [f"i{row:03d}" for row in right],
            "weight": np.ones(len(left)),
            "user": [f"u{user}" for user in draw.integers(0, 60, len(left))],
            "time_ms": draw.integers(0, 50, len(left)) * DAY_MS,
        },
        schema_overrides=PAIR_SCHEMA,
    )
