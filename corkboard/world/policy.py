"""The logging policy: what people were shown while the log was made. Popularity and what it took for interest, with noise.

It knows what a simple production system would know: counts of actions by item until last night, a guess of each item's topic (right for
four items in five), counts by guessed topic a person, the running session, follows and blocks. It never reads the truth about taste.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from corkboard.world.catalogue import TOPICS, Catalogue
from corkboard.world.config import DAY_MS, WorldConfig
from corkboard.world.minds import Mind, seen_before
from corkboard.world.vocabulary import CATEGORIES, TEXT_FACETS, TOPIC_CATEGORY

FOLLOWS = 8
"""So many follows and blocks a person are kept, the newest ones."""
SOURCES = ("popular", "interest", "session", "fresh", "followed", "explore", "text", "context")
CREDIT = np.array([0.3, 0.6, 1.0, 1.5, 1.5, 1.0, -1.0, -2.0], np.float32)
"""What each action (order of behaviour.ACTIONS) adds to the count of its topic."""
NIGHTLY_KEEP = 0.96
FRESH_DAYS = 3.0
SEEN_DAYS = 7.0
NEAR = 40
"""Candidates in the topic of a query or of the item a related page belongs to; half as many in its category."""


@dataclass
class Pool:
    """Items grouped by a key, drawn by weight within a group."""

    items: np.ndarray
    cumulative: np.ndarray
    start: np.ndarray
    """int (groups + 1,): where each group begins in ``items``."""

    @classmethod
    def of(cls, items: np.ndarray, group: np.ndarray, weight: np.ndarray, groups: int) -> Pool:
        order = np.argsort(group, kind="stable")
        counts = np.bincount(group, minlength=groups)
        return cls(items[order], np.concatenate([[0.0], np.cumsum(weight[order])]), np.concatenate([[0], np.cumsum(counts)]))

    def draw(self, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """An item of each of ``groups`` (any shape), -1 where the group is empty or -1."""
        if not len(self.items):
            return np.full(groups.shape, -1)
        known = np.maximum(groups, 0)
        low, high = self.start[known], self.start[known + 1]
        mass = self.cumulative[low] + rng.random(groups.shape) * (self.cumulative[high] - self.cumulative[low])
        place = np.clip(np.searchsorted(self.cumulative, mass, side="right") - 1, low, np.maximum(high - 1, low))
        return np.where((groups >= 0) & (high > low), self.items[np.minimum(place, len(self.items) - 1)], -1)


@dataclass
class Pages:
    """What is shown to n people; (n, page_size) arrays, item row -1 beyond the end of a short page."""

    items: np.ndarray
    scores: np.ndarray
    sources: np.ndarray
    """int: row of SOURCES."""
    random: np.ndarray
    """bool (n,): shown in random order."""


@dataclass(frozen=True)
class Want:
    """What n requests are about; -1 for nothing."""

    topic: np.ndarray
    """int (n,): the topic the search engine understood."""
    facets: np.ndarray
    """int (n, 4): values of TEXT_FACETS that a query names."""
    beside: np.ndarray
    """int (n,): the item row a related page belongs to."""
    home: np.ndarray
    """bool (n,): a home page; only those are ever shown in random order."""


@dataclass
class Policy:
    """Changes as people act; ``nightly`` makes what it learnt during the day count."""

    config: WorldConfig
    catalogue: Catalogue
    positives: np.ndarray
    """float64 (items,): credit of recent actions, decayed; ``today`` joins it at night."""
    counts: np.ndarray
    """float32 (users, TOPICS): what it counted for each person until now."""
    known: np.ndarray
    """float32 (users, TOPICS): the same as of last night."""
    session: np.ndarray
    """float32 (users, TOPICS): of the running session."""
    follows: np.ndarray
    """int (users, FOLLOWS): creators followed, the newest first, -1 for none."""
    blocks: np.ndarray
    today: np.ndarray
    popularity: np.ndarray
    """float32 (items,): log of ``positives`` as of last night."""
    pools: dict[str, Pool] = field(default_factory=dict)

    @classmethod
    def blank(cls, config: WorldConfig, catalogue: Catalogue) -> Policy:
        counts, marks = np.zeros((config.users, TOPICS), np.float32), np.full((config.users, FOLLOWS), -1)
        return cls(
            config,
            catalogue,
            positives=np.zeros(config.items),
            counts=counts,
            known=counts.copy(),
            session=counts.copy(),
            follows=marks,
            blocks=marks.copy(),
            today=np.zeros(config.items),
            popularity=np.zeros(config.items, np.float32),
        )

    def nightly(self, now_ms: int) -> None:
        """Midnight: yesterday's counts count, and what came or went since is in or out of the pools."""
        c, p = self.catalogue, self.config.policy
        self.positives = self.positives * 0.5 ** (1 / p.half_life_days) + self.today
        self.today = np.zeros_like(self.today)
        self.counts *= NIGHTLY_KEEP
        self.known = self.counts.copy()
        here = np.flatnonzero((c.created_ms <= now_ms) & (c.gone_ms > now_ms))
        self.popularity = np.log1p(self.positives).astype(np.float32)
        weight = (self.positives[here] + 1.0) ** 0.8
        one = np.zeros(len(here), np.int64)
        fresh = c.created_ms[here] > now_ms - FRESH_DAYS * DAY_MS
        if not fresh.any():
            fresh = np.zeros(len(here), bool)
            fresh[np.argsort(-c.created_ms[here], kind="stable")[:50]] = True
        guess, word = c.observed["topic_guess"][here], c.observed["topic_word"][here]
        self.pools = {
            "popular": Pool.of(here, one, weight, 1),
            "uniform": Pool.of(here, one, np.ones(len(here)), 1),
            "fresh": Pool.of(here[fresh], one[fresh], np.ones(int(fresh.sum())), 1),
            "topic": Pool.of(here, guess, weight, TOPICS),
            "word": Pool.of(here[word >= 0], word[word >= 0], weight[word >= 0], TOPICS),
            "category": Pool.of(here, c.category[here], weight, len(CATEGORIES)),
            "creator": Pool.of(here, c.creator[here], weight, len(c.creators.ids)),
        }

    def page(self, mind: Mind, want: Want, rng: np.random.Generator) -> Pages:
        """One page for each person of ``mind`` (its seen items are the policy's own log, and all that is read of it)."""
        users = mind.users
        items, sources = self._candidates(users, want, rng)
        order = np.argsort(items, 1, kind="stable")
        ranked = np.take_along_axis(items, order, 1)
        repeated = np.zeros(items.shape, bool)
        np.put_along_axis(repeated, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], 1)
        safe = np.maximum(items, 0)
        score = self._score(users, safe, want)
        score += self.config.policy.noise * rng.gumbel(size=items.shape).astype(np.float32)
        score -= 4.0 * seen_before(mind, safe, self.config.seen_slots, SEEN_DAYS)
        blocked = (self.blocks[users][:, None, :] == self.catalogue.creator[safe][:, :, None]).any(2)
        score[(items < 0) | repeated | blocked | (safe == want.beside[:, None])] = -np.inf
        size = self.config.page_size
        top = (
            np.argpartition(-score, size - 1, 1)[:, :size]
            if score.shape[1] > size
            else np.broadcast_to(np.arange(score.shape[1]), score.shape)
        )
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(score, top, 1), 1, kind="stable"), 1)
        chosen = np.take_along_axis(score, top, 1)
        shown = np.where(np.isfinite(chosen), np.take_along_axis(items, top, 1), -1)
        return self._shuffle(Pages(shown, chosen, np.take_along_axis(sources, top, 1), np.zeros(len(users), bool)), want, rng)

    def _shuffle(self, pages: Pages, want: Want, rng: np.random.Generator) -> Pages:
        """A slice of the full home pages gets a random order."""
        home = want.home & (pages.items >= 0).all(1)
        pages.random = home & (rng.random(len(home)) < self.config.policy.random_share) & self.config.mechanisms.random_slice
        rows = np.flatnonzero(pages.random)
        if len(rows):
            order = np.argsort(rng.random((len(rows), pages.items.shape[1])), 1)
            for name in ("items", "scores", "sources"):
                values = getattr(pages, name)
                values[rows] = np.take_along_axis(values[rows], order, 1)
        return pages

    def _candidates(self, users: np.ndarray, want: Want, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(n, candidates) item rows, -1 for none, and their source."""
        p, n = self.config.policy, len(users)
        zero = np.zeros((n, 1), np.int64)
        session = self.session[users] if self.config.mechanisms.live_policy else np.zeros((n, TOPICS), np.float32)
        running = np.where(session.max(1, keepdims=True) > 0, session, self.known[users])
        groups = [
            (0, "popular", np.repeat(zero, p.popular, 1)),
            (1, "topic", draw_topics(self.known[users] + 0.02, p.interest, rng)),
            (2, "topic", draw_topics(running + 0.02, p.live, rng)),
            (3, "fresh", np.repeat(zero, p.fresh, 1)),
            (4, "creator", self.follows[users][:, rng.integers(FOLLOWS, size=p.followed)]),
            (5, "uniform", np.repeat(zero, p.uniform, 1)),
        ]
        if (want.topic >= 0).any():
            category = np.where(want.topic >= 0, np.array(TOPIC_CATEGORY)[want.topic], -1)
            groups += [(6, "word", np.repeat(want.topic[:, None], NEAR, 1)), (6, "category", np.repeat(category[:, None], NEAR // 2, 1))]
        if (want.beside >= 0).any():
            groups += [(7, pool, np.repeat(key[:, None], count, 1)) for pool, key, count in self._around(want.beside)]
        items = np.concatenate([self.pools[pool].draw(keys, rng) for _, pool, keys in groups], 1)
        sources = np.concatenate([np.full(keys.shape[1], source) for source, _, keys in groups])
        return items, np.broadcast_to(sources, items.shape)

    def _around(self, beside: np.ndarray) -> list[tuple[str, np.ndarray, int]]:
        """Where candidates beside an item come from: its topic, its creator, and the next category of its family, turn by turn."""
        c = self.catalogue
        item = np.maximum(beside, 0)
        family = np.array([("", "fashion", "home").index(category.family) for category in CATEGORIES])
        partner = np.arange(len(CATEGORIES))
        for code in (1, 2):
            members = np.flatnonzero(family == code)
            partner[members] = np.roll(members, 1)
        other = np.where(family[c.category[item]] > 0, partner[c.category[item]], -1)
        keys = (("topic", c.observed["topic_guess"][item], NEAR), ("creator", c.creator[item], NEAR // 4), ("category", other, NEAR // 2))
        return [(pool, np.where(beside >= 0, key, -1), count) for pool, key, count in keys]

    def _score(self, users: np.ndarray, items: np.ndarray, want: Want) -> np.ndarray:
        p, c = self.config.policy, self.catalogue
        rows = np.arange(len(users))[:, None]
        guess = c.observed["topic_guess"][items]
        liking = p.interest_weight * _liking(self.known[users])
        if self.config.mechanisms.live_policy:
            liking += p.live_weight * _liking(self.session[users])
        score = p.popularity_weight * self.popularity[items] + liking[rows, guess]
        asked = want.topic[:, None] >= 0
        if asked.any():
            right = c.observed["topic_word"][items] == want.topic[:, None]
            near = c.category[items] == np.array(TOPIC_CATEGORY)[want.topic][:, None]
            score += asked * (3.0 * right + 1.5 * near)
            for place, facet in enumerate(TEXT_FACETS):
                value = want.facets[:, place][:, None]
                score += asked * 1.2 * ((value >= 0) & (c.observed[facet][items] == value))
        beside = want.beside[:, None]
        if (beside >= 0).any():
            there, item = beside >= 0, np.maximum(beside, 0)
            near = 2.0 * (guess == c.observed["topic_guess"][item]) + 0.8 * (c.creator[items] == c.creator[item])
            material = c.observed["material"]
            score += there * (near + 0.5 * ((material[items] == material[item]) & (material[items] >= 0)))
        return score.astype(np.float32)

    def learn(self, users: np.ndarray, items: np.ndarray, done: np.ndarray) -> None:
        """``users`` (n,) did ``done`` (actions, n, k) with ``items`` (n, k; -1 for none)."""
        credit = np.tensordot(CREDIT, done.astype(np.float32), 1)
        row, place = np.nonzero(credit)
        topics = self.catalogue.observed["topic_guess"][items[row, place]]
        for table in (self.counts, self.session):
            np.add.at(table, (users[row], topics), credit[row, place])
        self.counts[users] = np.maximum(self.counts[users], -6.0)
        np.add.at(self.today, items[row, place], np.maximum(credit[row, place], 0))


def _liking(counts: np.ndarray) -> np.ndarray:
    """float32 (n, topics): 0 to 1 for counts up to the person's largest one, below 0 for what was hidden."""
    positive = np.maximum(counts, 0)
    return np.sqrt(positive / (positive.max(1, keepdims=True) + 1.0)) + 0.2 * np.minimum(counts, 0)


def draw_topics(weight: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """int (n, count): columns of ``weight`` (n, topics), each drawn with probability proportional to the root of its positive part."""
    cumulative = np.cumsum(np.sqrt(np.maximum(weight, 0).astype(np.float64)) + 1e-3, 1)
    target = rng.random((len(weight), count)) * cumulative[:, -1:]
    # one flat search instead of n small ones: every row is lifted above the last by its number
    lifted = (cumulative / cumulative[:, -1:] * 0.999999 + np.arange(len(weight))[:, None]).ravel()
    flat = np.searchsorted(lifted, (target / cumulative[:, -1:] * 0.999999 + np.arange(len(weight))[:, None]).ravel())
    return np.minimum(flat.reshape(len(weight), count) - np.arange(len(weight))[:, None] * weight.shape[1], weight.shape[1] - 1).clip(min=0)
