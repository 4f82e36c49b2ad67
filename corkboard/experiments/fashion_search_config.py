"""Settings of the search for real products by words and by photo. Imports nothing heavy.

What is not chosen by a run itself was chosen on validation products.
"""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.config import SearchSageConfig, VisualConfig
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.photos_config import PhotosConfig
from corkboard.learning.config import SampledSoftmaxConfig, TrainingConfig
from corkboard.retrieval.config import FusionConfig


class AskedConfig(Section):
    """How often an attribute that a product has is asked for."""

    gender: float = Field(default=0.55, ge=0, le=1)
    """Whom it is for."""
    colour: float = Field(default=0.75, ge=0, le=1)
    """Its main colour."""
    type: float = Field(default=0.9, ge=0, le=1)
    """What it is."""
    usage: float = Field(default=0.25, ge=0, le=1)
    """What it is worn for."""
    season: float = Field(default=0.1, ge=0, le=1)
    """When it is worn."""
    pattern: float = Field(default=0.5, ge=0, le=1)
    """Its pattern, of products whose title tells one."""


class QueriesConfig(Section):
    """How somebody asks for a product by its attributes. Chances are for each query, or for each attribute or word of it."""

    asked: AskedConfig = AskedConfig()
    """How often each attribute is asked for."""
    least: int = Field(default=2, ge=1)
    """Attributes of a query at least."""
    synonym: float = Field(default=0.3, ge=0, le=1)
    """Of the asked attributes that people have another word for, those that are asked for by it."""
    typo: float = Field(default=0.15, ge=0, le=1)
    """Queries with a slip of the finger in one word of at least five letters."""
    practice: int = Field(default=4, ge=0)
    """Queries for each training product that the encoder learns from, in the plain words of the table: no synonyms, no slips."""


class FashionSearchConfig(Section):
    """What is held out, how photos and words are learned, and what is tried on validation products."""

    photos: PhotosConfig = PhotosConfig()
    """How the photos are read and split; as in the experiment about photos, so that both hold out the same products."""
    visual: VisualConfig = VisualConfig(
        dim=128,
        code_bits=128,
        temperature=0.15,
        balanced=False,
        trunk_trained=True,
        trunk_lr=0.3,
        trunk_after=15,
        training=TrainingConfig(steps=600, learning_rate=3e-3, warmup_steps=15, weight_decay=1e-4, clip_norm=10.0),
    )
    """The space of photos, end to end from the trunk that comes with the package (from random weights where that is missing)."""
    word_titles: int = Field(default=15, ge=2)
    """A word of so many training titles is a class of the visual embedding."""
    searchsage: SearchSageConfig = SearchSageConfig(
        title_share=0.5,
        batch=256,
        pool=256,
        validation_share=0.0,
        softmax=SampledSoftmaxConfig(separate_pools=False),
        training=TrainingConfig(steps=400, learning_rate=3e-3),
    )
    """The encoder of titles and queries into the space of photos. All practice queries are learned from: a held-out one asks for so many
    products that finding the very one of ten says little."""
    title_shares: tuple[float, ...] = (0.0, 0.15, 0.3, 0.5, 0.7)
    """What a product's title may count in its vector beside its photo, tried on validation queries."""
    neighbours: tuple[int, ...] = Field(default=(1, 3, 10, 30), min_length=1)
    """Training products that a photo or title is carried over by without a learned space, tried on validation products."""
    levels: int = Field(default=6, ge=1)
    """Levels a channel of the colour histogram."""
    pixel_side: int = Field(default=16, ge=1)
    """Side of the raw pixels, px."""
    depth: int = Field(default=100, ge=1)
    """Products of each ranking that are fused."""
    fusions: tuple[FusionConfig, ...] = Field(
        default=tuple(
            FusionConfig(kind=kind, vector_share=share, softening=softening)
            for kind, softening in (("reciprocal", 60.0), ("reciprocal", 10.0), ("sum", 60.0))
            for share in (0.2, 0.35, 0.5, 0.65, 0.8)
        ),
        min_length=1,
    )
    """Ways to fuse, tried on validation queries."""
    queries: QueriesConfig = QueriesConfig()
    """How queries are made."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed; NDCG looks at the first ``k``."""
