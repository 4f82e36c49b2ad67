"""What comes in: good bodies, every kind of bad one, and nothing in between."""

from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.serving.bodies import form_body, parse_events, parse_recommend
from corkboard.serving.multipart import Part
from corkboard.serving.problems import Problem, shown

SURFACES = ("home", "related")


def recommend(value: object) -> object:
    return parse_recommend(orjson.dumps(value), SURFACES)


def refusal(value: object) -> Problem:
    with pytest.raises(Problem) as caught:
        recommend(value)
    return caught.value


def test_the_smallest_request_takes_the_defaults() -> None:
    asked = recommend({"session_id": "s1"})
    assert (asked.surface, asked.k, asked.tenant, asked.user_id, asked.cursor) == ("home", 25, "default", None, None)


@pytest.mark.parametrize(("key", "near"), [("user", "user_id"), ("cursr", "cursor"), ("filters", "filter")])
def test_an_unknown_key_is_refused_with_the_nearest_known_one(key: str, near: str) -> None:
    problem = refusal({"user_id": "ann", key: "x"})
    assert (problem.status, problem.code, problem.found) == (400, "unknown_key", key)
    assert problem.hint == f"Did you mean {near}?"


@pytest.mark.parametrize(
    ("body", "found", "expected"),
    [
        ({"user_id": "ann", "k": "ten"}, "ten", "int"),
        ({"user_id": "ann", "k": 0}, 0, "int >= 1"),
        ({"user_id": 7}, 7, "str | null"),
        ({"user_id": ""}, "", "str of length >= 1"),
        ({"user_id": "ann", "explain": 1}, 1, "bool"),
        ({"user_id": "ann", "filter": []}, [], "object | null"),
    ],
)
def test_a_wrong_value_names_what_was_found_and_expected(body: dict, found: object, expected: str) -> None:
    problem = refusal(body)
    assert (problem.status, problem.found, problem.expected) == (400, found, expected)
    assert next(key for key in body if body[key] == found) in problem.message


def test_a_page_is_for_somebody() -> None:
    assert refusal({"k": 5}).code == "nobody"


def test_a_surface_that_is_not_built_names_those_that_are() -> None:
    problem = refusal({"user_id": "ann", "surface": "search"})
    assert (problem.code, problem.found, problem.expected) == ("unknown_surface", "search", ["home", "related"])


@pytest.mark.parametrize("surface", [{}, {"surface": "related"}, {"surface": None}])
def test_an_item_alone_asks_for_what_is_related_to_it(surface: dict) -> None:
    asked = recommend({"user_id": "ann", "item_id": "sku-1", **surface})
    assert (asked.surface, asked.item_id) == ("related", "sku-1")


def test_a_related_page_needs_its_item() -> None:
    problem = refusal({"user_id": "ann", "surface": "related"})
    assert (problem.code, problem.expected) == ("bad_input", "item_id")


def test_home_takes_no_item_rather_than_leaving_it_out() -> None:
    problem = refusal({"user_id": "ann", "surface": "home", "item_id": "sku-1"})
    assert (problem.code, problem.found) == ("bad_input", "sku-1")
    assert "home" in problem.message


def test_where_related_pages_are_not_built_an_item_says_so() -> None:
    with pytest.raises(Problem) as caught:
        parse_recommend(b'{"user_id": "ann", "item_id": "sku-1"}', ("home",))
    assert (caught.value.code, caught.value.found) == ("unknown_surface", "related")


def test_a_user_id_must_not_pass_for_a_session() -> None:
    assert refusal({"user_id": "session:4f2"}).found == "session:4f2"


def test_an_id_is_measured_in_bytes() -> None:
    # "é" has two bytes in UTF-8: 256 of them are 512 bytes, which is the most an id may have
    assert recommend({"user_id": "é" * 256}).user_id == "é" * 256
    assert refusal({"user_id": "é" * 257}).code == "bad_input"


def test_a_query_is_measured_in_bytes_too() -> None:
    # "\U0001f9f6" has four bytes: 512 of them are the 2,048 bytes that the lake takes
    assert recommend({"user_id": "ann", "query": "\U0001f9f6" * 512, "surface": "home"}).query == "\U0001f9f6" * 512
    problem = refusal({"user_id": "ann", "query": "\U0001f9f6" * 513, "surface": "home"})
    assert (problem.status, problem.expected) == (400, "at most 2048 bytes")
    assert refusal({"user_id": "ann", "query": "x" * 1001, "surface": "home"}).status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b"\xff\xfe", b"[1]", b'"text"', b"7", b"null"])
def test_what_is_not_an_object_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_recommend(body, SURFACES)
    assert caught.value.status == 400


# --------------------------------------------------------------------------------------------------------------- events


@pytest.mark.parametrize(
    "body", [b'[{"event":"item"}]', b'{"event":"item"}', b'{"events":[{"event":"item"}]}', b'{"event":"item"}\n', b'\n{"event":"item"}\n\n']
)
def test_events_come_in_four_shapes(body: bytes) -> None:
    events, refused = parse_events(body, 10)
    assert events == [(0, {"event": "item"})]
    assert refused == []


def test_bad_lines_leave_good_ones_alone() -> None:
    events, refused = parse_events(b'{"a":1}\n{broken\n\n[1]\n{"b":2}', 10)
    assert events == [(0, {"a": 1}), (3, {"b": 2})]
    assert [(one.index, one.found) for one in refused] == [(1, "{broken"), (2, "[1]")]


def test_things_that_are_not_objects_are_refused_one_by_one() -> None:
    events, refused = parse_events(b'[{"a":1}, 7, null, "x"]', 10)
    assert [index for index, _ in events] == [0]
    assert [(one.index, one.found) for one in refused] == [(1, 7), (2, None), (3, "x")]


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b"\xff"])
def test_nothing_well_formed_is_one_refusal(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_events(body, 10)
    assert (caught.value.status, caught.value.code) == (400, "not_json")


@pytest.mark.parametrize("body", [b'{"events": 7}', b'{"events": [], "extra": 1}'])
def test_the_envelope_is_closed(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_events(body, 10)
    assert caught.value.status == 400


def test_too_many_events_are_refused_whole() -> None:
    with pytest.raises(Problem) as caught:
        parse_events(orjson.dumps([{}] * 11), 10)
    assert (caught.value.status, caught.value.found) == (413, 11)


@given(st.binary(max_size=200))
def test_bytes_that_are_not_json_are_refused_and_break_nothing(body: bytes) -> None:
    with pytest.raises(Problem) as page:  # arbitrary bytes never name a user
        parse_recommend(body, SURFACES)
    assert page.value.status == 400
    with suppress(Problem):
        events, refused = parse_events(body, 10)
        assert len(events) + len(refused) <= 10


@settings(max_examples=50)
@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_was_found_can_be_answered(value: object) -> None:
    said = orjson.loads(orjson.dumps({"found": shown(value)}))["found"]
    assert said is None or len(str(said)) <= 50 * 210


def test_a_form_with_a_filter_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(Problem) as raised:
        form_body({"filter": Part("filter", memoryview(b"[" * 300 + b"]" * 300))})
    assert (raised.value.status, raised.value.code) == (400, "bad_input")
