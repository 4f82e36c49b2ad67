"""What is in people's heads at a moment: the intent they came with, what they have had enough of, and what they have seen.

:class:`Minds` holds the present of everybody and is changed as they act. :class:`Mind` is what behaviour reads: the same arrays for a few
people at a time of one's choosing, cut from the present here, or rebuilt from the log by :mod:`corkboard.world.oracle`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from corkboard.world.boards import Boards, Projects
from corkboard.world.catalogue import TOPICS, Catalogue
from corkboard.world.config import DAY_MS, WorldConfig
from corkboard.world.draws import draw_column
from corkboard.world.people import People
from corkboard.world.vocabulary import FACETS

HOUR_MS = 3_600_000
INTENT_TOPICS = 4
FOCUS = 2
FOCUS_FACETS = ("style", "shade", "pattern", "material", "use", "size")
"""What an intent can ask for, by code; queries name it, whichever view it shows in."""
SESSION_GAP_MS = 30 * 60_000
INTENT_COLUMNS = ("user", "start_ms", "end_ms", "fade_ms", "topics", "weights", "focus_facet", "focus_value", "outside", "shopping")


@dataclass
class Mind:
    """The heads of n people at their times; rows go with ``users``."""

    users: np.ndarray
    time_ms: np.ndarray
    intent: np.ndarray
    """float32 (n,): strength of the intent, 0 to 1."""
    intent_topics: np.ndarray
    """float32 (n, TOPICS): how well each topic serves it, 0 to 1."""
    focus_facet: np.ndarray
    """int (n, FOCUS): row of FOCUS_FACETS, -1 for none."""
    focus_value: np.ndarray
    shopping: np.ndarray
    """bool (n,): the intent is to buy."""
    satiation: np.ndarray
    """float32 (n, TOPICS): looked-at items, decayed."""
    seen: np.ndarray
    """int32 (n, slots): seen item rows by ``row % slots``, -1 for none."""
    seen_ms: np.ndarray


@dataclass
class Minds:
    """The present of everybody; the first axis is people."""

    config: WorldConfig
    start_ms: np.ndarray
    end_ms: np.ndarray
    fade_ms: np.ndarray
    topics: np.ndarray
    weights: np.ndarray
    focus_facet: np.ndarray
    focus_value: np.ndarray
    outside: np.ndarray
    shopping: np.ndarray
    satiation: np.ndarray
    satiation_ms: np.ndarray
    seen: np.ndarray
    seen_ms: np.ndarray
    log: list[dict[str, np.ndarray]] = field(default_factory=list)
    """Every intent that anyone ever had, in the order they began."""

    @classmethod
    def blank(cls, config: WorldConfig) -> Minds:
        n, slots = config.users, config.seen_slots
        long, small = (lambda *shape: np.zeros((n, *shape), np.int64)), (lambda *shape: np.full((n, *shape), -1, np.int64))
        return cls(
            config,
            long(),
            long(),
            np.ones(n, np.int64),
            small(INTENT_TOPICS),
            np.zeros((n, INTENT_TOPICS), np.float32),
            small(FOCUS),
            small(FOCUS),
            np.zeros(n, bool),
            np.zeros(n, bool),
            np.zeros((n, TOPICS), np.float32),
            long(),
            np.full((n, slots), -1, np.int32),
            long(slots),
        )

    def at(self, users: np.ndarray, time_ms: np.ndarray) -> Mind:
        """The heads of ``users`` (n,) at ``time_ms`` (n,), which must not be before anything they have done."""
        strength = intent_strength(self.start_ms[users], self.end_ms[users], self.fade_ms[users], time_ms)
        decay = np.exp(-np.maximum(time_ms - self.satiation_ms[users], 0) / (self.config.sessions.satiation_hours * HOUR_MS))
        return Mind(
            users,
            time_ms,
            strength,
            spread_topics(self.topics[users], self.weights[users]),
            self.focus_facet[users],
            self.focus_value[users],
            self.shopping[users],
            self.satiation[users] * decay[:, None].astype(np.float32),
            self.seen[users],
            self.seen_ms[users],
        )

    def look(self, mind: Mind, catalogue: Catalogue, items: np.ndarray, looked: np.ndarray) -> None:
        """``mind.users`` were shown ``items`` (n, slots; -1 for none) and look at each as much as ``looked`` says."""
        users, rows = mind.users, np.arange(len(mind.users))
        satiation = np.zeros((len(users), TOPICS))
        shown = np.maximum(items, 0)
        np.add.at(satiation, (rows[:, None], catalogue.topic[shown]), np.where(items >= 0, looked, 0.0))
        self.satiation[users] = mind.satiation + satiation.astype(np.float32)
        self.satiation_ms[users] = mind.time_ms
        row, place = np.nonzero(items >= 0)
        item = items[row, place]
        slot = item % self.config.seen_slots
        self.seen[users[row], slot] = item  # of two items of one slot the one lower on the page stays
        self.seen_ms[users[row], slot] = mind.time_ms[row]

    def intend(self, users: np.ndarray, columns: dict[str, np.ndarray]) -> None:
        """``users`` begin the intents in ``columns`` (INTENT_COLUMNS but ``user``, rows beside ``users``)."""
        for name, values in columns.items():
            getattr(self, name)[users] = values
        if len(users):
            self.log.append({"user": users, **columns})


def intent_strength(start_ms: np.ndarray, end_ms: np.ndarray, fade_ms: np.ndarray, time_ms: np.ndarray) -> np.ndarray:
    """float32: 1 from its start to its end, then fading; 0 before it and where there is none (end 0)."""
    over = np.maximum(time_ms - end_ms, 0) / np.maximum(fade_ms, 1)
    return np.where((end_ms > 0) & (time_ms >= start_ms), np.exp(-np.minimum(over, 50.0)), 0.0).astype(np.float32)


def spread_topics(topics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float32 (n, TOPICS) from topic rows (n, k; -1 for none) and their weights."""
    dense = np.zeros((len(topics), TOPICS), np.float32)
    rows = np.arange(len(topics))
    for place in range(topics.shape[1]):
        there = topics[:, place] >= 0
        dense[rows[there], topics[there, place]] = np.maximum(dense[rows[there], topics[there, place]], weights[there, place])
    return dense


@dataclass(frozen=True)
class Intentions:
    """How intents come about."""

    config: WorldConfig
    people: People
    boards: Boards
    projects: Projects

    def begin(self, minds: Minds, users: np.ndarray, time_ms: np.ndarray, rng: np.random.Generator) -> None:
        """``users`` begin a session: an intent that still lives mostly goes on, otherwise most of them bring a new one."""
        if not self.config.mechanisms.intent:
            return
        alive = intent_strength(minds.start_ms[users], minds.end_ms[users], minds.fade_ms[users], time_ms) > 0.3
        fresh = (rng.random(len(users)) < self.config.sessions.intent_share) & ~(alive & (rng.random(len(users)) < 0.85))
        if fresh.any():
            minds.intend(users[fresh], self._draw(users[fresh], time_ms[fresh], rng))

    def _draw(self, users: np.ndarray, time_ms: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        sessions, n = self.config.sessions, len(users)
        interest = self.people.interests.strength(users, time_ms, self.config)
        outside = rng.random(n) < sessions.intent_outside
        needed, _ = self.boards.wanted(self.projects, users, time_ms)
        liked = interest > 0.02
        far = np.where(liked | (self.people.dislike_topic[users] > 0), 0.0, np.exp(self.people.topic_appeal)[None, :])
        weight = np.where(outside[:, None], far * (0.5 + 6 * needed), interest) + 1e-9
        main = draw_column(rng, weight)
        topics = np.full((n, INTENT_TOPICS), -1)
        topics[:, 0] = main
        weights = np.zeros((n, INTENT_TOPICS), np.float32)
        weights[:, 0] = 1.0
        self._along(users, time_ms, main, topics, weights)
        facet = np.argsort(rng.random((n, len(FOCUS_FACETS))), 1)[:, :FOCUS]
        facet = np.where(np.arange(FOCUS)[None, :] < rng.choice(FOCUS + 1, n, p=[0.25, 0.45, 0.3])[:, None], facet, -1)
        hours = np.clip(sessions.intent_hours * np.exp(sessions.intent_spread * rng.normal(size=n)), 1 / 6, 24)
        return {
            "start_ms": time_ms,
            "end_ms": time_ms + (hours * HOUR_MS).astype(np.int64),
            "fade_ms": (hours * HOUR_MS * sessions.intent_fade).astype(np.int64),
            "topics": topics,
            "weights": weights,
            "focus_facet": facet,
            "focus_value": self._favourites(users, facet, rng),
            "outside": outside,
            "shopping": rng.random(n) < 0.3,
        }

    def _along(self, users: np.ndarray, time_ms: np.ndarray, main: np.ndarray, topics: np.ndarray, weights: np.ndarray) -> None:
        """An intent in a topic that one of the person's projects needs takes the project's other topics along."""
        project = np.where(self.boards.open(users, time_ms), self.boards.project[users], -1)
        need = self.projects.topics[np.maximum(project, 0), main[:, None]] * (project >= 0)
        best = need.argmax(1)
        rows = np.arange(len(users))
        along = self.projects.topics[np.maximum(project[rows, best], 0)].copy()
        along[rows, main] = 0.0
        order = np.argsort(-along, 1)[:, : INTENT_TOPICS - 1]
        strength = np.take_along_axis(along, order, 1) * 0.6 * (need.max(1) > 0)[:, None]
        topics[:, 1:] = np.where(strength > 0, order, -1)
        weights[:, 1:] = strength

    def _favourites(self, users: np.ndarray, facet: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Values of the facets asked for: what the person likes rather than not."""
        values = np.full(facet.shape, -1)
        for code, name in enumerate(FOCUS_FACETS):
            rows, place = np.nonzero(facet == code)
            taste = self.people.taste[name][users[rows]]
            values[rows, place] = (taste * 2 + rng.gumbel(size=(len(rows), len(FACETS[name])))).argmax(1)
        return values


def seen_before(mind: Mind, items: np.ndarray, slots: int, days: float) -> np.ndarray:
    """bool (n, items): seen by the person within the last ``days``."""
    slot = items % slots
    rows = np.arange(len(mind.users))[:, None]
    return (mind.seen[rows, slot] == items) & (mind.time_ms[:, None] - mind.seen_ms[rows, slot] < days * DAY_MS)
