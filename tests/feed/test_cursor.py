"""Cursors: there and back, and nothing a client sends can break a page."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from corkboard.feed.cursor import Cursor, chain_of, read_cursor


@given(st.text(max_size=40), st.integers(1, 10_000), st.lists(st.text(max_size=20), max_size=20))
def test_there_and_back(request_id, page, shown):
    cursor = Cursor(request_id, page, tuple(shown))
    token = cursor.token()
    assert read_cursor(token) == cursor
    assert set(token) <= set(string.ascii_letters + string.digits + "-_")


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.hex()))
def test_any_text_is_a_cursor_or_none(text):
    found = read_cursor(text)
    assert found is None or read_cursor(found.token()) == found


def test_what_is_not_ours_is_none():
    assert read_cursor("") is None
    assert read_cursor("x" * 100_000) is None
    assert read_cursor(Cursor("r", 0).token()) is None  # pages count from 1
    assert read_cursor(Cursor("r", 1).token()[:-3]) is None


def test_a_chain_keeps_the_newest_and_each_item_once():
    assert chain_of(["a", "b"], ["c", "a"], 10) == ["a", "b", "c"]
    assert chain_of(["a", "b"], ["c", "d"], 3) == ["b", "c", "d"]
