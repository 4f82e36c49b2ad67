"""Replay: the state at any moment of the past, without a look at what came later."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.schema import TABLES
from corkboard.state.config import LimitsConfig
from corkboard.state.memory import MemoryStore
from corkboard.state.replay import LakeStates, base_states, replay
from corkboard.state.sqlite import SqliteStore
from state.builders import T0, FrameLake, action, impression, random_rows, row, served, state_of, undo, user

USERS = ("ann", "bob", "session:s1")


def moments_of(rows: list[tuple[str, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user_id": pl.String, "time_ms": pl.Int64}, orient="row")


def untold(rows):
    """Without what users told: of that a lake returns the newest alone, so it is tested by itself."""
    return [r for r in rows if r["event"] != "user"]


def owner(each):
    return each["user_id"] or f"session:{each['session_id']}"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.tuples(st.sampled_from([*USERS, "nobody"]), st.integers(0, 1_200)), min_size=1, max_size=25))
def test_a_state_holds_every_row_before_its_moment_and_none_at_it_or_after(seed, asked):
    rows = untold(random_rows(seed, 80, USERS))  # times are multiples of ten minutes, as moments are: ties are common
    moments = moments_of([(who, T0 + k * 600_000) for who, k in asked])
    found = [(moment["user_id"], moment["time_ms"], state) for moment, state in replay(FrameLake(rows), moments)]
    assert sorted((who, at) for who, at, _ in found) == sorted(moments.rows())
    assert [at for _, at, _ in found] == sorted(at for _, at, _ in found)
    for who, at, state in found:
        assert state == state_of([r for r in rows if owner(r) == who and r["time_ms"] < at], who)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 1_200))
def test_planted_future_events_are_not_seen(seed, k):
    """Every kind of row, at the very moment and later, for the same user, about the same items, pages and actions."""
    rows = untold(random_rows(seed, 60, ("ann",)))
    at = T0 + k * 600_000
    past = [r for r in rows if r["time_ms"] < at]
    acts = [r["event_id"] for r in past if r["event"] == "action"]
    pages = [r["request_id"] for r in past if r["event"] in ("served", "impression")]
    planted = []
    for n, later in enumerate((0, 1, 5_000_000)):
        planted += [action(f"planted-{n}-{what}", at + later, what, "item-1") for what in ("save", "hide", "click")]
        planted += [action(f"planted-{n}-f", at + later, "follow", creator_id="creator-planted")]
        planted += [undo(f"planted-{n}-{target}", at + later, target) for target in acts]
        planted += [impression(page, at + later, ["item-planted"], event_id=f"planted-{n}-{page}") for page in pages]
        planted += [served(f"planted-{n}", at + later, ["item-1", "item-planted"]), user(f"planted-{n}-u", at + later, country="XX")]
    ((_, clean),) = replay(FrameLake(past), moments_of([("ann", at)]))
    ((_, state),) = replay(FrameLake([*rows, *planted]), moments_of([("ann", at)]))
    assert state == clean == state_of(past)
    assert state.country is None
    assert state.shown == clean.shown


@pytest.mark.parametrize("seed", range(3))
def test_replay_memory_and_sqlite_agree_at_any_moment(seed, tmp_path):
    rows = untold(random_rows(seed, 240, USERS))
    rng = random.Random(seed)
    for at in sorted(T0 + rng.randrange(1_200) * 600_000 for _ in range(3)):
        past = [r for r in rows if r["time_ms"] < at]
        rng.shuffle(past)  # the stores got them in another order
        stores = [MemoryStore(), SqliteStore(tmp_path / f"{at}.sqlite")]
        for store in stores:
            store.append([r for r in past if r["event"] != "served"])
            store.log_served([r for r in past if r["event"] == "served"])
        for moment, state in replay(FrameLake(rows), moments_of([(who, at) for who in USERS])):
            assert state == stores[0].state(moment["user_id"]) == stores[1].state(moment["user_id"])
        for store in stores:
            store.close()


def test_states_that_were_handed_out_stay_as_they_are():
    rows = untold(random_rows(5, 150, ("ann",)))
    moments = moments_of([("ann", T0 + k * 12_000_000) for k in range(60)])
    expected = [state.to_bytes() for _, state in replay(FrameLake(rows), moments)]
    kept = []
    for _, state in replay(FrameLake(rows), moments):
        assert state.frozen
        assert len(state.shown) >= 0  # read in between, as a ranker does
        kept.append(state)
    assert [state.to_bytes() for state in kept] == expected
    assert kept[-1].shown == state_of([r for r in rows if r["time_ms"] < moments["time_ms"][-1]]).shown


def test_moments_bring_their_other_columns_back_and_may_name_sessions_and_tenants():
    rows = [
        action("e1", T0, "click", "a", user_id=None, session_id="s1"),
        action("e2", T0, "click", "b", tenant="other"),
        action("e3", T0, "click", "c"),
    ]
    moments = pl.DataFrame(
        {
            "page": [7, 8, 9],
            "user_id": [None, "ann", "ann"],
            "session_id": ["s1", "s1", None],
            "tenant": ["default", "other", "default"],
            "time_ms": [T0 + 3, T0 + 2, T0 + 1],
        }
    )
    found = [(moment["page"], [a.item_id for a in state.actions]) for moment, state in replay(FrameLake(rows), moments)]
    assert found == [(9, ["c"]), (8, ["b"]), (7, ["a"])]


def test_of_what_users_told_the_newest_before_the_first_moment_and_the_newest_of_all_are_known():
    rows = [user(f"u{k}", T0 + 10 * k, country=f"C{k}") for k in range(4)]
    found = [state.country for _, state in replay(FrameLake(rows), moments_of([("ann", T0 + at) for at in (15, 25, 30, 31)]))]
    assert found == ["C1", "C1", "C1", "C3"]  # C2 lies between: what is not known is left out, and nothing later is used


def test_no_moments_give_no_states():
    assert list(replay(FrameLake([action("e1", T0, "click", "a")]), moments_of([]))) == []


def test_limits_are_those_that_were_asked_for():
    rows, limits = untold(random_rows(6, 100, ("ann",))), LimitsConfig(max_actions=3)
    ((_, state),) = replay(FrameLake(rows), moments_of([("ann", T0 * 2)]), limits)
    assert state == state_of(rows, limits=limits)


# -------------------------------------------------------------------------------------------------------- a real lake


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    rows = random_rows(8, 400, USERS)
    rows = [r for r in rows if r["event"] != "user"] + [r for r in rows if r["event"] == "user"][-1:]
    folder = tmp_path_factory.mktemp("lake")
    frames = {table.name: pl.DataFrame(made, schema=table.schema) for table in TABLES.values() if (made := _of(rows, table.name))}
    ingest_frames(folder, frames, "test")
    return rows, Lake(folder)


def _of(rows, table):
    names = {"actions": "action", "impressions": "impression", "served": "served", "users": "user"}
    return [r for r in rows if r["event"] == names.get(table)]


def test_a_real_lake_replays_like_rows(real):
    rows, lake = real
    moments = moments_of([(who, T0 + k * 600_000) for who in USERS for k in (1, 200, 600, 1_100, 9_999)])
    for moment, state in replay(lake, moments):
        who, at = moment["user_id"], moment["time_ms"]
        assert state == state_of([r for r in rows if owner(r) == who and r["time_ms"] < at], who)


def test_a_view_until_a_cut_ends_at_the_cut(real):
    rows, lake = real
    cut = T0 + 600 * 600_000
    for moment, state in replay(lake.until(cut), moments_of([(who, cut + 1_000) for who in USERS])):
        who = moment["user_id"]
        assert state == state_of([r for r in rows if owner(r) == who and r["time_ms"] < cut], who)


def test_the_states_of_a_real_lake(real):
    rows, lake = real
    states = LakeStates(lake)
    for who in USERS:
        assert states.state(who) == state_of([r for r in rows if owner(r) == who], who)
    assert sorted(base_states(lake)["user_key"]) == sorted(USERS)


def test_items_and_boards_of_a_lake_do_not_matter():
    rows = [row("item", "i1", T0, item_id="a"), row("board", "b1", T0, board_id="b", user_id="ann")]
    assert base_states(FrameLake(rows)).height == 0
