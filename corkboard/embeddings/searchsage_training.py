"""How SearchSage is trained: engaged queries and titles of items into vectors of items that stand still.

A step draws pairs of a query and an item, pairs of a title and its item, and a random pool of items. The loss is sampled softmax with logQ
over all items of the step; no item that a text has as a positive anywhere is a negative of it. Early stopping looks at queries that nothing
was learned from. Without the cap on pairs an item (:mod:`corkboard.embeddings.query_pairs`) popular items would be near to every query.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from corkboard.artifacts import EmbeddingTable
from corkboard.embeddings.config import SearchSageConfig
from corkboard.embeddings.query_pairs import query_text
from corkboard.embeddings.searchsage import SearchSage
from corkboard.embeddings.searchsage_network import NGramEncoder, SearchSageNetwork, load_text_encoder, start_of
from corkboard.learning.hash_embedding import Bags
from corkboard.learning.sampled_softmax import Draw, SampledSoftmax
from corkboard.learning.training import TrainingResult, seeded, train
from corkboard.seeds import generator

if TYPE_CHECKING:
    from corkboard.learning.training import Progress

_VALIDATION_PAIRS = 2000


def train_searchsage(
    pairs: pl.DataFrame,
    items: EmbeddingTable,
    titles: pl.DataFrame | None = None,
    config: SearchSageConfig | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> SearchSage:
    """Train an encoder into the space of ``items``, whose vectors stay as they are.

    ``pairs`` are of :data:`corkboard.embeddings.query_pairs.QUERY_PAIR_SCHEMA`; ``titles`` has ``item_id`` and ``title``. The caller cuts
    both in time. Items that ``items`` does not know or has zeros for are left out. Without any text the encoder knows nothing, and all
    its vectors are zeros.
    """
    return SearchSageTraining(pairs, items, titles, config or SearchSageConfig(), seed).run(progress)


class SearchSageTraining:
    """One training run: the distinct texts as the encoder reads them, pairs as rows of texts and items, and a step over them."""

    def __init__(self, pairs: pl.DataFrame, items: EmbeddingTable, titles: pl.DataFrame | None, config: SearchSageConfig, seed: int):
        self.config, self.seed, self.items = config, seed, items
        self.vectors = torch.from_numpy(items.vectors)
        self.corpus = np.flatnonzero(items.vectors.any(axis=1))
        queries = [query_text(text) for text in pairs["query"].to_list()]
        named = ["" if titles is None else query_text(title) for title in (titles["title"].to_list() if titles is not None else [])]
        self.texts = sorted({*queries, *named} - {""})
        text_of = {text: row for row, text in enumerate(self.texts)}
        self.pairs, kept = self._ends(queries, pairs["item_id"].to_list(), text_of)
        weights = pairs["weight"].to_numpy().astype(np.float64)[kept]
        wanted = config.title_share > 0 or not len(self.pairs)
        self.titles = self._ends(named, titles["item_id"].to_list() if titles is not None and wanted else [], text_of)[0]
        chances = generator(seed, "searchsage", "held-out").random(len(self.texts))
        held_out = chances[self.pairs[:, 0]] < config.validation_share
        self.trained, self.validated = self.pairs[~held_out], self.pairs[held_out]
        self.cumulative = np.cumsum(weights[~held_out])
        self._own()
        self.result: TrainingResult | None = None

    def _ends(self, texts: list[str], item_ids: list[str], text_of: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """int64 ``(m, 2)`` rows of texts and items of the pairs that can be learned from, and which of the given ones these are."""
        rows = self.items.rows(item_ids)
        known = np.zeros(len(self.items) + 1, bool)  # the last one is for -1
        known[self.corpus] = True
        ends = np.stack([np.array([text_of.get(text, -1) for text in texts[: len(rows)]], np.int64).reshape(-1), rows], axis=1)
        kept = np.flatnonzero((ends[:, 0] >= 0) & known[ends[:, 1]])
        return ends[kept], kept

    def _own(self) -> None:
        """What each text has as positives, as bags of items."""
        ends = np.unique(np.concatenate([self.trained, self.titles]), axis=0)
        self.own = Bags(ends[:, 1], np.searchsorted(ends[:, 0], np.arange(len(self.texts) + 1)))

    def run(self, progress: Callable[[Progress], None] | None = None) -> SearchSage:
        """Train, and return the encoder of the best validation."""
        config = self.config
        with seeded(self.seed, "searchsage", "start"):
            self.network = SearchSageNetwork(self._encoder(), self.items.dim)
            self.loss = SampledSoftmax(config.softmax, max(len(self.corpus), 1), self.seed)
        if config.trained == "output":
            self.network.encoder.requires_grad_(False)
        self.read = self.network.encoder.read(self.texts)
        if (len(self.trained) or len(self.titles)) and config.training.steps:
            validate = self._recall if len(self.validated) else None
            model = torch.nn.ModuleList([self.network, self.loss])
            self.result = train(model, self._loss, config.training, self.seed, validate=validate, progress=progress)
        return SearchSage(config, self.items.space, self.items.dim, self.network.tensors(), self.network.encoder.facts())

    def _encoder(self) -> NGramEncoder:
        if self.config.encoder == "pretrained":
            return load_text_encoder(self.config)
        learned = np.unique(np.concatenate([self.trained[:, 0], self.titles[:, 0]]))
        return NGramEncoder(self.config, *start_of([self.texts[row] for row in learned], self.config, self.seed))

    # ---------------------------------------------------------------------------------------------------------------- step

    def _drawn(self, draw: np.random.Generator) -> np.ndarray:
        """int64 ``(batch, 2)``: pairs by their weight, and titles evenly."""
        batch = self.config.batch
        share = 1.0 if not len(self.trained) else self.config.title_share if len(self.titles) else 0.0
        of_titles = round(batch * share)
        titles = self.titles[draw.integers(0, max(len(self.titles), 1), of_titles)]
        if of_titles == batch:
            return titles
        place = np.searchsorted(self.cumulative, draw.random(batch - of_titles) * self.cumulative[-1], side="right")
        return np.concatenate([self.trained[place.clip(max=len(self.trained) - 1)], titles])

    def _loss(self, draw: np.random.Generator) -> Tensor:
        ends = self._drawn(draw)
        items = Draw.of(ends[:, 1], self.corpus[draw.integers(0, len(self.corpus), self.config.pool)])
        distinct, place = np.unique(ends[:, 0], return_inverse=True)
        texts = self.network(self.read.take(distinct))[torch.from_numpy(place)]
        candidates = self.vectors[torch.from_numpy(items.distinct)]
        owned = self._owned(ends[:, 0], items.distinct)
        if self.config.loss == "triplet":
            return triplet(texts, candidates, torch.from_numpy(items.positives), owned, self.config.margin)
        return self.loss(texts, candidates, items, owned=owned)

    def _owned(self, texts: np.ndarray, distinct: np.ndarray) -> Tensor:
        """bool ``(batch, candidates)``: which candidates a text has as a positive anywhere."""
        place = np.full(len(self.items), -1)
        place[distinct] = np.arange(len(distinct))
        own = self.own.take(texts)
        rows, columns = np.repeat(np.arange(len(texts)), np.diff(own.offsets)), place[own.ids]
        owned = np.zeros((len(texts), len(distinct)), bool)
        owned[rows[columns >= 0], columns[columns >= 0]] = True
        return torch.from_numpy(owned)

    def _recall(self) -> float:
        """Recall@10 among all items of held-out queries, at most 2,000 pairs; ties count against it."""
        chosen = self.validated[generator(self.seed, "searchsage", "validation").permutation(len(self.validated))[:_VALIDATION_PAIRS]]
        distinct, place = np.unique(chosen[:, 0], return_inverse=True)
        scores = (self.network(self.read.take(distinct)) @ self.vectors[torch.from_numpy(self.corpus)].T).numpy()[place]
        wanted = scores[np.arange(len(chosen)), np.searchsorted(self.corpus, chosen[:, 1])]
        return float(((scores >= wanted[:, None]).sum(axis=1) <= 10).mean())


def triplet(texts: Tensor, candidates: Tensor, targets: Tensor, owned: Tensor, margin: float) -> Tensor:
    """Mean of ``max(0, margin - positive + negative)`` in cosines over all negatives: candidates that the text does not own."""
    scores = texts @ candidates.T
    negative = ~owned.scatter(1, targets[:, None], True)
    hinges = functional.relu(margin - scores.gather(1, targets[:, None]) + scores) * negative
    return hinges.sum() / negative.sum().clamp_min(1)
