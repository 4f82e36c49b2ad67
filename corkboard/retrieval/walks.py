"""Random walks in the rows of the catalogue, over a graph that edges are added to while it is walked."""

from __future__ import annotations

import threading

import numpy as np

from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import WalkConfig
from corkboard.graph.pixie import Pixie
from corkboard.retrieval.catalogue import Catalogue


class WalkedGraph:
    """A graph of items and boards that is asked in catalogue rows. Safe to walk from many threads while others add edges.

    Items of the graph that the catalogue lacks are walked through and never told. Items that the graph lacks, as those that came live,
    are nodes behind its own: row r is the node ``items of the graph + r`` then.
    """

    def __init__(self, pixie: Pixie, boards: dict[str, int], new_board: int, row_of: np.ndarray, node_of: np.ndarray, seed: int):
        self._pixie, self._boards, self._new_board, self._seed = pixie, boards, new_board, seed
        self._row_of, self._node_of = row_of, node_of
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls,
        graph: BipartiteGraph,
        catalogue: Catalogue,
        config: WalkConfig | None = None,
        threads: int = 1,
        seed: int = 0,
        tenant: str | None = None,
    ) -> WalkedGraph:
        """Walks over ``graph`` in the rows of ``catalogue``. The same question has the same answer, whatever ``threads`` are.

        Boards of two tenants may have one id: with ``tenant`` newer edges go to the boards of that one alone. Walks pass through all.
        """
        row_of = catalogue.rows(graph.left_ids)
        node_of = len(row_of) + np.arange(len(catalogue))
        known = np.flatnonzero(row_of >= 0)
        node_of[row_of[known]] = known
        own = range(len(graph.right))
        if tenant is not None and graph.owners is not None:
            own = np.flatnonzero(graph.owners["tenant"] == tenant).tolist()
        boards = {graph.right_ids[node]: node for node in own}
        return cls(Pixie(graph, config, threads=threads), boards, len(graph.right), row_of, node_of, seed)

    @property
    def added(self) -> int:
        """How many edges were added."""
        return len(self._pixie.overlay)

    def add(self, row: int, board_id: str) -> None:
        """A newer edge, from the item in catalogue row ``row``; walks that begin after this know it.

        An unknown board becomes a new node; an edge that is there already changes nothing, and neither does an item without a row. Secret
        boards have no place in a graph that everybody walks: whoever adds must leave them out.
        """
        if row < 0:
            return
        with self._lock:
            board = self._boards.setdefault(board_id, self._new_board)
            self._new_board += board == self._new_board
        self._pixie.overlay.add(int(self._nodes(np.array([row]))[0]), board)

    def recommend(self, rows: np.ndarray, weights: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows int64, scores float32), best first, at most ``k``: what lies around the items ``rows``, each counting ``weights[i]``.

        ``allowed`` is bool over catalogue rows; rows beyond its end are not allowed. The items asked with are never among the answers, and
        rows that no edge is known of bring nothing.
        """
        rows, weights = np.asarray(rows, np.int64), np.asarray(weights)
        rows, weights = rows[rows >= 0], weights[rows >= 0]
        if not len(rows) or k < 1 or not allowed.any():
            return np.empty(0, np.int64), np.empty(0, np.float32)
        nodes, scores = self._pixie.recommend(self._nodes(rows), weights, k, self._seed, only=self._told(allowed))
        found = nodes - len(self._row_of)
        found[found < 0] = self._row_of[nodes[found < 0]]
        return found, scores

    def _nodes(self, rows: np.ndarray) -> np.ndarray:
        nodes = len(self._row_of) + rows
        known = rows < len(self._node_of)
        nodes[known] = self._node_of[rows[known]]
        return nodes

    def _told(self, allowed: np.ndarray) -> np.ndarray:
        """``allowed`` over nodes."""
        inside = (self._row_of >= 0) & (self._row_of < len(allowed))
        inside[inside] = allowed[self._row_of[inside]]
        return np.concatenate([inside, allowed])
