"""How many queries a second does Hamming search over 1,024-bit codes answer, and how near is that to what the machine allows?

    python benchmarks/codes.py --json
    python benchmarks/codes.py --items 2e5 --quick

Items are drawn in clusters of uneven size around products of 200 topics, 256 numbers of unit length, with noise whose strength falls along
random axes as in learned embeddings; queries are new draws. A bit is the side of a random plane (four rotations), which no training
has adapted to the items. Truth is the exact float top 10. *Floors*: one query at a time has to read every code, so its floor is a
streaming read of the same array; many queries share what is read, so theirs is 16 popcounts a code, by the faster of two kernels within
the cache. Ways take turns within one run and shares are taken turn by turn, so that whatever else runs on the machine touches all
alike. *Whole* reads every code, *cells* those of the nearest cells; both score the nearest again by int8. FAISS: the HNSW graph over
the float vectors at the narrowest width that finds as much as *whole* (or the widest tried), and its binary indexes over the same codes.
``--bare`` leaves the graph out, whose building takes most of the time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import faiss
import numpy as np
from harness import arguments, finish, say, timed
from numba import njit

from corkboard.artifacts import Space
from corkboard.retrieval.binary_index import BinaryIndex
from corkboard.retrieval.hamming import block_distances, popcount
from corkboard.seeds import generator

DIM, BITS, K, CHUNK = 256, 1024, 10, 50_000
TOPICS, PER_PRODUCT, SPREAD, NOISE = 200, 50, 0.8, 0.7
WIDTHS = (16, 32, 64, 128, 256)
THREADS = os.cpu_count() or 1


def main() -> None:
    options = arguments(__doc__, items="1e6", queries=1000, rounds=9, links=16, seed=1, quick=False, bare=False)
    items = int(float(options.items))
    if options.quick:
        options.rounds = 3
    mixture = Mixture(items, options.seed)
    queries = mixture.draw(options.queries, "queries")
    graph, codes, (whole, scales), truth = drawn(mixture, items, queries, 0 if options.bare else options.links)
    begun = time.perf_counter()
    index = BinaryIndex.build(
        codes, [f"i{row:07d}" for row in range(items)], Space("drawn", "1"), rescoring=whole, scale=scales, threads=THREADS
    )
    seconds = time.perf_counter() - begun
    say(f"index with {index.cells:,} cells in {seconds:.0f} s")
    del codes, whole, scales
    course = Course(index, queries, mixture.codes(queries), truth, graph)
    said = str(items) if items != 10**6 else "1m"
    figures = course.recalls() | course.rates(options.rounds)
    stored = index.tensors()
    result = {
        f"queries_per_s_{said}": figures["whole_batched_all_threads_per_s"],
        "bytes_per_item": index.nbytes / items,
        "recall_after_rescoring": figures["whole_recall"],
        "bytes_per_item_of_codes": stored["words"].nbytes / items,
        "bytes_per_item_hnsw": 4 * DIM + 8 * options.links,
        "build_s": seconds,
        "cells": index.cells,
        "threads": THREADS,
    }
    del graph, course.graph
    finish(result | figures | course.faiss_binary(options.rounds), options.json)


# ------------------------------------------------------------------------------------------------------------------------- data


class Mixture:
    """Where items are drawn from: products around topics, some much more frequent than others."""

    def __init__(self, items: int, seed: int):
        self.seed, rng = seed, generator(seed, "mixture")
        products = max(items // PER_PRODUCT, 1)
        topics = rng.standard_normal((TOPICS, DIM), np.float32)
        self.centres = topics[rng.integers(0, TOPICS, products)] + SPREAD * rng.standard_normal((products, DIM), np.float32)
        weights = (np.arange(products) + 10.0) ** -0.7
        self.shares = np.cumsum(weights / weights.sum())
        strength = (1 + np.arange(DIM)) ** -0.5
        self.axes = (_rotation(rng) * (NOISE * strength * np.sqrt(DIM / (strength**2).sum()))[:, None]).astype(np.float32)
        self.planes = np.concatenate([_rotation(rng) for _ in range(BITS // DIM)], axis=1).astype(np.float32)

    def draw(self, count: int, name: str) -> np.ndarray:
        """float32 ``(count, DIM)`` of unit length."""
        rng = generator(self.seed, name)
        products = np.minimum(np.searchsorted(self.shares, rng.random(count)), len(self.shares) - 1)
        vectors = self.centres[products] + rng.standard_normal((count, DIM), np.float32) @ self.axes
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def codes(self, vectors: np.ndarray) -> np.ndarray:
        """uint8 ``(n, BITS / 8)``."""
        return np.packbits(vectors @ self.planes > 0, axis=1)


def _rotation(rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]


def drawn(mixture: Mixture, items: int, queries: np.ndarray, links: int) -> tuple:
    """The graph over the float vectors, or None without links; codes, int8 with a scale a row, and the rows of the exact top 10.

    Floats are in memory once, in the graph.
    """
    faiss.omp_set_num_threads(THREADS)
    graph = faiss.IndexHNSWFlat(DIM, links, faiss.METRIC_INNER_PRODUCT) if links else None
    if graph is not None:
        graph.hnsw.efConstruction = 80
    codes, whole, scales = np.empty((items, BITS // 8), np.uint8), np.empty((items, DIM), np.int8), np.empty(items, np.float32)
    best, rows = np.full((len(queries), K), -np.inf, np.float32), np.zeros((len(queries), K), np.int64)
    begun = time.perf_counter()
    for first in range(0, items, CHUNK):
        vectors = mixture.draw(min(CHUNK, items - first), f"items {first}")
        part = slice(first, first + len(vectors))
        codes[part], scales[part] = mixture.codes(vectors), np.abs(vectors).max(axis=1) / 127
        whole[part] = np.round(vectors / scales[part, None])
        scores = np.concatenate([best, queries @ vectors.T], axis=1)
        names = np.concatenate([rows, np.broadcast_to(np.arange(first, first + len(vectors)), (len(queries), len(vectors)))], axis=1)
        nearest = np.argpartition(-scores, K - 1, axis=1)[:, :K]
        best, rows = np.take_along_axis(scores, nearest, axis=1), np.take_along_axis(names, nearest, axis=1)
        del scores, names, nearest
        if graph is not None:
            graph.add(vectors)
        say(f"{first + len(vectors):,} items, {time.perf_counter() - begun:.0f} s")
    return graph, codes, (whole, scales), rows


# ----------------------------------------------------------------------------------------------------------------------- floors


@njit(nogil=True, boundscheck=False)
def stream(blocks):
    """Read every word once. Returns a checksum."""
    total = np.zeros(blocks.shape[2], np.uint64)
    for b in range(blocks.shape[0]):
        for w in range(blocks.shape[1]):
            for lane in range(blocks.shape[2]):
                total[lane] ^= blocks[b, w, lane]
    return total.sum()


@njit(nogil=True, boundscheck=False)
def count_bits(words, rounds):
    """Count the bits of the words of a block in the cache, changed in every round. Returns the sum."""
    total = np.uint64(0)
    for r in range(rounds):
        change = np.uint64(r)
        for w in range(words.shape[1]):
            for lane in range(words.shape[2]):
                total += popcount(words[0, w, lane] ^ change)
    return total


@njit(nogil=True, boundscheck=False)
def count_by_lane(words, rounds):
    """The same by the kernel of the index: distances to one block in the cache, and nothing chosen of them."""
    sums, changes, total = np.empty(words.shape[2], np.uint64), np.zeros((64, words.shape[1]), np.uint64), np.uint64(0)
    for r in range(rounds):
        block_distances(words, 0, changes, r & 63, sums)
        total += sums[0]
    return total


class Course:
    """What is run, over one index and one set of queries."""

    def __init__(self, index: BinaryIndex, queries: np.ndarray, codes: np.ndarray, truth: np.ndarray, graph: faiss.IndexHNSWFlat | None):
        self.index, self.queries, self.codes, self.truth, self.graph = index, queries, codes, truth, graph
        self.one = index.with_threads(1)
        self.blocks = index.tensors()["words"]
        self.pool, self.turn, self.counts = ThreadPoolExecutor(THREADS), 0, self._faster_count()

    def recalls(self) -> dict[str, object]:
        """Share of the exact float top 10 that each way finds; the width of the graph is chosen by it."""
        found = {
            "whole_recall": self.index.search(self.codes, K, self.queries, probes=0)[0],
            "cells_recall": self.index.search(self.codes, K, self.queries)[0],
            "recall_before_rescoring": self.index.search(self.codes, K, probes=0)[0],
        }
        figures: dict[str, object] = {name: self._recall(rows) for name, rows in found.items()}
        for candidates in (100, 200, 1000):
            rows = self.index.search(self.codes, candidates, probes=0)[0]
            figures[f"truth_among_nearest_{candidates}"] = self._recall(rows)
        for width in WIDTHS if self.graph is not None else ():
            self.graph.hnsw.efSearch = width
            figures |= {"hnsw_recall": self._recall(self.graph.search(self.queries, K)[1]), "hnsw_width": width}
            if figures["hnsw_recall"] >= figures["whole_recall"]:
                break
        return figures

    def _recall(self, rows: np.ndarray) -> float:
        return float(np.mean([len(np.intersect1d(found, wanted)) / K for found, wanted in zip(rows, self.truth, strict=True)]))

    def rates(self, rounds: int) -> dict[str, float]:
        """Queries a second of each way, and shares of the floors, turn by turn."""
        ways = self._ways()
        seconds = _in_turns(ways, rounds)
        figures = {f"{name}_per_s": count / median(seconds[name]) for name, (count, _) in ways.items() if count}
        read = {threads: self.blocks.nbytes / 1e9 / median(seconds[f"stream_{threads}"]) for threads in ("one_thread", "all_threads")}
        figures |= {f"read_gb_per_s_{threads}": rate for threads, rate in read.items()}
        for threads in ("one_thread", "all_threads"):
            single, batched = ways[f"whole_single_{threads}"][0], ways[f"whole_batched_{threads}"][0]
            floors = zip(seconds[f"stream_{threads}"], seconds[f"whole_single_{threads}"], strict=True)
            figures[f"whole_single_share_of_reading_{threads}"] = median(single * floor / own for floor, own in floors)
            floors = zip(seconds[f"popcount_{threads}"], seconds[f"whole_batched_{threads}"], strict=True)
            figures[f"whole_batched_share_of_popcount_{threads}"] = median(batched * floor / own for floor, own in floors)
            figures[f"floor_reading_queries_per_s_{threads}"] = 1 / median(seconds[f"stream_{threads}"])
            figures[f"floor_popcount_queries_per_s_{threads}"] = 1 / median(seconds[f"popcount_{threads}"])
        return figures

    def _ways(self) -> dict[str, tuple[int, Callable[[], object]]]:
        """By name: how many queries it answers, and the work. The floors' work is that of one query."""
        singles, batch = 8, 256
        ways: dict[str, tuple[int, Callable[[], object]]] = {}
        for threads, index in (("one_thread", self.one), ("all_threads", self.index)):
            count = index.threads
            ways[f"stream_{threads}"] = (0, lambda count=count: self._threads(stream, np.array_split(self.blocks, count)))
            ways[f"popcount_{threads}"] = (0, lambda count=count: self._threads(self._count, [self.blocks.size // count] * count))
            for name, probes in (("whole", 0), ("cells", None)):
                ways[f"{name}_single_{threads}"] = (singles, lambda i=index, p=probes: self._singly(singles, i, p))
                ways[f"{name}_batched_{threads}"] = (batch, lambda i=index, p=probes: i.search(*self._some(batch), probes=p))
            if self.graph is not None:
                ways[f"hnsw_batched_{threads}"] = (batch, lambda count=count: self._hnsw(batch, count))
        if self.graph is not None:
            ways["hnsw_single"] = (singles, lambda: [self._hnsw(1, 1) for _ in range(singles)])
        return ways

    def _threads(self, work: Callable, parts: list) -> None:
        list(self.pool.map(work, parts)) if len(parts) > 1 else work(parts[0])

    def _count(self, words: int) -> None:
        self.counts(self.blocks[:1], max(words // self.blocks[0].size, 1))

    def _faster_count(self) -> Callable:
        """The better of two ways to count bits within the cache is the floor."""
        ways = (count_bits, count_by_lane)
        for way in ways:
            way(self.blocks[:1], 1)
        return min(ways, key=lambda way: min(timed(lambda: way(self.blocks[:1], 2000)) for _ in range(9)))

    def _at(self, count: int) -> slice:
        self.turn = (self.turn + count) % max(len(self.queries) - count, 1)
        return slice(self.turn, self.turn + count)

    def _some(self, count: int) -> tuple[np.ndarray, int, np.ndarray]:
        at = self._at(count)
        return self.codes[at], K, self.queries[at]

    def _singly(self, count: int, index: BinaryIndex, probes: int | None) -> None:
        for _ in range(count):
            index.search(*self._some(1), probes=probes)

    def _hnsw(self, count: int, threads: int) -> None:
        faiss.omp_set_num_threads(threads)
        self.graph.search(self.queries[self._at(count)], K)

    def faiss_binary(self, rounds: int) -> dict[str, float]:
        """FAISS's own binary indexes over the same codes, without rescoring, with as many found as ours score again; and NumPy."""
        most, figures = self.index.settings.candidates, {}
        flat = faiss.IndexBinaryFlat(BITS)
        for first in range(0, len(self.index), CHUNK):
            flat.add(self.index.codes_of(np.arange(first, min(first + CHUNK, len(self.index)))))
        figures |= _faiss_rates("faiss_flat", flat, self, most, min(rounds, 3))
        figures["numpy_single_per_s"] = 1 / timed(lambda index=flat: self._numpy(index, most))
        flat = None
        return figures | _faiss_rates("faiss_ivf", self.index.to_faiss(), self, most, rounds)

    def _numpy(self, flat: faiss.IndexBinaryFlat, most: int) -> np.ndarray:
        words = faiss.vector_to_array(flat.xb).view(np.uint64).reshape(-1, BITS // 64)
        return np.argpartition(np.bitwise_count(words ^ self.codes[:1].view(np.uint64)).sum(axis=1, dtype=np.int32), most)[:most]


def _faiss_rates(name: str, index: faiss.IndexBinary, course: Course, most: int, rounds: int) -> dict[str, float]:
    def search(count: int, threads: int) -> None:
        faiss.omp_set_num_threads(threads)
        index.search(course.codes[course._at(count)], most)

    ways = {
        f"{name}_single": (4, lambda: [search(1, 1) for _ in range(4)]),
        f"{name}_batched_one_thread": (64, lambda: search(64, 1)),
        f"{name}_batched_all_threads": (64, lambda: search(64, THREADS)),
    }
    seconds = _in_turns(ways, rounds)
    return {f"{way}_per_s": count / median(seconds[way]) for way, (count, _) in ways.items()}


def _in_turns(ways: dict[str, tuple[int, Callable[[], object]]], rounds: int) -> dict[str, list[float]]:
    for _, work in ways.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name, (_, work) in ways.items():
            seconds[name].append(timed(work))
        say(f"turn {turn + 1} of {rounds}")
    return seconds


if __name__ == "__main__":
    main()
