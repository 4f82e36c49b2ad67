"""Pages: what is on them, how they follow each other, and how they react."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.feed.config import DiversityConfig, ExplorationConfig, FeedConfig
from corkboard.feed.home import Feed
from corkboard.feed.page import NOTES, RecommendRequest
from corkboard.lake.schema import TABLES
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.features import FEATURE_NAMES
from feed.builders import NEVER_TIRED, NOW_MS, Small, act, topic_of


def ask(feed: Feed, user: str = "u1", k: int = 25, now_ms: int = NOW_MS, **more):
    return feed.recommend(RecommendRequest(user_id=user, k=k, now_ms=now_ms, **more))


def codes(page) -> set[str]:
    return {entry.code for entry in page.notes}


def test_a_page_for_a_known_user(made: Small):
    feed = made.feed()
    page = ask(feed)
    assert len(page.items) == len(set(page.items)) == 25
    assert codes(page) == set()
    assert page.release == made.release().id
    assert all(page.items.reasons)
    assert all(page.items.sources)
    assert page.next_cursor is not None
    share = np.mean([topic_of(item_id) == "shirt" for item_id in page.items])  # u1 likes topic 1
    assert share >= 0.3
    assert list(page.timings_ms) == ["state", "rules", "candidates", "user", "light", "features", "ranking", "diversity", "log"]


def test_the_served_row_is_whole_and_in_the_store_before_the_answer(made: Small):
    feed = made.feed()
    page = ask(feed, user="u2", k=10, session_id="s", query="lamps", item_id="i007")
    row = feed.store.served(page.request_id)
    assert set(TABLES["served"].names) <= set(row)
    assert (row["event_id"], row["user_id"], row["session_id"], row["surface"]) == (page.request_id, "u2", "s", "home")
    assert (row["query"], row["context_item_id"], row["policy"]) == ("lamps", "i007", "home/pointwise")
    assert [slot["item_id"] for slot in row["slots"]] == page.items.item_ids
    assert [slot["position"] for slot in row["slots"]] == list(range(10))
    assert all(len(slot["features"]) == len(FEATURE_NAMES) and len(slot["heads"]) == 3 for slot in row["slots"])
    assert all(slot["propensity"] is None for slot in row["slots"])
    assert row["sequence"][0]["time_ms"] >= row["sequence"][-1]["time_ms"]
    assert any(key.startswith("ranker=ranker/default/") for key in row["artifacts"])
    assert set(page.items) <= set(feed.store.state("u2").shown)


def test_a_page_that_leaves_no_trace(made: Small):
    feed = made.feed()
    page = ask(feed, log=False)
    assert feed.store.served(page.request_id) is None
    assert feed.store.sequence() == 0


def test_ten_pages_without_a_repeat(made: Small):
    feed = made.feed()
    seen, cursor = [], None
    for number in range(10):
        page = ask(feed, user="u3", cursor=cursor, now_ms=NOW_MS + number)
        assert len(page.items) == 25
        seen += page.items.item_ids
        cursor = page.next_cursor
        assert len(cursor) < 200
    assert len(set(seen)) == len(seen) == 250
    assert page.served["flags"][0] == "page:10"


def test_the_last_page_is_short_and_ends_the_chain(made: Small):
    feed = made.feed(config=NEVER_TIRED)
    first = ask(feed, user="stranger", k=30, filter={"category": "tent"})
    second = ask(feed, user="stranger", k=30, filter={"category": "tent"}, cursor=first.next_cursor)
    assert (len(first.items), len(second.items)) == (30, 20)
    assert not set(first.items) & set(second.items)
    assert second.next_cursor is None
    assert "short_catalogue" in codes(second)


def test_a_cursor_of_somebody_else_or_of_nobody_gives_a_first_page(made: Small):
    feed = made.feed()
    others = ask(feed, user="u3").next_cursor
    assert "cursor_lost" in codes(ask(feed, user="u4", cursor=others))
    assert "cursor_unreadable" in codes(ask(feed, user="u4", cursor="nonsense"))
    assert codes(ask(feed, user="u3", session_id="another", cursor=others)) == set()  # the same person in a new session goes on


def test_a_refresh_is_not_the_same_page(made: Small):
    feed = made.feed()
    first, second = ask(feed), ask(feed, now_ms=NOW_MS + 5000)
    assert first.items.item_ids != second.items.item_ids
    assert len(set(first.items) - set(second.items)) >= 3


def test_saves_shape_the_very_next_page(made: Small):
    feed = made.feed(config=NEVER_TIRED)
    before = Counter(topic_of(item_id) for item_id in ask(feed, user="u0").items)
    feed.store.append([act("save", f"i{4 + 6 * n:03d}", NOW_MS + n, "u0") for n in range(5)])  # five plants; u0 likes lamps
    page = ask(feed, user="u0", now_ms=NOW_MS + 10)
    after = Counter(topic_of(item_id) for item_id in page.items)
    assert after["plant"] >= max(3, 2 * before["plant"])
    assert any("you saved" in reason for reason in page.items.reasons)


def test_hides_shape_the_very_next_page(made: Small):
    feed = made.feed(config=NEVER_TIRED)
    page = ask(feed, user="u5")
    before = sum(topic_of(item_id) == "tent" for item_id in page.items)
    hidden = [item_id for item_id in page.items if topic_of(item_id) == "tent"][:5]
    feed.store.append([act("hide", item_id, NOW_MS + n, "u5") for n, item_id in enumerate(hidden)])
    after = ask(feed, user="u5", now_ms=NOW_MS + 10)
    assert not set(hidden) & set(after.items)
    assert sum(topic_of(item_id) == "tent" for item_id in after.items) <= before / 2


def test_an_action_dated_a_little_ahead_counts_at_once(made: Small):
    feed = made.feed(config=NEVER_TIRED)
    feed.store.append([act("save", f"i{4 + 6 * n:03d}", NOW_MS + 60_000 + n, "u0") for n in range(5)])
    page = ask(feed, user="u0")
    assert page.served["time_ms"] == NOW_MS + 60_005
    assert sum(topic_of(item_id) == "plant" for item_id in page.items) >= 3


def test_hidden_blocked_and_filtered_items_are_never_there(made: Small):
    feed = made.feed()
    feed.store.append([act("hide", "i001", user="u1"), act("block", creator_id="c3", user="u1"), act("report", "i007", user="u1")])
    wanted = {"category": ["shirt", "cake"], "price_max": 20_000, "exclude_ids": ["i013"]}
    items, cursor = [], None
    for _ in range(4):
        page = ask(feed, k=20, filter=wanted, cursor=cursor)
        items += page.items.item_ids
        cursor = page.next_cursor
    numbers = [int(item_id[1:]) for item_id in items]
    assert {topic_of(item_id) for item_id in items} == {"shirt", "cake"}
    assert max(numbers) < 200
    assert not {1, 7, 13} & set(numbers)
    assert all(number % 23 != 3 for number in numbers)


def test_utility_weights_change_the_order_while_serving(made: Small):
    feed = made.feed(config=FeedConfig(diversity=DiversityConfig(enabled=False)))
    feed.store.append([act("hide", f"i{1 + 6 * n:03d}", NOW_MS - n, "u1") for n in range(3)])
    plain = ask(feed, log=False)
    careless = ask(feed.with_weights(UtilityWeights(hide=0.0)), log=False)
    shirts = [sum(topic_of(item_id) == "shirt" for item_id in page.items) for page in (plain, careless)]
    assert shirts[0] < shirts[1]
    assert careless.served["trace"]["weights"]["hide"] == 0.0


def test_diversity_is_on_and_spreads(made: Small):
    narrow = ask(made.feed(config=FeedConfig(diversity=DiversityConfig(enabled=False))), log=False)
    wide = ask(made.feed(), log=False)
    creators = [max(Counter(int(item_id[1:]) % 23 for item_id in page.items).values()) for page in (narrow, wide)]
    assert creators[1] <= 5 == FeedConfig().diversity.max_creator_share * 25
    assert len({topic_of(item_id) for item_id in wide.items}) >= len({topic_of(item_id) for item_id in narrow.items})


def test_random_pages_log_their_propensity_and_hold_the_same_items(made: Small):
    always = made.feed(config=FeedConfig(exploration=ExplorationConfig(share=1.0)))
    mixed, plain = ask(always, log=False), ask(made.feed(), log=False)
    assert {slot["propensity"] for slot in mixed.served["slots"]} == {1 / 25}
    assert "random_order" in mixed.served["flags"]
    assert set(mixed.items) == set(plain.items)
    assert mixed.items.item_ids != plain.items.item_ids
    some = made.feed(config=FeedConfig(exploration=ExplorationConfig(share=0.3)))
    share = np.mean([ask(some, log=False).served["slots"][0]["propensity"] is not None for _ in range(100)])
    assert 0.1 < share < 0.5


def test_what_the_caller_got_wrong_is_refused(made: Small):
    feed = made.feed()
    with pytest.raises(InputError, match="for somebody"):
        RecommendRequest()
    with pytest.raises(InputError, match="at least one"):
        RecommendRequest(user_id="u1", k=0)
    for wrong in ({"surface": "search"}, {"k": 10_000}, {"filter": {"colour": "red"}}):
        with pytest.raises(InputError):
            ask(feed, **wrong)


def test_every_note_has_a_sentence():
    assert all(text.endswith(".") and len(text) > 20 for text in NOTES.values())


def test_threads_share_a_feed_while_items_arrive(made: Small):
    feed = made.feed()
    failures: list[Exception] = []

    def read(user: str) -> None:
        try:
            for n in range(8):
                assert len(ask(feed, user=user, now_ms=NOW_MS + n).items) == 25
        except Exception as error:  # handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=read, args=(f"u{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for n in range(120):
        feed.add_items([{"item_id": f"new{n}", "time_ms": NOW_MS + n, "title": "red tent", "category": "tent", "kind": "pin"}])
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(feed.catalogue) == 420
