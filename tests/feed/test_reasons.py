"""What is said about an item, in whole sentences."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import ItemList
from corkboard.feed.reasons import OTHERWISE, Reasons
from corkboard.lake.schema import POSITIVE
from corkboard.retrieval.blend import Retrieved
from corkboard.retrieval.catalogue import Catalogue
from corkboard.state.user_state import UserState
from feed.builders import NOW_MS, act

SAID = {
    "close_up": "looked at",
    "click": "clicked",
    "long_click": "spent time with",
    "save": "saved",
    "add_to_cart": "put into your cart",
    "checkout": "bought",
}


def reason(source: str, title: str | None, action: str | None, seeded: bool = True, beside: int = -1) -> str:
    """The reason of item "b", which ``source`` found by way of item "a" with this title, after this action on it."""
    items = {"item_id": ["a", "b"], "time_ms": [0, 0], "title": [title, "Other"]}
    state = UserState("ann")
    if action is not None:
        state.apply(act(action, "a", NOW_MS))
    seeds = np.array([0 if seeded else -1], np.int64)
    found = Retrieved(
        ItemList(["b"], np.ones(1, np.float32), [(source,)]), np.array([1]), seeds, np.ones((1, 1), np.float32), (source,), []
    )
    return Reasons(found, Catalogue(pl.DataFrame(items, schema_overrides={"title": pl.String})), state, beside).of(0)


@pytest.mark.parametrize("action", POSITIVE)
@pytest.mark.parametrize("title", [None, "", "  "])
def test_an_item_without_a_title_is_something_you_acted_on(title: str | None, action: str) -> None:
    verb = SAID[action]
    assert reason("nearest", title, action) == f"Like something you {verb}"
    assert reason("item_knn", title, action) == f"Goes with something you {verb}"
    assert reason("same_board", title, action) == f"On the same boards as something you {verb}"
    assert reason("same_creator", title, action) == f"By the creator of something you {verb}"


@pytest.mark.parametrize("action", POSITIVE)
def test_a_title_is_quoted(action: str) -> None:
    assert reason("nearest", "Navy shirt", action) == f"Like “Navy shirt”, which you {SAID[action]}"
    assert reason("same_board", "Navy shirt", action) == "On the same boards as “Navy shirt”"
    assert reason("fresh", "Navy shirt", action) == "Hardly discovered yet, and like “Navy shirt”"


def test_a_long_title_is_cut_to_48_characters() -> None:
    assert reason("same_creator", "x" * 60, "save") == f"By the creator of “{'x' * 47}…”"


def test_without_an_item_to_name_there_are_plain_reasons() -> None:
    assert reason("fresh", None, "save", seeded=False) == "Hardly discovered yet, and near to what you like"
    assert reason("fresh", None, None, seeded=False) == "New"
    assert reason("nearest", None, "save", seeded=False) == OTHERWISE


def test_beside_an_item_it_is_named() -> None:
    said = {source: reason(source, "Navy shirt", None, beside=0) for source in ("pixie", "same_board", "item_knn", "related_vectors")}
    assert said == {
        "pixie": "Often put together with “Navy shirt”",
        "same_board": "On the same boards as “Navy shirt”",
        "item_knn": "Goes with “Navy shirt”",
        "related_vectors": "Found beside things like “Navy shirt”",
    }
    assert reason("related_content", None, None, beside=0) == "Like this item"
    assert reason("nearest", "Navy shirt", "save", beside=1) == "Like “Navy shirt”, which you saved"  # what home filled the page with


def test_walks_and_interests_of_home() -> None:
    assert reason("pixie", None, "save", seeded=False) == "Often put together with what you like"
    assert reason("pinnersage", "Navy shirt", "click") == "Near to “Navy shirt”, which you clicked"
    assert reason("pinnersage", None, "click") == "Near to something you clicked"
