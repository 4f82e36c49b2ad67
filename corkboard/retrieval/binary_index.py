"""Nearest neighbours by Hamming distance between packed bits, the best of them scored again by int8 or float vectors.

Ties are broken by a fixed random order: by a hash of the item's id, so neither the order in which items came nor the number of threads
says who is first. A search reads every code, or above ``exact_below`` items those of the nearest cells alone (an inverted file, Jegou et
al. 2011, with binary k-means: the centre of a cell is the majority of its bits). Filters act inside of the search. Measured beside
FAISS's binary indexes in ``docs/concepts/retrieval.md``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, Space
from corkboard.errors import InputError, SpaceMismatch
from corkboard.lake.hashes import hash_texts
from corkboard.retrieval import hamming
from corkboard.retrieval.config import BinaryIndexConfig
from corkboard.retrieval.hamming import FAR, LANES, LOW, NOBODY, U32, Layout, cells_of, words_of
from corkboard.retrieval.index import Found
from corkboard.seeds import derive


class BinaryIndex:
    """Packed codes of items, and beside them the vectors that score the nearest codes again.

    Row i belongs to ``ids[i]``. An item whose code, or whose vector, is all zeros is one that nothing is known of: no search finds it;
    and a query whose code is all zeros finds nothing. Safe to search from many threads. What is found depends on neither the order
    of the items nor the number of threads.
    """

    def __init__(self, layout: Layout, ids: Sequence[str], space: Space, config: BinaryIndexConfig, more: _Rest, threads: int = 1):
        self._layout, self.ids, self.space, self.settings, self._more, self.threads = layout, list(ids), space, config, more, threads
        self._pool = ThreadPoolExecutor(threads, "codes") if threads > 1 else None

    @classmethod
    def build(
        cls,
        codes: np.ndarray,
        ids: Sequence[str],
        space: Space,
        config: BinaryIndexConfig | None = None,
        *,
        rescoring: np.ndarray | None = None,
        scale: float | np.ndarray = 1.0,
        threads: int = 1,
    ) -> BinaryIndex:
        """Index ``codes`` uint8 ``(n, bytes)``.

        ``rescoring`` is float32 or int8 ``(n, dim)``; a vector is ``scale`` (one, or one a row) times its numbers. Raises
        :class:`InputError` where the shapes do not fit.
        """
        config = config or BinaryIndexConfig()
        codes = np.asarray(codes)
        rescoring = None if rescoring is None else np.ascontiguousarray(rescoring, np.int8 if rescoring.dtype == np.int8 else np.float32)
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        fits = codes.ndim == 2 and codes.dtype == np.uint8 and len(codes) == len(ids) and codes.shape[1] > 0
        if not fits or (rescoring is not None and (rescoring.ndim != 2 or len(rescoring) != len(ids) or len(scales) not in (1, len(ids)))):
            found = (codes.dtype.name, codes.shape, None if rescoring is None else rescoring.shape, len(ids))
            raise InputError("Codes, vectors and ids do not fit together", found=found, expected="uint8 (n, bytes), (n, dim) and n ids")
        filled = codes.any(axis=1) if rescoring is None else codes.any(axis=1) & rescoring.any(axis=1)
        rows, words = np.flatnonzero(filled).astype(np.int32), words_of(codes)
        order = rows[np.argsort(_priorities(ids)[rows], kind="stable")]
        with ThreadPoolExecutor(threads) as pool:
            cells, centres = cells_of(words, order, config, lambda work, tasks: pool.map(lambda task: work(*task), tasks), threads)
        layout = Layout.of(words, order, cells, centres)
        return cls(layout, ids, space, config, _Rest(codes.shape[1], rescoring, scales), threads)

    def with_threads(self, threads: int) -> BinaryIndex:
        """The same index, searched by so many threads a call."""
        return BinaryIndex(self._layout, self.ids, self.space, self.settings, self._more, threads)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bits(self) -> int:
        """Length of a code in bits."""
        return 8 * self._more.code_bytes

    @property
    def dim(self) -> int:
        """Width of the vectors that score again; 0 where there are none."""
        return 0 if self._more.vectors is None else self._more.vectors.shape[1]

    @property
    def findable(self) -> int:
        """How many items can be found: those that something is known of."""
        return len(self._layout.order)

    @property
    def cells(self) -> int:
        """The number of cells; 1 where every search reads every code."""
        return len(self._layout.centres)

    @property
    def nbytes(self) -> int:
        """Bytes of codes, order and vectors together."""
        return sum(array.nbytes for array in self.tensors().values())

    def search(
        self,
        codes: np.ndarray,
        k: int,
        vectors: np.ndarray | None = None,
        allowed: np.ndarray | None = None,
        space: Space | None = None,
        probes: int | None = None,
    ) -> Found:
        """The k nearest allowed rows, int64 ``(q, k)``, and their scores, float32, best first, padded with -1 and -inf.

        With ``vectors`` float ``(q, dim)`` the nearest codes (``candidates`` of them, at least 2 k) are scored by inner product; without, a
        score is ``1 - 2 * distance / bits``. ``allowed`` is bool over rows; rows beyond its end are not allowed. ``probes`` cells are read
        in place of those of the settings, 0 for all. Raises :class:`SpaceMismatch` for a query of another space or width,
        :class:`InputError` for vectors where the index has none.
        """
        queries, vectors = self.checked(codes, vectors, space)
        most = k if vectors is None else max(self.settings.candidates, 2 * k)
        keys = self.nearest_keys(queries, most, allowed, probes)
        rows, distances = self.rows_of(keys), keys >> U32
        if vectors is None:
            return rows[:, :k], np.where(rows >= 0, 1 - 2 * distances / self.bits, -np.inf).astype(np.float32)[:, :k]
        return best_first(rows, self.products(vectors, rows), k)

    def checked(self, codes: np.ndarray, vectors: np.ndarray | None, space: Space | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Queries as uint64 words and contiguous float32 vectors; raises as :meth:`search`."""
        if space is not None:
            self.space.require(space)
        codes = np.atleast_2d(codes)
        if codes.shape[1] != self._more.code_bytes or codes.dtype != np.uint8:
            expected = f"uint8 (q, {self._more.code_bytes}) of {self.space}"
            raise SpaceMismatch("A code does not have the width of this index", found=(codes.dtype.name, codes.shape), expected=expected)
        if vectors is None:
            return words_of(codes), None
        if not self.dim:
            raise InputError("This index has no vectors to score by", hint="Search by codes alone, or build it with `rescoring`.")
        vectors = np.ascontiguousarray(np.atleast_2d(vectors), np.float32)
        if vectors.shape != (len(codes), self.dim):
            expected = f"({len(codes)}, {self.dim}) of {self.space}"
            raise SpaceMismatch("The vectors do not fit the codes or the index", found=vectors.shape, expected=expected)
        return words_of(codes), vectors

    def nearest_keys(self, queries: np.ndarray, most: int, allowed: np.ndarray | None, probes: int | None = None) -> np.ndarray:
        """uint64 ``(q, most)``: ``distance << 32 | rank`` of the nearest allowed items, smallest first, padded with all bits set."""
        layout, total = self._layout, len(self._layout.order)
        found = np.full((len(queries), max(most, 0)), FAR)
        asked = np.flatnonzero(queries.any(axis=1))
        allowed = None if allowed is None else _fitted(allowed, len(self))
        count = total if allowed is None else int(np.count_nonzero(allowed & self._filled))
        if most < 1 or not len(asked) or not count:
            return found
        taken, mine = min(most, count), queries[asked]
        if allowed is not None and count <= max(taken, self.settings.few):
            keys = self._among(mine, np.flatnonzero(allowed & self._filled), taken)
        else:
            keys = layout.nearest(mine, taken, allowed, self._probes(count / total, probes), self._run, self.threads)
            short = np.flatnonzero(keys[:, -1] == FAR)
            if len(short):  # the cells that were read have fewer allowed items than are wanted
                keys[short] = layout.nearest(mine[short], taken, allowed, 0, self._run, self.threads)
        found[asked, :taken] = keys
        return found

    def _probes(self, share: float, asked: int | None) -> int:
        """How many cells to read, more as items get scarce; 0 for all."""
        probes = self.settings.probes if asked is None else asked
        probes = int(np.ceil(probes / share)) if asked is None else probes
        return 0 if probes >= self.cells or (asked is None and share <= self.settings.exact_share) else probes

    def _among(self, queries: np.ndarray, rows: np.ndarray, most: int) -> np.ndarray:
        """The same among a few rows."""
        ranks, words = self._ranks[rows].astype(np.uint64), self._words(rows)
        keys = np.stack([(hamming.distances(query, words) << U32) | ranks for query in queries])
        keys.sort(axis=1)
        return keys[:, :most]

    def rows_of(self, keys: np.ndarray) -> np.ndarray:
        """The rows of keys, int64, -1 for padding."""
        order = self._layout.order
        if not len(order):
            return np.full(keys.shape, -1, np.int64)
        return np.where(keys == FAR, -1, order[np.where(keys == FAR, 0, keys & LOW).astype(np.int64)].astype(np.int64))

    def products(self, vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """float32: inner products of ``vectors`` ``(q, dim)`` with the items in ``rows`` ``(q, r)``; -inf where a row is -1."""
        out = np.empty(rows.shape, np.float32)
        size = max(1, -(-len(rows) // self.threads))
        parts = [(first, first + size) for first in range(0, len(rows), size)]
        for _ in self._run(lambda a, b: hamming.products(vectors[a:b], self._more.vectors, self._more.scales, rows[a:b], out[a:b]), parts):
            pass
        return out

    def codes_of(self, rows: np.ndarray) -> np.ndarray:
        """uint8 ``(len(rows), bytes)``; zeros for rows that are not in the index."""
        rows = np.asarray(rows, np.int64)
        out = np.zeros((len(rows), self._more.code_bytes), np.uint8)
        known = (rows >= 0) & (rows < len(self))
        known[known] = self._filled[rows[known]]
        out[known] = self._words(rows[known]).view(np.uint8)[:, : self._more.code_bytes]
        return out

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """float32 ``(len(rows), dim)``; zeros for rows that are not in the index."""
        rows = np.asarray(rows, np.int64)
        out = np.zeros((len(rows), self.dim), np.float32)
        known = (rows >= 0) & (rows < len(self))
        if self._more.vectors is not None:
            scales = self._more.scales
            out[known] = self._more.vectors[rows[known]] * (scales[rows[known], None] if len(scales) > 1 else scales)
        return out

    @cached_property
    def _ranks(self) -> np.ndarray:
        """int64: the rank of every row, -1 where it has none."""
        ranks = np.full(len(self), -1, np.int64)
        ranks[self._layout.order] = np.arange(len(self._layout.order))
        return ranks

    @cached_property
    def _filled(self) -> np.ndarray:
        return self._ranks >= 0

    @cached_property
    def _places(self) -> np.ndarray:
        """int64: where the code of every rank lies, in lanes from the first block."""
        ranks = self._layout.ranks.ravel()
        places, used = np.empty(len(self._layout.order), np.int64), np.flatnonzero(ranks != NOBODY)
        places[ranks[used]] = used
        return places

    def _words(self, rows: np.ndarray) -> np.ndarray:
        places = self._places[self._ranks[rows]]
        return np.ascontiguousarray(self._layout.words[places // LANES, :, places % LANES])

    def _run(self, work: Callable[..., Any], tasks: Sequence[tuple]) -> Iterable[Any]:
        if self._pool is None or len(tasks) == 1:
            return (work(*task) for task in tasks)
        return self._pool.map(lambda task: work(*task), tasks)

    def to_faiss(self) -> Any:
        """The same codes as a FAISS binary index whose ids are rows: flat with one cell, else an IVF with the same centres.

        It knows neither filters (IVF), nor rescoring, nor a fixed order of ties; for who has FAISS elsewhere, and to measure by.
        """
        faiss: Any = import_module("faiss")
        layout, rows = self._layout, self._layout.order.astype(np.int64)
        if self.cells == 1:
            index = faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(self.bits))
        else:
            quantizer = faiss.IndexBinaryFlat(self.bits)
            quantizer.add(np.ascontiguousarray(layout.centres.view(np.uint8)[:, : self._more.code_bytes]))
            index = faiss.IndexBinaryIVF(quantizer, self.bits, self.cells)
            index.is_trained, index.nprobe = True, self.settings.probes
            index.referenced = quantizer  # FAISS does not keep it
        cells = np.searchsorted(layout.firsts, self._places // LANES, side="right") - 1
        for first in range(0, len(rows), 1 << 16):
            part = rows[first : first + (1 << 16)]
            if self.cells == 1:
                index.add_with_ids(self.codes_of(part), part)
            else:
                given = self.codes_of(part), part, np.ascontiguousarray(cells[first : first + len(part)])
                index.add_core(len(part), *(faiss.swig_ptr(array) for array in given))
        return index

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        layout, more = self._layout, self._more
        arrays = {"words": layout.words, "ranks": layout.ranks, "order": layout.order, "centres": layout.centres, "firsts": layout.firsts}
        return arrays if more.vectors is None else {**arrays, "rescoring": more.vectors, "scales": more.scales}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The ids of an artefact."""
        return {"ids": pl.DataFrame({"id": self.ids}, schema={"id": pl.String})}

    @property
    def config(self) -> dict[str, object]:
        """The settings of an artefact."""
        return {**self.settings.model_dump(), "space": str(self.space), "code_bytes": self._more.code_bytes, "rescored": self.dim > 0}

    @classmethod
    def from_artifact(cls, artifact: Artifact, threads: int = 1) -> BinaryIndex:
        """The index of an artefact written with :meth:`tensors`, :meth:`tables` and :attr:`config`; its arrays are mapped, not read."""
        config = dict(artifact.config)
        space, code_bytes = Space.parse(config.pop("space")), config.pop("code_bytes")
        layout = Layout(*(artifact.mapped(name) for name in ("words", "ranks", "order", "centres", "firsts")))
        scored = config.pop("rescored")
        vectors = artifact.mapped("rescoring") if scored else None
        more = _Rest(code_bytes, vectors, artifact.mapped("scales") if scored else np.ones(1, np.float32))
        return cls(layout, artifact.table("ids")["id"].to_list(), space, BinaryIndexConfig.model_validate(config), more, threads)


@dataclass(frozen=True)
class _Rest:
    """Bytes of a code, and vectors float32 or int8 ``(n, dim)`` with their scales float32 ``(1,)`` or ``(n,)``."""

    code_bytes: int
    vectors: np.ndarray | None
    scales: np.ndarray


def best_first(rows: np.ndarray, scores: np.ndarray, k: int) -> Found:
    """The k best of rows that come nearest code first, which breaks ties; padded with -1 and -inf."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _priorities(ids: Sequence[str]) -> np.ndarray:
    """uint64: what breaks ties, smallest first."""
    return hash_texts(pl.Series(ids, dtype=pl.String), derive(0, "ties of codes"))


def _fitted(allowed: np.ndarray, n: int) -> np.ndarray:
    """``allowed`` for exactly n rows; what lies beyond its end is not allowed."""
    if len(allowed) == n and allowed.dtype == np.bool_:
        return np.ascontiguousarray(allowed)
    fitted = np.zeros(n, bool)
    fitted[: min(n, len(allowed))] = allowed[:n]
    return fitted


# ---------------------------------------------------------------------------------------------------------------------- overlay


@dataclass(frozen=True)
class _Live:
    """One immutable state of the overlay. ``allowed`` is bool over frozen rows, or None while all are alive."""

    rows: np.ndarray
    words: np.ndarray
    vectors: np.ndarray
    priorities: np.ndarray
    allowed: np.ndarray | None


class BinaryOverlay:
    """A frozen index, with newer items searched exactly beside it, and tombstones for what left or changed.

    Rows are those of the catalogue: below ``len(base)`` they belong to the frozen index. Safe to search while others add and remove. Ties
    are broken as in an index built of all items.
    """

    def __init__(self, base: BinaryIndex):
        self.base, self.space = base, base.space
        self._lock = threading.Lock()
        words = len(words_of(np.zeros((1, base.bits // 8), np.uint8))[0])
        empty = np.empty(0, np.int64)
        self._live = _Live(empty, np.empty((0, words), np.uint64), np.empty((0, base.dim), np.float32), empty.astype(np.uint64), None)

    def add(self, row: int, item_id: str, code: np.ndarray, vector: np.ndarray | None, space: Space) -> None:
        """Make the item in catalogue row ``row`` findable, or replace its code and vector; with zeros it is not found any more.

        ``vector`` is needed where the index scores again. Raises :class:`SpaceMismatch` for a code or vector of another space or width.
        """
        words, checked = self.base.checked(code, vector, space)
        if row < 0 or (self.base.dim and checked is None):
            expected = "a row of the catalogue, and a vector where the index scores by vectors"
            raise InputError(
                "A new item lacks what it is searched by", found=(row, None if vector is None else "vector"), expected=expected
            )
        if not words.any() or (checked is not None and not checked.any()):
            self.remove(row)
            return
        vectors = np.empty((1, 0), np.float32) if checked is None else checked
        with self._lock:
            live = self._without(row)
            self._live = _Live(
                np.append(live.rows, row),
                np.concatenate([live.words, words]),
                np.concatenate([live.vectors, vectors]),
                np.append(live.priorities, _priorities([item_id])),
                live.allowed,
            )

    def remove(self, row: int) -> None:
        """Never return ``row`` again, unless it is added anew."""
        with self._lock:
            self._live = self._without(row)

    def _without(self, row: int) -> _Live:
        live = self._live
        allowed, kept = live.allowed, live.rows != row
        if row < len(self.base) and (allowed is None or allowed[row]):
            allowed = np.ones(len(self.base), bool) if allowed is None else allowed.copy()
            allowed[row] = False
        if kept.all():
            return _Live(live.rows, live.words, live.vectors, live.priorities, allowed)
        return _Live(live.rows[kept], live.words[kept], live.vectors[kept], live.priorities[kept], allowed)

    def search(
        self,
        codes: np.ndarray,
        k: int,
        vectors: np.ndarray | None = None,
        allowed: np.ndarray | None = None,
        space: Space | None = None,
    ) -> Found:
        """See :meth:`BinaryIndex.search`."""
        live, base = self._live, self.base
        queries, checked = base.checked(codes, vectors, space)
        frozen = live.allowed
        if allowed is not None:
            frozen = _fitted(allowed, len(base)) if frozen is None else _fitted(allowed, len(base)) & frozen
        inside = np.ones(len(live.rows), bool) if allowed is None else _fitted(allowed, int(live.rows.max(initial=-1)) + 1)[live.rows]
        if not inside.any():
            return base.search(codes, k, vectors, frozen)
        most = k if checked is None else max(base.settings.candidates, 2 * k)
        keys = base.nearest_keys(queries, most, frozen)
        here = np.flatnonzero(inside)
        found, best = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        for q in np.flatnonzero(queries.any(axis=1)):
            mine = keys[q][keys[q] != FAR]
            rows = np.concatenate([base.rows_of(mine), live.rows[here]])
            distances = np.concatenate([mine >> U32, hamming.distances(queries[q], live.words[here])])
            priorities = np.concatenate([self._priorities_by_rank[(mine & LOW).astype(np.int64)], live.priorities[here]])
            order = np.lexsort((priorities, distances))[:most]
            if checked is None:
                scores = (1 - 2 * distances[order] / base.bits).astype(np.float32)
            else:
                scores = np.concatenate([base.products(checked[q : q + 1], rows[None, : len(mine)])[0], live.vectors[here] @ checked[q]])[
                    order
                ]
            top, values = best_first(rows[order][None], scores[None], k)
            found[q, : top.shape[1]], best[q, : top.shape[1]] = top[0], values[0]
        return found, best

    @cached_property
    def _priorities_by_rank(self) -> np.ndarray:
        return np.sort(_priorities([self.base.ids[row] for row in self.base.rows_of(np.arange(self.base.findable, dtype=np.uint64))]))
