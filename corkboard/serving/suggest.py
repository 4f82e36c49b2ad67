"""What completes a search as somebody types it: past queries of many people, categories, and words and phrases of titles.

Past queries come from the release (:mod:`corkboard.pipeline.query_steps`), where only those of at least five people are; titles from the
index of words. Where nothing completes what was typed, a slip in it is looked for: one letter missing, added, changed or swapped
with its neighbour. Whatever is missing, something is answered, if only nothing.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import weakref
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from corkboard.errors import CorkboardError, StoreError
from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.learning.query_text import folded_words, normalised
from corkboard.pipeline.query_steps import QUERIES, QUERY_SCHEMA
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.lexical import LexicalIndex
from corkboard.serving.live import Live, LiveEngine

log = logging.getLogger("corkboard.serving")

MAX_SUGGESTIONS = 20
"""Most completions of one answer."""
NOTES = {
    "no_release": "No release is live yet; nothing is known to complete.",
    "no_search": "The release cannot look for words; past queries and categories are completed, titles are not.",
    "store_unreachable": "The store cannot be read; what this user likes is not known.",
    "other_tenant": "The release holds no items of this tenant.",
}
"""Every code that an answer can be annotated with, and its sentence."""
QUERY, CATEGORY, TITLE = "query", "category", "title"
"""What a completion is: what others searched for, a category, or words of titles."""

_CATEGORIES = 2
"""Most categories beside other completions."""
_SPELLINGS = 3
"""How many corrections of a slip are completed."""
_SLIP_FROM = 3
"""A slip is looked for in so many letters."""
_RECOUNT_S = 30.0
"""After so many seconds it is counted anew how many items a category has."""
_LONGEST = 32
"""Longer words are not corrected."""
_LAST = "\U0010ffff"


@dataclass(frozen=True)
class Suggestion:
    """One completion: ``text`` to search for, and which of :data:`QUERY`, :data:`CATEGORY` and :data:`TITLE` it is."""

    text: str
    kind: str


class Suggestions:
    """Completions over the release that is live. For many threads."""

    def __init__(self, engine: LiveEngine):
        self._engine, self._lock = engine, threading.Lock()
        self._of: tuple[weakref.ref[Live], Suggester] | None = None

    def answer(self, typed: str, k: int, user_key: str | None, tenant: str) -> dict[str, Any]:
        """Plain JSON values: ``suggestions`` of text and kind, the likeliest first, and ``notes`` on what was missing."""
        live = self._engine.live
        if live is None:
            return {"suggestions": [], "notes": [_note("no_release")]}
        if tenant != getattr(getattr(live.feed, "parts", None), "tenant", DEFAULT_TENANT):  # not even its words are for others
            return {"suggestions": [], "notes": [_note("other_tenant")]}
        suggester, codes = self._suggester(live), []
        liked: list[str] = []
        if not normalised(typed) and user_key is not None:
            try:
                liked = self._liked(live.feed.catalogue, user_key, tenant)
            except StoreError:
                codes.append("store_unreachable")
        try:
            found = suggester.suggest(typed, k, liked)
        except (sqlite3.Error, CorkboardError) as error:
            log.warning("The words of release %s cannot be read: %s", live.release.id, error)
            suggester = replace(suggester, index=None)
            found = suggester.suggest(typed, k, liked)
        if suggester.index is None:
            codes.append("no_search")
        return {"suggestions": [{"text": one.text, "kind": one.kind} for one in found], "notes": [_note(code) for code in codes]}

    def _suggester(self, live: Live) -> Suggester:
        of = self._of
        if of is None or of[0]() is not live:
            with self._lock:
                of = self._of
                if of is None or of[0]() is not live:
                    self._of = of = (weakref.ref(live, self._forget), Suggester.of(live))
        return of[1]

    def _forget(self, gone: weakref.ref[Live]) -> None:
        """A release that serves no more goes with its last page, whether or not somebody types."""
        of = self._of
        if of is not None and of[0] is gone:
            self._of = None

    def _liked(self, catalogue: Catalogue, user_key: str, tenant: str) -> list[str]:
        """The categories of what somebody last did something with, the most frequent first."""
        actions = self._engine.store.state(user_key, tenant).actions
        rows = [
            catalogue.row(action.item_id) for action in actions if action.item_id is not None and action.action not in ("hide", "report")
        ]
        counted = Counter(catalogue.value("category", row) for row in rows if row >= 0)
        return [category for category, _ in counted.most_common() if category is not None]


@dataclass(frozen=True)
class Suggester:
    """What one release completes by."""

    queries: Completions
    held: HeldCategories
    index: LexicalIndex | None
    words: KnownWords

    @classmethod
    def of(cls, live: Live) -> Suggester:
        """Past queries whose words no item holds are left out; without an index all are kept."""
        catalogue, parts = live.feed.catalogue, getattr(live.feed, "parts", None)
        return cls.build(catalogue, None if parts is None else parts.words.index, _past_queries(live))

    @classmethod
    def build(cls, catalogue: Catalogue, index: LexicalIndex | None, queries: pl.DataFrame) -> Suggester:
        """``queries`` is a frame of :data:`~corkboard.pipeline.query_steps.QUERY_SCHEMA`."""
        rows = queries.select("key", "query", "weight").iter_rows()
        asked = [(key, text, weight) for key, text, weight in rows if index is None or any(map(index.holding, key.split()))]
        return cls(
            Completions(asked), HeldCategories(catalogue), index, KnownWords(catalogue, asked, None if index is None else index.holding)
        )

    def suggest(self, typed: str, k: int, liked: Sequence[str] = ()) -> list[Suggestion]:
        """Up to ``k`` completions of ``typed``; for nothing typed what many search for, then the categories ``liked``, then large ones.

        A space at the end says that the last word is whole. Nothing for what has neither letters nor digits.
        """
        words = folded_words(typed)
        if not words:
            return [] if normalised(typed) else self._popular(k, liked)
        whole = typed[-1].isspace()
        found = self._completing(words, whole, k)
        if not found:
            for spelling in self._respelt(words, whole):
                found += self._meant(spelling, whole, k)
        if not found and not whole and len(words) > 1:
            found = self._ending(typed, words, k)
        return _distinct(found, " ".join(words))[:k]

    def _popular(self, k: int, liked: Sequence[str]) -> list[Suggestion]:
        asked = [Suggestion(text, QUERY) for text in self.queries.after("", k)]
        held = self.held.now()
        categories = [name for name in (one.replace("_", " ") for one in liked) if name in held.texts] + held.after("", k)
        return _distinct([*asked, *(Suggestion(name, CATEGORY) for name in categories)])[:k]

    def _completing(self, words: Sequence[str], whole: bool, k: int) -> list[Suggestion]:
        prefix = " ".join(words) + (" " if whole else "")
        asked = [Suggestion(text, QUERY) for text in self.queries.after(prefix, k)]
        categories = [Suggestion(text, CATEGORY) for text in self.held.now().after(prefix, _CATEGORIES)]
        titles = [Suggestion(text, TITLE) for text in (self.index.suggest(prefix, k) if self.index is not None else ())]
        first = max(1, k - _CATEGORIES)
        return [*asked[:first], *categories, *asked[first:], *titles]

    def _meant(self, words: Sequence[str], whole: bool, k: int) -> list[Suggestion]:
        """As :meth:`_completing`, with the words themselves where they are whole: they are not what was typed."""
        text, found = " ".join(words), self._completing(words, whole, k)
        if self.queries.holds(text):
            return [Suggestion(text, QUERY), *found]
        return [*found, Suggestion(text, TITLE)] if self.words.finds(words[-1]) else found

    def _respelt(self, words: Sequence[str], whole: bool) -> list[list[str]]:
        """``words`` without their slips, where every one is, or begins, a known word."""
        before = [word if self.words.knows(word) else next(iter(self.words.near(word, whole=True)), None) for word in words[:-1]]
        if None in before:
            return []
        last = [] if self.words.knows(words[-1]) else self.words.near(words[-1], whole)
        if before != list(words[:-1]):
            last = [words[-1], *last]
        return [[*before, word] for word in last]

    def _ending(self, typed: str, words: Sequence[str], k: int) -> list[Suggestion]:
        """What was typed, its last word completed by itself: nobody asked for all of it, and no title has it in this order."""
        if self.index is None:
            return []
        begun = normalised(typed).rsplit(" ", 1)[0]
        single = [text for text in self.index.suggest(words[-1], 2 * k) if " " not in text]
        return [Suggestion(f"{begun} {text}", TITLE) for text in single]


class Completions:
    """Texts by the beginning of their folded words; the heaviest come first."""

    def __init__(self, entries: Iterable[tuple[str, str, float]]):
        entries = sorted(entries)
        self.keys = [key for key, _, _ in entries]
        self.texts = [text for _, text, _ in entries]
        self.weights = np.array([weight for _, _, weight in entries], np.float32)

    def holds(self, key: str) -> bool:
        """Whether ``key`` is the folded words of one of them."""
        place = bisect_left(self.keys, key)
        return place < len(self.keys) and self.keys[place] == key

    def after(self, prefix: str, k: int) -> list[str]:
        """Up to ``k`` different texts that go on after ``prefix``."""
        first, end = bisect_left(self.keys, prefix), bisect_left(self.keys, prefix + _LAST)
        first += first < end and self.keys[first] == prefix
        order = first + np.argsort(-self.weights[first:end], kind="stable")
        return list(dict.fromkeys(self.texts[place] for place in order[: 4 * k].tolist()))[:k]


class HeldCategories:
    """The categories that items which can be had are of, the largest first; one whose last item goes is gone half a minute later."""

    def __init__(self, catalogue: Catalogue):
        self._catalogue, self._lock = catalogue, threading.Lock()
        self._counted, self._at = self._count(), time.monotonic()

    def now(self) -> Completions:
        """They are counted anew at most every 30 s: by one thread, while the others read what was counted before."""
        if time.monotonic() - self._at >= _RECOUNT_S and self._lock.acquire(blocking=False):
            try:
                self._counted, self._at = self._count(), time.monotonic()
            finally:
                self._lock.release()
        return self._counted

    def _count(self) -> Completions:
        available, codes, names = self._catalogue.available, self._catalogue.codes("category"), self._catalogue.names("category")
        codes = codes[: len(available)]  # an item may arrive in between
        items = np.bincount(codes[available[: len(codes)] & (codes >= 0)], minlength=len(names))
        named = [(name.replace("_", " "), n) for name, n in zip(names, items, strict=False) if n]
        return Completions(
            (" ".join(words[at:]), name, float(n)) for name, n in named for words in [folded_words(name)] for at in range(len(words))
        )


class KnownWords:
    """The words of titles, categories and past queries, to find those that begin almost as what was typed.

    They are read when they are first asked for, a second for some 50,000 titles. Items that arrive later do not add to them.
    ``holding`` says how many items have a word now: one that none has is not offered, for those that had it may be deleted. None: all are.
    """

    def __init__(self, catalogue: Catalogue, asked: Sequence[tuple[str, str, float]] = (), holding: Callable[[str], int] | None = None):
        self._catalogue, self._asked, self._holding, self._lock = catalogue, asked, holding, threading.Lock()
        self._counts: dict[str, int] | None = None

    def knows(self, word: str) -> bool:
        """Whether it is one of them, and so no slip."""
        return word in self._read()

    def finds(self, word: str) -> bool:
        """Whether it is one of them that an item has now."""
        return self.knows(word) and (self._holding is None or self._holding(word) > 0)

    def near(self, typed: str, whole: bool = False) -> list[str]:
        """Up to three beginnings of known words, or known words where it is ``whole``, one edit away from ``typed``.

        Those of more frequent words come first, and before them those that keep the first letter. None for less than three letters,
        and for what has a digit: another number is another thing.
        """
        counts, m = self._read(), len(typed)
        if not _SLIP_FROM <= m < _LONGEST or any(map(str.isdigit, typed)) or not counts:
            return []
        found: Counter[str] = Counter()
        for lengths, places in _one_edit(np.array([ord(letter) for letter in typed], np.uint32), self._letters):
            for place in places.tolist():
                word = self._words[place]
                if (not whole or len(word) == lengths) and self.finds(word):
                    found[word[:lengths]] += counts[word]
        found.pop(typed, None)
        return sorted(found, key=lambda near: (near[0] != typed[0], -found[near], near))[:_SPELLINGS]

    def _read(self) -> Mapping[str, int]:
        if self._counts is not None:
            return self._counts
        with self._lock:
            if self._counts is None:
                catalogue, counts = self._catalogue, Counter()
                for row in range(len(catalogue)):
                    counts.update(set(folded_words(catalogue.value("title", row))))
                for name in catalogue.names("category"):
                    counts.update(folded_words(name.replace("_", " ")))
                for key, _, _ in self._asked:
                    counts.update(key.split())
                self._words = [word for word in counts if len(word) <= _LONGEST and not any(map(str.isdigit, word))]
                letters = np.array(self._words, f"<U{_LONGEST + 1}").view(np.uint32)
                self._letters = letters.reshape(len(self._words), _LONGEST + 1)
                self._counts = dict(counts)
        return self._counts


def _one_edit(typed: np.ndarray, words: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
    """How long a beginning is, and the rows of ``words`` ``(n, width)`` whose beginning of that length is one edit away from ``typed``
    ``(m,)``: a letter changed or swapped (m), one too many (m - 1), one too few (m + 1). All are codes of letters, 0 behind an end."""
    m = len(typed)
    same, earlier, later = words[:, :m] == typed, words[:, : m - 1] == typed[1:], words[:, 1 : m + 1] == typed
    # column i of `begins` says that the first i letters are alike, of the others that all from letter i on are
    begins, n = np.cumprod(np.insert(same, 0, True, axis=1), axis=1, dtype=bool), len(words)
    always = np.ones((n, 1), bool)
    rest = _from_here_on(np.hstack([same, always, always]))
    shifted_back = _from_here_on(np.hstack([earlier, always]))  # column i: letters i.. of the word are i + 1.. of what was typed
    shifted_on = _from_here_on(np.hstack([later, always]))  # column i: letters i + 1.. of the word are i.. of what was typed
    changed = (begins[:, :m] & rest[:, 1 : m + 1]).any(axis=1) & (words[:, m - 1] > 0)
    swapped = (words[:, : m - 1] == typed[1:]) & (words[:, 1:m] == typed[:-1])
    changed |= (begins[:, : m - 1] & swapped & rest[:, 2 : m + 1]).any(axis=1)
    yield m, np.flatnonzero(changed)
    yield m - 1, np.flatnonzero((begins[:, :m] & shifted_back).any(axis=1))
    yield m + 1, np.flatnonzero((begins & shifted_on).any(axis=1) & (words[:, m] > 0))


def _from_here_on(alike: np.ndarray) -> np.ndarray:
    return np.cumprod(alike[:, ::-1], axis=1, dtype=bool)[:, ::-1]


def _past_queries(live: Live) -> pl.DataFrame:
    """The table of the release; an empty one where it has none, or none that can be read."""
    artifact = live.release.get(QUERIES)
    if artifact is not None:
        try:
            artifact.check()
            return artifact.table(QUERIES).select(list(QUERY_SCHEMA)).filter(pl.col("query").is_not_null())
        except Exception as error:  # what another version wrote may fail to read in any way, and the rest is completed all the same
            log.warning("The queries of release %s cannot be read: %s", live.release.id, error)
    return pl.DataFrame(schema=QUERY_SCHEMA)


def _distinct(found: Iterable[Suggestion], typed: str = "") -> list[Suggestion]:
    """The first of those that are one query, without the one that was typed already."""
    by_words = {}
    for one in found:
        by_words.setdefault(" ".join(folded_words(one.text)), one)
    by_words.pop(typed, None)
    return list(by_words.values())


def _note(code: str) -> dict[str, str]:
    return {"code": code, "text": NOTES[code]}
