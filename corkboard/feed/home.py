"""The home surface: state -> rules -> candidates -> features -> ranker -> utility -> diversity -> page -> served row.

A :class:`Feed` holds the parts of one release and is swapped as a whole; it keeps nothing about users. What cannot be
computed degrades to the next best thing and is named in the page's notes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from corkboard.artifacts import ItemList, Release
from corkboard.errors import CorkboardError, InputError, NotFound, StoreError
from corkboard.feed.config import FeedConfig
from corkboard.feed.cursor import Cursor, chain_of, read_cursor
from corkboard.feed.diversity import spread, standardise
from corkboard.feed.explain import explain
from corkboard.feed.filters import PageFilter, parse_filter
from corkboard.feed.page import Note, Page, RecommendRequest, note
from corkboard.feed.parts import FeedParts, LiveItems, load_parts
from corkboard.feed.reasons import Reasons
from corkboard.feed.rules import Allowed, apply_rules, fatigue, relax
from corkboard.feed.served import Chosen, Ranked, served_row, trace_of
from corkboard.lake.schema import user_key
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.features import request_features
from corkboard.ranking.ranker import RankerInput
from corkboard.ranking.user_side import user_side
from corkboard.ranking.utility import utility
from corkboard.retrieval.blend import FILL, Retrieved
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import SourceConfig
from corkboard.seeds import generator
from corkboard.state.stores import Store
from corkboard.state.user_state import UserState

__all__ = ["SURFACES_SERVED", "Feed", "Page", "RecommendRequest"]

SURFACES_SERVED = ("home",)
"""Surfaces that are built."""


@dataclass
class _Moment:
    """One request on its way to a page."""

    request: RecommendRequest
    request_id: str
    now_ms: int
    state: UserState
    wanted: PageFilter
    chain: list[str]
    page_number: int
    notes: list[Note]
    timings_ms: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def note(self, code: str, detail: str = "") -> None:
        self.notes.append(note(code, detail))

    def passed(self, stage: str) -> None:
        """Time since the stage before counts for ``stage``."""
        now = time.perf_counter()
        self.timings_ms[stage] = self.timings_ms.get(stage, 0.0) + 1000 * (now - self._last)
        self._last = now


class Feed:
    """Pages from one release and one store. Threads may share it."""

    def __init__(
        self, parts: FeedParts, store: Store, config: FeedConfig | None = None, weights: UtilityWeights | None = None, seed: int = 0
    ):
        self.parts, self.store, self.seed = parts, store, seed
        self.settings = config or FeedConfig()
        self.weights = weights or UtilityWeights()
        self.watermark = 0
        self._live = LiveItems(parts)

    @classmethod
    def load(
        cls,
        release: Release,
        store: Store,
        config: FeedConfig | None = None,
        weights: UtilityWeights | None = None,
        sources: SourceConfig | None = None,
        watermark: int = 0,
        seed: int = 0,
        stats_day: int | None = None,
    ) -> Feed:
        """Load ``release`` and bring its overlay up to date with items that reached ``store`` after ``watermark``.

        ``stats_day`` takes the counters as they were when that day began, for pages of the past.

        A store that cannot be read leaves the overlay empty; :meth:`catch_up` fills it later.
        """
        feed = cls(load_parts(release, sources or SourceConfig(), stats_day), store, config, weights, seed)
        feed.watermark = watermark
        try:
            feed.catch_up()
        except StoreError:
            feed.watermark = watermark
        return feed

    @property
    def catalogue(self) -> Catalogue:
        return self.parts.catalogue

    def with_weights(self, weights: UtilityWeights) -> Feed:
        """The same feed under other utility weights, sharing everything else: what a page would be if a save counted twice."""
        other = Feed(self.parts, self.store, self.settings, weights, self.seed)
        other.watermark, other._live = self.watermark, self._live
        return other

    # ------------------------------------------------------------------------------------------------------- live items

    def add_items(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Put item events (rows of the lake's ``items``) into the overlay; returns how many were new to it."""
        return self._live.add(rows)

    def catch_up(self) -> int:
        """Take every item event that the store got since the last time. Raises :class:`StoreError` where it cannot be read."""
        upto = self.store.sequence()
        if upto == self.watermark:
            return 0
        taken = self.add_items([row for _, row in self.store.items_since(self.watermark)])
        self.watermark = upto
        return taken

    # ------------------------------------------------------------------------------------------------------------- pages

    def recommend(self, request: RecommendRequest) -> Page:
        """A page, whatever is missing; ``notes`` says what. Raises :class:`InputError` only for what the caller got wrong."""
        moment = self._arrive(request)
        allowed = apply_rules(moment.state, moment.now_ms, self.catalogue, moment.wanted, moment.chain, self.settings.seen)
        allowed = self._enough(moment, allowed)
        moment.passed("rules")
        found = self._retrieve(moment, allowed)
        moment.passed("candidates")
        ranked = self._rank(moment, found)
        moment.passed("ranking")
        chosen = self._choose(moment, ranked)
        moment.passed("diversity")
        return self._answer(moment, allowed, found, ranked, chosen)

    def explain(self, request_id: str, item_id: str) -> dict[str, Any]:
        """Why ``item_id`` is on the page of ``request_id``, or why not. Raises :class:`NotFound` for a page that is not in the store."""
        served = self.store.served(request_id)
        if served is None:
            raise NotFound("There is no such page", found=request_id, expected="the request_id of a page that was served")
        return self._explained(served, item_id)

    # ------------------------------------------------------------------------------------------------------------- stages

    def _arrive(self, request: RecommendRequest) -> _Moment:
        if request.surface not in SURFACES_SERVED:
            raise InputError("This surface is not built", found=request.surface, expected=list(SURFACES_SERVED))
        if request.k > self.settings.max_k:
            raise InputError(
                "k is too large", found=request.k, expected=f"at most {self.settings.max_k}", hint="Ask for the next page with next_cursor."
            )
        notes = list(self.parts.notes)
        wanted = parse_filter(request.filter)
        now_ms = int(time.time() * 1000) if request.now_ms is None else request.now_ms
        moment = _Moment(request, uuid.uuid4().hex, now_ms, UserState(request.user_key), wanted, [], 1, notes)
        try:
            moment.state = self.store.state(request.user_key, request.tenant)
        except StoreError as error:
            moment.note("store_unreachable", str(error))
        moment.now_ms = self._settled(now_ms, moment.state)
        self._say_who(moment)
        self._follow_chain(moment)
        moment.passed("state")
        return moment

    def _settled(self, now_ms: int, state: UserState) -> int:
        """Just after what is known already, where clocks differ a little: an acknowledged action shapes the very next page."""
        last = state.last_ms
        if last is not None and now_ms <= last <= now_ms + 1000 * self.settings.clock_skew_s:
            return last + 1
        return now_ms

    def _say_who(self, moment: _Moment) -> None:
        request, state = moment.request, moment.state
        if request.tenant != self.parts.tenant:
            moment.note("other_tenant")
        if request.user_id is None:
            moment.note("session_only")
        if state.last_ms is None and not any(entry.code == "store_unreachable" for entry in moment.notes):
            moment.note("unknown_user")
        elif state.last_ms is not None and not state.positives(1):
            moment.note("empty_history")

    def _follow_chain(self, moment: _Moment) -> None:
        """What earlier pages of this chain have shown: from the served log, or from the cursor itself."""
        token = moment.request.cursor
        if token is None:
            return
        cursor = read_cursor(token)
        if cursor is None:
            moment.note("cursor_unreadable")
            return
        moment.page_number, moment.chain = cursor.page, list(cursor.shown)
        if cursor.shown:
            return
        try:
            served = self.store.served(cursor.request_id)
        except StoreError:
            served = None
        if served is None or user_key(served) != moment.request.user_key:
            moment.note("cursor_lost")
            return
        page = [slot["item_id"] for slot in served["slots"]]
        moment.chain = chain_of(served.get("chain", []), page, self.settings.chain_items)

    def _enough(self, moment: _Moment, allowed: Allowed) -> Allowed:
        """Seen items come back before a page stays short. Another tenant's page is empty rather than somebody else's."""
        if moment.request.tenant != self.parts.tenant:
            return Allowed(np.zeros_like(allowed.mask), allowed.dropped)
        if allowed.count() >= moment.request.k:
            return allowed
        relaxed = relax(allowed, self.catalogue, moment.state, moment.wanted, moment.chain)
        if relaxed.count() > allowed.count():
            moment.note("seen_again")
        return relaxed

    def _retrieve(self, moment: _Moment, allowed: Allowed) -> Retrieved:
        asked = CandidateRequest(moment.state, moment.now_ms, moment.request.surface, allowed.mask, self.catalogue)
        wanted = max(moment.request.k, self.parts.retrieval.settings.candidates)
        try:
            found = self.parts.retrieval.retrieve(asked, wanted)
        except CorkboardError as error:
            moment.note("source_failed", str(error))
            found = type(self.parts.retrieval)([]).retrieve(asked, wanted)
        if len(found) < moment.request.k:
            moment.note("short_catalogue")
        real = np.array([sources != (FILL,) for sources in found.items.sources], bool)
        if real.sum() < min(moment.request.k, len(found)):
            moment.note("few_candidates")
        # what only fills up was brought by nothing: it completes a page, and is not ranked against what was
        return found.take(np.argsort(~real, kind="stable")[: max(int(real.sum()), moment.request.k)])

    def _rank(self, moment: _Moment, found: Retrieved) -> Ranked:
        parts, state, now_ms = self.parts, moment.state, moment.now_ms
        user = user_side(state, now_ms, parts.items)
        features = request_features(state, now_ms, found.rows, parts.items, user=user)
        moment.passed("features")
        probabilities, heads = None, ()
        if parts.ranker is not None and len(found):
            given = RankerInput(state, now_ms, moment.request.surface, found.rows, parts.items, user, features)
            probabilities, heads = self._probabilities(moment, given), parts.ranker.heads
        blend = found.items.scores
        return Ranked(
            item_ids=found.items.item_ids,
            rows=found.rows,
            sources=found.items.sources,
            blend=blend,
            features=features,
            heads=heads,
            probabilities=probabilities,
            utility=blend if probabilities is None else utility(heads, probabilities, self.weights),
            fatigue=fatigue(state, now_ms, found.items.item_ids, self.settings.seen),
        )

    def _probabilities(self, moment: _Moment, given: RankerInput) -> np.ndarray | None:
        ranker = self.parts.ranker
        assert ranker is not None
        try:
            probabilities = ranker.score(given)
        except CorkboardError as error:
            moment.note("ranker_failed", str(error))
            return None
        if not np.isfinite(probabilities).all():
            moment.note("ranker_failed", "it answered with numbers that are not finite")
            return None
        return probabilities

    def _choose(self, moment: _Moment, ranked: Ranked) -> Chosen:
        catalogue, rows, k = self.catalogue, ranked.rows, moment.request.k
        relevance = standardise(ranked.utility) - ranked.fatigue
        vectors, _ = self.parts.items.vectors(rows)
        creators, categories = catalogue.codes("creator_id")[rows], catalogue.codes("category")[rows]
        page = spread(relevance, vectors, creators, categories, k, self.settings.diversity)
        share = self.settings.exploration.share
        if share > 0 and len(page.order):
            draw = generator(self.seed, "exploration", moment.request_id)
            if draw.random() < share:
                return Chosen(draw.permutation(page.order), page.capped, 1.0 / len(page.order))
        return Chosen(page.order, page.capped)

    def _answer(self, moment: _Moment, allowed: Allowed, found: Retrieved, ranked: Ranked, chosen: Chosen) -> Page:
        reasons = Reasons(found, self.catalogue, moment.state)
        taken = found.items.take(chosen.order)
        items = ItemList(
            taken.item_ids, ranked.utility[chosen.order], taken.sources, [reasons.of(place) for place in chosen.order.tolist()]
        )
        served = self._served(moment, allowed, ranked, chosen)
        logged = self._log(moment, served)
        moment.passed("log")
        more = allowed.count() > len(items) and len(items) > 0
        explanations = tuple(self._explained(served, item_id) for item_id in items) if moment.request.explain else ()
        cursor = self._next(moment, items, logged) if more else None
        return Page(moment.request_id, self.parts.release, items, cursor, tuple(moment.notes), served, explanations, moment.timings_ms)

    def _served(self, moment: _Moment, allowed: Allowed, ranked: Ranked, chosen: Chosen) -> dict[str, Any]:
        flags = [f"page:{moment.page_number}"] + (["random_order"] if chosen.propensity is not None else [])
        kind = self.parts.ranker_kind if ranked.probabilities is not None else "blend"
        origin = {
            "policy": f"{moment.request.surface}/{kind}",
            "release": self.parts.release,
            "artifacts": list(self.parts.artifacts),
            "flags": flags,
        }
        row = served_row(
            moment.request,
            moment.request_id,
            moment.now_ms,
            moment.state,
            ranked,
            chosen,
            moment.notes,
            origin,
            self.settings.sequence_length,
        )
        row["chain"] = moment.chain
        if self.settings.trace or moment.request.explain:
            row["trace"] = trace_of(ranked, chosen, allowed.dropped, self.weights.model_dump(), moment.request.filter)
        return row

    def _log(self, moment: _Moment, served: Mapping[str, Any]) -> bool:
        if not moment.request.log:
            return False
        try:
            self.store.log_served([served])
        except StoreError as error:
            moment.note("not_logged", str(error))
            return False
        return True

    def _next(self, moment: _Moment, items: ItemList, logged: bool) -> str:
        shown: Sequence[str] = () if logged else chain_of(moment.chain, items.item_ids, self.settings.cursor_items)
        return Cursor(moment.request_id, moment.page_number + 1, tuple(shown)).token()

    def _explained(self, served: Mapping[str, Any], item_id: str) -> dict[str, Any]:
        same = any(entry.startswith("ranker=") and entry in self.parts.artifacts for entry in served["artifacts"])
        return explain(served, item_id, self.parts.ranker if same else None, self.settings.explained_features)
