"""A short reason for every item, in words for the person who sees it."""

from __future__ import annotations

from corkboard.retrieval.blend import Retrieved
from corkboard.retrieval.catalogue import Catalogue
from corkboard.state.user_state import UserState

_SEEDED = {
    "nearest": "Like {title}, which you {verb}",
    "item_knn": "Goes with {title}, which you {verb}",
    "same_board": "On the same boards as {title}",
    "same_creator": "By the creator of {title}",
    "pinnersage": "Near to {title}, which you {verb}",
    "itemsage": "To buy, and near to {title}, which you {verb}",
    "fresh": "Hardly discovered yet, and like {title}",
}
_UNTITLED = {
    "nearest": "Like something you {verb}",
    "item_knn": "Goes with something you {verb}",
    "same_board": "On the same boards as something you {verb}",
    "same_creator": "By the creator of something you {verb}",
    "pinnersage": "Near to something you {verb}",
    "itemsage": "To buy, and near to something you {verb}",
    "fresh": "Hardly discovered yet, and like something you {verb}",
}
_BESIDE = {
    "pixie": "Often put together with {title}",
    "same_board": "On the same boards as {title}",
    "item_knn": "Goes with {title}",
    "related_vectors": "Found beside things like {title}",
    "related_content": "Like {title}",
    "itemsage": "To buy, beside {title}",
    "visual": "Looks like {title}",
}
"""On a page beside an item, for what was found by that item."""
_PLAIN = {
    "followed": "From a creator you follow",
    "pinnerformer": "Near to what you have liked over time",
    "pixie": "Often put together with what you like",
    "fresh": "Hardly discovered yet, and near to what you like",
    "popular_1d": "Popular today",
    "popular_7d": "Popular this week",
    "visual": "Looks like your picture",
    "lexical": "Has what you searched for",
    "searchsage": "Matches the meaning of your search",
}
_VERBS = {
    "save": "saved",
    "click": "clicked",
    "long_click": "spent time with",
    "close_up": "looked at",
    "add_to_cart": "put into your cart",
    "checkout": "bought",
}
_MAX_TITLE = 48
OTHERWISE = "Something else to discover"


class Reasons:
    """Reasons for the candidates of one request; ``beside`` is the row of the item that its page is beside, -1 for none."""

    def __init__(self, found: Retrieved, catalogue: Catalogue, state: UserState, beside: int = -1):
        self._found, self._catalogue, self._beside = found, catalogue, beside
        self._verbs: dict[str, str] = {}
        for action in state.positives():
            if action.item_id is not None:
                self._verbs.setdefault(action.item_id, _VERBS[action.action])
        self._knows_taste = bool(self._verbs)

    def of(self, place: int) -> str:
        """The reason of candidate ``place``: what is personal comes before what everybody gets."""
        found = self._found
        by_source = found.by_source[place]
        ranked = [found.source_names[code] for code in by_source.argsort()[::-1] if by_source[code] > 0]
        for first in ("followed", "lexical"):  # words that are there can be seen, whatever else they mean
            if first in ranked:
                return _PLAIN[first]
        seed = int(found.seeds[place])
        if seed >= 0 and seed == self._beside:
            by_item = next((name for name in ranked if name in _BESIDE), None)
            if by_item is not None:
                return _BESIDE[by_item].format(title=self._title(seed) or "this item")
        seeded = next((name for name in ranked if name in _SEEDED), None)
        if seeded is not None and seed >= 0:
            title, verb = self._title(seed), self._verbs.get(self._catalogue.ids[seed], "liked")
            return _SEEDED[seeded].format(title=title, verb=verb) if title else _UNTITLED[seeded].format(verb=verb)
        plain = next((name for name in ranked if name in _PLAIN), None)
        if plain == "fresh" and not self._knows_taste:
            return "New"
        return _PLAIN[plain] if plain else OTHERWISE

    def _title(self, row: int) -> str | None:
        title = (self._catalogue.value("title", row) or "").strip()
        if not title:
            return None
        return f"“{title if len(title) <= _MAX_TITLE else title[: _MAX_TITLE - 1].rstrip() + '…'}”"
