"""How PinSage and MultiBiSage are trained: pairs that people engaged with together, on neighbours that walks have chosen before.

A step draws pairs and a random pool, and computes every item among them once. An item loses its neighbours, or one of its graphs, at
random, so that cold items are nothing new. Where the neighbours know the pairs, the two items of one are taken out of each other's
neighbours with a chance (``hide_positive``), or the model would learn to copy them. The reduced vectors are trained beside,
by a loss of their own that does not reach the full ones.

Torch is loaded when training starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import polars as pl

from corkboard.embeddings.config import GraphEncoderConfig, HardNegativeConfig, MultiBiSageConfig, PinSageConfig
from corkboard.embeddings.graph_encoder import GraphEncoder, only_graphs
from corkboard.embeddings.multibisage import MultiBiSage
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.embeddings.pinsage import PinSage
from corkboard.errors import InputError
from corkboard.graph.neighbour_lists import NeighbourLists
from corkboard.lake.calendar import DAY_MS
from corkboard.seeds import generator

if TYPE_CHECKING:
    from torch import Tensor

    from corkboard.learning.sampled_softmax import Draw
    from corkboard.learning.training import Progress, TrainingResult

Encoder = TypeVar("Encoder", bound=GraphEncoder)
_VALIDATION_PAIRS = 2000


def train_pinsage(
    features: NodeFeatures,
    lists: NeighbourLists,
    pairs: pl.DataFrame,
    config: PinSageConfig | None = None,
    seed: int = 0,
    now_ms: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    hard: np.ndarray | None = None,
) -> PinSage:
    """Train on ``pairs`` of :data:`corkboard.embeddings.pairs.PAIR_SCHEMA`; without any, the untrained network comes back.

    ``lists`` are over the items of ``features``; whoever wants other neighbours than the most visited gives other lists. ``hard`` int32
    ``(items, m)`` are each item's hard negatives to draw from, -1 where there are fewer: those between two ranks by personalised PageRank.
    ``now_ms`` is the cut (default: the latest pair).
    """
    config = config or PinSageConfig()
    graph = config.graph if config.graph in lists.graphs or not lists.graphs else lists.graphs[0]
    return GraphTraining(PinSage, features, only_graphs(lists, (graph,)), pairs, config, seed, now_ms, hard).run(progress)


def train_multibisage(
    features: NodeFeatures,
    lists: NeighbourLists,
    pairs: pl.DataFrame,
    config: MultiBiSageConfig | None = None,
    seed: int = 0,
    now_ms: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> MultiBiSage:
    """As :func:`train_pinsage`, on all graphs of ``lists``."""
    return GraphTraining(MultiBiSage, features, lists, pairs, config or MultiBiSageConfig(), seed, now_ms).run(progress)


def hard_count(step: int, steps: int, config: HardNegativeConfig) -> int:
    """Hard negatives a pair at ``step`` (0-based) of a run of ``steps``: n - 1 in epoch n, ``most`` at most."""
    return config.most if config.at_once else min(config.most, step * config.epochs // max(steps, 1))


class GraphTraining(Generic[Encoder]):
    """One training run."""

    def __init__(
        self,
        kind: type[Encoder],
        features: NodeFeatures,
        lists: NeighbourLists,
        pairs: pl.DataFrame,
        config: GraphEncoderConfig,
        seed: int,
        now_ms: int | None = None,
        hard: np.ndarray | None = None,
    ):
        n = len(features.item_ids)
        if hard is not None and (hard.ndim != 2 or len(hard) != n):
            raise InputError("Hard negatives need a row an item", found=hard.shape, expected=(n, "m"))
        self.config, self.seed, self.features, self.hard = config, seed, features, hard
        self.start = kind(config, lists.graphs, features.widths, features.spaces, max(lists.rows.shape[2], 1), {})
        self.start.check(features, lists)
        # what a step hides is taken out of these and put back
        self.lists = NeighbourLists(lists.graphs, lists.item_ids, lists.rows.copy(), lists.visits, lists.degrees.copy())
        self._read_pairs(pairs, now_ms)
        self.result: TrainingResult | None = None
        self.step = 0

    def _read_pairs(self, pairs: pl.DataFrame, now_ms: int | None) -> None:
        config, ids = self.config, self.features.item_ids
        row_of = pl.DataFrame({"item_id": list(ids), "row": np.arange(len(ids))}, schema={"item_id": pl.String, "row": pl.Int64})
        for side in ("left", "right"):
            named = row_of.rename({"item_id": f"{side}_id", "row": side})
            pairs = pairs.join(named, on=f"{side}_id", how="inner", maintain_order="left")
        # an item of which nothing is known has the zero vector, whatever the weights: its pairs teach nothing
        known = self.features.values.any(axis=1) | (self.lists.rows >= 0).any(axis=(0, 2))
        pairs = pairs.filter(pl.Series(known[pairs["left"].to_numpy()] & known[pairs["right"].to_numpy()], dtype=pl.Boolean))
        self.ends = np.stack([pairs["left"].to_numpy(), pairs["right"].to_numpy()], axis=1)
        self.users = pairs["user"].rank("dense").fill_null(0).to_numpy().astype(np.int64) if len(pairs) else np.empty(0, np.int64)
        times, weights = pairs["time_ms"].to_numpy(), pairs["weight"].to_numpy().astype(np.float64)
        if config.half_life_days is not None and len(pairs):
            weights = weights * 0.5 ** (((times.max() if now_ms is None else now_ms) - times) / DAY_MS / config.half_life_days)
        chances = generator(self.seed, "graph", "held-out").random(int(self.users.max(initial=0)) + 1)
        held_out = chances[self.users] < config.validation_share
        self.trained, self.validated = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self.cumulative = np.cumsum(weights[self.trained])

    def run(self, progress: Callable[[Progress], None] | None = None) -> Encoder:
        """Train, and return the encoder of the best validation."""
        import torch

        from corkboard.learning.sampled_softmax import SampledSoftmax
        from corkboard.learning.training import seeded, train

        n = len(self.features.item_ids)
        self.values = torch.from_numpy(np.asarray(self.features.values, np.float32))
        with seeded(self.seed, self.start.kind, "start"):
            self.network = self.start.network()
            losses = [SampledSoftmax(self.config.softmax, n, self.seed) for _ in range(2)]
        self.model = torch.nn.ModuleList([self.network, *losses])
        self.full_loss, self.small_loss = losses
        if len(self.trained) and self.config.training.steps:
            validate = self._recall if len(self.validated) else None
            self.result = train(self.model, self._loss, self.config.training, self.seed, validate=validate, progress=progress)
        weights = {name: value.detach().numpy().copy() for name, value in self.network.state_dict().items()}
        start = self.start
        return type(start)(self.config, start.graphs, start.widths, start.spaces, start.positions, weights)

    # ---------------------------------------------------------------------------------------------------------------- step

    def _loss(self, draw: np.random.Generator) -> Tensor:
        import torch

        from corkboard.learning.sampled_softmax import Draw

        config = self.config
        last = len(self.trained) - 1
        places = np.searchsorted(self.cumulative, draw.random(config.batch) * self.cumulative[-1], side="right").clip(max=last)
        chosen = self.trained[places]
        ends = draw.permuted(self.ends[chosen], axis=1)
        queries, positives = ends[:, 0], ends[:, 1]
        margin = isinstance(config, PinSageConfig) and config.loss == "margin"
        pool = draw.integers(0, len(self.values), config.margin_negatives if margin else config.pool)
        hard = self._hard(queries, positives, draw)
        items = Draw.of(positives, pool)
        nodes, place = np.unique(np.concatenate([queries, items.distinct, hard.ravel()[hard.ravel() >= 0]]), return_inverse=True)
        with self._hidden(nodes, ends, draw):
            vectors = self.network(self.values, self.lists, nodes)
        batch = _Batch(queries, positives, self.users[chosen], items, hard)
        first, second = place[: len(queries)], place[len(queries) : len(queries) + len(items.distinct)]
        loss = torch.zeros(())
        for made, softmax in ((vectors, self.full_loss), (self.network.reduced(vectors.detach()), self.small_loss)):
            q, candidates = made[torch.from_numpy(first)], made[torch.from_numpy(second)]
            own = made[torch.from_numpy(np.searchsorted(nodes, np.maximum(hard, nodes[0])))]
            if margin and softmax is self.full_loss:
                loss = loss + batch.margin(q, candidates, own, config.margin)
            else:
                loss = loss + softmax(q, candidates, items, queries, batch.users)
                loss = loss + batch.against_hard(q, candidates, own, softmax.temperature())
        self.step += 1
        return loss

    def _hard(self, queries: np.ndarray, positives: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """int64 ``(batch, m)`` hard negatives of this step, -1 where a query has none or has drawn its positive."""
        config = self.config
        if self.hard is None or not isinstance(config, PinSageConfig) or not self.hard.shape[1]:
            return np.empty((len(queries), 0), np.int64)
        count = hard_count(self.step, config.training.steps, config.hard)
        columns = draw.integers(0, self.hard.shape[1], (len(queries), count))
        found = self.hard[queries[:, None], columns].astype(np.int64)
        return np.where((found == positives[:, None]) | (found == queries[:, None]), -1, found)

    @contextmanager
    def _hidden(self, nodes: np.ndarray, ends: np.ndarray, draw: np.random.Generator | None) -> Iterator[None]:
        """Inside, ``nodes`` lack what a step hides from them: partners, graphs, or all of both. Without ``draw``: all partners, no more."""
        config, lists = self.config, self.lists
        rows, degrees = lists.rows[:, nodes], lists.degrees[:, nodes]
        one, other = np.concatenate([ends, ends[:, ::-1]]).T
        if draw is not None:
            chosen = np.tile(draw.random(len(ends)) < config.hide_positive, 2)
            one, other = one[chosen], other[chosen]
        block = lists.rows[:, one]
        graph, pair, column = np.nonzero(block == other[:, None])
        lists.rows[graph, one[pair], column] = -1
        if draw is not None:
            gone = np.repeat(draw.random((1, len(nodes))) < config.cold_share, len(lists.graphs), axis=0)
            if isinstance(config, MultiBiSageConfig):
                gone |= draw.random(gone.shape) < config.graph_dropout
            graph, node = np.nonzero(gone)
            lists.rows[graph, nodes[node]] = -1
            lists.degrees[graph, nodes[node]] = 0
        try:
            yield
        finally:
            lists.rows[:, nodes], lists.degrees[:, nodes] = rows, degrees

    # ---------------------------------------------------------------------------------------------------------- validation

    def _recall(self) -> float:
        """Recall@10 of the other end of held-out pairs among all items, partners hidden from each other; at most 2,000 pairs."""
        from corkboard.embeddings.content_training import pair_recall

        chosen = self.validated[generator(self.seed, "graph", "validation").permutation(len(self.validated))[:_VALIDATION_PAIRS]]
        nodes = np.arange(len(self.values))
        with self._hidden(np.unique(self.ends[chosen]), self.ends[chosen], None):
            vectors = self.network(self.values, self.lists, nodes).numpy()
        return pair_recall(vectors, self.ends[chosen], 10)


@dataclass(frozen=True)
class _Batch:
    """The rows of a step: queries, positives and users ``(batch,)``, the candidates, and ``hard`` negatives ``(batch, m)``, -1 for none."""

    queries: np.ndarray
    positives: np.ndarray
    users: np.ndarray
    items: Draw
    hard: np.ndarray

    def margin(self, queries: Tensor, candidates: Tensor, own: Tensor, margin: float) -> Tensor:
        """The max-margin loss against the pool and each query's hard negatives ``own`` ``(batch, m, dim)``."""
        import torch

        from corkboard.embeddings.pinsage_network import margin_loss
        from corkboard.learning.sampled_softmax import known_positives

        targets, pool = torch.from_numpy(self.items.positives), torch.from_numpy(np.unique(self.items.pool))
        ids = torch.from_numpy(self.items.distinct)
        removed = torch.from_numpy(self.queries)[:, None] == ids
        for groups in (self.queries, self.users):
            removed |= known_positives(torch.from_numpy(groups), targets, len(ids))
        scores = torch.cat([queries @ candidates[pool].T, _each(queries, own)], dim=1)
        removed = torch.cat([removed[:, pool], torch.from_numpy(self.hard < 0)], dim=1)
        return margin_loss(torch.linalg.vecdot(queries, candidates[targets]), scores, margin, removed)

    def against_hard(self, queries: Tensor, candidates: Tensor, own: Tensor, scale: Tensor) -> Tensor | float:
        """A softmax of the positive against the query's own hard negatives; they are drawn evenly, so log Q cancels."""
        import torch
        from torch.nn import functional

        if not self.hard.shape[1]:
            return 0.0
        positive = torch.linalg.vecdot(queries, candidates[torch.from_numpy(self.items.positives)])
        scores = _each(queries, own).masked_fill(torch.from_numpy(self.hard < 0), -1e9)
        logits = torch.cat([positive[:, None], scores], dim=1) * scale
        return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def _each(queries: Tensor, own: Tensor) -> Tensor:
    """``(batch, m)``: each query with vectors of its own, ``(batch, m, dim)``."""
    return (own @ queries[:, :, None])[:, :, 0]
