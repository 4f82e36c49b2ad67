"""Hits on random requests, counted by hand on two pages and compared with their truth on a small world."""

import numpy as np
import polars as pl
import pytest

from corkboard.experiments.spine_requests import RandomPages
from corkboard.world.config import WorldConfig
from corkboard.world.world import World

EARLIER = pl.DataFrame({"user_id": ["u1"], "n": [50]}, schema={"user_id": pl.String, "n": pl.UInt32})


def by_hand():
    """Page p of u1 is asked twice, page q of u2 once; looks are 1 and 0.5, so a place is worth 0.75 on average."""
    rows = []
    for request, page, user, time_ms, order in (("r1", "p", "u1", 5, "ab"), ("r2", "p", "u1", 5, "ba"), ("r3", "q", "u2", 3, "bc")):
        for place, item in enumerate(order):
            chance = {"a": 0.4, "b": 0.2, "c": 0.0}[item]
            one = {"request_id": request, "user_id": user, "page_id": page, "item_id": item, "time_ms": time_ms, "position": place}
            rows.append({**one, "looked": 1.0 - 0.5 * place, "save": chance, "hide": 0.1, "click": 0.0, "utility": chance})
    done = [("r1", "u1", "a", 5, "save"), ("r2", "u1", "a", 5, "save"), ("r2", "u1", "b", 5, "hide"), ("r3", "u2", "c", 3, "save")]
    columns = ["request_id", "user_id", "item_id", "time_ms", "action"]
    return pl.DataFrame(rows), pl.DataFrame(done, schema=columns, orient="row")


def test_pages_are_scored_once_and_answers_add_up():
    pages = RandomPages.of(*by_hand(), EARLIER, low_history=20)
    assert len(pages) == 2
    assert pages.requests == 3
    assert pages.slots["request_id"].to_list() == ["q", "q", "p", "p"]  # in order of time
    assert pages.slots["item_id"].to_list() == ["b", "c", "a", "b"]
    assert pages.user_ids == ["u2", "u1"]
    assert pages.low_history.tolist() == [True, False]
    assert pages.drawn["save"].tolist() == [0, 1, 2, 0]
    assert pages.expected["save"].tolist() == pytest.approx([0.2 * 0.75, 0, 2 * 0.4 * 0.75, 2 * 0.2 * 0.75])


def test_hits_by_hand():
    pages = RandomPages.of(*by_hand(), EARLIER, low_history=20)
    found = pages.hits(np.array([0.0, 1.0, 1.0, 0.0]), k=1)  # c on top of q, a on top of p
    assert found["HIT@1 save"].total.tolist() == [1, 2]
    assert found["HIT@1 save"].value == pytest.approx(3 / 2)
    assert found["HIT@1 save expected"].total.tolist() == pytest.approx([0, 0.6])
    assert found["HIT@1 save low history"].value == pytest.approx(1.0)
    assert found["HIT@1 hide"].value == 0
    worst = pages.hits(np.array([1.0, 0.0, 0.0, 1.0]), k=1)
    assert worst["HIT@1 hide"].value == pytest.approx(1 / 2)
    assert pages.hits(np.zeros(4), k=2)["HIT@2 save"].value == pytest.approx(3 / 2)


def test_expected_hits_are_the_mean_of_drawn_ones():
    """On a small world, for an order that knows the truth and one that knows nothing; and the truth is the better order."""
    world = World(WorldConfig.tiny(days=20))
    slots, actions = world.random_requests(world.config.test_ms, world.config.end_ms, 4000, seed=2)
    pages = RandomPages.of(slots, actions, EARLIER, low_history=20)
    found, chance = pages.hits(pages.utility, 3), pages.hits(np.zeros(len(pages.utility)), 3)
    users = len(pages.user_ids)
    for figures in (found, chance):
        for action in ("save", "hide", "click"):
            drawn, expected = figures[f"HIT@3 {action}"].value * users, figures[f"HIT@3 {action} expected"].value * users
            assert abs(drawn - expected) < 4.5 * np.sqrt(expected) + 3
    assert found["HIT@3 click expected"].value > 1.5 * chance["HIT@3 click expected"].value
    assert found["HIT@3 hide expected"].value < chance["HIT@3 hide expected"].value
