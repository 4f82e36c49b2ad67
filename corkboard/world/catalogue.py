"""The items of the world as they truly are, and as they can be observed.

Truth is a set of arrays with one row an item. Some facets show only in the picture (pattern, shade, style), some only in the text
(material, use, brand, size); each is observed wrongly, or not at all, for 20 to 40 % of the items. ``residue`` and ``quality`` are in
neither view. Rows are in random order: neither a row number nor an id tells when an item came or what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from corkboard.seeds import generator
from corkboard.world.config import DAY_MS, WorldConfig
from corkboard.world.draws import draw_column, random_ids
from corkboard.world.looks import Looks
from corkboard.world.vocabulary import BRAND_SYLLABLES, CATEGORIES, FACETS, LANGUAGES, PICTURE_FACETS, TEXT_FACETS, TOPIC_CATEGORY

TOPICS = len(TOPIC_CATEGORY)
KINDS = ("pin", "product", "idea", "ad")
KIND_SHARES = (0.54, 0.33, 0.10, 0.03)
RESIDUE = 4
"""Dimensions of taste that are in neither view."""
UNRELIABLE: dict[str, float] = {"pattern": 0.25, "shade": 0.2, "style": 0.35, "material": 0.25, "use": 0.4, "brand": 0.2, "size": 0.3}
"""Share of items whose facet is wrong or missing in what can be observed."""
MISSING = 0.55
"""Share of unreliable facets that are missing; the rest are wrong."""
STOCK = 0.28
"""Share of the items that were there before the first day; what does not arrive during the test arrives steadily before it."""
STOCK_DAYS = 120
NEVER_MS = 1 << 62


@dataclass(frozen=True)
class Creators:
    """Who makes the items, with a handwriting: topics, style, residue. Arrays have one row a creator."""

    ids: list[str]
    weight: np.ndarray
    """float (creators,): share of the items they make; long-tailed."""
    topics: np.ndarray
    """int (creators, 3): their topics, the first one dominant."""
    style: np.ndarray
    residue: np.ndarray
    """float (creators, RESIDUE)."""
    language: np.ndarray
    tier: np.ndarray
    """float (creators,): the log of how much dearer than usual they sell."""


@dataclass(frozen=True)
class Catalogue:
    """The items as they truly are. Arrays have one row an item; ``observed`` holds what views show, -1 where missing."""

    ids: list[str]
    creators: Creators
    brand_names: list[str]
    category: np.ndarray
    topic: np.ndarray
    second_topic: np.ndarray
    mix: np.ndarray
    """float32 (items,): the share of ``topic``, 0.6 to 1; the rest is ``second_topic``."""
    style: np.ndarray
    shade: np.ndarray
    pattern: np.ndarray
    material: np.ndarray
    use: np.ndarray
    size: np.ndarray
    brand: np.ndarray
    """int (items,): row of ``brand_names``; every item has one (the shop, the magazine, the maker)."""
    kind: np.ndarray
    """int (items,): row of KINDS."""
    price_minor: np.ndarray
    price_level: np.ndarray
    """float32 (items,): log of the price over the median of its category."""
    quality: np.ndarray
    clickiness: np.ndarray
    """float32 (items,): how much more it is clicked than closed up; in neither view."""
    residue: np.ndarray
    """float32 (items, RESIDUE)."""
    spam: np.ndarray
    creator: np.ndarray
    language: np.ndarray
    created_ms: np.ndarray
    gone_ms: np.ndarray
    """int64 (items,): when it became unavailable, NEVER_MS where it did not."""
    observed: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def product(self) -> np.ndarray:
        """bool (items,): it can be bought."""
        return (self.kind == 1) | (self.kind == 3)

    @classmethod
    def make(cls, config: WorldConfig, looks: Looks) -> Catalogue:
        n = config.items
        creators = _creators(config)
        rng = generator(config.seed, "world", "items")
        creator = rng.choice(len(creators.ids), n, p=creators.weight)
        own = rng.random(n) < (0.85 if config.mechanisms.handwriting else 0.0)
        topic = np.where(
            own, creators.topics[creator, rng.choice(3, n, p=[0.65, 0.23, 0.12])], rng.choice(TOPICS, n, p=_topic_shares(config.seed))
        )
        mixed = rng.random(n) < 0.3
        second = np.where(mixed, rng.integers(TOPICS, size=n), topic)
        mix = np.where(mixed, rng.uniform(0.6, 0.9, n), 1.0)
        kind = rng.choice(len(KINDS), n, p=KIND_SHARES)
        category = np.array(TOPIC_CATEGORY)[topic]
        facets = _facets(config, looks, creators, creator, category, rng)
        brands = _brands(config)
        prices = _prices(creators, creator, category, rng)
        residue = rng.normal(size=(n, RESIDUE)) * 0.8 + (creators.residue[creator] * 0.6 if config.mechanisms.handwriting else 0.0)
        created = _arrivals(config, rng)
        gone = np.where((rng.random(n) < 0.05) & (kind == 1), created + (rng.uniform(15, 90, n) * DAY_MS).astype(np.int64), NEVER_MS)
        truth = {
            "category": category,
            "topic": topic,
            "second_topic": second,
            "mix": mix.astype(np.float32),
            "kind": kind,
            "creator": creator,
            "brand": _brand_of(len(brands), creator, rng),
            "quality": rng.normal(size=n).astype(np.float32),
            "clickiness": (0.5 * rng.normal(size=n)).astype(np.float32),
            "residue": residue.astype(np.float32),
            "spam": rng.random(n) < 0.01,
            "language": np.where(rng.random(n) < 0.93, creators.language[creator], 1 - creators.language[creator]),
            "created_ms": created,
            "gone_ms": gone,
            **facets,
            **prices,
        }
        observed = _observe(config, truth, len(brands))
        return cls(ids=random_ids(rng, "i", n), creators=creators, brand_names=brands, observed=observed, **truth)


def _topic_shares(seed: int) -> np.ndarray:
    """How much of the catalogue each topic is: unequal, but none is rare."""
    shares = generator(seed, "world", "topics").lognormal(0, 0.35, TOPICS)
    return shares / shares.sum()


def _creators(config: WorldConfig) -> Creators:
    rng = generator(config.seed, "world", "creators")
    n = max(40, config.items // 15)
    weight = rng.pareto(1.6, n) + 0.3
    topics = rng.choice(TOPICS, (n, 3), p=_topic_shares(config.seed))
    return Creators(
        ids=random_ids(rng, "c", n),
        weight=weight / weight.sum(),
        topics=topics,
        style=rng.integers(len(FACETS["style"]), size=n),
        residue=rng.normal(size=(n, RESIDUE)),
        language=(rng.random(n) < 0.3).astype(np.int64),
        tier=rng.normal(0, 0.45, n),
    )


def _facets(
    config: WorldConfig, looks: Looks, creators: Creators, creator: np.ndarray, category: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Style follows the creator; palette and pattern follow the style; material follows style and category."""
    n = len(creator)
    own = rng.random(n) < (0.7 if config.mechanisms.handwriting else 0.0)
    style = np.where(own, creators.style[creator], rng.integers(len(FACETS["style"]), size=n))
    in_palette = rng.random(n) < 0.75
    jitter = rng.integers(-1, 2, n) * (rng.random(n) < 0.3)
    hues = len(FACETS["shade"])
    shade = np.where(in_palette, (looks.palettes[style, rng.integers(3, size=n)] + jitter) % hues, rng.integers(hues, size=n))
    by_category = rng.dirichlet(np.full(len(FACETS["material"]), 0.6), len(CATEGORIES))
    material = draw_column(rng, by_category[category] * (0.15 + looks.materials[style]))
    use = draw_column(rng, rng.dirichlet(np.full(len(FACETS["use"]), 0.8), len(CATEGORIES))[category])
    pattern = draw_column(rng, looks.patterns[style])
    return {
        "style": style,
        "shade": shade,
        "pattern": pattern,
        "material": material,
        "use": use,
        "size": rng.integers(len(FACETS["size"]), size=n),
    }


def _brands(config: WorldConfig) -> list[str]:
    rng = generator(config.seed, "world", "brands")
    count = int(np.clip(config.items // 50, 12, 400))
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(rng.choice(BRAND_SYLLABLES, int(rng.integers(2, 4)))).capitalize()] = None
    return list(names)


def _brand_of(brands: int, creator: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A creator mostly sells one brand, sometimes any other; few brands are big."""
    big = rng.pareto(1.2, brands) + 0.3
    house = rng.choice(brands, creator.max() + 1, p=big / big.sum())
    return np.where(rng.random(len(creator)) < 0.7, house[creator], rng.integers(brands, size=len(creator)))


def _prices(creators: Creators, creator: np.ndarray, category: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    level = creators.tier[creator] + rng.normal(0, 0.45, len(creator))
    median = np.array([c.price for c in CATEGORIES])[category]
    rounded = np.maximum(np.round(median * np.exp(level)), 2) * 100 - 5
    return {"price_level": level.astype(np.float32), "price_minor": rounded.astype(np.int64)}


def _arrivals(config: WorldConfig, rng: np.random.Generator) -> np.ndarray:
    """int64 (items,) created_ms: a stock from before, a steady stream until the test, and ``test_arrivals`` of them within it."""
    n = config.items
    late = round(n * config.test_arrivals)
    stock = round((n - late) * STOCK)
    before = config.start_ms - STOCK_DAYS * DAY_MS
    parts = [
        rng.integers(before, config.start_ms, stock),
        rng.integers(config.start_ms, max(config.test_ms, config.start_ms + 1), n - late - stock),
        rng.integers(config.test_ms, config.end_ms, late),
    ]
    return rng.permutation(np.concatenate(parts))


def _observe(config: WorldConfig, truth: dict[str, np.ndarray], brands: int) -> dict[str, np.ndarray]:
    """The two views: every facet as it shows, with -1 where it does not, and ``topic_word``/``topic_guess``, which are not always right."""
    n = config.items
    observed: dict[str, np.ndarray] = {}
    for name in (*PICTURE_FACETS, *TEXT_FACETS):
        rng = generator(config.seed, "world", "observed", name)
        values = brands if name == "brand" else len(FACETS[name])
        bad = rng.random(n) < (UNRELIABLE[name] if config.mechanisms.facet_noise else 0.0)
        other = (truth[name] + rng.integers(1, values, n)) % values
        observed[name] = np.where(bad, np.where(rng.random(n) < MISSING, -1, other), truth[name])
    rng = generator(config.seed, "world", "observed", "topic")
    categories = np.array(TOPIC_CATEGORY)
    sibling = np.array([rng.choice(np.flatnonzero(categories == categories[t])) for t in truth["topic"]])
    kind = rng.random(n)
    observed["topic_word"] = np.where(kind < 0.78, truth["topic"], np.where(kind < 0.9, -1, sibling))
    known = rng.random(n) < config.policy.topic_accuracy
    observed["topic_guess"] = np.where(known, truth["topic"], np.where(rng.random(n) < 0.5, sibling, rng.integers(TOPICS, size=n)))
    observed["language"] = np.minimum(truth["language"], len(LANGUAGES) - 1)
    return observed
