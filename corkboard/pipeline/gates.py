"""What a release must pass before it goes live, on the last day of the data.

Nothing that serves has learned from that day: the item-kNN ends the midnight before, everything else earlier, and the counters
are taken as they were when it began. Users who did something on it get the page they would have been served then, and the page
is held against what they did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.artifacts import Release, Releases
from corkboard.errors import ArtifactError
from corkboard.feed.home import Feed, RecommendRequest
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE, user_key_expr
from corkboard.seeds import generator
from corkboard.settings import Settings
from corkboard.state.base import BaseStates
from corkboard.state.memory import MemoryStore
from corkboard.state.replay import base_states

USERS = 150
"""Users that are looked at, drawn by seed among those of the last day."""
PAGE = 25
ENOUGH_USERS = 20
"""With fewer users on the last day, it says nothing of the quality of a release."""
DOUBT = 0.025
"""A fall that chance alone brings more often than this is no fall."""
MAY_LOSE = 0.2
"""Share of the live release's recall that a new one may lose: one that is better in other ways may be a little worse in this."""


@dataclass(frozen=True)
class LastDay:
    """Users of the last day, what each then acted on for the first time, and their states as it began."""

    starts_ms: int
    taken: dict[str, set[str]]
    store: MemoryStore


class Gates:
    """The gates of one build. The last day is read once and serves every release."""

    def __init__(self, lake: Lake, calendar: Calendar, releases: Releases, settings: Settings):
        self._releases, self._settings = releases, settings
        self._day = _last_day(lake, calendar, settings)
        self._hits: dict[str, np.ndarray] = {}

    def failed(self, release: Release) -> list[dict]:
        """The gates that ``release`` does not pass: name, found, expected. Empty when it may go live."""
        try:
            for artifact in release.artifacts.values():
                artifact.check()
        except ArtifactError as error:
            return [{"gate": "whole", "found": str(error), "expected": "every file as in its manifest"}]
        return [*self._pages(release), *self._no_worse(release)]

    def _pages(self, release: Release) -> Iterator[dict]:
        """Every page is full, without repeats, and its scores are numbers."""
        feed = self._feed(release)
        wanted = min(PAGE, int(feed.catalogue.available.sum()))
        for user in [*list(self._day.taken)[:20], "nobody knows this user"]:
            items = feed.recommend(self._request(user)).items
            if len(items) < wanted or len(set(items)) < len(items) or not np.isfinite(items.scores).all():
                yield {
                    "gate": "pages",
                    "found": f"{len(set(items))} items for {user}",
                    "expected": f"{wanted} different ones with finite scores",
                }
                return

    def _no_worse(self, release: Release) -> Iterator[dict]:
        """Recall of the last day has not fallen by more than ``MAY_LOSE``, as far as the day can tell: fallen beyond doubt, that is."""
        live = self._releases.current()
        if live is None or live.id == release.id or len(self._day.taken) < ENOUGH_USERS:
            return
        taken = np.array([len(items) for items in self._day.taken.values()])
        found, before = self._hits_of(release), self._hits_of(live)
        least = (1 - MAY_LOSE) * before.sum() / taken.sum()
        if found.sum() / taken.sum() < least and chance_of_falling(before - found) < DOUBT:
            recall = float(found.sum() / taken.sum())
            yield {"gate": "recall of the last day", "found": round(recall, 4), "expected": f"at least {least:.4f}"}

    def _hits_of(self, release: Release) -> np.ndarray:
        """int64 ``(users,)``: how much of what each user took on the last day stood on the page of 25 as it began."""
        if release.id not in self._hits:
            feed = self._feed(release)
            pages = ((set(feed.recommend(self._request(user)).items), taken) for user, taken in self._day.taken.items())
            self._hits[release.id] = np.array([len(page & taken) for page, taken in pages], np.int64)
        return self._hits[release.id]

    def _feed(self, release: Release) -> Feed:
        settings, stats_day = self._settings, self._day.starts_ms // DAY_MS
        made_by = settings.feed, settings.ranking.utility, settings.retrieval
        return Feed.load(release, self._day.store, *made_by, stats_day=stats_day, walk=settings.graph.walk)

    def _request(self, user_key: str) -> RecommendRequest:
        return RecommendRequest(user_id=user_key, tenant=self._settings.tenant, k=PAGE, now_ms=self._day.starts_ms, log=False)


def chance_of_falling(fallen: np.ndarray) -> float:
    """The chance of falling as far as ``fallen``, integer ``(users,)``, if a coin had said of each user whether they lose or gain.

    The exact paired randomisation test, one-sided: counts of a day are too few for a normal approximation.
    """
    chances = np.ones(1)  # of each sum of what the users so far lost, from the lowest that there can be
    for size in np.abs(fallen[fallen != 0]).tolist():
        chances = np.convolve(chances, [0.5, *[0.0] * (2 * size - 1), 0.5])
    return float(chances[len(chances) // 2 + int(fallen.sum()) :].sum())


def _last_day(lake: Lake, calendar: Calendar, settings: Settings) -> LastDay:
    starts_ms = calendar.end_ms - DAY_MS
    positive = lake.actions(end_ms=calendar.end_ms).filter(pl.col("action").is_in(list(POSITIVE)) & pl.col("item_id").is_not_null())
    firsts = positive.with_columns(user_key=user_key_expr()).unique(["user_key", "item_id"], keep="first", maintain_order=True)
    known = lake.items(before_ms=starts_ms)["item_id"]
    firsts = firsts.filter((pl.col("time_ms") >= starts_ms) & pl.col("item_id").is_in(known.implode()))
    taken = {user: set(items) for user, items in firsts.group_by("user_key", maintain_order=True).agg("item_id").iter_rows()}
    users = sorted(taken)
    if len(users) > USERS:
        users = sorted(generator(settings.seed, "gates").choice(users, USERS, replace=False).tolist())
    store = MemoryStore(settings.state, BaseStates.load(base_states(lake.until(starts_ms), settings.state.limits)))
    return LastDay(starts_ms, {user: taken[user] for user in users}, store)
