"""Settings of the towers. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.learning.config import SampledSoftmaxConfig, TextConfig, TrainingConfig


class PairActionWeights(Section):
    """How much an action says about what belongs together."""

    close_up: float = Field(default=0.3, ge=0)
    """Weight of looking at an item up close."""
    click: float = Field(default=0.6, ge=0)
    """Weight of a click."""
    long_click: float = Field(default=1.0, ge=0)
    """Weight of a click after which the person stayed away long."""
    save: float = Field(default=1.5, ge=0)
    """Weight of a save."""
    add_to_cart: float = Field(default=1.5, ge=0)
    """Weight of putting an item into a cart."""
    checkout: float = Field(default=1.5, ge=0)
    """Weight of buying an item."""


class PairConfig(Section):
    """Which items count as engaged together."""

    window_minutes: float = Field(default=60.0, gt=0)
    """Two positive actions of one user at most this far apart make a pair."""
    next_actions: int = Field(default=6, ge=1)
    """An action is paired with at most this many that follow it."""
    board_neighbours: int = Field(default=6, ge=0)
    """A save is paired with at most this many later saves to the same board, whenever they happen; 0 leaves boards out."""
    cap_per_item: int = Field(default=200, ge=1)
    """Pairs per item at most, on either side, drawn at random: popular items would fill the set otherwise."""
    max_pairs: int = Field(default=400_000, ge=1)
    """Pairs in all, drawn at random where there are more."""
    weights: PairActionWeights = PairActionWeights()
    """A pair weighs the geometric mean of its two actions."""


class FieldScales(Section):
    """How much each field of an item counts in the sum that the vector starts from."""

    title: float = Field(default=1.0, ge=0)
    """Title."""
    description: float = Field(default=0.6, ge=0)
    """Description."""
    attributes: float = Field(default=0.8, ge=0)
    """Attributes, each name=value as one token."""
    category: float = Field(default=0.7, ge=0)
    """Category."""
    brand: float = Field(default=0.4, ge=0)
    """Brand."""
    creator: float = Field(default=0.4, ge=0)
    """Creator."""
    facts: float = Field(default=0.2, ge=0)
    """Kind and price bucket."""


class ContentConfig(Section):
    """The text-and-attribute tower."""

    dim: int = Field(default=64, ge=2)
    """Width of the vectors."""
    table_rows: int = Field(default=16_384, ge=2)
    """Rows of the shared table of the hash embedding."""
    hidden: int = Field(default=128, ge=1)
    """Width of the hidden layer."""
    field_dropout: float = Field(default=0.2, ge=0, lt=1)
    """In training, each field of an item is left out this often, so that items without text, brand or creator still fit in."""
    batch: int = Field(default=1024, ge=2)
    """Pairs a step."""
    pool: int = Field(default=512, ge=0)
    """Random catalogue items a step, as further negatives."""
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of users whose pairs are kept for early stopping."""
    scales: FieldScales = FieldScales()
    """Where the weights of the fields start; the untrained tower keeps them."""
    text: TextConfig = TextConfig()
    """How text becomes tokens."""
    softmax: SampledSoftmaxConfig = SampledSoftmaxConfig()
    """The loss."""
    training: TrainingConfig = TrainingConfig()
    """The training loop."""
    pairs: PairConfig = PairConfig()
    """Which items count as engaged together."""


class EmbeddingsConfig(Section):
    """Settings of the embeddings."""

    content: ContentConfig = ContentConfig()
    """The text-and-attribute tower."""
