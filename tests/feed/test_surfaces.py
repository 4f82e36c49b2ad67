"""Recipes: how the page of each surface is made, and as what where it cannot be what was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from corkboard.feed.config import FeedConfig, RelatedPageConfig, SearchPageConfig
from corkboard.feed.page import RecommendRequest
from corkboard.feed.parts import FeedParts
from corkboard.feed.search import WordSide
from corkboard.feed.shop import ShopSide
from corkboard.feed.surfaces import SURFACES_SERVED, Recipe, home_recipe, lacking, made_as, recipe_of
from corkboard.feed.visual import EVERYTHING, Look
from corkboard.retrieval.blend import Retrieval
from corkboard.retrieval.lexical import LexicalIndex
from feed.builders import Small

SETTINGS = FeedConfig(related=RelatedPageConfig(relevance_weight=0.7), search=SearchPageConfig(relevance_weight=3.0))
LOOK = Look(np.zeros((1, 8), np.uint8), np.zeros((1, 4), np.float32))


@pytest.fixture(scope="module")
def parts(made: Small) -> FeedParts:
    return replace(made.feed().parts, shop=ShopSide(Retrieval([]), Retrieval([])), words=WordSide(LexicalIndex()))


def recipe(parts: FeedParts, surface: str, beside: int = -1, look: Look | None = None) -> Recipe:
    return recipe_of(RecommendRequest(surface=surface, user_id="ann", query="x"), beside, look, parts, SETTINGS)


def test_a_page_for_a_person_is_chosen_by_both_rankers_and_spread(parts: FeedParts) -> None:
    home = recipe(parts, "home")
    assert home == home_recipe(parts, SETTINGS)
    assert home == Recipe("home", parts.retrieval, None, SETTINGS.seen, True, 0.0, SETTINGS.diversity)
    assert recipe(parts, "shop") == replace(home, surface="shop", sources=parts.shop.home)
    assert recipe(parts, "related") == replace(home, surface="related")  # beside an item that nobody knows


def test_a_page_beside_an_item_is_of_that_item_and_filled_up_from_home(parts: FeedParts) -> None:
    related = recipe(parts, "related", 3)
    assert related == Recipe("related", parts.related, parts.retrieval, SETTINGS.seen, False, 0.7, SETTINGS.related.diversity)
    shelf = recipe(parts, "shop", 3)
    assert shelf == replace(related, surface="shop", sources=parts.shop.beside, fill=parts.shop.home)
    assert (shelf.sources is parts.shop.beside, shelf.fill is parts.shop.home) == (True, True)


def test_who_looks_for_something_may_see_it_again(parts: FeedParts) -> None:
    assert recipe(parts, "search") == Recipe("search", parts.retrieval, None, EVERYTHING, False, 3.0, SETTINGS.search.diversity)
    assert recipe(parts, "visual", 3, LOOK) == Recipe("visual", parts.retrieval, None, EVERYTHING, False, 0.0, None)


def test_what_cannot_look_is_made_as_the_next_best_thing(parts: FeedParts) -> None:
    home = recipe(parts, "home")
    assert recipe(replace(parts, words=WordSide()), "search") == home
    assert recipe(parts, "visual") == home
    assert recipe(parts, "visual", 3) == recipe(parts, "related", 3)


def test_only_the_surface_that_lacks_something_says_so(parts: FeedParts) -> None:
    nothing = replace(parts, words=WordSide())
    said = {surface: [entry.code for entry in lacking(surface, nothing)] for surface in SURFACES_SERVED}
    assert said == {surface: ["no_search"] if surface == "search" else [] for surface in SURFACES_SERVED}


def test_a_served_row_tells_what_its_page_was_made_as() -> None:
    def row(surface: str, policy: str, *notes: str, item_id: str | None = None) -> dict:
        return {"surface": surface, "policy": f"{surface}/{policy}", "notes": list(notes), "context_item_id": item_id}

    assert made_as(row("search", "pointwise", "no_meaning")) == "search"
    assert made_as(row("search", "pointwise", "no_search")) == "home"
    assert made_as(row("visual", "likeness", item_id="i1")) == "visual"
    assert made_as(row("visual", "pointwise", "no_picture", item_id="i1")) == "related"
    assert made_as(row("visual", "pointwise", "unknown_item", item_id="x")) == made_as(row("visual", "light", "no_visual")) == "home"
    assert made_as(row("shop", "pointwise", item_id="i1")) == "shop"
