from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corkboard.learning.text import BIGRAM, TRIGRAM, WORD, name_hash, split_words, tokenize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Navy-blue SHIRT, size 42!", ["navy", "blue", "shirt", "size", "42"]),
        ("snake_case", ["snake", "case"]),
        ("Straße ＦＵＬＬ", ["strasse", "full"]),  # case folding, compatibility forms
        ("हिन्दी किताब", ["हिन्दी", "किताब"]),  # combining vowel signs stay inside their word
        ("Синяя рубашка", ["синяя", "рубашка"]),
        ("قميص أزرق", ["قميص", "أزرق"]),
        ("青いシャツ", ["青", "い", "シ", "ャ", "ツ"]),  # written without spaces: one word a character
        ("🙂 --- !!!", []),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_counts_of_each_kind_by_hand() -> None:
    # "navy shirt": 2 words, 1 bigram, trigrams of |navy| = 4 letters and of |shirt| = 5 letters, each with marked borders: 4 + 5 = 9
    tokens = tokenize(["navy shirt", None, "", "ox"])
    kinds = [tokens.kinds[a:b] for a, b in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]
    assert [int((kinds[0] == kind).sum()) for kind in (WORD, BIGRAM, TRIGRAM)] == [2, 1, 9]
    assert len(kinds[1]) == len(kinds[2]) == 0
    assert [int((kinds[3] == kind).sum()) for kind in (WORD, BIGRAM, TRIGRAM)] == [1, 0, 2]


def test_same_word_same_tokens_and_order_only_matters_to_bigrams() -> None:
    tokens = tokenize(["navy shirt", "Shirt NAVY"])
    first, second = (set(tokens.hashes[a:b].tolist()) for a, b in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True))
    assert len(first ^ second) == 2  # "navy shirt" and "shirt navy"


def test_only_the_first_words_are_read() -> None:
    assert np.array_equal(tokenize(["one two three four"], max_words=2).hashes, tokenize(["one two"]).hashes)


def test_exact_values_do_not_touch_words() -> None:
    assert name_hash("brand", "navy") not in set(tokenize(["navy"]).hashes.tolist())
    assert name_hash("brand", "navy") != name_hash("creator", "navy")


@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=6))
def test_a_text_has_the_same_tokens_alone_and_in_company(texts: list[str | None]) -> None:
    together = tokenize(texts)
    assert len(together) == len(texts)
    for place, text in enumerate(texts):
        alone = tokenize([text])
        part = slice(together.offsets[place], together.offsets[place + 1])
        assert np.array_equal(together.hashes[part], alone.hashes)
        assert np.array_equal(together.kinds[part], alone.kinds)
