"""A list that somebody else made, in the order for one person: the results of another search engine, or any other list of items.

Nothing is retrieved. The items are scored by the full ranker of the feed, with the same features and the same last actions as a page has,
and ordered by what they are worth: ``standardised utility + relevance_weight * standardised relevance``, where the relevance is the
caller's score, or one over the caller's rank. Both are standardised over the items of the list that the catalogue knows.

What a caller may rely on:

- Nothing is added, and nothing left out but what is beyond ``k``. Items of equal worth stay in the caller's order.
- An item that the catalogue does not know keeps its place; the known ones share the places that are left. So it moves no other item.
- What a page of the feed would not show (the person hid it or blocked its creator, it cannot be had, the list is beside it) says so in its
  flags and stands last; without ``apply_rules`` it is ranked as any other.
- Without a ranker, or where it fails, the order is the caller's.
- No spreading over creators and categories, no fatigue, no random order: the list is another's page.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from corkboard.artifacts import ItemList
from corkboard.errors import CorkboardError, InputError, StoreError
from corkboard.feed.diversity import standardise
from corkboard.feed.explain import explain
from corkboard.feed.page import NOTES, Note, RecommendRequest
from corkboard.feed.reasons import Reasons
from corkboard.feed.served import Chosen, Ranked, Shortlist, served_row, trace_of
from corkboard.feed.weights import changed
from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.features import FEATURE_NAMES, RELATED
from corkboard.ranking.ranker import Ranker
from corkboard.ranking.request import RequestSide, UserVector, usable_vector
from corkboard.ranking.utility import changed_weights, utility, weight_vector
from corkboard.retrieval.blend import Retrieved
from corkboard.state.user_state import UserState

if TYPE_CHECKING:
    from corkboard.feed.home import Feed

MAX_ITEMS = 1000
"""Longest list."""
MAX_RELEVANCE_WEIGHT = 1e9
"""Largest ``relevance_weight``; with this much the order is the caller's, however long the list is."""
SURFACES_RANKED = ("home", RELATED, "search")
"""The surfaces that a list may be for: the ranker reads which one it is."""
CALLER = "caller"
"""The source of every item, in the served log."""
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

_RANKER_NOTES = frozenset(
    ("no_catalogue", "no_stats", "no_vectors", "no_embeddings", "no_user_vectors", "no_ranker", "artifact_unusable", "store_unreachable")
)
"""Which of the notes of a release are about ranking; the others are about finding, and nothing is found here."""
_ITEMS_AT_ONCE = 250
"""Items that the ranker scores in one go; it bounds memory."""
_DIGITS = 6
"""Utilities that agree in so many digits are equal: behind that, products of matrices of another shape differ."""
_REASON_ACTIONS, _REASON_COSINE = 30, 0.8
"""How many of the newest positive actions a reason may name, and how alike, by content, an item must be to what was acted on: towers put
most of what has nothing in common at 0.3 to 0.7."""


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
        if self.scores is not None and (len(self.scores) != n or not all(math.isfinite(score) for score in self.scores)):
            raise InputError("The scores do not go with the items", found=f"{len(self.scores)} scores", expected=f"{n} finite numbers")
        if weight is not None and not 0 <= weight <= MAX_RELEVANCE_WEIGHT:
            raise InputError("relevance_weight has a wrong value", found=weight, expected=f"0 to {MAX_RELEVANCE_WEIGHT:g}")
        if not all(math.isfinite(value) for value in (self.weights or {}).values()):
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
        return RecommendRequest(surface=self.surface_asked, item_id=self.item_id, query=self.query, k=self.answered, **who)

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


def as_given(request: RankRequest) -> list[RankedItem]:
    """The answer of somebody who knows nothing: the first ``k`` items in the caller's order."""
    return [RankedItem(item_id, n, n) for n, item_id in enumerate(request.item_ids[: request.answered], 1)]


def reorder(feed: Feed, request: RankRequest) -> RankedList:
    """``request``'s list in the order for its person; whatever is missing, ``notes`` says what.

    Threads may share ``feed``. Raises :class:`InputError` for ``explain`` of more than ``feed.max_k`` items, and :class:`ConfigError` for
    weights of actions that have none.
    """
    most = feed.settings.max_k
    if request.explain and request.answered > most:
        hint = "Ask for fewer with k."
        raise InputError("So many items are not explained at once", found=request.answered, expected=f"at most {most}", hint=hint)
    return _Reordering(feed, request).run()


@dataclass(frozen=True)
class _Scored:
    """The known items of a list in the caller's order; arrays are parallel, length n."""

    places: np.ndarray
    """int64: where in the caller's list."""
    rows: np.ndarray
    relevance: np.ndarray
    """float64: what the caller's score or place adds to the worth."""
    worth: np.ndarray
    """float64: what the list is ordered by; of all alike without a ranker."""
    utility: np.ndarray
    """float32: by the ranker; the relevance without one."""
    features: np.ndarray
    heads: tuple[str, ...] = ()
    probabilities: np.ndarray | None = None


class _Reordering:
    """One list on its way into order."""

    def __init__(self, feed: Feed, request: RankRequest):
        self.feed, self.request, self.parts = feed, request, feed.parts
        self.request_id = uuid.uuid4().hex
        self.weights = self._weights(feed.weights)
        self.notes: list[Note] = []
        self.timings_ms: dict[str, float] = {}
        self._last = time.perf_counter()
        for entry in self.parts.notes:
            if entry.code in _RANKER_NOTES:
                self.notes.append(Note(entry.code, LIST_NOTES.get(entry.code, entry.text)))

    def run(self) -> RankedList:
        state = self._state()
        side = self._side(state)
        self._passed("state")
        scored = self._scored(side)
        flags = self._flags(state, scored)
        order = self._order(scored, flags)[: self.request.answered]
        reasons = self._reasons(state, scored)
        items = self._items(order, scored, flags, reasons)
        self._passed("ordering")
        served = self._served(side, scored, order) if len(scored.places) else None
        if served is not None and self.request.log:
            self._log(served)
        self._passed("log")
        explanations = self._explanations(side, served, items) if self.request.explain else ()
        return RankedList(self.request_id, self.parts.release, tuple(items), tuple(self.notes), served, explanations, self.timings_ms)

    def _note(self, code: str, detail: str = "") -> None:
        text = LIST_NOTES.get(code) or NOTES[code]
        self.notes.append(Note(code, f"{text} ({detail})" if detail else text))

    def _passed(self, stage: str) -> None:
        now = time.perf_counter()
        self.timings_ms[stage] = 1000 * (now - self._last)
        self._last = now

    # ---------------------------------------------------------------------------------------------------------- the person

    def _weights(self, weights: UtilityWeights) -> UtilityWeights:
        changes = self.request.weights or {}
        return changed(weights, [f"{name}={float(value)!r}" for name, value in changes.items()]) if changes else weights

    def _state(self) -> UserState:
        """What is known of the person; notes say where that is little."""
        request, key = self.request, self.request.page.user_key
        if request.tenant != self.parts.tenant:
            self._note("other_tenant")
        if request.user_id is None:
            self._note("session_only")
        try:
            state = self.feed.store.state(key, request.tenant)
        except StoreError as error:
            self._note("store_unreachable", str(error))
            return UserState(key)
        if state.last_ms is None:
            self._note("unknown_user")
        elif not state.positives(1):
            self._note("empty_history")
        return state

    def _side(self, state: UserState) -> RequestSide:
        """What the person brings to this list, as a page would read it."""
        settings, request = self.feed.settings, self.request
        now_ms = int(time.time() * 1000) if request.now_ms is None else request.now_ms
        last_ms = state.last_ms
        if last_ms is not None and now_ms <= last_ms <= now_ms + 1000 * settings.clock_skew_s:
            now_ms = last_ms + 1  # clocks differ a little, and an acknowledged action counts at once
        length = settings.sequence_length if settings.ranker_sequence else 0
        vector, surface = self._user_vector(state, now_ms), request.surface_asked
        side = RequestSide.of(state, now_ms, surface, self.parts.items, vector, length, request.item_id)
        if surface == RELATED and side.beside < 0:
            self._note("unknown_item")
        return side

    def _user_vector(self, state: UserState, now_ms: int) -> UserVector | None:
        table = self.parts.user_vectors
        if table is None:
            return None
        remembered = self.feed.has_base and not any(entry.code == "store_unreachable" for entry in self.notes)
        vector, too_old = usable_vector(table, state, now_ms, self.feed.settings.user_vector_max_age_hours, remembered)
        if too_old:
            self._note("user_vector_too_old")
        return vector

    # ---------------------------------------------------------------------------------------------------------- the order

    def _scored(self, side: RequestSide) -> _Scored:
        """The items that are known, with what the ranker makes of them.

        They are scored in the order of their rows, so that the numbers do not depend on the caller's order in the last digit.
        """
        request = self.request
        rows = self.parts.catalogue.rows(request.item_ids)
        if request.tenant != self.parts.tenant:
            rows = np.full_like(rows, -1)
        places = np.flatnonzero(rows >= 0)
        if len(places) < len(rows):
            self._note("unknown_items", f"{len(rows) - len(places)} of {len(rows)}")
        rows = rows[places]
        by_row, relevance = np.argsort(rows), self._relevance(places)
        back = np.argsort(by_row)
        features = side.features(rows[by_row])
        self._passed("features")
        ranker = self.parts.ranker
        probabilities = None if ranker is None or not len(rows) else self._probabilities(ranker, side, rows[by_row], features)
        self._passed("ranking")
        if ranker is None or probabilities is None:
            return _Scored(places, rows, relevance, np.zeros(len(rows)), relevance.astype(np.float32), features[back])
        expected = utility(ranker.heads, probabilities, self.weights)
        worth = self._personal(ranker, probabilities, expected)[back] + relevance
        return _Scored(places, rows, relevance, worth, expected[back], features[back], ranker.heads, probabilities[back])

    def _personal(self, ranker: Ranker, probabilities: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """float64 ``(n,)``: the utility ``expected``, standardised, without the digits that rounding made."""
        largest = float((probabilities @ np.abs(weight_vector(ranker.heads, self.weights))).max())
        return standardise(np.round(expected.astype(np.float64) / largest, _DIGITS) if largest else expected)

    def _relevance(self, places: np.ndarray) -> np.ndarray:
        """float64 ``(n,)``: of the items at ``places`` of the list. Only they count, so that what is not known changes nothing."""
        given, weight = self.request.scores, self.request.relevance_weight
        weight = self.feed.settings.search.relevance_weight if weight is None else weight
        relevance = 1 / (1.0 + np.arange(len(places))) if given is None else np.asarray(given, np.float64)[places]
        largest = np.abs(relevance).max(initial=0.0)  # divided by, so that scores may be as small or large as a number can be
        return weight * standardise(relevance / largest if largest else relevance)

    def _probabilities(self, ranker: Ranker, side: RequestSide, rows: np.ndarray, features: np.ndarray) -> np.ndarray | None:
        """float32 ``(n, heads)``; None where the ranker fails."""
        starts = range(0, len(rows), _ITEMS_AT_ONCE)
        try:
            parts = [ranker.score(side.ranker_input(rows[at : at + _ITEMS_AT_ONCE], features[at : at + _ITEMS_AT_ONCE])) for at in starts]
        except CorkboardError as error:
            self._note("ranker_failed", str(error))
            return None
        probabilities = np.concatenate(parts)
        if not np.isfinite(probabilities).all():
            self._note("ranker_failed", "it answered with numbers that are not finite")
            return None
        return probabilities

    def _flags(self, state: UserState, scored: _Scored) -> list[tuple[str, ...]]:
        """Flags of every item of the list, in the caller's order."""
        catalogue, request = self.parts.catalogue, self.request
        rows = np.full(len(request.item_ids), -1, np.int64)
        rows[scored.places] = scored.rows
        hidden, blocks = state.hidden, state.blocks
        beside = request.item_id if request.surface_asked == RELATED else None
        flags = []
        for item_id, row in zip(request.item_ids, rows.tolist(), strict=True):
            there = {
                "unknown": row < 0,
                "hidden": item_id in hidden,
                "blocked_creator": bool(blocks) and row >= 0 and catalogue.value("creator_id", row) in blocks,
                "unavailable": row >= 0 and not catalogue.available[row],
                "beside": item_id == beside,
            }
            flags.append(tuple(name for name, holds in there.items() if holds))
        return flags

    def _order(self, scored: _Scored, flags: Sequence[tuple[str, ...]]) -> list[int]:
        """Places of the caller's list in their new order: the known ones by worth, the others where they were, what is ruled out last."""
        last = {place for place, said in enumerate(flags) if self.request.apply_rules and set(said) - {"unknown"}}
        if last:
            self._note("ruled_last", f"{len(last)} of {len(flags)}")
        known = scored.places[np.argsort(-scored.worth, kind="stable")].tolist()
        there = set(known)
        staying = [place for place in range(len(flags)) if place not in there]
        free = [place for place in known if place not in last]
        ruled = [place for place in (*known, *staying) if place in last]
        return _merged([place for place in staying if place not in last], free) + ruled

    def _items(
        self, order: Sequence[int], scored: _Scored, flags: Sequence[tuple[str, ...]], reasons: Sequence[str | None]
    ) -> list[RankedItem]:
        number = {place: n for n, place in enumerate(scored.places.tolist())}
        items = []
        for rank, place in enumerate(order, 1):
            item_id, n = self.request.item_ids[place], number.get(place)
            if n is None:
                items.append(RankedItem(item_id, rank, place + 1, flags=flags[place]))
            elif scored.probabilities is None:
                items.append(RankedItem(item_id, rank, place + 1, reason=reasons[n], flags=flags[place]))
            else:
                heads = dict(zip(scored.heads, scored.probabilities[n].tolist(), strict=True))
                numbers = float(scored.utility[n]), float(scored.worth[n]), float(scored.relevance[n])
                items.append(RankedItem(item_id, rank, place + 1, *numbers, heads, reasons[n], flags[place]))
        return items

    def _reasons(self, state: UserState, scored: _Scored) -> list[str | None]:
        """For each known item what speaks for it, of what this person did: who made it, or the nearest thing that they acted on."""
        catalogue, items, rows = self.parts.catalogue, self.parts.items, scored.rows
        acted = dict.fromkeys(action.item_id for action in state.positives(_REASON_ACTIONS) if action.item_id is not None)
        past = catalogue.rows(acted)
        past = past[past >= 0]
        seeds = np.full(len(rows), -1, np.int64)
        by_source = np.zeros((len(rows), 3), np.float32)
        follows = state.follows
        by_source[:, 0] = [bool(follows) and catalogue.value("creator_id", row) in follows for row in rows.tolist()]
        if len(past) and len(rows):
            cosines = np.where(rows[:, None] == past, -1.0, items.vectors(rows)[0] @ items.vectors(past)[0].T)
            creators = catalogue.codes("creator_id")
            same = (creators[rows][:, None] == creators[past]) & (creators[past] >= 0) & (rows[:, None] != past)
            near, made = cosines.max(axis=1) >= _REASON_COSINE, same.any(axis=1)
            by_source[:, 1], by_source[:, 2] = near, made & ~near
            seeds = np.where(near, past[cosines.argmax(axis=1)], np.where(made, past[same.argmax(axis=1)], -1))
        ids = catalogue.ids_of(rows)
        found = ItemList(ids, np.zeros(len(ids), np.float32), [(CALLER,)] * len(ids))
        reasons = Reasons(Retrieved(found, rows, seeds, by_source, ("followed", "nearest", "same_creator"), []), catalogue, state)
        return [reasons.of(n) if some else None for n, some in enumerate(by_source.any(axis=1).tolist())]

    # ---------------------------------------------------------------------------------------------------------- the log

    def _served(self, side: RequestSide, scored: _Scored, order: Sequence[int]) -> dict[str, Any]:
        """The row of the served log: of the items that were answered the known ones, at the places where they stand, for at most as many
        places as the longest page has. What is logged counts as shown until an impression says what was seen."""
        parts, request, settings = self.parts, self.request, self.feed.settings
        number = {place: n for n, place in enumerate(scored.places.tolist())}
        logged = [(position, number[place]) for position, place in enumerate(order[: settings.max_k]) if place in number]
        n, ids = len(scored.rows), parts.catalogue.ids_of(scored.rows)
        sources = [(CALLER,)] * n
        ranked = Ranked(
            ids, scored.rows, sources, scored.features, scored.heads, scored.probabilities, scored.utility, np.zeros(n), np.zeros(n)
        )
        chosen = Chosen(np.array([n for _, n in logged], np.int64), {})
        weight = settings.search.relevance_weight if request.relevance_weight is None else request.relevance_weight
        kind = "given" if scored.probabilities is None else parts.ranker_kind
        origin = {
            "user_vector_space": None if parts.user_vectors is None else str(parts.user_vectors.space),
            "user_vector_ms": None if side.vector is None else side.vector.newest_ms,
            "policy": f"rank/{kind}",
            "release": parts.release,
            "artifacts": list(parts.artifacts),
            "flags": [f"relevance_weight={weight:g}", *changed_weights(self.weights)],
        }
        length = settings.sequence_length if settings.ranker_sequence else 0
        row = served_row(request.page, self.request_id, side.now_ms, side.state, ranked, chosen, self.notes, origin, length)
        for slot, (position, _) in zip(row["slots"], logged, strict=True):
            slot["position"] = position
        row["chain"] = []
        if settings.trace or request.explain:
            shortlist = Shortlist(ids, sources, scored.relevance.astype(np.float32), None, np.arange(n))
            row["trace"] = trace_of(shortlist, ranked, chosen, {}, self.weights.model_dump(), None)
        return row

    def _log(self, served: Mapping[str, Any]) -> None:
        try:
            self.feed.store.log_served([served])
        except StoreError as error:
            self._note("not_logged", str(error))

    def _explanations(
        self, side: RequestSide, served: Mapping[str, Any] | None, items: Sequence[RankedItem]
    ) -> tuple[dict[str, Any] | None, ...]:
        ranker, most, explained = self.parts.ranker, self.feed.settings.explained_features, []
        nothing = np.zeros((1, len(FEATURE_NAMES)), np.float32)
        for item in items:
            if served is None or "unknown" in item.flags:
                explained.append(None)
                continue
            given = side.ranker_input(np.array([self.parts.catalogue.row(item.item_id)]), nothing)
            explained.append(explain(served, item.item_id, ranker, most, given))
            if item.relevance:
                effect = f"the caller's list adds {item.relevance:+.2f} standard deviations of the scores"
                explained[-1]["rules"].append({"rule": "relevance", "effect": effect})
        return tuple(explained)


def _merged(staying: Sequence[int], moving: Sequence[int]) -> list[int]:
    """``staying`` (ascending) at the places that they name, ``moving`` in their order at the others; where nothing moves any more, those
    that stay move up."""
    order: list[int] = []
    waiting, others = iter(staying), iter(moving)
    place = next(waiting, None)
    for other in others:
        while place is not None and place <= len(order):
            order.append(place)
            place = next(waiting, None)
        order.append(other)
    return order + ([] if place is None else [place, *waiting])
