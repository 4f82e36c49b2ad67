"""Which similarity is similar enough: a chance and a lower bound by category.

    P(the same or very similar | cosine, category c) = sigmoid(slope_c * cosine + offset_c);   a product passes where cosine >= least_c

**With judgements** slope and offset are a logistic regression on judged pairs of all categories, and a category moves the offset as far as
its own pairs outweigh ``shrinkage`` pairs like all others. ``least`` is the smallest similarity above which the share that was judged
similar reaches ``precision``, the category's own counts added to ``shrinkage`` pairs of the precision of all.

**Without** nobody has said what is similar; but products of a catalogue are different things, so what another product reaches says
nothing. Each product's nearest *other* product gives a distribution by category: the chance is the (logistic) share of it that lies below a
cosine, ``least`` its quantile. Mean, deviation and quantile are shrunk alike. That takes crops of scenes to be as near to their product as
pictures of the catalogue are to each other. Where light and pose make them less alike, no crop would pass; so the bound is moved down,
category by category, until ``shown`` of the things in the lake's own scenes have something to show. It stays above what nine of ten of
them reach among as many products of other categories, which they surely are not; and the chance stays as it is, for nobody has said that
what passes then is similar.

Cosines mean different things in different categories (a rug is like any rug), which is why one bound for all is either too strict or lets
through anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from corkboard.shopping.config import GateConfig

if TYPE_CHECKING:
    from corkboard.shopping.look_index import LookIndex
    from corkboard.shopping.objects import FoundObjects

NEVER = 1.0
"""The bound where no similarity is good enough: the very same picture alone passes."""
_MOST_PRODUCTS = 2_000
"""Products of a category whose nearest other is looked for; of more these, evenly spread."""
_STRANGE = 0.9
"""Of objects of scenes, so many stay below the bound where they are held against products of other categories."""
_AT_ONCE = 256
_LEAST_DEVIATION = 0.02
_UNKNOWN = (0.5, 0.25, 0.5)
"""Mean, deviation and quantile where no category has two products."""
_NEWTON_STEPS = 30


@dataclass(frozen=True)
class SimilarityGate:
    """What a cosine says, by category. Arrays are ``(categories + 1,)``: the last entry is for products of no category (-1)."""

    names: tuple[str, ...]
    """The categories, as the index numbers them."""
    slope: np.ndarray
    """float64, above 0."""
    offset: np.ndarray
    """float64."""
    least: np.ndarray
    """float64: the smallest cosine that passes."""
    judged: np.ndarray
    """int64: judged pairs of each; all zeros where it was fitted without."""

    def probability(self, cosines: np.ndarray, categories: np.ndarray) -> np.ndarray:
        """float32: the chance to be the same or very similar, of cosines and numbers of categories of one shape."""
        return sigmoid(self.slope[categories] * cosines + self.offset[categories]).astype(np.float32)

    def passes(self, cosines: np.ndarray, categories: np.ndarray) -> np.ndarray:
        """bool: whether each is similar enough."""
        return cosines >= self.least[categories]

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return {"slope": self.slope, "offset": self.offset, "least": self.least, "judged": self.judged}

    @classmethod
    def from_tensors(cls, names: tuple[str, ...], tensors: Mapping[str, np.ndarray]) -> SimilarityGate:
        """The gate of :meth:`tensors`."""
        return cls(names, *(tensors[name] for name in ("slope", "offset", "least", "judged")))


def judged_gate(
    names: tuple[str, ...], cosines: np.ndarray, categories: np.ndarray, similar: np.ndarray, config: GateConfig
) -> SimilarityGate:
    """The gate of judged pairs: cosines ``(n,)``, numbers of the products' categories (-1 for none), and whether each was similar."""
    cosines, similar = np.asarray(cosines, np.float64), np.asarray(similar, bool)
    slope, offset = logistic_regression(cosines[:, None], similar, ridge=1.0)
    slope = max(float(slope), 1e-3)
    shape = len(names) + 1
    slopes, offsets, least = np.full(shape, slope), np.full(shape, float(offset)), np.empty(shape)
    steps = np.unique(cosines)
    everywhere = _counts(cosines, similar, steps)
    least[:] = _least(everywhere, everywhere, 0.0, steps, config.precision)
    chance = sigmoid(slope * cosines + offset)
    prior = config.shrinkage * float((chance * (1 - chance)).mean())
    for category in np.unique(categories[categories >= 0]):
        mine = categories == category
        offsets[category] += _moved(slope * cosines[mine] + offset, similar[mine], prior)
        least[category] = _least(_counts(cosines[mine], similar[mine], steps), everywhere, config.shrinkage, steps, config.precision)
    return SimilarityGate(names, slopes, offsets, least, np.bincount(np.where(categories < 0, shape - 1, categories), minlength=shape))


def unlabelled_gate(index: LookIndex, duplicate: float, config: GateConfig, scenes: FoundObjects | None = None) -> SimilarityGate:
    """The gate of an index without judgements. Products more alike than ``duplicate`` are one product, not another.

    ``scenes`` are objects of the lake's own scenes, of which ``config.shown`` are to have an answer.
    """
    near = [nearest_other(index, category, duplicate) for category in (*range(len(index.names)), -1)]
    everything = np.concatenate(near)
    overall = np.array(_summary(everything, config.quantile) if len(everything) else _UNKNOWN)
    m = config.shrinkage
    figures = [
        (len(one) * np.array(_summary(one, config.quantile)) + m * overall) / (len(one) + m) if len(one) else overall for one in near
    ]
    mean, deviation, least = np.stack(figures).T
    moved = _domain_gap(index, least, scenes, config)
    slope = np.pi / np.sqrt(3) / np.maximum(deviation, _LEAST_DEVIATION)
    return SimilarityGate(index.names, slope, -slope * mean, least - moved, np.zeros(len(mean), np.int64))


def _domain_gap(index: LookIndex, least: np.ndarray, scenes: FoundObjects | None, config: GateConfig) -> np.ndarray:
    """float64 ``(categories + 1,)``, 0 and more: how far ``least`` must fall for ``config.shown`` of the objects of scenes to pass."""
    gaps, counts = np.zeros(len(least)), np.zeros(len(least))
    for number, name in enumerate(index.names) if scenes is not None else ():
        rows = _evenly(np.flatnonzero((scenes.table["category"] == name).fill_null(False).to_numpy()), _MOST_PRODUCTS)
        mine, others = np.flatnonzero(index.category == number), np.flatnonzero(index.category != number)
        if len(rows) and len(mine):
            wanted = np.quantile(_nearest(scenes, rows, index, mine), 1 - config.shown)
            strange = _nearest(scenes, rows, index, _evenly(others, len(mine)))
            floor = np.quantile(strange, _STRANGE) if len(others) else -1.0
            gaps[number], counts[number] = max(least[number] - max(wanted, floor), 0.0), len(rows)
    if counts.sum() < config.min_scene_objects or not config.shown:
        return np.zeros(len(least))
    overall = float(gaps @ counts / counts.sum())
    shrunk = (counts * gaps + config.shrinkage * overall) / np.maximum(counts + config.shrinkage, 1e-9)
    return np.where(counts > 0, shrunk, overall)


def _nearest(scenes: FoundObjects, rows: np.ndarray, index: LookIndex, places: np.ndarray) -> np.ndarray:
    """float32 ``(rows,)``: the cosine of each object to the nearest of some products; -1 where there are none."""
    products = index.products.vectors[places].T
    parts = np.array_split(rows, -(-len(rows) // _AT_ONCE))
    return np.concatenate([(scenes.vectors[part] @ products).max(axis=1, initial=-1.0) for part in parts])


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """``rows``, or so many of them evenly spread."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64))] if len(rows) else rows


def nearest_other(index: LookIndex, category: int, duplicate: float) -> np.ndarray:
    """float64: the cosine of products of a category (-1: of none) to the nearest other that is no duplicate; those that have one."""
    places = np.flatnonzero(index.category == category)
    asked = _evenly(places, _MOST_PRODUCTS)
    vectors, found = index.products.vectors[places], []
    for place in asked:
        cosines = vectors @ index.products.vectors[place]
        others = cosines[(places != place) & (cosines <= duplicate)]
        if len(others):
            found.append(float(others.max()))
    return np.array(found)


def logistic_regression(features: np.ndarray, labels: np.ndarray, ridge: float) -> np.ndarray:
    """float64 ``(dim + 1,)``: weights of ``features`` ``(n, dim)`` and, last, the bias, by Newton's method (IRLS).

    Features are brought to mean 0 and deviation 1 within; the penalty ``ridge / 2 * |w|^2`` is on those weights and not on the bias. A
    feature that never changes has weight 0.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels, np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, np.inf)
    design = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    penalty = np.diag([*[ridge] * features.shape[1], 1e-6])
    weights = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        chance = sigmoid(design @ weights)
        gradient = design.T @ (labels - chance) - penalty @ weights
        step = np.linalg.solve(design.T @ (design * (chance * (1 - chance))[:, None]) + penalty, gradient)
        weights += step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    slopes = weights[:-1] / scale
    return np.append(slopes, weights[-1] - slopes @ mean)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-values)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(values, np.float64)))


def _moved(scores: np.ndarray, similar: np.ndarray, prior: float) -> float:
    """How far a category's offset moves: the likeliest, with a normal prior of this precision around 0."""
    moved = 0.0
    for _ in range(_NEWTON_STEPS):
        chance = sigmoid(scores + moved)
        step = (float((similar - chance).sum()) - prior * moved) / (float((chance * (1 - chance)).sum()) + prior + 1e-9)
        moved += float(np.clip(step, -2, 2))
        if abs(step) < 1e-9:
            break
    return moved


def _counts(cosines: np.ndarray, similar: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs at or above each of ``steps`` (rising), and how many of them are similar."""
    place = np.searchsorted(steps, cosines)
    both = (np.bincount(place, minlength=len(steps)), np.bincount(place, similar.astype(np.float64), len(steps)))
    pairs, right = (np.cumsum(one[::-1])[::-1].astype(np.float64) for one in both)
    return pairs, right


def _least(
    counts: tuple[np.ndarray, np.ndarray], everywhere: tuple[np.ndarray, np.ndarray], m: float, steps: np.ndarray, precision: float
) -> float:
    """The smallest of ``steps`` above which precision is reached, with m pairs like everywhere added; :data:`NEVER` where none is."""
    pairs, right = counts
    shrunk = (right + m * everywhere[1] / everywhere[0]) / np.maximum(pairs + m, 1e-12)
    good = np.flatnonzero((shrunk >= precision) & (pairs + m > 0))
    return float(steps[good[0]]) if len(good) else NEVER


def _summary(values: np.ndarray, quantile: float) -> tuple[float, float, float]:
    return float(values.mean()), float(values.std()), float(np.quantile(values, quantile))
