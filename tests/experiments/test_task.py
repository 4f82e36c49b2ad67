"""Who is asked what: a lake small enough to see every pair, and the rules at its edges."""

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.task import retrieval_task

from .fakes import FakeLake, action, at, calendar, item

CALENDAR = calendar(days=10, rank_days=2, test_days=4)  # B is day 6, the end is day 10
ITEMS = [item("a", 0, "red"), item("b", 0, "red"), item("c", 1, "blue"), item("gone", 1, "blue", deleted=True), item("new", 7, "blue")]
ACTIONS = [
    action("ann", "a", 1),
    action("ann", "b", 2, "hide"),
    action("ann", "a", 3, "save"),
    action("ann", "c", 6.5),
    action("ann", "c", 7.5, "save"),
    action("ann", "b", 7),
    action("ann", "new", 8),
    action("bob", "c", 2),
    action("bob", "a", 4),
    action("bob", "b", 8, "hide"),
    action("cid", "a", 7),
    action("dee", "a", 1),
    action("dee", "b", 10),
    action("eve", "b", 5),
    action("eve", "a", 9.5),
]


def task(**config):
    return retrieval_task(FakeLake.of(ITEMS, ACTIONS), CALENDAR, EvaluationConfig(**config))


def test_catalogue_users_and_positives_by_hand():
    found = task()
    assert list(found.item_ids) == ["a", "b", "c"]  # deleted and later items were not there at B
    assert found.topics.tolist() == [1, 1, 0]
    assert found.n_topics == 2
    # bob only hid something, cid had no earlier action, dee acted at the end, which is outside
    assert list(found.user_ids) == ["ann", "eve"]
    moment = found.moments[0]
    pairs = {
        (found.user_ids[moment.users[u]], found.item_ids[i]) for u, i in zip(moment.positive_users, moment.positive_items, strict=True)
    }
    # ann's b was hidden before, so it is left out; her c counts once; "new" cannot be reached
    assert pairs == {("ann", "c"), ("eve", "a")}
    assert (found.positives, found.unreachable) == (2, 1)
    assert found.unreachable_share == pytest.approx(1 / 3)
    assert found.popularity.tolist() == [4, 1, 1]  # a: ann twice, bob, dee; b: eve; c: bob


def test_histories_are_newest_first_without_repeats_and_end_at_the_cut():
    lake = FakeLake.of(ITEMS, [action("u", "a", 1), action("u", "b", 2), action("u", "a", 3), action("u", "c", 6)])
    moment = retrieval_task(lake, CALENDAR).moments[0]
    assert moment.histories[0].tolist() == [0, 1]  # a was last engaged on day 3; c at the very cut is already the test
    assert set(zip(moment.seen_users.tolist(), moment.seen_items.tolist(), strict=True)) == {(0, 0), (0, 1)}


def test_a_hide_is_seen_but_no_history():
    moment = task().moments[0]
    ann = 0
    assert moment.histories[ann].tolist() == [0]
    assert sorted(moment.seen_items[moment.seen_users == ann].tolist()) == [0, 1]


def test_daily_lists_know_a_day_less_and_leave_out_what_the_day_before_brought():
    actions = [action("u", "a", 1), action("u", "b", 6.5), action("u", "c", 8.5)]
    moments = retrieval_task(FakeLake.of(ITEMS, actions), CALENDAR, EvaluationConfig(cadence="daily")).moments
    assert [moment.known_ms for moment in moments] == [at(5), at(7)]  # lists of day 6 and 8, each a day late
    assert moments[0].histories[0].tolist() == [0]
    assert moments[1].histories[0].tolist() == [1, 0]  # b of day 6.5 was known on day 7
    assert moments[1].seen_items.tolist() == [0, 1]
    late = retrieval_task(FakeLake.of(ITEMS, actions), CALENDAR, EvaluationConfig(cadence="daily", delay_days=2)).moments
    assert late[1].histories[0].tolist() == [0]  # two days late, b is not known, and is left out all the same
    assert late[1].seen_items.tolist() == [0, 1]


def test_min_actions_counts_every_earlier_action():
    assert list(task(min_actions=3).user_ids) == ["ann"]
    assert list(task(min_actions=0).user_ids) == ["ann", "cid", "eve"]


def test_sessions_without_a_user_are_asked_by_their_key():
    visitor = {"user_id": None, "session_id": "s1"}
    lake = FakeLake.of(ITEMS, [{**action(None, "a", 5.9), **visitor}, {**action(None, "b", 6.1), **visitor}])
    assert list(retrieval_task(lake, CALENDAR).user_ids) == ["session:s1"]


def test_few_returning_users_are_warned_of():
    strangers = [action(f"u{n}", "a", n % 9) for n in range(50)]
    warnings = retrieval_task(FakeLake.of(ITEMS, [*ACTIONS, *strangers]), CALENDAR).warnings
    assert any("Only 3 of 55 users have actions both before and after the cut" in text for text in warnings)  # ann, bob, eve
    assert task().warnings == []


def test_nobody_to_ask_is_said_with_what_was_found():
    with pytest.raises(InputError, match="Nobody can be asked"):
        retrieval_task(FakeLake.of(ITEMS, [action("u", "a", 1)]), CALENDAR)


def test_users_are_drawn_by_seed():
    actions = [action(f"u{n}", name, day) for n in range(30) for name, day in (("a", 1), ("b", 7))]
    lake = FakeLake.of(ITEMS, actions)
    first, again, other = (retrieval_task(lake, CALENDAR, EvaluationConfig(max_users=5, seed=seed)) for seed in (1, 1, 2))
    assert list(first.user_ids) == list(again.user_ids)
    assert list(first.user_ids) != list(other.user_ids)
    assert first.warnings == ["5 of 30 users were drawn by seed."]


def test_nothing_of_the_test_reaches_what_may_be_known():
    """Removing every event of the test but the positives changes no history, nothing seen and no popularity."""
    rng = np.random.default_rng(0)
    items = [item(f"i{n}", 0) for n in range(20)]
    actions = [action(f"u{rng.integers(10)}", f"i{rng.integers(20)}", float(rng.uniform(0, 10))) for _ in range(300)]
    whole = retrieval_task(FakeLake.of(items, actions), CALENDAR)
    positives = [one for one in actions if one["time_ms"] < at(6)]
    last = {user: one for one in actions if one["time_ms"] >= at(6) for user in [one["user_id"]]}
    sparse = retrieval_task(FakeLake.of(items, positives + list(last.values())), CALENDAR)
    assert np.array_equal(whole.popularity, sparse.popularity)
    for user in set(whole.user_ids) & set(sparse.user_ids):
        one, other = (t.moments[0].histories[list(t.moments[0].users).index(list(t.user_ids).index(user))] for t in (whole, sparse))
        assert np.array_equal(one, other)
