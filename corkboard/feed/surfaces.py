"""How a page of each surface is made: what stands on it, what is left out, what counts in its order, and how it is spread.

A page that cannot be what was asked for is made as the next best thing: a search without words as home, a visual page without a look as
one beside the item, or as home. A look that cannot be shopped or completed has an empty page: nothing else answers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from corkboard.embeddings.query_pairs import UNSEARCHED
from corkboard.feed.config import DiversityConfig, FeedConfig, SeenConfig
from corkboard.feed.looks import COMPATIBILITY, COMPLETE_THE_LOOK, LOOKS, SHOP_THE_LOOK
from corkboard.feed.page import Note, RecommendRequest
from corkboard.feed.parts import FeedParts
from corkboard.feed.search import SEARCH, missing, usable
from corkboard.feed.visual import EVERYTHING, VISUAL, Look
from corkboard.ranking.features import RELATED, SHOP
from corkboard.retrieval.blend import Retrieval

LIKENESS = "likeness"
"""What ordered a page of the visual surface that could look, and one that shops a look, in its policy."""
ORDERS = {SHOP_THE_LOOK: LIKENESS, COMPLETE_THE_LOOK: COMPATIBILITY}
"""What orders the pages of these surfaces, always."""
SURFACES_SERVED = ("home", RELATED, VISUAL, SEARCH, SHOP, *LOOKS)
"""Surfaces that are built."""


@dataclass(frozen=True)
class Recipe:
    """How one page is made."""

    surface: str
    """The surface that it is made as, which the rankers read."""
    sources: Retrieval
    """What brings its candidates; of a search and of a visual page, where these cannot look."""
    fill: Retrieval | None = None
    """What fills it up behind too little of those."""
    seen: SeenConfig = EVERYTHING
    """When an item has been seen enough: never, for somebody who looks for it."""
    light_ranker: bool = False
    """Whether the light ranker may choose what goes on to the full one. It reads neither an item beside nor a query."""
    relevance_weight: float = 0.0
    """What belonging to the item, or matching the query, counts beside the utility."""
    diversity: DiversityConfig | None = None
    """How it is spread; None leaves the order in which it was found."""


def recipe_of(request: RecommendRequest, beside: int, look: Look | None, parts: FeedParts, settings: FeedConfig) -> Recipe:
    """How the page of ``request`` is made; ``beside`` is the row of its item, -1 for none, and ``look`` what it shall look like."""
    if look is not None or request.surface in LOOKS:
        return Recipe(request.surface, parts.retrieval)
    if request.surface == SEARCH and usable(parts.words, parts.meaning):
        return Recipe(SEARCH, parts.retrieval, relevance_weight=settings.search.relevance_weight, diversity=settings.search.diversity)
    shop = request.surface == SHOP
    home = replace(home_recipe(parts, settings), surface=SHOP, sources=parts.shop.home) if shop else home_recipe(parts, settings)
    if beside < 0:
        return replace(home, surface=RELATED) if request.surface == RELATED else home
    return Recipe(
        SHOP if shop else RELATED,
        sources=parts.shop.beside if shop else parts.related,
        fill=home.sources,
        seen=settings.seen,
        relevance_weight=settings.related.relevance_weight,
        diversity=settings.related.diversity,
    )


def home_recipe(parts: FeedParts, settings: FeedConfig) -> Recipe:
    """How a page for a person is made, beside nothing."""
    return Recipe("home", parts.retrieval, seen=settings.seen, light_ranker=True, diversity=settings.diversity)


def lacking(surface: str, parts: FeedParts) -> Sequence[Note]:
    """What is missing of a release for pages of ``surface`` alone, but for what a visual page finds out when it looks."""
    if surface == SEARCH:
        return missing(parts.words, parts.meaning)
    return parts.shop.notes if surface == SHOP else ()


def made_as(served: Mapping[str, Any]) -> str:
    """The surface that a served page was made as, whatever was asked for: :attr:`Recipe.surface`, read from its row."""
    surface, notes = served["surface"], served.get("notes") or ()
    if surface == SEARCH and UNSEARCHED in notes:
        return "home"
    if surface == VISUAL and served["policy"] != f"{VISUAL}/{LIKENESS}":
        return "home" if served["context_item_id"] is None or "unknown_item" in notes else RELATED
    return surface
