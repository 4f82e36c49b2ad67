"""Base states: a lake's snapshot under a store's newer rows, each row counted once."""

from __future__ import annotations

import threading

import polars as pl
import pytest

from corkboard.errors import StoreError
from corkboard.state.base import BaseStates
from corkboard.state.config import LimitsConfig
from corkboard.state.memory import MemoryStore
from corkboard.state.replay import base_states
from corkboard.state.sqlite import SqliteStore
from state.builders import T0, FrameLake, action, impression, random_rows, served, state_of, undo, user

USERS = ("ann", "bob", "session:s1")


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.sqlite")
    yield made
    made.close()


def put(store, rows):
    for each in rows:
        store.log_served([each]) if each["event"] == "served" else store.append([each])


def base_of(rows, store, watermark=None):
    return BaseStates.load(base_states(FrameLake(rows)), store.sequence() if watermark is None else watermark, store.store_id)


def states(store):
    return {who: store.state(who) for who in USERS}


@pytest.mark.parametrize("seed", range(4))
def test_base_and_newer_rows_make_the_state_of_all_rows(store, seed):
    rows = random_rows(seed, 240, USERS)
    put(store, rows[:150])
    base = base_of(rows[:150], store)
    put(store, rows[150:])
    without = states(store)
    store.set_base(base)
    assert states(store) == without
    assert without["ann"] == state_of([r for r in rows if r["user_id"] == "ann"])


def test_only_rows_after_the_watermark_are_read(store):
    store.append([action("e1", T0, "click", "a")])
    store.set_base(base_of([action("other", T0, "save", "z")], store))
    store.append([action("e2", T0 + 1, "click", "b")])
    assert [a.event_id for a in store.state("ann").actions] == ["e2", "other"]


def test_a_base_of_another_store_counts_what_both_know_once(store):
    rows = [action("e1", T0, "hide", "a"), undo("e2", T0 + 1, "e1"), served("r1", T0 + 2, ["a", "b"]), impression("r1", T0 + 3, ["a"])]
    base = BaseStates.load(base_states(FrameLake(rows)), 1_000_000, "another store")
    store.set_base(base)
    assert store.state("ann") == state_of(rows)
    put(store, [*rows, action("e3", T0 + 9, "click", "c")])
    assert store.state("ann") == state_of([*rows, action("e3", T0 + 9, "click", "c")])


def test_an_undo_reaches_an_action_of_the_base(store):
    hidden = action("e1", T0, "hide", "a")
    store.append([hidden])
    store.set_base(base_of([hidden], store))
    assert store.state("ann").hidden == {"a"}
    store.append([undo("e2", T0 + 1, "e1")])
    assert store.state("ann").hidden == set()


def test_without_a_base_the_store_goes_back_to_its_own_rows(store):
    store.append([action("e1", T0, "click", "a")])
    store.set_base(base_of([action("other", T0, "save", "z")], store))
    assert [a.item_id for a in store.state("ann").actions] == ["z"]
    store.set_base(None)
    assert [a.item_id for a in store.state("ann").actions] == ["a"]


def test_switching_bases_while_serving_shows_no_reader_anything_else(store):
    rows = random_rows(9, 160, USERS)
    put(store, rows[:60])
    bases = [None, base_of(rows[:60], store)]
    put(store, rows[60:])
    bases.append(base_of(rows, store))
    expected, wrong, stop = states(store), [], threading.Event()

    def read():
        while not stop.is_set():
            if states(store) != expected:
                wrong.append(True)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for k in range(60):
        store.set_base(bases[k % 3])
        store.append([action(f"extra{k}", T0, "click", "a", user_id="somebody else")])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


# --------------------------------------------------------------------------------------------------------------- purge


def test_no_base_made_before_a_purge_brings_the_user_back(store):
    old = [action("e1", T0, "hide", "a"), served("r1", T0, ["a"])]
    put(store, old)
    base = base_of(old, store)
    store.purge("ann")
    store.set_base(base)
    assert store.state("ann").hidden == set()
    assert store.state("ann").shown == {}
    store.append([action("e2", T0 + 1, "click", "b")])
    assert [a.event_id for a in store.state("ann").actions] == ["e2"]


def test_a_base_made_before_a_purge_is_not_used_even_where_it_knows_more_than_the_store_did(store):
    store.append([action("e1", T0, "click", "a")])
    base = base_of([action("e1", T0, "click", "a"), action("from a file", T0 + 900, "hide", "z")], store)
    store.purge("ann")  # before the base was handed to the store
    store.set_base(base)
    assert store.state("ann").actions == []


def test_a_user_of_the_base_alone_can_be_purged(store):
    store.set_base(base_of([action("e1", T0, "hide", "a"), action("e2", T0, "hide", "b", user_id="bob")], store))
    assert store.state("ann").hidden == {"a"}
    store.purge("ann")
    assert store.state("ann").hidden == set()
    assert store.state("bob").hidden == {"b"}


def test_a_later_base_that_still_holds_the_old_rows_brings_only_the_new_ones(store):
    old, new = [action("e1", T0, "hide", "a"), served("r1", T0 + 5, ["a"])], [action("e2", T0 + 6, "click", "b")]
    put(store, old)
    store.purge("ann")
    put(store, new)
    store.set_base(base_of(old + new, store))  # made from a lake that was not purged
    state = store.state("ann")
    assert ([a.event_id for a in state.actions], state.hidden, state.shown) == (["e2"], set(), {})


def test_deletion_by_a_row_also_covers_what_only_the_base_knew(store):
    newest = [action("e1", T0 + 500, "hide", "a")]
    store.set_base(base_of(newest, store))
    store.append([user("u1", T0, deleted=True)])  # says an earlier time than the newest known
    assert store.state("ann").hidden == set()
    store.append([action("e9", T0 + 501, "click", "b")])
    store.set_base(base_of([*newest, action("e9", T0 + 501, "click", "b")], store))
    assert [a.event_id for a in store.state("ann").actions] == ["e9"]


# ------------------------------------------------------------------------------------------------------------ the table


def test_the_table_has_one_row_a_user_and_survives_parquet(tmp_path):
    rows = [*random_rows(3, 120, USERS), action("e-other", T0, "click", "a", tenant="other")]
    frame = base_states(FrameLake(rows))
    assert frame.select("tenant", "user_key").sort("tenant", "user_key").rows() == [
        ("default", "ann"), ("default", "bob"), ("default", "session:s1"), ("other", "ann"),
    ]  # fmt: skip
    frame.write_parquet(tmp_path / "states.parquet")
    base = BaseStates.load(pl.read_parquet(tmp_path / "states.parquet"))
    assert len(base) == 4
    assert base.state("bob") == state_of([r for r in rows if r["user_id"] == "bob"], "bob")
    assert [a.event_id for a in base.state("ann", "other").actions] == ["e-other"]
    assert base.state("nobody") is None


def test_limits_hold_for_the_states_of_the_table():
    rows, limits = random_rows(3, 200, ("ann",)), LimitsConfig(max_actions=5, max_shown=8)
    base = BaseStates.load(base_states(FrameLake(rows), limits))
    assert base.state("ann", limits=limits) == state_of(rows, limits=limits)


def test_an_empty_lake_has_an_empty_table():
    assert base_states(FrameLake([])).height == 0


def test_another_table_is_refused():
    with pytest.raises(StoreError, match="wrong columns"):
        BaseStates.load(pl.DataFrame({"user": ["ann"]}))
