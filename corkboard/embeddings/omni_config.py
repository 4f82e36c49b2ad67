"""Settings of the joint form of search and of the texts that items are given for it. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.config import PairActionWeights, SearchSageConfig
from corkboard.learning.config import SampledSoftmaxConfig, TextConfig, TrainingConfig


class EnrichmentConfig(Section):
    """Texts that people give an item: titles of the boards it lies on, and what was asked where it was found."""

    boards: int = Field(default=10, ge=0)
    """Titles of boards an item has at most; 0: none."""
    queries: int = Field(default=20, ge=0)
    """Engaged queries an item has at most; 0: none."""
    min_people: int = Field(default=2, ge=1)
    """A query counts when so many people asked it and engaged with something. It is matched with and never shown, so two are enough: more
    than one, that nobody is found by words that only he or she types; what is shown needs more."""
    window_days: float = Field(default=730.0, gt=0)
    """Saves and engagements older than this before the cut do not count."""
    weights: PairActionWeights = PairActionWeights(close_up=0.0)
    """What an engagement adds to the score of a query, by its action."""


class OmniShares(Section):
    """Which share of a batch a task has, in parts of the sum; 0: it is not learned. Tasks without pairs leave theirs to the others."""

    pin: int = Field(default=8, ge=0)
    """Queries and what was engaged with that is no product."""
    product: int = Field(default=4, ge=0)
    """Queries and products that were engaged with here."""
    query: int = Field(default=2, ge=0)
    """Queries and the next query of the same person."""
    offsite: int = Field(default=2, ge=0)
    """Queries and products that were put into a cart or bought."""
    title: int = Field(default=4, ge=0)
    """Titles of items and their items, so that words nobody has searched for are known."""


class OmniSearchSageConfig(Section):
    """One encoder of queries, trained against pins, products and queries in one space."""

    query: SearchSageConfig = SearchSageConfig()
    """The encoder of queries, its text, and which actions make pairs; how SearchSage itself is trained is not read."""
    dim: int = Field(default=64, ge=2)
    """Width of the vectors."""
    prefixes: tuple[int, ...] = (16, 32)
    """The first so many numbers are vectors of their own, too."""
    prefix_weight: float = Field(default=0.05, ge=0)
    """What the loss of a prefix counts beside that of the whole vector."""
    fields: tuple[Literal["title", "description", "category", "attributes", "boards", "queries"], ...] = (
        "title",
        "description",
        "category",
        "attributes",
        "boards",
        "queries",
    )
    """Texts of an item that are read."""
    text: TextConfig = TextConfig()
    """How texts of items become tokens. A token is known when it stands in ``min_count`` of the texts."""
    text_width: int = Field(default=64, ge=1)
    """Width of the sum of an item's tokens."""
    table_rows: int = Field(default=16_384, ge=2)
    """Rows of the hash embedding of the items' tokens."""
    hidden: int = Field(default=256, ge=1)
    """Width of both hidden layers of the tower of items."""
    token_dropout: float = Field(default=0.2, ge=0, lt=1)
    """In training, each token of an item is left out this often."""
    feature_dropout: float = Field(default=0.0, ge=0, lt=1)
    """In training, all features of an item are left out this often, so that items without them are placed by their text."""
    compat: Literal["linear", "identity"] = "linear"
    """How a query gets to a frozen space: by a linear layer of its own on the encoder, or as it is, by the first numbers of its vector."""
    compat_weight: float = Field(default=2.0, ge=0)
    """What the loss of all pairs of items against a frozen space counts beside that of one task in the joint space; 0: not learned."""
    shares: OmniShares = OmniShares()
    """How a batch is split over the tasks."""
    following_minutes: float = Field(default=10.0, gt=0)
    """A query that the same person asks within so many minutes after another makes a pair of queries."""
    cap_per_pin: int = Field(default=50, ge=1)
    """Pairs of one item that is no product at most, drawn at random."""
    cap_per_product: int = Field(default=200, ge=1)
    """Pairs of one product at most."""
    batch: int = Field(default=512, ge=8)
    """Pairs a step, over all tasks."""
    pool: int = Field(default=256, ge=0)
    """Random items a step as further negatives, which all tasks share, and as many random queries at most."""
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of distinct queries whose pairs are kept for early stopping."""
    softmax: SampledSoftmaxConfig = SampledSoftmaxConfig(sketch_width=1 << 16)
    """The loss of every task."""
    training: TrainingConfig = TrainingConfig(steps=200, learning_rate=4e-3, validate_every=25)
    """The training loop."""
