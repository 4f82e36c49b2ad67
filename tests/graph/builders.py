"""Small graphs for the tests of this room, and a plain walk to hold the fast one against."""

from __future__ import annotations

import numpy as np

from corkboard.graph.bipartite import BipartiteGraph


def graph_of(*boards: str, items: int | None = None, name: str = "board") -> BipartiteGraph:
    """Items a, b, c ... (``items`` of them) and a board for each word, which holds the items of its letters."""
    pairs = [(ord(letter) - ord("a"), board) for board, word in enumerate(boards) for letter in word]
    left, right = (np.array(column, np.int32) for column in zip(*pairs, strict=True)) if pairs else np.empty((2, 0), np.int32)
    count = items if items is not None else int(left.max(initial=-1)) + 1
    return BipartiteGraph.of_pairs(name, left, right, [chr(ord("a") + n) for n in range(count)], [f"b{n}" for n in range(len(boards))])


def random_graph(items: int, boards: int, edges: int, seed: int = 0) -> BipartiteGraph:
    """Edges drawn at random, some of them more than once."""
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, items, edges).astype(np.int32), rng.integers(0, boards, edges).astype(np.int32)
    return BipartiteGraph.of_pairs("random", left, right, [f"i{n}" for n in range(items)], [f"b{n}" for n in range(boards)])


def adjacency(graph: BipartiteGraph) -> np.ndarray:
    """float64 ``(items, boards)``: 1 for an edge."""
    matrix = np.zeros((len(graph.left), len(graph.right)))
    matrix[np.repeat(np.arange(len(graph.left)), graph.left.degrees), graph.left.neighbours] = 1
    return matrix


def expected_visits(matrix: np.ndarray, start: int, restart: float, length: int = 200) -> np.ndarray:
    """float64 ``(items,)``: the share of visits of each item in a long walk with restart from ``start``; adds up to 1."""
    to_board = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    to_item = (matrix / np.maximum(matrix.sum(axis=0, keepdims=True), 1)).T
    at, visits = np.eye(len(matrix))[start], np.zeros(len(matrix))
    for step in range(length):
        at = at @ to_board @ to_item
        visits += restart * (1 - restart) ** step * at
    return visits
