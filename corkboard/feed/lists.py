"""Lists that somebody else made: what an order is asked for with, and what comes back. :mod:`corkboard.feed.reorder` makes it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from corkboard.errors import InputError
from corkboard.feed.page import Note, RecommendRequest
from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.ranking.features import RELATED

MAX_ITEMS = 1000
"""Longest list."""
MAX_RELEVANCE_WEIGHT = 1e9
"""Largest ``relevance_weight``; with this much the order is the caller's, however long the list is."""
SURFACES_RANKED = ("home", RELATED, "search")
"""The surfaces that a list may be for: the ranker reads which one it is."""
FLAGS: Mapping[str, str] = {
    "unknown": "the catalogue does not know it, so it keeps its place; deleted items are among them after a build",
    "hidden": "the user hid or reported it",
    "blocked_creator": "the user blocked its creator",
    "unavailable": "it cannot be had, or was deleted since the release was made",
    "beside": "it is the item that the list is beside",
}
"""Every flag of an item. All but the first are rules of the feed."""
LIST_NOTES: Mapping[str, str] = {
    "no_ranker": "The release has no ranker; the order is the caller's.",
    "ranker_failed": "The ranker could not score this list; the order is the caller's.",
    "store_unreachable": "The store cannot be read; nothing is known of this user.",
    "not_logged": "The list could not be written to the served log.",
    "unknown_item": "The item that the list is beside is not known; the list is ordered as on home.",
    "unknown_items": "The catalogue does not know some of the items; they keep their places.",
    "ruled_last": "Some items stand last because a page of the feed would leave them out; their flags say why.",
}
"""Notes that lists have and pages have not, or say in other words."""


@dataclass(frozen=True)
class RankRequest:
    """One list to put into order. Raises :class:`InputError` for what the caller got wrong.

    ``item_ids`` are 1 to :data:`MAX_ITEMS` distinct ids in the caller's order, ``scores`` the caller's scores, higher is better, of all of
    them or None, where the relevance is one over the rank. ``relevance_weight`` is what it counts beside the utility, both in standard
    deviations: 0 leaves the order to the ranker, None takes ``feed.search.relevance_weight``. ``weights`` are laid over the utility weights
    of the feed, by action. ``surface`` is one of :data:`SURFACES_RANKED`: None means "related" with ``item_id``, the item that the list is
    beside, "search" with ``query``, else "home". ``k`` asks for the first so many of the ordered list. ``log`` False leaves no trace.
    """

    item_ids: Sequence[str]
    user_id: str | None = None
    session_id: str | None = None
    tenant: str = DEFAULT_TENANT
    scores: Sequence[float] | None = None
    surface: str | None = None
    item_id: str | None = None
    query: str | None = None
    relevance_weight: float | None = None
    weights: Mapping[str, float] | None = None
    apply_rules: bool = True
    k: int | None = None
    explain: bool = False
    now_ms: int | None = None
    log: bool = True

    def __post_init__(self) -> None:
        n, weight = len(self.item_ids), self.relevance_weight
        if self.user_id is None and self.session_id is None:
            hint = "For a visitor without a name send any session_id."
            raise InputError("A list is ranked for somebody", expected="user_id or session_id", hint=hint)
        if not 1 <= n <= MAX_ITEMS:
            raise InputError("The list has a wrong length", found=n, expected=f"1 to {MAX_ITEMS} items")
        twice = [item_id for item_id, times in Counter(self.item_ids).items() if times > 1]
        if twice:
            hint = "Send every item once; which of its places counts is for you to say."
            raise InputError("An item is in the list more than once", found=twice[:10], expected="distinct item ids", hint=hint)
        if self.scores is not None and (len(self.scores) != n or not all(map(_finite, self.scores))):
            raise InputError("The scores do not go with the items", found=f"{len(self.scores)} scores", expected=f"{n} finite numbers")
        if weight is not None and not (_finite(weight) and 0 <= weight <= MAX_RELEVANCE_WEIGHT):
            raise InputError("relevance_weight has a wrong value", found=weight, expected=f"0 to {MAX_RELEVANCE_WEIGHT:g}")
        if not all(map(_finite, (self.weights or {}).values())):
            raise InputError("A utility weight has a wrong value", found=self.weights, expected="finite numbers by action")
        if self.k is not None and self.k < 1:
            raise InputError("A list needs at least one item", found=self.k, expected="k >= 1")
        self._check_surface()

    def _check_surface(self) -> None:
        surface = self.surface_asked
        if surface not in SURFACES_RANKED:
            raise InputError("No list is ranked for this surface", found=surface, expected=list(SURFACES_RANKED))
        if (surface == RELATED) != (self.item_id is not None):
            expected = "item_id with the surface related, and with no other"
            raise InputError("Surface and item do not go together", found=[surface, self.item_id], expected=expected)
        if surface == "search" and self.query is None:
            raise InputError("A search is for something", expected="query")

    @property
    def surface_asked(self) -> str:
        """The surface, filled in."""
        if self.surface is not None:
            return self.surface
        return RELATED if self.item_id is not None else "home" if self.query is None else "search"

    @property
    def page(self) -> RecommendRequest:
        """The same person and place, as the request for a page would name them."""
        who = {"user_id": self.user_id, "session_id": self.session_id, "tenant": self.tenant}
        about = {"item_id": self.item_id, "query": self.query, "now_ms": self.now_ms}
        return RecommendRequest(surface=self.surface_asked, k=self.answered, **about, **who)

    @property
    def answered(self) -> int:
        """How many items are answered."""
        return len(self.item_ids) if self.k is None else min(self.k, len(self.item_ids))


@dataclass(frozen=True)
class RankedItem:
    """One item of the answer. Ranks are from 1."""

    item_id: str
    rank: int
    old_rank: int
    utility: float | None = None
    """What is expected of it, in the unit of the utility weights; None where no ranker scored it."""
    worth: float | None = None
    """What the list is ordered by, in standard deviations: utility and relevance together."""
    relevance: float | None = None
    """What the caller's score or place adds to ``worth``."""
    heads: Mapping[str, float] = field(default_factory=dict)
    """P(action) by action."""
    reason: str | None = None
    """Why for this person, in words for them; None where nothing they did is near to it."""
    flags: tuple[str, ...] = ()
    """Some of :data:`FLAGS`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "heads": dict(self.heads), "flags": list(self.flags)}


@dataclass(frozen=True)
class RankedList:
    """A list in its new order, notes on what was missing, and the row for the served log (None where nothing of it is known).

    ``explanations`` are there where they were asked for, parallel to ``items``, None for an item that is not known.
    """

    request_id: str
    release: str
    items: tuple[RankedItem, ...]
    notes: tuple[Note, ...]
    served: Mapping[str, Any] | None
    explanations: tuple[dict[str, Any] | None, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds by stage, in the order of the stages."""

    @property
    def item_ids(self) -> list[str]:
        """The items in their new order."""
        return [item.item_id for item in self.items]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the served row."""
        items = [item.to_dict() for item in self.items]
        for item, explanation in zip(items, self.explanations, strict=False):
            item["explanation"] = explanation
        notes = [{"code": entry.code, "text": entry.text} for entry in self.notes]
        return {"request_id": self.request_id, "release": self.release, "items": items, "notes": notes}


def _finite(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:
        return False


def as_given(request: RankRequest) -> list[RankedItem]:
    """The answer of somebody who knows nothing: the first ``k`` items in the caller's order."""
    return [RankedItem(item_id, n, n) for n, item_id in enumerate(request.item_ids[: request.answered], 1)]
