"""The one contract of every store; the reading half also holds for the lake."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest

from corkboard.errors import StoreError
from corkboard.state.config import LimitsConfig, StateConfig
from corkboard.state.memory import MemoryStore
from corkboard.state.replay import LakeStates
from corkboard.state.sqlite import SqliteStore
from corkboard.state.user_state import UserState
from state.builders import T0, FrameLake, action, impression, random_rows, row, served, state_of, undo, user


def make_store(kind, tmp_path, config=None):
    return MemoryStore(config) if kind == "memory" else SqliteStore(tmp_path / "store.sqlite", config)


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = make_store(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["memory", "sqlite", "lake"])
def knowing(request, tmp_path):
    """Makes a UserStore that was given some rows."""
    opened = []

    def make(rows):
        if request.param == "lake":
            return LakeStates(FrameLake(rows))
        made = make_store(request.param, tmp_path)
        opened.append(made)
        put(made, rows)
        return made

    yield make
    for made in opened:
        made.close()


def put(store, rows):
    store.log_served([r for r in rows if r["event"] == "served"])
    return store.append([r for r in rows if r["event"] != "served"])


# ------------------------------------------------------------------------------------------------------------- reading


def test_an_unknown_user_has_an_empty_state(knowing):
    assert knowing([]).state("nobody") == UserState("nobody")


def test_every_kind_of_row_reaches_the_state(knowing):
    store = knowing(
        [
            user("u1", T0, country="AT"),
            impression("r1", T0 + 1, ["a", "b"]),
            served("r2", T0 + 2, ["c"]),
            action("e1", T0 + 3, "save", "a"),
            action("e2", T0 + 4, "hide", "b"),
            action("e3", T0 + 5, "follow", creator_id="eve"),
            undo("e4", T0 + 6, "e1"),
            action("e5", T0 + 7, "click", "c"),
        ]
    )
    state = store.state("ann")
    assert [a.event_id for a in state.actions] == ["e5", "e3", "e2"]
    assert (state.hidden, state.follows, set(state.shown), state.country) == ({"b"}, {"eve"}, {"a", "b", "c"}, "AT")


def test_users_sessions_and_tenants_are_kept_apart(knowing):
    rows = [
        action("e1", T0, "click", "a"),
        action("e2", T0, "click", "b", user_id="bob"),
        action("e3", T0, "click", "c", user_id=None, session_id="s1"),
        action("e4", T0, "click", "d", tenant="other"),
        action("e5", T0, "click", "e", session_id="s1"),  # signed in: ann's, not the session's
    ]
    store = knowing(rows)
    found = [store.state(*who) for who in (("ann",), ("bob",), ("session:s1",), ("ann", "other"), ("s1",))]
    assert [{a.item_id for a in state.actions} for state in found] == [{"a", "e"}, {"b"}, {"c"}, {"d"}, set()]
    assert found[2].user_id == "session:s1"


@pytest.mark.parametrize("seed", range(3))
def test_a_long_mixed_history_gives_what_apply_gives(knowing, seed):
    users = ("ann", "bob", "session:s1")
    rows = random_rows(seed, 300, users)
    store = knowing(rows)
    for who in users:
        own = [r for r in rows if (r["user_id"] or f"session:{r['session_id']}") == who]
        assert store.state(who) == state_of(own, who)


def test_the_state_handed_out_is_shared_and_cannot_be_changed(knowing):
    store = knowing([action("e1", T0, "click", "a")])
    with pytest.raises(StoreError, match="copy"):
        store.state("ann").apply(action("e2", T0 + 1, "hide", "a"))
    copy = store.state("ann").copy()
    copy.apply(action("e2", T0 + 1, "hide", "a"))
    assert (copy.hidden, store.state("ann").hidden) == ({"a"}, set())


# -------------------------------------------------------------------------------------------------------------- events


def test_an_append_is_visible_at_once_and_each_event_counts_once(store):
    assert store.append([action("e1", T0, "click", "a")]) == [True]
    before = store.state("ann")
    assert store.append([action("e1", T0, "click", "a"), action("e2", T0 + 1, "save", "b"), action("e2", T0 + 1, "save", "b")]) == [
        False,
        True,
        False,
    ]
    assert [a.event_id for a in store.state("ann").actions] == ["e2", "e1"]
    assert [a.event_id for a in before.actions] == ["e1"]
    assert store.append([]) == []


def test_an_event_id_counts_within_its_table_and_tenant(store):
    rows = [action("1", T0, "click", "a"), impression("r1", T0, ["a"], event_id="1"), action("1", T0, "click", "a", tenant="other")]
    assert store.append(rows) == [True, True, True]


def test_events_come_back_whole_in_the_order_of_their_sequence(store):
    rows = random_rows(1, 60)
    events = [r for r in rows if r["event"] != "served"]
    put(store, rows)
    found = store.events_since(0)
    assert [each for _, each in found] == events
    numbers = [seq for seq, _ in found]
    assert numbers == sorted(set(numbers))
    assert store.events_since(numbers[9], 5) == found[10:15]
    assert store.events_since(numbers[-1]) == []


def test_events_and_served_rows_share_one_sequence(store):
    assert store.sequence() == 0
    store.append([action("e1", T0, "click", "a")])
    store.log_served([served("r1", T0, ["a"])])
    store.append([action("e1", T0, "click", "a"), action("e2", T0, "click", "b")])
    first, second = (seq for seq, _ in store.events_since(0))
    ((between, _),) = store.served_since(0)
    assert first < between < second == store.sequence()


def test_item_rows_come_back_for_the_overlay(store):
    item = row(
        "item",
        "i1",
        T0,
        item_id="a",
        kind="pin",
        title="A chair",
        available=True,
        deleted=False,
        attributes=[{"name": "color", "value": "red"}],
    )
    store.append([item, action("e1", T0, "click", "a")])
    upto = store.sequence()
    store.append([{**item, "event_id": "i2", "title": "A stool"}])
    assert [each["title"] for _, each in store.items_since(0)] == ["A chair", "A stool"]
    assert [each for _, each in store.items_since(upto)] == [{**item, "event_id": "i2", "title": "A stool"}]


def test_boards_are_kept_with_the_events(store):
    boards = [row("board", "b1", T0, board_id="b", user_id="ann", title="Chairs"), row("board", "b2", T0, board_id="c", title="Nobody's")]
    store.append(boards)
    assert [each for _, each in store.events_since(0)] == boards


def test_a_caller_who_changes_a_row_afterwards_changes_nothing(store):
    given = impression("r1", T0, ["a"])
    store.append([given])
    given["slots"][0]["item_id"] = "z"
    assert store.state("ann").shown.keys() == {"a"}
    store.events_since(0)[0][1]["slots"][0]["item_id"] = "z"
    assert store.events_since(0)[0][1]["slots"][0]["item_id"] == "a"


def test_a_row_that_cannot_be_written_down_is_refused_and_nothing_of_its_batch_is_kept(store):
    with pytest.raises(StoreError, match="cannot be written down"):
        store.append([action("e1", T0, "click", "a"), action("e2", T0, "click", "b", query=object())])
    assert store.events_since(0) == []


# ---------------------------------------------------------------------------------------------------------- served log


def test_served_rows_come_back_as_they_were(store):
    page = served("r1", T0, ["a", "b", "c"], width=40, notes=["no_ranker"], artifacts=["x/y/z"])
    page["trace"] = {"candidates": ["a", "b", "z"], "utility": [0.5, 0.25, None]}  # keys beside the table's are kept, too
    store.log_served([page])
    assert store.served("r1") == page  # the numbers are ones that float32 holds exactly
    assert store.served("r2") is None
    assert store.served_since(0) == [(store.sequence(), page)]


def test_features_may_be_arrays_have_gaps_or_be_missing(store):
    page = served("r1", T0, ["a", "b", "c", "d"])
    numbers = [np.array([1.5, 2.5], np.float32), [0.1, None], [], None]
    for slot, features in zip(page["slots"], numbers, strict=True):
        slot["features"], slot["heads"] = features, None
    page["slots"][0]["score"] = np.float32(0.25)
    store.log_served([page])
    found = [slot["features"] for slot in store.served("r1")["slots"]]
    assert (found[0], found[2], found[3]) == ([1.5, 2.5], [], None)
    assert found[1][0] == np.float32(0.1)
    assert np.isnan(found[1][1])
    assert [slot["heads"] for slot in store.served("r1")["slots"]] == [None] * 4
    assert store.served("r1")["slots"][0]["score"] == 0.25


def test_a_page_is_logged_once(store):
    store.log_served([served("r1", T0, ["a"])])
    store.log_served([served("r1", T0 + 9, ["b"]), served("r2", T0 + 9, ["c"])])
    assert [each["request_id"] for _, each in store.served_since(0)] == ["r1", "r2"]
    assert store.state("ann").shown.keys() == {"a", "c"}


def test_served_items_count_as_shown_until_an_impression_narrows_them(store):
    store.log_served([served("r1", T0, ["a", "b", "c"])])
    assert store.state("ann").shown.keys() == {"a", "b", "c"}
    store.append([impression("r1", T0 + 9, ["a"])])
    assert {item: tuple(shown) for item, shown in store.state("ann").shown.items()} == {"a": (T0 + 9, 1)}


# --------------------------------------------------------------------------------------------------------------- purge


def test_purging_takes_one_user_out_and_leaves_the_others(store):
    rows = random_rows(2, 200)
    put(store, rows)
    bob, before = store.state("bob"), store.sequence()
    mine = [r for r in rows if r["user_id"] == "ann"]
    assert store.purge("ann") == len(mine)
    assert store.state("ann").actions == []
    assert store.state("ann").shown == {}
    assert store.state("bob") == bob
    left = [each for _, each in store.events_since(0) + store.served_since(0)]
    assert len(left) == len(rows) - len(mine)
    assert {each["user_id"] for each in left} == {"bob", "cid"}
    assert all(store.served(r["request_id"]) is None for r in mine if r["event"] == "served")
    assert store.sequence() > before
    assert store.purge("nobody") == 0


def test_what_was_purged_cannot_be_sent_again_but_the_user_may_begin_anew(store):
    old = [action("e1", T0, "click", "a"), action("e2", T0 + 5, "hide", "b")]
    store.append(old)
    store.log_served([served("r1", T0, ["a"])])
    store.purge("ann")
    assert store.append(old) == [False, False]
    store.log_served([served("r1", T0, ["a"])])
    assert store.state("ann").shown == {}
    store.append([action("e3", T0 + 5, "click", "late")])  # of the time before the purge, whatever its id
    assert store.state("ann").actions == []
    store.append([action("e4", T0 + 6, "click", "c")])
    assert [a.item_id for a in store.state("ann").actions] == ["c"]
    assert store.state("ann").hidden == set()


def test_a_user_row_that_says_deleted_purges(store):
    store.append([action("e1", T0, "click", "a"), action("e2", T0, "click", "b", user_id="bob")])
    assert store.state("ann").actions != []
    gone = user("u1", T0 + 1, deleted=True)
    assert store.append([action("e3", T0 + 1, "save", "c"), gone, action("e4", T0 + 2, "click", "d")]) == [True, True, True]
    assert [a.item_id for a in store.state("ann").actions] == ["d"]
    assert [each["event_id"] for _, each in store.events_since(0)] == ["e2", "e4"]
    assert store.append([gone]) == [False]  # sent again, it does not delete what came since
    assert [a.item_id for a in store.state("ann").actions] == ["d"]


# ------------------------------------------------------------------------------------------------------- cache, threads


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_small_cache_changes_no_state(kind, tmp_path):
    store = make_store(kind, tmp_path, StateConfig(cached_states=2, limits=LimitsConfig(max_actions=5)))
    rng, done = random.Random(3), {f"user-{k}": [] for k in range(6)}
    for k in range(200):
        who = rng.choice(list(done))
        done[who].append(action(f"e{k}", T0 + k, "click", f"item-{k}", user_id=who))
        store.append([done[who][-1]])
        asked = rng.choice(list(done))
        assert [a.event_id for a in store.state(asked).actions] == [r["event_id"] for r in done[asked][-5:]][::-1]
    assert len(store._cache._states) == 2
    store.close()


def test_threads_that_write_and_read_lose_nothing_and_see_their_own_writes(store):
    failures, rounds = [], 40

    def work(number):
        try:
            for k in range(rounds):
                who = f"user-{k % 3}"
                mine = [action(f"e{number}-{k}-{n}", T0 + k, "click", f"item-{n}", user_id=who) for n in range(3)]
                if store.append([*mine, action(f"shared-{k}", T0, "click", "a", user_id="all")])[:3] != [True] * 3:
                    failures.append("append")
                store.log_served([served(f"r{number}-{k}", T0 + k, ["a", "b"], user_id=who)])
                seen = {a.event_id for a in store.state(who).actions}
                if not {each["event_id"] for each in mine} <= seen:
                    failures.append((number, k))
        except Exception as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    ids = [each["event_id"] for _, each in store.events_since(0, 100_000)]
    assert len(ids) == len(set(ids)) == 4 * rounds * 3 + rounds
    assert len(store.served_since(0, 100_000)) == 4 * rounds
    assert store.sequence() == len(ids) + 4 * rounds
    assert len(store.state("all").actions) == rounds
