"""Pixie by itself (Eksombatchai et al., WWW 2018): pruning, several pins in a query, how long to walk. The work of a job of walks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from corkboard.experiments import graph_claims as name
from corkboard.experiments.board_completion import board_figures
from corkboard.experiments.graph_config import GraphExperimentConfig, WalkClaimsConfig
from corkboard.experiments.graph_models import Bench, bench_of
from corkboard.experiments.item_scorers import PixieItems, SetScorer
from corkboard.experiments.spine_runs import Context, Run
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.pixie import Pixie, shares_of_visits
from corkboard.graph.pruning import board_entropy, most_alike, without_diverse_boards
from corkboard.graph.walks import ROUND
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import generator

_ALL = 1 << 30
"""As many items as there are."""
WALK_CODE = ("experiments/graph_walks.py",)


def variants(config: GraphExperimentConfig) -> list[str]:
    """The rows of walks, weightiest first."""
    return [*map(name.pruned, config.walks.exponents), name.UNDIVERSE, name.SUM, name.EQUAL]


@dataclass(frozen=True)
class PlainSum:
    """The visits of every pin of a set, added up, from the very walks that Pixie adds by the root."""

    pixie: Pixie
    degrees: np.ndarray
    seed: int

    def score_sets(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        """float32 ``(len(sets), items)``; items are the left nodes."""
        config = self.pixie.config
        scores = np.zeros((len(sets), len(self.degrees)), np.float32)
        for n, rows in enumerate(sets):
            pins = np.unique(rows)
            for pin, visits in zip(pins, shares_of_visits(self.degrees[pins], np.ones(len(pins)), config.visits), strict=True):
                if visits:
                    found, times = visits_from(self.pixie, int(pin), int(visits), self.seed)
                    scores[n, found] += times
        return scores


@dataclass(frozen=True)
class EqualVisits:
    """Pixie with as many visits for each pin, however many boards it lies on."""

    pixie: Pixie
    degrees: np.ndarray
    seed: int

    def score_sets(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        """float32 ``(len(sets), items)``; items are the left nodes."""
        scores = np.zeros((len(sets), len(self.degrees)), np.float32)
        for n, rows in enumerate(sets):
            found, boosted = self.pixie.recommend(rows, equalising(self.degrees[rows]), len(self.degrees), self.seed)
            scores[n, found] = boosted
        return scores


def equalising(degrees: np.ndarray) -> np.ndarray:
    """float64: weights that undo Pixie's share by degree, so that every query item gets as many visits; 0 for one without edges."""
    logs = np.log(np.maximum(degrees, 1))
    return np.where(degrees > 0, 1 / np.maximum(degrees * (logs.max(initial=0.0) + 1.0 - logs), 1e-12), 0.0)


def visits_from(pixie: Pixie, row: int, visits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Items that ``visits`` visits from one item reach, and how often; the item itself is left out."""
    before = pixie.config
    pixie.config = before.model_copy(update={"visits": visits})
    try:
        return pixie.recommend(np.array([row]), np.ones(1), _ALL, seed)
    finally:
        pixie.config = before


def visits_until_stop(pixie: Pixie, row: int, stopped: float, most: int, seed: int) -> int:
    """After how many visits a walk stopped that had counted ``stopped`` of them: walks of one seed are each other's beginnings.

    ``pixie`` does not stop early and caps no board, so the counts only grow from round to round.
    """
    low, high = 1, -(-most // ROUND)
    while low < high:
        middle = (low + high) // 2
        if visits_from(pixie, row, min(middle * ROUND, most), seed)[1].sum() >= stopped:
            high = middle
        else:
            low = middle + 1
    return min(low * ROUND, most)


class Walks:
    """Walks on the boards of one world."""

    def __init__(self, bench: Bench):
        self.bench, self.seed = bench, bench.seed
        self.config: WalkClaimsConfig = bench.config.walks
        self.walk = bench.config.graph.walk.model_copy(update={"visits": self.config.visits})
        rows = pl.DataFrame({"left": list(bench.task.item_ids)}).with_row_index("l")
        edges = bench.data.edges["board"].group_by("left", "right").agg(pl.col("time_ms").max()).join(rows, on="left").sort("right", "l")
        self.boards = edges["right"].unique(maintain_order=True).to_list()
        self.left = edges["l"].to_numpy().astype(np.int32)
        self.right = edges["right"].rle_id().to_numpy().astype(np.int32)
        self.time_ms = edges["time_ms"].to_numpy()

    @cached_property
    def vectors(self) -> np.ndarray:
        """float32 ``(items, dim)``: content vectors, which tell which boards are most like an item."""
        return self.bench.content.lookup(self.bench.task.item_ids)[0]

    @cached_property
    def topics(self) -> np.ndarray:
        """float32 ``(items, topics)``: clusters of content vectors, one for each item."""
        from scipy.cluster.vq import kmeans2

        count = min(self.config.topics, len(self.vectors))
        labels = kmeans2(self.vectors.astype(np.float64), count, iter=20, minit="++", rng=generator(self.seed, "topics"))[1]
        return np.eye(count, dtype=np.float32)[labels]

    def graph(self, kept: np.ndarray | None = None) -> BipartiteGraph:
        """Items and boards by the edges that are kept."""
        left, right = (self.left, self.right) if kept is None else (self.left[kept], self.right[kept])
        return BipartiteGraph.of_pairs("board", left, right, self.bench.task.item_ids, self.boards)

    def kept(self, variant: str) -> np.ndarray | None:
        """bool ``(edges,)``: what pruning leaves; None for all."""
        for exponent in self.config.exponents:
            if variant == name.pruned(exponent) and exponent < 1:
                return most_alike(self.left, self.right, self.vectors, exponent)
        if variant == name.UNDIVERSE:
            entropy = board_entropy(self.left, self.right, self.time_ms, self.topics, self.bench.config.graph.pruning.newest)
            return without_diverse_boards(entropy, self.right, float(np.quantile(entropy, 1 - self.config.diverse_share)))
        return None

    def measured(self, run: Run) -> tuple[dict[str, PerUser], dict[str, float]]:
        """Board completion of one row, how many edges it walked on and, for the whole graph, what stopping and luck change."""
        graph = self.graph(self.kept(run.variant))
        pixie = Pixie(graph, self.walk)
        scorers: dict[str, SetScorer] = {
            name.SUM: PlainSum(pixie, graph.left.degrees, self.seed),
            name.EQUAL: EqualVisits(pixie, graph.left.degrees, self.seed),
        }
        scorer = scorers.get(run.variant) or PixieItems.of(graph, self.bench.task.item_ids, self.walk, seed=self.seed)
        assert self.bench.boards is not None
        found = board_figures(self.bench.boards, scorer, self.bench.config.evaluation)
        figures = {f"boards {measure}": figure for measure, figure in found.items()}
        if run.variant == name.WHOLE:
            figures |= self.stopping(graph) | self.luck(graph)
        return figures, {"edges": float(graph.edges), "edges kept": graph.edges / len(self.left)}

    def asked(self, graph: BipartiteGraph) -> np.ndarray:
        """int64: items with edges that overlaps are measured on."""
        able = np.flatnonzero(graph.left.degrees > 0)
        drawn = generator(self.seed, "graph experiment", "queries").permutation(able)
        return np.sort(drawn[: self.config.queries])

    def stopping(self, graph: BipartiteGraph) -> dict[str, PerUser]:
        """What stopping early leaves of the first ``k``, and the visits that it takes, of single items."""
        plain = self.walk.model_copy(update={"board_share": 1.0})
        early = plain.model_copy(update={"enough_items": self.config.enough_items, "enough_visits": self.config.enough_visits})
        whole, stopping = Pixie(graph, plain), Pixie(graph, early)
        shared, share = [], []
        for row in self.asked(graph).tolist():
            full, short = (visits_from(pixie, row, plain.visits, self.seed) for pixie in (whole, stopping))
            shared.append(overlap(full[0], short[0], self.config.k))
            share.append(visits_until_stop(whole, row, float(short[1].sum()), plain.visits, self.seed) / plain.visits)
        return {name.OVERLAP: _each(shared), name.VISITS_SHARE: _each(share)}

    def luck(self, graph: BipartiteGraph) -> dict[str, PerUser]:
        """What the first ``k`` of two seeds have in common, by the length of the walk, of single items."""
        pixie, found = Pixie(graph, self.walk), {}
        for visits in self.config.lengths:
            lists = [
                [visits_from(pixie, row, visits, seed)[0] for row in self.asked(graph).tolist()] for seed in (self.seed, self.seed + 1)
            ]
            found[name.seed_overlap(visits)] = _each([overlap(*both, self.config.k) for both in zip(*lists, strict=True)])
        return found


def overlap(one: np.ndarray, other: np.ndarray, k: int) -> float:
    """The share of the first ``k`` of ``one`` that the first ``k`` of ``other`` hold; 1 where ``one`` is empty."""
    first, second = one[:k], other[:k]
    return float(np.isin(first, second).mean()) if len(first) else 1.0


def _each(values: Sequence[float]) -> PerUser:
    return PerUser(np.array(values, np.float64), np.ones(len(values)))


def walks(context: Context) -> None:
    """The work of a job of walks."""
    context.each(lambda: Walks(bench_of(context)).measured)
