"""The neighbours of every item in each of several graphs, as walks choose them: what PinSage and MultiBiSage read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact
from corkboard.errors import InputError
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import NeighbourConfig, WalkConfig
from corkboard.graph.pixie import Pixie
from corkboard.seeds import derive


@dataclass(frozen=True)
class NeighbourLists:
    """Items by graph: ``rows`` int32 ``(graphs, items, k)`` of ``item_ids``, most visited first, -1 where there are fewer, with
    their ``visits`` int32 of the same shape, and each item's ``degrees`` int32 ``(graphs, items)``.
    """

    graphs: tuple[str, ...]
    item_ids: Sequence[str]
    rows: np.ndarray
    visits: np.ndarray
    degrees: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.graphs), len(self.item_ids))
        if self.rows.shape[:2] != shape or self.visits.shape != self.rows.shape or self.degrees.shape != shape:
            raise InputError(
                "Neighbour lists need a row an item in each graph", found=(self.rows.shape, self.degrees.shape), expected=shape
            )

    @classmethod
    def of(
        cls,
        graphs: Mapping[str, BipartiteGraph],
        item_ids: Sequence[str],
        config: NeighbourConfig | None = None,
        walk: WalkConfig | None = None,
        seed: int = 0,
        threads: int = 1,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> NeighbourLists:
        """Walk from every item in every graph, whose left nodes are ``item_ids``."""
        config, names, n = config or NeighbourConfig(), tuple(graphs), len(item_ids)
        rows, visits = np.full((len(names), n, config.count), -1, np.int32), np.zeros((len(names), n, config.count), np.int32)
        degrees = np.zeros((len(names), n), np.int32)
        for place, (name, graph) in enumerate(graphs.items()):
            pixie = Pixie(graph, walk, threads=threads)
            found, times = pixie.neighbours(np.arange(n), config.count, config.visits, derive(seed, "neighbours", name))
            enough = times >= config.min_visits
            rows[place], visits[place] = np.where(enough, found, -1), np.where(enough, times, 0)
            degrees[place] = graph.left.degrees
            progress(place + 1, len(names))
        return cls(names, list(item_ids), rows, visits, degrees)

    def only(self, names: Sequence[str]) -> NeighbourLists:
        """The lists of these graphs, in this order; a graph that is not here has no edges."""
        places = [self.graphs.index(name) if name in self.graphs else -1 for name in names]
        there = np.array([place >= 0 for place in places], bool)
        if not there.any():
            k, shape = self.rows.shape[2], (len(names), len(self.item_ids))
            none = np.full((*shape, k), -1, np.int32), np.zeros((*shape, k), np.int32), np.zeros(shape, np.int32)
            return NeighbourLists(tuple(names), self.item_ids, *none)
        rows, visits, degrees = (np.stack([part[place] for place in places]) for part in self._parts())
        rows[~there], visits[~there], degrees[~there] = -1, 0, 0
        return NeighbourLists(tuple(names), self.item_ids, rows, visits, degrees)

    def in_order_of(self, item_ids: Sequence[str]) -> NeighbourLists:
        """The same lists over other items: items that are new have no neighbours, and those that left are no neighbours any more."""
        if list(item_ids) == list(self.item_ids):
            return self
        place = {item_id: row for row, item_id in enumerate(self.item_ids)}
        old_of_new = np.fromiter((place.get(item_id, -1) for item_id in item_ids), np.int64, len(item_ids))
        there = old_of_new >= 0
        new_of_old = np.full(len(self.item_ids) + 1, -1, np.int32)
        new_of_old[old_of_new[there]] = np.flatnonzero(there)
        rows, visits, degrees = (
            part[:, old_of_new].copy() if len(self.item_ids) else _nothing(part, len(item_ids)) for part in self._parts()
        )
        rows[:, ~there], visits[:, ~there], degrees[:, ~there] = -1, 0, 0
        rows = new_of_old[rows]
        return NeighbourLists(self.graphs, list(item_ids), rows, np.where(rows >= 0, visits, 0), degrees)

    def overlap(self, other: NeighbourLists) -> float:
        """How alike two sets of lists are, such as those of two seeds: the mean Jaccard index of an item's neighbours in a graph.

        Items without neighbours in either are left out; NaN where all are. Low means that the walks are too short to choose.
        Raises :class:`InputError` for lists of other items or graphs.
        """
        if self.graphs != other.graphs or list(self.item_ids) != list(other.item_ids):
            raise InputError("Only lists of the same items and graphs can be compared", found=other.graphs, expected=self.graphs)
        both = np.zeros(self.degrees.shape, np.int64)
        for place in range(self.rows.shape[2]):
            mine = self.rows[:, :, place : place + 1]
            both += (mine[:, :, 0] >= 0) & (mine == other.rows).any(axis=2)
        either = (self.rows >= 0).sum(axis=2) + (other.rows >= 0).sum(axis=2) - both
        some = either > 0
        return float((both[some] / either[some]).mean()) if some.any() else float("nan")

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return dict(zip(("neighbours/rows", "neighbours/visits", "neighbours/degrees"), self._parts(), strict=True))

    def tables(self) -> dict[str, pl.DataFrame]:
        """The ids of an artefact."""
        schema = {"id": pl.String}
        return {"items": pl.DataFrame({"id": list(self.item_ids)}, schema), "graphs": pl.DataFrame({"id": list(self.graphs)}, schema)}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> NeighbourLists:
        """The lists of an artefact written with :meth:`tensors` and :meth:`tables`."""
        items, graphs = (artifact.table(name)["id"].to_list() for name in ("items", "graphs"))
        return cls(tuple(graphs), items, *(artifact.tensors[f"neighbours/{part}"] for part in ("rows", "visits", "degrees")))

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.rows, self.visits, self.degrees


def _nothing(part: np.ndarray, items: int) -> np.ndarray:
    return np.zeros((part.shape[0], items, *part.shape[2:]), part.dtype)
