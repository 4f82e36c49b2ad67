"""What a page is asked for with, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from corkboard.artifacts import ItemList
from corkboard.errors import InputError
from corkboard.lake.schema import DEFAULT_TENANT, SESSION_KEY

NOTES: Mapping[str, str] = {
    "no_catalogue": "The release has no catalogue, so there is nothing to show.",
    "no_stats": "The release has no item counters; popularity and action rates are unknown.",
    "no_vectors": "The release has no content vectors; nothing can be found by likeness.",
    "no_neighbours": "The release has no item-to-item neighbours.",
    "no_content_tower": "The release cannot encode new items; they are found by age and popularity only.",
    "no_embeddings": "The release has no item embeddings; nothing can be found by a user's own vector.",
    "no_item_tower": "The release cannot place new items beside the user vectors; they are found by content, age and popularity.",
    "no_user_vectors": "The release has no user vectors; only recent actions tell what somebody likes.",
    "user_vector_too_old": "The user's vector misses actions that are too old by now; only recent actions tell what they like.",
    "no_light_ranker": "The release has no light ranker; the sources' own order chooses what is ranked in full.",
    "no_ranker": "The release has no ranker; items are in the order of the stage before.",
    "light_ranker_failed": "The light ranker could not score this page; the sources' own order chose what was ranked in full.",
    "ranker_failed": "The ranker could not score this page; items are in the order of the stage before.",
    "artifact_unusable": "A part of the release could not be read and is left out.",
    "source_failed": "A candidate source failed and was left out.",
    "store_unreachable": "The store cannot be read; the page knows nothing of this user.",
    "not_logged": "The page could not be written to the served log.",
    "unknown_user": "Nothing is known of this user yet.",
    "session_only": "The visitor has no user id; only this session is known.",
    "empty_history": "The user has done nothing yet that tells a taste.",
    "few_candidates": "The candidate sources had too little; the page was filled up with the newest items.",
    "no_graph": "The release has no graph; nothing is found by walks.",
    "no_graph_vectors": "The release has no graph vectors; nothing is found by what people put together.",
    "no_graph_encoder": "The release cannot place new items in its graph; they are found by content, age and popularity.",
    "unknown_item": "The item that the page is beside is not known; the page is what can be shown without it.",
    "few_related": "Too little belongs to the item; the page was filled up with what home would show.",
    "no_visual": "The release cannot look for pictures; the page is what can be found without.",
    "no_picture": "The picture of the item is not known yet; the page is what can be found without it.",
    "picture_failed": "The picture could not be looked at; the page is what can be found without.",
    "few_pictures": "Fewer items with a picture may be shown than were asked for.",
    "no_looks": "The release cannot look into pictures for what is in them, or cannot tell what goes together.",
    "no_objects": "Nothing was found in the picture.",
    "whole_picture": "Nothing was found in the picture; these products look like the whole of it.",
    "few_matches": "No product here looks like some of what is in the picture; that is left out.",
    "empty_category": "No product of the category can be shown with this look.",
    "no_search": "The query cannot be looked for; the page is what home would show.",
    "no_words_index": "The release cannot look for words; items are found by the meaning of the query alone.",
    "no_meaning": "The release cannot look for meanings; items are found by their words alone.",
    "meaning_failed": "The meaning of the query could not be looked for; items are found by their words alone.",
    "by_meaning": "Some of these items do not have the words, but match the meaning of the query.",
    "no_words": "No item that may be shown here has the words; these match the meaning of the query.",
    "corrected": "A word is in no item; what is spelt like it was searched instead.",
    "unknown_words": "Some words are in no item; the others were searched.",
    "no_match": "No item that may be shown here has the words.",
    "no_products": "There was nothing to buy when the release was made; the shop knows only what arrived since.",
    "no_product_vectors": "The release has no vectors of products; the shop finds them as any other item.",
    "no_product_encoder": "The release cannot place new products; the shop finds them as any other item.",
    "other_tenant": "The release holds no items of this tenant.",
    "seen_again": "Too little is left that was not seen; items seen before are back.",
    "short_catalogue": "There are fewer items to show than were asked for.",
    "cursor_unreadable": "The cursor cannot be read; this is a first page.",
    "cursor_lost": "What was shown on earlier pages is not known any more; items may repeat.",
}
"""Every code a page can be annotated with, and its sentence."""


@dataclass(frozen=True)
class Note:
    """One thing that was not as it should be: ``code`` for machines, ``text`` for people."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.text} [{self.code}]"


def note(code: str, detail: str = "") -> Note:
    """The note ``code``, with a detail behind its sentence."""
    return Note(code, f"{NOTES[code]} ({detail})" if detail else NOTES[code])


@dataclass(frozen=True)
class RecommendRequest:
    """One request for a page. Raises :class:`InputError` without user and session, and for k below 1.

    ``item_id`` is the item that a page of the surface "related" is beside, and whose picture one of the surface "visual" looks like; other
    pages only log it. ``image`` is a picture to look like, uint8 ``(height, width, 3)``, upright, and ``crop`` the part of it that counts:
    left, top, right and bottom as shares in [0, 1]. It is not kept; ``image_hash``, the sha256 of what was handed in, is logged.
    ``query`` is what a page of the surface "search" answers; other pages only log it.
    Of the surfaces "shop_the_look" and "complete_the_look" ``item_id`` or ``image`` is the look, and ``k`` counts for each object and each
    shelf; a look to complete may also be ``item_ids``, and ``category`` is what it shall be completed with.
    ``now_ms`` is UTC milliseconds and None means the clock. ``log`` False serves a page that leaves no trace.
    """

    surface: str = "home"
    user_id: str | None = None
    session_id: str | None = None
    tenant: str = DEFAULT_TENANT
    k: int = 25
    cursor: str | None = None
    filter: Mapping[str, Any] | None = None
    explain: bool = False
    item_id: str | None = None
    query: str | None = None
    image: np.ndarray | None = field(default=None, repr=False, compare=False)
    image_hash: str | None = None
    crop: tuple[float, float, float, float] | None = None
    item_ids: tuple[str, ...] = ()
    category: str | None = None
    now_ms: int | None = None
    log: bool = True

    def __post_init__(self) -> None:
        if self.user_id is None and self.session_id is None:
            raise InputError(
                "A page is for somebody", expected="user_id or session_id", hint="For a visitor without a name send any session_id."
            )
        if self.k < 1:
            raise InputError("A page needs at least one item", found=self.k, expected="k >= 1")

    @property
    def user_key(self) -> str:
        """Whose state is read: the user's, or that of the session of somebody unknown."""
        return self.user_id if self.user_id is not None else f"{SESSION_KEY}{self.session_id}"


@dataclass(frozen=True)
class LookedAt:
    """One object of a picture, and the products that look like it."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom as shares of the whole upright picture in [0, 1]."""
    category: str
    second_category: str | None
    """What it may be instead, where it is unclear."""
    score: float
    """How sure the detector is, in [0, 1]; 0 for a whole picture in which it found nothing."""
    item_ids: tuple[str, ...]
    """Most alike first. Two objects may have the same."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {"category": self.category, "second_category": self.second_category, "score": self.score}
        return {"box": list(self.box), **plain, "item_ids": list(self.item_ids)}


@dataclass(frozen=True)
class Shelf:
    """Products of one category that go with a look, best first."""

    category: str
    item_ids: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"category": self.category, "item_ids": list(self.item_ids)}


@dataclass(frozen=True)
class Page:
    """One page: items in order, notes on what was missing, and the row for the served log.

    ``next_cursor`` is None at the end of what can be shown; ``explanations`` are there where they were asked for, one an item.
    """

    request_id: str
    release: str
    items: ItemList
    next_cursor: str | None
    notes: tuple[Note, ...]
    served: dict[str, Any]
    explanations: tuple[dict[str, Any], ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds by stage, in the order of the stages."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many candidates each stage had: ``source_candidates``, ``light_candidates``, ``full_candidates``. A ranker that is missing or
    failed had 0."""
    objects: tuple[LookedAt, ...] | None = None
    """What was found in the picture, on the surface "shop_the_look" alone."""
    shelves: tuple[Shelf, ...] | None = None
    """What completes the look, by category, on the surface "complete_the_look" alone."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the served row."""
        rows = zip(self.items.item_ids, self.items.scores.tolist(), self.items.sources, self.items.reasons, strict=True)
        items = [{"item_id": item, "score": score, "source": list(sources), "reason": reason} for item, score, sources, reason in rows]
        for item, explanation in zip(items, self.explanations, strict=False):
            item["explanation"] = explanation
        notes = [{"code": entry.code, "text": entry.text} for entry in self.notes]
        answer = {"request_id": self.request_id, "release": self.release, "items": items, "next_cursor": self.next_cursor, "notes": notes}
        for name, single, groups in (("objects", "object", self.objects), ("shelves", "shelf", self.shelves)):
            if groups is not None:
                answer[name] = [group.to_dict() for group in groups]
                first = {shown: number for number in reversed(range(len(groups))) for shown in groups[number].item_ids}
                for item in items:
                    item[single] = first[item["item_id"]]
        return answer
