"""Settings of what goes with what. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corkboard.config import Section
from corkboard.learning.config import TrainingConfig


class OutfitModelConfig(Section):
    """The outfit model: style vectors of products, read for one pair of categories at a time."""

    dim: int = Field(default=64, ge=2)
    """Width of a style vector."""
    hidden: tuple[int, ...] = (128,)
    """Widths of the layers between what is known of a product and its style vector."""
    category_dim: int = Field(default=16, ge=1)
    """Width of the embedding of a category."""
    conditioned: bool = True
    """Whether an item is read for the category that is wanted; otherwise in one way for all, an ablation."""
    masks: int = Field(default=4, ge=1)
    """Masks that the reading for a pair of categories is a mixture of."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of hidden units left out in training."""
    input_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the numbers of what goes in that are left out in training."""
    reads: Literal["appearance", "visual", "both"] = "appearance"
    """What a release reads of pictures: how likely each pattern, shade and style is, the visual vector, or both."""
    appearance_dropout: float = Field(default=0.3, ge=0, le=1)
    """How often in training the chances are taken away where vectors are read, too."""
    loss: Literal["softmax", "triplet"] = "softmax"
    """Softmax over the candidates of a batch, or the hinge of one negative against the positive."""
    negatives: Literal["category", "any"] = "category"
    """Of the positive's category alone, or of all; the latter teaches to know categories."""
    temperature: float = Field(default=0.1, gt=0)
    """What cosines are divided by in the softmax."""
    margin: float = Field(default=0.2, gt=0)
    """How far above a negative a positive must score, in cosines, with the triplet loss."""
    semi_hard_after: float = Field(default=0.3, ge=0, le=1)
    """Share of the steps after which a triplet's negative is the hardest of a few that still score below the positive; evenly drawn before.
    Hard ones from the beginning make all vectors one."""
    drawn_negatives: int = Field(default=8, ge=1)
    """Negatives of which a triplet takes one."""
    batch: int = Field(default=256, ge=2)
    """Pairs a step."""
    pairs_per_outfit: int = Field(default=8, ge=1)
    """Pairs of an outfit at most, in any epoch: they grow with the square of its size, and large outfits would decide alone."""
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of outfits held out for early stopping, by fill in the blank."""
    training: TrainingConfig = TrainingConfig(
        steps=400, learning_rate=2e-3, warmup_steps=20, weight_decay=0.02, validate_every=50, patience=4
    )
    """The loop."""
