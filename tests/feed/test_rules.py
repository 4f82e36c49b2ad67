"""Rules: what leaves a page, which rule said so, and which ones give way."""

from __future__ import annotations

import math

import pytest
from ranking.builders import NOW_MS, action, item, items_frame, page, state_of

from corkboard.feed.config import SeenConfig
from corkboard.feed.filters import PageFilter, parse_filter
from corkboard.feed.rules import EXPLANATIONS, Allowed, apply_rules, fatigue, relax
from corkboard.retrieval.catalogue import Catalogue
from corkboard.state.user_state import UserState

CONFIG = SeenConfig(max_times=3, window_days=2.0, acted_days=10.0)


def catalogue() -> Catalogue:
    return Catalogue(items_frame([item(name, creator_id="carl" if name in "ab" else "dora", category="x") for name in "abcdef"]))


def ruled(
    state: UserState, wanted: PageFilter | None = None, chain: tuple[str, ...] = ()
) -> tuple[set[str], dict[str, list[str]], Allowed]:
    things = catalogue()
    allowed = apply_rules(state, NOW_MS, things, wanted or PageFilter(), chain, CONFIG)
    return {name for name, there in zip(things.ids, allowed.mask, strict=True) if there}, allowed.dropped, allowed


def test_a_stranger_may_see_everything():
    assert ruled(UserState("nobody"))[:2] == (set("abcdef"), {})


def test_each_rule_takes_out_its_own():
    state = state_of(
        action("hide", "a", hours_ago=24 * 80),
        action("save", "c", hours_ago=24 * 9),
        action("save", "d", hours_ago=24 * 11),
        action("close_up", "e"),
        *(page(["f"], hours_ago=hours) for hours in (1, 2, 3)),
    )
    left, dropped, _ = ruled(state)
    assert left == {"b", "d", "e"}  # d was saved long ago, a look at e is not an action that uses it up
    assert dropped == {"hidden": ["a"], "acted": ["c"], "seen": ["f"]}
    assert set(dropped) <= set(EXPLANATIONS)


def test_blocked_creators_leave_with_all_their_items():
    left, dropped, _ = ruled(state_of(action("block", creator_id="carl")))
    assert left == set("cdef")
    assert sorted(dropped["blocked_creator"]) == ["a", "b"]


def test_a_showing_long_ago_does_not_count():
    state = state_of(*(page(["f"], hours_ago=24 * days) for days in (2.1, 3, 4)))
    assert "f" in ruled(state)[0]


def test_seen_items_come_back_and_hidden_and_earlier_ones_do_not():
    state = state_of(action("hide", "a"), action("save", "c"), action("block", creator_id="carl"), *(page(["f"], h) for h in (1, 2, 3)))
    things = catalogue()
    wanted = parse_filter({"exclude_ids": ["d"]})
    allowed = apply_rules(state, NOW_MS, things, wanted, ["e"], CONFIG)
    relaxed = relax(allowed, things, state, wanted, ["e"])
    assert {name for name, there in zip(things.ids, relaxed.mask, strict=True) if there} == {"c", "f"}
    assert set(relaxed.dropped) == {"hidden", "blocked_creator", "on_this_chain"}


def test_fatigue_by_hand():
    state = state_of(page(["a"], 12.0), page(["a", "b"], 24.0))
    config = SeenConfig(fatigue=0.5, fatigue_hours=24.0)
    # a: shown twice, 12 h ago: .5 * log2(3) * exp(-.5); b: once, 24 h ago: .5 * 1 * exp(-1); c: never
    assert fatigue(state, NOW_MS, ["a", "b", "c"], config) == pytest.approx([0.5 * math.log2(3) * math.exp(-0.5), 0.5 * math.exp(-1), 0.0])
    assert fatigue(state, NOW_MS, ["a"], SeenConfig(fatigue=0.0)).tolist() == [0.0]
    assert fatigue(UserState("nobody"), NOW_MS, ["a"], config).tolist() == [0.0]


def test_rules_name_no_topic():
    """Two users whose actions were on different topics may see the same, their own items apart: rules do not react to tastes."""
    left_x, _, _ = ruled(state_of(action("save", "a"), action("hide", "b")))
    left_y, _, _ = ruled(state_of(action("save", "e"), action("hide", "f")))
    assert left_x | set("abef") == left_y | set("abef") == set("abcdef")
