"""The item side as it stood on each day: what replay reads while it walks through the ranking span."""

from __future__ import annotations

import polars as pl

from corkboard.artifacts import EmbeddingTable
from corkboard.errors import LeakError
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.lake import Lake
from corkboard.ranking.item_side import ItemSide, aligned_neighbours, aligned_stats, aligned_vectors
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import ExactIndex, OverlayIndex
from corkboard.retrieval.item_stats import ItemStats
from corkboard.retrieval.neighbours import NeighbourTable


class ItemDays:
    """Item sides by day, forward only.

    The catalogue starts as the lake had it at ``start_ms`` and grows as it did: an item takes its row on the day it was
    first seen, a changed price counts from the next midnight on. ``vectors`` (content), ``embeddings`` (of the item tower),
    ``graph`` (graph vectors), ``products`` (product vectors) and ``neighbours`` must come from models and graphs cut at ``start_ms``; an
    item that came later has vectors (the towers encode any item) and no neighbours.
    Counters are of the day in question: :meth:`ItemStats.as_of`.
    """

    def __init__(
        self,
        lake: Lake,
        start_ms: int,
        end_ms: int,
        vectors: EmbeddingTable | None = None,
        stats: ItemStats | None = None,
        neighbours: NeighbourTable | None = None,
        embeddings: EmbeddingTable | None = None,
        graph: EmbeddingTable | None = None,
        products: EmbeddingTable | None = None,
    ):
        self._lake, self._stats = lake, stats
        self._end_ms, self._known_ms = end_ms, start_ms
        self.catalogue = Catalogue(lake.items(before_ms=start_ms))
        tables = {"index": vectors, "embedding": embeddings, "graph": graph, "products": products}
        self._overlays = {name: (table, self._overlay(table)) for name, table in tables.items() if table is not None}
        self._neighbours = None if neighbours is None else aligned_neighbours(neighbours, self.catalogue)
        self._day: int | None = None
        self._side = ItemSide(self.catalogue, neighbours=self._neighbours, **{name: index for name, (_, index) in self._overlays.items()})

    def _overlay(self, table: EmbeddingTable) -> OverlayIndex:
        return OverlayIndex(ExactIndex(aligned_vectors(table, self.catalogue), table.space))

    def at(self, day: int) -> ItemSide:
        """The item side of ``day`` (``time_ms // DAY_MS``). Raises :class:`LeakError` for a day before one already asked for."""
        if self._day is not None and day < self._day:
            raise LeakError(
                "Item sides go forward only: an earlier day would know later items", found=day, expected=f"at least {self._day}"
            )
        if day != self._day:
            self._advance(day)
        return self._side

    def _advance(self, day: int) -> None:
        begins, ends = day * DAY_MS, min((day + 1) * DAY_MS, self._end_ms)
        if begins > self._known_ms:
            changed = self._lake.items(before_ms=begins).filter(pl.col("time_ms") >= self._known_ms)
            self._take(changed)
            self._known_ms = begins
        today = self._lake.items(before_ms=ends)
        self._take(today.filter(~pl.col("item_id").is_in(self.catalogue.ids)))
        if self._stats is not None:
            self._side = self._side.with_stats(aligned_stats(self._stats, day, self.catalogue))
        self._day = day

    def _take(self, items: pl.DataFrame) -> None:
        for item in items.iter_rows(named=True):
            new = item["item_id"] not in self.catalogue
            row = self.catalogue.add({**item, "time_ms": item["created_ms"] if new else item["time_ms"]})
            for table, index in self._overlays.values() if new else ():
                vectors, known = table.lookup([item["item_id"]])
                if known[0]:
                    index.add(row, vectors[0], table.space)
