"""A graph as walks read it: one word an edge, and beside it the edges that are newer than the graph."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numba import njit

from corkboard.errors import InputError
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.walks import DEGREE_BITS, NOBODY, Fresh, mix

_MOST = (1 << DEGREE_BITS) - 1
_SHIFT = np.uint64(DEGREE_BITS)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_U6, _LOW_6, _ONE = np.uint64(6), np.uint64(63), np.uint64(1)
_HUGE_PAGE = 1 << 21
_FEW = 1_024


def on_huge_pages(count: int) -> np.ndarray:
    """uint64 ``(count,)``, zeros, in huge pages where the system has them: random reads of a large array need no page tables then."""
    size = 8 * count
    if size < _HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(count, np.uint64)
    memory = mmap.mmap(-1, size + _HUGE_PAGE)
    memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    first = -whole.ctypes.data % _HUGE_PAGE
    return whole[first : first + size].view(np.uint64)


@dataclass(frozen=True)
class PackedGraph:
    """Both directions in one array: ``words`` uint64 ``(2 * edges,)``, the lists of left nodes and then those of right nodes, each word
    ``place of the neighbour's list << 26 | its length``.

    ``offsets`` are those of the graph's left and right rows. ``labels`` uint16 ``(2 * edges,)`` of the neighbours, by which each list is
    sorted, or empty. A node is known to walks by the *place* of its list; one that has no list has a place of its own behind all words.
    """

    words: np.ndarray
    offsets: tuple[np.ndarray, np.ndarray]
    labels: np.ndarray

    @classmethod
    def of(cls, graph: BipartiteGraph, left_labels: np.ndarray | None = None, right_labels: np.ndarray | None = None) -> PackedGraph:
        """Labels are uint16, 1 or more, one a node: a biased walk keeps to edges whose neighbour has the wanted one (a language, a topic).

        Raises :class:`InputError` for a node of more than 67 million edges, and for labels that are not one a node.
        """
        edges, sides = graph.edges, (graph.left, graph.right)
        most = max(int(rows.degrees.max(initial=0)) for rows in sides)
        if most > _MOST:
            raise InputError("A node has too many edges to walk from", found=most, expected=f"at most {_MOST}", hint="Prune it.")
        words, biased = on_huge_pages(2 * edges), left_labels is not None and right_labels is not None
        if biased and (len(left_labels), len(right_labels)) != (len(graph.left), len(graph.right)):
            found, expected = (len(left_labels), len(right_labels)), (len(graph.left), len(graph.right))
            raise InputError("A biased walk needs a label for every node", found=found, expected=expected)
        sorted_labels = []
        for rows, others, labels, base in ((*sides, right_labels, 0), (*sides[::-1], left_labels, edges)):
            neighbours = rows.neighbours
            if biased:
                owners = np.repeat(np.arange(len(rows)), rows.degrees)
                neighbours = neighbours[np.lexsort((neighbours, labels[neighbours], owners))]
                sorted_labels.append(labels[neighbours].astype(np.uint16))
            _pack(neighbours, others.offsets, edges - base, words[base : base + edges])
        return cls(words, (graph.left.offsets, graph.right.offsets), np.concatenate(sorted_labels) if biased else np.empty(0, np.uint16))

    @property
    def nbytes(self) -> int:
        """Bytes that walks need in memory."""
        return self.words.nbytes + self.labels.nbytes + sum(offsets.nbytes for offsets in self.offsets)

    def word(self, side: int, node: int) -> int:
        """Place and length of the list of a node, left (0) or right (1). A node without a list, or newer than the graph, has length 0."""
        offsets = self.offsets[side]
        if node < len(offsets) - 1 and offsets[node] < offsets[node + 1]:
            return (int(offsets[node]) + side * len(self.words) // 2) << DEGREE_BITS | int(offsets[node + 1] - offsets[node])
        return (len(self.words) + 2 * node + side) << DEGREE_BITS

    def nodes(self, places: np.ndarray) -> np.ndarray:
        """int64: the nodes whose lists lie at ``places`` int64, all of one side."""
        edges = len(self.words) // 2
        behind = (places - 2 * edges) // 2
        left = np.searchsorted(self.offsets[0], places, side="right") - 1
        right = np.searchsorted(self.offsets[1], places - edges, side="right") - 1
        return np.where(places >= 2 * edges, behind, np.where(places < edges, left, right))


@njit(cache=True, nogil=True)
def _pack(neighbours, offsets, base, words):
    for edge in range(len(neighbours)):
        node = neighbours[edge]
        words[edge] = (np.uint64(offsets[node] + base) << _SHIFT) | np.uint64(offsets[node + 1] - offsets[node])


# --------------------------------------------------------------------------------------------------------------------- overlay


@njit(cache=True)
def _spans(places, words):
    """The parts of :class:`Fresh` over the edges from the nodes at ``places`` uint64 to ``words`` uint64."""
    size, bit_power = 4, 12
    while size < 2 * len(places):
        size *= 2
    while 1 << bit_power < 16 * len(places):
        bit_power += 1
    shift = np.uint64(64 - bit_power)
    mask = np.uint64(size - 1)
    bits, keys = np.zeros((1 << bit_power) // 64, np.uint64), np.full(size, NOBODY, np.uint64)
    begins, lengths, slots = np.zeros(size, np.int64), np.zeros(size, np.int64), np.empty(len(places), np.int64)
    for n in range(len(places)):
        bit = (places[n] * _GOLDEN) >> shift
        bits[bit >> _U6] |= _ONE << (bit & _LOW_6)
        slot = mix(places[n]) & mask
        while keys[slot] != places[n] and keys[slot] != NOBODY:
            slot = (slot + _ONE) & mask
        keys[slot], slots[n] = places[n], slot
        lengths[slot] += 1
    total = 0
    for slot in range(size):
        begins[slot] = total
        total += lengths[slot]
    filled, ordered = begins.copy(), np.empty(len(words), np.uint64)
    for n in range(len(places)):
        ordered[filled[slots[n]]] = words[n]
        filled[slots[n]] += 1
    return bits, shift, keys, begins, lengths, ordered


def _fresh(places: np.ndarray, words: np.ndarray) -> Fresh:
    return Fresh(*_spans(places, words))


class Overlay:
    """Edges that are newer than the graph, between nodes that it has and nodes that it has not: a pin saved a second ago can be walked to.

    New nodes are numbered on from the graph's. Edges may be added while others walk: what a walk reads is never changed, only replaced.
    The newest edges have a small table of their own, so that one more edge between two requests does not make all of them anew.
    """

    def __init__(self, graph: BipartiteGraph, packed: PackedGraph):
        self._graph, self._packed, self._lock = graph, packed, Lock()
        self._degrees: dict[int, int] = {}
        self._edges: set[tuple[int, int]] = set()
        self._places: list[int] = []
        self._words: list[int] = []
        empty = np.empty(0, np.uint64)
        self._old = self._new = (empty, empty)
        self._tables = _fresh(empty, empty), _fresh(empty, empty)

    def add(self, left: int, right: int) -> None:
        """An edge; one that is there already, in the graph or here, changes nothing. Raises :class:`InputError` for a negative row."""
        left, right = int(left), int(right)
        if min(left, right) < 0:
            raise InputError("An edge needs two rows", found=(left, right), expected="0 or more")
        words = self._packed.word(0, left), self._packed.word(1, right)
        with self._lock:
            if (left, right) not in self._edges and not self._graph.has(left, right):
                self._edges.add((left, right))
                self._degrees[left] = self._degrees.get(left, 0) + 1
                self._places += [word >> DEGREE_BITS for word in words]
                self._words += words[::-1]

    def __len__(self) -> int:
        return len(self._edges)

    def degree(self, left: int) -> int:
        """How many newer edges a left node has."""
        return self._degrees.get(left, 0)

    def tables(self) -> tuple[Fresh, Fresh]:
        """The older and the newest of these edges, as walks read them; what was added until now is there."""
        with self._lock:
            if self._places:
                added = np.array(self._places, np.uint64), np.array(self._words, np.uint64)
                self._places, self._words = [], []
                self._new = _joined(self._new, added)
                if len(self._new[0]) > max(_FEW, len(self._old[0]) // 16):
                    self._old, self._new = _joined(self._old, self._new), (self._new[0][:0], self._new[1][:0])
                    self._tables = _fresh(*self._old), _fresh(*self._new)
                else:
                    self._tables = self._tables[0], _fresh(*self._new)
            return self._tables


def _joined(some: tuple[np.ndarray, np.ndarray], more: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([some[0], more[0]]), np.concatenate([some[1], more[1]])
