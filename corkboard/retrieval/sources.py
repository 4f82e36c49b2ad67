"""Ways to find candidates, each from what is known at the moment of the request.

None of them knows topics. What a person wants now reaches the page through the vectors of the items they just acted on; what they
want in the long run through the user vector of the nightly batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from corkboard.embeddings.pinnersage import in_turns, interests
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.schema import POSITIVE
from corkboard.retrieval.candidates import HOUR_MS, CandidateRequest, Candidates, Source, merged, recent_items
from corkboard.retrieval.config import ActionWeights, BlendConfig, SourceConfig
from corkboard.retrieval.index import Index
from corkboard.retrieval.item_stats import ItemStats, stat
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.seeds import derive

if TYPE_CHECKING:
    from corkboard.retrieval.walks import WalkedGraph


ITEMSAGE = "itemsage"
"""The source of what can be bought, by its ItemSage vectors."""


@dataclass(frozen=True)
class RetrievalParts:
    """What a release brings for retrieval. Every part may be missing; its sources are then left out."""

    index: Index | None = None
    """Content vectors over the rows of the catalogue, live items included."""
    item_knn: NeighbourTable | None = None
    """Neighbours by co-engagement, over frozen catalogue rows."""
    boards: NeighbourTable | None = None
    """Neighbours by public boards, over frozen catalogue rows."""
    stats: ItemStats | None = None
    """Counters over frozen catalogue rows."""
    embedding: Index | None = None
    """Item embeddings over the rows of the catalogue, live items included: the space of the user vectors."""
    graph_vectors: Index | None = None
    """Vectors from the graph (MultiBiSage) over the rows of the catalogue, live items included."""
    walks: WalkedGraph | None = None
    """The graph that walks go over, in rows of the catalogue."""
    products: Index | None = None
    """ItemSage vectors of what can be bought, over the rows of the catalogue, live items included: what vectors of the graph ask."""


class NearestSource:
    """The nearest items to each of the last positive actions, in shares by the action's kind and age."""

    name = "nearest"

    def __init__(self, index: Index, config: SourceConfig):
        self._index, self._config = index, config

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """One search for all actions; each gets places by its weight, and all together fewer when they are old.

        An item that nothing is known of has no vector: actions on it ask for nothing, and it is near to nothing.
        """
        config = self._config
        rows, weights, ages_ms = recent_items(request, config.nearest_actions, config.weights)
        vectors = self._index.vectors_of(rows)
        known = vectors.any(axis=1)
        rows, weights, ages_ms, vectors = rows[known], weights[known], ages_ms[known], vectors[known]
        if not len(rows) or k < 1:
            return Candidates()
        fades = 1 / (1 + ages_ms / (config.nearest_fade_hours * HOUR_MS))
        weights = (weights * fades).astype(np.float32)
        wanted = int(np.ceil(k * np.clip(fades.sum() / config.nearest_saturation, config.nearest_min_share, 1.0)))
        places = wanted * weights / weights.sum()
        allowed = request.without(rows)
        near, cosines = self._index.search(vectors, min(wanted, int(4 * places.max()) + 1), allowed, self._index.space)
        there = near >= 0
        scores = (weights[:, None] * np.maximum(cosines, 0))[there]
        seeds = np.broadcast_to(rows[:, None], near.shape)[there]
        chosen = _in_shares(near[there], (np.arange(near.shape[1]) / places[:, None])[there], wanted)
        return Candidates.best(request, *merged(near[there][chosen], scores[chosen], seeds[chosen]), k)


class UserVectorSource:
    """The items nearest to the user's own vector, which the nightly batch made of months of actions (PinnerFormer)."""

    name = "pinnerformer"

    def __init__(self, index: Index):
        self._index = index

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """By cosine; nothing for a user without a vector. What was acted on before is what the vector is made of, and left out."""
        vector = request.user_vector
        if vector is None or not vector.any() or k < 1:
            return Candidates()
        near, cosines = self._index.search(vector, k, request.without_acted_on(), self._index.space)
        there = near[0] >= 0
        return Candidates.best(request, near[0][there], cosines[0][there], None, k)


class PixieSource:
    """Where random walks over boards lead from the last positive actions."""

    name = "pixie"

    def __init__(self, walks: WalkedGraph, config: SourceConfig):
        self._walks, self._config = walks, config

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """By visits, with what several actions lead to before what one leads to often. An action weighs its kind x
        ``2 ** (-age / half-life)``. A walk does not tell which action it came from, so there are no seeds."""
        return request.once(self.name, k, self._config.candidates, lambda most: self._walked(request, most))

    def _walked(self, request: CandidateRequest, k: int) -> Candidates:
        config = self._config
        rows, weights = faded_items(request, config.pixie_actions, config.pixie_half_life_days, config.weights)
        found, scores = self._walks.recommend(rows, weights, k, request.without_acted_on())
        return Candidates.best(request, found, scores, None, k)


class PinnerSageSource:
    """Nearest to a few items that stand for what the user acted on (:mod:`corkboard.embeddings.pinnersage`).

    Items are grouped by their vectors in ``index``. What is near is looked for there, or in ``searched``, an index of the same space:
    ItemSage's, which holds what can be bought.
    """

    def __init__(self, index: Index, config: SourceConfig, searched: Index | None = None, name: str = "pinnersage"):
        """Raises :class:`SpaceMismatch` where the two are not of one space."""
        self.name, self._index, self._config = name, index, config
        self._searched = index if searched is None else searched
        self._searched.space.require(index.space)

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """The lists of a few medoids in turns; the score is 1 / (1 + place) in the list, the seed its medoid.

        Medoids are drawn in proportion to importance, anew every hour and the same all through it. Items that nothing is known of are in
        no group, and one that left the catalogue stands for none.
        """
        if k < 1:
            return Candidates()
        return request.once(self.name, k, self._config.candidates, lambda most: self._nearest(request, most))

    def _nearest(self, request: CandidateRequest, k: int) -> Candidates:
        config = self._config.pinnersage
        rows, _, ages_ms = recent_items(request, config.max_items, self._config.weights)
        if not len(rows):
            return Candidates()
        # only ratios of importance matter, so days count from the newest action: who comes back after years is still known
        ages_days = (ages_ms - ages_ms.min()) / DAY_MS
        found = interests(self._index.vectors_of(rows), ages_days, config, request.catalogue.available[rows])
        found = found.sampled(config.searched, derive(0, "pinnersage", request.state.user_id, request.now_ms // HOUR_MS))
        if not len(found):
            return Candidates()
        near, _ = self._searched.search(found.vectors, k, request.without_acted_on(), self._index.space)
        brought, groups, places = in_turns(near, k)
        return Candidates.best(request, brought, (1 / (1 + places)).astype(np.float32), rows[found.medoids][groups], k)


class NeighbourSource:
    """Neighbours of the recent history in a table, such as item-kNN's or that of shared boards."""

    def __init__(self, name: str, table: NeighbourTable, config: SourceConfig):
        self.name, self._table, self._config = name, table, config

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """Sum over the history of weight x similarity."""
        rows, weights = _faded_history(request, self._config)
        found, scores, origin = self._table.expand(rows, weights)
        new = ~np.isin(found, rows)
        return Candidates.best(request, found[new], scores[new], rows[origin[new]], k)


class PopularSource:
    """The most engaged items of a window, the same for everybody. ``scores`` is ``(frozen items,)``."""

    def __init__(self, name: str, scores: np.ndarray):
        self.name = name
        order = np.argsort(-scores, kind="stable")
        self._order = order[scores[order] > 0]
        self._scores = scores.astype(np.float32)

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """The first k allowed ones. An item that nobody engaged with in the window is not popular, whatever else is missing."""
        step = max(4 * k, 256)
        for stop in range(step, len(self._order) + step, step):
            rows = self._order[:stop]
            rows = rows[request.allows(rows)]
            if len(rows) >= k or stop >= len(self._order):
                rows = rows[:k]
                return Candidates(rows.astype(np.int64), self._scores[rows], np.full(len(rows), -1, np.int64))
        return Candidates()


class FreshSource:
    """What is new or hardly anybody has acted on: by nearness to what the person engaged with lately, and by newness.

    Sources that count actions cannot bring such items, and in a list of what is near anything with edges stands before them. So
    they have a list to themselves.
    """

    name = "fresh"

    def __init__(self, index: Index | None, actions: np.ndarray | None, config: SourceConfig):
        """``actions`` is ``(frozen items,)``: positive actions on each item, ever; None: nobody counted."""
        self._index, self._config = index, config
        self._little_known = np.empty(0, np.int64) if actions is None else np.flatnonzero(actions < config.little_known)

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """Items first seen in the last ``fresh_days``, or with fewer than ``little_known`` actions.

        The score is newness in [0, 1] x ``fresh_newness`` plus the mean, over the history, of ``max(cosine, 0) ** fresh_sharpness``: one
        action that is very near counts more than many that are somewhat near. Without history, newness alone.
        """
        return request.once(self.name, k, self._config.candidates, lambda most: self._found(request, most))

    def _found(self, request: CandidateRequest, k: int) -> Candidates:
        config, created = self._config, request.catalogue.created_ms[: len(request.allowed)]
        newness = np.clip(1 - (request.now_ms - created) / (config.fresh_days * DAY_MS), 0, 1)
        fresh = newness > 0
        fresh[self._little_known[self._little_known < len(fresh)]] = True
        fresh &= request.allowed[: len(fresh)] & (created <= request.now_ms)
        near, scores, seeds = self._near(request, fresh, k)
        if not len(near):
            near = np.flatnonzero(fresh)
            scores, seeds = np.zeros(len(near)), np.full(len(near), -1, np.int64)
        return Candidates.best(request, near, (scores + config.fresh_newness * newness[near]).astype(np.float32), seeds, k)

    def _near(self, request: CandidateRequest, fresh: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows that are among the k nearest fresh ones to some item of the history, with scores and the item of the largest part."""
        nothing = np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
        if self._index is None or k < 1:
            return nothing
        config = self._config
        rows, weights = faded_items(request, config.fresh_actions, config.history_half_life_days, config.weights)
        vectors = self._index.vectors_of(rows)
        known = vectors.any(axis=1)
        rows, weights, vectors = rows[known], weights[known], vectors[known]
        if not len(rows):
            return nothing
        near, cosines = self._index.search(vectors, k, fresh, self._index.space)
        there = near >= 0
        parts = (weights / weights.sum())[:, None] * np.maximum(cosines, 0) ** config.fresh_sharpness
        return merged(near[there], parts[there], np.broadcast_to(rows[:, None], near.shape)[there])


class CreatorSource:
    """More by the creators of recently engaged items; the better engaged ones first."""

    name = "same_creator"

    def __init__(self, quality: np.ndarray, config: SourceConfig):
        self._quality, self._config = quality, config

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """Weight of the creator (summed over the history) x quality of the item."""
        rows, weights = _faded_history(request, self._config)
        codes = request.catalogue.codes("creator_id")[rows]
        wanted, place = np.unique(codes[codes >= 0], return_inverse=True)
        if not len(wanted):
            return Candidates()
        summed = np.bincount(place, weights[codes >= 0])
        heaviest = np.argsort(-summed, kind="stable")[: self._config.max_creators]
        seed_of = {int(code): int(row) for code, row in zip(codes[::-1], rows[::-1], strict=True)}
        return _by_creators(request, wanted[heaviest], summed[heaviest], self._quality, k, exclude=rows, seed_of=seed_of)


class FollowedSource:
    """Items of creators whom the person follows; new and well engaged ones first."""

    name = "followed"

    def __init__(self, quality: np.ndarray, config: SourceConfig):
        self._quality, self._config = quality, config

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """Quality plus newness, over all followed creators alike."""
        codes = np.array([request.catalogue.code("creator_id", creator) for creator in sorted(request.state.follows)], np.int64)
        codes = codes[codes >= 0][: self._config.max_creators]
        if not len(codes):
            return Candidates()
        return _by_creators(request, codes, np.ones(len(codes)), self._quality, k, newness_days=self._config.fresh_days)


def build_sources(parts: RetrievalParts, config: SourceConfig) -> tuple[list[Source], list[str]]:
    """The sources that ``parts`` allow for, and a note for each that had to be left out. A source with quota 0 is neither."""
    quality = item_quality(parts.stats)
    actions = None if parts.stats is None else parts.stats.positives()
    possible: dict[str, Source | str] = {
        "nearest": "no content index" if parts.index is None else NearestSource(parts.index, config),
        "item_knn": "no item-kNN" if parts.item_knn is None else NeighbourSource("item_knn", parts.item_knn, config),
        "popular_1d": "no item statistics" if parts.stats is None else PopularSource("popular_1d", engagement(parts.stats, "1d")),
        "popular_7d": "no item statistics" if parts.stats is None else PopularSource("popular_7d", engagement(parts.stats, "7d")),
        "fresh": FreshSource(parts.index if parts.graph_vectors is None else parts.graph_vectors, actions, config),
        "same_creator": CreatorSource(quality, config),
        "same_board": "no board neighbours" if parts.boards is None else NeighbourSource("same_board", parts.boards, config),
        "followed": FollowedSource(quality, config),
        "pinnerformer": "no item embeddings" if parts.embedding is None else UserVectorSource(parts.embedding),
        "pixie": "no graph" if parts.walks is None else PixieSource(parts.walks, config),
        "pinnersage": "no graph vectors" if parts.graph_vectors is None else PinnerSageSource(parts.graph_vectors, config),
        ITEMSAGE: _product_source(parts, config),
    }
    return wanted_sources(possible, config)


def _product_source(parts: RetrievalParts, config: SourceConfig) -> Source | str:
    if parts.products is None or parts.graph_vectors is None:
        return "no product vectors"
    return PinnerSageSource(parts.graph_vectors, config, parts.products, ITEMSAGE)


def wanted_sources(possible: Mapping[str, Source | str], config: BlendConfig) -> tuple[list[Source], list[str]]:
    """Of the sources by name, or why there is none, those with a quota; and a note for each that is wanted and not there."""
    wanted = {name: source for name, source in possible.items() if config.quota(name) > 0}
    notes = [f"source {name} left out: {source}" for name, source in wanted.items() if isinstance(source, str)]
    return [source for source in wanted.values() if not isinstance(source, str)], notes


def engagement(stats: ItemStats, window: str, weights: ActionWeights | None = None) -> np.ndarray:
    """float32 ``(items,)``: weighted positive actions of a window ("1d", "7d", "28d" or "decayed") as of the latest day."""
    weight_of = (weights or ActionWeights()).model_dump()
    columns = [stat(f"{name}_{window}") for name in POSITIVE]
    return stats.latest()[:, columns] @ np.array([weight_of.get(name, 0.0) for name in POSITIVE], np.float32)


def item_quality(stats: ItemStats | None) -> np.ndarray:
    """float32 ``(items,)`` in [0, 1]: the share of items with less decayed engagement. Empty without statistics."""
    if stats is None or not stats.ids:
        return np.empty(0, np.float32)
    scores = engagement(stats, "decayed")
    return (np.searchsorted(np.sort(scores), scores) / len(scores)).astype(np.float32)


def faded_items(request: CandidateRequest, n: int, half_life_days: float, weights: ActionWeights) -> tuple[np.ndarray, np.ndarray]:
    """The items of the last n positive actions, newest first: rows int64 and weights float32 that halve every ``half_life_days``.

    Only ratios matter, so age counts from the newest action: who comes back after years is still known.
    """
    rows, weighed, ages_ms = recent_items(request, n, weights)
    ages_ms = ages_ms - ages_ms.min(initial=2**62) if len(ages_ms) else ages_ms
    return rows, (weighed * 0.5 ** (ages_ms / (half_life_days * DAY_MS))).astype(np.float32)


def _in_shares(rows: np.ndarray, keys: np.ndarray, wanted: int) -> np.ndarray:
    """bool ``(n,)``: the entries of the ``wanted`` rows with the lowest keys.

    A key is place / places due, so each list fills its share first, and what lists have in common leaves room to go deeper in all.
    """
    distinct, entry_of = np.unique(rows, return_inverse=True)
    lowest = np.full(len(distinct), np.inf)
    np.minimum.at(lowest, entry_of, keys)
    taken = np.zeros(len(distinct), bool)
    taken[np.lexsort((distinct, lowest))[:wanted]] = True
    return taken[entry_of]


def _faded_history(request: CandidateRequest, config: SourceConfig) -> tuple[np.ndarray, np.ndarray]:
    """What slower sources look at."""
    return faded_items(request, config.history_actions, config.history_half_life_days, config.weights)


def _by_creators(
    request: CandidateRequest,
    codes: np.ndarray,
    weights: np.ndarray,
    quality: np.ndarray,
    k: int,
    *,
    newness_days: float = 0.0,
    exclude: np.ndarray | None = None,
    seed_of: dict[int, int] | None = None,
) -> Candidates:
    """Items of creators (catalogue codes): creator's weight x (0.1 + quality), an item without statistics counting as average."""
    parts = [request.catalogue.rows_with("creator_id", int(code)) for code in codes]
    lengths = [len(part) for part in parts]
    rows = np.concatenate(parts)
    known = rows < len(quality)
    merit = np.full(len(rows), 0.5)
    merit[known] = quality[rows[known]]
    if newness_days:
        age_ms = np.maximum(request.now_ms - request.catalogue.created_ms[rows], 0)
        merit += 1 / (1 + age_ms / (newness_days * DAY_MS))
    scores = (np.repeat(weights, lengths) * (0.1 + merit)).astype(np.float32)
    seeds = np.repeat([-1 if seed_of is None else seed_of.get(int(code), -1) for code in codes], lengths).astype(np.int64)
    if exclude is not None:
        kept = ~np.isin(rows, exclude)
        rows, scores, seeds = rows[kept], scores[kept], seeds[kept]
    return Candidates.best(request, rows, scores, seeds, k)
