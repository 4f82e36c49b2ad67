"""Histories: which actions a page reads, in which order, at what age; padding; one request against many pages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.lake.schema import ACTION_CODES, ITEM_ACTIONS
from corkboard.ranking.history import NO_HISTORY, PageHistories, RequestHistory, logged_history, newest_actions, request_history
from ranking.builders import HOUR_MS, NOW_MS, action, state_of, world

ITEMS = world(n=20)


def undo(of: dict, hours_ago: float) -> dict:
    return action("undo", hours_ago=hours_ago) | {"undoes": of["event_id"]}


def names(history: RequestHistory) -> list[tuple[str, str]]:
    return [(ITEMS.ids[row], ITEM_ACTIONS[code - 1]) for row, code in zip(history.rows, history.actions, strict=True)]


def test_newest_first_with_ages_in_hours():
    history = request_history(state_of(action("save", "i003", 5.0), action("click", "i001", 0.5)), NOW_MS, ITEMS)
    assert names(history) == [("i001", "click"), ("i003", "save")]
    assert history.hours.tolist() == [0.5, 5.0]
    assert (history.rows.dtype, history.actions.dtype, history.hours.dtype) == (np.int64, np.int8, np.float32)
    assert history.actions.min() >= 1  # 0 is padding


def test_hides_are_in_it_and_what_was_taken_back_is_not():
    saved, hidden = action("save", "i001", 3.0), action("hide", "i001", 2.0)
    history = request_history(state_of(saved, hidden, action("click", "i002", 1.0)), NOW_MS, ITEMS)
    assert names(history) == [("i002", "click"), ("i001", "hide"), ("i001", "save")]
    history = request_history(state_of(saved, hidden, undo(hidden, 1.0), undo(saved, 0.5)), NOW_MS, ITEMS)
    assert len(history) == 0


def test_only_actions_on_items_of_the_catalogue_before_now():
    state = state_of(
        action("click", "i001", 0.0),  # at the very moment
        action("click", "i002", -1.0),  # dated later than the request
        action("follow", creator_id="c1", hours_ago=1.0),
        action("follow", "i004", creator_id="c1", hours_ago=1.5),  # names an item, and is no action on it
        action("click", "gone", 2.0),
        action("click", "i003", 3.0),
    )
    assert names(request_history(state, NOW_MS, ITEMS)) == [("i003", "click")]
    assert [entry.item_id for entry in newest_actions(state, NOW_MS)] == ["i004", "gone", "i003"]


def test_the_length_counts_before_anything_is_dropped_so_that_the_log_says_the_same():
    state = state_of(action("click", "i001", 3.0), action("click", "i002", 2.0), action("click", "gone", 1.0))
    assert names(request_history(state, NOW_MS, ITEMS, length=2)) == [("i002", "click")]
    logged = [{"item_id": a.item_id, "action": a.action, "time_ms": a.time_ms} for a in newest_actions(state, NOW_MS, 100)]
    assert names(logged_history(logged, NOW_MS, ITEMS, length=2)) == [("i002", "click")]


done = st.lists(st.tuples(st.sampled_from(["click", "save", "hide", "follow"]), st.integers(0, 24), st.integers(-60, 3000)), max_size=30)


@settings(max_examples=40, deadline=None)
@given(done, st.integers(1, 12))
def test_the_log_and_the_state_give_one_history_and_the_future_changes_nothing(happened, length):
    rows = [action(name, f"i{item:03d}", minutes / 60, creator_id="c1") for name, item, minutes in happened]  # i020 to i024 are unknown
    before = [row for row in rows if row["time_ms"] < NOW_MS]
    history = request_history(state_of(*rows), NOW_MS, ITEMS, length)
    earlier = request_history(state_of(*before), NOW_MS, ITEMS, length)
    logged = [{"item_id": a.item_id, "action": a.action, "time_ms": a.time_ms} for a in newest_actions(state_of(*rows), NOW_MS, 50)]
    for other in (earlier, logged_history(logged, NOW_MS, ITEMS, length)):
        np.testing.assert_array_equal(history.rows, other.rows)
        np.testing.assert_array_equal(history.actions, other.actions)
        np.testing.assert_array_equal(history.hours, other.hours)
    assert len(history) <= length
    assert (np.diff(history.hours) >= 0).all()
    assert (history.hours > 0).all()


def test_many_pages_side_by_side_and_padded():
    long = request_history(state_of(*(action("click", f"i{n:03d}", n + 1.0) for n in range(4))), NOW_MS, ITEMS)
    short = request_history(state_of(action("save", "i007", 2.0)), NOW_MS, ITEMS)
    pages = PageHistories.of([long, NO_HISTORY, short], ITEMS.ids)
    assert len(pages) == 3
    assert pages.offsets.tolist() == [0, 4, 4, 5]
    items, actions, hours, lengths = pages.padded(np.array([2, 0, 1, 0]), length=3)
    assert lengths.tolist() == [1, 3, 0, 3]
    assert items.tolist() == [[7, -1, -1], [0, 1, 2], [-1, -1, -1], [0, 1, 2]]
    click, save = ACTION_CODES["click"], ACTION_CODES["save"]
    assert actions.tolist() == [[save, 0, 0], [click] * 3, [0, 0, 0], [click] * 3]
    assert hours.tolist() == [[2.0, 0, 0], [1, 2, 3], [0, 0, 0], [1, 2, 3]]
    assert [part.shape for part in pages.padded(np.array([1]))] == [(1, 0), (1, 0), (1, 0), (1,)]
    nobody = PageHistories.of([NO_HISTORY], ITEMS.ids).padded(np.array([0, 0]))
    assert [part.shape for part in nobody] == [(2, 0), (2, 0), (2, 0), (2,)]


def test_ages_are_relative_to_the_request():
    state = state_of(action("click", "i001", 2.0))
    assert request_history(state, NOW_MS + 3 * HOUR_MS, ITEMS).hours == pytest.approx([5.0])
