"""Saves that arrive while a release serves: the next page walks to them, unless their board is nobody's business."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from corkboard.feed.home import Feed
from corkboard.feed.live_saves import LiveSaves, news_since
from corkboard.feed.page import RecommendRequest
from feed.builders import DAY_MS, MIDNIGHT_MS, NOW_MS, Small, act

LONELY, TENT = "i005", "i215"
"""An item on no board, and one on three."""
LATER_MS = int(time.time() * 1000) + DAY_MS
"""After every graph of these tests was made."""


def board(board_id: str, time_ms: int = LATER_MS, **columns: Any) -> dict[str, Any]:
    row = {"event": "board", "event_id": f"{board_id}@{time_ms}", "time_ms": time_ms, "tenant": "default", "board_id": board_id}
    return row | {"user_id": "ann", "title": "a board", "secret": False, "deleted": False} | columns


def save(item_id: str, board_id: str | None, n: int = 0, **columns: Any) -> dict[str, Any]:
    return act("save", item_id, NOW_MS - 1000 + n, board_id=board_id, **columns)


def walked(feed: Feed, item_id: str) -> set[str]:
    """What walks from an item lead to."""
    rows, _ = feed.parts.walks.recommend(feed.catalogue.rows([item_id]), np.ones(1), 300, np.ones(len(feed.catalogue), bool))
    return set(feed.catalogue.ids_of(rows))


def public_board(made: Small) -> str:
    """A board that TENT lies on."""
    saves = made.lake.actions()
    ids = saves.filter((saves["item_id"] == TENT) & (saves["action"] == "save"))["board_id"].to_list()
    return next(board_id for board_id in ids if board_id not in ("b5", "b11"))


def test_a_save_is_walked_to_by_the_next_page(made: Small):
    feed = made.feed()
    assert walked(feed, LONELY) == set()
    assert LONELY not in walked(feed, TENT)
    feed.store.append([save(LONELY, public_board(made))])
    assert feed.catch_up() == 0  # no item is new
    assert TENT in walked(feed, LONELY)
    assert LONELY in walked(feed, TENT)
    page = feed.recommend(RecommendRequest(surface="related", item_id=TENT, user_id="u3", k=200, now_ms=NOW_MS, log=False))
    assert "pixie" in page.items.sources[page.items.item_ids.index(LONELY)]


def test_a_live_item_is_walked_to_by_the_boards_it_is_put_on(made: Small):
    feed = made.feed()
    live = {"event": "item", "event_id": "live", "time_ms": NOW_MS - 5000, "tenant": "default", "item_id": "live", "title": "tent"}
    feed.store.append([save("live", public_board(made)), live])  # in any order
    assert feed.catch_up() == 1
    assert "live" in walked(feed, TENT)


def test_the_saves_of_the_last_day_are_there_when_a_release_is_loaded(made: Small):
    newer = made.artifacts["graphs"].table("newer")
    assert len(newer)
    assert newer["time_ms"].min() >= MIDNIGHT_MS - DAY_MS
    feed = made.feed()
    assert feed.parts.walks.added > 0
    assert set(newer["board_id"]) <= feed.parts.public_boards
    past = made.feed(stats_day=MIDNIGHT_MS // DAY_MS)  # what judges a release by pages of its last day must not see that day
    assert past.parts.walks.added == 0


@pytest.mark.parametrize(
    ("board_id", "events"),
    [
        ("b5", []),
        ("never heard of", []),
        (None, []),
        ("new", [board("new", secret=True)]),
        ("new", [board("new", deleted=True)]),
        ("new", [board("new", LATER_MS - 10), board("new", LATER_MS, secret=True)]),
        ("new", [board("new", LATER_MS, secret=True), board("new", LATER_MS - 10)]),
        ("new", [board("new", LATER_MS), board("new", LATER_MS, event_id="same time", secret=True)]),
        ("b5", [board("b5", MIDNIGHT_MS)]),  # older than the graph, which left it out for being secret since
        ("theirs", [board("theirs", tenant="other")]),
    ],
)
def test_what_is_on_a_secret_or_unknown_board_is_never_walked_to(made: Small, board_id: str | None, events: list[dict[str, Any]]):
    feed = made.feed()
    before = feed.parts.walks.added
    feed.store.append([*events, save(LONELY, board_id), save(TENT, board_id)])
    feed.catch_up()
    feed.store.append([save("i011", board_id, 1)])
    feed.catch_up()
    assert feed.parts.walks.added == before
    assert walked(feed, LONELY) == set()


@pytest.mark.parametrize("order", [1, -1])
def test_a_board_that_is_declared_public_while_it_serves(made: Small, order: int):
    feed = made.feed()
    feed.store.append([board("new"), save(LONELY, "new"), save("i011", "new")][::order])
    feed.catch_up()
    assert walked(feed, LONELY) >= {"i011"}
    feed.store.append([board("new", LATER_MS + 10, secret=True)])
    feed.catch_up()
    added = feed.parts.walks.added
    feed.store.append([save("i017", "new", 1)])
    feed.catch_up()
    assert feed.parts.walks.added == added  # nothing new since; what is there stays until the next release


def test_a_board_of_the_graph_that_becomes_secret_gets_no_new_edges(made: Small):
    feed, known = made.feed(), public_board(made)
    before = feed.parts.walks.added
    feed.store.append([board(known, secret=True), save(LONELY, known)])
    feed.catch_up()
    assert feed.parts.walks.added == before


def test_a_save_that_was_taken_back_before_it_was_seen(made: Small):
    feed = made.feed()
    saved = save(LONELY, public_board(made))
    back = act("undo", time_ms=NOW_MS, undoes=saved["event_id"])
    feed.store.append([saved, back])
    feed.catch_up()
    assert walked(feed, LONELY) == set()
    late = save("i011", public_board(made), 5)
    feed.store.append([late])
    feed.catch_up()
    feed.store.append([act("undo", time_ms=NOW_MS + 1, undoes=late["event_id"])])
    feed.catch_up()
    assert "i011" in walked(feed, TENT)  # too late: the edge stays until the next release


def test_other_actions_tenants_and_items_make_no_edge(made: Small):
    feed, known = made.feed(), public_board(made)
    before = feed.parts.walks.added
    other = save(LONELY, known, 2, tenant="other")
    feed.store.append([act("click", LONELY, board_id=known), save("not in the catalogue", known), other])
    feed.catch_up()
    assert feed.parts.walks.added == before


def test_only_what_is_new_is_read(made: Small):
    feed = made.feed()

    class Counting:
        def __init__(self, store):
            self.store, self.read = store, []

        def __getattr__(self, name):
            return getattr(self.store, name)

        def events_since(self, seq, limit=2):
            found = self.store.events_since(seq, limit)
            self.read += [number for number, _ in found]
            return found

    feed.store = Counting(feed.store)
    feed.store.append([save(LONELY, public_board(made), n) for n in range(5)])
    feed.catch_up()
    assert feed.store.read == [1, 2, 3, 4, 5]  # in parts
    feed.catch_up()
    feed.recommend(RecommendRequest(user_id="u1", now_ms=NOW_MS))  # a served row is no event
    feed.catch_up()
    assert feed.store.read == [1, 2, 3, 4, 5]


def test_without_boards_in_the_graph_saves_are_left_alone(made: Small):
    feed = made.feed(without=["graphs"])
    feed.store.append([save(LONELY, "b1")])
    assert feed.catch_up() == 0
    parts = replace(made.feed().parts, public_boards=None)  # the largest graph is one of users
    assert LiveSaves(parts).add([board("b1"), save(LONELY, "b1")]) == 0


def test_news_are_told_apart(made: Small):
    store = made.store()
    item = {"event": "item", "event_id": "x", "time_ms": NOW_MS, "tenant": "default", "item_id": "x"}
    rows = [item, board("b"), save("x", "b"), act("undo", undoes="e"), act("click", "x"), act("follow", creator_id="c1")]
    store.append(rows)
    items, others = news_since(store, 0)
    assert [row["item_id"] for row in items] == ["x"]
    assert [row["event_id"] for row in others] == [row["event_id"] for row in rows[1:4]]
    assert news_since(store, store.sequence()) == ([], [])
