"""The search surface: items that have the words of a query, in an order by how well they match and by what the user likes.

Items are found by BM25 over their words (:mod:`corkboard.retrieval.lexical`), inside of what the rules and the request's filter allow; the
ranker's utility and how well each matches are added up, both standardised. Nothing fills such a page up: what does not match is no
answer, and a page that stays empty says why. What was seen or acted on before may be shown again.

The words of an item that arrives live are found by the next search.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from corkboard.artifacts import ItemList
from corkboard.errors import InputError, StoreError
from corkboard.feed.page import Note, RecommendRequest, note
from corkboard.retrieval.blend import Retrieved
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.lexical import LexicalAnswer, LexicalIndex

log = logging.getLogger("corkboard.feed")

SEARCH = "search"
"""The surface."""
LEXICAL = "lexical"
"""The source of what is found by its words, and the role of the words in a release."""


@dataclass(frozen=True)
class WordSide:
    """What a release brings for the surface; ``notes`` say what is missing, on pages of this surface alone."""

    index: LexicalIndex | None = None
    notes: tuple[Note, ...] = ()

    def put(self, row: int, item: Mapping[str, Any]) -> None:
        """The item at a catalogue row has these words from now on. A disk that is full loses them, and not the item."""
        if self.index is not None:
            try:
                self.index.put(row, item)
            except sqlite3.Error as error:
                log.warning("The words of an item could not be written: %s", error)

    def remove(self, row: int) -> None:
        """The item at a catalogue row is gone."""
        if self.index is not None and row >= 0:
            try:
                self.index.remove(row)
            except sqlite3.Error as error:  # a row that is gone is in no mask of what is allowed, so it is not found all the same
                log.warning("The words of an item could not be taken out: %s", error)


def check_query(request: RecommendRequest) -> None:
    """Raises :class:`InputError` for a search without a query; an empty one has a page that says so."""
    if request.surface == SEARCH and request.query is None:
        raise InputError("A search is for something", expected="query", hint="For a page beside no query ask for surface home.")


def matching(index: LexicalIndex, asked: CandidateRequest, query: str, k: int) -> tuple[Retrieved, list[Note]]:
    """At most k allowed items that match, best first, and notes on what was corrected, left out or missing.

    Raises :class:`StoreError` where the index cannot be read.
    """
    try:
        answer = index.search(query, k, asked.allowed)
    except sqlite3.Error as error:
        raise StoreError("The index of words cannot be read", found=str(error)) from error
    scores = falling(answer)
    items = ItemList(asked.catalogue.ids_of(answer.rows), scores, [(LEXICAL,)] * len(answer))
    by_source = (1 / (1 + np.arange(len(answer), dtype=np.float32)))[:, None]
    nobody = np.full(len(answer), -1, np.int64)
    return Retrieved(items, answer.rows, nobody, by_source, (LEXICAL,), []), _notes(answer)


def falling(answer: LexicalAnswer) -> np.ndarray:
    """float32 ``(n,)``: BM25 scores, lifted where a part of the answer that stands behind another scores higher; differences within a part
    stay. What has all the words is lifted above all that has only some by the best of these."""
    scores = answer.scores.astype(np.float32)
    if len(scores) > 1:
        scores[:-1] += np.cumsum(np.maximum(np.diff(scores), 0)[::-1])[::-1]
    if 0 < answer.complete < len(scores):
        scores[: answer.complete] += scores[answer.complete]
    return scores


def _notes(answer: LexicalAnswer) -> list[Note]:
    said = answer.explanation
    if not len(answer):
        return [note("no_match", said)]
    codes = [code for code, there in (("corrected", answer.corrected), ("unknown_words", answer.unknown)) if there]
    return [note(code, said if place == 0 else "") for place, code in enumerate(codes)]
