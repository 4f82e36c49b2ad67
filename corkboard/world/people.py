"""The people as they truly are: long-term interests with their rhythms, tastes, dislikes, habits.

Interests are functions of time, so that anyone's interests can be asked for at any moment, past or future, without replaying anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corkboard.seeds import generator
from corkboard.world.catalogue import RESIDUE, TOPICS, Catalogue
from corkboard.world.config import DAY_MS, WorldConfig
from corkboard.world.draws import random_ids
from corkboard.world.vocabulary import CATEGORIES, FACETS, TOPIC_CATEGORY

INTERESTS = 12
"""A person has 3 to so many long-term interests."""
PERSONA = 8
"""Dimensions in which people are alike; tastes in facets follow them, with something of one's own on top."""
FACET_SHARE = {"style": 0.7, "shade": 0.5, "pattern": 0.5, "material": 0.7, "use": 0.55, "size": 0.45}
"""Weight of each facet's taste; the squares of the three picture facets add up to one, those of text too."""
COUNTRIES = (("US", 0), ("GB", 0), ("DE", 1), ("AT", 1))
WEEK_MS = 7 * DAY_MS


@dataclass(frozen=True)
class Interests:
    """Long-term interests; arrays are (users, INTERESTS), unused places have weight 0."""

    topic: np.ndarray
    weight: np.ndarray
    """float32: 0 to 1, the strongest of a person is 1."""
    week: np.ndarray
    """float32 (users, INTERESTS, 2): amplitude and phase of the weekly rhythm."""
    season: np.ndarray
    """float32 (users, INTERESTS, 3): amplitude, phase, and period in days of the seasonal rhythm."""
    idle: np.ndarray
    """float32 (users, INTERESTS, 3): period in days, phase, and share of it in which the interest is awake."""
    drift: np.ndarray
    """float32 (users, INTERESTS, 3): amplitude in logs, phase, and period in days of the slow drift."""

    def strength(self, users: np.ndarray, time_ms: np.ndarray, config: WorldConfig) -> np.ndarray:
        """float32 (n, TOPICS): how interested user i is in each topic at time i, 0 to about 1.6."""
        days = (time_ms - config.start_ms)[:, None] / DAY_MS
        strength = self.weight[users].astype(np.float64)
        if config.mechanisms.rhythms:
            amplitude, phase = np.moveaxis(self.week[users], 2, 0)
            strength *= 1 + amplitude * np.cos(2 * np.pi * (days / 7 - phase))
            amplitude, phase, period = np.moveaxis(self.season[users], 2, 0)
            strength *= 1 + amplitude * np.cos(2 * np.pi * (days / period - phase))
            period, phase, awake = np.moveaxis(self.idle[users], 2, 0)
            place = np.mod(days / period + phase, 1.0)
            strength *= np.clip(0.5 + 15 * np.minimum(place + (awake > 1), awake - place), 0.03, 1.0)
        if config.mechanisms.drift:
            amplitude, phase, period = np.moveaxis(self.drift[users], 2, 0)
            strength *= np.exp(amplitude * np.sin(2 * np.pi * (days / period + phase)))
        dense = np.zeros((len(users), TOPICS), np.float32)
        rows = np.arange(len(users))
        topic = self.topic[users]
        for place in range(INTERESTS):
            dense[rows, topic[:, place]] += strength[:, place].astype(np.float32)
        return dense


@dataclass(frozen=True)
class People:
    """Everybody. Arrays have one row a person."""

    ids: list[str]
    interests: Interests
    language: np.ndarray
    country: np.ndarray
    join_ms: np.ndarray
    declared: list[list[str]]
    """Categories they say they like: few, some of them wrong."""
    taste: dict[str, np.ndarray]
    """facet -> float32 (users, values), already weighted by FACET_SHARE."""
    brands: np.ndarray
    """int (users, 3): brands they like."""
    size: np.ndarray
    """int (users,): the size they need, -1 for any."""
    residue: np.ndarray
    price_level: np.ndarray
    """float32 (users,): log of what they pay over the median of a category."""
    bias: np.ndarray
    """float32 (users,): how readily they act, in logits."""
    saver: np.ndarray
    shopper: np.ndarray
    hider: np.ndarray
    dislike_topic: np.ndarray
    """float32 (users, TOPICS): strength of the dislike."""
    dislike_style: np.ndarray
    dislike_creator: np.ndarray
    """int (users, 4): disliked creators, -1 for none."""
    gap_days: np.ndarray
    hour: np.ndarray
    weekend: np.ndarray
    """float32 (users,): how much more they come on weekends, -1 to 1."""
    topic_appeal: np.ndarray
    """float32 (TOPICS,): what everybody finds a little more or less appealing."""

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def make(cls, config: WorldConfig, catalogue: Catalogue) -> People:
        n = config.users
        rng = generator(config.seed, "world", "people")
        appeal = rng.normal(0, 0.3, TOPICS).astype(np.float32)
        interests = _interests(config, appeal)
        country = rng.choice(len(COUNTRIES), n, p=[0.5, 0.2, 0.22, 0.08])
        joined = rng.random(n) < 0.72
        span = config.days * DAY_MS
        early = config.start_ms - (rng.random(n) * 90 * DAY_MS).astype(np.int64)
        late = config.start_ms + (rng.random(n) * span).astype(np.int64)
        return cls(
            ids=random_ids(rng, "u", n),
            interests=interests,
            language=np.array([language for _, language in COUNTRIES])[country],
            country=country,
            join_ms=np.where(joined, early, late),
            declared=_declared(interests, rng),
            topic_appeal=appeal,
            taste=_facet_tastes(config),
            **_needs(config, catalogue),
            **_dislikes(config, catalogue, interests),
            **_habits(config),
        )

    def first_visits(self, config: WorldConfig, rng: np.random.Generator) -> np.ndarray:
        """int64 (users,): when each person first comes: at once for who joins late, at a random place of the first gap otherwise."""
        wait = (rng.random(len(self)) * self.gap_days * DAY_MS).astype(np.int64)
        return np.where(self.join_ms > config.start_ms, self.join_ms + 60_000, config.start_ms + wait)


def _interests(config: WorldConfig, appeal: np.ndarray) -> Interests:
    rng = generator(config.seed, "world", "interests")
    shape = (config.users, INTERESTS)
    count = 3 + np.minimum(rng.poisson(3.2, config.users), INTERESTS - 3)
    topic = np.argsort(-(appeal * 1.5 + rng.gumbel(size=(config.users, TOPICS))), 1)[:, :INTERESTS]
    weight = (np.arange(INTERESTS)[None, :] + 1.0) ** -0.6 * rng.lognormal(0, 0.3, shape)
    weight = np.where(np.arange(INTERESTS)[None, :] < count[:, None], weight, 0.0)
    weight /= weight.max(1, keepdims=True)
    awake = np.where(rng.random(shape) < 0.55, rng.uniform(0.25, 0.7, shape), 5.0)  # above 1: never idle
    stacked = {
        "week": (rng.beta(1.2, 2.5, shape) * 0.9, rng.random(shape)),
        "season": (rng.beta(1.2, 2.5, shape) * 0.8, rng.random(shape), rng.uniform(45, 365, shape)),
        "idle": (rng.lognormal(np.log(18), 0.5, shape), rng.random(shape), awake),
        "drift": (np.abs(rng.normal(0, 0.5, shape)), rng.random(shape), rng.uniform(90, 300, shape)),
    }
    return Interests(topic, weight.astype(np.float32), **{name: np.stack(parts, 2).astype(np.float32) for name, parts in stacked.items()})


def _declared(interests: Interests, rng: np.random.Generator) -> list[list[str]]:
    """At most three categories: half of the people say nothing, and what is said is wrong in one of five cases."""
    categories = np.array(TOPIC_CATEGORY)[interests.topic[:, :3]]
    users = len(categories)
    wrong = rng.random((users, 3)) < 0.2
    said = np.where(wrong, rng.integers(len(CATEGORIES), size=(users, 3)), categories)
    count = np.where(rng.random(users) < 0.5, 0, rng.integers(1, 4, users))
    return [sorted({CATEGORIES[k].name for k in row[:c]}) for row, c in zip(said.tolist(), count.tolist(), strict=True)]


def _facet_tastes(config: WorldConfig) -> dict[str, np.ndarray]:
    """facet -> float32 (users, values): what a persona likes, with something of one's own on top."""
    rng = generator(config.seed, "world", "tastes")
    persona = rng.normal(size=(config.users, PERSONA))
    taste = {}
    for facet, share in FACET_SHARE.items():
        values = len(FACETS[facet])
        loadings = rng.normal(size=(PERSONA, values)) / np.sqrt(PERSONA)
        taste[facet] = (share * (0.8 * persona @ loadings + 0.6 * rng.normal(size=(config.users, values)))).astype(np.float32)
    return taste


def _needs(config: WorldConfig, catalogue: Catalogue) -> dict[str, np.ndarray]:
    """Brands they like, the size they need, what they pay, and taste that is in neither view."""
    rng = generator(config.seed, "world", "needs")
    n = config.users
    sales = np.bincount(catalogue.brand, minlength=len(catalogue.brand_names)) + 1.0
    return {
        "brands": rng.choice(len(sales), (n, 3), p=sales / sales.sum()),
        "size": np.where(rng.random(n) < 0.6, rng.integers(len(FACETS["size"]), size=n), -1),
        "residue": (rng.normal(size=(n, RESIDUE)) / np.sqrt(RESIDUE)).astype(np.float32),
        "price_level": rng.normal(0, 0.55, n).astype(np.float32),
    }


def _dislikes(config: WorldConfig, catalogue: Catalogue, interests: Interests) -> dict[str, np.ndarray]:
    rng = generator(config.seed, "world", "dislikes")
    n = config.users
    on = float(config.mechanisms.dislikes)
    liked = np.zeros((n, TOPICS), bool)
    np.put_along_axis(liked, interests.topic, interests.weight > 0, 1)
    rank = np.argsort(np.argsort(np.where(liked, 2.0, rng.random((n, TOPICS))), 1), 1)
    topics = (rank < rng.integers(2, 8, n)[:, None]) * rng.uniform(0.6, 1.2, (n, TOPICS))
    style_rank = np.argsort(rng.random((n, len(FACETS["style"]))), 1)
    styles = (style_rank < rng.integers(0, 2, n)[:, None]) * rng.uniform(0.3, 0.65, style_rank.shape)
    creators = rng.integers(len(catalogue.creators.ids), size=(n, 4))
    creators = np.where(np.arange(4)[None, :] < rng.integers(0, 5, n)[:, None], creators, -1)
    return {
        "dislike_topic": (on * topics).astype(np.float32),
        "dislike_style": (on * styles).astype(np.float32),
        "dislike_creator": creators if on else np.full_like(creators, -1),
    }


def _habits(config: WorldConfig) -> dict[str, np.ndarray]:
    rng = generator(config.seed, "world", "habits")
    n = config.users
    gap = config.sessions.gap_days * np.exp(config.sessions.gap_spread * rng.normal(size=n))
    return {
        "gap_days": np.clip(gap, 0.12, 60.0),
        "hour": np.where(rng.random(n) < 0.65, rng.normal(20, 2, n), rng.normal(12.5, 3, n)),
        "weekend": rng.uniform(-0.6, 1.0, n).astype(np.float32),
        "bias": rng.normal(0, 0.35, n).astype(np.float32),
        "saver": rng.normal(0, 0.6, n).astype(np.float32),
        "shopper": rng.normal(0, 0.6, n).astype(np.float32),
        "hider": rng.normal(-0.15, 0.55, n).astype(np.float32),
    }
