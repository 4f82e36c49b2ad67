"""Search by words: BM25 over fields of items in an embedded SQLite FTS5, with spelling, filters, suggestions and reasons.

SQLite keeps the words of each item and their inverted index; which words a text has is decided here (:mod:`.query_text`), so that
every script is split as the encoders split it. What SQLite sees are words without a single sign that its query language knows,
each in quotes, bound as a parameter: no query can be anything else than words.

BM25 is SQLite's: k1 = 1.2 and b = 0.75 are fixed there, the score is turned round to be positive, a word counts by field weight,
and the idf ln((N - n + 0.5) / (n + 0.5)) is 1e-6 where a word is in more than half of the items.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from corkboard.errors import CorkboardError, InputError
from corkboard.learning.query_text import fold, folded_words, normalised
from corkboard.learning.text import split_words
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import LexicalConfig

FIELDS = ("title", "description", "category", "brand", "attributes")
"""What is searched of an item. Of attributes, their values."""
K1, B = 1.2, 0.75
"""BM25's constants, fixed in SQLite."""
EMPTY, NO_WORDS, UNKNOWN, FILTERED = "empty", "no_words", "unknown", "filtered"
"""Why an answer is empty: nothing was asked; only signs or emoji; no item holds any of the words; none that does is allowed."""

_COLUMNS = {"title": "title", "description": "description", "category": "category", "brand": "brand_id", "attributes": "attributes"}
TEXT_COLUMNS = tuple(_COLUMNS.values())
"""The columns of the lake's ``items`` that hold them."""
_SCHEMA = """
CREATE VIRTUAL TABLE items USING fts5(title, description, category, brand, attributes, shown UNINDEXED, tokenize = 'ascii');
CREATE TABLE phrases (key TEXT PRIMARY KEY, shown TEXT NOT NULL, words INT NOT NULL, items INT NOT NULL) WITHOUT ROWID;
"""
_MATCHES = "SELECT rowid, -bm25(items, ?, ?, ?, ?, ?) FROM items WHERE items MATCH ?"
_COMPLETIONS = """
SELECT shown FROM phrases WHERE key > ? AND key < ? AND items >= CASE WHEN words > 1 THEN ? ELSE 1 END
ORDER BY items DESC, key LIMIT ?
"""
_ADD_ITEM = "INSERT INTO items (rowid, title, description, category, brand, attributes, shown) VALUES (?, ?, ?, ?, ?, ?, ?)"
_ADD_PHRASE = """
INSERT INTO phrases (key, shown, words, items) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET items = items + excluded.items
"""


@dataclass(frozen=True)
class Correction:
    """``word`` is in no item; ``known`` were searched instead of it, the most frequent first."""

    word: str
    known: tuple[str, ...]


@dataclass(frozen=True)
class LexicalAnswer:
    """What a search found, and why not more.

    ``rows`` int64 and ``scores`` float32 ``(n,)``. The first ``complete`` rows hold every word that any item holds, the others some;
    of the former, those that hold the likeliest corrections stand before those that hold others. Within these parts scores fall, and
    equal ones stand by row.
    """

    query: str
    """The query as it was read: :func:`~corkboard.learning.query_text.normalised`."""
    rows: np.ndarray
    scores: np.ndarray
    words: tuple[str, ...] = ()
    """The words that were looked for, without stop words where there are others."""
    complete: int = 0
    corrected: tuple[Correction, ...] = ()
    unknown: tuple[str, ...] = ()
    """Words that no item holds, and nothing near them either."""
    hidden: int = 0
    """Items that hold words of the query and are not allowed: all of them where the answer is empty."""
    reason: str | None = None
    """Why there are no rows: one of EMPTY, NO_WORDS, UNKNOWN, FILTERED; None where there are some."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def explanation(self) -> str:
        """What was corrected, left out or missing, in a sentence or two for whoever searched; "" where all went as asked."""
        said = [f"Searched {_listed(one.known, ' or ')} instead of “{one.word}”." for one in self.corrected]
        if self.reason == EMPTY:
            said.append("The query is empty.")
        elif self.reason == NO_WORDS:
            said.append("The query has no letters or digits.")
        if self.unknown:
            said.append(f"Nothing has {_listed(self.unknown, ' or ')}.")
        if self.reason == FILTERED:
            those = "The one item" if self.hidden == 1 else f"All {self.hidden:,} items"
            said.append(f"{those} that would be found may not be shown here: filtered out, hidden, shown before or not to be had.")
        return " ".join(said)


class LexicalIndex:
    """Items by their words. A row is a row of the catalogue that the index was built over.

    Any number of threads may search while one writes: readers see the index before or after a change, never between, and never
    wait for a writer; writers wait for each other. The index lies in one file that is written afresh: ``path``, which must not
    exist, or a file in a folder of its own that goes with the index; one that a killed process left goes with the next index.
    """

    def __init__(self, config: LexicalConfig | None = None, path: Path | None = None):
        self.config = config or LexicalConfig()
        self._weights = tuple(getattr(self.config, f"{name}_weight") for name in FIELDS)
        self._stop_words = frozenset(fold(word) for text in self.config.stop_words for word in folded_words(text))
        self._folder = _Folder() if path is None else None
        self._path = Path(path) if self._folder is None else self._folder.path / "lexical.sqlite"
        if self._path.exists():
            raise InputError("A lexical index is written to a file of its own", found=str(self._path), expected="a path where nothing is")
        self._lock, self._idle, self._closed = threading.Lock(), [], False
        self._writer = self._connect()
        try:
            self._writer.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;" + _SCHEMA)
        except sqlite3.OperationalError as error:
            self.close()
            raise _explained(error) from error
        self._held: dict[str, int] = {}
        self._spelling = Spelling(self.config)

    @classmethod
    def build(
        cls,
        items: pl.DataFrame,
        catalogue: Catalogue,
        config: LexicalConfig | None = None,
        path: Path | None = None,
    ) -> LexicalIndex:
        """The index of a frame with columns of the lake's ``items``, one row an item; absent columns are empty.

        Items that the catalogue does not know are left out.
        """
        index = cls(config, path)
        items = items.unique("item_id", keep="last", maintain_order=True)
        rows = catalogue.rows(items["item_id"].to_list()).tolist()
        columns = [items[name].to_list() if name in items.columns else [None] * len(items) for name in TEXT_COLUMNS]
        cells = zip(rows, zip(*columns, strict=True), strict=True)
        texts = ((row, _texts(dict(zip(TEXT_COLUMNS, values, strict=True)))) for row, values in cells if row >= 0)
        index._fill(texts)
        return index

    def __len__(self) -> int:
        """How many items it holds."""
        with self._reader() as reader:
            return reader.execute("SELECT count(*) FROM items").fetchone()[0]

    def holding(self, word: str) -> int:
        """How many items hold ``word``, as it is folded."""
        return self._held.get(fold(word), 0)

    # ----------------------------------------------------------------------------------------------------- searching

    def search(self, query: str | None, k: int, allowed: np.ndarray | None = None) -> LexicalAnswer:
        """The ``k`` best items: those that hold all the words first, then those that hold any, each part by BM25, ties by row.

        ``allowed`` is a bool mask over catalogue rows; rows beyond its end are not allowed. A word that no item holds is
        replaced by known ones (:class:`Spelling`); where there are none, the others are searched without it.
        Raises :class:`InputError` for k below 1 or a mask that is not bool.
        """
        if k < 1:
            raise InputError("A search needs to know how many items are wanted", found=k, expected="k >= 1")
        if allowed is not None and (allowed.dtype != bool or allowed.ndim != 1):
            raise InputError("A mask of allowed rows has the wrong form", found=f"{allowed.dtype} {allowed.shape}", expected="bool (n,)")
        text = normalised(query)
        nothing = LexicalAnswer(text, np.empty(0, np.int64), np.empty(0, np.float32))
        words = self._words(text)
        if not words:
            return replace(nothing, reason=NO_WORDS if text else EMPTY)
        corrected, unknown, groups = [], [], []
        for word in words:
            known = (word,) if self._held.get(word) else self._spelling.near(word, self._held)
            if not known:
                unknown.append(word)
            elif known[0] != word:
                corrected.append(Correction(word, known))
            if known:
                groups.append(known)
        answer = replace(nothing, words=tuple(words), corrected=tuple(corrected), unknown=tuple(unknown), reason=UNKNOWN)
        return self._found(answer, groups, k, allowed) if groups else answer

    def _found(self, answer: LexicalAnswer, groups: Sequence[tuple[str, ...]], k: int, allowed: np.ndarray | None) -> LexicalAnswer:
        """``answer`` with rows: in turn those of :func:`_expressions`, until there are ``k``."""
        rows, scores, complete, hidden = answer.rows, answer.scores, 0, 0
        with self._reader() as reader:
            for expression, whole in _expressions(groups):
                found = reader.execute(_MATCHES, (*self._weights, expression)).fetchall()
                cells = np.fromiter(chain.from_iterable(found), np.float64, 2 * len(found)).reshape(-1, 2)
                more, theirs = cells[:, 0].astype(np.int64), cells[:, 1].astype(np.float32)
                keep = np.ones(len(more), bool) if allowed is None else _inside(more, allowed)
                hidden = max(hidden, len(more) - int(keep.sum()))
                keep[np.isin(more, rows)] = False
                more, theirs = more[keep], theirs[keep]
                best = np.lexsort((more, -theirs))[: k - len(rows)]
                rows, scores = np.concatenate([rows, more[best]]), np.concatenate([scores, theirs[best]])
                complete = len(rows) if whole else complete
                if len(rows) == k:
                    break
        reason = None if len(rows) else FILTERED if hidden else UNKNOWN
        return replace(answer, rows=rows, scores=scores, complete=complete, hidden=hidden, reason=reason)

    def _words(self, text: str) -> list[str]:
        words = list(dict.fromkeys(folded_words(text)))
        telling = [word for word in words if word not in self._stop_words]
        return (telling or words)[: self.config.max_words]

    def suggest(self, prefix: str | None, k: int = 8) -> list[str]:
        """Up to ``k`` completions of what was typed so far: words and phrases of titles, the most frequent first.

        Nothing for a prefix without letters or digits. What people asked before is no matter of an index of items.
        """
        words = folded_words(prefix)
        if not words or k < 1:
            return []
        key = " ".join(words) + (" " if (prefix or "")[-1].isspace() else "")
        with self._reader() as reader:
            found = reader.execute(_COMPLETIONS, (key, key + "\U0010ffff", self.config.phrase_items, k))
            return [shown for (shown,) in found]

    # ------------------------------------------------------------------------------------------------------ changing

    def put(self, row: int, item: Mapping[str, Any]) -> None:
        """Add the item at a catalogue row, or replace it; the next search finds it. ``item`` has columns of the lake's ``items``."""
        self.put_all([row], [item])

    def put_all(self, rows: Sequence[int], items: Sequence[Mapping[str, Any]]) -> None:
        """:meth:`put` for many, in one change: a search finds all of them or none. Of a row that stands twice the last item counts."""
        if min(rows, default=0) < 0:
            raise InputError("An item needs its row in the catalogue", found=min(rows), expected="a row from Catalogue.add")
        texts = dict(zip(rows, map(_texts, items), strict=True))
        with self._changing() as (writer, change):
            for row in texts:
                self._take_out(writer, row, change)
            self._put_in(writer, texts.items(), change)

    def remove(self, row: int) -> bool:
        """Take an item out. False where there is none at ``row``."""
        return self.remove_all([row]) > 0

    def remove_all(self, rows: Iterable[int]) -> int:
        """Take items out in one change. Returns how many there were."""
        with self._changing() as (writer, change):
            return sum(self._take_out(writer, row, change) for row in rows)

    def _fill(self, texts: Iterable[tuple[int, list[str]]]) -> None:
        with self._changing() as (writer, change):
            self._put_in(writer, texts, change)
            writer.execute("INSERT INTO items (items) VALUES ('optimize')")

    def _put_in(self, writer: sqlite3.Connection, texts: Iterable[tuple[int, list[str]]], change: Counter[str]) -> None:
        phrases, spelt = Counter(), {}

        def cells() -> Iterator[tuple]:
            for row, fields in texts:
                words = [folded_words(text, None) for text in fields]
                change.update(set(chain.from_iterable(words)))
                found = self._phrases(title := normalised(fields[0]))
                phrases.update(found.keys())
                for key, shown in found.items():
                    spelt.setdefault(key, shown)  # the first one stays, as where each comes alone
                yield row, *map(" ".join, words), title

        writer.executemany(_ADD_ITEM, cells())
        writer.executemany(_ADD_PHRASE, ((key, spelt[key], key.count(" ") + 1, items) for key, items in phrases.items()))

    def _take_out(self, writer: sqlite3.Connection, row: int, change: Counter[str]) -> bool:
        old = writer.execute("SELECT title, description, category, brand, attributes, shown FROM items WHERE rowid = ?", (row,)).fetchone()
        if old is None:
            return False
        writer.execute("DELETE FROM items WHERE rowid = ?", (row,))
        gone = [(key,) for key in self._phrases(old[-1])]
        writer.executemany("UPDATE phrases SET items = items - 1 WHERE key = ?", gone)
        writer.executemany("DELETE FROM phrases WHERE key = ? AND items <= 0", gone)
        change.subtract(set(" ".join(old[:-1]).split()))
        return True

    def _phrases(self, title: str) -> dict[str, str]:
        """Words and phrases of a normalised title as they are shown, by folded words; a phrase crosses no punctuation but ' and -."""
        spans, end = [], 0
        for word in split_words(title):
            begin = title.find(word, end)
            if begin < 0:
                continue
            spans.append((begin, end := begin + len(word), fold(word)))
        found: dict[str, str] = {}
        for first, (begin, _, word) in enumerate(spans):
            if word in self._stop_words:
                continue
            key, last = "", begin
            for start, end, part in spans[first : first + self.config.phrase_words]:
                if title[last:start] not in ("", " ", "'", "-"):
                    break
                key, last = f"{key} {part}".lstrip(), end
                if part not in self._stop_words:
                    found[key] = title[begin:end]
        return found

    # --------------------------------------------------------------------------------------------------- connections

    def close(self) -> None:
        """Give the file's connections back; a file of its own is removed."""
        with self._lock:
            self._closed = True
            for connection in (self._writer, *self._idle):
                connection.close()
            self._idle.clear()
        if self._folder is not None:
            self._folder.remove()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else reads by at the moment, and that sees one state of the index."""
        if self._closed:
            raise _closed()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.execute("COMMIT")
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)

    @contextmanager
    def _changing(self) -> Iterator[tuple[sqlite3.Connection, Counter[str]]]:
        """The writer within a transaction, and how many items more or less hold each word; what fails changes nothing."""
        with self._lock:
            if self._closed:
                raise _closed()
            change: Counter[str] = Counter()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer, change
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")
            for word, items in change.items():
                if held := self._held.get(word, 0) + items:
                    self._held[word] = held
                else:
                    self._held.pop(word, None)
            self._spelling.add(word for word, items in change.items() if items > 0)


# ------------------------------------------------------------------------------------------------------------------ folder


class _Folder:
    """A temporary folder that is held by a lock for as long as its process lives, and removed when it is not needed any more.

    A process that is killed removes nothing, but the system lifts its lock: whoever makes the next folder removes all that nobody holds.
    The database cannot be unlinked while it is read: each thread opens it by its path.
    """

    PREFIX = "corkboard-words-"

    def __init__(self) -> None:
        self._remove_left()
        self.path, held = self._make()
        self.remove = weakref.finalize(self, self._removed, self.path, held)
        """Remove it now; at the latest it goes with this object."""

    @classmethod
    def _make(cls) -> tuple[Path, int]:
        while True:
            path = Path(tempfile.mkdtemp(prefix=cls.PREFIX))
            try:
                held = os.open(path, os.O_RDONLY)
            except FileNotFoundError:  # another process found it before it was held, and took it for left
                continue
            with suppress(OSError):  # where there are no locks, nothing is taken for left
                fcntl.flock(held, fcntl.LOCK_EX)
            if path.exists():
                return path, held
            os.close(held)

    @classmethod
    def _remove_left(cls) -> None:
        for path in Path(tempfile.gettempdir()).glob(f"{cls.PREFIX}*"):
            with suppress(OSError):  # held, or of another user, or gone meanwhile
                held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(held)

    @staticmethod
    def _removed(path: Path, held: int) -> None:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


# ---------------------------------------------------------------------------------------------------------------- spelling


class Spelling:
    """Known words near a word: one edit away, and two edits in long words where one is not enough.

    An edit is a letter missing, added, changed, or swapped with its neighbour (optimal string alignment). Candidates are the words
    that share enough pairs of letters: an edit touches at most three of them, so none that is near is missed. Words with a digit
    are left alone, for another number is another thing.
    """

    LONGEST = 32
    """Longer words are neither corrected nor offered."""
    NEW = 128
    """New words join the last part of the known ones until that has so many."""
    GROWTH = 4
    """A part is joined with what came after it once that is a quarter of it: a word is moved a few times for each power of four of all
    words, however few come at a time, and a dozen parts hold a million."""

    def __init__(self, config: LexicalConfig):
        self.config = config
        self._parts: tuple[_LetterPairs, ...] = ()

    def add(self, words: Iterable[str]) -> None:
        """Make ``words`` known. Not for two threads at once; readers see the old or the new ones."""
        shortest = min(self.config.one_edit_from, self.config.two_edits_from) - 2
        parts = list(self._parts)
        fit = (word for word in words if shortest <= len(word) <= self.LONGEST and not any(map(str.isdigit, word)))
        new = [word for word in dict.fromkeys(fit) if not any(word in part.place for part in parts)]
        if not new:
            return
        while parts and len(parts[-1].words) <= max(self.NEW, self.GROWTH * len(new)):
            new = [*parts.pop().words, *new]
        self._parts = (*parts, _LetterPairs(new))

    def near(self, word: str, held: Mapping[str, int]) -> tuple[str, ...]:
        """Up to ``corrections`` known words by edits, then by how many items hold them in ``held`` (those in none are not known)."""
        if len(word) > self.LONGEST or any(map(str.isdigit, word)):
            return ()
        for edits, shortest in ((1, self.config.one_edit_from), (2, self.config.two_edits_from)):
            if len(word) < shortest:
                continue
            near = {other for part in self._parts for other in part.within(word, edits) if held.get(other, 0) > 0}
            if near:
                return tuple(sorted(near, key=lambda other: (-held.get(other, 0), other))[: self.config.corrections])
        return ()


class _LetterPairs:
    """Words by the pairs of neighbouring letters they hold, their ends included."""

    def __init__(self, words: list[str]):
        self.words, width = words, Spelling.LONGEST
        self.place = {word: place for place, word in enumerate(words)}
        self.letters = np.zeros((len(words), width + 2), np.uint32)
        self.letters[:, 0] = 1
        self.letters[:, 1:-1] = np.array(words, f"<U{width}").view(np.uint32).reshape(len(words), width)
        self.lengths = (self.letters[:, 1:] > 0).sum(axis=1)
        inside = np.arange(width + 1) <= self.lengths[:, None]
        pairs = _paired(self.letters)[inside]
        owners = np.nonzero(inside)[0].astype(np.int32)
        order = np.argsort(pairs, kind="stable")
        self.pairs, starts = np.unique(pairs[order], return_index=True)
        self.starts, self.owners = np.append(starts, len(pairs)), owners[order]

    def within(self, word: str, edits: int) -> list[str]:
        """The words at most ``edits`` edits away from ``word``."""
        letters = np.array([1, *map(ord, word), 0], np.uint32)
        pairs = np.unique(_paired(letters))
        places = np.minimum(np.searchsorted(self.pairs, pairs), max(len(self.pairs) - 1, 0))
        places = places[self.pairs[places] == pairs] if len(self.pairs) else places[:0]
        if not len(places):
            return []
        holders = np.concatenate([self.owners[self.starts[place] : self.starts[place + 1]] for place in places])
        shared = np.bincount(holders, minlength=len(self.words))
        enough = len(word) + 1 - 3 * edits
        near = np.flatnonzero((shared >= enough) & (np.abs(self.lengths - len(word)) <= edits))
        return [self.words[place] for place in near[_distances(letters[1:-1], self.letters[near, 1:], self.lengths[near]) <= edits]]


def _paired(letters: np.ndarray) -> np.ndarray:
    return (letters[..., :-1].astype(np.uint64) << np.uint64(21)) | letters[..., 1:]


def _distances(word: np.ndarray, others: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """int64 ``(n,)`` edits between ``word`` ``(m,)`` and each row of ``others`` ``(n, width)``, all codes of letters."""
    if not len(others):
        return np.empty(0, np.int64)
    width = int(lengths.max())
    table = np.zeros((len(word) + 1, width + 1, len(others)), np.uint8)
    table[:, 0] = np.arange(len(word) + 1)[:, None]
    table[0] = np.arange(width + 1)[:, None]
    same = word[:, None, None] == others.T[None, :width]
    for i in range(1, len(word) + 1):
        for j in range(1, width + 1):
            cell = np.minimum(np.minimum(table[i - 1, j], table[i, j - 1]) + 1, table[i - 1, j - 1] + ~same[i - 1, j - 1])
            if i > 1 and j > 1:
                swapped = same[i - 1, j - 2] & same[i - 2, j - 1]
                cell = np.where(swapped, np.minimum(cell, table[i - 2, j - 2] + 1), cell)
            table[i, j] = cell
    return table[len(word), lengths, np.arange(len(others))].astype(np.int64)


# ------------------------------------------------------------------------------------------------------------------ pieces


def _texts(item: Mapping[str, Any]) -> list[str]:
    """The texts of :data:`FIELDS` of an item."""
    texts = [item.get(column) or "" for column in TEXT_COLUMNS]
    return [*texts[:-1], " ".join(pair["value"] for pair in texts[-1] or () if pair.get("value"))]


def _expressions(groups: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, bool]]:
    """What SQLite is asked in turn, and whether it asks for all the words: the likeliest corrections, any correction, any word."""
    quoted = [[f'"{word}"' for word in group] for group in groups]
    yield " AND ".join(group[0] for group in quoted), True
    if any(len(group) > 1 for group in groups):
        yield " AND ".join(f"({' OR '.join(group)})" for group in quoted), True
    if len(groups) > 1:
        yield " OR ".join(dict.fromkeys(chain.from_iterable(quoted))), False


def _inside(rows: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    inside = rows < len(allowed)
    inside[inside] = allowed[rows[inside]]
    return inside


def _listed(words: Sequence[str], between: str) -> str:
    return between.join(f"“{word}”" for word in words)


def _closed() -> CorkboardError:
    return CorkboardError("The lexical index is closed", hint="Build another one.")


def _explained(error: sqlite3.OperationalError) -> Exception:
    if "fts5" not in str(error):
        return error
    return CorkboardError(
        "Search by words needs SQLite's FTS5, which this Python lacks",
        found=f"SQLite {sqlite3.sqlite_version}",
        expected="SQLite built with FTS5",
        hint="Use a Python from python.org, conda or a distribution; all have it.",
    )
