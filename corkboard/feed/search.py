"""The search surface: items that match a query by their words or by its meaning, in an order by how well and by what the user likes.

Two rankings answer a query, each inside of what the rules and the request's filter allow: BM25 over the words of items
(:mod:`corkboard.retrieval.lexical`), and the nearest items to the query's own vector (SearchSage) among MultiBiSage vectors. They are
merged by :func:`corkboard.retrieval.hybrid.fused`; the ranker's utility and how well each item matches are added up, both standardised.
Nothing fills such a page up: what does not match is no answer, and a page that stays empty says why. What was seen or acted on before
may be shown again. Where one of the two is missing or fails the other answers, and the page says so.

An item that arrives live is found by the next search, by its words and by its meaning.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from corkboard.artifacts import ItemList, Space
from corkboard.embeddings.query_pairs import UNSEARCHED, query_text
from corkboard.errors import CorkboardError, InputError, StoreError
from corkboard.feed.config import SearchPageConfig
from corkboard.feed.page import Note, RecommendRequest, note
from corkboard.learning.query_text import fold
from corkboard.retrieval.blend import Retrieved
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.config import FusionConfig
from corkboard.retrieval.hybrid import Ranking, fused
from corkboard.retrieval.index import Found, Index
from corkboard.retrieval.lexical import LexicalAnswer, LexicalIndex

log = logging.getLogger("corkboard.feed")

SEARCH = "search"
"""The surface."""
LEXICAL = "lexical"
"""The source of what is found by its words, and the role of the words in a release."""
MEANING = "searchsage"
"""The source of what is found by the meaning of a query, and the role of the encoder of queries in a release."""
QUERIES_KEPT = 10_000
"""Vectors of queries that a process keeps, those that were asked for last: 2.6 MB."""


class QueryEncoder(Protocol):
    """What the surface asks of the encoder of queries of a release."""

    def encode(self, texts: Sequence[str | None]) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors; zeros for a text of which nothing is known."""
        ...


class QueryVectors:
    """Vectors of queries by the encoder that made them and the text as it reads it, at most ``most``. Threads may share it."""

    def __init__(self, most: int = QUERIES_KEPT):
        self._most = most
        self._kept: OrderedDict[tuple[Space, str], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, own_space: Space, text: str) -> np.ndarray | None:
        """The vector of ``text``, None where it is not kept."""
        with self._lock:
            vector = self._kept.get((own_space, text))
            if vector is not None:
                self._kept.move_to_end((own_space, text))
            return vector

    def put(self, own_space: Space, text: str, vector: np.ndarray) -> None:
        """Keep a vector; the one that was not asked for the longest goes."""
        with self._lock:
            self._kept[own_space, text] = vector
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


KEPT = QueryVectors()
"""Those of this process: a release that is loaded anew with the same encoder finds them again."""


class LazyQueries:
    """An encoder of queries that is loaded by the first query that is not kept: pages of other surfaces do without PyTorch.

    ``own_space`` names the encoder's weights. Threads may share it.
    """

    def __init__(self, load: Callable[[], QueryEncoder], own_space: Space, kept: QueryVectors | None = None):
        self._load, self.own_space, self._kept = load, own_space, KEPT if kept is None else kept
        self._encoder: QueryEncoder | None = None
        self._lock = threading.Lock()

    def vector(self, query: str) -> np.ndarray:
        """float32 ``(dim,)``; zeros where nothing is known of the query. Raises whatever a damaged encoder raises."""
        text = query_text(query)
        vector = self._kept.get(self.own_space, text)
        if vector is None:
            with self._lock:  # one thread loads it; to encode takes 0.4 ms
                if self._encoder is None:
                    self._encoder = self._load()
                vector = self._encoder.encode([text])[0]
            self._kept.put(self.own_space, text, vector)
        return vector


@dataclass(frozen=True)
class WordSide:
    """What a release brings to find words; ``notes`` say what is missing, on pages of this surface alone."""

    index: LexicalIndex | None = None
    notes: tuple[Note, ...] = ()

    def put_all(self, rows: Sequence[int], items: Sequence[Mapping[str, Any]]) -> None:
        """The items at these catalogue rows have these words from now on; one that is not available has none, for nothing is to be
        suggested or corrected by it. A disk that is full loses words, and not items."""
        offered = [(row, item) for row, item in zip(rows, items, strict=True) if item.get("available") is not False]
        if self.index is not None and offered:
            try:
                self.index.put_all(*zip(*offered, strict=True))
            except sqlite3.Error as error:
                log.warning("The words of %d items could not be written: %s", len(offered), error)
        self.remove_all([row for row, item in zip(rows, items, strict=True) if item.get("available") is False])

    def remove_all(self, rows: Sequence[int]) -> None:
        """The items at these catalogue rows are gone; a row below 0 is none."""
        gone = [row for row in rows if row >= 0]
        if self.index is not None and gone:
            try:
                self.index.remove_all(gone)
            except sqlite3.Error as error:  # a row that is gone is in no mask of what is allowed, so it is not found all the same
                log.warning("The words of %d items could not be taken out: %s", len(gone), error)


@dataclass(frozen=True)
class MeaningSide:
    """What a release brings to find meanings; ``notes`` say what is missing, on pages of this surface alone.

    ``index`` holds the items in the space that the encoder's vectors are compared in, ``products`` the ItemSage vectors of what can be
    bought in the same one, both with live items. An item with a lower cosine than ``least`` does not match. ``known`` are the words that
    the encoder has learned from, None for all there are. A query without any of them is near to something, too, by the letters that it
    shares with others: it has an answer only where the nearest item in ``index`` reaches ``sure``, which was measured there.
    """

    encoder: LazyQueries | None = None
    index: Index | None = None
    products: Index | None = None
    least: float = -1.0
    sure: float = -1.0
    known: frozenset[str] | None = None
    notes: tuple[Note, ...] = ()

    def read(self, query: str, answer: LexicalAnswer | None = None) -> tuple[str, float]:
        """The query as it is encoded, and the share of its words that the encoder has learned from, in [0, 1].

        A word that it has not learned from is read as the likeliest correction in ``answer``, where there is one.
        """
        words = query_text(query).split()
        if self.known is None or not words:
            return " ".join(words), float(bool(words))
        corrected = {one.word: one.known[0] for one in (() if answer is None else answer.corrected)}
        words = [word if word in self.known else corrected.get(fold(word), word) for word in words]
        return " ".join(words), sum(word in self.known for word in words) / len(words)

    def nearest(self, text: str, share: float, k: int, allowed: np.ndarray, least: float | None = None) -> Ranking:
        """At most k allowed rows that match what :meth:`read` returned, and their cosines; ``least`` replaces the encoder's own. Nothing
        where the encoder knows nothing of the text."""
        if self.encoder is None or self.index is None:
            return NOTHING
        vector = self.encoder.vector(text)
        if not vector.any():
            return NOTHING
        near = [index.search(vector[None], k, allowed, index.space) for index in (self.index, self.products) if index is not None]
        if not share and near[0][1].max(initial=-1.0) < self.sure:
            return NOTHING
        rows, cosines = _best(near, k)
        match = cosines >= (self.least if least is None else least)
        return rows[match], cosines[match]


def _best(near: Sequence[Found], k: int) -> Ranking:
    """The k nearest of what one query found in several indexes; a row by the best of its cosines."""
    rows, cosines = (np.concatenate([each[part][0] for each in near]) for part in (0, 1))
    order = np.argsort(-cosines, kind="stable")
    _, first = np.unique(rows[order], return_index=True)
    best = order[np.sort(first)]
    best = best[rows[best] >= 0][:k]
    return rows[best], cosines[best]


NOTHING: Ranking = (np.empty(0, np.int64), np.empty(0, np.float32))
"""A ranking that found nothing."""


def usable(words: WordSide, meaning: MeaningSide) -> bool:
    """Whether a query can be answered at all."""
    return words.index is not None or meaning.encoder is not None


def missing(words: WordSide, meaning: MeaningSide) -> list[Note]:
    """What a page of this surface says of what the release lacks for it."""
    if not usable(words, meaning):
        damaged = [entry for entry in (*words.notes, *meaning.notes) if entry.code == "artifact_unusable"]
        return [note(UNSEARCHED), *damaged]
    return [*words.notes, *meaning.notes]


def check_query(request: RecommendRequest) -> None:
    """Raises :class:`InputError` for a search without a query; an empty one has a page that says so."""
    if request.surface == SEARCH and request.query is None:
        raise InputError("A search is for something", expected="query", hint="For a page beside no query ask for surface home.")


def matching(
    words: WordSide, meaning: MeaningSide, asked: CandidateRequest, query: str, k: int, config: SearchPageConfig | None = None
) -> tuple[Retrieved | None, list[Note]]:
    """At most k allowed items that match, best first, and notes on what was corrected, left out, missing or failed.

    None where nothing could be asked: then the page is what home would show, and a note says so.
    """
    config = config or SearchPageConfig()
    answer, near, notes = None, None, []
    try:
        answer = _by_words(words, query, k, asked.allowed)
    except CorkboardError as error:
        notes.append(note("source_failed", str(error)))
    text, share = meaning.read(query, answer)
    try:
        near = None if meaning.encoder is None else meaning.nearest(text, share, k, asked.allowed, config.min_similarity)
    except Exception as error:  # a network of another version may fail in any way, and there is a page all the same
        log.exception("The meaning of a query could not be looked for")
        notes.append(note("meaning_failed", str(error)))
    if answer is None and near is None:
        return None, [note(UNSEARCHED), *notes]
    near = NOTHING if near is None else near
    by_words = NOTHING if answer is None else (answer.rows, falling(answer))
    fusion = config.fusion.model_copy(update={"vector_share": share * config.fusion.vector_share})
    found = _merged(by_words, near, asked, k, fusion)
    return found, [*notes, *_notes(answer, len(near[0]) > 0)]


def _by_words(words: WordSide, query: str, k: int, allowed: np.ndarray) -> LexicalAnswer | None:
    """None without an index. Raises :class:`StoreError` where it cannot be read."""
    if words.index is None:
        return None
    try:
        return words.index.search(query, k, allowed)
    except sqlite3.Error as error:
        raise StoreError("The index of words cannot be read", found=str(error)) from error


def _merged(words: Ranking, near: Ranking, asked: CandidateRequest, k: int, fusion: FusionConfig) -> Retrieved:
    """Both rankings as one, each item with what found it."""
    rows, scores = fused(words, near, fusion, k)
    by_source = np.zeros((len(rows), 2), np.float32)
    for column, (theirs, _) in enumerate((words, near)):
        place_of = {row: place for place, row in enumerate(theirs.tolist())}
        places = np.array([place_of.get(row, -1) for row in rows.tolist()], np.float32)
        by_source[:, column] = np.where(places < 0, 0, 1 / (2 + np.maximum(places, 0)))
    sources = [tuple(name for name, value in zip((LEXICAL, MEANING), each, strict=True) if value > 0) for each in by_source]
    items = ItemList(asked.catalogue.ids_of(rows), scores, sources)
    return Retrieved(items, rows, np.full(len(rows), -1, np.int64), by_source, (LEXICAL, MEANING), [])


def by_meaning_alone(sources: Sequence[Sequence[str]]) -> bool:
    """Whether something on a page was found by meaning and not by its words."""
    return any(tuple(each) == (MEANING,) for each in sources)


def falling(answer: LexicalAnswer) -> np.ndarray:
    """float32 ``(n,)``: BM25 scores, lifted where a part of the answer that stands behind another scores higher; differences within a part
    stay. What has all the words is lifted above all that has only some by the best of these."""
    scores = answer.scores.astype(np.float32)
    if len(scores) > 1:
        scores[:-1] += np.cumsum(np.maximum(np.diff(scores), 0)[::-1])[::-1]
    if 0 < answer.complete < len(scores):
        scores[: answer.complete] += scores[answer.complete]
    return scores


def _notes(answer: LexicalAnswer | None, meant: bool) -> list[Note]:
    """What is said of the words; ``meant``: something was found by meaning."""
    if answer is None:
        return [] if meant else [note("no_match")]
    said = answer.explanation
    if not len(answer):
        return [note("no_words" if meant else "no_match", said)]
    codes = [code for code, there in (("corrected", answer.corrected), ("unknown_words", answer.unknown)) if there]
    return [note(code, said if place == 0 else "") for place, code in enumerate(codes)]
