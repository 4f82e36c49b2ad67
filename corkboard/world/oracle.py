"""What the world knows and nobody else does: true probabilities at any moment, and the bound no retrieval can pass.

Heads at a past moment are rebuilt from the log: the intent that had begun last, the satiation that earlier pages left, what was seen.
For now and the future the present is used, with what fades by then faded.
"""

from __future__ import annotations

import numpy as np

from corkboard.errors import InputError
from corkboard.world.behaviour import ACTIONS, Behaviour
from corkboard.world.catalogue import TOPICS
from corkboard.world.config import DAY_MS
from corkboard.world.log import Log
from corkboard.world.minds import FOCUS_FACETS, HOUR_MS, Mind, Minds, intent_strength, spread_topics
from corkboard.world.vocabulary import FACETS
from corkboard.world.vocabulary import TOPICS as TOPIC_WORDS

QUESTIONS = ("utility", "positive", *ACTIONS)
"""What the oracle can be asked for: expected utility (ActionValues), any positive action, or one action."""
USER_SHIFT = 43
"""Milliseconds take fewer bits than this; a person and a moment make one sortable number."""
BLOCK = 200_000
"""Pairs of a person and an item that are worked on at once."""


class Oracle:
    """True answers about the people and items of one world, given its log."""

    def __init__(self, behaviour: Behaviour, minds: Minds, log: Log):
        self.behaviour, self.minds, self.log = behaviour, minds, log
        self._index: tuple[int, np.ndarray, np.ndarray] = (-1, np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._intents: tuple[int, dict[str, np.ndarray], np.ndarray] = (-1, {}, np.zeros(0, np.int64))

    def answer(
        self, users: np.ndarray, time_ms: np.ndarray, items: np.ndarray, question: str, beside: np.ndarray | None = None
    ) -> np.ndarray:
        """float32 (n, k): the answer to ``question`` about ``items`` (n, k) shown to ``users`` (n,) at ``time_ms`` (n,), each looked at.

        Items that do not exist yet, or no more, get the answer of the moment they would be there; callers leave them out.
        """
        if question not in QUESTIONS:
            raise InputError("The oracle does not know this action", found=question, expected=QUESTIONS)
        mind = self.mind(users, time_ms)
        latents = self.behaviour.latents(mind, items, beside)
        chances = self.behaviour.chances(users, items, latents)
        if question == "positive":
            return chances.of_positive()
        by_action = chances.of_actions()
        return expected_utility(self.behaviour, by_action) if question == "utility" else by_action[ACTIONS.index(question)]

    def everything(self, users: np.ndarray, time_ms: int, question: str) -> np.ndarray:
        """float32 (users, items): ``answer`` for the whole catalogue at one moment; -inf where an item is not there at it."""
        c = self.behaviour.catalogue
        here = (c.created_ms <= time_ms) & (c.gone_ms > time_ms)
        scores = np.full((len(users), len(c)), -np.inf, np.float32)
        items = np.flatnonzero(here)
        step = max(1, BLOCK // max(len(items), 1))
        for first in range(0, len(users), step):
            block = users[first : first + step]
            grid = np.broadcast_to(items, (len(block), len(items)))
            scores[first : first + len(block), items] = self.answer(block, np.full(len(block), time_ms), grid, question)
        return scores

    def exposed(self, users: np.ndarray, start_ms: int, end_ms: int) -> np.ndarray:
        """float32 (users, items): probability of at least one positive action, given the pages that were in fact shown in [start, end).

        For every page the probability is that of the moment it was shown, position included. Nobody who does not know the future pages can
        choose items that are acted on more often in expectation, because given the pages that is all there is left to know.
        """
        pages = self.log.truth()
        chosen = np.flatnonzero((pages["time_ms"] >= start_ms) & (pages["time_ms"] < end_ms))
        row_of = np.full(self.behaviour.config.users, -1)
        row_of[users] = np.arange(len(users))
        chosen = chosen[row_of[pages["user"][chosen]] >= 0]
        missed = np.zeros((len(users), len(self.behaviour.catalogue)))
        if len(chosen):
            items = pages["items"][chosen]
            page, place = np.nonzero(items >= 0)
            chance = pages["positive"][chosen][page, place] * self.behaviour.looked(items.shape[1])[place]
            np.add.at(missed, (row_of[pages["user"][chosen]][page], items[page, place]), np.log1p(-np.minimum(chance, 0.999999)))
        return -np.expm1(missed).astype(np.float32)

    def intent(self, user: int, time_ms: int) -> dict[str, object]:
        """strength, topics (word -> how well it serves the intent), facets asked for and whether it is outside the long-term interests."""
        mind = self.mind(np.array([user]), np.array([time_ms]))
        topics = np.flatnonzero(mind.intent_topics[0] > 0)
        interest = self.behaviour.people.interests.strength(mind.users, mind.time_ms, self.behaviour.config)[0]
        asked = zip(mind.focus_facet[0].tolist(), mind.focus_value[0].tolist(), strict=True)
        main = int(mind.intent_topics[0].argmax())
        return {
            "strength": float(mind.intent[0]),
            "topics": {TOPIC_WORDS[k].words[0][0]: float(mind.intent_topics[0, k]) for k in topics.tolist()},
            "facets": {FOCUS_FACETS[facet]: FACETS[FOCUS_FACETS[facet]][value][0] for facet, value in asked if facet >= 0},
            "outside": bool(len(topics)) and float(interest[main]) <= 0.02,
            "shopping": bool(mind.shopping[0]),
        }

    def mind(self, users: np.ndarray, time_ms: np.ndarray) -> Mind:
        """The heads of ``users`` (n,) as they were at ``time_ms`` (n,), before what they saw at that very moment."""
        past = time_ms <= self.minds.satiation_ms[users]  # the moment of their last page
        mind = self.minds.at(users, time_ms)
        if past.any():
            self._rebuild(mind, np.flatnonzero(past))
        return mind

    def _pages(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted numbers of person and moment of every page, and the pages in that order."""
        if self._index[0] != self.log.pages.rows:
            pages = self.log.pages.whole()
            key = (pages["user"].astype(np.int64) << USER_SHIFT) | pages["time_ms"]
            order = np.argsort(key, kind="stable")
            self._index = (self.log.pages.rows, key[order], order)
        return self._index[1], self._index[2]

    def _rebuild(self, mind: Mind, rows: np.ndarray) -> None:
        """Overwrite ``rows`` of ``mind`` by what the log says."""
        seen_ms, pages = self._pages()
        config, catalogue = self.behaviour.config, self.behaviour.catalogue
        users, time_ms = mind.users[rows], mind.time_ms[rows]
        back = int(max(config.sessions.boredom_days * DAY_MS, 24 * config.sessions.satiation_hours * HOUR_MS))
        first = np.searchsorted(seen_ms, (users << USER_SHIFT) | np.maximum(time_ms - back, 0))
        end = np.searchsorted(seen_ms, (users << USER_SHIFT) | time_ms)
        count = end - first
        owner = np.repeat(np.arange(len(rows)), count)
        page = pages[np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count) + np.arange(count.sum())]
        whole = self.log.pages.whole()
        satiation = np.zeros((len(rows), TOPICS))
        seen, when = np.full((len(rows), config.seen_slots), -1, np.int32), np.zeros((len(rows), config.seen_slots), np.int64)
        if len(page):
            items = whole["items"][page]
            slot, place = np.nonzero(items >= 0)
            item, who, moment = items[slot, place], owner[slot], whole["time_ms"][page][slot]
            left = np.exp(-(time_ms[who] - moment) / (config.sessions.satiation_hours * HOUR_MS))
            np.add.at(satiation, (who, catalogue.topic[item]), self.behaviour.looked(items.shape[1])[place] * left)
            seen[who, item % config.seen_slots] = item
            when[who, item % config.seen_slots] = moment
        mind.satiation[rows], mind.seen[rows], mind.seen_ms[rows] = satiation, seen, when
        self._remember_intent(mind, rows)

    def _remember_intent(self, mind: Mind, rows: np.ndarray) -> None:
        users, time_ms = mind.users[rows], mind.time_ms[rows]
        columns, key = self._intent_log()
        last = np.searchsorted(key, (users << USER_SHIFT) | time_ms, side="right") - 1
        known = (last >= 0) & (columns["user"][np.maximum(last, 0)] == users) if len(key) else np.zeros(len(rows), bool)
        mind.intent[rows] = 0
        mind.intent_topics[rows] = 0
        mind.focus_facet[rows] = -1
        mind.shopping[rows] = False
        row, at = rows[known], last[known]
        if len(row):
            mind.intent[row] = intent_strength(columns["start_ms"][at], columns["end_ms"][at], columns["fade_ms"][at], time_ms[known])
            mind.intent_topics[row] = spread_topics(columns["topics"][at], columns["weights"][at])
            mind.focus_facet[row], mind.focus_value[row] = columns["focus_facet"][at], columns["focus_value"][at]
            mind.shopping[row] = columns["shopping"][at]

    def _intent_log(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        if self._intents[0] != len(self.minds.log):
            names = self.minds.log[0] if self.minds.log else {}
            columns = {name: np.concatenate([part[name] for part in self.minds.log]) for name in names}
            key = (columns["user"].astype(np.int64) << USER_SHIFT) | columns["start_ms"] if columns else np.zeros(0, np.int64)
            order = np.argsort(key, kind="stable")
            self._intents = (len(self.minds.log), {name: values[order] for name, values in columns.items()}, key[order])
        return self._intents[1], self._intents[2]


def expected_utility(behaviour: Behaviour, chances: np.ndarray) -> np.ndarray:
    """float32 (...): what is expected of the actions whose probabilities are on the first axis, in units of ActionValues."""
    values = np.array([getattr(behaviour.config.values, name) for name in ACTIONS], np.float32)
    return np.tensordot(values, chances, 1)
