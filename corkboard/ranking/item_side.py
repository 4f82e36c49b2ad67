"""The item side of request features: what a release knows of every item, by row of the catalogue.

Rows are the catalogue's. An item that arrives live gets the next row and a vector in the overlay of each index; it has no
counters and no neighbours yet, and the features say so.

Four kinds of vector are told apart. *Content vectors* are the content tower's and every item has one that says anything of
itself. *Item embeddings* are the item tower's that was trained together with the user vectors: the space of those. *Graph
vectors* are what an encoder over graphs makes of an item and of what it is found beside. *Product vectors* are ItemSage's, of what can
be bought, in the space of the graph vectors.
"""

from __future__ import annotations

import numpy as np

from corkboard.artifacts import EmbeddingTable
from corkboard.errors import ArtifactError
from corkboard.lake.schema import NEGATIVE, POSITIVE
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import Index
from corkboard.retrieval.item_stats import ItemStats, stat
from corkboard.retrieval.neighbours import NeighbourTable

STAT_NAMES: tuple[str, ...] = (
    "popularity_1d",
    "popularity_7d",
    "popularity_28d",
    "popularity_decayed",
    "shown_7d",
    *(f"rate_{action}" for action in POSITIVE),
    "rate_negative",
    "has_stats",
)
"""Item features made from nightly counters, in the order of :func:`stat_features`."""

_SMOOTHING = 20.0
"""Impressions at the catalogue's mean rate that every item starts with, so that one lucky click is not a rate of 100 %."""
_RATE_FLOOR = 1e-5


def stat_features(counters: np.ndarray) -> np.ndarray:
    """float32 ``(items, len(STAT_NAMES))`` from the matrix of ``ItemStats.as_of`` for one day.

    Popularity is log(1 + positive actions). A rate is the log of an item's actions per impression over 28 days against the
    mean rate of all items, which ``_SMOOTHING`` impressions pull it towards: an item without counters is all zeros.
    """
    columns = []
    for window in ("1d", "7d", "28d", "decayed"):
        columns.append(np.log1p(sum(counters[:, stat(f"{action}_{window}")] for action in POSITIVE)))
    columns.append(np.log1p(counters[:, stat("impressions_7d")]))
    shown = counters[:, stat("impressions_28d")]
    negative = sum(counters[:, stat(f"{action}_28d")] for action in NEGATIVE)
    for done in [*(counters[:, stat(f"{action}_28d")] for action in POSITIVE), negative]:
        prior = done.sum(dtype=np.float64) / max(float(shown.sum(dtype=np.float64)), 1.0)
        prior = min(max(prior, _RATE_FLOOR), 1.0)
        columns.append(np.log((done + _SMOOTHING * prior) / (shown + _SMOOTHING) / prior))
    columns.append(((shown > 0) | (columns[2] > 0)).astype(np.float32))
    return np.stack(columns, axis=1).astype(np.float32)


class ItemSide:
    """Everything request features need of items, in the rows of ``catalogue``.

    ``index`` gives the content vectors of the rows, ``embedding`` their item embeddings, ``graph`` their graph vectors and ``products``
    their product vectors, which are looked at only where there are graph vectors of the same space; ``stats`` is :func:`stat_features` of a
    day for the rows ``0 .. len(stats) - 1``; rows beyond arrived later and have none. ``neighbours`` are item-kNN neighbours.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        index: Index | None = None,
        stats: np.ndarray | None = None,
        neighbours: NeighbourTable | None = None,
        embedding: Index | None = None,
        graph: Index | None = None,
        products: Index | None = None,
    ):
        self.catalogue = catalogue
        self.index = index
        self.embedding = embedding
        self.graph = graph
        self.products = products if products is not None and graph is not None and products.space == graph.space else None
        self.stats = np.zeros((0, len(STAT_NAMES)), np.float32) if stats is None else np.asarray(stats, np.float32)
        self.neighbours = neighbours
        if self.stats.shape[1] != len(STAT_NAMES):
            raise ArtifactError("The item counters do not have the expected columns", found=self.stats.shape[1], expected=len(STAT_NAMES))

    @property
    def ids(self) -> list[str]:
        """Item ids by row."""
        return self.catalogue.ids

    def with_stats(self, stats: np.ndarray) -> ItemSide:
        """The same items with the counters of another day; everything else is shared."""
        return ItemSide(self.catalogue, self.index, stats, self.neighbours, self.embedding, self.graph, self.products)

    def vectors(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32 ``(len(rows), dim)`` content vectors, zeros where there is none, and bool ``(len(rows),)`` where there is one."""
        return _vectors(self.index, rows)

    def embeddings(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32 ``(len(rows), dim)`` item embeddings, zeros where there is none, and bool ``(len(rows),)`` where there is one.

        Without any item embeddings ``dim`` is 1.
        """
        return _vectors(self.embedding, rows)

    def graph_vectors(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32 ``(len(rows), dim)`` graph vectors, zeros where there is none, and bool ``(len(rows),)`` where there is one.

        Without any graph vectors ``dim`` is 1.
        """
        return _vectors(self.graph, rows)

    def product_vectors(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32 ``(len(rows), dim)`` product vectors, zeros where there is none, and bool ``(len(rows),)`` where there is one.

        Without any product vectors ``dim`` is 1.
        """
        return _vectors(self.products, rows)

    def stats_at(self, rows: np.ndarray) -> np.ndarray:
        """float32 ``(len(rows), len(STAT_NAMES))``, zeros where an item has no counters."""
        known = len(self.stats)
        if len(rows) and int(rows.max()) < known:
            return self.stats[rows]
        out = np.zeros((len(rows), len(STAT_NAMES)), np.float32)
        inside = rows < known
        out[inside] = self.stats[rows[inside]]
        return out

    def log_price(self, rows: np.ndarray) -> np.ndarray:
        """float32 ``(len(rows),)`` log of the price in minor units, NaN where there is none."""
        price = self.catalogue.price_minor[rows]
        return np.where(price >= 0, np.log1p(np.maximum(price, 0)), np.nan).astype(np.float32)


def _vectors(index: Index | None, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if index is None:
        return np.zeros((len(rows), 1), np.float32), np.zeros(len(rows), bool)
    vectors = index.vectors_of(rows)
    return vectors, np.any(vectors, axis=1)


def aligned_stats(stats: ItemStats, day: int, catalogue: Catalogue) -> np.ndarray:
    """:func:`stat_features` of ``stats`` as of ``day``, in the catalogue's rows; items that were never counted read as zeros."""
    features = stat_features(stats.as_of(day))
    if stats.ids == catalogue.ids[: len(stats.ids)]:
        return features
    rows = catalogue.rows(stats.ids)
    out = np.zeros((len(catalogue), features.shape[1]), np.float32)
    out[rows[rows >= 0]] = features[rows >= 0]
    return out


def aligned_neighbours(table: NeighbourTable, catalogue: Catalogue) -> NeighbourTable:
    """``table`` in the catalogue's rows; neighbours that left the catalogue are dropped from the lists."""
    if table.ids == catalogue.ids[: len(table.ids)]:
        return table
    to_row = np.append(catalogue.rows(table.ids), -1)
    n, width = len(catalogue), table.rows.shape[1]
    rows, scores = np.full((n, width), -1, np.int32), np.zeros((n, width), np.float32)
    there = to_row[:-1] >= 0
    rows[to_row[:-1][there]] = to_row[table.rows[there]]
    scores[to_row[:-1][there]] = np.where(rows[to_row[:-1][there]] >= 0, table.scores[there], 0.0)
    return NeighbourTable(catalogue.ids_of(range(n)), rows, scores)


def aligned_vectors(table: EmbeddingTable, catalogue: Catalogue) -> np.ndarray:
    """float32 ``(len(catalogue), dim)`` unit vectors of ``table`` in the catalogue's rows, zeros where there is none."""
    vectors, _ = table.lookup(catalogue.ids)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
