"""The search surface: what a query finds, in whose order, and what a page says that finds nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.feed.config import FeedConfig
from corkboard.feed.home import Feed, RecommendRequest
from corkboard.feed.search import SEARCH, WordSide, falling
from corkboard.retrieval.lexical import LexicalAnswer, LexicalIndex
from feed.builders import NOW_MS, Small, act


def searching(made: Small, store=None, **options) -> Feed:
    """A feed that knows the words of its items."""
    feed = made.feed(store, **options)
    index = LexicalIndex.build(made.lake.items(), feed.catalogue)
    return Feed(replace(feed.parts, words=WordSide(index)), feed.store, feed.settings, feed.weights)


def search(feed: Feed, query: str | None, user: str = "u1", k: int = 10, **more):
    return feed.recommend(RecommendRequest(surface=SEARCH, query=query, user_id=user, k=k, now_ms=NOW_MS, **more))


def titles(feed: Feed, page) -> list[str]:
    return [feed.catalogue.value("title", row) for row in feed.catalogue.rows(page.items.item_ids).tolist()]


def codes(page) -> set[str]:
    return {note.code for note in page.notes}


def test_what_has_all_the_words_comes_before_what_has_some(made):
    feed = searching(made, config=FeedConfig(search={"relevance_weight": 50.0}))
    found = titles(feed, search(feed, "red lamp", k=40))
    both = [{"red", "lamp"} <= set(title.split()) for title in found]
    assert sum(both) > 2
    assert both == sorted(both, reverse=True)
    assert all({"red", "lamp"} & set(title.split()) for title in found)


def test_scores_of_parts_fall_and_keep_their_differences():
    """Likeliest corrections 5, 3; others 4, 4; then what has some of the words: 9, 1."""
    scores = np.array([5, 3, 4, 4, 9, 1], np.float32)
    answer = LexicalAnswer("", np.arange(6), scores, complete=4)
    assert falling(answer).tolist() == [5 + 1 + 5 + 9, 3 + 1 + 5 + 9, 4 + 5 + 9, 4 + 5 + 9, 9, 1]
    assert falling(LexicalAnswer("", np.arange(2), np.array([2, 1], np.float32), complete=2)).tolist() == [2, 1]
    assert len(falling(LexicalAnswer("", np.arange(0), np.empty(0, np.float32)))) == 0


def test_a_page_without_relevance_is_in_the_order_of_the_ranker(made):
    one, other = (searching(made, config=FeedConfig(search={"relevance_weight": weight})) for weight in (0.0, 50.0))
    store = one.store
    store.append([act("save", item_id, NOW_MS - 1000 * (1 + n), "u1") for n, item_id in enumerate(("i001", "i007"))])
    plain = search(one, "red", k=20)
    assert plain.items.item_ids != search(other, "red", k=20).items.item_ids
    assert (plain.served["policy"], plain.counts["light_candidates"]) == ("search/pointwise", 0)


def test_filters_and_rules_hold_inside_of_a_search(made):
    feed = searching(made)
    lamps = search(feed, "red", filter={"category": "lamp"})
    assert {feed.catalogue.value("category", row) for row in feed.catalogue.rows(lamps.items.item_ids).tolist()} == {"lamp"}
    first = lamps.items.item_ids[0]
    feed.store.append([act("hide", first, NOW_MS - 1000, "u1")])
    assert first not in search(feed, "red", filter={"category": "lamp"}).items.item_ids
    feed.store.append([act("save", lamps.items.item_ids[1], NOW_MS - 900, "u1")])
    assert lamps.items.item_ids[1] in search(feed, "red", filter={"category": "lamp"}).items.item_ids  # one looks for what one has saved


def test_pages_of_a_search_go_on_and_end(made):
    feed = searching(made)
    seen: list[str] = []
    page = search(feed, "red tent", k=30)
    while True:
        assert not set(seen) & set(page.items.item_ids)
        seen += page.items.item_ids
        if page.next_cursor is None:
            break
        page = search(feed, "red tent", k=30, cursor=page.next_cursor)
    expected = feed.parts.words.index.search("red tent", 1000).rows
    assert set(feed.catalogue.rows(seen).tolist()) == set(expected.tolist())


def test_what_was_corrected_or_left_out_is_said(made):
    feed = searching(made)
    page = search(feed, "brigth lamp")
    assert len(page.items) == 10
    assert codes(page) >= {"corrected"}
    assert "bright" in str(next(note for note in page.notes if note.code == "corrected"))
    assert codes(search(feed, "lamp zzyzx")) >= {"unknown_words"}


@pytest.mark.parametrize(
    ("query", "said"), [("", "empty"), ("  ", "empty"), ("!?", "no letters"), ("zzyzx", "zzyzx"), ("' OR 1=1; --", "or")]
)
def test_an_empty_page_says_why(made, query, said):
    page = search(searching(made), query)
    assert (len(page.items), page.next_cursor) == (0, None)
    assert said in str(next(note for note in page.notes if note.code == "no_match"))


def test_a_filter_that_removes_everything_is_told(made):
    page = search(searching(made), "lamp", filter={"category": "tent"})
    assert len(page.items) == 0
    said = str(next(note for note in page.notes if note.code == "no_match"))
    assert "All " in said
    assert "filtered out, hidden, shown before or not to be had" in said


def test_a_live_item_is_found_by_the_next_search_and_a_deleted_one_is_not(made):
    feed = searching(made)
    row = {"event": "item", "event_id": "n1", "time_ms": NOW_MS, "item_id": "new", "title": "peculiar armchair", "category": "lamp"}
    assert len(search(feed, "armchair").items) == 0
    feed.add_items([row])
    assert search(feed, "armchair").items.item_ids == ["new"]
    feed.add_items([{**row, "event_id": "n2", "time_ms": NOW_MS + 1, "deleted": True}])
    assert len(search(feed, "armchair").items) == 0


def test_what_is_not_to_be_had_is_not_even_suggested_until_it_is_there_again(made):
    feed = searching(made)
    index = feed.parts.words.index
    row = {"event": "item", "time_ms": NOW_MS, "item_id": "new", "title": "peculiar armchair", "category": "lamp"}
    for later, available, there in ((0, True, 1), (1, False, 0), (2, None, 1), (3, False, 0)):
        feed.add_items([{**row, "event_id": f"n{later}", "time_ms": NOW_MS + later, "available": available}])
        assert (index.holding("armchair"), len(index.suggest("armch")), len(search(feed, "armchiar").items)) == (there,) * 3
    told = next(note for note in search(feed, "armchair").notes if note.code == "no_match")
    assert "Nothing has" in str(told)


def test_the_words_of_a_batch_are_written_at_once(made, monkeypatch):
    feed = searching(made)
    index, spelt = feed.parts.words.index, []
    monkeypatch.setattr(index._spelling, "add", lambda words: spelt.append(set(words)))
    row = {"event": "item", "time_ms": NOW_MS, "category": "lamp"}
    feed.add_items([{**row, "event_id": f"n{n}", "item_id": f"n{n}", "title": f"armchair number{n}"} for n in range(50)])
    assert len(spelt) == 1
    assert spelt[0] >= {"armchair"}
    assert index.holding("armchair") == 50
    feed.add_items([{**row, "event_id": f"d{n}", "item_id": f"n{n}", "time_ms": NOW_MS + 1, "deleted": True} for n in range(50)])
    assert len(spelt) == 2
    assert index.holding("armchair") == 0


def test_a_release_without_words_shows_what_home_would_and_says_so(made):
    feed = made.feed()
    page = search(feed, "lamp")
    assert len(page.items) == 10
    assert "no_search" in codes(page)
    assert "no_search" not in codes(feed.recommend(RecommendRequest(user_id="u1", now_ms=NOW_MS)))


def test_an_index_that_fails_costs_the_search_and_nothing_else(made, monkeypatch):
    feed = searching(made)
    index = feed.parts.words.index

    def broken(*arguments):
        raise sqlite3.OperationalError("disk I/O error")

    for name in ("search", "put_all", "remove_all"):
        monkeypatch.setattr(index, name, broken)
    page = search(feed, "lamp")
    assert len(page.items) == 10
    assert "disk I/O error" in str(next(note for note in page.notes if note.code == "source_failed"))
    assert "no_search" in page.served["notes"]  # nobody learns from it what answers a lamp
    told = feed.explain(page.request_id, page.items.item_ids[0])
    assert "relevance" not in {rule["rule"] for rule in told["rules"]}
    assert told["stages"]["light"]["of"] >= 10
    row = {"event": "item", "event_id": "n1", "time_ms": NOW_MS, "item_id": "new", "title": "peculiar armchair", "category": "lamp"}
    assert feed.add_items([row]) == 1
    assert feed.add_items([{**row, "time_ms": NOW_MS + 1, "deleted": True}]) == 1


def test_a_search_without_query_is_refused(made):
    with pytest.raises(InputError, match="for something"):
        search(searching(made), None)


def test_everybody_gets_the_same_items_in_an_order_of_their_own(made):
    feed = searching(made)
    pages = [search(feed, "round", user=user, k=200).items.item_ids for user in ("u1", "u2", "somebody new")]
    assert {frozenset(page) for page in pages} == {frozenset(pages[0])}
    assert len({tuple(page) for page in pages}) > 1
    assert np.isfinite(search(feed, "round").items.scores).all()
