from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corkboard.learning.query_text import MAX_QUERY_CHARS, MAX_WORD_CHARS, fold, folded_words, normalised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ""),
        ("", ""),
        (" \t\r\n ", ""),
        ("  Navy \u00a0 Blue\tShirt\n", "navy blue shirt"),
        ("ＮＡＶＹ ﬁt №１", "navy fit no1"),  # full width, ligature, compatibility signs
        ("Straße", "strasse"),
        ("Café", "café"),
        ("Cafe\u0301", "café"),
        ("Tom &amp; Jerry", "tom & jerry"),
        ("Tom &amp;amp; Jerry", "tom & jerry"),
        ("Todo Cambi&#xA2; &#243;", "todo cambi¢ ó"),
        ("a&nbsp;&nbsp;b", "a b"),
        ("R&notebook &unknownthing; &;", "r&notebook &unknownthing; &;"),
        ("na\x00vy\x07", "navy"),
        ("a \x01 b", "a b"),
        ("na&#1;vy \ud800", "navy"),
        ("so\u00adft \u202eright\u202c", "soft right"),
        ("e\u200d\u0301", "é"),  # what was kept apart by something invisible is put together
        ("ស\u200bម", "ស ម"),
        ("👩\u200d💻 Bag", "👩💻 bag"),
    ],
)
def test_normalised(text: str | None, expected: str) -> None:
    assert normalised(text) == expected


@given(st.text(max_size=80) | st.text(alphabet="&#xam38;pltgE \x00\u200d\u0301İ＆é", max_size=40))
def test_a_second_time_changes_nothing(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert normalised(once, None) == once
    assert once == " ".join(once.split())
    once.encode()


def test_a_long_text_is_cut_at_a_space() -> None:
    long = "navy shirt " * 10_000
    assert len(long) > 100_000
    cut = normalised(long)
    assert MAX_QUERY_CHARS - 6 <= len(cut) <= MAX_QUERY_CHARS
    assert set(cut.split()) == {"navy", "shirt"}
    assert normalised("x" * 100_000) == "x" * MAX_QUERY_CHARS
    assert len(normalised("ﷺ" * 100_000)) <= MAX_QUERY_CHARS  # one sign that becomes eighteen
    assert len(normalised("&amp;" * 100_000)) <= MAX_QUERY_CHARS
    assert len(normalised(long, None)) == len(long) - 1
    assert normalised("abc def", 3) == "abc"
    assert normalised("abc def", 5) == "abc"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Café-Crème 50%", ["cafe", "creme", "50"]),
        ("ΆΛΦΑ Ệ ǖ", ["αλφα", "e", "u"]),
        ("İstanbul", ["istanbul"]),
        ("йод ёлка", ["йод", "ёлка"]),  # other letters, not accents
        ("हिन्दी की", ["हिन्दी", "की"]),
        ("كِتَاب", ["كِتَاب"]),
        ("红色 ドレス", ["红", "色", "ド", "レ", "ス"]),
        ("เสื้อ ผ้า", ["เสื้อ", "ผ้า"]),
        ("한국어 옷", ["한국어", "옷"]),
        ("🦄🦄 ?!", []),
        ("snake_case it's", ["snake", "case", "it", "s"]),
        ("y" * 100, ["y" * MAX_WORD_CHARS]),
    ],
)
def test_folded_words(text: str, words: list[str]) -> None:
    assert folded_words(text) == words
    assert [fold(word) for word in words] == words
