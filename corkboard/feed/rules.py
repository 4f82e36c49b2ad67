"""Rules: what may not be on a page at all. They take items out of the search itself, so that candidates are never wasted.

No rule knows topics. What a page should have more or less of after a tap is for the sources and the ranker to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from corkboard.feed.config import SeenConfig
from corkboard.feed.filters import PageFilter
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.schema import POSITIVE
from corkboard.retrieval.catalogue import Catalogue
from corkboard.state.user_state import UserState

EXPLANATIONS = {
    "beside": "it is the item that the page is beside",
    "in_look": "it is in the look already",
    "hidden": "the user hid or reported it",
    "blocked_creator": "the user blocked its creator",
    "on_this_chain": "an earlier page of this chain showed it",
    "acted": "the user acted on it not long ago",
    "seen": "the user was shown it often enough",
}
"""Every rule by name, and why it takes an item out. The last two give way where too little is left."""

_SOFT = ("acted", "seen")


@dataclass
class Allowed:
    """``mask`` is bool over catalogue rows; ``dropped`` names the items that a rule about this user took out."""

    mask: np.ndarray
    dropped: dict[str, list[str]] = field(default_factory=dict)

    def count(self) -> int:
        return int(np.count_nonzero(self.mask))


def apply_rules(
    state: UserState, now_ms: int, catalogue: Catalogue, wanted: PageFilter, chain: Iterable[str], config: SeenConfig, beside: int = -1
) -> Allowed:
    """The items that may stand on a page for this user now; ``beside`` is the row of the item that it is beside, -1 for none."""
    allowed = Allowed(wanted.mask(catalogue))
    if 0 <= beside < len(allowed.mask):
        _drop(allowed, catalogue, "beside", catalogue.ids_of([beside]))
    _drop(allowed, catalogue, "hidden", state.hidden)
    _drop(allowed, catalogue, "on_this_chain", chain)
    _drop(allowed, catalogue, "acted", acted_items(state, now_ms, config))
    _drop(allowed, catalogue, "seen", seen_items(state, now_ms, config))
    for creator in state.blocks:
        rows = catalogue.rows_with("creator_id", catalogue.code("creator_id", creator))
        _drop(allowed, catalogue, "blocked_creator", catalogue.ids_of(rows))
    return allowed


def relax(allowed: Allowed, catalogue: Catalogue, state: UserState, wanted: PageFilter, chain: Iterable[str]) -> Allowed:
    """The same without the rules that give way: seen items return, hidden items and blocked creators do not."""
    mask = wanted.mask(catalogue)
    kept = {name: ids for name, ids in allowed.dropped.items() if name not in _SOFT}
    for ids in (*kept.values(), state.hidden, chain):
        mask[_inside(catalogue, ids, len(mask))] = False
    return Allowed(mask, kept)


def acted_items(state: UserState, now_ms: int, config: SeenConfig) -> Iterator[str]:
    """Ids with a positive action that is not too long ago."""
    since = now_ms - config.acted_days * DAY_MS
    counting = frozenset(POSITIVE) if config.close_ups_count else frozenset(POSITIVE) - {"close_up"}
    return (
        action.item_id
        for action in state.positives()
        if action.action in counting and action.time_ms >= since and action.item_id is not None
    )


def seen_items(state: UserState, now_ms: int, config: SeenConfig) -> Iterator[str]:
    """Ids shown so often, and last so recently, that they are left out."""
    since = now_ms - config.window_days * DAY_MS
    return (item_id for item_id, shown in state.shown.items() if shown.times >= config.max_times and shown.last_ms > since)


def fatigue(state: UserState, now_ms: int, ids: list[str], config: SeenConfig) -> np.ndarray:
    """float64 ``(len(ids),)``: what having been shown costs each item, in standard deviations of the candidates' scores.

    Impression discounting (Lee et al., KDD'14), with the number of showings and their age in closed form:
    ``fatigue * log2(1 + times) * exp(-hours / fatigue_hours)``.
    """
    cost = np.zeros(len(ids))
    shown = state.shown
    if not shown or config.fatigue == 0:
        return cost
    for place, item_id in enumerate(ids):
        seen = shown.get(item_id)
        if seen is not None:
            hours = max(0, now_ms - seen.last_ms) / 3_600_000
            cost[place] = config.fatigue * np.log2(1 + seen.times) * np.exp(-hours / config.fatigue_hours)
    return cost


def _drop(allowed: Allowed, catalogue: Catalogue, rule: str, ids: Iterable[str]) -> None:
    rows = np.unique(_inside(catalogue, ids, len(allowed.mask)))
    if len(rows):
        allowed.mask[rows] = False
        allowed.dropped.setdefault(rule, []).extend(catalogue.ids_of(rows))


def _inside(catalogue: Catalogue, ids: Iterable[str], n: int) -> np.ndarray:
    """int64 rows of those ids that the mask of n rows knows."""
    rows = catalogue.rows(ids)
    return rows[(rows >= 0) & (rows < n)]
