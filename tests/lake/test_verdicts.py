"""Bulk and live give the same verdict, and store the same."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.lake.read import frame_of
from corkboard.lake.schema import EVENT_TABLE, TABLES, Refusal, rows_to_frames, validate_event, validate_frame

from .rows import T0

ACTION = {"event": "action", "event_id": "e", "time_ms": T0, "user_id": "ann", "action": "click", "item_id": "i"}
ITEM = {"event": "item", "event_id": "e", "time_ms": T0, "item_id": "i"}
SLOTS = [{"item_id": "i", "position": 0, "score": 0.5, "propensity": 0.25, "source": "popular"}, {"item_id": "j", "position": 1}]
PAGE = {"event": "impression", "event_id": "e", "time_ms": T0, "user_id": "ann", "request_id": "r", "surface": "home", "slots": SLOTS}


def slot(**changes: Any) -> list[dict[str, Any]]:
    return [{**SLOTS[0], **changes}, SLOTS[1]]


GOOD: dict[str, dict[str, Any]] = {
    "the least action": ACTION,
    "no event id": {**ACTION, "event_id": None},
    "a session without a user": {**ACTION, "user_id": None, "session_id": "s"},
    "an id as a whole number": {**ACTION, "item_id": 17},
    "an id as a number from a data frame": {**ACTION, "item_id": 17.0},
    "numbers as text": {**ACTION, "duration_ms": "1500", "position": "3.0", "time_ms": str(T0)},
    "a flag as text": {**ACTION, "offsite": "TRUE"},
    "an id of 512 bytes": {**ACTION, "item_id": "é" * 256},
    "a follow": {**ACTION, "action": "follow", "item_id": None, "creator_id": "c"},
    "an undo": {**ACTION, "action": "undo", "item_id": None, "undoes": "x"},
    "a checkout": {**ACTION, "action": "checkout", "value_minor": 1999, "currency": "eur", "quantity": 2},
    "an unknown field": {**ACTION, "colour": "red"},
    "the last moment": {**ACTION, "time_ms": 4_102_444_800_000},
    "the least item": ITEM,
    "an item that was always there": {**ITEM, "time_ms": 0},
    "a description of 100 kB": {**ITEM, "description": "d" * 100_000},
    "attributes as an object": {**ITEM, "attributes": {"colour": ["red", "blue"], "size": 5, "new": True, "none": None}},
    "attributes as pairs": {**ITEM, "attributes": [{"name": "colour", "value": "red"}, {"name": "colour", "value": "blue"}]},
    "a price": {**ITEM, "price_minor": 0, "currency": "USD"},
    "a list as text": {**ITEM, "images": "a.jpg|b.jpg"},
    "a deleted item": {**ITEM, "deleted": 1},
    "a page": PAGE,
    "a page in any order": {**PAGE, "slots": SLOTS[::-1]},
    "a user": {"event": "user", "event_id": "e", "time_ms": T0, "user_id": "ann", "interests": ["cats", "dogs"]},
    "a secret board": {"event": "board", "event_id": "e", "time_ms": T0, "board_id": "b", "user_id": "ann", "secret": True},
}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no time": ({**ACTION, "time_ms": None}, "time_ms"),
    "time in seconds": ({**ACTION, "time_ms": T0 // 1000}, "time_ms"),
    "time after 2100": ({**ACTION, "time_ms": 4_102_444_800_001}, "time_ms"),
    "an action that was always there": ({**ACTION, "time_ms": 0}, "time_ms"),
    "time as a date": ({**ACTION, "time_ms": "2024-03-01"}, "time_ms"),
    "time as a flag": ({**ACTION, "time_ms": True}, "time_ms"),
    "half a millisecond": ({**ACTION, "time_ms": T0 + 0.5}, "time_ms"),
    "no user and no session": ({**ACTION, "user_id": None}, "user_id"),
    "a user who looks like a session": ({**ACTION, "user_id": "session:1"}, "user_id"),
    "an empty id": ({**ACTION, "item_id": ""}, "item_id"),
    "an id of 513 bytes": ({**ACTION, "item_id": "i" * 513}, "item_id"),
    "an id of 257 letters and 514 bytes": ({**ACTION, "item_id": "é" * 257}, "item_id"),
    "an id as a fraction": ({**ACTION, "item_id": 1.5}, "item_id"),
    "an id as a list": ({**ACTION, "item_id": ["i"]}, "item_id"),
    "an id as a flag": ({**ACTION, "item_id": True}, "item_id"),
    "an unknown action": ({**ACTION, "action": "purchase"}, "action"),
    "no action": ({**ACTION, "action": None}, "action"),
    "a click without an item": ({**ACTION, "item_id": None}, "item_id"),
    "a follow without a creator": ({**ACTION, "action": "follow"}, "creator_id"),
    "an undo of nothing": ({**ACTION, "action": "undo"}, "undoes"),
    "a click that undoes": ({**ACTION, "undoes": "x"}, "undoes"),
    "an unknown surface": ({**ACTION, "surface": "lobby"}, "surface"),
    "a negative duration": ({**ACTION, "duration_ms": -1}, "duration_ms"),
    "no pieces": ({**ACTION, "quantity": 0}, "quantity"),
    "a position beyond 32 bits": ({**ACTION, "position": 2**31}, "position"),
    "a value without a currency": ({**ACTION, "value_minor": 5}, "currency"),
    "a flag of another kind": ({**ACTION, "offsite": "maybe"}, "offsite"),
    "a query of 3 kB": ({**ACTION, "query": "q" * 3_000}, "query"),
    "a negative price": ({**ITEM, "price_minor": -1, "currency": "USD"}, "price_minor"),
    "a price without a currency": ({**ITEM, "price_minor": 5}, "currency"),
    "a currency of two letters": ({**ITEM, "price_minor": 5, "currency": "US"}, "currency"),
    "a currency of other letters": ({**ITEM, "currency": "ÄÖÜ"}, "currency"),
    "an unknown kind": ({**ITEM, "kind": "video"}, "kind"),
    "a title of 3 kB": ({**ITEM, "title": "t" * 3_000}, "title"),
    "a description of 200 kB": ({**ITEM, "description": "d" * 200_000}, "description"),
    "an image that is null": ({**ITEM, "images": ["a.jpg", None]}, "images[1]"),
    "attributes as a word": ({**ITEM, "attributes": "red"}, "attributes"),
    "an attribute without a name": ({**ITEM, "attributes": [{"value": "red"}]}, "attributes"),
    "no slots": ({**PAGE, "slots": []}, "slots"),
    "slots that are null": ({**PAGE, "slots": None}, "slots"),
    "two slots at one position": ({**PAGE, "slots": slot(position=1)}, "slots"),
    "a slot without an item": ({**PAGE, "slots": slot(item_id=None)}, "slots[0].item_id"),
    "a slot without a position": ({**PAGE, "slots": slot(position=None)}, "slots[0].position"),
    "a negative position": ({**PAGE, "slots": slot(position=-1)}, "slots[0].position"),
    "a propensity of 0": ({**PAGE, "slots": slot(propensity=0.0)}, "slots[0].propensity"),
    "a propensity above 1": ({**PAGE, "slots": slot(propensity=1.01)}, "slots[0].propensity"),
    "a score that is not finite": ({**PAGE, "slots": slot(score=math.inf)}, "slots[0].score"),
    "a slot that is a word": ({**PAGE, "slots": ["i", "j"]}, "slots[0]"),
    "a page for nobody": ({**PAGE, "user_id": None}, "user_id"),
    "a page without a request": ({**PAGE, "request_id": None}, "request_id"),
    "a board without an id": ({"event": "board", "time_ms": T0, "user_id": "ann"}, "board_id"),
}


def bulk(event: dict[str, Any]) -> dict[str, Any] | Refusal:
    """The verdict by column, with a good row before and one behind."""
    table = EVENT_TABLE[event["event"]]
    neighbour = {"action": ACTION, "item": ITEM, "impression": PAGE}.get(event["event"], event)
    rows = [{**neighbour, "event_id": "before"}, event, {**neighbour, "event_id": "behind"}]
    validated = validate_frame(table, frame_of([{k: v for k, v in row.items() if k != "event"} for row in rows]))
    assert validated.good.schema == TABLES[table].schema
    if (validated.bad["row"] == 1).any():
        assert 1 not in _places(validated.good, rows)
        return Refusal(*validated.bad.filter(row=1).row(0)[1:])
    good = validated.good.filter(~pl.col("event_id").is_in(["before", "behind"]))
    return {**good.row(0, named=True), "event": event["event"]}


def _places(good: pl.DataFrame, rows: list[dict[str, Any]]) -> list[int]:
    ids = [row.get("event_id") for row in rows]
    return [ids.index(event_id) for event_id in good["event_id"] if event_id in ids]


@pytest.mark.parametrize("name", GOOD)
def test_good_rows_are_stored_alike(name: str) -> None:
    live = validate_event(GOOD[name])
    assert not isinstance(live, Refusal), live
    assert bulk(GOOD[name]) == live
    table = EVENT_TABLE[live["event"]]
    assert rows_to_frames([live])[table].schema == TABLES[table].schema  # what a live event becomes fits the table as it is


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_alike(name: str) -> None:
    event, field = BAD[name]
    live = validate_event(event)
    assert isinstance(live, Refusal)
    assert live.field == field
    assert bulk(event) == live


def test_a_refusal_says_what_was_found_and_expected() -> None:
    refusal = validate_event({**ACTION, "time_ms": 1_700_000_000})
    assert isinstance(refusal, Refusal)
    assert refusal.found == "1700000000"
    assert "milliseconds" in refusal.expected
    assert "1973-03-03" in refusal.expected


@pytest.mark.parametrize("event", [None, [], "action", {"event": "purchase"}, {}, {"event": ["action"]}])
def test_what_is_no_event_is_refused(event: Any) -> None:
    verdict = validate_event(event)
    assert isinstance(verdict, Refusal)
    assert verdict.field == "event"


def test_half_of_a_surrogate_pair_is_refused() -> None:
    verdict = validate_event({**ACTION, "item_id": "\ud800"})
    assert isinstance(verdict, Refusal)
    assert verdict.field == "item_id"


def test_context_is_flattened_and_a_column_wins() -> None:
    row = validate_event({**ACTION, "context": {"query": "shirt", "item_id": "i9", "image_hash": "h", "more": 1}, "query": "navy shirt"})
    assert not isinstance(row, Refusal)
    assert (row["query"], row["context_item_id"], row["context_image_hash"]) == ("navy shirt", "i9", "h")
    refusal = validate_event({**ACTION, "context": "shirt"})
    assert isinstance(refusal, Refusal)
    assert refusal.field == "context"


def test_values_are_stored_in_one_form() -> None:
    item = validate_event(
        {**ITEM, "attributes": {"colour": ["red", "blue"], "size": 5}, "images": "a|b", "currency": "eur", "price_minor": "7"}
    )
    assert not isinstance(item, Refusal)
    pairs = [("colour", "red"), ("colour", "blue"), ("size", "5")]
    assert [(pair["name"], pair["value"]) for pair in item["attributes"]] == pairs
    assert (item["images"], item["currency"], item["price_minor"]) == (["a", "b"], "EUR", 7)
    assert (item["kind"], item["available"], item["deleted"], item["tenant"]) == ("pin", True, False, "default")


def test_an_id_from_the_content_is_the_same_live_and_in_bulk_and_differs_by_content() -> None:
    events = [{**ACTION, "event_id": None, "item_id": f"i{k}", "offsite": k % 2 == 0} for k in range(5)]
    live = [validate_event(event)["event_id"] for event in events]  # type: ignore[index]
    frame = validate_frame("actions", frame_of([{k: v for k, v in event.items() if k != "event"} for event in events])).good
    assert frame["event_id"].to_list() == live
    assert len(set(live)) == 5
    page = {**PAGE, "event_id": None}
    assert validate_event(page)["event_id"] == validate_frame("impressions", frame_of([page])).good["event_id"][0]  # type: ignore[index]


def test_repeated_rows_get_a_suffix_each() -> None:
    frame = pl.DataFrame([{k: v for k, v in ACTION.items() if k not in ("event", "event_id")}] * 3)
    ids = validate_frame("actions", frame).good["event_id"].to_list()
    assert ids == [ids[0], f"{ids[0]}-1", f"{ids[0]}-2"]


def test_given_ids_stay_beside_made_ones() -> None:
    frame = pl.DataFrame([{**ACTION, "event_id": "mine"}, {**ACTION, "event_id": None}]).drop("event")
    ids = validate_frame("actions", frame).good["event_id"].to_list()
    assert ids[0] == "mine"
    assert len(ids[1]) == 32


def test_rows_that_came_in_late_keep_their_place() -> None:
    rows = [{**ACTION, "event_id": f"e{k}", "images": None, "quantity": quantity} for k, quantity in enumerate(["1", "2.0", "x", "4"])]
    validated = validate_frame("actions", pl.DataFrame(rows).drop("event"))
    assert validated.good["event_id"].to_list() == ["e0", "e1", "e3"]
    assert validated.good["quantity"].to_list() == [1, 2, 4]
    assert validated.bad.rows() == [(2, "quantity", "'x'", "a whole number from 1")]


def test_an_empty_frame_is_fine() -> None:
    for table in TABLES:
        validated = validate_frame(table, pl.DataFrame())
        assert validated.good.schema == TABLES[table].schema
        assert validated.good.height == validated.bad.height == 0


# ------------------------------------------------------------------------------------------------------- any row at all

numbers = st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1) | st.just(T0) | st.just(T0 // 1000)
floats = st.floats() | st.integers(-5, 5).map(float) | st.floats(0, 1.5)
words = [
    "",
    "i",
    "click",
    "follow",
    "undo",
    "home",
    "12",
    "12.0",
    "-3",
    "1e3",
    "usd",
    "USD",
    "true",
    "x" * 600,
    "[1]",
    "a|b",
    "session:x",
    "é",
]
texts = st.sampled_from(words)
scalars = st.none() | st.booleans() | numbers | floats | texts
parts = {"item_id": texts | numbers, "position": numbers, "score": floats, "propensity": floats, "name": texts, "value": texts}
records = st.dictionaries(st.sampled_from(sorted(parts)), scalars, max_size=4)
slots = st.fixed_dictionaries({"item_id": texts, "position": st.integers(-1, 3)}, optional={"score": floats, "propensity": floats})
pairs = st.fixed_dictionaries({"name": texts, "value": texts})
columns = [numbers, floats, texts, st.booleans(), st.lists(slots, max_size=3), st.lists(pairs, max_size=3), st.lists(texts, max_size=3)]
anything = scalars | st.lists(scalars, max_size=3) | st.lists(records, max_size=3) | records
base = {"actions": ACTION, "items": ITEM, "impressions": PAGE}


@st.composite
def tables_of_events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Good events of one kind with one or two fields overwritten: by values of one type, which go by column, or by anything."""
    table = draw(st.sampled_from(sorted(base)))
    names = draw(st.lists(st.sampled_from(TABLES[table].names), min_size=1, max_size=2, unique=True))
    kinds = {name: draw(st.sampled_from([*columns, anything])) for name in names}
    gaps = draw(st.booleans())
    count = draw(st.integers(1, 4))
    return [{**base[table], **{name: draw(st.none() | kind if gaps else kind) for name, kind in kinds.items()}} for _ in range(count)]


@settings(max_examples=250, deadline=None)
@given(tables_of_events())
def test_bulk_and_live_agree_on_any_row(events: list[dict[str, Any]]) -> None:
    table = EVENT_TABLE[events[0]["event"]]
    validated = validate_frame(table, frame_of([{k: v for k, v in event.items() if k != "event"} for event in events]))
    live = [validate_event(event) for event in events]
    refused = [(place, verdict.field, verdict.expected) for place, verdict in enumerate(live) if isinstance(verdict, Refusal)]
    assert validated.bad.select("row", "field", "expected").rows() == refused  # "found" may be 0.0 for 0: a column has one type
    stored = [verdict for verdict in live if not isinstance(verdict, Refusal)]
    expected = rows_to_frames(stored)[table] if stored else validated.good.clear()
    assert validated.good.drop("event_id").equals(expected.drop("event_id"))
