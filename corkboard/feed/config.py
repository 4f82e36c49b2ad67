"""Settings of the feed: what is left out, how a page is spread, and what is written down about it."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.retrieval.config import FusionConfig


class SeenConfig(Section):
    """When an item has been seen enough. Hidden items and blocked creators never return, whatever stands here."""

    max_times: int = Field(4, ge=1)
    """An item shown this often within the window, without an action, is left out."""
    window_days: float = Field(3.0, ge=0)
    """How long that lasts, in days since the item was last shown; 0 switches the rule off."""
    acted_days: float = Field(30.0, ge=0)
    """Items with a positive action are left out for this many days; 0 lets them return at once."""
    close_ups_count: bool = False
    """Whether a mere close-up counts as such an action."""
    fatigue: float = Field(0.5, ge=0)
    """What one showing costs an item, in standard deviations of the candidates' scores; repeats cost logarithmically more."""
    fatigue_hours: float = Field(24.0, gt=0)
    """The cost of showings fades by a factor e in this many hours."""


class DiversityConfig(Section):
    """How a page is spread over creators, categories and looks."""

    enabled: bool = True
    """Off fills the page strictly by score."""
    strength: float = Field(0.35, ge=0)
    """What a cosine of 1 with an item above costs, in standard deviations of the candidates' scores (MMR)."""
    window: int = Field(12, ge=1)
    """Only that many items above are compared with."""
    max_creator_share: float = Field(0.2, gt=0, le=1)
    """Largest share of a page by one creator, at least two items."""
    max_category_share: float = Field(0.6, gt=0, le=1)
    """Largest share of a page from one category, at least two items."""


class ExplorationConfig(Section):
    """Pages in random order, for evaluation without position bias."""

    share: float = Field(0.0, ge=0, le=1)
    """Share of pages whose items are put into random order. Only those log a propensity."""


class RelatedPageConfig(Section):
    """What is different about a page beside an item."""

    relevance_weight: float = Field(1.0, ge=0)
    """What belonging to the item counts beside the ranker's utility; both are standardised over the candidates. 0 leaves the order to the
    ranker, which may prefer what this user always likes; from about 3 on the user hardly counts."""
    diversity: DiversityConfig = DiversityConfig(strength=0.15, max_category_share=1.0)
    """How such a page is spread: less than others, for what belongs to one item is alike, and mostly of its category."""


class VisualPageConfig(Section):
    """What is different about a page of items that look like a picture."""

    candidates: int = Field(100, ge=1)
    """How many of the most alike are looked up; those that are not on the page are what `explain` knows of. More for longer pages."""


class LookPageConfig(Section):
    """Pages that shop a look, and that complete one."""

    max_objects: int = Field(12, ge=1)
    """Objects of a picture that products are looked up for: the largest and surest."""
    max_products: int = Field(50, ge=1)
    """Products an object, or a shelf, at most, however many are asked for."""
    cached_uploads: int = Field(256, ge=0)
    """Pictures from outside whose objects are remembered, so that asking again needs no model; some 30 kB each."""


class SearchPageConfig(Section):
    """What is different about a page that answers a query."""

    candidates: int = Field(default=200, ge=1)
    """How many of the items that match best are ordered anew; more for longer pages."""
    fusion: FusionConfig = FusionConfig()
    """How what is found by words and what is found by meaning become one ranking."""
    min_similarity: float | None = Field(default=None, ge=-1, le=1)
    """An item whose cosine with the query is lower does not match its meaning; empty: what the build found for its encoder."""
    relevance_weight: float = Field(default=2.0, ge=0)
    """What matching the query counts beside the ranker's utility; both are standardised over the candidates. 0 leaves the order of all that
    match to the ranker."""
    diversity: DiversityConfig = DiversityConfig(strength=0.1, max_creator_share=0.5, max_category_share=1.0)
    """How such a page is spread: hardly, for who names a category wants it."""


class FeedConfig(Section):
    """Settings of the feed."""

    max_k: int = Field(200, ge=1)
    """Longest page."""
    light_ranker: bool = True
    """Let the light ranker choose what the full one scores. Off, or without one, the sources' own order chooses."""
    full_candidates: int = Field(120, ge=1)
    """Candidates that go through to features and the full ranker; more for pages longer than a quarter of it."""
    sequence_length: int = Field(100, ge=1)
    """Newest actions that the ranker reads and that are written into the served log."""
    ranker_sequence: bool = True
    """Off gives the full ranker an empty sequence, as if the store of recent actions were down: what is lost is what the sequence does."""
    user_vector_max_age_hours: float = Field(240.0, gt=0)
    """How long a user's newer actions may be missing from the nightly vector before the request does without it, in hours. With a batch
    every night 48 says that two of them failed; the default leaves a week for data that is built less often."""
    chain_items: int = Field(1000, ge=1)
    """Items that a chain of pages remembers so as not to repeat them."""
    cursor_items: int = Field(200, ge=1)
    """Items a cursor carries itself where the page could not be written to the served log."""
    clock_skew_s: float = Field(300.0, ge=0)
    """An action dated at most this far in the future still counts, in seconds: clients' clocks are not ours."""
    trace: bool = True
    """Write every candidate with its rank into the served log, so that `explain` can say why an item is missing; some 23 kB a page."""
    explained_features: int = Field(8, ge=1)
    """Features that an explanation lists."""
    seen: SeenConfig = SeenConfig()
    """When an item has been seen enough."""
    diversity: DiversityConfig = DiversityConfig()
    """How a page is spread."""
    related: RelatedPageConfig = RelatedPageConfig()
    """Pages beside an item."""
    visual: VisualPageConfig = VisualPageConfig()
    """Pages of items that look like a picture."""
    looks: LookPageConfig = LookPageConfig()
    """Pages that shop a look, and that complete one."""
    search: SearchPageConfig = SearchPageConfig()
    """Pages that answer a query."""
    exploration: ExplorationConfig = ExplorationConfig()
    """Pages in random order."""

    @property
    def actions_read(self) -> int:
        """How many of the newest actions a ranker is given and a served row keeps; 0 gives them none."""
        return self.sequence_length if self.ranker_sequence else 0
