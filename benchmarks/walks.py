"""How many edges a second do random walks traverse, and how near is that to the fastest that this machine reads memory at random?

    python benchmarks/walks.py --json
    python benchmarks/walks.py --edges 1e6,1e7 --quick

Graphs are drawn with power-law degrees, five edges an item and 25 a board on average. *Gather* is the floor: independent random
reads of an array of as many words as the graph has, on huge pages, prefetched, without a modulo; the better of two ways to write it
counts. *Bare* is a walk that counts nothing, *counted* one with its visits in a hash table. All walk from one item at a time, 100,032
visits each, two traversals a visit, restart as configured; *on and on* is a bare walk that never restarts, which has no first hop in
the cache. Gather and walks take turns within one run and their ratios are taken turn by turn, so that whatever else runs on the machine
touches both alike. *Distinct over expected*: what a walk that never restarts visits, against as many independent visits by degree.
A *request* is ``Pixie.recommend``: twenty items, 100,000 visits with caps, the hundred best.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
from harness import arguments, finish, say, timed
from numba import njit

from corkboard.graph import walks
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import WalkConfig
from corkboard.graph.packed import PackedGraph, on_huge_pages
from corkboard.graph.pixie import Pixie
from corkboard.graph.walks import BLOCK, WALKERS, Ground, Tasks, Wish, walk_some

VISITS, STARTS, QUERY, K = 100_032, 400, 20, 100
ITEM_DEGREE, BOARD_DEGREE, EXPONENT = 5, 25, 0.7
NAMES = {10**6: "1m", 10**7: "10m", 10**8: "100m"}
WAYS = ("gather", "gather_blocks", "bare", "bare_on_and_on", "counted")
IGRAPH_AT_MOST = 10**7
"""A graph of 100 million edges takes more memory in igraph than this machine can spare."""


def main() -> None:
    options = arguments(__doc__, edges="1e6,1e7,1e8", rounds=9, requests=50, seed=1, quick=False)
    sizes = [int(float(size)) for size in options.edges.split(",")]
    if options.quick:
        sizes, options.rounds, options.requests = [size for size in sizes if size <= 10**7], 3, 20
    result: dict[str, object] = {}
    for size in sizes:
        result |= {f"{name}_{NAMES.get(size, size)}": value for name, value in measure(size, options).items()}
    finish(_headlines(result) | result, options.json)


def _headlines(result: dict) -> dict:
    names = {
        "share_of_gather_10m": "bare_share_2_threads_10m",
        "share_with_counts_10m": "counted_share_2_threads_10m",
        "request_ms_10m": "request_2_threads_ms_10m",
        "bytes_100m": "bytes_100m",
    }
    return {name: result.pop(of, None) if name == of else result[of] for name, of in names.items() if of in result}


def measure(size: int, options) -> dict[str, object]:
    """Every figure of a graph with about ``size`` edges."""
    begun = time.perf_counter()
    graph = power_law_graph(size, options.seed)
    packed = PackedGraph.of(graph)
    say(f"{graph.edges:,} edges, made in {time.perf_counter() - begun:.0f} s")
    figures: dict[str, object] = {
        "edges": graph.edges,
        "bytes": packed.nbytes,
        "igraph_millions_a_second": igraph_rate(graph, options.seed),
    }
    course = Course(packed, options.seed)
    figures |= course.coverage()
    for threads in (1, 2):
        seconds = {way: [] for way in WAYS}
        for turn in range(options.rounds):
            for way in WAYS:
                seconds[way].append(course.seconds(way, threads))
            say(f"{threads} threads: turn {turn + 1} of {options.rounds}")
        figures |= _rates(seconds, threads, course.traversals)
    del course
    for threads in (1, 2):
        figures |= request_ms(graph, threads, options)
    return figures


def _rates(seconds: dict[str, list[float]], threads: int, traversals: int) -> dict[str, float]:
    """Millions of traversals a second of each way, and its share of the better gather, turn by turn."""
    best = min(("gather", "gather_blocks"), key=lambda way: median(seconds[way]))
    said = f"{threads}_thread{'s' * (threads > 1)}"
    figures = {f"gather_{said}": threads * traversals / median(seconds[best]) / 1e6}
    for way in WAYS[2:]:
        figures[f"{way}_{said}"] = threads * traversals / median(seconds[way]) / 1e6
        figures[f"{way}_share_{said}"] = median(floor / own for floor, own in zip(seconds[best], seconds[way], strict=True))
    return figures


# ------------------------------------------------------------------------------------------------------------------------ graphs


def power_law_graph(edges: int, seed: int) -> BipartiteGraph:
    """About so many edges between items and boards whose degrees follow a power law; what is drawn twice counts once."""
    rng = np.random.default_rng(seed)
    items, boards = edges // ITEM_DEGREE, edges // BOARD_DEGREE
    left, right = (_power_law_rows(rng, nodes, edges) for nodes in (items, boards))
    return BipartiteGraph.of_pairs("drawn", left, right, range(items), range(boards))


def _power_law_rows(rng: np.random.Generator, nodes: int, count: int, at_once: int = 1 << 22) -> np.ndarray:
    """int32: nodes drawn by ``(rank + 10) ** -EXPONENT``, their ranks in no order."""
    of_rank, drawn = rng.permutation(nodes).astype(np.int32), np.empty(count, np.int32)
    least, most = (rank ** (1 - EXPONENT) for rank in (10.0, nodes + 10.0))
    for first in range(0, count, at_once):
        share = rng.random(min(at_once, count - first))
        rank = (share * (most - least) + least) ** (1 / (1 - EXPONENT)) - 10
        drawn[first : first + len(share)] = of_rank[np.minimum(rank.astype(np.int64), nodes - 1)]
    return drawn


class Course:
    """A graph and what is run over it. One call of a way is ten tasks a thread."""

    TASKS = 10

    def __init__(self, packed: PackedGraph, seed: int):
        self.packed, self.called = packed, 0
        self.traversals = 2 * VISITS * self.TASKS
        items = np.random.default_rng(seed).choice(np.flatnonzero(np.diff(packed.offsets[0]) > 0), STARTS)
        self.words = np.array([packed.word(0, item) for item in items.tolist()], np.uint64)
        self.floor = on_huge_pages(len(packed.words))
        self.floor[:] = 1
        empty = np.empty(0, np.uint64)
        none = walks.Fresh(np.zeros(64, np.uint64), np.uint64(52), np.full(4, walks.NOBODY), *np.zeros((2, 4), np.int64), empty)
        self.ground = Ground(packed.words, packed.labels, none, none)
        self.restart = np.uint64(round(WalkConfig().restart * 2**32))
        for way in WAYS:
            self.seconds(way, 1)

    def seconds(self, way: str, threads: int) -> float:
        """Seconds of the clock from the first thread's start to the last one's end."""
        works = [self._work(way, thread) for thread in range(threads)]
        runners = [threading.Thread(target=work) for work in works]
        begun = time.perf_counter()
        for runner in runners:
            runner.start()
        for runner in runners:
            runner.join()
        return time.perf_counter() - begun

    def _work(self, way: str, thread: int) -> Callable[[], object]:
        self.called += 1
        first = self.called * self.TASKS % STARTS
        starts, seed = np.roll(self.words, -first)[: self.TASKS], np.uint64(1000 * self.called + thread)
        if way.startswith("gather"):
            kernel = gather if way == "gather" else gather_blocks
            return lambda: kernel(self.floor, self.traversals, seed)
        if way.startswith("bare"):
            return lambda: bare(self.packed.words, starts, VISITS, np.uint64(0) if way == "bare_on_and_on" else self.restart, seed)
        return lambda: self._counted(starts, self.restart, seed)

    def _counted(self, starts: np.ndarray, restart: np.uint64, seed: np.uint64) -> np.ndarray:
        """How many places each task has visited."""
        count = len(starts)
        begins, seeds, most = np.arange(count + 1) * VISITS, seed + np.arange(count, dtype=np.uint64), np.zeros(count, np.int64)
        found, ends, made = np.empty(count * VISITS, np.uint64), np.zeros(count, np.int64), np.zeros(count, np.int64)
        wish = Wish(restart, np.uint64(0), np.uint16(0), False, 0, 1)
        walk_some(0, count, self.ground, wish, Tasks(starts, begins, seeds, most), found, ends, made)
        return ends - begins[:-1]

    def coverage(self) -> dict[str, float]:
        """Distinct items of a walk that never restarts, and their share of what as many independent visits by degree would give.

        Walkers that follow each other visit far fewer: reading the same words again would pass for speed.
        """
        distinct = float(np.mean(self._counted(self.words[: self.TASKS], np.uint64(0), np.uint64(1))))
        degrees = np.diff(self.packed.offsets[0])
        expected = float(-np.expm1(VISITS * np.log1p(-degrees / degrees.sum())).sum())
        return {"distinct_items": distinct, "distinct_over_expected": distinct / expected}


# ------------------------------------------------------------------------------------------------------------------------ kernels

_U32, _FACTOR, _STEP = np.uint64(32), np.uint64(6364136223846793005), np.uint64(1442695040888963407)


@njit(nogil=True, boundscheck=False)
def gather(words, reads, seed):
    """Independent reads at random places, each asked for :data:`WALKERS` reads before. Returns a checksum."""
    state, size, total, at = walks.mix(seed), np.uint64(len(words)), np.uint64(0), np.zeros(WALKERS, np.int64)
    for _ in range(reads // WALKERS):
        for w in range(WALKERS):
            total += words[at[w]]
            state = state * _FACTOR + _STEP
            at[w] = np.int64(((state >> _U32) * size) >> _U32)
            walks.prefetch(words, at[w])
    return total


@njit(nogil=True, boundscheck=False)
def gather_blocks(words, reads, seed):
    """The same, a block at a time as the walks do it, with vector instructions for what is not a read."""
    size, total, at, state = np.uint64(len(words)), np.uint64(0), np.zeros(WALKERS, np.int64), np.empty(BLOCK, np.uint64)
    for w in range(BLOCK):
        state[w] = walks.mix(seed + _STEP * np.uint64(w))
    for _ in range(reads // WALKERS):
        for first in range(0, WALKERS, BLOCK):
            for w in range(BLOCK):
                total += words[at[first + w]]
            for w in range(BLOCK):
                state[w] = state[w] * _FACTOR + _STEP
                at[first + w] = np.int64(((state[w] >> _U32) * size) >> _U32)
            walks.ask(words, at, first)
    return total


@njit(nogil=True, boundscheck=False)
def bare(words, starts, visits, restart, seed):
    """The hops of a walk and nothing else. Returns a checksum of the places."""
    state, draw, here, board, word = (
        walks.words_of_walkers(),
        walks.words_of_walkers(),
        walks.words_of_walkers(),
        walks.words_of_walkers(),
        walks.words_of_walkers(),
    )
    at, total = np.empty(WALKERS, np.int64), np.uint64(0)
    for start in starts:
        walks.begin(start, seed + start, state, draw, here, WALKERS)
        for first in range(0, WALKERS, BLOCK):
            walks.to_board(here, draw, at, first)
        for _ in range(visits // WALKERS):
            for first in range(0, WALKERS, BLOCK):
                walks.read(words, at, board, first)
                walks.to_item(board, draw, at, first)
                walks.ask(words, at, first)
            for first in range(0, WALKERS, BLOCK):
                walks.read(words, at, word, first)
                walks.draw_again(start, restart, word, state, draw, here, first)
                walks.to_board(here, draw, at, first)
                walks.ask(words, at, first)
            for w in range(WALKERS):
                total += word[w]
    return total


# --------------------------------------------------------------------------------------------------------- requests, and a peer


def request_ms(graph: BipartiteGraph, threads: int, options) -> dict[str, float]:
    """Milliseconds of a request, median and 99th percentile."""
    pixie = Pixie(graph, WalkConfig(visits=100_000), threads=threads)
    times = [timed(lambda rows=rows, seed=seed: pixie.recommend(rows, np.ones(QUERY), K, seed)) for seed, rows in _queries(graph, options)]
    times, said = times[2:], f"{threads}_thread{'s' * (threads > 1)}"
    return {f"request_{said}_ms": 1e3 * median(times), f"request_{said}_p99_ms": 1e3 * float(np.quantile(times, 0.99))}


def _queries(graph: BipartiteGraph, options) -> Iterator[tuple[int, np.ndarray]]:
    """Items as people save them: an item is asked for as often as it has edges."""
    rng, degrees = np.random.default_rng(options.seed + 1), graph.left.degrees
    for seed in range(options.requests + 2):
        edges = rng.integers(0, degrees.sum(), QUERY)
        yield seed, np.searchsorted(graph.left.offsets, edges, side="right") - 1


def igraph_rate(graph: BipartiteGraph, seed: int) -> float | str:
    """Million steps a second of igraph's random walk, one thread, 64 walks of 10,000 steps."""
    if graph.edges > IGRAPH_AT_MOST:
        return "not measured"
    try:
        import igraph
    except ImportError:
        return "not measured"
    items = np.repeat(np.arange(len(graph.left), dtype=np.int64), graph.left.degrees)
    pairs = np.stack([items, graph.left.neighbours.astype(np.int64) + len(graph.left)], axis=1)
    peer = igraph.Graph(n=len(graph.left) + len(graph.right), edges=pairs)
    starts = np.random.default_rng(seed).choice(items, WALKERS).tolist()
    seconds = timed(lambda: [peer.random_walk(start, 10_000) for start in starts])
    return WALKERS * 10_000 / seconds / 1e6


if __name__ == "__main__":
    main()
