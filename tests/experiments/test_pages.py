"""Pages of the test: labels, the random slice, sampled negatives."""

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.pages import logged_pages, sampled_pages

from .fakes import FakeLake, action, at, calendar, item, page

CALENDAR = calendar(days=10, rank_days=2, test_days=4)
ITEMS = [item(name, 0, "x") for name in "abcdef"]


def test_slots_carry_what_was_done_with_them():
    pages = [page("r1", "ann", 7, ["a", "b", "c"]), page("r2", "bob", 7.5, ["c", "a"]), page("r0", "ann", 5, ["a"])]
    actions = [
        action("ann", "b", 7.01, "save", request_id="r1"),
        action("ann", "b", 7.02, "click", request_id="r1"),
        action("bob", "c", 7.6, "hide", request_id="r2"),
        action("ann", "a", 1, "click"),
    ]
    found = logged_pages(FakeLake.of(ITEMS, actions, pages), CALENDAR)
    assert found.heads == ("click", "save", "hide")
    assert found.slots["item_id"].to_list() == ["a", "b", "c", "c", "a"]  # r0 lies before the test
    assert found.offsets.tolist() == [0, 3, 5]
    assert list(found.user_ids) == ["ann", "bob"]
    assert found.page_users.tolist() == [0, 1]
    assert found.labels.tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert found.earlier.tolist() == [1, 0]
    assert found.slot_users.tolist() == [0, 0, 0, 1, 1]


def many_pages(random, plain):
    shown = [
        page(f"r{n}", f"u{n % 9}", 6 + n % 4, ["a", "b", "c"], propensity=1 / 3 if n < random else None) for n in range(random + plain)
    ]
    return FakeLake.of(ITEMS, [action("u1", "a", 7, request_id="r1")], shown)


def test_only_pages_in_random_order_are_taken_where_there_are_enough():
    found = logged_pages(many_pages(200, 50), CALENDAR)
    assert found.random_order
    assert len(found) == 200
    assert found.slots["randomised"].all()
    assert list(found.warnings) == []


def test_without_a_random_slice_the_position_bias_is_named():
    few, none = logged_pages(many_pages(30, 50), CALENDAR), logged_pages(many_pages(0, 50), CALENDAR)
    assert (len(few), few.random_order) == (80, False)
    assert "Position bias: only 30 pages" in few.warnings[0]
    assert "Position bias: no page" in none.warnings[0]


def test_a_page_of_which_one_slot_was_random_is_not_a_random_page():
    shown = [page(f"r{n}", "u", 7, ["a", "b"], 0.5) for n in range(250)]
    shown[0]["slots"][1]["propensity"] = None
    found = logged_pages(FakeLake.of(ITEMS, [action("u", "a", 7.1, request_id="r1")], shown), CALENDAR)
    assert len(found) == 249
    assert "r0" not in found.slots["request_id"].to_list()


def test_pages_are_drawn_by_seed_within_the_budget():
    lake = many_pages(300, 0)
    first, again, other = (logged_pages(lake, CALENDAR, EvaluationConfig(max_pages=40, seed=seed)) for seed in (1, 1, 2))
    assert len(first) == 40
    assert first.slots["page"].unique().sort().to_list() == list(range(40))
    assert first.slots.equals(again.slots)
    assert not first.slots.equals(other.slots)
    assert first.warnings == ["40 of 300 pages were drawn by seed."]


def test_without_impressions_negatives_are_drawn():
    actions = [
        action("ann", "a", 1),
        action("ann", "b", 7, "save"),
        action("ann", "c", 8),
        action("bob", "d", 7),
        action("bob", "a", 9, "hide"),
    ]
    found = logged_pages(FakeLake.of(ITEMS, actions), CALENDAR, EvaluationConfig(negatives=3))
    assert found.sampled_negatives
    assert "Sampled negatives" in found.warnings[0]
    assert len(found) == 4
    slots = found.slots.with_columns(label=pl.Series(found.labels.any(axis=1)))
    assert slots.filter("label").select("user_key", "item_id").rows() == [("ann", "b"), ("bob", "d"), ("ann", "c"), ("bob", "a")]
    engaged = {"ann": {"a", "b", "c"}, "bob": {"a", "d"}}
    drawn = slots.filter(~pl.col("label"))
    assert all(row["item_id"] not in engaged[row["user_key"]] for row in drawn.iter_rows(named=True))
    assert not slots.select("page", "item_id").is_duplicated().any()
    assert (slots["position"] == -1).all()
    hides = found.labels[:, found.heads.index("hide")]
    assert hides.sum() == 1


def test_negatives_are_half_popular_and_half_even():
    items = [item(f"i{n:03}", 0) for n in range(200)]
    popular = [action(f"p{n}", "i000", 1) for n in range(20_000)]
    asked = [action(f"u{n}", "i100", 7) for n in range(300)]
    found = sampled_pages(FakeLake.of(items, popular + asked), CALENDAR, EvaluationConfig(negatives=10))
    drawn = found.slots.filter(pl.col("item_id") != "i100")
    per_page = drawn.group_by("page").len()["len"]
    assert per_page.min() == per_page.max() == 10
    assert drawn.group_by("page").agg((pl.col("item_id") == "i000").any())["item_id"].mean() > 0.99  # popularity finds it at once
    assert drawn["item_id"].n_unique() == 199  # the even half finds all the others


def test_sampled_pages_hold_only_what_existed_at_the_cut_and_was_new_to_the_user():
    actions = [action("ann", "a", 1), action("ann", "a", 7), action("ann", "late", 8), action("ann", "b", 8)]
    found = sampled_pages(FakeLake.of([*ITEMS, item("late", 7)], actions), CALENDAR, EvaluationConfig(negatives=2))
    assert len(found) == 1
    assert "late" not in found.slots["item_id"].to_list()


def test_nothing_done_in_the_test_is_said():
    with pytest.raises(InputError, match="Nothing was done"):
        logged_pages(FakeLake.of(ITEMS, [action("u", "a", 1)], [page("r", "u", 7, ["a"])]), CALENDAR)


def test_late_actions_of_the_youngest_pages_are_not_known_yet():
    shown = [page("old", "u", 6.5, ["a"]), page("young", "u", 9.5, ["a"])]
    actions = [action("u", "a", 6.6, "checkout", request_id="old"), action("u", "a", 9.6, "click", request_id="young")]
    found = logged_pages(FakeLake.of(ITEMS, actions, shown), CALENDAR)
    checkout = found.labels[:, found.heads.index("checkout")]
    assert checkout[0] == 1
    assert np.isnan(checkout[1])
    assert at(9.5) in found.slots["time_ms"].to_list()
