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

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from corkboard.artifacts import ItemList
from corkboard.errors import CorkboardError, InputError, StoreError
from corkboard.feed.arrival import Arrival
from corkboard.feed.diversity import standardise
from corkboard.feed.explain import explain
from corkboard.feed.lists import (
    FLAGS,
    LIST_NOTES,
    MAX_ITEMS,
    MAX_RELEVANCE_WEIGHT,
    SURFACES_RANKED,
    RankedItem,
    RankedList,
    RankRequest,
    as_given,
)
from corkboard.feed.page import NOTES, Note
from corkboard.feed.reasons import Reasons
from corkboard.feed.scoring import probabilities
from corkboard.feed.served import CALLER, RANK, Chosen, Ranked, Shortlist, origin_of, served_row, trace_of
from corkboard.feed.weights import changed
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.features import FEATURE_NAMES, RELATED
from corkboard.ranking.ranker import Ranker
from corkboard.ranking.request import RequestSide
from corkboard.ranking.utility import changed_weights, utility, weight_vector
from corkboard.retrieval.blend import Retrieved
from corkboard.state.user_state import UserState

if TYPE_CHECKING:
    from corkboard.feed.home import Feed

__all__ = [
    "FLAGS",
    "LIST_NOTES",
    "MAX_ITEMS",
    "MAX_RELEVANCE_WEIGHT",
    "SURFACES_RANKED",
    "RankRequest",
    "RankedItem",
    "RankedList",
    "as_given",
    "reorder",
]

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
        asked = request.relevance_weight
        self.relevance_weight = feed.settings.search.relevance_weight if asked is None else asked
        self.notes: list[Note] = []
        self.timings_ms: dict[str, float] = {}
        self._last = time.perf_counter()
        for entry in self.parts.notes:
            if entry.code in _RANKER_NOTES:
                self.notes.append(Note(entry.code, LIST_NOTES.get(entry.code, entry.text)))

    def run(self) -> RankedList:
        request, parts = self.request, self.parts
        who = Arrival.of(request.page, self.feed.store, parts, self.feed.settings, self.feed.has_base)
        for code, detail in who.said:
            self._note(code, detail)
        side = self._side(who)
        self._passed("state")
        scored = self._scored(side)
        flags = self._flags(who.state, scored)
        order = self._order(scored, flags)[: request.answered]
        items = self._items(order, scored, flags, self._reasons(who.state, scored))
        self._passed("ordering")
        served = self._served(who, scored, order, flags) if len(scored.places) else None
        if served is not None and request.log:
            self._log(served)
        self._passed("log")
        explanations = self._explanations(side, served, items) if request.explain else ()
        return RankedList(self.request_id, parts.release, tuple(items), tuple(self.notes), served, explanations, self.timings_ms)

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

    def _side(self, who: Arrival) -> RequestSide:
        """What the person brings to this list, as a page would read it."""
        surface, item_id, length = self.request.surface_asked, self.request.item_id, self.feed.settings.actions_read
        side = RequestSide.of(who.state, who.now_ms, surface, self.parts.items, who.vector, length, item_id)
        if surface == RELATED and side.beside < 0:
            self._note("unknown_item")
        return side

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
        scores = None if ranker is None or not len(rows) else self._probabilities(ranker, side, rows[by_row], features)
        self._passed("ranking")
        if ranker is None or scores is None:
            return _Scored(places, rows, relevance, np.zeros(len(rows)), relevance.astype(np.float32), features[back])
        expected = utility(ranker.heads, scores, self.weights)
        worth = self._personal(ranker, scores, expected)[back] + relevance
        return _Scored(places, rows, relevance, worth, expected[back], features[back], ranker.heads, scores[back])

    def _personal(self, ranker: Ranker, scores: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """float64 ``(n,)``: the utility ``expected``, standardised, without the digits that rounding made."""
        largest = float((scores @ np.abs(weight_vector(ranker.heads, self.weights))).max())
        return standardise(np.round(expected.astype(np.float64) / largest, _DIGITS) if largest else expected)

    def _relevance(self, places: np.ndarray) -> np.ndarray:
        """float64 ``(n,)``: of the items at ``places`` of the list. Only they count, so that what is not known changes nothing."""
        given, weight = self.request.scores, self.relevance_weight
        relevance = 1 / (1.0 + np.arange(len(places))) if given is None else np.asarray(given, np.float64)[places]
        largest = np.abs(relevance).max(initial=0.0)  # divided by, so that scores may be as small or large as a number can be
        return weight * standardise(relevance / largest if largest else relevance)

    def _probabilities(self, ranker: Ranker, side: RequestSide, rows: np.ndarray, features: np.ndarray) -> np.ndarray | None:
        """float32 ``(n, heads)``; None where the ranker fails."""
        try:
            batches = [slice(at, at + _ITEMS_AT_ONCE) for at in range(0, len(rows), _ITEMS_AT_ONCE)]
            return np.concatenate([probabilities(ranker, side, rows[batch], features[batch]) for batch in batches])
        except CorkboardError as error:
            self._note("ranker_failed", str(error))
            return None

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
        last = {place for place, said in enumerate(flags) if self._rules_of(said)}
        if last:
            self._note("ruled_last", f"{len(last)} of {len(flags)}")
        known = scored.places[np.argsort(-scored.worth, kind="stable")].tolist()
        there = set(known)
        staying = [place for place in range(len(flags)) if place not in there]
        free = [place for place in known if place not in last]
        ruled = [place for place in (*known, *staying) if place in last]
        return _merged([place for place in staying if place not in last], free) + ruled

    def _rules_of(self, flags: Sequence[str]) -> list[str]:
        """Those of an item's flags for which it stands last."""
        return [flag for flag in flags if self.request.apply_rules and flag != "unknown"]

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

    def _served(self, who: Arrival, scored: _Scored, order: Sequence[int], flags: Sequence[tuple[str, ...]]) -> dict[str, Any]:
        """The row of the served log: of the items that were answered the known ones, at the places where they stand, for at most as many
        places as the longest page has. What is logged counts as shown until an impression says what was seen."""
        parts, request, settings = self.parts, self.request, self.feed.settings
        number = {place: n for n, place in enumerate(scored.places.tolist())}
        logged = [(position, number[place]) for position, place in enumerate(order[: settings.max_k]) if place in number]
        n, ids, heads = len(scored.rows), parts.catalogue.ids_of(scored.rows), scored.probabilities
        sources = [(CALLER,)] * n
        added = np.zeros(n) if heads is None else scored.relevance  # without a ranker it is the order itself, and is added to nothing
        ranked = Ranked(ids, scored.rows, sources, scored.features, scored.heads, heads, scored.utility, np.zeros(n), added)
        chosen = Chosen(np.array([n for _, n in logged], np.int64), {})
        policy = f"{RANK}/{'given' if heads is None else parts.ranker_kind}"
        origin = origin_of(parts, who, policy, [f"relevance_weight={self.relevance_weight:g}", *changed_weights(self.weights)])
        row = served_row(request.page, self.request_id, who, ranked, chosen, self.notes, origin, settings.actions_read)
        for slot, (position, _) in zip(row["slots"], logged, strict=True):
            slot["position"] = position
        row["chain"] = []
        if settings.trace or request.explain:
            ruled = self._ruled(flags)
            shortlist = Shortlist(ids, sources, scored.relevance.astype(np.float32), None, np.arange(n))
            row["trace"] = trace_of(shortlist, ranked, chosen, ruled, self.weights.model_dump(), None)
        return row

    def _ruled(self, flags: Sequence[tuple[str, ...]]) -> dict[str, list[str]]:
        """The items that stand last, by the rule that put them there."""
        ruled: dict[str, list[str]] = {}
        for item_id, said in zip(self.request.item_ids, flags, strict=True):
            for rule in self._rules_of(said):
                ruled.setdefault(rule, []).append(item_id)
        return ruled

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
