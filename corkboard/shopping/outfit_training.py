"""How the outfit model is trained: items of one outfit and different categories find each other among others of the wanted category.

A step draws pairs (anchor, positive) of training outfits. The candidates of an anchor are the positives of the whole batch that are of its
positive's category; with negatives of any category the model would learn what a bag is, not which bag goes with it. The item itself, and
whatever stands beside the anchor in another outfit, is no negative. The other loss is a hinge of one negative a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional

from corkboard.artifacts import EmbeddingTable
from corkboard.errors import InputError
from corkboard.learning.training import TrainingResult, seeded, train
from corkboard.metrics.outfits import NOTHING, Outfits, Scorer, answered, fill_in_the_blank
from corkboard.seeds import generator
from corkboard.shopping.outfit_config import OutfitModelConfig
from corkboard.shopping.outfit_model import OutfitModel
from corkboard.shopping.outfit_network import OutfitNetwork

if TYPE_CHECKING:
    from corkboard.learning.training import Progress

MIN_QUESTIONS = 40
"""With fewer questions of held-out outfits there is no early stopping: their share of right answers would be chance."""


def train_outfits(
    outfits: pl.DataFrame,
    visual: EmbeddingTable | None,
    appearance: EmbeddingTable | None = None,
    config: OutfitModelConfig | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> OutfitModel | None:
    """The outfit model of ``outfits``: outfit_id, item_id and category (a name or null), one row a place.

    ``visual`` are vectors of pictures, ``appearance`` chances of patterns, shades and styles; one of them may be None, and the model does
    not read it. Ids are those of the tables; items in neither are left out. None where no outfit has two known items of different
    categories: there is nothing to learn. The caller cuts in time.
    """
    return OutfitTraining(outfits, visual, appearance, config or OutfitModelConfig(), seed).run(progress)


@dataclass(frozen=True)
class OutfitItems:
    """What outfits are of: ids, inputs by name ``(n, width)`` with zeros where missing, and rows of ``categories`` int64 ``(n,)``."""

    ids: list[str]
    inputs: dict[str, np.ndarray]
    categories: list[str]
    category: np.ndarray


class OutfitTraining:
    """One training run: outfits as rows of items, ordered pairs of them, and a step over pairs."""

    def __init__(
        self,
        outfits: pl.DataFrame,
        visual: EmbeddingTable | None,
        appearance: EmbeddingTable | None,
        config: OutfitModelConfig,
        seed: int,
    ):
        missing = {"outfit_id", "item_id", "category"} - set(outfits.columns)
        if missing:
            raise InputError("Outfits lack columns", found=outfits.columns, expected=sorted(missing))
        self.config, self.seed = config, seed
        self.tables = {name: table for name, table in (("visual", visual), ("appearance", appearance)) if table is not None}
        if not self.tables:
            raise InputError(
                "There is nothing to read of items", found="no table", expected="visual vectors, chances of appearance, or both"
            )
        known = np.any([table.rows(outfits["item_id"].to_list()) >= 0 for table in self.tables.values()], axis=0)
        places = outfits.filter(pl.Series(known, dtype=pl.Boolean))
        self.items = _items(places, self.tables)
        row_of = {item_id: row for row, item_id in enumerate(self.items.ids)}
        rows = np.array([row_of[item_id] for item_id in places["item_id"].to_list()], np.int64)
        whole = Outfits.of(places["outfit_id"].to_list(), rows)
        held_out = generator(seed, "outfits", "held-out").random(len(whole)) < config.validation_share
        self.outfits = whole.take(np.flatnonzero(~held_out))
        self.questions = fill_in_the_blank(whole.take(np.flatnonzero(held_out)), self.items.category, seed)
        self.pairs, chance = ordered_pairs(self.outfits, self.items.category, config.pairs_per_outfit)
        self.ends = np.cumsum(chance)
        self.beside = _beside(self.outfits, len(self.items.ids))
        by_category = np.argsort(self.items.category, kind="stable")
        self.pool = by_category[np.isin(by_category, self.outfits.items)]
        self.result: TrainingResult | None = None

    def run(self, progress: Callable[[Progress], None] | None = None) -> OutfitModel | None:
        """Train, and return the model of the best validation."""
        if not len(self.pairs):
            return None
        with seeded(self.seed, "outfits", "start"):
            self.network = OutfitNetwork(self.config, self.items.inputs, len(self.items.categories) + 1)
        self.inputs = {name: torch.from_numpy(part) for name, part in self.items.inputs.items()}
        self.category = torch.from_numpy(self.items.category)
        validate = self.fitb if len(self.questions) >= MIN_QUESTIONS else None
        self.step = 0
        self.result = train(self.network, self._loss, self.config.training, self.seed, validate=validate, progress=progress)
        return self.model()

    def model(self) -> OutfitModel:
        """The model as it stands."""
        spaces = {name: table.space for name, table in self.tables.items()}
        return OutfitModel(self.config, self.items.categories, spaces.get("visual"), spaces.get("appearance"), self.network.tensors())

    def fitb(self) -> float:
        """The share of held-out questions that are answered rightly."""
        score = model_scorer(self.model(), self.items.inputs, [self._name(row) for row in self.items.category])
        q = self.questions
        return float(answered(q, score(q.given, q.category, q.answers), self.seed).mean())

    def _name(self, row: int) -> str | None:
        return self.items.categories[row] if row < len(self.items.categories) else None

    # ---------------------------------------------------------------------------------------------------------------- step

    def _loss(self, draw: np.random.Generator) -> Tensor:
        pairs = self.pairs[np.searchsorted(self.ends, draw.random(self.config.batch) * self.ends[-1], side="right")]
        self.step += 1
        return self._softmax(pairs) if self.config.loss == "softmax" else self._triplet(pairs, draw)

    def _softmax(self, pairs: np.ndarray) -> Tensor:
        rows, places = np.unique(pairs, return_inverse=True)
        styles = self._styles(rows)
        anchor, positive = torch.from_numpy(places.reshape(pairs.shape)).T
        wanted = self.category[torch.from_numpy(pairs[:, 1])]
        asked = self.network.asked(styles[anchor], self.category[torch.from_numpy(pairs[:, 0])], wanted)
        logits = asked @ styles[positive].T / self.config.temperature
        return functional.cross_entropy(logits.masked_fill(torch.from_numpy(~self.compared(pairs)), -torch.inf), torch.arange(len(pairs)))

    def compared(self, pairs: np.ndarray) -> np.ndarray:
        """bool ``(n, n)``: pair i is asked whether its positive is that of pair j. Always for i = j; never for what it has elsewhere."""
        anchor, positive = pairs.T
        kind = self.items.category[positive]
        allowed = np.ones((len(pairs), len(pairs)), bool) if self.config.negatives == "any" else kind[:, None] == kind[None, :]
        allowed &= (positive[:, None] != positive[None, :]) & (anchor[:, None] != positive[None, :])
        allowed &= ~self.beside[anchor][:, positive].toarray()
        np.fill_diagonal(allowed, True)
        return allowed

    def _triplet(self, pairs: np.ndarray, draw: np.random.Generator) -> Tensor:
        negatives = self.drawn_negatives(pairs, draw)
        rows, places = np.unique(np.concatenate([pairs, negatives], axis=1), return_inverse=True)
        styles = self._styles(rows)
        places = torch.from_numpy(places.reshape(len(pairs), -1))
        source, target = self.category[torch.from_numpy(pairs[:, 0])], self.category[torch.from_numpy(pairs[:, 1])]
        asked = self.network.asked(styles[places[:, 0]], source, target)
        right = (asked * styles[places[:, 1]]).sum(dim=1)
        wrong = torch.einsum("nd,nkd->nk", asked, styles[places[:, 2:]])
        taken = wrong[:, 0]
        if self.step > self.config.semi_hard_after * self.config.training.steps:
            below = wrong.masked_fill(wrong >= right[:, None], -torch.inf).max(dim=1).values
            taken = torch.where(torch.isfinite(below), below, taken)
        return torch.relu(taken - right + self.config.margin).mean()

    def drawn_negatives(self, pairs: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """int64 ``(n, drawn)``: training items drawn evenly, of the positive's category or of any, the positive itself where unlucky."""
        low, high = np.zeros(len(pairs), np.int64), np.full(len(pairs), len(self.pool))
        if self.config.negatives == "category":
            kinds, wanted = self.items.category[self.pool], self.items.category[pairs[:, 1]]
            low, high = np.searchsorted(kinds, wanted), np.searchsorted(kinds, wanted, side="right")
        drawn = self.pool[draw.integers(low[:, None], high[:, None], (len(pairs), self.config.drawn_negatives))]
        beside = np.asarray(self.beside[np.repeat(pairs[:, 0], drawn.shape[1]), drawn.ravel()]).reshape(drawn.shape)
        return np.where(beside | (drawn == pairs[:, :1]), pairs[:, 1:], drawn)

    def _styles(self, rows: np.ndarray) -> Tensor:
        places = torch.from_numpy(rows)
        return self.network.styles({name: part[places] for name, part in self.inputs.items()}, self.category[places])


def ordered_pairs(outfits: Outfits, category: np.ndarray, cap: int) -> tuple[np.ndarray, np.ndarray]:
    """(pairs int64 ``(m, 2)`` of items of one outfit and different categories, both ways; how often each is drawn, float64 ``(m,)``).

    The pairs of an outfit are drawn as often as ``cap`` pairs at most.
    """
    rows = outfits.rows()
    left, right = (part.ravel() for part in np.nonzero(~np.eye(rows.shape[1], dtype=bool)))
    owner = np.repeat(np.arange(len(rows)), len(left))
    pairs = np.stack([rows[:, left].ravel(), rows[:, right].ravel()], axis=1)
    kept = (pairs != NOTHING).all(axis=1) & (category[pairs[:, 0]] != category[pairs[:, 1]])
    pairs, owner = pairs[kept], owner[kept]
    count = np.bincount(owner, minlength=len(rows))[owner]
    return pairs, np.minimum(cap, count) / count


def model_scorer(model: OutfitModel, inputs: Mapping[str, np.ndarray], categories: list[str | None]) -> Scorer:
    """The model as a scorer of rows of ``inputs`` (by name), whose category names are ``categories``; wanted categories are its rows."""
    styles = model.encode(inputs.get("visual"), categories, inputs.get("appearance"))
    rows = model.category_rows(categories)

    def score(given: np.ndarray, category: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        asked = np.zeros((len(given), model.dim), np.float32)
        for column in given.T:
            there = np.flatnonzero(column != NOTHING)
            asked[there] += model.asked(styles[column[there]], rows[column[there]], category[there])
        asked /= np.maximum((given != NOTHING).sum(axis=1, keepdims=True), 1)
        return np.einsum("qd,qcd->qc", asked, styles[candidates])

    return score


def _items(places: pl.DataFrame, tables: Mapping[str, EmbeddingTable]) -> OutfitItems:
    known = places.unique("item_id", keep="first", maintain_order=True)
    ids = known["item_id"].to_list()
    categories = sorted(set(known["category"].drop_nulls().to_list()))
    row_of = {name: row for row, name in enumerate(categories)}
    rows = np.array([row_of.get(name, len(categories)) for name in known["category"].to_list()], np.int64)
    return OutfitItems(ids, {name: table.lookup(ids)[0] for name, table in tables.items()}, categories, rows)


def _beside(outfits: Outfits, items: int) -> sp.csr_matrix:
    """bool ``(items, items)``: the two stand in one outfit."""
    shape = (len(outfits), items)
    inside = sp.csr_matrix((np.ones(len(outfits.items), np.int32), (outfits.owner, outfits.items)), shape=shape)
    return (inside.T @ inside).astype(bool).tocsr()
