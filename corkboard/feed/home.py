"""Pages: state -> rules -> candidates -> light ranker -> features -> ranker -> utility -> diversity -> page -> served row.

All surfaces are made here, each by its recipe (:mod:`corkboard.feed.surfaces`). Some 400 candidates go into the light ranker, some 120 of
them into features and the full ranker. What is known of the user is looked up once a request
(:class:`~corkboard.ranking.request.RequestSide`) and read by every stage.

A :class:`Feed` holds the parts of one release and is swapped as a whole; it keeps nothing about users. What cannot be
computed degrades to the next best thing and is named in the page's notes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from corkboard.artifacts import ItemList, Release
from corkboard.errors import CorkboardError, InputError, NotFound, StoreError
from corkboard.feed.arrival import Arrival
from corkboard.feed.config import ExplorationConfig, FeedConfig
from corkboard.feed.cursor import Cursor, chain_of, read_cursor
from corkboard.feed.diversity import spread, standardise
from corkboard.feed.explain import explain
from corkboard.feed.filters import PageFilter
from corkboard.feed.live_saves import LiveSaves, news_since
from corkboard.feed.look_parts import Looking
from corkboard.feed.looks import LOOKS, SHOP_THE_LOOK, Found, check_look, complete_look, look_rows, shop_look, without_look
from corkboard.feed.page import Note, Page, RecommendRequest, note
from corkboard.feed.parts import FeedParts, LiveItems, load_parts
from corkboard.feed.reasons import Reasons
from corkboard.feed.related import asked_beside, filled_from, found_by_sources, relevance
from corkboard.feed.rules import Allowed, apply_rules, fatigue, relax
from corkboard.feed.scoring import light_scores, probabilities
from corkboard.feed.search import SEARCH, by_meaning_alone, check_query, matching, usable
from corkboard.feed.served import Chosen, Ranked, Shortlist, origin_of, served_row, trace_of
from corkboard.feed.shop import filter_of
from corkboard.feed.surfaces import LIKENESS, ORDERS, SURFACES_SERVED, Recipe, home_recipe, lacking, made_as, recipe_of
from corkboard.feed.visual import VISUAL, Look, alike, asked_row, look_for, only_pictured, stored_hash
from corkboard.graph.config import WalkConfig
from corkboard.lake.schema import DEFAULT_TENANT, user_key
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.features import FEATURE_NAMES, RELATED, beside_row
from corkboard.ranking.history import logged_history
from corkboard.ranking.ranker import RankerInput
from corkboard.ranking.request import RequestSide, UserVector
from corkboard.ranking.user_side import user_side
from corkboard.ranking.utility import changed_weights, utility
from corkboard.retrieval.blend import Retrieval, Retrieved
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import RetrievalConfig
from corkboard.seeds import generator
from corkboard.state.memory import MemoryStore
from corkboard.state.stores import Store
from corkboard.state.user_state import UserState

__all__ = ["SURFACES_SERVED", "Feed", "Page", "RecommendRequest"]

_WARM_USER = "nobody (warming up)"
_WARM_ACTIONS = 30
_WARM_QUERY = "anything"
_WARM_SIDE = 64


@dataclass
class _Moment:
    """One request on its way to a page."""

    request: RecommendRequest
    request_id: str
    who: Arrival
    recipe: Recipe
    wanted: PageFilter
    notes: list[Note]
    weights: UtilityWeights
    beside: int = -1
    """The row of the item that a related page is beside, or whose picture a visual page looks like; -1 on home, and for an item that is
    not known."""
    look: Look | None = None
    """What the items of a visual page look like; None on other surfaces, and where it cannot be told."""
    chain: list[str] = field(default_factory=list)
    page_number: int = 1
    timings_ms: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
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
        self.has_base = True
        """Whether the store knows what users did before it was made. Otherwise somebody it knows nothing of may still be known."""
        self._live, self._saves = LiveItems(parts), LiveSaves(parts)

    @classmethod
    def load(
        cls,
        release: Release,
        store: Store,
        config: FeedConfig | None = None,
        weights: UtilityWeights | None = None,
        retrieval: RetrievalConfig | None = None,
        watermark: int = 0,
        seed: int = 0,
        stats_day: int | None = None,
        walk: WalkConfig | None = None,
        looking: Looking | None = None,
    ) -> Feed:
        """Load ``release`` and bring its overlays up to date with the items and saves that reached ``store`` after ``watermark``.

        ``stats_day`` takes the counters as they were when that day began, for pages of the past. ``retrieval`` says which sources
        the pages of each surface have, ``walk`` how long the walks of a request are, ``looking`` how looks are shopped and completed.

        A store that cannot be read leaves the overlay empty; :meth:`catch_up` fills it later.
        """
        feed = cls(load_parts(release, retrieval, stats_day, walk, looking), store, config, weights, seed)
        feed.watermark = watermark
        try:
            feed.catch_up()
        except StoreError:
            feed.watermark = watermark
        return feed

    @property
    def catalogue(self) -> Catalogue:
        return self.parts.catalogue

    def with_weights(self, weights: UtilityWeights, in_order: bool = False) -> Feed:
        """The same feed under other utility weights, sharing everything else: what a page would be if a save counted twice.

        ``in_order`` leaves out pages in random order, which would hide the difference.
        """
        settings = self.settings.model_copy(update={"exploration": ExplorationConfig()}) if in_order else self.settings
        other = Feed(self.parts, self.store, settings, weights, self.seed)
        other.watermark, other._live, other._saves = self.watermark, self._live, self._saves
        return other

    def use_weights(self, weights: UtilityWeights) -> None:
        """Order every page that begins from now on by ``weights``; pages on their way finish under those they began with."""
        self.weights = weights

    def warm_up(self) -> None:
        """Make a page of each kind for somebody made up: nobody shall wait for what is computed once (item sides, networks, imports)."""
        store, now_ms = MemoryStore(), int(time.time() * 1000)
        rows = np.flatnonzero(self.catalogue.available)[:_WARM_ACTIONS]
        store.append([_made_up(item_id, now_ms - 60_000 * (1 + n)) for n, item_id in enumerate(self.catalogue.ids_of(rows))])
        feed = Feed(self.parts, store, self.settings, self.weights)
        feed.recommend(RecommendRequest(user_id=_WARM_USER, now_ms=now_ms, log=False))
        for item_id in self.catalogue.ids_of(rows[:1]):
            feed.recommend(RecommendRequest(surface=RELATED, item_id=item_id, user_id=_WARM_USER, now_ms=now_ms, log=False))
        if usable(self.parts.words, self.parts.meaning):
            feed.recommend(RecommendRequest(surface=SEARCH, query=_WARM_QUERY, user_id=_WARM_USER, now_ms=now_ms, log=False))
        if self.parts.visual.encoder is not None:
            white = np.full((_WARM_SIDE, _WARM_SIDE, 3), 255, np.uint8)
            feed.recommend(RecommendRequest(surface=VISUAL, image=white, user_id=_WARM_USER, now_ms=now_ms, log=False))
        if self.parts.looks.finder is not None:
            white = np.full((_WARM_SIDE, _WARM_SIDE, 3), 255, np.uint8)
            feed.recommend(RecommendRequest(surface=SHOP_THE_LOOK, image=white, user_id=_WARM_USER, now_ms=now_ms, log=False))

    # ------------------------------------------------------------------------------------------------------- live items

    def add_items(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Put item events (rows of the lake's ``items``) into the overlay; returns how many were new to it."""
        return self._live.add(rows)

    def catch_up(self) -> int:
        """Take every item event, and every save to a public board, that the store got since the last time; returns how many items were
        new. Raises :class:`StoreError` where it cannot be read."""
        upto = self.store.sequence()
        if upto == self.watermark:
            return 0
        if self.parts.public_boards is None:
            taken = self.add_items([row for _, row in self.store.items_since(self.watermark)])
        else:
            items, others = news_since(self.store, self.watermark)
            taken = self.add_items(items)
            self._saves.add(others)
        self.watermark = upto
        return taken

    # ------------------------------------------------------------------------------------------------------------- pages

    def recommend(self, request: RecommendRequest) -> Page:
        """A page, whatever is missing; ``notes`` says what. Raises :class:`InputError` only for what the caller got wrong."""
        moment = self._arrive(request)
        if request.surface in LOOKS:
            return self._looked(moment)
        who, seen = moment.who, moment.recipe.seen
        allowed = apply_rules(who.state, who.now_ms, self.catalogue, moment.wanted, moment.chain, seen, moment.beside)
        allowed = self._enough(moment, allowed)
        if moment.look is not None and self.parts.visual.pictured is not None:
            allowed = only_pictured(allowed, self.parts.visual.pictured)
        moment.passed("rules")
        found = self._retrieve(moment, allowed)
        moment.passed("candidates")
        side = self._request_side(moment)
        moment.passed("user")
        shortlist = self._shorten(moment, side, found)
        moment.passed("light")
        found = found.take(shortlist.kept)
        ranked = self._rank(moment, side, found, shortlist)
        moment.counts["full_candidates"] = ranked.full_candidates
        moment.passed("ranking")
        chosen = self._choose(moment, ranked)
        moment.passed("diversity")
        return self._answer(moment, allowed, found, shortlist, ranked, chosen)

    def explain(self, request_id: str, item_id: str) -> dict[str, Any]:
        """Why ``item_id`` is on the page of ``request_id``, or why not. Raises :class:`NotFound` for a page that is not in the store."""
        served = self.store.served(request_id)
        if served is None:
            raise NotFound("There is no such page", found=request_id, expected="the request_id of a page that was served")
        return self._explained(served, item_id)

    # ------------------------------------------------------------------------------------------------------------- stages

    def _arrive(self, request: RecommendRequest) -> _Moment:
        started = time.perf_counter()
        self._check(request)
        wanted = filter_of(request)
        beside, unknown = self._asked(request)
        who = Arrival.of(request, self.store, self.parts, self.settings, self.has_base)
        look, said = look_for(request, beside, self.parts.visual) if request.surface == VISUAL else (None, [])
        recipe = recipe_of(request, beside, look, self.parts, self.settings)
        notes = [*self.parts.notes, *([note("unknown_item")] if unknown else []), *(note(code, detail) for code, detail in who.said)]
        notes += [*said, *lacking(request.surface, self.parts)]
        moment = _Moment(request, uuid.uuid4().hex, who, recipe, wanted, notes, self.weights, beside, look, _last=started)
        if request.surface == VISUAL:
            moment.passed("picture")
        self._follow_chain(moment)
        moment.passed("state")
        return moment

    def _asked(self, request: RecommendRequest) -> tuple[int, bool]:
        """The row of the item that the page is beside, or whose picture is asked with, -1 for none; whether it should be one that is
        unknown."""
        if request.surface in LOOKS:
            row, _, unknown = look_rows(request, self.catalogue)
            return row, unknown
        pictured, unknown_picture = asked_row(request, self.catalogue)
        beside, unknown = asked_beside(request, self.parts.items)
        return max(beside, pictured), unknown or unknown_picture

    def _check(self, request: RecommendRequest) -> None:
        """Raises :class:`InputError` for what the caller got wrong."""
        if request.surface not in SURFACES_SERVED:
            raise InputError("This surface is not built", found=request.surface, expected=list(SURFACES_SERVED))
        if request.k > self.settings.max_k:
            expected, hint = f"at most {self.settings.max_k}", "Ask for the next page with next_cursor."
            raise InputError("k is too large", found=request.k, expected=expected, hint=hint)
        check_query(request)
        check_look(request)

    def _looked(self, moment: _Moment) -> Page:
        """A page that shops a look, or completes one. No ranker stands behind it, and no ranker learns from it."""
        request, who, wanted = moment.request, moment.who, moment.wanted
        row, rows, _ = look_rows(request, self.catalogue)
        allowed = apply_rules(who.state, who.now_ms, self.catalogue, wanted, (), moment.recipe.seen)
        if request.tenant != self.parts.tenant:
            allowed = Allowed(np.zeros_like(allowed.mask), allowed.dropped)
        allowed = without_look(allowed, rows, self.catalogue)
        moment.passed("rules")
        side, settings = self.parts.looks, self.settings.looks
        if request.surface == SHOP_THE_LOOK:
            found = shop_look(request, row, allowed.mask, self.catalogue, side, settings)
        else:
            found = complete_look(request, row, rows, allowed.mask, self.catalogue, side, settings)
        moment.notes += found.notes
        moment.passed("looks")
        return self._look_page(moment, allowed, found)

    def _look_page(self, moment: _Moment, allowed: Allowed, found: Found) -> Page:
        count, ids = len(found.rows), self.catalogue.ids_of(found.rows)
        scores, nothing, order = np.array(found.scores, np.float32), np.zeros(count), np.arange(count)
        sources: list[tuple[str, ...]] = [(moment.request.surface,)] * count
        shortlist = Shortlist(ids, sources, scores, None, order)
        ranked = Ranked(ids, np.array(found.rows, np.int64), sources, None, (), None, scores, nothing, nothing)
        served = self._served(moment, allowed, shortlist, ranked, Chosen(order, {}))
        self._log(moment, served)
        moment.passed("log")
        moment.counts |= {"source_candidates": count, "light_candidates": 0, "full_candidates": 0}
        return Page(
            moment.request_id,
            self.parts.release,
            ItemList(ids, scores, sources, found.reasons),
            None,
            tuple(moment.notes),
            served,
            tuple(self._explained(served, item_id) for item_id in ids) if moment.request.explain else (),
            moment.timings_ms,
            moment.counts,
            found.objects,
            found.shelves,
        )

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
        relaxed = relax(allowed, self.catalogue, moment.who.state, moment.wanted, moment.chain)
        if relaxed.count() > allowed.count():
            moment.note("seen_again")
        return relaxed

    def _retrieve(self, moment: _Moment, allowed: Allowed) -> Retrieved:
        """Candidates, the best first as far as whoever finds them can tell."""
        who, pictured = moment.who, self.parts.visual.pictured
        vector = None if who.vector is None else who.vector.values
        asked = CandidateRequest(who.state, who.now_ms, moment.recipe.surface, allowed.mask, self.catalogue, vector, moment.beside)
        if moment.look is not None and pictured is not None:
            found = alike(moment.look, pictured, asked, max(moment.request.k, self.settings.visual.candidates))
            if len(found) < moment.request.k:
                moment.note("few_pictures")
            return found
        if moment.recipe.surface == SEARCH and moment.request.tenant != self.parts.tenant:  # what the words are is not for others either
            return self._brought(moment, Retrieval([]), asked)
        if moment.recipe.surface == SEARCH:
            matched = self._matching(moment, asked)
            if matched is not None:
                return matched
            moment.recipe = home_recipe(self.parts, self.settings)
            asked = replace(asked, surface=moment.recipe.surface)
        return self._by_sources(moment, asked)

    def _matching(self, moment: _Moment, asked: CandidateRequest) -> Retrieved | None:
        """What matches the query; None where neither its words nor its meaning could be looked for."""
        settings, query = self.settings.search, moment.request.query or ""
        most = max(moment.request.k, settings.candidates)
        found, said = matching(self.parts.words, self.parts.meaning, asked, query, most, settings)
        moment.notes += said
        return found

    def _by_sources(self, moment: _Moment, asked: CandidateRequest) -> Retrieved:
        """What the sources of the recipe bring; where that is too little, what fills the page up behind it."""
        recipe, k = moment.recipe, moment.request.k
        found = self._brought(moment, recipe.sources, asked)
        if recipe.fill is not None and found_by_sources(found).sum() < min(k, len(found)):
            moment.note("few_related")
            found = self._brought(moment, recipe.fill, asked, found)
        if len(found) < k:
            moment.note("short_catalogue")
        real = found_by_sources(found)
        if real.sum() < min(k, len(found)):
            moment.note("few_candidates")
        # what only fills up was brought by nothing: it completes a page, and is not ranked against what was
        return found.take(np.argsort(~real, kind="stable")[: max(int(real.sum()), k)])

    def _brought(self, moment: _Moment, retrieval: Retrieval, asked: CandidateRequest, before: Retrieved | None = None) -> Retrieved:
        """Candidates of ``retrieval``, behind those that were found ``before``; the newest items where a source fails."""
        wanted = max(moment.request.k, retrieval.settings.candidates)

        def brought(sources: Retrieval) -> Retrieved:
            return sources.retrieve(asked, wanted) if before is None else filled_from(sources, asked, before, wanted)

        try:
            return brought(retrieval)
        except CorkboardError as error:
            moment.note("source_failed", str(error))
            return brought(Retrieval([]))

    def _request_side(self, moment: _Moment) -> RequestSide:
        """What the user brings to this request, looked up once for all candidates of all stages."""
        who, settings = moment.who, self.settings
        surface, beside = moment.recipe.surface, moment.request.item_id
        return RequestSide.of(who.state, who.now_ms, surface, self.parts.items, who.vector, settings.actions_read, beside)

    def _shorten(self, moment: _Moment, side: RequestSide, found: Retrieved) -> Shortlist:
        """The candidates that go on to the full ranker, in the order of the sources: the light ranker's best. Without one, the first
        that the sources brought."""
        most = max(self.settings.full_candidates, 4 * moment.request.k)
        scores = self._light_scores(moment, side, found.rows)
        kept = np.arange(len(found))
        if self.parts.ranker is not None and len(found) > most:
            kept = kept[:most] if scores is None else np.sort(np.argsort(-scores, kind="stable")[:most])
        light = 0 if scores is None else len(found)
        moment.counts |= {"source_candidates": len(found), "light_candidates": light}
        return Shortlist(found.items.item_ids, found.items.sources, found.items.scores, scores, kept)

    def _light_scores(self, moment: _Moment, side: RequestSide, rows: np.ndarray) -> np.ndarray | None:
        light = self.parts.light if self.settings.light_ranker and moment.recipe.light_ranker else None
        try:
            return None if light is None or not len(rows) else light_scores(light, side, rows, moment.weights)
        except CorkboardError as error:
            moment.note("light_ranker_failed", str(error))
            return None

    def _rank(self, moment: _Moment, side: RequestSide, found: Retrieved, shortlist: Shortlist) -> Ranked:
        who, recipe, rows = moment.who, moment.recipe, found.rows
        features = side.features(rows)
        moment.passed("features")
        ranker, scores = self.parts.ranker if moment.look is None else None, None
        if ranker is not None and len(found):
            try:
                scores = probabilities(ranker, side, rows, features)
            except CorkboardError as error:
                moment.note("ranker_failed", str(error))
        heads = () if ranker is None or scores is None else ranker.heads
        return Ranked(
            item_ids=found.items.item_ids,
            rows=rows,
            sources=found.items.sources,
            features=features,
            heads=heads,
            probabilities=scores,
            utility=shortlist.best() if scores is None else utility(heads, scores, moment.weights),
            fatigue=fatigue(who.state, who.now_ms, found.items.item_ids, recipe.seen),
            relevance=relevance(found.items.scores, recipe.relevance_weight),
        )

    def _choose(self, moment: _Moment, ranked: Ranked) -> Chosen:
        catalogue, rows, k, taste = self.catalogue, ranked.rows, moment.request.k, moment.recipe.diversity
        if taste is None:
            return Chosen(np.arange(min(k, len(rows))), {})
        worth = standardise(ranked.utility) + ranked.relevance - ranked.fatigue
        vectors, _ = self.parts.items.vectors(rows)
        creators, categories = catalogue.codes("creator_id")[rows], catalogue.codes("category")[rows]
        page = spread(worth, vectors, creators, categories, k, taste)
        share = self.settings.exploration.share
        if share > 0 and len(page.order):
            draw = generator(self.seed, "exploration", moment.request_id)
            if draw.random() < share:
                return Chosen(draw.permutation(page.order), page.capped, 1.0 / len(page.order))
        return Chosen(page.order, page.capped)

    def _answer(self, moment: _Moment, allowed: Allowed, found: Retrieved, shortlist: Shortlist, ranked: Ranked, chosen: Chosen) -> Page:
        reasons = Reasons(found, self.catalogue, moment.who.state, moment.beside)
        taken = found.items.take(chosen.order)
        items = ItemList(
            taken.item_ids, ranked.utility[chosen.order], taken.sources, [reasons.of(place) for place in chosen.order.tolist()]
        )
        if moment.recipe.surface == SEARCH and by_meaning_alone(taken.sources):
            moment.note("by_meaning")
        served = self._served(moment, allowed, shortlist, ranked, chosen)
        logged = self._log(moment, served)
        moment.passed("log")
        more = allowed.count() > len(items) and len(items) > 0
        explanations = tuple(self._explained(served, item_id) for item_id in items) if moment.request.explain else ()
        cursor = self._next(moment, items, logged) if more else None
        notes, timings = tuple(moment.notes), moment.timings_ms
        return Page(moment.request_id, self.parts.release, items, cursor, notes, served, explanations, timings, moment.counts)

    def _served(self, moment: _Moment, allowed: Allowed, shortlist: Shortlist, ranked: Ranked, chosen: Chosen) -> dict[str, Any]:
        flags = [f"page:{moment.page_number}"] + (["random_order"] if chosen.propensity is not None else [])
        flags += changed_weights(moment.weights)
        if moment.request.crop is not None:
            flags.append("crop:" + ",".join(f"{share:g}" for share in moment.request.crop))
        before = LIKENESS if moment.look is not None else "blend" if shortlist.light is None else "light"
        before = ORDERS.get(moment.request.surface, before)
        kind = self.parts.ranker_kind if ranked.probabilities is not None else before
        origin = origin_of(self.parts, moment.who, f"{moment.request.surface}/{kind}", flags)
        length = self.settings.actions_read
        row = served_row(moment.request, moment.request_id, moment.who, ranked, chosen, moment.notes, origin, length)
        if moment.request.surface in (VISUAL, *LOOKS):
            row["context_image_hash"] = moment.request.image_hash or self._image_hash(moment.beside)
        row["chain"] = moment.chain
        if self.settings.trace or moment.request.explain:
            row["trace"] = trace_of(shortlist, ranked, chosen, allowed.dropped, moment.weights.model_dump(), moment.request.filter)
            if moment.request.item_ids:
                row["trace"]["look"] = list(moment.request.item_ids)
        return row

    def _image_hash(self, row: int) -> str | None:
        return None if row < 0 else stored_hash(self.catalogue.images(row))

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
        if not same:
            return explain(served, item_id, None, self.settings.explained_features)
        return explain(served, item_id, self.parts.ranker, self.settings.explained_features, self._as_asked(served, item_id))

    def _as_asked(self, served: Mapping[str, Any], item_id: str) -> RankerInput | None:
        """What the ranker was given for one item of a served page, out of its row; None for an item that is gone.

        A user vector that a later batch replaced is not there any more; the sequence is the logged one.
        """
        parts, now_ms, key = self.parts, served["time_ms"], user_key(served)
        row = parts.catalogue.row(item_id)
        if row < 0:
            return None
        history = logged_history(served["sequence"], now_ms, parts.items, self.settings.sequence_length)
        state = UserState(key)
        surface = made_as(served)
        beside = beside_row(surface, served["context_item_id"], parts.items)
        user = user_side(state, now_ms, parts.items)
        request = RequestSide(state, now_ms, surface, parts.items, user, history, beside=beside)
        if parts.user_vectors is not None and served.get("user_vector_ms") is not None:
            values, newest_ms = parts.user_vectors.lookup(key)
            if values is not None and newest_ms == served["user_vector_ms"]:
                request = replace(request, vector=UserVector(values, newest_ms))
        return request.ranker_input(np.array([row]), np.zeros((1, len(FEATURE_NAMES)), np.float32))


def _made_up(item_id: str, time_ms: int) -> dict[str, Any]:
    """A save that nobody did."""
    row = {"event": "action", "event_id": item_id, "time_ms": time_ms, "tenant": DEFAULT_TENANT, "user_id": _WARM_USER, "session_id": None}
    return row | {"action": "save", "item_id": item_id, "creator_id": None, "surface": "home", "duration_ms": None}
