"""Complete The Look: products that go with what is there, and are not there (Li et al., KDD 2020; Kang et al., CVPR 2019).

    what is given: products or objects, a scene, or both -> categories that go with theirs -> for each of them
        score    the outfit model's, less what everybody asks of it (hubs), blended with the scene model's
        without  what is in the look already, and what may not be shown
        shelf    maximal marginal relevance on visual vectors, a cap a colour and a merchant
        reason   which colours, patterns and styles agree, of what could be told with confidence

Which categories go together is counted in mined outfits; none goes with itself. Style vectors cluster too tightly to spread a shelf by: all
that goes with a look is near each other there. Scores of both models are brought to mean 0 and variance 1 over a category's products
before they are blended, so that neither decides by its scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, islice
from typing import Protocol

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.seeds import generator
from corkboard.shopping.complete_config import CompleteTheLookConfig
from corkboard.shopping.look_index import LookIndex
from corkboard.shopping.look_reasons import reason_of
from corkboard.shopping.scene_model import SceneModel
from corkboard.vision.appearance import Appearance, chances_matrix

_NOT_A_MERCHANT = -1
NO_LOOK = Appearance(())


class OutfitScorer(Protocol):
    """What the outfit model does; see :class:`corkboard.shopping.outfit_model.OutfitModel`."""

    def encode(self, vectors: np.ndarray, categories: Sequence[str | None], appearance: np.ndarray | None = None) -> np.ndarray:
        """float32 ``(n, dim)`` style vectors, zeros where nothing is known that it reads."""
        ...

    def query(self, styles: np.ndarray, categories: Sequence[str | None], targets: Sequence[str | None]) -> np.ndarray:
        """float32 ``(targets, dim)``: what items together ask of each category."""
        ...


@dataclass(frozen=True)
class Look:
    """What is given: ``m`` products or objects, a scene, or both."""

    categories: list[str]
    """(m,)."""
    vectors: np.ndarray
    """float32 (m, dim): visual vectors of the space of the index."""
    item_ids: list[str | None] = field(default_factory=list)
    """(m,) the products that these are, None where that is not known; [] where none is."""
    appearances: list[Appearance] = field(default_factory=list)
    """(m,), or [] where nobody looked."""
    names: list[str] = field(default_factory=list)
    """(m,) what reasons call them, or [] for their categories."""
    scene: np.ndarray | None = None
    """float16 (width, cells, cells): the map of the scene, of :func:`corkboard.shopping.scene_model.scene_maps`."""

    def __post_init__(self) -> None:
        lengths = {len(self.categories), len(self.vectors)}
        lengths |= {len(part) for part in (self.item_ids, self.appearances, self.names) if part}
        if len(lengths) != 1:
            raise InputError("The parts of a look do not fit", found=sorted(lengths), expected="one length")


@dataclass(frozen=True)
class Shelf:
    """Products of one category that go with a look, the best first."""

    category: str
    places: np.ndarray
    """int64 (k,): places in the index."""
    rows: np.ndarray
    """int64 (k,): rows of the catalogue."""
    item_ids: list[str]
    scores: np.ndarray
    """float32 (k,): standard deviations above the mean of the category; in this order they need not fall."""
    reasons: list[str]

    def __len__(self) -> int:
        return len(self.item_ids)


# ------------------------------------------------------------------------------------------------------ what goes together


class CategoryPairs:
    """How many outfits have two categories; ``outfits`` has outfit_id and category, one row a member.

    Two go together where at least ``least`` outfits have both, and ``lift`` times as many as would by chance: what a detector mistakes,
    and what merely stands about, is together with everything a little.
    """

    def __init__(self, outfits: pl.DataFrame, least: int = 5, lift: float = 0.5):
        self.least, self.lift = least, lift
        self.outfits: Counter[str] = Counter()
        self.together: Counter[tuple[str, str]] = Counter()
        grouped = outfits.drop_nulls("category").group_by("outfit_id", maintain_order=True).agg(pl.col("category").unique().sort())
        self.total = len(grouped)
        for names in grouped["category"].to_list():
            self.outfits.update(names)
            self.together.update(combinations(names, 2))

    def count(self, first: str, second: str) -> int:
        """Outfits with both; 0 for a category and itself."""
        return self.together[min(first, second), max(first, second)] if first != second else 0

    def complementary(self, given: Sequence[str]) -> list[str]:
        """The categories that go with at least half of those ``given``, of which outfits tell, and are not among them; those that most
        outfits have together with them first."""
        known = {name for name in given if name in self.outfits}
        with_each = {name: [self._real(name, other) for other in known] for name in self.outfits if name not in given}
        counts = {name: sum(real) for name, real in with_each.items() if real and 2 * sum(count > 0 for count in real) >= len(real)}
        return sorted((name for name, count in counts.items() if count), key=lambda name: (-counts[name], name))

    def _real(self, first: str, second: str) -> int:
        count = self.count(first, second)
        by_chance = self.outfits[first] * self.outfits[second]
        return count if count >= self.least and count * self.total >= self.lift * by_chance else 0


# ----------------------------------------------------------------------------------------------------------------- answers


class CompleteTheLook:
    """Answers from the products of an index.

    ``model`` and ``scene_model`` may each be None; with neither there are no answers. ``merchants`` int ``(rows,)`` are numbers by row of
    the catalogue, -1 for none; ``appearances`` are by item id, and their chances are what the outfit model reads beside vectors.
    Raises :class:`corkboard.errors.SpaceMismatch` for a scene model of other product vectors.
    """

    def __init__(
        self,
        index: LookIndex,
        model: OutfitScorer | None,
        pairs: CategoryPairs,
        config: CompleteTheLookConfig | None = None,
        scene_model: SceneModel | None = None,
        merchants: np.ndarray | None = None,
        appearances: Mapping[str, Appearance] | None = None,
    ):
        self.index, self.model, self.pairs = index, model, pairs
        self.config = config or CompleteTheLookConfig()
        self.scene_model, self.appearances = scene_model, appearances or {}
        if scene_model is not None:
            scene_model.visual.require(index.space)
        self.merchants = np.full(len(index), _NOT_A_MERCHANT)
        if merchants is not None:
            known = (index.rows >= 0) & (index.rows < len(merchants))
            self.merchants[known] = merchants[index.rows[known]]

    @cached_property
    def names(self) -> list[str | None]:
        """The category of each place of the index; None for those of none."""
        return [self.index.names[number] if number >= 0 else None for number in self.index.category.tolist()]

    @cached_property
    def styles(self) -> np.ndarray:
        """float32 (n, dim): style vectors by place in the index."""
        if self.model is None:
            return np.zeros((len(self.index), 0), np.float32)
        return self.model.encode(
            self.index.products.vectors, self.names, chances_matrix([self.appearances.get(item, NO_LOOK) for item in self.index.ids])
        )

    @cached_property
    def in_scenes(self) -> np.ndarray:
        """float32 (n, dim): what the scene model says of the products, by place in the index."""
        if self.scene_model is None:
            return np.zeros((len(self.index), 0), np.float32)
        return self.scene_model.products(self.index.products.vectors)

    @cached_property
    def colours(self) -> np.ndarray:
        """int64 (n,): a code of each product's first colour, -1 where it is not known."""
        first = [self.appearances.get(item, NO_LOOK).colours[:1] for item in self.index.ids]
        known = sorted({colour[0].name for colour in first if colour})
        return np.array([known.index(colour[0].name) if colour else -1 for colour in first], np.int64)

    @cached_property
    def hubs(self) -> dict[str, np.ndarray]:
        """By category, float32 (dim,): what products of the categories that go with it ask of it on average."""
        found: dict[str, np.ndarray] = {}
        codes = np.array([name if name is not None else "" for name in self.names], object)
        for name in self.index.names:
            others = np.flatnonzero(np.isin(codes, self.pairs.complementary([name])))
            if self.model is None or not len(others):
                continue
            draw = generator(0, "complete the look", "hubs", name)
            some = draw.choice(others, min(len(others), self.config.hub_queries), replace=False)
            found[name] = self.model.query(self.styles[some], codes[some].tolist(), [name])[0]
        return found

    def wanted(self, look: Look) -> list[str]:
        """The categories to answer where none is asked for, those that most outfits have with the look's first; only ones with products."""
        return [name for name in self.pairs.complementary(look.categories) if len(self._places(name))]

    def shelves(self, look: Look, k: int, allowed: np.ndarray | None = None, category: str | None = None) -> list[Shelf]:
        """A shelf of at most ``k`` products for ``category``, or for the first of :meth:`wanted` that have some; empty ones are left out.

        ``allowed`` is bool over rows of the catalogue; rows beyond its end are not allowed.
        """
        names = self.wanted(look) if category is None else [category]
        shelves = (self.shelf(look, name, k, allowed) for name in names)
        return list(islice((shelf for shelf in shelves if len(shelf)), self.config.most_shelves))

    def shelf(self, look: Look, category: str, k: int, allowed: np.ndarray | None = None) -> Shelf:
        """At most ``k`` products of ``category`` that go with ``look``."""
        places = self._places(category)
        scores = self.scores(look, category, places)
        open_ = self._open(look, places, allowed) & np.isfinite(scores)
        places, scores = places[open_], scores[open_]
        best = np.lexsort((places, -scores))[: max(self.config.pool, k)]
        chosen = best[self._spread(places[best], scores[best], k)]
        return self._shelf(look, category, places[chosen], scores[chosen])

    def scores(self, look: Look, category: str, places: np.ndarray) -> np.ndarray:
        """float32 (n,): how well the products at ``places``, all of ``category``, go with ``look``; -inf where nothing can be said."""
        parts: list[tuple[float, np.ndarray]] = []
        if self.model is not None and len(look.categories):
            styles = self.model.encode(look.vectors, look.categories, chances_matrix(look.appearances))
            if styles.any():  # else nothing is known of what is given
                query = self.model.query(styles, look.categories, [category])[0]
                if self.config.hubness:
                    query = query - self.hubs.get(category, np.zeros_like(query))
                known = self.styles[places].any(axis=1)
                parts.append((1 - self.config.scene_weight, np.where(known, self.styles[places] @ query, -np.inf)))
        if self.scene_model is not None and look.scene is not None:
            asked = self.scene_model.asked(look.scene[None], [category])[0]
            parts.append((self.config.scene_weight, self.in_scenes[places] @ asked))
        if not parts:
            return np.full(len(places), -np.inf, np.float32)
        if len(parts) == 1:
            return _standardised(parts[0][1])
        return np.sum([weight * _standardised(part) for weight, part in parts], axis=0, dtype=np.float32)

    # -------------------------------------------------------------------------------------------------------- whole outfits

    def outfit(self, look: Look, categories: Sequence[str], allowed: np.ndarray | None = None) -> list[Shelf]:
        """One product of each of ``categories`` that go with ``look`` and with each other: a beam search over categories, in their order.

        What is maximised is the sum of the scores of all pairs (KDD 2020; ``beam`` partial outfits are kept). A category without products
        is left out. Each answer is a shelf of one. Needs the outfit model; without it, or a given product that it knows of, there is none.
        """
        if self.model is None or not len(look.categories):
            return []
        given = self.model.encode(look.vectors, look.categories, chances_matrix(look.appearances))
        if not given.any():
            return []
        beams: list[tuple[float, list[int]]] = [(0.0, [])]
        for name in categories:
            places = self._places(name)
            places = places[self._open(look, places, allowed) & self.styles[places].any(axis=1)]
            if len(places):
                beams = self._longer(beams, given, look, name, places)
        names = [self.names[place] or "" for place in beams[0][1]]
        found = (
            self._shelf(look, name, np.array([place]), np.zeros(1, np.float32)) for name, place in zip(names, beams[0][1], strict=True)
        )
        return list(found)

    def _longer(
        self, beams: list[tuple[float, list[int]]], given: np.ndarray, look: Look, name: str, places: np.ndarray
    ) -> list[tuple[float, list[int]]]:
        """Every partial outfit with every product of one more category, the best of them."""
        assert self.model is not None
        hub = self.hubs.get(name) if self.config.hubness else None
        longer: list[tuple[float, list[int]]] = []
        for total, chosen in beams:
            styles = np.concatenate([given, self.styles[chosen]])
            known = [*look.categories, *(self.names[place] for place in chosen)]
            query = self.model.query(styles, known, [name])[0]
            scores = len(known) * (self.styles[places] @ (query if hub is None else query - hub))
            best = np.lexsort((places, -scores))[: self.config.beam]
            longer += [(total + float(scores[place]), [*chosen, int(places[place])]) for place in best]
        return sorted(longer, key=lambda one: (-one[0], one[1]))[: self.config.beam]

    # ------------------------------------------------------------------------------------------------------------- details

    def _places(self, category: str) -> np.ndarray:
        number = self.index.number_of.get(category)
        return np.flatnonzero(self.index.category == number) if number is not None else np.zeros(0, np.int64)

    def _open(self, look: Look, places: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
        """bool (n,): which may be shown, and are not in the look."""
        rows = self.index.rows[places]
        open_ = rows >= 0
        if allowed is not None:
            open_ &= rows < len(allowed)
            open_[open_] = allowed[rows[open_]]
        there = {item for item in look.item_ids if item is not None}
        if there:
            ids = self.index.ids
            open_ &= np.array([ids[place] not in there for place in places.tolist()], bool)
        if len(look.vectors):
            open_ &= (self.index.products.vectors[places] @ look.vectors.T).max(axis=1) < self.config.same
        return open_

    def _spread(self, places: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
        """int64: which of ``places`` (the best first) to show, in order: maximal marginal relevance under caps, which give way last."""
        caps = ((self.colours[places], max(2, int(np.ceil(self.config.most_of_colour * k)))),
                (self.merchants[places], max(2, int(np.ceil(self.config.most_of_merchant * k)))))  # fmt: skip
        return diversified(scores, self.index.products.vectors[places], k, self.config.mmr, caps)

    def _shelf(self, look: Look, category: str, places: np.ndarray, scores: np.ndarray) -> Shelf:
        ids = self.index.ids
        items = [ids[place] for place in places.tolist()]
        names = look.names or look.categories
        reasons = [reason_of(self.appearances.get(item, NO_LOOK), look.appearances, names, self.config) for item in items]
        usual = self._usual(look, category)
        return Shelf(category, places, self.index.rows[places], items, np.asarray(scores, np.float32), [text or usual for text in reasons])

    def _usual(self, look: Look, category: str) -> str:
        """What can be said where nothing of the appearance agrees for sure."""
        counts = {name: self.pairs.count(name, category) for name in look.categories}
        name = max(sorted(counts), key=counts.__getitem__, default=None)
        if name is not None and counts[name]:
            return f"Together with {name} in {counts[name]} outfit{'s' if counts[name] > 1 else ''}"
        return "Goes with the look" if look.scene is None else "Goes with the scene"


def diversified(scores: np.ndarray, vectors: np.ndarray, k: int, weight: float, caps: Sequence[tuple[np.ndarray, int]] = ()) -> np.ndarray:
    """int64 (at most k,): rows by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998), in the order they are chosen.

    ``weight * relevance - (1 - weight) * largest cosine with what is chosen``, where relevance is ``scores`` (n,) brought to [0, 1] and
    ``vectors`` are unit ``(n, dim)``. Each cap is (codes (n,), -1 for none; most of one code); where caps leave the list short, they give
    way to the best that is left.
    """
    low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 0.0)
    relevance = (scores - low) / (high - low) if high > low else np.zeros(len(scores))
    near, open_ = np.zeros(len(scores)), np.ones(len(scores), bool)
    counts: list[Counter[int]] = [Counter() for _ in caps]
    chosen: list[int] = []
    while len(chosen) < min(k, len(scores)) and open_.any():
        value = weight * relevance - (1 - weight) * near
        best = int(np.argmax(np.where(open_, value, -np.inf)))
        cosines = vectors @ vectors[best]
        near = np.maximum(near, cosines) if chosen else cosines
        chosen.append(best)
        open_[best] = False
        for (codes, most), count in zip(caps, counts, strict=True):
            count[int(codes[best])] += 1
            if codes[best] >= 0 and count[int(codes[best])] >= most:
                open_ &= codes != codes[best]
    left = np.setdiff1d(np.arange(len(scores)), chosen)
    rest = left[np.argsort(-relevance[left], kind="stable")][: max(min(k, len(scores)) - len(chosen), 0)]
    return np.array([*chosen, *rest.tolist()], np.int64)


def _standardised(scores: np.ndarray) -> np.ndarray:
    """float32 (n,): mean 0 and standard deviation 1; zeros where all are alike, and -inf where nothing can be said."""
    out, known = np.full(len(scores), -np.inf, np.float32), np.isfinite(scores)
    if known.any():
        spread = scores[known].std()
        out[known] = (scores[known] - scores[known].mean()) / spread if spread > 1e-9 else 0.0
    return out
