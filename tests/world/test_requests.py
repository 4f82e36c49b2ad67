"""Random requests live logged moments again: the truth of the log in another order, drawn anew, and nothing is changed by it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError
from corkboard.world.behaviour import ACTIONS
from corkboard.world.config import WorldConfig
from corkboard.world.world import World


@pytest.fixture(scope="module")
def asked(tiny: World) -> tuple[pl.DataFrame, pl.DataFrame]:
    return tiny.random_requests(tiny.config.test_ms, tiny.config.end_ms, 3000, seed=5)


def test_the_truth_is_that_of_the_logged_page(tiny: World, asked):
    slots, _ = asked
    logged = tiny.page_truth(tiny.config.test_ms, tiny.config.end_ms)
    times = tiny.tables()["impressions"].select("request_id", "user_id", "time_ms", "surface")
    logged = logged.join(times, on="request_id").filter(pl.col("surface") == "home")
    keys = ["user_id", "time_ms", "item_id"]
    pairs = slots.join(logged, left_on=["page_id", *keys], right_on=["request_id", *keys], suffix="_logged")
    assert len(pairs) == len(slots)
    for action in (*ACTIONS, "utility", "positive"):
        assert np.allclose(pairs[action], pairs[f"{action}_logged"], atol=1e-5)


def test_every_request_holds_its_page_in_another_order(tiny: World, asked):
    slots, _ = asked
    pages = slots.group_by("request_id", maintain_order=True).agg(pl.col("position"), pl.col("item_id").n_unique(), pl.col("time_ms"))
    assert len(pages) == 3000
    assert pages["time_ms"].list.first().is_sorted()
    for positions, items in pages.select("position", "item_id").iter_rows():
        assert positions == list(range(items))
    rounds = slots.filter(pl.col("position") == 0).group_by("page_id").agg(pl.col("item_id").n_unique(), pl.len())
    assert rounds["len"].max() > 1  # more was asked than there are home pages
    assert rounds.filter(pl.col("len") > 1)["item_id"].max() > 1


def test_a_page_can_be_asked_several_times_in_a_row(tiny: World):
    slots, _ = tiny.random_requests(tiny.config.test_ms, tiny.config.end_ms, 100, seed=5, times=4)
    asked = slots.group_by("page_id").agg(pl.col("request_id").n_unique())
    assert asked["request_id"].to_list() == [4] * 25


def test_the_order_knows_nothing_of_what_is_good(asked):
    slots, _ = asked
    by_place = slots.group_by("position").agg(pl.col("utility").mean(), pl.len(), pl.col("utility").std().alias("spread"))
    error = by_place["spread"] / by_place["len"].sqrt()
    assert ((by_place["utility"] - slots["utility"].mean()).abs() < 4.5 * error).all()


def test_actions_happen_as_often_as_the_truth_says(asked):
    slots, actions = asked
    for action in ACTIONS:
        expected = float((slots["looked"] * slots[action]).sum())
        assert abs(actions.filter(pl.col("action") == action).height - expected) <= 4.5 * np.sqrt(expected) + 3
    assert actions.join(slots, on=["request_id", "item_id", "position", "user_id", "time_ms"], how="anti").is_empty()


def test_asking_changes_nothing():
    config = WorldConfig.tiny(seed=3, days=16)
    world = World(config)
    before = world.tables()
    minds = world.simulation.minds
    held = {name: value.copy() for name, value in vars(minds).items() if isinstance(value, np.ndarray)}
    first = world.random_requests(config.test_ms, config.end_ms, 500, seed=1)
    again = world.random_requests(config.test_ms, config.end_ms, 500, seed=1)
    other = world.random_requests(config.test_ms, config.end_ms, 500, seed=2)
    assert all(one.equals(two) for one, two in zip(first, again, strict=True))
    assert not first[0].equals(other[0])
    after = world.tables()
    assert all(before[name].equals(after[name]) for name in before)
    assert all((held[name] == getattr(minds, name)).all() for name in held)
    user = world.user_ids[0]
    assert world.respond(user, world.item_ids[:5], config.end_ms + 1) == World(config).respond(user, world.item_ids[:5], config.end_ms + 1)


def test_times_without_pages_are_refused(tiny: World):
    with pytest.raises(InputError, match="no home page"):
        tiny.random_requests(0, 1000, 10)
