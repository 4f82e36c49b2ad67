"""Items that arrive, change and leave while a release serves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corkboard.feed.config import DiversityConfig, FeedConfig
from corkboard.feed.home import Feed
from corkboard.feed.page import RecommendRequest
from feed.builders import NEVER_TIRED, NOW_MS, DeadStore, Small, act


def ask(feed: Feed, user: str = "ann", k: int = 25, **more):
    return feed.recommend(RecommendRequest(user_id=user, k=k, now_ms=NOW_MS, **more))


def tent(item_id: str, time_ms: int = NOW_MS - 1000, **columns: Any) -> dict[str, Any]:
    row = {"event": "item", "event_id": f"{item_id}@{time_ms}", "time_ms": time_ms, "tenant": "default", "item_id": item_id}
    return row | {"title": "small red tent", "category": "tent", "creator_id": "c5", "kind": "pin"} | columns


def test_a_new_item_is_found_by_its_likeness_at_once(made: Small):
    feed = made.feed(config=FeedConfig(diversity=DiversityConfig(enabled=False)))
    feed.store.append([act("save", f"i{5 + 6 * n:03d}", time_ms=NOW_MS - n - 1) for n in range(6)])  # tents
    assert feed.add_items([tent("fresh")]) == 1
    page = ask(feed, k=60)
    assert "fresh" in page.items
    place = page.items.item_ids.index("fresh")
    features = dict(zip(page.served["feature_names"], page.served["slots"][place]["features"], strict=True))
    assert features["has_vector"] == 1.0
    assert features["has_stats"] == 0.0
    assert features["nearest_10"] > 0.5


def test_items_that_leave_and_come_back(made: Small):
    feed = made.feed(config=NEVER_TIRED)
    wanted = {"category": "tent"}
    feed.add_items([tent("i005", available=False), tent("i011", deleted=True), tent("new"), tent("new", NOW_MS - 900, deleted=True)])
    shown = {item_id for k in range(2) for item_id in ask(feed, filter=wanted, log=False).items}
    assert not {"i005", "i011", "new"} & shown
    feed.add_items([tent("i005", NOW_MS - 500), tent("new", NOW_MS - 400)])
    assert feed.catalogue.mask()[feed.catalogue.rows(["i005", "new"])].all()


def test_a_new_price_does_not_take_an_item_off_its_boards(made: Small):
    """Graph vectors know what an item lies beside; a live event of the item says nothing of that. A new item has its content alone."""
    feed = made.feed()
    graph, rows = feed.parts.graph_vectors, feed.catalogue.rows(["i005", "i215"])
    before = graph.vectors_of(rows)
    feed.add_items([tent("i215", price_minor=1200), tent("new")])
    np.testing.assert_array_equal(graph.vectors_of(rows), before)
    new = graph.vectors_of(feed.catalogue.rows(["new"]))
    assert np.linalg.norm(new) > 0.99


def test_the_newest_word_on_an_item_counts_in_any_order(made: Small):
    feed = made.feed()
    assert feed.add_items([tent("x", NOW_MS - 10, category="lamp"), tent("x", NOW_MS - 20, category="cake")]) == 1
    assert feed.add_items([tent("x", NOW_MS - 30, category="bike")]) == 0
    assert feed.add_items([tent("x", NOW_MS - 10, category="lamp")]) == 0
    assert feed.catalogue.value("category", feed.catalogue.row("x")) == "lamp"


def test_of_one_moment_the_later_event_counts_and_each_event_once(made: Small):
    feed = made.feed()
    born, gone = tent("x"), tent("x", event_id="gone", deleted=True)
    assert feed.add_items([born, gone]) == 1
    assert feed.add_items([born, gone]) == feed.add_items([born]) == 0
    assert "x" not in feed.catalogue
    assert feed.add_items([tent("y")]) == 1
    assert feed.add_items([tent("y", event_id="gone too", deleted=True)]) == 1
    assert feed.add_items([tent("y")]) == 0
    assert not feed.catalogue.mask()[feed.catalogue.rows(["y"])].any()


def test_a_batch_that_failed_is_taken_when_it_comes_again(made: Small, monkeypatch: pytest.MonkeyPatch):
    feed = made.feed()
    with monkeypatch.context() as broken:
        broken.setattr(feed.parts.tower, "encode", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            feed.add_items([tent("x"), tent("i005", deleted=True)])
    assert feed.add_items([tent("x"), tent("i005", deleted=True)]) == 2
    assert feed.parts.graph_vectors.vectors_of(feed.catalogue.rows(["x"])).any()
    assert feed.add_items([tent("x")]) == 0


def test_items_of_another_tenant_stay_out(made: Small):
    feed = made.feed()
    assert feed.add_items([tent("theirs", tenant="other")]) == 0
    assert "theirs" not in feed.catalogue


def test_a_feed_catches_up_with_its_store_when_it_is_loaded_and_later(made: Small):
    store = made.store()
    store.append([tent("early")])
    feed = made.feed(store=store)
    assert "early" in feed.catalogue
    assert feed.watermark == store.sequence()
    assert feed.catch_up() == 0
    store.append([tent("late"), act("save", "i001")])
    assert feed.catch_up() == 1
    assert "late" in feed.catalogue
    later = made.feed(store=store, watermark=store.sequence())  # a release whose catalogue has them already
    assert "late" not in later.catalogue


def test_without_a_tower_new_items_are_found_all_the_same(made: Small):
    feed = made.feed(without=["content"])
    feed.add_items([tent(f"n{n}") for n in range(3)])
    page = ask(feed, user="stranger", k=60, filter={"category": "tent"})
    assert {"n0", "n1", "n2"} <= set(page.items)
    assert np.isfinite([slot["score"] for slot in page.served["slots"]]).all()


def test_a_dead_store_leaves_the_overlay_empty(made: Small):
    feed = made.feed(store=DeadStore())
    assert len(feed.catalogue) == 300
