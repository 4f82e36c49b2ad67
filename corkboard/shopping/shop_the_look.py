"""Shop The Look: from the objects of a picture to products that can be bought, a few for each.

    object -> candidates of its category, those that may be shown -> the gate -> score -> one of each product -> spread over merchants

An object with too few results is not shown: no dot leads to an empty shelf. After Du et al. (KDD 2020) and the engineering posts before
it; weights and gate are ours, for the published ones are thresholds that were set by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corkboard.shopping.config import ShopTheLookConfig
from corkboard.shopping.look_index import LookIndex
from corkboard.shopping.matcher import Appeal, LookMatcher
from corkboard.shopping.objects import FoundObjects


@dataclass(frozen=True)
class Shelf:
    """The products of one object, the best first."""

    object: int
    """Row of the objects."""
    rows: np.ndarray
    """int64 (n,): rows of the catalogue."""
    scores: np.ndarray
    """float32 (n,): log odds by the matcher, what the order is made by."""
    probability: np.ndarray
    """float32 (n,): the chance to be the same or very similar, from the cosine alone."""
    features: np.ndarray
    """float32 (n, 5): :data:`corkboard.shopping.matcher.FEATURES`."""

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class ShoppedLook:
    """The answer to a picture."""

    shelves: list[Shelf]
    """In the order of the objects; those with enough results."""
    few: int
    """Objects that were dropped because too few products look like them."""


@dataclass(frozen=True)
class Ranked:
    """The candidates of one object, the best first; all arrays have a row a candidate."""

    places: np.ndarray
    """int64: places in the index."""
    rows: np.ndarray
    """int64: rows of the catalogue."""
    scores: np.ndarray
    """float32: log odds by the matcher."""
    probability: np.ndarray
    """float32: the chance to be the same or very similar, from the cosine alone."""
    features: np.ndarray
    """float32 (n, 5)."""
    passed: np.ndarray
    """bool: whether it is similar enough to be shown."""


def shop_the_look(
    objects: FoundObjects,
    index: LookIndex,
    matcher: LookMatcher,
    allowed: np.ndarray | None = None,
    k: int | None = None,
    *,
    appeal: Appeal | None = None,
    merchants: np.ndarray | None = None,
    config: ShopTheLookConfig | None = None,
) -> ShoppedLook:
    """At most k products for each of ``objects``.

    ``allowed`` is bool over rows of the catalogue: what is in stock, in the price range, not the asked item itself. ``merchants`` int
    ``(rows,)`` are numbers of merchants, -1 for none, which counts as a merchant of its own each time. The surest object chooses first; a
    product that it has taken is shown again only where another object would otherwise have too few.
    """
    config = config or ShopTheLookConfig()
    k = config.results if k is None else k
    ranked = [rank(objects, row, index, matcher, allowed, appeal, config) for row in range(len(objects))]
    first = np.argsort([-float(one.probability[one.passed].max(initial=0.0)) for one in ranked], kind="stable")
    taken: list[int] = []
    chosen: dict[int, list[int]] = {}
    for row in first.tolist():
        chosen[row] = _spread(ranked[row], index, taken, k, merchants, config)
        taken += ranked[row].places[chosen[row]].tolist()
    shelves, few = [], 0
    for row, one in enumerate(ranked):
        if len(chosen[row]) >= min(config.min_results, k):  # who asks for fewer is not told that there are too few
            at = chosen[row]
            shelves.append(Shelf(row, one.rows[at], one.scores[at], one.probability[at], one.features[at]))
        else:
            few += 1
    return ShoppedLook(shelves, few)


def rank(
    objects: FoundObjects,
    row: int,
    index: LookIndex,
    matcher: LookMatcher,
    allowed: np.ndarray | None = None,
    appeal: Appeal | None = None,
    config: ShopTheLookConfig | None = None,
    categories: Sequence[int] | None = None,
) -> Ranked:
    """The candidates of one object in the matcher's order; equal scores by the cosine. ``categories`` as of :meth:`LookIndex.search`."""
    config, gate = config or ShopTheLookConfig(), matcher.gate
    found = index.search(objects, row, config.candidates, allowed, unsure=config.unsure, calibrated=gate.probability, categories=categories)
    features = matcher.features(objects, row, found, index, appeal)
    scores, of_category = matcher.score(features), index.category[found.places]
    order = np.lexsort((found.places, -found.cosines, -scores))
    chance, passed = gate.probability(found.cosines, of_category), gate.passes(found.cosines, of_category)
    return Ranked(found.places[order], found.rows[order], scores[order], chance[order], features[order], passed[order])


def _spread(
    ranked: Ranked, index: LookIndex, taken: Sequence[int], k: int, merchants: np.ndarray | None, config: ShopTheLookConfig
) -> list[int]:
    """Which of ``ranked`` are shown: no near-duplicates, nothing that is taken, few of one merchant; then what is left, in that order."""
    vectors = index.products.vectors
    chosen: list[int] = []
    later: list[int] = []
    last: list[int] = []
    from_merchant: dict[int, int] = {}

    def is_new(n: int) -> bool:
        shown = ranked.places[chosen]
        return not len(shown) or float((vectors[shown] @ vectors[ranked.places[n]]).max()) <= config.duplicate

    used = set(taken)
    for n in np.flatnonzero(ranked.passed).tolist():
        if len(chosen) == k:
            break
        merchant = -1 if merchants is None or ranked.rows[n] >= len(merchants) else int(merchants[ranked.rows[n]])
        if int(ranked.places[n]) in used:
            last.append(n)
        elif not is_new(n):
            continue
        elif merchant >= 0 and from_merchant.get(merchant, 0) >= config.per_merchant:
            later.append(n)
        else:
            chosen.append(n)
            from_merchant[merchant] = from_merchant.get(merchant, 0) + 1
    for left, wanted in ((later, k), (last, min(config.min_results, k))):
        for n in left:
            if len(chosen) < wanted and is_new(n):
                chosen.append(n)
    return chosen
