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
        ({"sold": True, "creator_id": "dora"}, {"c"}),
    ],
)
def test_what_a_filter_lets_through(raw, expected):
    assert through(raw) == expected


def test_sold_is_what_has_a_price_or_is_a_product():
    things = Catalogue(items_frame([item("pin"), item("priced", price_minor=0), item("product", kind="product"), item("ad", kind="ad")]))
    assert parse_filter({"sold": True}).mask(things).tolist() == [name in ("priced", "product") for name in things.ids]
    assert parse_filter({"sold": False}).mask(things).all()
    pins = Catalogue(items_frame([item("pin")]))
    assert not parse_filter({"sold": True}).mask(pins).any()


def clothes() -> Catalogue:
    colours = {"a": ["navy"], "b": ["Navy", "white"], "c": ["red"], "none": []}
    rows = [item(name, attributes=[{"name": "Colour", "value": value} for value in values]) for name, values in colours.items()]
    rows[0]["attributes"].append({"name": "size", "value": "M"})
    return Catalogue(items_frame(rows))


def worn(things: Catalogue, attributes: dict) -> set[str]:
    allowed = parse_filter({"attributes": attributes}).mask(things)
    return {item_id for item_id, there in zip(things.ids, allowed, strict=True) if there}


def test_an_attribute_filter_wants_one_value_of_each_name_in_whatever_case():
    things = clothes()
    assert worn(things, {"colour": "navy"}) == {"a", "b"}
    assert worn(things, {"COLOUR": ["white", " red "]}) == {"b", "c"}
    assert worn(things, {"colour": "navy", "size": "m"}) == {"a"}
    assert worn(things, {"colour": "green"}) == worn(things, {"cut": "slim"}) == set()
    assert worn(things, {"colour": []}) == worn(things, {}) == {"a", "b", "c", "none"}


def test_attributes_of_items_that_arrive_or_change_count_at_once():
    things = clothes()
    things.add({"item_id": "new", "time_ms": 1, "attributes": [{"name": "colour", "value": "navy"}]})
    things.add({"item_id": "a", "time_ms": 2, "attributes": [{"name": "colour", "value": "red"}]})
    things.add({"item_id": "b", "time_ms": 2})
    assert worn(things, {"colour": "navy"}) == {"new"}
    assert worn(things, {"colour": "red"}) == {"a", "c"}


@pytest.mark.parametrize(
    "raw",
    [
        {"sold": "yes"},
        {"attributes": "navy"},
        {"attributes": {"colour": 3}},
        {"attributes": {"colour": [None]}},
        {"attributes": {str(n): "x" for n in range(51)}},
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
