"""The order of products that may be what an object is: a logistic regression over what two crops have in common.

    score = w . (cosine, posterior of the product's category, likeness of colours, quality, engagement) + b

Weights are fitted to judged pairs where there are enough, else they are :data:`DEFAULT_WEIGHTS`. The order decides among what has passed
the gate (:mod:`corkboard.shopping.similarity_gate`), which knows the cosine alone: no engagement lifts an unrelated product over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact
from corkboard.retrieval.item_stats import ItemStats, stat
from corkboard.shopping.config import ShopTheLookConfig
from corkboard.shopping.judging import POSITIVE
from corkboard.shopping.look_index import Candidates, LookIndex
from corkboard.shopping.objects import FoundObjects
from corkboard.shopping.similarity_gate import SimilarityGate, judged_gate, logistic_regression, sigmoid, unlabelled_gate

KIND = "look_matcher"
FEATURES = ("cosine", "category", "colour", "quality", "engagement")
"""What is compared of an object and a product."""
DEFAULT_WEIGHTS = (10.0, 1.0, 1.0, 0.1, 0.1, -9.0)
"""Weights of :data:`FEATURES` and the bias, without judgements: how it looks decides, what people do breaks ties."""
_SHOWN_PRIOR = 20.0
"""A product's share of saves counts as if it had been shown so many more times and saved as often as others."""
_MOST_QUALITY = 3.0


@dataclass(frozen=True)
class Appeal:
    """How products fare anywhere, by row of the catalogue."""

    quality: np.ndarray
    """float32: log of the share of saves among times shown, in shares of all products together, within +-3; 0 where nothing is known."""
    engagement: np.ndarray
    """float32 in [0, 1]: log(1 + positive actions), in those of the most engaged product."""

    @classmethod
    def of(cls, stats: ItemStats, ids: list[str]) -> Appeal:
        """The appeal of items ``ids``, from counters of which all days count."""
        latest, positives = stats.latest(), stats.positives()
        saves, shown = latest[:, stat("save_28d")], latest[:, stat("impressions_28d")]
        usual = max(float(saves.sum()) / max(float(shown.sum()), 1.0), 1e-6)
        quality = np.clip(np.log((saves + _SHOWN_PRIOR * usual) / (shown + _SHOWN_PRIOR) / usual), -_MOST_QUALITY, _MOST_QUALITY)
        engagement = np.log1p(positives) / max(float(np.log1p(positives).max(initial=0.0)), 1e-6)
        row_of = {item_id: row for row, item_id in enumerate(stats.ids)}
        rows = np.array([row_of.get(item_id, -1) for item_id in ids], np.int64)
        return cls(*(_at(values.astype(np.float32), rows) for values in (quality, engagement)))


@dataclass(frozen=True)
class LookMatcher:
    """Scores candidates, and says which are similar enough."""

    weights: np.ndarray
    """float64 (6,): of :data:`FEATURES`, and the bias."""
    gate: SimilarityGate
    """Which similarity is similar enough."""
    judged: int = 0
    """Judged pairs that it was fitted to; 0 where weights are the default ones."""

    def features(
        self, objects: FoundObjects, row: int, candidates: Candidates, index: LookIndex, appeal: Appeal | None = None
    ) -> np.ndarray:
        """float32 ``(candidates, 5)``: :data:`FEATURES` of the object in ``row`` and each candidate."""
        colours = _likeness(objects.colours[row : row + 1], index.products.colours[candidates.places])
        return _stacked(candidates.cosines, candidates.agreement, colours, candidates.rows, appeal)

    def score(self, features: np.ndarray) -> np.ndarray:
        """float32 ``(n,)``: log odds of a good match, by the weights."""
        return (features @ self.weights[:-1] + self.weights[-1]).astype(np.float32)

    def chance(self, features: np.ndarray) -> np.ndarray:
        """float32 ``(n,)``: :meth:`score` as a probability."""
        return sigmoid(self.score(features)).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return {"weights": self.weights, **self.gate.tensors()}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The categories of an artefact."""
        return {"categories": pl.DataFrame({"name": self.gate.names}, schema={"name": pl.String})}

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {"kind": KIND, "features": list(FEATURES), "judged": self.judged}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> LookMatcher | None:
        """The matcher of an artefact written with :meth:`tensors`, :meth:`tables` and :attr:`config`; None of an empty one."""
        if artifact.config.get("kind") != KIND:
            return None
        gate = SimilarityGate.from_tensors(tuple(artifact.table("categories")["name"]), artifact.tensors)
        return cls(artifact.tensors["weights"], gate, artifact.config["judged"])


@dataclass(frozen=True)
class JudgedPairs:
    """n pairs of an object and a product that people have looked at."""

    queries: FoundObjects
    """The objects, each once."""
    query: np.ndarray
    """int64 (n,): row of ``queries``."""
    place: np.ndarray
    """int64 (n,): place of the product in the index."""
    grade: np.ndarray
    """int64 (n,): 0 (not similar) to 3 (extremely similar)."""

    def __len__(self) -> int:
        return len(self.query)


def fit_matcher(
    index: LookIndex,
    pairs: JudgedPairs | None = None,
    appeal: Appeal | None = None,
    config: ShopTheLookConfig | None = None,
    scenes: FoundObjects | None = None,
) -> LookMatcher:
    """The matcher of an index: fitted to judged pairs where there are at least ``gate.min_judged`` of them, of both outcomes.

    Else ``scenes``, objects that are not sold, say how near crops come to products at all.
    """
    config = config or ShopTheLookConfig()
    similar = np.zeros(0, bool) if pairs is None else pairs.grade >= POSITIVE
    if pairs is None or len(pairs) < config.gate.min_judged or similar.all() or not similar.any():
        return LookMatcher(np.array(DEFAULT_WEIGHTS), unlabelled_gate(index, config.duplicate, config.gate, scenes))
    features = pair_features(index, pairs, appeal)
    gate = judged_gate(index.names, features[:, 0], index.category[pairs.place], similar, config.gate)
    return LookMatcher(logistic_regression(features, similar, config.ridge), gate, len(pairs))


def pair_features(index: LookIndex, pairs: JudgedPairs, appeal: Appeal | None = None) -> np.ndarray:
    """float32 ``(pairs, 5)``: :data:`FEATURES` of judged pairs, as serving makes them."""
    products, queries = index.products, pairs.queries
    cosines = np.einsum("nd,nd->n", queries.vectors[pairs.query], products.vectors[pairs.place])
    agreement = np.stack([index.agreement(queries, row) for row in range(len(queries))])
    agreement = agreement[pairs.query, index.category[pairs.place]]
    colours = _likeness(queries.colours[pairs.query], products.colours[pairs.place])
    return _stacked(cosines, agreement, colours, index.rows[pairs.place], appeal)


def _stacked(cosines: np.ndarray, agreement: np.ndarray, colours: np.ndarray, rows: np.ndarray, appeal: Appeal | None) -> np.ndarray:
    fares = [np.zeros(len(rows), np.float32)] * 2 if appeal is None else [_at(appeal.quality, rows), _at(appeal.engagement, rows)]
    return np.column_stack([cosines, agreement, colours, *fares]).astype(np.float32)


def _likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float32: cosines of colour histograms in 255ths, rows of ``first`` (one, or as many) with those of ``second``."""
    first, second = first.astype(np.float32), second.astype(np.float32)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.maximum(lengths, 1e-6)


def _at(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``values`` at ``rows``; 0 where a row is not among them."""
    known = (rows >= 0) & (rows < len(values))
    out = np.zeros(len(rows), np.float32)
    out[known] = values[rows[known]]
    return out
