"""How ItemSage is trained: products to the vectors of those queries that they were chosen for, which stand still.

A step is the union of so many pairs of each task, which are the only weights of tasks; a scarce task is drawn from more often than it has
pairs. The loss is a sampled softmax with logQ against the other positives of the batch, plus one against random products. What a query
has as a positive in any task is no negative of it, nor are products that look the same, nor the item that is the query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from torch import Tensor

from corkboard.artifacts import EmbeddingTable
from corkboard.embeddings.config import ItemSageConfig
from corkboard.embeddings.itemsage import AT_ONCE, ItemSage
from corkboard.embeddings.itemsage_network import ItemSageNetwork
from corkboard.embeddings.product_inputs import TEXT_FIELDS, ProductInputs
from corkboard.errors import ConfigError, InputError
from corkboard.learning.hash_embedding import Bags, HashEmbedding, Vocabulary
from corkboard.learning.sampled_softmax import Draw, SampledSoftmax
from corkboard.learning.text import Tokens
from corkboard.learning.training import TrainingResult, seeded, train
from corkboard.seeds import generator

if TYPE_CHECKING:
    from corkboard.learning.training import Progress

_VALIDATION_PAIRS = 500
"""Pairs of a task that early stopping looks at."""


def train_itemsage(
    pairs: pl.DataFrame,
    products: ProductInputs,
    items: EmbeddingTable,
    queries: EmbeddingTable,
    config: ItemSageConfig | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> ItemSage:
    """Train an encoder of products into the space of ``items``, whose vectors and those of ``queries`` stay as they are.

    ``pairs`` are of :data:`corkboard.embeddings.product_pairs.PRODUCT_PAIR_SCHEMA`, image queries by ids of ``items``, text queries as
    ``queries`` has them as ids. The caller cuts all of it in time. Pairs whose product or query is unknown, or of which nothing is known,
    are left out. The encoder "sum" learns nothing, and images are all it reads. Raises :class:`SpaceMismatch` unless images, items and
    queries share one space.
    """
    return ItemSageTraining(pairs, products, items, queries, config or ItemSageConfig(), seed).run(progress)


class ItemSageTraining:
    """One training run: the products as the network reads them, pairs as (task, query, product), and a step over them.

    ``pairs`` int64 ``(m, 3)``: the place of the task in ``tasks``, the row of the query in ``vectors`` (items first, then texts), the row
    of the product. ``trained`` and ``validated`` are the pairs of distinct queries.
    """

    def __init__(
        self,
        pairs: pl.DataFrame,
        products: ProductInputs,
        items: EmbeddingTable,
        queries: EmbeddingTable,
        config: ItemSageConfig,
        seed: int,
    ):
        if config.encoder == "sum" and config.modalities == "text":
            raise ConfigError("The encoder sum is the mean of images and has nothing to say of text alone", found=config.modalities)
        items.space.require(products.image_space)
        items.space.require(queries.space)
        if not items.dim == queries.dim == products.images.shape[2]:
            found = (items.dim, queries.dim, products.images.shape[2])
            raise InputError("Items, queries and images have vectors of different widths", found=found, expected="one width")
        self.config, self.seed, self.items, self.products = config, seed, items, products
        self.vectors = torch.from_numpy(np.concatenate([items.vectors, queries.vectors]))
        self.network = self._network()
        self.read = self.network.read(products)
        self.corpus = np.flatnonzero(self.read.known)
        self.tasks = list(config.tasks)
        self.pairs = self._rows(pairs, queries)
        asked = np.unique(self.pairs[:, 1])
        held_out = np.zeros(len(self.vectors), bool)
        held_out[asked] = generator(seed, "itemsage", "held-out").random(len(asked)) < config.validation_share
        self.trained, self.validated = self.pairs[~held_out[self.pairs[:, 1]]], self.pairs[held_out[self.pairs[:, 1]]]
        self.of_task = [np.flatnonzero(self.trained[:, 0] == task) for task in range(len(self.tasks))]
        self.counts = batch_counts(config, [len(rows) for rows in self.of_task])
        self._own()
        self.result: TrainingResult | None = None

    def _network(self) -> ItemSageNetwork:
        """Untrained; the vocabulary is that of the products."""
        config = self.config
        bags = self.products.tokens(config.text)
        whole = Tokens(bags.hashes, bags.kinds, bags.offsets[:: len(TEXT_FIELDS)])
        vocabulary, frequency = Vocabulary.fit(whole, config.text)
        rarity = np.log((len(self.products) + 1) / (frequency + 0.5)).astype(np.float32)
        embedding = HashEmbedding.random(len(vocabulary), config.table_rows, config.text_width, self.seed, rarity)
        with seeded(self.seed, "itemsage", "start"):
            return ItemSageNetwork(config, self.items.dim, vocabulary, embedding)

    def _rows(self, pairs: pl.DataFrame, queries: EmbeddingTable) -> np.ndarray:
        task_of = {task: place for place, task in enumerate(self.tasks)}
        row_of = {item_id: row for row, item_id in enumerate(self.products.item_ids)}
        tasks = np.array([task_of.get(task, -1) for task in pairs["task"].to_list()], np.int64)
        images, texts = self.items.rows(pairs["query_item_id"].to_list()), queries.rows(pairs["query"].to_list())
        asked = np.where(texts >= 0, len(self.items) + texts, images)
        chosen = np.array([row_of.get(item_id, -1) for item_id in pairs["item_id"].to_list()], np.int64)
        known, said = np.append(self.read.known, False), np.append(self.vectors.any(dim=1).numpy(), False)  # the last ones are for -1
        return np.stack([tasks, asked, chosen], axis=1)[(tasks >= 0) & said[asked] & known[chosen]]

    def _own(self) -> None:
        """The numbers of look-alikes that each query has as positives, as bags; an item that is a query has its own, too."""
        rows = self.items.rows(self.products.item_ids)
        itself = np.stack([rows, self.products.lookalikes], axis=1)[rows >= 0]
        ends = np.concatenate([np.stack([self.pairs[:, 1], self.products.lookalikes[self.pairs[:, 2]]], axis=1), itself])
        ends = np.unique(ends, axis=0)
        self.own = Bags(ends[:, 1], np.searchsorted(ends[:, 0], np.arange(len(self.vectors) + 1)))

    def run(self, progress: Callable[[Progress], None] | None = None) -> ItemSage:
        """Train, and return the encoder of the best validation."""
        config = self.config
        if config.encoder == "sum":
            return ItemSage(config, self.items.space, self.items.dim, {})
        changes = {"in_batch": config.loss != "random", "separate_pools": config.loss != "mixed"}
        self.loss = SampledSoftmax(config.softmax.model_copy(update=changes), max(len(self.corpus), 1), self.seed)
        if len(self.trained) and sum(self.counts) and config.training.steps:
            validate = self.recall if len(self.validated) else None
            model = torch.nn.ModuleList([self.network, self.loss])
            self.result = train(model, self._loss, config.training, self.seed, validate=validate, progress=progress)
        return ItemSage(config, self.items.space, self.items.dim, self.network.tensors())

    # ---------------------------------------------------------------------------------------------------------------- step

    def drawn(self, draw: np.random.Generator) -> np.ndarray:
        """int64 ``(batch, 3)``: so many pairs of each task; a task that has too few is drawn from again and again, evenly."""
        return self.trained[np.concatenate([_again(rows, count, draw) for rows, count in zip(self.of_task, self.counts, strict=True)])]

    def _loss(self, draw: np.random.Generator) -> Tensor:
        pairs = self.drawn(draw)
        pool = self.corpus[draw.integers(0, len(self.corpus), self.config.pool if self.config.loss != "in_batch" else 0)]
        products = Draw.of(pairs[:, 2], pool)
        vectors = self.network(self.read.take(products.distinct))
        owned = torch.from_numpy(self.owned(pairs[:, 1], products.distinct))
        return self.loss(self.vectors[torch.from_numpy(pairs[:, 1])], vectors, products, owned=owned)

    def owned(self, queries: np.ndarray, distinct: np.ndarray) -> np.ndarray:
        """bool ``(batch, candidates)``: products that are no negatives of a query: its positives in any task, their look-alikes, itself."""
        own = self.own.take(queries)
        numbers = self.products.lookalikes[distinct]
        owned = np.zeros((len(queries), int(self.products.lookalikes.max(initial=0)) + 1), bool)
        owned[np.repeat(np.arange(len(queries)), np.diff(own.offsets)), own.ids] = True
        return owned[:, numbers]

    def recall(self) -> float:
        """Mean over tasks of recall@10 among all products of held-out queries; ties count against it, and the query itself is left out."""
        parts = np.split(self.corpus, range(AT_ONCE, len(self.corpus), AT_ONCE))
        vectors = torch.cat([self.network(self.read.take(part)) for part in parts])
        place = np.full(len(self.products), -1)
        place[self.corpus] = np.arange(len(self.corpus))
        product_of = np.full(len(self.vectors), -1)
        rows = self.items.rows(self.products.item_ids)
        product_of[rows[rows >= 0]] = place[rows >= 0]
        found = []
        for task in range(len(self.tasks)):
            pairs = self.validated[self.validated[:, 0] == task]
            pairs = pairs[generator(self.seed, "itemsage", "validation", task).permutation(len(pairs))[:_VALIDATION_PAIRS]]
            if not len(pairs):
                continue
            scores = (self.vectors[torch.from_numpy(pairs[:, 1])] @ vectors.T).numpy()
            wanted = scores[np.arange(len(pairs)), place[pairs[:, 2]]]
            itself = product_of[pairs[:, 1]]
            scores[np.flatnonzero(itself >= 0), itself[itself >= 0]] = -np.inf
            found.append(((scores >= wanted[:, None]).sum(axis=1) <= 10).mean())
        return float(np.mean(found))


def batch_counts(config: ItemSageConfig, sizes: Sequence[int]) -> list[int]:
    """Pairs of a step by task, the tasks of ``config`` in their order: shares of ``batch``, largest remainders rounded up.

    A task without pairs (``sizes``) gives its share to the others.
    """
    shares = config.shares.model_dump()
    parts = [task.split("_") for task in config.tasks]
    wanted = np.array([shares[kind] * shares[action] * (size > 0) for (kind, action), size in zip(parts, sizes, strict=True)], float)
    if not wanted.sum():
        return [0] * len(sizes)
    exact = config.batch * wanted / wanted.sum()
    counts = np.floor(exact + 1e-9).astype(int)
    counts[np.argsort(-(exact - counts), kind="stable")[: config.batch - counts.sum()]] += 1
    return counts.tolist()


def _again(rows: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """``count`` of ``rows``, none twice before all came once."""
    rounds = -(-count // max(len(rows), 1)) if count else 0
    return np.concatenate([np.empty(0, np.int64), *(draw.permutation(rows) for _ in range(rounds))])[:count].astype(np.int64)
