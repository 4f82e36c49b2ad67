"""Lists to distil a light ranker from: at sampled moments of the ranking span, what the sources would have brought, random
items and what was shown, with the full ranker's scores beside them.

The moments are replayed: the state just before the page, the item side of its day, the user vector of that night's batch,
candidates from sources cut before the span. What the teacher is given is what it would be given in serving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.lake import Lake
from corkboard.ranking.config import LightConfig, RowsConfig, UtilityWeights
from corkboard.ranking.history import UserVectorsAsOf
from corkboard.ranking.item_days import ItemDays
from corkboard.ranking.item_side import ItemSide
from corkboard.ranking.labels import label_slots
from corkboard.ranking.light import BLOCKS, ITEM_FACTS, Categories, LightUser, item_blocks, item_facts
from corkboard.ranking.pages import HOME, impression_pages
from corkboard.ranking.ranker import Ranker
from corkboard.ranking.request import RequestSide, UserVector
from corkboard.ranking.sampling import acted_items
from corkboard.ranking.user_side import HOUR_MS
from corkboard.ranking.utility import weight_vector
from corkboard.retrieval.blend import FILL, Retrieval
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.config import SourceConfig
from corkboard.retrieval.sources import RetrievalParts
from corkboard.seeds import generator
from corkboard.state.config import LimitsConfig
from corkboard.state.replay import replay
from corkboard.state.user_state import LIMITS, UserState

Progress = Callable[[int, int], None]
_REPORT_EVERY = 50


@dataclass(frozen=True)
class TeacherLists:
    """m lists, one after the other: list l holds the entries ``offsets[l]:offsets[l + 1]`` of the flat arrays of length n."""

    offsets: np.ndarray
    """int64 ``(m + 1,)``."""
    rows: np.ndarray
    """int32 ``(n,)`` rows of ``blocks``; distinct within a list."""
    facts: np.ndarray
    """float32 ``(n, len(ITEM_FACTS))`` as of the day of the list."""
    heads: tuple[str, ...]
    """The teacher's heads."""
    probabilities: np.ndarray
    """float32 ``(n, heads)``: the teacher's."""
    weights: np.ndarray
    """float32 ``(heads,)``: the worth of each head."""
    place: np.ndarray
    """int32 ``(n,)``: place in the order of the candidate sources, from 0; -1 where no source brought the item."""
    labels: np.ndarray
    """float32 ``(n, heads)``: 1 where it was done with the item on the page, 0 where not, NaN where the item was not shown. Where nothing
    tells what was shown, the random items of a list stand for what was and have 0."""
    users: LightUser
    """The user sides, their arrays with a leading axis of m."""
    user_keys: list[str]
    blocks: np.ndarray
    """float32 ``(items, dim + content dim + categories)``: :func:`corkboard.ranking.light.item_blocks`."""
    categories: tuple[str, ...]
    """The names behind the last columns of ``blocks``."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def teacher(self) -> np.ndarray:
        """float32 ``(n,)``: the teacher's utility."""
        return self.probabilities @ self.weights

    def span(self, place: int) -> slice:
        """Where list ``place`` lies in the flat arrays."""
        return slice(int(self.offsets[place]), int(self.offsets[place + 1]))


def teacher_lists(
    lake: Lake,
    span: tuple[int, int],
    items: ItemDays,
    teacher: Ranker,
    weights: UtilityWeights,
    config: LightConfig,
    seed: int,
    *,
    rows: RowsConfig | None = None,
    sources: SourceConfig | None = None,
    user_vectors: UserVectorsAsOf | None = None,
    limits: LimitsConfig = LIMITS,
    progress: Progress | None = None,
) -> TeacherLists:
    """Replay sampled moments of ``span`` = [A, B) and let ``teacher`` score their candidates.

    ``items`` must be made of models cut at A and must not have been asked for a later day yet; ``user_vectors`` answers as the
    nightly batch would have. ``sources`` are those that serve; of these, the ones over vectors and item-kNN take part, because
    counters as of each day would need an index a day. Raises :class:`InputError` where the span has nothing to sample.
    """
    rows = rows or RowsConfig()
    lake = lake.until(span[1])
    moments, known = _moments(lake, span, teacher.heads, rows, config.moments, seed)
    vectors = _user_vectors(user_vectors, moments)
    first = items.at(int(moments["time_ms"].min()) // DAY_MS)
    retrieval = Retrieval.of(RetrievalParts(first.index, first.neighbours, embedding=first.embedding), sources or SourceConfig())
    maker = _ListMaker(retrieval, teacher, Categories.largest(first.catalogue, config.categories), config, seed)
    made: list[_List] = []
    for done, (moment, state) in enumerate(replay(lake, moments, limits)):
        side = items.at(moment["time_ms"] // DAY_MS)
        request = RequestSide.of(state, moment["time_ms"], "home", side, vectors[moment["place"]])
        made.append(maker.list_of(request, known[moment["page"]]))
        if progress and done % _REPORT_EVERY == 0:
            progress(done, moments.height)
    worth = weight_vector(teacher.heads, weights)
    return _joined(made, items.at(int(moments["time_ms"].max()) // DAY_MS), maker.categories, teacher.heads, worth)


@dataclass(frozen=True)
class _Page:
    """What is known of the items of one moment."""

    labels: dict[str, np.ndarray]
    """float32 ``(heads,)`` by item: of what was shown, or of the acted-on item where nothing tells what was shown."""
    same_day: frozenset[str] | None = None
    """Where nothing tells what was shown: all that the user acted on that day, none of which can stand for what was passed over."""


def _moments(
    lake: Lake, span: tuple[int, int], heads: tuple[str, ...], rows: RowsConfig, count: int, seed: int
) -> tuple[pl.DataFrame, dict[int, _Page]]:
    """page, time_ms, tenant, user_id and place of at most ``count`` home pages, and by page what is known of its items.

    Half of the pages are drawn among those with an action, where there are as many, the rest among all. Where nothing tells
    what was shown, a page is an item that was acted on.
    """
    slots = impression_pages(lake, *span, HOME)
    if unseen := slots.is_empty():
        slots = acted_items(lake, *span, 4 * count, seed)
        labels = slots.select(pl.col("actions").list.contains(head).cast(pl.Float32).alias(head) for head in heads).to_numpy()
    else:
        labels = label_slots(slots, lake.actions(*span), heads, span[1], rows)
    if slots.is_empty():
        raise InputError("There is nothing to distil a light ranker from", found=0, expected="pages or actions in the ranking span")
    slots = slots.with_row_index("slot").with_columns(acted=pl.Series(np.nansum(labels, axis=1) > 0))
    pages = slots.group_by("page", maintain_order=True).agg(pl.col("time_ms", "tenant", "user_key").first(), pl.col("acted").any())
    chosen = _drawn(pages["acted"].to_numpy(), count, seed)
    pages = pages[chosen].sort("time_ms", "page").with_row_index("place").rename({"user_key": "user_id"})
    kept = slots.filter(pl.col("page").is_in(pages["page"].implode()))
    shown: dict[int, dict[str, np.ndarray]] = {}
    for page, item_id, slot in kept.select("page", "item_id", "slot").iter_rows():
        shown.setdefault(page, {})[item_id] = labels[slot]
    same_day = _acted_that_day(slots) if unseen else {}
    known = {page: _Page(found, same_day.get(page)) for page, found in shown.items()}
    return pages.select("place", "page", "time_ms", "tenant", "user_id"), known


def _acted_that_day(slots: pl.DataFrame) -> dict[int, frozenset[str]]:
    """By page, all items that its user acted on that day; ``slots`` are those of :func:`acted_items`."""
    days = slots.group_by("tenant", "user_key", day=pl.col("time_ms") // DAY_MS).agg("page", "item_id")
    return {page: frozenset(items) for pages, items in days.select("page", "item_id").iter_rows() for page in pages}


def _drawn(acted: np.ndarray, count: int, seed: int) -> np.ndarray:
    draw = generator(seed, "light", "moments")
    first = draw.permutation(np.flatnonzero(acted))[: count // 2]
    rest = draw.permutation(np.setdiff1d(np.arange(len(acted)), first))[: count - len(first)]
    return np.concatenate([first, rest])


def _user_vectors(source: UserVectorsAsOf | None, moments: pl.DataFrame) -> list[UserVector | None]:
    """The user vector of each moment, by place; None where there is none."""
    if source is None:
        return [None] * moments.height
    time_ms = moments["time_ms"].to_numpy()
    vectors, known, hours = source.at(moments["user_id"].to_list(), time_ms)
    newest = time_ms - (hours.astype(np.float64) * HOUR_MS).astype(np.int64)
    return [UserVector(vectors[n], int(newest[n])) if known[n] else None for n in range(moments.height)]


@dataclass(frozen=True)
class _List:
    rows: np.ndarray
    facts: np.ndarray
    probabilities: np.ndarray
    place: np.ndarray
    labels: np.ndarray
    user: LightUser
    user_key: str


class _ListMaker:
    """Makes the list of one moment."""

    def __init__(self, retrieval: Retrieval, teacher: Ranker, categories: Categories, config: LightConfig, seed: int):
        self._retrieval, self._teacher, self._config = retrieval, teacher, config
        self.categories = categories
        self._draw = generator(seed, "light", "random items")

    def list_of(self, request: RequestSide, page: _Page) -> _List:
        """Candidates in the order of the sources, then random items, then what else was shown."""
        catalogue, now_ms = request.items.catalogue, request.now_ms
        mask = catalogue.available & (catalogue.created_ms < now_ms)
        candidates = self._candidates(request, mask)
        born = np.flatnonzero(mask)
        others = self._draw.choice(born, min(self._config.random_items, len(born)), replace=False)
        seen = catalogue.rows(page.labels)
        rows = np.concatenate([candidates, others, seen[seen >= 0]]).astype(np.int64)
        rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
        place = np.where(np.arange(len(rows)) < len(candidates), np.arange(len(rows)), -1)
        return _List(
            rows=rows.astype(np.int32),
            facts=item_facts(request.items, rows, now_ms // DAY_MS),
            probabilities=self._teacher.score(request.ranker_input(rows, request.features(rows))),
            place=place.astype(np.int32),
            labels=self._labels(catalogue.ids_of(rows), self._known(page, catalogue.ids_of(others), request.state)),
            user=LightUser.of(request, self.categories),
            user_key=request.state.user_id,
        )

    def _labels(self, item_ids: Sequence[str], known: dict[str, np.ndarray]) -> np.ndarray:
        """float32 ``(items, heads)``, NaN where nothing is known."""
        labels = np.full((len(item_ids), len(self._teacher.heads)), np.nan, np.float32)
        for n, item_id in enumerate(item_ids):
            labels[n] = known.get(item_id, np.nan)
        return labels

    def _known(self, page: _Page, drawn: Sequence[str], state: UserState) -> dict[str, np.ndarray]:
        """Labels by item. Where nothing tells what was shown, there are positives only, so the random items ``drawn`` are the negatives.

        As in :mod:`corkboard.ranking.sampling`, what else was acted on that day is no negative, and what was liked before is on neither
        side.
        """
        if page.same_day is None:
            return page.labels
        liked = {action.item_id for action in state.positives()}
        negatives = dict.fromkeys(set(drawn) - page.same_day - liked, np.zeros(len(self._teacher.heads), np.float32))
        positives = {item_id: labels for item_id, labels in page.labels.items() if item_id not in liked}
        return positives | negatives if negatives else {}

    def _candidates(self, request: RequestSide, mask: np.ndarray) -> np.ndarray:
        """int64 distinct rows of what the sources bring; what only fills up is not among them."""
        mask = _without_acted(mask, request.state, request.items)
        vector = None if request.vector is None else request.vector.values
        asked = CandidateRequest(request.state, request.now_ms, request.surface, mask, request.items.catalogue, vector)
        found = self._retrieval.retrieve(asked, self._config.candidates)
        real = np.array([sources != (FILL,) for sources in found.items.sources], bool)
        return found.rows[real] if len(found) else found.rows


def _without_acted(mask: np.ndarray, state: UserState, items: ItemSide) -> np.ndarray:
    """Items already acted on or hidden are not on a page, so they are not among its candidates."""
    acted = items.catalogue.rows([action.item_id for action in state.actions if action.item_id is not None])
    mask = mask.copy()
    mask[acted[(acted >= 0) & (acted < len(mask))]] = False
    return mask


def _joined(lists: list[_List], items: ItemSide, categories: Categories, heads: tuple[str, ...], weights: np.ndarray) -> TeacherLists:
    users = LightUser(*(np.stack([getattr(one.user, name) for one in lists]) for name in (*BLOCKS, "facts")))
    return TeacherLists(
        offsets=np.concatenate([[0], np.cumsum([len(one.rows) for one in lists])]).astype(np.int64),
        rows=np.concatenate([one.rows for one in lists]),
        facts=np.concatenate([one.facts for one in lists]).reshape(-1, len(ITEM_FACTS)),
        heads=heads,
        probabilities=np.concatenate([one.probabilities for one in lists]).astype(np.float32),
        weights=weights,
        place=np.concatenate([one.place for one in lists]),
        labels=np.concatenate([one.labels for one in lists]),
        users=users,
        user_keys=[one.user_key for one in lists],
        blocks=item_blocks(items, np.arange(len(items.catalogue)), categories),
        categories=categories.names,
    )
