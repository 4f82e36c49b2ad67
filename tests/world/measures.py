"""What can be counted in the log of a world, with the truth at hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from corkboard.world.behaviour import ACTIONS
from corkboard.world.catalogue import TOPICS
from corkboard.world.people import INTERESTS
from corkboard.world.world import World

HOUR_MS = 3_600_000
POSITIVE = ACTIONS[:6]
HIDES = ACTIONS[6:]


@dataclass
class Shown:
    """Pages of a world as (pages, places) arrays, in order of person and time."""

    world: World

    @cached_property
    def pages(self) -> dict[str, np.ndarray]:
        return self.world.simulation.log.pages.whole()

    @cached_property
    def order(self) -> np.ndarray:
        return np.lexsort((self.pages["time_ms"], self.pages["user"]))

    def column(self, name: str) -> np.ndarray:
        return self.pages[name][self.order]

    @cached_property
    def items(self) -> np.ndarray:
        return np.maximum(self.column("items"), 0)

    @cached_property
    def there(self) -> np.ndarray:
        return self.column("items") >= 0

    @cached_property
    def topics(self) -> np.ndarray:
        return self.world.behaviour.catalogue.topic[self.items]

    def did(self, *names: str) -> np.ndarray:
        """bool (pages, places): one of these actions was done."""
        actions = self.world.simulation.log.actions.whole()
        chosen = np.isin(actions["action"], [ACTIONS.index(name) for name in names])
        done = np.zeros(self.pages["items"].shape, bool)
        done[actions["page"][chosen], actions["position"][chosen]] = True
        return done[self.order]

    def last_topic(self) -> np.ndarray:
        """int (pages,): topic of the last positive action within the hour before the page, -1 for none."""
        positive, users, times = self.did(*POSITIVE), self.column("user"), self.column("time_ms")
        last = np.full(len(users), -1)
        topic, when, who = -1, 0, -1
        for row in range(len(users)):
            if users[row] != who:
                topic, who = -1, users[row]
            if topic >= 0 and times[row] - when < HOUR_MS:
                last[row] = topic
            if positive[row].any():
                topic, when = self.topics[row, np.flatnonzero(positive[row])[-1]], times[row]
        return last

    def topics_before(self, *names: str) -> np.ndarray:
        """bool (pages, places): the person had done one of these to an item of the topic on an earlier page."""
        done, users = self.did(*names), self.column("user")
        past = np.zeros(self.items.shape, bool)
        known, who = np.zeros(TOPICS, bool), -1
        for row in range(len(users)):
            if users[row] != who:
                known, who = np.zeros(TOPICS, bool), users[row]
            past[row] = known[self.topics[row]]
            known[self.topics[row, done[row]]] = True
        return past

    def interested(self) -> np.ndarray:
        """bool (pages, places): the topic is one of the person's long-term interests."""
        interests = self.world.behaviour.people.interests
        weight = np.zeros((self.world.config.users, TOPICS))
        np.add.at(weight, (np.arange(len(weight))[:, None].repeat(INTERESTS, 1), interests.topic), interests.weight)
        return weight[self.column("user")[:, None], self.topics] > 0


def rate_ratio(strata: np.ndarray, exposed: np.ndarray, happened: np.ndarray) -> float:
    """How much likelier it happened to the exposed than to the others of the same stratum (Mantel and Haenszel 1959)."""
    _, stratum = np.unique(strata, return_inverse=True)
    count = stratum.max() + 1
    n1, n0 = (np.bincount(stratum, mask, count) for mask in (exposed, ~exposed))
    a, c = (np.bincount(stratum, mask & happened, count) for mask in (exposed, ~exposed))
    total = n1 + n0
    return float((a * n0 / total).sum() / (c * n1 / total).sum())
