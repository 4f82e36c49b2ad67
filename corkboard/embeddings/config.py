"""Settings of the towers. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corkboard.config import Section
from corkboard.learning.config import SampledSoftmaxConfig, TextConfig, TrainingConfig, TransformerConfig


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


class HistoryConfig(Section):
    """What of a user's actions a model reads, and what it learns to foresee."""

    actions: tuple[str, ...] = ("close_up", "click", "long_click", "save", "add_to_cart", "checkout")
    """Actions that are read: positive ones, as published. Hides and reports may be added, each action has a type of its own; on the
    simulated world they did not help to retrieve."""
    labels: tuple[str, ...] = ("close_up", "click", "long_click", "save", "add_to_cart", "checkout")
    """Actions that are foreseen."""
    label_seconds: float = Field(default=0.0, ge=0)
    """Close-ups and clicks must have lasted longer than this, where it is known how long they lasted."""
    repeats: bool = False
    """Whether an item is foreseen again for a user who has already acted on it. Otherwise it counts once, at the first action."""


class ItemTowerConfig(Section):
    """The tower from a content vector and an id to an item embedding."""

    id_dim: int = Field(default=32, ge=0)
    """Width of the id embedding; 0 leaves ids out."""
    id_dropout: float = Field(default=0.6, ge=0, le=1)
    """In training, the id of an item is left out of a step this often, so that an item without one still gets a sensible vector."""
    id_start: float = Field(default=0.2, gt=0)
    """Length of an id embedding before training, about. The shorter, the faster its direction turns."""
    start: Literal["random", "spectral"] = "spectral"
    """Id embeddings start at random, or as the leading factors of who engaged with what."""
    id_min_actions: int = Field(default=3, ge=1)
    """Only items with at least this many actions have an id embedding."""
    hidden: int = Field(default=128, ge=1)
    """Width of the hidden layer."""


class ObjectiveConfig(Section):
    """Which actions after which positions are foreseen."""

    name: Literal["next_action", "sasrec", "all_action", "dense_all_action"] = "dense_all_action"
    """The pairs of a position and an action after it."""
    days: float = Field(default=28.0, gt=0)
    """How far ahead ``all_action`` and ``dense_all_action`` look."""
    positions: int = Field(default=48, ge=1)
    """Positions of a history that ``dense_all_action`` draws a step."""
    labels: int = Field(default=32, ge=1)
    """Most actions that ``all_action`` draws for its one position."""
    last_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the weight that ``sasrec`` gives to the newest position on top of all."""
    half_life_days: float | None = Field(default=14.0, gt=0)
    """A label counts half as much for every so many days that it lies before the cut; None: all alike. What people take to changes.
    With ``equal_users`` it counts half as much among the labels of its user."""
    recent_days: float | None = Field(default=None, gt=0)
    """Only positions of so many days before the cut are learned from (what came before them is still read); None: all."""
    equal_users: bool = False
    """Every user of a step has the same weight, as published; otherwise every pair has, and whoever does more counts more."""


class PinnerFormerConfig(Section):
    """The user model and the item tower that is trained with it."""

    dim: int = Field(default=64, ge=2)
    """Width of user vectors and item embeddings."""
    history: HistoryConfig = HistoryConfig()
    """What is read and what is foreseen."""
    items: ItemTowerConfig = ItemTowerConfig()
    """The item tower."""
    encoder: TransformerConfig = TransformerConfig(layers=1, dropout=0.3, start_mean=8.0)
    """The encoder of histories. The published one has at least two layers; a thousand users are too few to fill more than one."""
    clock: bool = True
    """Whether a token tells when it was and how long after the one before; for sequences without times it is off."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """What is foreseen from where."""
    token_dropout: float = Field(default=0.3, ge=0, lt=1)
    """In training, each action of a history is hidden this often."""
    batch: int = Field(default=192, ge=1)
    """Users a step."""
    groups: int = Field(default=4, ge=1)
    """Histories of a step are padded in this many groups of similar length."""
    negatives: Literal["sampled", "catalogue"] = "sampled"
    """From the batch and a random pool, corrected for how often they are drawn; or all items, which is exact and pays up to some 10,000."""
    pool: int = Field(default=512, ge=0)
    """Random items a step, as further negatives; not used with ``catalogue``."""
    softmax: SampledSoftmaxConfig = SampledSoftmaxConfig(separate_pools=False, exact_probability=True)
    """The loss."""
    training: TrainingConfig = TrainingConfig(steps=75, learning_rate=3e-3, warmup_steps=20, weight_decay=0.01, validate_every=15)
    """The training loop."""
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of users that early stopping looks at and nothing is learned from."""
    validation_days: float = Field(default=7.0, gt=0)
    """Early stopping asks what they engage with in so many days after a moment."""
    validation_moments: int = Field(default=4, ge=1)
    """So many moments, the last one ``validation_days`` before the cut and the others as far before each other."""


class EmbeddingsConfig(Section):
    """Settings of the embeddings."""

    content: ContentConfig = ContentConfig()
    """The text-and-attribute tower."""
    pinnerformer: PinnerFormerConfig = PinnerFormerConfig()
    """The user model and the item embeddings."""
