"""How OmniSearchSage is trained: all tasks in every step, over one encoding of the step's queries and one of its items.

A task has pairs of a query and what it is for: pins, products, products that were bought, the next query, and the item of a title. Its
loss is the published one, in-batch and random negatives in two softmaxes with logQ, added for the whole vector and, with a small weight,
for every prefix. The pairs of all tasks have one more loss for each frozen space, against the vectors that stand there (published: one for
each task). No item that a query has as a positive anywhere is a negative of it.

An engaged query stands in the text of the very items that it is a pair with. What is asked later does not, so that a model which learned to
look for the whole query in the text would be misled: an item is read without those queries that are its positives in the step, and without
those that are kept for validation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from corkboard.artifacts import EmbeddingTable
from corkboard.embeddings.omni_config import OmniSearchSageConfig
from corkboard.embeddings.omnisearchsage import OmniItems, OmniSearchSage
from corkboard.embeddings.omnisearchsage_network import ItemNetwork, OmniNetwork, start_of_items, unit_prefix
from corkboard.embeddings.omnisearchsage_pairs import TASKS
from corkboard.embeddings.query_pairs import query_text
from corkboard.embeddings.searchsage_network import NGramEncoder, PretrainedTextEncoder, load_text_encoder, start_of
from corkboard.errors import ConfigError
from corkboard.learning.hash_embedding import Bags
from corkboard.learning.sampled_softmax import Draw, SampledSoftmax
from corkboard.learning.training import TrainingResult, seeded, train
from corkboard.seeds import generator

if TYPE_CHECKING:
    from corkboard.learning.training import Progress

_VALIDATION_PAIRS = 2000


def train_omnisearchsage(
    pairs: pl.DataFrame,
    items: OmniItems,
    frozen: Sequence[EmbeddingTable] = (),
    config: OmniSearchSageConfig | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> OmniSearchSage:
    """Train queries and items into one space, and queries into each of the ``frozen`` spaces.

    ``pairs`` are of :data:`corkboard.embeddings.omnisearchsage_pairs.OMNI_PAIR_SCHEMA`. The caller cuts pairs, items and their enrichment
    in time. Pairs with items that are not known, or of which nothing is known, are left out; tables may lack items. Without any pair or
    title the model stays as it started. Raises :class:`ConfigError` for prefixes, or frozen vectors to be reached as they are, that are
    wider than the vectors.
    """
    return OmniTraining(pairs, items, frozen, config or OmniSearchSageConfig(), seed).run(progress)


@dataclass(frozen=True)
class Task:
    """Pairs as int64 ``(n, 2)`` rows of texts and targets, drawn by ``cumulative`` weights; ``own``: for every text its positives."""

    ends: np.ndarray
    cumulative: np.ndarray
    own: Bags

    def drawn(self, count: int, draw: np.random.Generator) -> np.ndarray:
        """int64 ``(count, 2)``."""
        place = np.searchsorted(self.cumulative, draw.random(count) * self.cumulative[-1], side="right")
        return self.ends[place.clip(max=len(self.ends) - 1)]


def owned(own: Bags, texts: np.ndarray, distinct: np.ndarray) -> Tensor:
    """bool ``(batch, candidates)``: which of the ``distinct`` targets, sorted, each of ``texts`` has as a positive anywhere."""
    mine = own.take(texts)
    place = np.searchsorted(distinct, mine.ids).clip(max=len(distinct) - 1)
    hit = distinct[place] == mine.ids
    found = np.zeros((len(texts), len(distinct)), bool)
    found[np.repeat(np.arange(len(texts)), np.diff(mine.offsets))[hit], place[hit]] = True
    return torch.from_numpy(found)


class OmniTraining:
    """One training run: the distinct texts, the tasks as rows of texts and items, and a step over all of them."""

    def __init__(self, pairs: pl.DataFrame, items: OmniItems, frozen: Sequence[EmbeddingTable], config: OmniSearchSageConfig, seed: int):
        widest = max([*config.prefixes, *(table.dim for table in frozen if config.compat == "identity")], default=0)
        if widest > config.dim:
            raise ConfigError("A vector has no prefix that is wider than itself", found=widest, expected=f"at most dim, {config.dim}")
        self.config, self.seed, self.items, self.frozen = config, seed, items, list(frozen)
        self.targets = [torch.from_numpy(table.lookup(items.item_ids)[0]) for table in frozen]
        self.there = [target.numpy().any(axis=1) for target in self.targets]
        said = items.features.values.any(axis=1) | (np.diff(items.offsets) > 0)
        self.corpus = np.flatnonzero(said)
        self._read_pairs(pairs, said)
        self.result: TrainingResult | None = None

    def _read_pairs(self, pairs: pl.DataFrame, said: np.ndarray) -> None:
        """Texts, tasks, what is held out, and the engaged queries in the items' texts."""
        config, items = self.config, self.items
        by_task = {name: pairs.filter((pl.col("task") == name) & (pl.col("weight") > 0)) for name in TASKS}
        queries = {text: query_text(text) for text in pairs["query"].unique().to_list()}
        named = list(items.titles) if config.shares.title else []
        asked = {*queries.values(), *by_task["query"]["target"].to_list()} - {""}
        self.texts = sorted(asked | {*named} - {""})
        self.text_of = {text: row for row, text in enumerate(self.texts)}
        self.asked = np.array([self.text_of[text] for text in sorted(asked)], np.int64)
        held_out = generator(self.seed, "omnisearchsage", "held-out").random(len(self.texts)) < config.validation_share
        row_of = {item_id: row for row, item_id in enumerate(items.item_ids) if said[row]}
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        validated = []
        for name, rows in by_task.items():
            to = self.text_of if name == "query" else row_of
            ends, kept = _ends([queries[text] for text in rows["query"]], rows["target"].to_list(), self.text_of, to)
            out = held_out[ends[:, 0]]
            found[name] = ends[~out], rows["weight"].to_numpy().astype(np.float64)[kept][~out]
            validated += [ends[out]] if name in ("pin", "product") else []
        self.validated = np.concatenate(validated)
        ends, _ = _ends(named, list(items.item_ids)[: len(named)], self.text_of, row_of)
        found["title"] = ends, np.ones(len(ends))
        self.tasks = self._tasks(found)
        origin = [self.text_of.get(text, -1) if mark else -1 for text, mark in zip(items.texts, items.asked, strict=True)]
        self.origin = np.array(origin, np.int64)
        self.owner = np.repeat(np.arange(len(items)), np.diff(items.offsets))
        self.open = ~((self.origin >= 0) & np.append(held_out, False)[self.origin])

    def _tasks(self, found: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Task]:
        """The tasks that have pairs and a share. Positives of items are those of all tasks; a query is no negative of itself."""
        of_items = np.concatenate([ends for name, (ends, _) in found.items() if name != "query"])
        every = np.arange(len(self.texts))
        self.own_items = self._own(of_items)
        own_queries = self._own(np.concatenate([found["query"][0], np.stack([every, every], axis=1)]))
        shares = self.config.shares.model_dump()
        return {
            name: Task(ends, np.cumsum(weights), own_queries if name == "query" else self.own_items)
            for name, (ends, weights) in found.items()
            if len(ends) and shares[name]
        }

    def _own(self, ends: np.ndarray) -> Bags:
        ends = np.unique(ends, axis=0)
        return Bags(ends[:, 1], np.searchsorted(ends[:, 0], np.arange(len(self.texts) + 1)))

    def run(self, progress: Callable[[Progress], None] | None = None) -> OmniSearchSage:
        """Train, and return the model of the best validation."""
        config, features = self.config, self.items.features
        with seeded(self.seed, "omnisearchsage", "start"):
            start = start_of_items(self.items.texts, config, self.seed)
            tower = ItemNetwork(config, *start, features.values.shape[1], config.dim)
            heads = [table.dim for table in self.frozen] if config.compat == "linear" else []
            self.network = OmniNetwork(self._encoder(), tower, config.dim, heads)
            names = [*self.tasks, *(f"frozen {k}" for k in range(len(self.frozen)))]
            corpora = {name: len(self.asked) if name == "query" else len(self.corpus) for name in names}
            self.losses = nn.ModuleDict({name: SampledSoftmax(config.softmax, max(n, 1), self.seed) for name, n in corpora.items()})
        self.read = self.network.encoder.read(self.texts)
        self.read_items = tower.read(self.items.texts, self.items.offsets, features.values)
        if self.tasks and config.training.steps:
            validate = self._recall if len(self.validated) else None
            model = nn.ModuleList([self.network, self.losses])
            self.result = train(model, self._loss, config.training, self.seed, validate=validate, progress=progress)
        weights = self.network.tensors()
        if config.compat == "identity":
            weights |= {f"heads.{k}.dim": np.array([table.dim], np.int64) for k, table in enumerate(self.frozen)}
        return OmniSearchSage(config, features.spaces, [table.space for table in self.frozen], weights, self.network.encoder.facts())

    def _encoder(self) -> NGramEncoder | PretrainedTextEncoder:
        query = self.config.query
        if query.encoder == "pretrained":
            return load_text_encoder(query)
        learned = [task.ends[:, 0] for task in self.tasks.values()]
        learned += [self.tasks["query"].ends[:, 1]] if "query" in self.tasks else []
        rows = np.unique(np.concatenate([np.empty(0, np.int64), *learned]))
        return NGramEncoder(query, *start_of([self.texts[row] for row in rows], query, self.seed))

    # ---------------------------------------------------------------------------------------------------------------- step

    def _counts(self) -> dict[str, int]:
        """Pairs of a step by task."""
        shares = {name: getattr(self.config.shares, name) for name in self.tasks}
        whole = sum(shares.values())
        return {name: max(round(self.config.batch * share / whole), 1) for name, share in shares.items()}

    def _loss(self, draw: np.random.Generator) -> Tensor:
        ends = {name: self.tasks[name].drawn(count, draw) for name, count in self._counts().items()}
        pool = self.corpus[draw.integers(0, max(len(self.corpus), 1), self.config.pool if len(self.corpus) else 0)]
        asked = self.asked[draw.integers(0, max(len(self.asked), 1), min(self.config.pool, len(self.asked)))]
        of_items = np.concatenate([np.empty((0, 2), np.int64), *(each for name, each in ends.items() if name != "query")])
        following = ends.get("query", np.empty((0, 2), np.int64))[:, 1]
        texts = np.unique(np.concatenate([*(each[:, 0] for each in ends.values()), following, asked if len(following) else following]))
        rows = np.unique(np.concatenate([of_items[:, 1], pool]))
        queries = self._encoded(texts)
        items = self.network.items(self.read_items.take(rows, self.open & ~self._positive(of_items)))
        losses = []
        for name, pairs in ends.items():
            place = torch.from_numpy(np.searchsorted(texts, pairs[:, 0]))
            drawn = Draw.of(pairs[:, 1], asked if name == "query" else pool)
            if name == "query":
                candidates = self.network.output(queries[torch.from_numpy(np.searchsorted(texts, drawn.distinct))])
            else:
                candidates = items[torch.from_numpy(np.searchsorted(rows, drawn.distinct))]
            losses.append(self._joint(name, pairs, self.network.output(queries[place]), candidates, drawn))
        if len(of_items) and self.config.compat_weight:
            encoded = queries[torch.from_numpy(np.searchsorted(texts, of_items[:, 0]))]
            losses += [self._compatible(k, of_items, encoded, pool) for k in range(len(self.frozen))]
        return torch.stack(losses).sum()

    def _encoded(self, texts: np.ndarray) -> Tensor:
        """``(n, width)`` of the encoder; zeros where nothing is known."""
        read = self.read.take(texts)
        return self.network.encoder(read) * torch.from_numpy(read.known)[:, None]

    def _positive(self, pairs: np.ndarray) -> np.ndarray:
        """bool over the items' texts: engaged queries that their items are about to be found by."""
        n = len(self.texts)
        return (self.origin >= 0) & np.isin(self.owner * n + self.origin, pairs[:, 1] * n + pairs[:, 0])

    def _joint(self, name: str, pairs: np.ndarray, queries: Tensor, candidates: Tensor, drawn: Draw) -> Tensor:
        """The loss of a task for the whole vector and its prefixes."""
        mine = owned(self.tasks[name].own, pairs[:, 0], drawn.distinct)
        widths = {self.config.dim: 1.0}
        if self.config.prefix_weight:
            widths = dict.fromkeys(self.config.prefixes, self.config.prefix_weight) | widths
        parts = [
            weight * self.losses[name](unit_prefix(queries, dim), unit_prefix(candidates, dim), drawn, owned=mine)
            for dim, weight in widths.items()
        ]
        return torch.stack(parts).sum()

    def _compatible(self, k: int, pairs: np.ndarray, encoded: Tensor, pool: np.ndarray) -> Tensor:
        """The loss of the pairs of all tasks against frozen space ``k``, over the items that have a vector there."""
        there = self.there[k]
        kept = there[pairs[:, 1]]
        if not kept.any():
            return encoded.sum() * 0
        pairs, encoded = pairs[kept], encoded[torch.from_numpy(kept)]
        drawn = Draw.of(pairs[:, 1], pool[there[pool]])
        target = self.targets[k]
        queries, candidates = unit_prefix(self._head(k)(encoded), target.shape[1]), target[torch.from_numpy(drawn.distinct)]
        mine = owned(self.own_items, pairs[:, 0], drawn.distinct)
        return self.config.compat_weight * self.losses[f"frozen {k}"](queries, candidates, drawn, owned=mine)

    def _recall(self) -> float:
        """Recall@10 among all items of held-out queries, at most 2,000 pairs, ties against it: the mean of the joint and the frozen spaces.

        The layers to frozen spaces take longer to learn than the joint one; looked at alone, it would stop them too early.
        """
        order = generator(self.seed, "omnisearchsage", "validation").permutation(len(self.validated))
        chosen = self.validated[order[:_VALIDATION_PAIRS]]
        distinct, place = np.unique(chosen[:, 0], return_inverse=True)
        encoded, wanted = self._encoded(distinct), np.searchsorted(self.corpus, chosen[:, 1])
        read = self.read_items.take(self.corpus, self.open)
        ends = [(self.network.output(encoded), unit_prefix(self.network.items(read), self.config.dim))]
        if self.config.compat_weight:
            ends += [(self._head(k)(encoded), target[torch.from_numpy(self.corpus)]) for k, target in enumerate(self.targets)]
        return float(np.mean([_recall_at_10(unit_prefix(queries, items.shape[1])[place], items, wanted) for queries, items in ends]))

    def _head(self, k: int) -> nn.Module:
        """The layer of queries to frozen space ``k``."""
        return self.network.heads[k] if self.config.compat == "linear" else self.network.output


def _recall_at_10(queries: Tensor, items: Tensor, wanted: np.ndarray) -> float:
    scores = (queries @ items.T).numpy()
    own = scores[np.arange(len(wanted)), wanted]
    return float(((scores >= own[:, None]).sum(axis=1) <= 10).mean())


def _ends(texts: list[str], targets: list[str], text_of: dict[str, int], target_of: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """int64 ``(m, 2)`` rows of the pairs of which both ends are known, and which of the given ones these are."""
    rows = [[text_of.get(text, -1), target_of.get(target, -1)] for text, target in zip(texts, targets, strict=True)]
    ends = np.array(rows, np.int64).reshape(-1, 2)
    kept = np.flatnonzero((ends >= 0).all(axis=1))
    return ends[kept], kept
