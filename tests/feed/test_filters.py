"""Filters: what they let through, and what they refuse to understand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranking.builders import item, items_frame

from corkboard.errors import InputError
from corkboard.feed.filters import KEYS, parse_filter
from corkboard.retrieval.catalogue import Catalogue


def catalogue() -> Catalogue:
    return Catalogue(
        items_frame(
            [
                item("a", category="x", kind="pin", creator_id="carl", price_minor=500),
                item("b", category="y", kind="product", creator_id="carl", price_minor=1500),
                item("c", category="z", kind="product", creator_id="dora"),
                item("gone", category="x", available=False, price_minor=10),
            ]
        )
    )


def through(raw: dict) -> set[str]:
    things = catalogue()
    return {item_id for item_id, allowed in zip(things.ids, parse_filter(raw).mask(things), strict=True) if allowed}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, {"a", "b", "c"}),
        ({}, {"a", "b", "c"}),
        ({"category": "x"}, {"a"}),
        ({"category": ["x", "y", "nowhere"]}, {"a", "b"}),
        ({"category": []}, {"a", "b", "c"}),
        ({"price_max": 1000}, {"a"}),
        ({"price_min": 501}, {"b"}),
        ({"kind": "product", "creator_id": "carl"}, {"b"}),
        ({"exclude_ids": ["a", "unheard of"], "available": True}, {"b", "c"}),
        ({"category": "nowhere"}, set()),
    ],
)
def test_what_a_filter_lets_through(raw, expected):
    assert through(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        {"categry": "x"},
        {"price_max": "10"},
        {"price_max": True},
        {"category": 3},
        {"category": [3]},
        {"available": False},
        {"exclude_ids": {"a": 1}},
    ],
)
def test_what_is_wrong_is_refused_with_a_sentence(raw):
    with pytest.raises(InputError) as refused:
        parse_filter(raw)
    assert refused.value.expected is not None


def test_the_nearest_key_is_named():
    with pytest.raises(InputError, match="Did you mean category"):
        parse_filter({"categry": "x"})


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=3)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), values, max_size=4))
def test_any_filter_is_a_mask_or_a_refusal(raw):
    things = catalogue()
    try:
        mask = parse_filter(raw).mask(things)
    except InputError:
        return
    assert mask.shape == (4,)
    assert not mask[things.row("gone")]
