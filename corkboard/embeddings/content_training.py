"""How the content tower is trained: co-engaged pairs, sampled softmax with logQ, fields left out at random."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.config import ContentConfig
from corkboard.embeddings.content import EPSILON, ContentTower, Network, described, untrained_from
from corkboard.embeddings.content_fields import AGE_FEATURES, FIELDS, age_features, read_items
from corkboard.lake.calendar import DAY_MS
from corkboard.learning.hash_embedding import Bags
from corkboard.learning.hash_embedding_torch import TrainableHashEmbedding
from corkboard.learning.sampled_softmax import Draw, SampledSoftmax
from corkboard.learning.training import Progress, TrainingResult, seeded, train
from corkboard.seeds import generator


class TrainableContentTower(nn.Module):
    """The torch twin of :class:`ContentTower`; starts as the untrained tower, for its network starts at zero."""

    def __init__(self, start: ContentTower, loss: SampledSoftmax):
        super().__init__()
        self.start = start
        self.embedding = TrainableHashEmbedding(start.embedding)
        self.scales = nn.Parameter(torch.from_numpy(start.scales.copy()))
        self.down = nn.Linear(len(FIELDS) * start.dim + AGE_FEATURES, start.settings.hidden)
        self.up = nn.Linear(start.settings.hidden, start.dim, bias=False)
        nn.init.zeros_(self.up.weight)
        self.loss = loss

    def forward(self, bags: Bags, ages: Tensor) -> Tensor:
        """float32 ``(n, dim)`` of ``n * len(FIELDS)`` bags and ``(n, AGE_FEATURES)`` ages, as :meth:`ContentTower.encode_tokens`."""
        fields = functional.normalize(self.embedding(bags), dim=1, eps=EPSILON).view(len(ages), len(FIELDS), -1)
        if self.training and self.start.settings.field_dropout:
            kept = torch.rand(fields.shape[:2]) >= self.start.settings.field_dropout
            fields = fields * kept[:, :, None]
        vectors = torch.einsum("nfd,f->nd", fields, self.scales)
        flat = torch.cat([fields.flatten(1), ages], dim=1)
        vectors = functional.normalize(vectors + self.up(functional.relu(self.down(flat))), dim=1, eps=EPSILON)
        return vectors * torch.from_numpy(described(bags))[:, None]

    def frozen(self) -> ContentTower:
        """The numpy tower with the present weights."""
        weights = (self.down.weight.T, self.down.bias, self.up.weight.T)
        network = Network(*(np.ascontiguousarray(value.detach().cpu().numpy()) for value in weights))
        return ContentTower(
            self.start.vocabulary, self.embedding.frozen(), self.scales.detach().cpu().numpy().copy(), network, self.start.settings
        )


class ContentTraining:
    """One training run: the items as bags, the pairs as rows, and a step over them."""

    def __init__(self, items: pl.DataFrame, pairs: pl.DataFrame, config: ContentConfig, seed: int, now_ms: int | None = None):
        self.config, self.seed = config, seed
        self.read = read_items(items, config.text)
        self.start = untrained_from(self.read, config, seed)
        self.bags = Bags.of(self.start.vocabulary.ids(self.read.tokens.hashes), self.read.tokens.offsets)
        self.now_ms = (
            int(max(self.read.created_ms.max(initial=0), pairs["time_ms"].to_numpy().max(initial=0))) if now_ms is None else now_ms
        )
        row_of = pl.DataFrame({"item_id": items["item_id"], "row": np.arange(len(items), dtype=np.int64)})
        joined = pairs.join(row_of.rename({"item_id": "left_id", "row": "left"}), on="left_id", how="inner", maintain_order="left")
        joined = joined.join(row_of.rename({"item_id": "right_id", "row": "right"}), on="right_id", how="inner", maintain_order="left")
        # an item that nothing is known of has the zero vector, whatever the weights: its pairs teach nothing
        known = described(self.bags)
        joined = joined.filter(pl.Series(known[joined["left"].to_numpy()] & known[joined["right"].to_numpy()], dtype=pl.Boolean))
        self.ends = np.stack([joined["left"].to_numpy(), joined["right"].to_numpy()], axis=1)
        self.users = joined["user"].rank("dense").fill_null(0).to_numpy().astype(np.int64) if len(joined) else np.empty(0, np.int64)
        weights = joined["weight"].to_numpy().astype(np.float64)
        held_out = generator(seed, "content", "held-out").random(int(self.users.max(initial=0)) + 1)[self.users] < config.validation_share
        self.trained, self.validated = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self.cumulative = np.cumsum(weights[self.trained])
        self.result: TrainingResult | None = None

    def run(self, progress: Callable[[Progress], None] | None = None) -> ContentTower:
        """Train, and return the tower of the best validation."""
        if not len(self.trained) or not self.config.training.steps:
            return self.start
        with seeded(self.seed, "content", "start"):
            self.model = TrainableContentTower(self.start, SampledSoftmax(self.config.softmax, len(self.read), self.seed))
        validate = self._recall if len(self.validated) else None
        self.result = train(self.model, self._loss, self.config.training, self.seed, validate=validate, progress=progress)
        return self.model.frozen()

    def _loss(self, draw: np.random.Generator) -> Tensor:
        config = self.config
        chosen = self.trained[
            np.searchsorted(self.cumulative, draw.random(config.batch) * self.cumulative[-1], side="right").clip(max=len(self.trained) - 1)
        ]
        ends = draw.permuted(self.ends[chosen], axis=1)
        queries, positives = ends[:, 0], ends[:, 1]
        pool = draw.integers(0, len(self.read), config.pool)
        items = Draw.of(positives, pool)
        rows, place = np.unique(np.concatenate([queries, items.distinct]), return_inverse=True)
        # a random moment of the last weeks: the age must help without deciding, for it moves on after training
        now_ms = self.now_ms - int(draw.integers(0, 28)) * DAY_MS
        vectors = self.model(self.bags.take(_bags_of(rows)), torch.from_numpy(age_features(self.read.created_ms[rows], now_ms)))
        place_of = torch.from_numpy(place)
        return self.model.loss(vectors[place_of[: len(queries)]], vectors[place_of[len(queries) :]], items, queries, self.users[chosen])

    def _recall(self) -> float:
        """Recall@10 of the other end of held-out pairs among all items, at most 2,000 pairs."""
        chosen = self.validated[generator(self.seed, "content", "validation").permutation(len(self.validated))[:2000]]
        vectors = self.model(self.bags, torch.from_numpy(age_features(self.read.created_ms, self.now_ms))).numpy()
        return pair_recall(vectors, self.ends[chosen], 10)


def pair_recall(vectors: np.ndarray, ends: np.ndarray, k: int) -> float:
    """Share of pairs ``(m, 2)`` whose second row is among the k nearest to the first, itself left out; ties count against it."""
    found = 0
    for start in range(0, len(ends), 512):
        left, right = ends[start : start + 512].T
        scores = vectors[left] @ vectors.T
        wanted = scores[np.arange(len(left)), right]
        scores[np.arange(len(left)), left] = -np.inf
        found += int(((scores >= wanted[:, None]).sum(axis=1) - 1 < k).sum())
    return found / max(len(ends), 1)


def _bags_of(rows: np.ndarray) -> np.ndarray:
    return (rows[:, None] * len(FIELDS) + np.arange(len(FIELDS))).ravel()
