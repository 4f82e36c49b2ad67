from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.errors import CorkboardError, InputError
from corkboard.learning.query_text import folded_words
from corkboard.retrieval import lexical
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import LexicalConfig
from corkboard.retrieval.lexical import EMPTY, FIELDS, FILTERED, K1, NO_WORDS, UNKNOWN, B, LexicalIndex, Spelling

SCHEMA = {
    "item_id": pl.String,
    "title": pl.String,
    "description": pl.String,
    "category": pl.String,
    "brand_id": pl.String,
    "attributes": pl.List(pl.Struct({"name": pl.String, "value": pl.String})),
}


def index_of(items: Sequence[str | Mapping[str, Any]], config: LexicalConfig | None = None, **more: Any) -> LexicalIndex:
    """Rows 0, 1 and so on; a string is a title."""
    rows = [{"title": item} if isinstance(item, str) else dict(item) for item in items]
    frame = pl.DataFrame([{"item_id": f"i{row:04d}"} | item for row, item in enumerate(rows)], schema=SCHEMA)
    return LexicalIndex.build(frame, Catalogue(frame), config, **more)


def rows(index: LexicalIndex, query: str | None, k: int = 10, allowed: Sequence[bool] | None = None) -> list[int]:
    return index.search(query, k, None if allowed is None else np.array(allowed, bool)).rows.tolist()


# ----------------------------------------------------------------------------------------------------------------- scores


def test_bm25_by_hand() -> None:
    index = index_of(["red shirt", "red red dress long", "blue hat", "green sock", "white tie pin"], LexicalConfig(title_weight=1.0))
    # N = 5, average length (2 + 4 + 2 + 2 + 3) / 5 = 2.6, "red" in 2: idf = ln(3.5 / 2.5) = .336472
    # row 0: tf 1, length 2: .336472 * 2.2 / (1 + 1.2 (.25 + .75 * 2 / 2.6)) = .740239 / 1.992308 = .371549
    # row 1: tf 2, length 4: .336472 * 4.4 / (2 + 1.2 (.25 + .75 * 4 / 2.6)) = 1.480477 / 3.684615 = .401800
    answer = index.search("red", 10)
    assert answer.rows.tolist() == [1, 0]
    assert answer.scores == pytest.approx([0.401800, 0.371549], abs=1e-5)
    assert answer.rows.dtype == np.int64
    assert answer.scores.dtype == np.float32
    assert (answer.complete, answer.hidden, answer.reason, answer.explanation) == (2, 0, None, "")


def reference(items: Sequence[Mapping[str, str]], words: Sequence[str], weights: Mapping[str, float]) -> np.ndarray:
    """BM25 by its formula: a word counts by the weight of its field, an item is as long as all its fields."""
    texts = [{name: folded_words(item.get(name)) for name in FIELDS} for item in items]
    lengths = np.array([sum(map(len, text.values())) for text in texts])
    scores = np.zeros(len(items))
    for word in words:
        holding = sum(any(word in part for part in text.values()) for text in texts)
        idf = math.log((len(items) - holding + 0.5) / (holding + 0.5))
        counts = np.array([sum(weights[name] * part.count(word) for name, part in text.items()) for text in texts])
        scores += max(idf, 1e-6) * counts * (K1 + 1) / (counts + K1 * (1 - B + B * lengths / lengths.mean()))
    return scores


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_scores_are_those_of_plain_bm25_by_field(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    words = [f"{a}{b}word" for a in "abcdef" for b in "xyz"]
    shares = 1 / np.arange(1, len(words) + 1)
    items = [
        {name: " ".join(rng.choice(words, rng.integers(0, 9), p=shares / shares.sum())) for name in ("title", "description", "category")}
        for _ in range(40)
    ]
    config = LexicalConfig(title_weight=3.0, description_weight=0.5, category_weight=2.0)
    index = index_of(items, config)
    asked = list(dict.fromkeys(rng.choice(words, count).tolist()))
    weights = {name: getattr(config, f"{name}_weight") for name in FIELDS}
    expected = reference(items, asked, weights)
    known = [word for word in asked if index.holding(word)]
    held = [[any(word in folded_words(item.get(name)) for name in FIELDS) for word in known] for item in items]
    answer = index.search(" ".join(known), 100) if known else None
    if answer is None:
        return
    found = answer.rows.tolist()
    assert sorted(found) == [row for row in range(40) if any(held[row])]
    assert sorted(found[: answer.complete]) == [row for row in range(40) if all(held[row])]
    assert answer.scores == pytest.approx(expected[found], rel=1e-4, abs=1e-5)
    for part in (found[: answer.complete], found[answer.complete :]):
        assert np.all(np.diff(expected[part]) <= 1e-5)
    index.close()


def test_a_word_weighs_as_its_field_and_all_fields_are_searched() -> None:
    item = {"title": "", "description": "word here", "category": "shoes/low_word", "brand_id": "Word", "attributes": []}
    fillers = [f"filler{place} thing" for place in range(6)]
    pairs = [{"name": "colour", "value": "word"}, {"name": "word2", "value": None}]
    index = index_of(
        ["word here", {"description": "word here"}, {"attributes": pairs, "title": "here"}, {"brand_id": "Word", "title": "here"}, *fillers]
    )
    assert rows(index, "word") == [0, 2, 3, 1]  # weights 4, 2, 2, 1; all are two words long
    assert rows(index, "colour word2") == []  # names of attributes are not searched
    assert rows(index_of([item, *fillers]), "low word") == [0]


def test_ties_stand_by_row_and_k_bounds() -> None:
    index = index_of(["same title"] * 30 + ["other"] * 40)
    assert rows(index, "same", 5) == [0, 1, 2, 3, 4]
    assert rows(index, "same title", 100) == list(range(30))
    mixed = index_of([f"same {'and longer ' * int(place % 3)}" for place in range(600)] + ["other"] * 700)
    assert rows(mixed, "same", 600) == [*range(0, 600, 3), *range(1, 600, 3), *range(2, 600, 3)]
    with pytest.raises(InputError, match="k >= 1"):
        index.search("same", 0)


def test_all_words_come_before_any() -> None:
    index = index_of(
        ["navy", "navy navy navy shirt shirt", "navy check shirt men with many other words in its long title", "hat", "sock", "tie"]
    )
    answer = index.search("navy check shirt", 10)
    assert answer.rows.tolist()[0] == 2
    assert answer.complete == 1
    assert sorted(answer.rows.tolist()) == [0, 1, 2]
    assert index.search("navy check shirt", 1).rows.tolist() == [2]
    assert index.search("navy shirt", 2).complete == 2  # enough hold all: no others are looked for
    none_holds_all = index.search("hat navy shirt", 10)
    assert none_holds_all.complete == 0
    assert sorted(none_holds_all.rows.tolist()) == [0, 1, 2, 3]


# ------------------------------------------------------------------------------------------------------- queries of any kind

SYNTAX = [
    '"',
    '"""',
    "*",
    "na*",
    "NEAR(",
    "NEAR(navy shirt, 5)",
    "title:",
    "title : navy",
    "-",
    "^",
    "+",
    "(((",
    ")(",
    "\x00",
    "'",
    ";",
    "--",
    "{title}:",
]


@pytest.mark.parametrize(
    "sign", [*SYNTAX, "'; DROP TABLE items; --", "AND", "OR", "NOT", "AND OR NOT", "\\", "%", "_", "?", ":x", "@", "$1", "\ud800"]
)
def test_syntax_of_sql_and_fts_is_plain_words(sign: str) -> None:
    index = index_of(["navy shirt", "hat", "sock", "tie"])
    for query in (f"navy {sign}", f"{sign} navy", f"na{sign}", sign, f'"navy" {sign} "'):
        index.search(query, 5)
    assert 0 in rows(index, f"navy {sign}")
    assert rows(index, f"{sign} navy shirt")[0] == 0
    assert rows(index, "navy shirt") == [0]
    assert len(index) == 4


def test_operators_are_words_where_items_hold_them() -> None:
    index = index_of(["near and dear", "not or", "drop table", "hat"])
    assert rows(index, "NEAR(") == [0]
    assert rows(index, "NOT navy") == [1]
    assert rows(index, "'; DROP TABLE items; --") == [2]


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_query_fails(query: str) -> None:
    answer = ANY.search(query, 3)
    assert (answer.reason is None) == (len(answer) > 0)


ANY = index_of(["navy shirt", "0 a b é ß", "红 dress", "the of"])


@pytest.mark.parametrize(
    ("query", "reason", "explanation"),
    [
        (None, EMPTY, "The query is empty."),
        ("", EMPTY, "The query is empty."),
        (" \t\u200b\x00", EMPTY, "The query is empty."),
        ("🦄 👩\u200d💻", NO_WORDS, "The query has no letters or digits."),
        ("?! … &amp;", NO_WORDS, "The query has no letters or digits."),
        ("qqqqqq 99", UNKNOWN, "Nothing has “qqqqqq” or “99”."),
    ],
)
def test_an_empty_answer_says_why(query: str | None, reason: str, explanation: str) -> None:
    answer = index_of(["navy shirt", "hat 🦄"]).search(query, 5)
    assert (len(answer), answer.reason, answer.explanation) == (0, reason, explanation)
    assert answer.rows.dtype == np.int64
    assert answer.scores.dtype == np.float32


def test_stop_words_are_searched_only_where_there_is_nothing_else() -> None:
    index = index_of(["the of", "hat of straw", "the hat", "sock"])
    assert index.search("the hat", 5).words == ("hat",)
    assert sorted(rows(index, "the hat")) == [1, 2]
    assert index.search("of the", 5).words == ("of", "the")
    assert rows(index, "Of THE")[0] == 0
    assert index.search("with", 5).reason == UNKNOWN


@pytest.mark.parametrize(
    ("title", "query"),
    [
        ("قميص كِتَاب أزرق", "أزرق"),
        ("เสื้อ สีน้ำเงิน", "สีน้ำเงิน"),
        ("नीली कमीज़", "कमीज़"),
        ("红色连衣裙", "连衣裙"),
        ("赤いドレス", "ドレス"),
        ("파란 셔츠", "셔츠"),
        ("Τσάντα", "τσαντα"),
        ("Ёлочка", "ёлочка"),
        ("Café Crème", "creme cafe"),
        ("Creme", "crème"),
        ("Tom &amp; Jerry&#39;s D&eacute;j&agrave;", "jerry's deja"),
        ("🦄 Unicorn 🦄", "unicorn🦄"),
        ("ＦＵＬＬ width", "full"),
        ("𞤢𞤣𞤤𞤢𞤥", "𞤢𞤣𞤤𞤢𞤥"),  # Adlam, which SQLite's own Unicode tables do not know
        ("𝔉𝔞𝔫𝔠𝔶", "fancy"),
        ("na\x00vy\ud800 hat", "navy"),
    ],
)
def test_titles_in_any_script(title: str, query: str) -> None:
    index = index_of(["hat", "sock", "pin" if "\x00" in title else title, "tie"])
    if "\x00" in title:
        index.put(2, {"title": title})  # data frames hold no halves of pairs, live events may
    assert rows(index, query) == [2]
    assert rows(index, title)[0] == 2


def test_long_descriptions_are_searched_to_their_end_and_long_queries_cut() -> None:
    long = "filling text " * 8_000 + " lastword"
    assert len(long) > 100_000
    index = index_of([{"title": "hat", "description": long}, {"title": "x" * 100_000}, "sock", "hat"])
    assert rows(index, "lastword") == [0]
    assert rows(index, "hat") == [3, 0]  # a long item says less with one word
    assert rows(index, "x" * 100_000) == [1]
    assert rows(index, long + "sock") == [0]  # it was cut before the sock
    answer = index.search(" ".join(f"w{place}" for place in range(20_000)), 5)
    assert len(answer.words) == 32


def test_as_many_words_as_there_may_be_with_corrections_for_each() -> None:
    signs = [chr(0x4E00 + place) for place in range(512)]
    index = index_of(["".join(signs), *signs], LexicalConfig(max_words=256))
    answer = index.search("".join(signs), 3)
    assert (len(answer.words), answer.complete, answer.rows.tolist()[0]) == (256, 1, 0)
    words = [f"{a}{b}{c}ing" for a in "bcdf" for b in "aeiou" for c in "klmn"]
    index = index_of([" ".join(words), *words])
    answer = index.search(" ".join(f"{word}q" for word in words), 3)
    assert (len(answer.words), len(answer.corrected), answer.complete, answer.rows.tolist()[0]) == (32, 32, 1, 0)


# ----------------------------------------------------------------------------------------------------------------- filters


def test_the_filter_is_inside_of_the_search() -> None:
    index = index_of([f"navy shirt {place}" for place in range(200)] + ["navy hat", "sock", *["filler"] * 300])
    allowed = np.zeros(502, bool)
    allowed[[7, 190, 200, 201]] = True
    answer = index.search("navy shirt", 3, allowed)
    assert answer.rows.tolist() == [7, 190, 200]  # the hat holds one word
    assert (answer.complete, answer.reason) == (2, None)
    assert index.search("navy shirt", 3, allowed[:191]).rows.tolist() == [7, 190]  # a mask older than the index
    with pytest.raises(InputError, match="mask"):
        index.search("navy", 3, allowed.astype(int))


def test_an_empty_answer_says_how_many_may_not_be_shown() -> None:
    index = index_of(["navy shirt", "navy hat", "sock", "tie", "pin"])
    answer = index.search("navy shirt qqqqqq", 3, np.array([False, False, True, True, True]))
    assert (len(answer), answer.reason, answer.hidden, answer.unknown) == (0, FILTERED, 2, ("qqqqqq",))
    why = "that would be found may not be shown here: filtered out, hidden, shown before or not to be had."
    assert answer.explanation == f"Nothing has “qqqqqq”. All 2 items {why}"
    assert index.search("shirt", 3, np.zeros(5, bool)).explanation == f"The one item {why}"
    assert index.search("qqqqqq", 3, np.zeros(5, bool)).reason == UNKNOWN
    assert index.search("shirt", 3, np.ones(5, bool)).hidden == 0


# ---------------------------------------------------------------------------------------------------------------- spelling


def test_an_unknown_word_is_replaced_and_the_answer_says_so() -> None:
    index = index_of(["navy shirt", "navy shirt long", "short navy", "headphones", "hat", "tie", "sock", "pin"])
    answer = index.search("navy shrt", 10)
    assert [(one.word, one.known) for one in answer.corrected] == [("shrt", ("shirt", "short"))]
    assert answer.rows.tolist() == [0, 1, 2]  # the more frequent word first, though the rarer one has the higher score
    assert answer.complete == 3
    assert answer.explanation == "Searched “shirt” or “short” instead of “shrt”."
    assert rows(index, "haedphonse") == [3]  # two edits in a long word
    assert rows(index, "nayv") == [0, 2, 1]  # neighbours swapped are one edit
    assert index.search("navy", 5).corrected == ()
    assert index.search("hta", 5).reason == UNKNOWN  # three letters are too few
    assert index.search("sokkc", 5).reason == UNKNOWN  # two edits in a short word
    assert rows(index_of(["navy shirt", "short"], LexicalConfig(corrections=0)), "shrt") == []


def test_a_known_word_is_never_replaced_and_a_number_neither() -> None:
    index = index_of(["shirt"] * 50 + ["shirk", "model 20190"])
    assert index.search("shirk", 60).corrected == ()
    assert rows(index, "shirk", 60) == [50]
    assert index.search("20191", 5).reason == UNKNOWN


def edits(a: str, b: str) -> int:
    """Optimal string alignment by its recursion."""
    table = {(i, j): max(i, j) for i in range(len(a) + 1) for j in range(len(b) + 1) if not i or not j}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(a), len(b)]


LETTERS = st.text(alphabet="abनé", min_size=3, max_size=11)


@settings(max_examples=150, deadline=None)
@given(st.lists(LETTERS, max_size=30, unique=True), LETTERS, st.integers(0, 30))
def test_spelling_finds_all_that_is_near_and_nothing_else(words: list[str], word: str, added_later: int) -> None:
    spelling = Spelling(LexicalConfig(corrections=100))
    spelling.add(words[added_later:])
    spelling.add(words[:added_later])
    held = {known: 1 + place % 4 for place, known in enumerate(words)}
    near: list[str] = []
    for distance, shortest in ((1, 4), (2, 8)):
        if not near and len(word) >= shortest:
            near = [known for known in words if edits(word, known) <= distance]
    assert spelling.near(word, held) == tuple(sorted(near, key=lambda known: (-held[known], known)))


def test_words_that_come_later_are_found_before_and_after_they_are_merged() -> None:
    words = [f"{a}{b}{c}ending" for a in "bcdfghjklmnp" for b in "aeiou" for c in "bcdfghjklmnpqrstvwxz"]
    spelling = Spelling(LexicalConfig(corrections=100))
    assert len(words) > Spelling.NEW
    for first in range(0, len(words), 100):
        spelling.add(words[first : first + 100])
        spelling.add(words[first : first + 100])
    held = dict.fromkeys(words, 1)
    assert all(word in spelling.near(word, held) for word in words[::50])
    assert spelling.near("zzzzzending", held) == ()


def test_the_word_of_an_item_that_left_corrects_nothing() -> None:
    index = index_of(["navy shirt", "hat"])
    index.remove(0)
    assert index.search("shrit", 5).reason == UNKNOWN
    assert index.holding("shirt") == 0


# -------------------------------------------------------------------------------------------------------------- live changes


def test_items_come_change_and_leave_between_two_searches() -> None:
    index = index_of(["navy shirt", "hat", "sock"])
    assert index.search("unicorn", 5).reason == UNKNOWN
    index.put(3, {"title": "Unicorn dress", "brand_id": "acme", "attributes": [{"name": "colour", "value": "pink"}]})
    assert rows(index, "unicorn") == rows(index, "acme pink") == rows(index, "unicron") == [3]
    index.put(3, {"title": "Dragon dress"})
    assert index.search("unicorn", 5).reason == UNKNOWN
    assert rows(index, "dragon") == [3]
    assert len(index) == 4
    assert index.remove(3)
    assert not index.remove(3)
    assert index.search("dragon", 5).reason == UNKNOWN
    assert len(index) == 3
    with pytest.raises(InputError, match="row"):
        index.put(-1, {"title": "x"})


def test_a_live_index_answers_as_one_built_at_once() -> None:
    titles = [f"{a} {b}" for a in ("navy", "red", "green check") for b in ("shirt", "hat", "long sock", "tie")]
    built, live = index_of(titles), index_of(["gone"] * 3 + titles[3:6])
    for row, title in enumerate(titles):
        live.put(row, {"title": title})
    for query in ("navy shirt", "sock", "check", "grene tie", "hat red long"):
        one, other = built.search(query, 20), live.search(query, 20)
        assert one.rows.tolist() == other.rows.tolist()
        assert one.scores == pytest.approx(other.scores, rel=1e-6)
        assert one.explanation == other.explanation
    assert built.suggest("s") == live.suggest("s")
    assert live.suggest("gon") == []


def test_many_at_once_are_as_one_after_the_other() -> None:
    titles = [f"{a} {b}" for a in ("Navy", "red", "NAVY", "green check") for b in ("shirt", "hat", "long sock")]
    one_by_one, at_once = (index_of(["old navy", "gone hat", "kept tie"]) for _ in range(2))
    places = [0, 1, *range(3, 13)]
    for row, title in zip(places, titles, strict=True):
        one_by_one.put(row, {"title": title})
    at_once.put_all(places, [{"title": title} for title in titles])
    assert len(at_once) == len(one_by_one) == 13
    for query in ("navy shirt", "sock", "old", "grene hat", "hat red long", "tie"):
        one, other = one_by_one.search(query, 20), at_once.search(query, 20)
        assert one.rows.tolist() == other.rows.tolist()
        assert one.scores == pytest.approx(other.scores, rel=1e-6)
        assert one.explanation == other.explanation
    words = ("navy", "shirt", "old", "gone", "hat", "tie")
    assert [at_once.holding(word) for word in words] == [one_by_one.holding(word) for word in words] == [6, 4, 0, 0, 4, 1]
    assert [at_once.suggest(prefix) for prefix in "nshg"] == [one_by_one.suggest(prefix) for prefix in "nshg"]
    assert at_once.remove_all([0, 0, 99, 3]) == 2
    assert len(at_once) == 11
    at_once.put_all([5, 5], [{"title": "first"}, {"title": "last"}])
    assert (rows(at_once, "last"), at_once.holding("first")) == ([5], 0)


def test_a_batch_is_one_change_and_one_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    index, spelt = index_of(["navy shirt", "hat"]), []
    monkeypatch.setattr(index._spelling, "add", lambda words: spelt.append(sorted(words)))
    index.put_all([1, 2], [{"title": "red sock"}, {"title": "red tie"}])
    index.put_all([], [])
    assert spelt[0] == ["red", "sock", "tie"]
    assert not any(spelt[1:])
    with pytest.raises(InputError, match="row"):
        index.put_all([3, -1], [{"title": "dragon"}, {"title": "dragon"}])
    with pytest.raises(ValueError, match="shorter"):
        index.put_all([3, 4], [{"title": "dragon"}])
    assert (index.holding("dragon"), len(index)) == (0, 3)


def test_words_that_come_one_by_one_are_moved_a_few_times_and_lie_in_few_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    pairs = lexical._LetterPairs
    monkeypatch.setattr(lexical, "_LetterPairs", lambda words: made.append(len(words)) or pairs(words))
    spelling = Spelling(LexicalConfig(corrections=100))
    words = [f"{a}{b}{c}ending" for a in "bcdfghjklm" for b in "aeiou" for c in "bcdfghjklmnpqrstvwxz"]
    spelling.add(words[:600])
    made.clear()
    for word in words[600:]:
        spelling.add([word])
        spelling.add([])
    assert len(made) == 400
    assert sum(made) < 400 * Spelling.NEW
    assert len(spelling._parts) <= 4
    assert sum(len(part.words) for part in spelling._parts) == 1000


def test_a_change_that_fails_changes_nothing() -> None:
    index = index_of(["navy shirt", "hat"])
    with pytest.raises(TypeError):
        index._fill([(5, ["unicorn", "", "", "", ""]), (6, None)])
    assert index.search("unicorn", 5).reason == UNKNOWN
    assert rows(index, "navy") == [0]
    index.put(2, {"title": "unicorn"})
    assert rows(index, "unicorn") == [2]


def test_many_search_while_one_writes() -> None:
    index = index_of([f"base item {place}" for place in range(50)])
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                answer = index.search("base item", 100)
                if not {*range(50)} <= set(answer.rows.tolist()) or len(set(answer.rows.tolist())) != len(answer):
                    wrong.append(answer)
                index.suggest("ba")
        except Exception as error:
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for place in range(150):
        index.put(50 + place % 7, {"title": f"base item new{place}"})
        if rows(index, f"new{place}", 1) != [50 + place % 7]:
            wrong.append(place)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []


# ------------------------------------------------------------------------------------------------------------- suggestions


def test_suggestions_are_past_queries_then_words_and_phrases_of_titles() -> None:
    titles = [
        "Navy Check Shirt",
        "navy check hat",
        "Navy Shirt - long",
        "navel orange",
        "Levi's 501",
        "levi's 501 jeans",
        "king of the hill",
        "King of the hill",
    ]
    index = index_of(titles)
    assert index.suggest("na") == ["navy", "navy check", "navel"]
    assert index.suggest("na", 2) == ["navy", "navy check"]
    assert index.suggest("NAVY c") == ["navy check"]
    assert index.suggest("navy ") == ["navy check"]
    assert index.suggest("levi'") == ["levi's", "levi's 501"]
    assert index.suggest("shirt ") == []  # no phrase crosses a dash between spaces
    assert index.suggest("king") == ["king of the hill"]  # stop words neither begin nor end one
    assert index.suggest("of") == []
    assert index.suggest("") == index.suggest(None) == index.suggest("🦄") == index.suggest("na", 0) == []
    assert index.suggest('"; DROP TABLE phrases; --') == []
    assert index.suggest("n" * 100_000) == []


def test_suggestions_in_scripts_without_spaces() -> None:
    index = index_of(["红色连衣裙", "红色衬衫", "Crème brûlée"])
    assert "红色" in index.suggest("红")
    assert index.suggest("cre") == index.suggest("crè") == ["crème"]
    assert index.suggest("creme") == []  # complete as it is, and one title is too few for a phrase
    assert index.suggest("brul") == ["brûlée"]


# ------------------------------------------------------------------------------------------------------------------- files


def test_the_index_lies_in_one_file_that_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = index_of(["navy shirt"], path=path)
    assert rows(index, "navy") == [0]
    assert path.exists()
    with pytest.raises(InputError, match="file of its own"):
        LexicalIndex(path=path)
    index.close()
    index.close()
    with pytest.raises(CorkboardError, match="closed"):
        index.search("navy", 1)
    with pytest.raises(CorkboardError, match="closed"):
        index.put(0, {"title": "x"})


HOLDS_AN_INDEX = """
from corkboard.retrieval.lexical import LexicalIndex
index = LexicalIndex()
index.put(0, {"title": "navy"})
print(index._folder.path, flush=True)
input()
assert index.search("navy", 1).rows.tolist() == [0]
index._connect().execute("SELECT count(*) FROM items")  # by its path, which is still there
"""


def held_elsewhere(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds an index of its own below ``folder``, and where that lies."""
    environ = {**os.environ, "TMPDIR": str(folder)}
    held = subprocess.Popen([sys.executable, "-c", HOLDS_AN_INDEX], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    return held, Path(held.stdout.readline().strip())


def test_what_a_killed_process_leaves_goes_with_the_next_index_and_what_others_hold_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (living, held), (dead, left) = held_elsewhere(tmp_path), held_elsewhere(tmp_path)
    dead.kill()
    dead.wait()
    assert {held, left} == set(tmp_path.iterdir())
    mine, other = LexicalIndex(), LexicalIndex()
    assert {held, mine._folder.path, other._folder.path} == set(tmp_path.iterdir())
    living.communicate("go on\n", timeout=60)
    assert living.returncode == 0
    assert not held.exists()  # it ended by itself
    other.close()
    del mine
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_for_left_before_it_is_held_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make, made = tempfile.mkdtemp, []

    def unlucky(prefix: str) -> str:
        made.append(make(prefix=prefix))
        if len(made) == 1:
            lexical._Folder._remove_left()  # what another process does meanwhile
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", unlucky)
    index = index_of(["navy"])
    assert [Path(path).exists() for path in made] == [False, True]
    assert rows(index, "navy") == [0]


def test_an_empty_index_answers() -> None:
    index = LexicalIndex()
    assert index.search("navy", 5).reason == UNKNOWN
    assert index.suggest("na") == []
    assert len(index) == 0
    index.put(4, {"title": "navy"})
    assert rows(index, "navy") == [4]


def test_items_outside_of_the_catalogue_are_left_out() -> None:
    frame = pl.DataFrame({"item_id": ["b", "a"], "title": ["hat", "sock"]})
    index = LexicalIndex.build(pl.concat([frame, pl.DataFrame({"item_id": ["z"], "title": ["tie"]})]), Catalogue(frame))
    assert rows(index, "hat") == [1]
    assert rows(index, "sock") == [0]
    assert index.search("tie", 5).reason == UNKNOWN


def test_without_fts5_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "_SCHEMA", lexical._SCHEMA.replace("fts5", "fts5_that_is_not_there"))
    with pytest.raises(CorkboardError, match="FTS5, which this Python lacks"):
        LexicalIndex()
