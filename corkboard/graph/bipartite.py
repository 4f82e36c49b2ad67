"""A bipartite graph in compressed rows, both ways: items and boards, users and items, creators and items.

``Rows`` is one direction: the neighbours of node i are ``neighbours[offsets[i]:offsets[i + 1]]``, int32, without repeats, in
order. Offsets are int64, so a graph may have more edges than an int32 counts. Both directions are written, so that an artefact is walked
as it lies on the disk, mapped into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from corkboard.artifacts import Artifact
from corkboard.errors import ArtifactError, InputError

OWNER = ("tenant", "user_key")
"""Columns that say whose a right node is."""
_PARTS = ("left_offsets", "left_neighbours", "right_offsets", "right_neighbours")


@dataclass(frozen=True)
class Rows:
    """One direction: ``offsets`` int64 ``(nodes + 1,)``, ``neighbours`` int32 ``(edges,)``."""

    offsets: np.ndarray
    neighbours: np.ndarray

    def __len__(self) -> int:
        """How many nodes there are."""
        return len(self.offsets) - 1

    def of(self, node: int) -> np.ndarray:
        """int32: the neighbours of a node."""
        return self.neighbours[self.offsets[node] : self.offsets[node + 1]]

    @property
    def degrees(self) -> np.ndarray:
        """int64 ``(nodes,)``."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class BipartiteGraph:
    """Edges between ``left_ids`` (items, in most graphs) and ``right_ids``. An edge is there once, whatever it was made of.

    ``owners`` has the columns ``tenant`` and ``user_key``, one row a right node, where right nodes are people or belong to them: whoever is
    forgotten is taken out of what is written (:meth:`table`), and the node is gone when the graph is read again.
    """

    name: str
    left_ids: Sequence[str]
    right_ids: Sequence[str]
    left: Rows
    right: Rows
    owners: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        found, expected = (len(self.left), len(self.right)), (len(self.left_ids), len(self.right_ids))
        if found != expected or (self.owners is not None and len(self.owners) != len(self.right_ids)):
            raise InputError(
                f"The graph {self.name} needs an id and an owner, if any has one, for every node", found=found, expected=expected
            )
        if len(self.left.neighbours) != len(self.right.neighbours):
            found = len(self.left.neighbours), len(self.right.neighbours)
            raise InputError(f"The two directions of the graph {self.name} differ", found=found, expected="as many edges in both")

    @property
    def edges(self) -> int:
        """How many edges there are."""
        return len(self.left.neighbours)

    def has(self, left: int, right: int) -> bool:
        """Whether the edge is there; rows that the graph does not have have none."""
        if not (0 <= left < len(self.left) and 0 <= right < len(self.right)):
            return False
        neighbours = self.left.of(left)
        place = np.searchsorted(neighbours, right)
        return bool(place < len(neighbours) and neighbours[place] == right)

    @classmethod
    def of(cls, name: str, edges: pl.DataFrame, left_ids: Sequence[str], right_ids: Sequence[str] | None = None) -> BipartiteGraph:
        """From a frame with the columns ``left`` and ``right`` (ids). Repeated edges count once; edges of unknown nodes are left out.

        ``right_ids`` are those that occur, sorted, where they are not given. A column ``user_key`` names the owner of each right node, and
        a column ``tenant`` tells right nodes of the same id apart.
        """
        lefts = pl.LazyFrame({"left": list(left_ids)}, schema={"left": pl.String}).with_row_index("l")
        identity = ["right", *(["tenant"] if "tenant" in edges.columns else [])]
        known = edges.lazy().drop_nulls(["left", "right"]).join(lefts, on="left", how="inner")
        if right_ids is None:
            rights = known.unique(identity, keep="any").select(*identity, *(set(edges.columns) & {"user_key"})).sort(identity).collect()
        else:
            identity, rights = ["right"], pl.DataFrame({"right": list(right_ids)}, schema={"right": pl.String})
        numbered = rights.lazy().select(*identity).with_row_index("r")
        pairs = known.join(numbered, on=identity, how="inner", nulls_equal=True).select("l", "r").collect()
        left, right = (pairs[column].to_numpy().astype(np.int32) for column in ("l", "r"))
        owners = rights.select(OWNER) if set(OWNER) <= set(rights.columns) else None
        return cls.of_pairs(name, left, right, list(left_ids), rights["right"].to_list(), owners)

    @classmethod
    def of_pairs(
        cls,
        name: str,
        left: np.ndarray,
        right: np.ndarray,
        left_ids: Sequence[str],
        right_ids: Sequence[str],
        owners: pl.DataFrame | None = None,
    ) -> BipartiteGraph:
        """From int32 rows of both sides, ``(edges,)`` each, in any order; repeated edges count once. Nothing is sorted but into buckets.

        Raises :class:`InputError` for a row that has no id.
        """
        for rows, ids in ((left, left_ids), (right, right_ids)):
            if len(rows) and not (rows.min() >= 0 and rows.max() < len(ids)):
                raise InputError(f"The graph {name} has an edge of a node without an id", found=(rows.min(), rows.max()), expected=len(ids))
        offsets, lefts = _bucketed(np.ascontiguousarray(right, np.int32), np.ascontiguousarray(left, np.int32), len(right_ids))
        rows = Rows(*_without_repeats(*_transposed(offsets, lefts, len(left_ids))))
        del lefts
        return cls(name, left_ids, right_ids, rows, Rows(*_transposed(rows.offsets, rows.neighbours, len(right_ids))), owners)

    # ------------------------------------------------------------------------------------------------------------- at rest

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        parts = self.left.offsets, self.left.neighbours, self.right.offsets, self.right.neighbours
        return {f"{self.name}/{part}": array for part, array in zip(_PARTS, parts, strict=True)}

    def table(self) -> pl.DataFrame:
        """The right nodes of an artefact: ``row`` int32 and ``id``; with owners ``tenant`` and ``user_key``, and then no ``id`` where
        users are the nodes."""
        table = pl.DataFrame(
            {"row": np.arange(len(self.right_ids), dtype=np.int32), "id": pl.Series(list(self.right_ids), dtype=pl.String)}
        )
        if self.owners is None:
            return table
        table = table.hstack(self.owners.select(pl.col(OWNER).cast(pl.String)))
        return table.drop("id") if table["id"].equals(table["user_key"].alias("id")) else table

    @classmethod
    def from_artifact(cls, artifact: Artifact, name: str, left_ids: Sequence[str], table: pl.DataFrame) -> BipartiteGraph:
        """The graph ``name`` of an artefact that has its :meth:`tensors`, mapped and not copied, with the rows that ``table`` still has.

        Right nodes that were taken out of the table, because their owner was forgotten, are gone with all their edges.
        """
        try:
            left_offsets, left_neighbours, right_offsets, right_neighbours = (artifact.mapped(f"{name}/{part}") for part in _PARTS)
        except ArtifactError as error:
            raise ArtifactError(f"The artefact {artifact.key} has no graph {name}", found=error.expected) from None
        kept = table["row"].to_numpy()
        right_ids = table["id" if "id" in table.columns else "user_key"].to_list()
        owners = table.select(OWNER) if set(OWNER) <= set(table.columns) else None
        left, right = Rows(left_offsets, left_neighbours), Rows(right_offsets, right_neighbours)
        if len(kept) < len(right):
            right = Rows(*_only(right.offsets, right.neighbours, kept))
            left = Rows(*_transposed(right.offsets, right.neighbours, len(left)))
        return cls(name, left_ids, right_ids, left, right, owners)


@njit(cache=True, nogil=True)
def _bucketed(of, what, nodes):
    """(offsets, ``what`` in the order of the nodes ``of``)."""
    offsets = np.zeros(nodes + 1, np.int64)
    for node in of:
        offsets[node + 1] += 1
    for node in range(nodes):
        offsets[node + 1] += offsets[node]
    filled, sorted_ = offsets[:-1].copy(), np.empty(len(what), np.int32)
    for edge in range(len(what)):
        sorted_[filled[of[edge]]] = what[edge]
        filled[of[edge]] += 1
    return offsets, sorted_


@njit(cache=True, nogil=True)
def _transposed(offsets, neighbours, nodes):
    """The rows of the other direction, which has ``nodes``. Its neighbours come out in order, whatever order they were in."""
    turned = np.zeros(nodes + 1, np.int64)
    for node in neighbours:
        turned[node + 1] += 1
    for node in range(nodes):
        turned[node + 1] += turned[node]
    filled, sorted_ = turned[:-1].copy(), np.empty(len(neighbours), np.int32)
    for node in range(len(offsets) - 1):
        for edge in range(offsets[node], offsets[node + 1]):
            other = neighbours[edge]
            sorted_[filled[other]] = node
            filled[other] += 1
    return turned, sorted_


@njit(cache=True, nogil=True)
def _without_repeats(offsets, neighbours):
    """Rows in order, each neighbour once; ``neighbours`` is written over."""
    kept, size = np.zeros_like(offsets), 0
    for node in range(len(offsets) - 1):
        last = -1
        for edge in range(offsets[node], offsets[node + 1]):
            if neighbours[edge] != last:
                last = neighbours[edge]
                neighbours[size] = last
                size += 1
        kept[node + 1] = size
    return kept, neighbours[:size]


@njit(cache=True, nogil=True)
def _only(offsets, neighbours, nodes):
    """The rows of ``nodes``, in their order."""
    kept = np.zeros(len(nodes) + 1, np.int64)
    for n in range(len(nodes)):
        kept[n + 1] = kept[n] + offsets[nodes[n] + 1] - offsets[nodes[n]]
    found = np.empty(kept[-1], np.int32)
    for n in range(len(nodes)):
        found[kept[n] : kept[n + 1]] = neighbours[offsets[nodes[n]] : offsets[nodes[n] + 1]]
    return kept, found
