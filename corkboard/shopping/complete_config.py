"""Settings of Complete The Look: mining outfits, the scene model, answers. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corkboard.config import Section
from corkboard.learning.config import TrainingConfig


class MiningConfig(Section):
    """Outfits from pictures: which pictures are collages, and which of the objects in them count."""

    least_collage: float = Field(default=0.6, ge=0, le=1)
    """How sure the classifier has to be that a picture is a collage."""
    least_score: float = Field(default=0.4, ge=0, le=1)
    """Objects that the detector is less sure of are left out."""
    overlap: float = Field(default=0.6, gt=0, le=1)
    """Of two boxes of one picture that overlap more (intersection over union), the less sure one is a duplicate."""
    nested: float = Field(default=0.9, gt=0, le=1)
    """So is one of the same category that lies within the other by this share of its area."""
    alike: float = Field(default=0.985, gt=-1, le=1)
    """So is an object of the same category whose vector has this cosine with the other's: one thing, shown twice."""
    least_categories: int = Field(default=3, ge=2)
    """Categories that a collage has to show."""
    most_of_category: int = Field(default=1, ge=1)
    """Objects of one category that an outfit keeps, the surest."""
    near_bits: float = Field(default=0.04, ge=0, le=1)
    """Pictures whose codes differ in no more than this share of their bits are one: the first gives the outfit."""
    scenes: bool = True
    """Whether scenes give outfits as well, of the source ``scene``."""
    least_in_scene: int = Field(default=2, ge=2)
    """Categories that a scene has to show."""


class SceneTrainingConfig(Section):
    """What the scene model learns from."""

    loss: Literal["triplet", "softmax"] = "softmax"
    """``triplet``: a margin to one product of the same category; ``softmax``: cross entropy over those of the category in the batch."""
    margin: float = Field(default=0.2, gt=0)
    """``triplet``: by how much the product of another scene has to be further away; distances are squared, of unit vectors."""
    temperature: float = Field(default=0.1, gt=0)
    """``softmax``: what distances are divided by."""
    batch: int = Field(default=256, ge=2)
    """Pairs of a step."""
    any_category: bool = False
    """Negatives of any category (an ablation: what is learned is the category)."""
    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the scenes that choose when to stop."""
    least_pairs: int = Field(default=40, ge=2)
    """With fewer pairs there is no model."""
    training: TrainingConfig = TrainingConfig(
        steps=600, learning_rate=3e-3, warmup_steps=30, weight_decay=1e-2, validate_every=50, patience=5
    )
    """The loop."""


class SceneModelConfig(Section):
    """Distance between a scene and a product that is not in it (Kang et al., CVPR 2019)."""

    side: int = Field(default=96, ge=16, le=1024)
    """Side of the scenes that the trunk reads, px."""
    cells: int = Field(default=6, ge=1)
    """Regions a side: the trunk's map is brought to this size."""
    dim: int = Field(default=64, ge=2)
    """Width of the vectors that are compared; the paper has 128."""
    hidden: int = Field(default=128, ge=2)
    """Width of the hidden layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the hidden layer that is dropped in training."""
    parts: Literal["both", "global", "local"] = "both"
    """The mean of both distances, or one of them."""
    attention: Literal["category", "uniform"] = "category"
    """Whether regions count as the wanted category asks, or all alike."""
    enlarge: float = Field(default=0.1, ge=0, lt=1)
    """The box of a product is enlarged by this share of its sides before it is cut away."""
    least_left: float = Field(default=0.2, gt=0, lt=1)
    """Share of the picture that has to be left."""
    least_probability: float = Field(default=0.6, ge=0, le=1)
    """A product is taken for what an object shows where the matcher is so sure."""
    learning: SceneTrainingConfig = SceneTrainingConfig()
    """Training."""


class CompleteTheLookConfig(Section):
    """Answers: products that go with a look and are not in it."""

    mining: MiningConfig = MiningConfig()
    """Outfits from pictures."""
    scene_model: SceneModelConfig = SceneModelConfig()
    """The scene model."""
    least_together: int = Field(default=5, ge=1)
    """Two categories go together where so many outfits have both."""
    least_lift: float = Field(default=0.5, ge=0)
    """And so many times as many as would by chance. In a shop of one kind of look all pairs are near 1; a lamp in the picture of a blouse,
    or what a detector took for one, is far below."""
    most_shelves: int = Field(default=6, ge=1)
    """Categories that are answered where none is asked for, those that most outfits have together with the look's."""
    scene_weight: float = Field(default=0.1, ge=0, le=1)
    """Weight of the scene model beside the outfit model, where both have something to say; at card size it has little (docs/results.md)."""
    pool: int = Field(default=200, ge=1)
    """Candidates that are diversified, the best of a category."""
    hubness: bool = True
    """Whether what goes with everything is marked down: the mean similarity to other queries is taken off."""
    hub_queries: int = Field(default=256, ge=1)
    """Queries that this mean goes over."""
    same: float = Field(default=0.97, gt=-1, le=1)
    """A candidate whose picture has this cosine with something in the look is in the look already."""
    mmr: float = Field(default=0.7, ge=0, le=1)
    """Weight of fit against likeness to what is chosen already, which is measured on visual vectors; 1: fit alone."""
    most_of_colour: float = Field(default=0.5, gt=0, le=1)
    """Share of a shelf that one colour may have, at least two products."""
    most_of_merchant: float = Field(default=0.4, gt=0, le=1)
    """Share of a shelf that one merchant may have, at least two products."""
    beam: int = Field(default=10, ge=1)
    """Partial outfits that the search for a whole outfit keeps."""
    least_sure: float = Field(default=0.7, ge=0, le=1)
    """A pattern or style is spoken of where the heads are so sure of both."""
    least_share: float = Field(default=0.3, ge=0, le=1)
    """A colour is spoken of where it covers so much of both."""
