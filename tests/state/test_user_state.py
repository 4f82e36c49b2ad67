import json
import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.errors import StoreError
from corkboard.lake.schema import POSITIVE
from corkboard.state.bounded import Shown
from corkboard.state.config import LimitsConfig
from corkboard.state.user_state import UserState
from state.builders import T0, action, impression, row, served, state_of, undo, user

TINY = LimitsConfig(max_actions=4, max_shown=6, max_hidden=3, max_creators=3, max_undone=4)


# ------------------------------------------------------------------------------------------------------- known answers


def test_a_small_history_reads_as_a_person_would_tell_it():
    state = state_of(
        [
            user("u1", T0, country="AT", language="de", interests=["chairs", "lamps"]),
            impression("r1", T0 + 1_000, ["a", "b", "c"]),
            action("e1", T0 + 2_000, "click", "a", duration_ms=700),
            action("e2", T0 + 3_000, "save", "b"),
            action("e3", T0 + 4_000, "hide", "c"),
            action("e4", T0 + 5_000, "follow", creator_id="eve"),
            impression("r2", T0 + 6_000, ["b", "d"]),
        ]
    )
    assert [(a.action, a.item_id or a.creator_id) for a in state.actions] == [
        ("follow", "eve"),
        ("hide", "c"),
        ("save", "b"),
        ("click", "a"),
    ]
    assert [a.item_id for a in state.positives()] == ["b", "a"]
    assert [a.item_id for a in state.positives(1)] == ["b"]
    assert [a.item_id for a in state.sequence()] == ["c", "b", "a"]  # a hide is part of the sequence, a follow is about no item
    assert state.actions[-1].duration_ms == 700
    assert state.shown == {"a": Shown(T0 + 1_000, 1), "b": Shown(T0 + 6_000, 2), "c": Shown(T0 + 1_000, 1), "d": Shown(T0 + 6_000, 1)}
    assert state.hidden == {"c"}
    assert state.follows == {"eve"}
    assert state.counts == {"click": 1, "save": 1, "hide": 1, "follow": 1}
    assert (state.first_ms, state.last_ms) == (T0 + 1_000, T0 + 6_000)
    assert (state.country, state.language, state.interests) == ("AT", "de", ("chairs", "lamps"))


def test_shown_reads_like_a_pair():
    last_ms, times = Shown(T0, 3)
    assert (last_ms, times) == (T0, 3) == (Shown(T0, 3)[0], Shown(T0, 3)[1])


def test_an_empty_state_says_so():
    state = UserState("ann")
    assert (state.actions, state.positives(), state.sequence(), state.shown, state.counts) == ([], [], [], {}, {})
    assert (state.hidden, state.follows, state.blocks, state.interests) == (set(), set(), set(), ())
    assert (state.first_ms, state.last_ms, state.country) == (None, None, None)


def test_an_undo_takes_back_one_action_whichever_comes_first():
    saved, back = action("e1", T0, "save", "a"), undo("e2", T0 + 5, "e1")
    for rows in ([saved, back], [back, saved]):
        state = state_of([*rows, action("e3", T0 + 9, "click", "b")])
        assert [a.event_id for a in state.actions] == ["e3"]
        assert state.counts == {"click": 1}


def test_taking_a_hide_back_shows_the_item_again_unless_it_was_hidden_twice():
    rows = [action("e0", T0, "save", "a"), action("e1", T0 + 1, "hide", "a"), action("e2", T0 + 2, "report", "a"), undo("e3", T0 + 3, "e1")]
    state = state_of(rows)
    assert state.hidden == {"a"}
    assert state.positives() == []  # saved before, and hidden now
    state.apply(undo("e4", T0 + 4, "e2"))
    assert state.hidden == set()
    assert [a.event_id for a in state.positives()] == ["e0"]


def test_of_follow_and_block_the_newer_counts_and_undo_goes_back_to_the_one_before():
    state = state_of([action("e1", T0, "follow", creator_id="eve"), action("e2", T0 + 1, "block", creator_id="eve")])
    assert (state.follows, state.blocks) == (set(), {"eve"})
    state.apply(undo("e3", T0 + 2, "e2"))
    assert (state.follows, state.blocks) == ({"eve"}, set())


def test_what_was_served_counts_as_shown_until_a_client_says_what_it_showed():
    page, seen = served("r1", T0, ["a", "b", "c"]), impression("r1", T0 + 40, ["a", "b"])
    assert state_of([page]).shown.keys() == {"a", "b", "c"}
    for rows in ([page, seen], [seen, page]):
        assert state_of(rows).shown == {"a": Shown(T0 + 40, 1), "b": Shown(T0 + 40, 1)}


def test_impressions_of_one_page_add_up_and_count_each_item_once():
    rows = [
        served("r1", T0, ["a", "b", "c", "d"]),
        impression("r1", T0 + 10, ["a", "b"], event_id="i1"),
        impression("r1", T0 + 20, ["b", "c"], event_id="i2"),  # the user scrolled on
        impression("r0", T0 - 50, ["c"]),
    ]
    for order in (rows, rows[::-1]):
        assert state_of(order).shown == {"a": Shown(T0 + 20, 1), "b": Shown(T0 + 20, 1), "c": Shown(T0 + 20, 2)}


def test_the_newest_profile_counts_as_a_whole():
    old, new = user("u1", T0, country="AT", language="de"), user("u2", T0 + 1, country="CH")
    for rows in ([old, new], [new, old]):
        state = state_of(rows)
        assert (state.country, state.language) == ("CH", None)


def test_deleting_a_user_forgets_what_was_before_and_takes_nothing_of_that_time_any_more():
    rows = [
        user("u1", T0, country="AT"),
        action("e1", T0 + 1, "hide", "a"),
        impression("r1", T0 + 2, ["a"]),
        user("u2", T0 + 10, deleted=True),
        action("e2", T0 + 11, "click", "b"),
    ]
    for order in (rows, rows[::-1], rows[2:] + rows[:2]):
        state = state_of(order)
        assert [a.event_id for a in state.actions] == ["e2"]
        assert (state.hidden, state.shown, state.country, state.counts) == (set(), {}, None, {"click": 1})
        assert (state.first_ms, state.last_ms) == (T0 + 11, T0 + 11)


def test_rows_that_say_nothing_about_a_user_change_nothing():
    rows = [row("item", "i1", T0, item_id="a", deleted=False), row("board", "b1", T0, board_id="b", user_id="ann")]
    assert state_of(rows) == UserState("ann")


def test_a_frozen_state_refuses_changes_and_its_copy_takes_them_alone():
    state = state_of([action("e1", T0, "click", "a"), impression("r1", T0, ["a"])])
    assert state.shown.keys() == {"a"}
    before = state.freeze().to_bytes()
    for change in (action("e2", T0 + 1, "hide", "a"), undo("e3", T0 + 1, "e1"), impression("r2", T0 + 1, ["b"]), user("u1", T0 + 1)):
        with pytest.raises(StoreError, match="copy"):
            state.apply(change)
    copy = state.copy()
    for change in (action("e2", T0 + 1, "hide", "a"), impression("r2", T0 + 1, ["b"]), user("u1", T0 + 1, country="AT")):
        copy.apply(change)
    assert (copy.hidden, set(copy.shown), copy.country) == ({"a"}, {"a", "b"}, "AT")
    assert state.to_bytes() == before
    assert (state.hidden, set(state.shown), state.country) == (set(), {"a"}, None)


# --------------------------------------------------------------------------------------------- any order, any repetition

ITEMS = st.sampled_from(["a", "b", "c", "d"])
TIMES = st.integers(T0, T0 + 12)  # few moments, so that ties are common
IDS = st.integers(0, 9)


@st.composite
def histories(draw, deletions: bool = True, narrowing: bool = True):
    """Rows whose ids are unique; contents, times and ids are independent of each other."""
    rows = []
    for k in range(draw(st.integers(0, 14))):
        what, time_ms, item = draw(st.integers(0, 11)), draw(TIMES), draw(ITEMS)
        request = f"r{draw(st.integers(0, 3))}" if narrowing else f"r{k}"
        if what < 4:
            rows.append(action(f"e{k}", time_ms, draw(st.sampled_from(["click", "save", "hide", "report"])), item))
        elif what < 6:
            rows.append(action(f"e{k}", time_ms, draw(st.sampled_from(["follow", "block"])), creator_id=item))
        elif what < 8:
            rows.append(undo(f"e{k}", time_ms, f"e{draw(IDS)}"))
        elif what == 8:
            rows.append(impression(request, time_ms, draw(st.lists(ITEMS, max_size=3)), event_id=f"e{k}"))
        elif what == 9:
            rows.append(served(request, time_ms, draw(st.lists(ITEMS, max_size=3))))
        elif what == 10:
            rows.append(user(f"e{k}", time_ms, country=draw(ITEMS)))
        elif deletions and draw(st.booleans()):
            rows.append(user(f"e{k}", time_ms, deleted=True))
    return rows


@st.composite
def shuffles(draw, **kinds):
    rows = draw(histories(**kinds))
    return rows, draw(st.permutations(rows + draw(st.lists(st.sampled_from(rows), max_size=8) if rows else st.just([]))))


def views(state: UserState) -> tuple:
    return state.actions, state.positives(), state.sequence(), dict(state.shown), state.hidden, state.follows, state.blocks, state.country


@settings(max_examples=400, deadline=None)
@given(shuffles(deletions=False) | shuffles(narrowing=False), st.integers(0, 30))
def test_order_and_repetition_do_not_matter_and_reading_in_between_neither(shuffle, look_at):
    rows, shuffled = shuffle
    expected, state = state_of(rows), UserState("ann")
    for k, each in enumerate(shuffled):
        if k == look_at:
            assert views(state) == views(UserState.from_bytes(state.to_bytes()))
            state = state.copy()
        state.apply(each)
    assert state == expected
    assert views(state) == views(expected)
    assert state.counts == expected.counts
    assert UserState.from_bytes(state.to_bytes()) == expected


@settings(max_examples=400, deadline=None)
@given(shuffles(deletions=False, narrowing=False))
def test_beyond_the_limits_order_matters_for_lifetime_counts_alone(shuffle):
    rows, shuffled = shuffle
    expected, state = state_of(rows, limits=TINY), state_of(shuffled, limits=TINY)
    assert views(state) == views(expected)
    assert (state.first_ms, state.last_ms) == (expected.first_ms, expected.last_ms)


@settings(max_examples=300, deadline=None)
@given(shuffles(deletions=False, narrowing=False))
def test_a_state_is_what_its_definition_says(shuffle):
    """The plain reference: sort all distinct rows, take the newest of each kind, then drop what was taken back."""
    rows, shuffled = shuffle
    state = state_of(shuffled, limits=TINY)
    undos = [(r["time_ms"], r["undoes"]) for r in rows if r.get("undoes")]
    newest_undos = sorted(
        (max(time_ms for time_ms, other in undos if other == target), target) for target in {target for _, target in undos}
    )
    undone = {target for _, target in newest_undos[-4:]}
    acts = sorted((r for r in rows if r["event"] == "action" and r["action"] != "undo"), key=lambda r: (r["time_ms"], r["event_id"]))
    standing = [r["event_id"] for r in acts[-4:] if r["event_id"] not in undone]
    assert [a.event_id for a in state.actions] == standing[::-1]
    hides = [r for r in acts if r["action"] in ("hide", "report")][-3:]
    hidden = {r["item_id"] for r in hides if r["event_id"] not in undone}
    assert state.hidden == hidden
    good = [r["event_id"] for r in acts[-4:] if r["event_id"] not in undone and r["action"] in POSITIVE and r["item_id"] not in hidden]
    assert [a.event_id for a in state.positives()] == good[::-1]
    newest = {r["creator_id"]: r["action"] for r in [r for r in acts if r["creator_id"]][-3:] if r["event_id"] not in undone}
    assert state.follows == {creator for creator, what in newest.items() if what == "follow"}
    pages = sorted(
        ((r["time_ms"], r["request_id"], {s["item_id"] for s in r["slots"]}) for r in rows if r.get("slots") is not None), reverse=True
    )
    kept, room = [], 6
    for time_ms, _, items in pages:
        room -= max(1, len(items))
        if room < 0:
            break
        kept.append((time_ms, items))
    times = Counter(item for _, items in kept for item in items)
    assert {item: tuple(shown) for item, shown in state.shown.items()} == {
        item: (max(time_ms for time_ms, items in kept if item in items), n) for item, n in times.items()
    }


# ------------------------------------------------------------------------------------------------------- bounds and bytes


def test_memory_is_bounded_and_counts_live_on():
    rng = random.Random(5)
    limits, state, hides = LimitsConfig(), UserState("ann"), 0
    for k in range(3_000):
        kind = rng.choice(["click", "save", "hide", "follow"])
        hides += kind == "hide"
        about = {"creator_id": f"creator-{k}"} if kind == "follow" else {"item_id": f"item-{k}"}
        state.apply(row("action", f"e{k}", T0 + k, action=kind, user_id="ann", **about))
        state.apply(undo(f"u{k}", T0 + k, f"nothing-{k}"))
        if k % 10 == 0:
            state.apply(impression(f"r{k}", T0 + k, [f"item-{rng.randrange(9_000)}" for _ in range(25)]))
    stored = msgspec.msgpack.decode(state.to_bytes())
    assert len(state.actions) == limits.max_actions
    assert len(state.shown) <= limits.max_shown
    assert len(state.hidden) == min(hides, limits.max_hidden) > limits.max_actions
    assert len(state.follows) <= limits.max_creators
    assert len(stored[11]) == limits.max_undone
    assert sum(state.counts.values()) == 3_000
    assert state.counts["hide"] == hides
    assert len(state.to_bytes()) < 250_000


def test_an_undo_of_an_action_that_is_still_remembered_is_not_counted_when_it_falls_out():
    state = UserState("ann", TINY)
    state.apply(action("e0", T0, "save", "a"))
    state.apply(undo("u0", T0 + 1, "e0"))
    for k in range(1, 6):  # five more: e0 and e1 fall out of four
        state.apply(action(f"e{k}", T0 + 1 + k, "click", "b"))
    assert state.counts == {"click": 5}


def test_what_is_sent_again_after_it_was_forgotten_is_not_counted_twice():
    rows = [action(f"e{k}", T0 + k, "click", "a") for k in range(20)]
    assert state_of([*rows, *rows], limits=TINY) == state_of(rows, limits=TINY)
    late = action("late", T0 - 1, "click", "a")  # cannot be told from one that was forgotten
    assert state_of([*rows, late], limits=TINY).counts == {"click": 20}
    assert state_of([late, *rows], limits=TINY).counts == {"click": 21}


def test_narrower_limits_cut_a_stored_state_as_if_it_had_been_made_with_them():
    rows = [action(f"e{k}", T0 + k, "hide" if k % 2 else "click", f"item-{k}") for k in range(9)]
    rows += [impression(f"r{k}", T0 + k, [f"item-{k}", "a"]) for k in range(9)]
    wide = state_of(rows).to_bytes()
    assert UserState.from_bytes(wide, TINY) == state_of(rows, limits=TINY)


def test_no_client_can_blow_up_one_page():
    state = state_of([impression("r1", T0, [f"item-{k}" for k in range(50)])], limits=TINY)
    assert len(state.shown) == TINY.max_shown


@pytest.mark.parametrize("data", [b"", b"\xc1", json.dumps({"user_id": "ann"}).encode(), UserState("ann").to_bytes()[:-1]])
def test_foreign_bytes_are_refused(data):
    with pytest.raises(StoreError, match="not a user state"):
        UserState.from_bytes(data)


def test_another_format_is_refused():
    stored = msgspec.msgpack.decode(UserState("ann").to_bytes())
    with pytest.raises(StoreError, match="unknown format"):
        UserState.from_bytes(msgspec.msgpack.encode([99, *stored[1:]]))
