"""Nearest neighbours by inner product: exact, FAISS, and an overlay for items that come and go while serving.

Every index answers ``search(queries (q, dim), k, allowed, space) -> (rows int64 (q, k), scores float32 (q, k))``, best
first, padded with -1 and -inf. ``allowed`` is bool over rows; rows beyond its end are not allowed. Filters act inside the
search: k allowed items come back where there are k. Vectors are expected to have unit length, so scores are cosines; a
row of zeros is an item that nothing is known of, which is near to nothing, and no search finds it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, EmbeddingTable, Space
from corkboard.errors import InputError, SpaceMismatch
from corkboard.retrieval.config import IndexConfig

Found = tuple[np.ndarray, np.ndarray]


class Index(Protocol):
    """What sources and evaluation ask of an index."""

    space: Space

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int: ...

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None, space: Space | None = None) -> Found:
        """The k nearest allowed rows of every query. Raises :class:`SpaceMismatch` for vectors of another space or width."""
        ...

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """float32 ``(len(rows), dim)``; zeros for rows that are not in the index."""
        ...


class ExactIndex:
    """Every query against every vector. The truth that other indexes are measured by, and the fastest for small catalogues."""

    def __init__(self, vectors: np.ndarray, space: Space):
        self.vectors = np.ascontiguousarray(vectors, np.float32)
        self.space = space
        filled = self.vectors.any(axis=1)
        self._filled = None if filled.all() else filled

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.vectors.shape[1]

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None, space: Space | None = None) -> Found:
        """See :class:`Index`."""
        queries = checked_queries(self, queries, space)
        allowed = self.findable(allowed)
        if allowed is None:
            return top_rows(queries @ self.vectors.T, k)
        rows = np.flatnonzero(allowed)
        if 4 * len(rows) < len(self):  # gathering a few rows beats scoring all of them
            places, scores = top_rows(queries @ self.vectors[rows].T, k)
            return _looked_up(rows, places), scores
        scores = queries @ self.vectors.T
        scores[:, ~allowed] = -np.inf
        return top_rows(scores, k)

    def findable(self, allowed: np.ndarray | None) -> np.ndarray | None:
        """bool ``(len(self),)``: the allowed rows that have a vector; None for all."""
        allowed = _fitted(allowed, len(self))
        if self._filled is None:
            return allowed
        return self._filled if allowed is None else allowed & self._filled

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """See :class:`Index`."""
        return _gathered(self.vectors, rows)


class FaissIndex:
    """A FAISS index over the same vectors: flat for small catalogues, an HNSW graph above.

    Under a filter the search widens as items get scarce, and becomes exact when few are left: a graph whose nodes are
    mostly not allowed is walked in vain (recall fell from .97 to .89 at 10 % without this). Rows of zeros stay outside of
    it: to a graph they are all equally near to everything, and a walk that gets among them does not find its way out.
    """

    def __init__(self, index: Any, ids: Sequence[str], vectors: np.ndarray, space: Space, config: IndexConfig | None = None):
        self._index = index
        self.ids = list(ids)
        self._exact = ExactIndex(vectors, space)
        self.space = space
        self.settings = config or IndexConfig()
        self._graph = hasattr(index, "hnsw")
        self._indexed = None if index.ntotal == len(vectors) else np.flatnonzero(self._exact.vectors.any(axis=1))

    @classmethod
    def build(cls, table: EmbeddingTable, config: IndexConfig | None = None) -> FaissIndex:
        """Index every vector of ``table`` but zeros; row i is ``table.ids[i]``."""
        import faiss

        config = config or IndexConfig()
        if len(table) < config.flat_below:
            index = faiss.IndexFlatIP(table.dim)
        else:
            index = faiss.IndexHNSWFlat(table.dim, config.links, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = config.build_width
        index.add(table.vectors[table.vectors.any(axis=1)])
        return cls(index, table.ids, table.vectors, table.space, config)

    def __len__(self) -> int:
        return len(self._exact)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._exact.dim

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None, space: Space | None = None) -> Found:
        """See :class:`Index`."""
        faiss: Any = import_module("faiss")  # loaded where it is needed, and without type stubs
        queries = checked_queries(self, queries, space)
        allowed = self._exact.findable(allowed)
        total = self._index.ntotal
        count = total if allowed is None else int(np.count_nonzero(allowed))
        share = count / max(total, 1)
        width = self._width(k, share)
        if k < 1 or not count or (self._graph and (self._scarce(count, share) or width >= len(self))):
            return self._exact.search(queries, k, allowed)
        inside = allowed if allowed is None or self._indexed is None else allowed[self._indexed]
        selector = None if inside is None or count == total else faiss.IDSelectorBitmap(np.packbits(inside, bitorder="little"))
        chosen = {} if selector is None else {"sel": selector}
        parameters = faiss.SearchParametersHNSW(efSearch=width, **chosen) if self._graph else faiss.SearchParameters(**chosen)
        scores, rows = self._index.search(queries, k, params=parameters)
        scores[rows < 0] = -np.inf
        return rows if self._indexed is None else _looked_up(self._indexed, rows), scores

    def _scarce(self, count: int, share: float) -> bool:
        """Whether what a filter left is quicker to search exactly than by a graph that is mostly not allowed."""
        return share < 1 and (count <= self.settings.flat_below or share <= self.settings.exact_share)

    def _width(self, k: int, share: float) -> int:
        wanted = max(self.settings.search_width, k) / max(share, 1e-9)
        return int(max(min(wanted, self.settings.max_search_width), k))

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """See :class:`Index`."""
        return self._exact.vectors_of(rows)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact: the vectors, and the index in FAISS's own bytes."""
        import faiss

        return {"vectors": self._exact.vectors, "faiss": faiss.serialize_index(self._index)}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The ids of an artefact; with ``vectors`` they read as an :class:`EmbeddingTable` as well."""
        return {"ids": pl.DataFrame({"id": self.ids}, schema={"id": pl.String})}

    @property
    def config(self) -> dict[str, object]:
        """The settings of an artefact."""
        return {**self.settings.model_dump(), "space": str(self.space)}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> FaissIndex:
        """The index of an artefact written with :meth:`tensors`, :meth:`tables` and :attr:`config`."""
        import faiss

        config = dict(artifact.config)
        space = Space.parse(config.pop("space"))
        index = faiss.deserialize_index(np.array(artifact.tensors["faiss"]))
        return cls(index, artifact.table("ids")["id"].to_list(), artifact.tensors["vectors"], space, IndexConfig.model_validate(config))


@dataclass(frozen=True)
class _Live:
    """One immutable state of the overlay. ``dead`` is bool over frozen rows, or None while none is dead."""

    rows: np.ndarray
    vectors: np.ndarray
    dead: np.ndarray | None


class OverlayIndex:
    """A frozen index, with live items searched exactly beside it and tombstones for what left or changed.

    Rows are those of the catalogue: below ``len(base)`` they belong to the frozen index. Safe to search from many threads
    while others add and remove: a search sees one whole state.
    """

    def __init__(self, base: Index):
        self.base = base
        self.space = base.space
        self._lock = threading.Lock()
        self._live = _Live(np.empty(0, np.int64), np.empty((0, base.dim), np.float32), None)
        self._buffer = np.empty((64, base.dim), np.float32)

    def __len__(self) -> int:
        live = self._live
        gone = 0 if live.dead is None else int(np.count_nonzero(live.dead))
        return len(self.base) - gone + len(live.rows)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.base.dim

    def add(self, row: int, vector: np.ndarray, space: Space) -> None:
        """Make the item in catalogue row ``row`` findable, or replace its vector; with zeros it is not found any more.

        Raises :class:`SpaceMismatch` for a vector of another space.
        """
        self.space.require(space)
        vector = checked_queries(self, vector, space)[0]
        if row < 0:
            raise InputError("An item needs a row before it can be indexed", found=row, expected="the row that Catalogue.add returned")
        if not vector.any():
            self.remove(row)
            return
        with self._lock:
            live = self._without(row)
            count = len(live.rows)
            if count == len(self._buffer) or live.vectors.base is not self._buffer:
                # a new buffer instead of an overwritten one: searches may still read the old
                self._buffer = np.empty((max(2 * count, 64), self.dim), np.float32)
                self._buffer[:count] = live.vectors
            self._buffer[count] = vector
            self._live = _Live(np.append(live.rows, row), self._buffer[: count + 1], live.dead)

    def remove(self, row: int) -> None:
        """Never return ``row`` again, unless it is added anew."""
        with self._lock:
            self._live = self._without(row)

    def _without(self, row: int) -> _Live:
        live = self._live
        rows, vectors, dead = live.rows, live.vectors, live.dead
        if row < len(self.base) and (dead is None or not dead[row]):
            dead = np.zeros(len(self.base), bool) if dead is None else dead.copy()
            dead[row] = True
        if (rows == row).any():
            kept = rows != row
            rows, vectors = rows[kept], vectors[kept]
        return _Live(rows, vectors, dead)

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None, space: Space | None = None) -> Found:
        """See :class:`Index`."""
        queries = checked_queries(self, queries, space)
        live = self._live
        frozen = _fitted(allowed, len(self.base))
        if live.dead is not None:
            frozen = ~live.dead if frozen is None else frozen & ~live.dead
        rows, scores = self.base.search(queries, k, frozen)
        if not len(live.rows):
            return rows, scores
        near = queries @ live.vectors.T
        if allowed is not None:
            inside = live.rows < len(allowed)
            inside[inside] = allowed[live.rows[inside]]
            near[:, ~inside] = -np.inf
        all_rows = np.concatenate([rows, np.where(np.isfinite(near), live.rows, -1)], axis=1)
        places, best = top_rows(np.concatenate([scores, near], axis=1), k)
        return np.where(places >= 0, np.take_along_axis(all_rows, np.maximum(places, 0), axis=1), -1), best

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """See :class:`Index`; a removed item has none."""
        live = self._live
        rows = np.asarray(rows, np.int64)
        out = self.base.vectors_of(rows)
        if live.dead is not None:
            inside = (rows >= 0) & (rows < len(live.dead))
            out[inside] *= ~live.dead[rows[inside]][:, None]
        if len(live.rows):
            order = np.argsort(live.rows)
            place = np.minimum(np.searchsorted(live.rows[order], rows), len(order) - 1)
            here = live.rows[order][place] == rows
            out[here] = live.vectors[order[place[here]]]
        return out


def recall_against_exact(index: Index, exact: Index, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> float:
    """Share of the exact k nearest allowed rows that ``index`` finds too, in [0, 1]; 1 where nothing is allowed."""
    found, _ = index.search(queries, k, allowed)
    truth, _ = exact.search(queries, k, allowed)
    wanted = (truth >= 0).sum()
    if not wanted:
        return 1.0
    return float(sum(len(np.intersect1d(f[f >= 0], t[t >= 0])) for f, t in zip(found, truth, strict=True)) / wanted)


def checked_queries(index: Index, queries: np.ndarray, space: Space | None) -> np.ndarray:
    """``queries`` as contiguous float32 ``(q, dim)``; raises :class:`SpaceMismatch` where they cannot belong to the index."""
    if space is not None:
        index.space.require(space)
    queries = np.ascontiguousarray(np.atleast_2d(queries), np.float32)
    if queries.shape[1] != index.dim:
        raise SpaceMismatch(
            "A vector does not have the width of this index's space", found=queries.shape, expected=f"(q, {index.dim}) of {index.space}"
        )
    return queries


def top_rows(scores: np.ndarray, k: int) -> Found:
    """The k largest entries of every row of ``scores`` ``(q, n)``, best first, padded with -1 and -inf; -inf is never taken."""
    q, n = scores.shape
    taken = min(k, n)
    if taken < n:
        near = np.argpartition(scores, n - taken, axis=1)[:, n - taken :] if taken else np.empty((q, 0), np.int64)
    else:
        near = np.broadcast_to(np.arange(n), (q, n))
    values = np.take_along_axis(scores, near, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    rows, best = np.full((q, k), -1, np.int64), np.full((q, k), -np.inf, np.float32)
    best[:, :taken] = np.take_along_axis(values, order, axis=1)
    rows[:, :taken] = np.take_along_axis(near, order, axis=1)
    rows[best == -np.inf] = -1
    return rows, best


def _fitted(allowed: np.ndarray | None, n: int) -> np.ndarray | None:
    """``allowed`` for exactly n rows; what lies beyond its end is not allowed."""
    if allowed is None or len(allowed) == n:
        return allowed
    fitted = np.zeros(n, bool)
    fitted[: min(n, len(allowed))] = allowed[:n]
    return fitted


def _looked_up(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    if not len(rows):
        return np.full(places.shape, -1, np.int64)
    return np.where(places >= 0, rows[np.maximum(places, 0)], -1)


def _gathered(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.int64)
    out = np.zeros((len(rows), vectors.shape[1]), np.float32)
    known = (rows >= 0) & (rows < len(vectors))
    out[known] = vectors[rows[known]]
    return out
