"""Settings of retrieval: baselines, indexes, candidate sources. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from corkboard.config import Section
from corkboard.embeddings.config import PinnerSageConfig
from corkboard.errors import InputError


class ActionWeights(Section):
    """How much one action of each kind says about what a person likes. Only ratios matter; 0 leaves an action out."""

    close_up: float = Field(default=0.5, ge=0)
    """Weight of looking at an item up close."""
    click: float = Field(default=1.0, ge=0)
    """Weight of a click."""
    long_click: float = Field(default=2.0, ge=0)
    """Weight of a click after which the person stayed away long."""
    save: float = Field(default=2.0, ge=0)
    """Weight of a save to a board."""
    add_to_cart: float = Field(default=2.0, ge=0)
    """Weight of putting an item into a cart."""
    checkout: float = Field(default=2.0, ge=0)
    """Weight of buying an item."""


class PopularityConfig(Section):
    """Popularity of the last days, and its decayed variant."""

    window_days: float = Field(default=7.0, gt=0)
    """The window of the windowed variant, in days before the cut."""
    half_life_days: float = Field(default=5.0, gt=0)
    """The decayed variant halves the weight of an action after this many days."""
    weights: ActionWeights = ActionWeights()
    """What each action counts."""


class ItemKNNConfig(Section):
    """Item-based nearest neighbours over co-engagement."""

    neighbours: int = Field(default=100, ge=1)
    """Neighbours kept per item; candidate sources use all of them, for recall."""
    scored_neighbours: int = Field(default=50, ge=1)
    """Of them, the nearest ones that count when the model ranks by itself: the far ones add noise to the top."""
    shrinkage: float = Field(default=3.0, ge=0)
    """Added to the denominator of the cosine, so that two items met once together are not called alike."""
    user_damping: float = Field(default=0.25, ge=0, le=1)
    """A user with n items counts n**-user_damping in every pair: who takes everything says little about what belongs together."""
    popularity_exponent: float = Field(default=0.4, ge=0, le=1)
    """Share of the normalisation that falls on the recommended item; 0.5 is the cosine, less lets popular items through."""
    half_life_days: float = Field(default=10.0, gt=0)
    """An action loses half its weight as a sign of what is wanted now after this many days; as a sign of who a person is it keeps it."""
    floor: float = Field(default=0.02, ge=0, le=1)
    """What is left of that weight in the end; 1 is no fading."""
    floors: tuple[float, ...] = (0.02, 1.0)
    """The floors that are tried instead, where a validation set is given: some catalogues age in days, films hardly ever."""
    history_half_life: float = Field(default=10.0, gt=0)
    """In a history, newest first, the weight halves every this many items."""
    max_history: int = Field(default=300, ge=1)
    """Items per user that enter the fit, and per history that enter a score; the newest are kept."""
    weights: ActionWeights = ActionWeights()
    """What each action counts."""


class EASEConfig(Section):
    """EASE: a linear item-to-item model in closed form."""

    regularisation: float = Field(default=200.0, gt=0)
    """Lambda: what is added to the diagonal of the co-engagement matrix."""
    regularisations: tuple[float, ...] = (50.0, 200.0, 800.0)
    """The values of lambda that are tried instead, where a validation set is given."""
    max_items: int = Field(default=10_000, ge=1)
    """Only that many most engaged items take part; memory grows with the square and time with the cube."""
    half_life_days: float = Field(default=10.0, gt=0)
    """As in item-kNN."""
    floor: float = Field(default=0.02, ge=0, le=1)
    """As in item-kNN."""
    floors: tuple[float, ...] = (0.02, 1.0)
    """As in item-kNN."""
    history_half_life: float = Field(default=20.0, gt=0)
    """In a history, newest first, the weight halves every this many items."""
    max_history: int = Field(default=300, ge=1)
    """Items per user that enter the fit, and per history that enter a score; the newest are kept."""
    weights: ActionWeights = ActionWeights()
    """What each action counts."""


class IndexConfig(Section):
    """When the nearest-neighbour index is exact, and how wide it searches otherwise."""

    flat_below: int = Field(default=20_000, ge=0)
    """Catalogues smaller than this, or what a filter leaves of a larger one, are searched exhaustively: as fast, and never misses."""
    links: int = Field(default=32, ge=4)
    """Links per node of the HNSW graph (M)."""
    build_width: int = Field(default=120, ge=8)
    """Width of the search that builds the HNSW graph (efConstruction)."""
    search_width: int = Field(default=96, ge=8)
    """Width of an unfiltered HNSW search (efSearch)."""
    max_search_width: int = Field(default=1024, ge=8)
    """The width grows with the inverse of the share of allowed items, up to this."""
    exact_share: float = Field(default=0.05, ge=0, le=1)
    """When at most this share of the items is allowed, they are searched exactly, however many they are."""


class BinaryIndexConfig(Section):
    """How an index of packed bits is searched."""

    candidates: int = Field(default=400, ge=1)
    """So many of the nearest codes, at least twice what is asked for, are scored again by vectors."""
    exact_below: int = Field(default=200_000, ge=0)
    """Smaller indexes are read whole by every search."""
    cells_per_root: float = Field(default=4.0, gt=0)
    """Larger ones have this times the root of the number of items as cells of alike codes."""
    probes: int = Field(default=32, ge=1)
    """How many cells an unfiltered search reads; more in inverse proportion to the share of allowed items."""
    exact_share: float = Field(default=0.05, ge=0, le=1)
    """When at most this share of the items is allowed, every cell is read."""
    few: int = Field(default=2_000, ge=0)
    """That many allowed items are looked up one by one, and nothing else is read."""
    iterations: int = Field(default=6, ge=0)
    """Rounds of k-means that make the cells."""
    sample_per_cell: int = Field(default=32, ge=1)
    """Codes a cell that k-means looks at."""


class BoardConfig(Section):
    """Which items lie on the same boards."""

    neighbours: int = Field(default=50, ge=1)
    """Neighbours kept per item."""
    shrinkage: float = Field(default=2.0, ge=0)
    """As in item-kNN, in boards."""
    board_damping: float = Field(default=0.5, ge=0, le=1)
    """A board with n items counts n**-board_damping: huge and mixed boards say little."""
    max_items: int = Field(default=500, ge=1)
    """Items per board that count; the newest are kept."""


class Quotas(Section):
    """What each source may bring. Only ratios matter; 0 turns a source off."""

    nearest: int = Field(default=90, ge=0)
    """Content neighbours of the last positive actions, which may be seconds old."""
    item_knn: int = Field(default=90, ge=0)
    """What people who took the same items took."""
    popular_1d: int = Field(default=5, ge=0)
    """Most engaged on the last day."""
    popular_7d: int = Field(default=15, ge=0)
    """Most engaged in the last week."""
    fresh: int = Field(default=60, ge=0)
    """New items, and those that hardly anybody has acted on, by nearness to what the person likes."""
    same_creator: int = Field(default=10, ge=0)
    """More by the creators of recently engaged items."""
    same_board: int = Field(default=10, ge=0)
    """What lies on the same public boards as recently engaged items."""
    followed: int = Field(default=15, ge=0)
    """By creators whom the person follows."""
    pinnerformer: int = Field(default=60, ge=0)
    """Nearest to the user vector of the nightly batch."""
    pixie: int = Field(default=40, ge=0)
    """Where random walks over boards lead from the last positive actions, which may be seconds old."""
    pinnersage: int = Field(default=40, ge=0)
    """Nearest to a few items that stand for what the user acted on."""
    itemsage: int = Field(default=0, ge=0)
    """What can be bought, nearest to the same few items. The shop asks it; on home, products come with everything else."""


class RelatedQuotas(Section):
    """The same for the items beside an item. Only ratios matter; 0 turns a source off."""

    pixie: int = Field(default=120, ge=0)
    """Where random walks over boards lead from the item."""
    related_vectors: int = Field(default=100, ge=0)
    """Nearest by what people put together (MultiBiSage)."""
    related_content: int = Field(default=60, ge=0)
    """Nearest by content: all that an item without edges has."""
    item_knn: int = Field(default=80, ge=0)
    """What people took who took the item."""
    same_board: int = Field(default=40, ge=0)
    """What lies on the same public boards."""
    itemsage: int = Field(default=0, ge=0)
    """What can be bought, nearest to the item. The shop asks it."""


class BlendConfig(Section):
    """How the lists of several sources become one."""

    candidates: int = Field(default=400, ge=1)
    """Candidates of one request, before any ranking."""
    overfetch: float = Field(default=1.5, ge=1)
    """Sources bring this multiple of their quota: overlap is filled from the rest, and a candidate learns of more of its sources."""
    rank_softening: float = Field(default=20.0, gt=0)
    """In the blended score, place r of a source counts softening / (softening + r)."""
    quotas: Section = Section()
    """Shares of the sources."""

    def quota(self, source: str) -> int:
        """The quota of a source by its name, 0 where it has none."""
        return getattr(self.quotas, source, 0)


class SourceConfig(BlendConfig):
    """Candidate sources and their blend."""

    quotas: Quotas = Quotas()
    """Shares of the sources."""
    weights: ActionWeights = ActionWeights()
    """How much a positive action of each kind asks for more of its like."""
    nearest_actions: int = Field(default=10, ge=1)
    """How many of the last positive actions ask for their neighbours."""
    nearest_fade_hours: float = Field(default=24.0, gt=0)
    """An action of this age counts half of a new one, of twice this age a third, and so on."""
    nearest_saturation: float = Field(default=3.0, gt=0)
    """That many fresh actions fill the quota; older or fewer ones ask for less, and leave room to the other sources."""
    nearest_min_share: float = Field(default=0.3, ge=0, le=1)
    """What old actions may still ask for together, as a share of the quota."""
    history_actions: int = Field(default=60, ge=1)
    """How many of the last positive actions the slower sources (item-kNN, boards, creators) look at."""
    history_half_life_days: float = Field(default=10.0, gt=0)
    """An action loses half its weight for them after this many days."""
    fresh_days: float = Field(default=14.0, gt=0)
    """An item is new for this long."""
    fresh_actions: int = Field(default=30, ge=1)
    """How many of the last positive actions new items are held against, which fade as for the slower sources."""
    little_known: int = Field(default=5, ge=0)
    """An item with fewer positive actions than this is treated as a new one, however old it is."""
    fresh_sharpness: float = Field(default=8.0, gt=0)
    """Nearness of a new item to an action is the cosine to this power: 1 asks for what is near to all on average, large ones for what is
    very near to something."""
    fresh_newness: float = Field(default=0.03, ge=0)
    """What being first seen this moment counts beside nearness, which is in [0, 1]; it fades to 0 over ``fresh_days``."""
    max_creators: int = Field(default=100, ge=1)
    """Creators looked at per request."""
    pixie_actions: int = Field(default=60, ge=1)
    """How many of the last positive actions walks begin at."""
    pixie_half_life_days: float = Field(default=10.0, gt=0)
    """An action that is this much older than the newest one weighs half in a walk."""
    pinnersage: PinnerSageConfig = PinnerSageConfig()
    """How the items acted on become groups, and how many groups are searched."""


class RelatedConfig(BlendConfig):
    """Candidate sources of the items beside an item, and their blend."""

    quotas: RelatedQuotas = RelatedQuotas()
    """Shares of the sources."""
    history_share: float = Field(default=0.0, ge=0, lt=1)
    """What the user's last actions weigh together in the walks, of 1; the item has the rest. 0: the same walks for everybody."""
    history_actions: int = Field(default=5, ge=1)
    """How many of the last positive actions that are."""
    history_half_life_days: float = Field(default=5.0, gt=0)
    """As ``pixie_half_life_days`` of the other sources."""
    weights: ActionWeights = ActionWeights()
    """What each action counts among them."""


class ShopConfig(Section):
    """Candidate sources of what can be bought. Those of home and of pages beside an item find it too, inside of what has a price."""

    home: SourceConfig = SourceConfig(quotas=Quotas(itemsage=150))
    """For a person."""
    beside: RelatedConfig = RelatedConfig(quotas=RelatedQuotas(itemsage=150))
    """Beside an item."""


class ItemFilter(Section):
    """What a request may restrict items to. An empty field does not restrict; a price bound drops items without a price."""

    kinds: tuple[str, ...] = ()
    """Item kinds: pin, idea, product, ad."""
    categories: tuple[str, ...] = ()
    """Categories, exactly as in the catalogue."""
    creators: tuple[str, ...] = ()
    """Ids of creators."""
    brands: tuple[str, ...] = ()
    """Ids of brands."""
    merchants: tuple[str, ...] = ()
    """Ids of merchants."""
    attributes: Mapping[str, tuple[str, ...]] = Field(default={})
    """Values by the name of an attribute: an item needs one of each name's, written in whatever case."""
    sold: bool = False
    """Only what can be bought: what has a price, or is of the kind "product"."""
    min_price_minor: int | None = None
    """Lowest price, in minor units of the item's own currency."""
    max_price_minor: int | None = None
    """Highest price, in minor units of the item's own currency."""
    created_from_ms: int | None = None
    """Only items first seen at or after this time."""
    created_before_ms: int | None = None
    """Only items first seen before this time."""

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> ItemFilter:
        """The filter of a request. Raises :class:`InputError` for an unknown field or a value of the wrong kind."""
        try:
            return cls.model_validate(dict(raw))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise InputError(
                f"The filter's field {field} is wrong: {first['msg']}", found=first["input"], expected=f"one of {sorted(cls.model_fields)}"
            ) from None


class LexicalConfig(Section):
    """Search by words: BM25, spelling, suggestions."""

    title_weight: float = Field(default=4.0, ge=0)
    """A word in the title counts as so many; 0 leaves the field out of the score, not out of the search."""
    description_weight: float = Field(default=1.0, ge=0)
    """The same in the description."""
    category_weight: float = Field(default=2.0, ge=0)
    """The same in the category."""
    brand_weight: float = Field(default=2.0, ge=0)
    """The same in the brand."""
    attributes_weight: float = Field(default=2.0, ge=0)
    """The same in the values of attributes."""
    stop_words: tuple[str, ...] = ("a", "an", "and", "as", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "with")
    """Words that are searched only where a query has no others, and never begin or end a suggested phrase."""
    max_words: int = Field(default=32, ge=1, le=256)
    """Different words of a query that are searched; the first are kept."""
    corrections: int = Field(default=3, ge=0)
    """A word that no item holds is replaced by up to this many known ones; 0 corrects nothing."""
    one_edit_from: int = Field(default=4, ge=3)
    """Words of that many letters may have one letter missing, added, changed or swapped with its neighbour."""
    two_edits_from: int = Field(default=8, ge=6)
    """Words of that many letters may have two such edits, where one is not enough."""
    phrase_words: int = Field(default=4, ge=1)
    """The longest phrases of titles that are suggested."""
    phrase_items: int = Field(default=2, ge=1)
    """A phrase of several words is suggested when so many titles have it."""
    min_people: int = Field(default=5, ge=1)
    """A past query that fewer people asked is never suggested: it may be about one of them."""


class FusionConfig(Section):
    """How a ranking by words and one by meaning become one."""

    kind: Literal["reciprocal", "sum"] = "sum"
    """The sum of reciprocal places, or of scores that are standardised within each ranking."""
    vector_share: float = Field(default=0.65, ge=0, le=1)
    """What meaning counts, of 1, where every word of the query is known to the encoder; words count the rest. Of a query half of whose
    words are unknown it counts half of this."""
    softening: float = Field(default=20.0, ge=0)
    """Place r, from 1, counts 1 / (softening + r): the larger, the less the first places stand out. For ``reciprocal``."""


class RetrievalConfig(Section):
    """Settings of retrieval."""

    popularity: PopularityConfig = PopularityConfig()
    """Popularity baselines."""
    item_knn: ItemKNNConfig = ItemKNNConfig()
    """Item-based nearest neighbours."""
    ease: EASEConfig = EASEConfig()
    """EASE."""
    boards: BoardConfig = BoardConfig()
    """Neighbours by boards."""
    index: IndexConfig = IndexConfig()
    """The nearest-neighbour index."""
    binary_index: BinaryIndexConfig = BinaryIndexConfig()
    """The index of packed bits."""
    sources: SourceConfig = SourceConfig()
    """Candidate sources and their blend."""
    related: RelatedConfig = RelatedConfig()
    """The same for the items beside an item."""
    shop: ShopConfig = ShopConfig()
    """The same for what can be bought."""
    lexical: LexicalConfig = LexicalConfig()
    """Search by words."""
