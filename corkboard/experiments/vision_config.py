"""Settings of what is measured of pictures: what is rendered, what is trained, how sure an interval is. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.config import VisualConfig
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.graph_config import GraphExperimentConfig
from corkboard.experiments.spine_config import DEVELOPMENT_SEED, FIRST_SEED, laid_over
from corkboard.learning.config import TrainingConfig
from corkboard.vision.config import (
    FineTuningConfig,
    LabelClusterConfig,
    PhraseConfig,
    PretrainingConfig,
    TrunkConfig,
    WeakPretrainingConfig,
)
from corkboard.world.config import WorldConfig


class ProductSetConfig(Section):
    """Rendered products: some to learn from, some to choose settings by, some to be asked about once."""

    training: int = Field(default=2000, ge=2)
    """Products to learn from."""
    validation: int = Field(default=200, ge=2)
    """Products that settings are chosen by."""
    test: int = Field(default=500, ge=2)
    """Products that are asked about."""
    combination: int = Field(default=200, ge=2)
    """Further products that are asked about, whose pattern no training product of their category has."""
    side: int = Field(default=48, ge=8, le=1024)
    """Side of a picture, px."""
    web: int = Field(default=4, ge=1)
    """Web pictures of a training product."""
    camera: int = Field(default=6, ge=1)
    """Camera pictures of a training product. It has one of the catalogue."""
    queries: int = Field(default=2, ge=2)
    """Web and camera pictures, each, of a product that is asked about."""


class StartConfig(Section):
    """What a trunk learns before there are proxies: topic, pattern, shade and style of each picture, a head each."""

    batch: int = Field(default=96, ge=2)
    """Pictures of a step."""
    training: TrainingConfig = TrainingConfig(steps=1500, learning_rate=3e-3, warmup_steps=15, weight_decay=1e-4, clip_norm=10.0)
    """The loop; no steps: proxies find a trunk of random weights."""


class VisualRetrievalConfig(Section):
    """One training of the unified visual embedding from nothing, and how it is asked."""

    products: ProductSetConfig = ProductSetConfig()
    """What is rendered."""
    trunk: TrunkConfig = TrunkConfig()
    """The trunk, which starts at random."""
    start: StartConfig = StartConfig()
    """Its first steps."""
    visual: VisualConfig = VisualConfig(
        trunk_trained=True,
        trunk_lr=0.3,
        training=TrainingConfig(steps=2200, learning_rate=3e-3, warmup_steps=15, weight_decay=1e-4, clip_norm=10.0),
    )
    """Then trunk, outputs and proxies learn together."""
    heads: VisualConfig = VisualConfig()
    """Outputs that are made anew on a finished trunk, which stands still: what is kept of a trunk has none."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed of both."""

    @classmethod
    def shipped(cls) -> VisualRetrievalConfig:
        """What the trunk that comes with the package was made with.

        It learns with one output of 256 numbers: outputs are not kept, and proxies of 1,024 numbers for 4,000 products would cost half as
        much again.
        """
        base = cls().model_dump()
        visual = {"code_bits": base["visual"]["dim"], "training": {"steps": 9000}}
        return cls.model_validate(
            laid_over(base, {"products": {"training": 4000}, "start": {"training": {"steps": 1000}}, "visual": visual})
        )

    @classmethod
    def quick(cls) -> VisualRetrievalConfig:
        """Tests and development: everything runs, no figure means anything."""
        few = TrainingConfig(steps=6, learning_rate=3e-3, warmup_steps=2)
        return cls(
            products=ProductSetConfig(training=24, validation=10, test=12, combination=8, side=16, web=2, camera=2),
            trunk=TrunkConfig(side=16, width=0.5),
            start=StartConfig(batch=8, training=few),
            visual=VisualConfig(trunk_trained=True, dim=16, code_bits=32, batch_classes=8, training=few),
            heads=VisualConfig(dim=16, code_bits=32, batch_classes=8, training=few),
            evaluation=EvaluationConfig(replicates=100),
        )


class CaptionConfig(Section):
    """What is said of products, and how much of it is noise."""

    noise: float = Field(default=0.35, ge=0, lt=1)
    """Share of the words of a title, and of the board titles, that say nothing of a picture."""
    wrong: float = Field(default=0.1, ge=0, lt=1)
    """Chance that a word names another pattern, shade, style or topic than what is there."""
    facet_told: float = Field(default=0.6, ge=0, le=1)
    """Chance that a title tells the pattern; the shade; the style."""
    topic_told: float = Field(default=0.7, ge=0, le=1)
    """Chance that a title tells the topic."""
    boards: float = Field(default=1.5, ge=0)
    """Board titles of a product, on average."""
    queries: float = Field(default=1.0, ge=0)
    """Queries of a product, on average."""


class VisionExperimentConfig(Section):
    """Claims about pictures: one set of products a seed, and what every side of a comparison shares."""

    first_seed: int = Field(default=FIRST_SEED, ge=0)
    """The products of the first seed; the next seeds follow it."""
    worlds: GraphExperimentConfig = GraphExperimentConfig(world=WorldConfig(pictures=128))
    """The worlds in which MultiBiSage reads pictures, or does not."""
    products: ProductSetConfig = ProductSetConfig(training=600)
    """Fewer products to learn from than in the benchmark: a budget of small steps sees each of them often enough."""
    trunk: TrunkConfig = TrunkConfig()
    """The convolutional trunk."""
    transformer: TrunkConfig = TrunkConfig(kind="conv_vit")
    """The transformer that it is compared with."""
    start: StartConfig = StartConfig(
        training=TrainingConfig(steps=200, learning_rate=3e-3, warmup_steps=15, weight_decay=1e-4, clip_norm=10.0)
    )
    """What every trunk learns before proxies, from the pictures and labels that it has."""
    visual: VisualConfig = VisualConfig(
        trunk_trained=True,
        trunk_lr=0.3,
        training=TrainingConfig(steps=500, learning_rate=3e-3, warmup_steps=15, weight_decay=1e-4, clip_norm=10.0),
    )
    """The training with proxies; variants differ in what their name says."""
    tuned: VisualConfig = VisualConfig(
        trunk_trained=True,
        trunk_lr=0.3,
        training=TrainingConfig(steps=200, learning_rate=3e-3, warmup_steps=15, weight_decay=1e-4, clip_norm=10.0),
    )
    """A training on some of the labels, from weights that are pre-trained or not."""
    heads: TrainingConfig = TrainingConfig(steps=400, learning_rate=3e-3, warmup_steps=15, weight_decay=1e-4, clip_norm=10.0)
    """Outputs of other widths on the trunk of the unified model, which stands still."""
    captions: CaptionConfig = CaptionConfig()
    """What is said of the training products."""
    weak: WeakPretrainingConfig = WeakPretrainingConfig(
        phrases=PhraseConfig(min_products=8),
        classes=LabelClusterConfig(clusters=40),
        pretraining=PretrainingConfig(training=TrainingConfig(steps=500, learning_rate=3e-3, weight_decay=0.05, warmup_steps=40)),
    )
    """Weakly supervised pre-training."""
    shares: tuple[float, ...] = (0.05, 0.2, 1.0)
    """Shares of the training products whose labels are known."""
    tail: float = Field(default=1.0, gt=0)
    """Long tails: the topic of rank r keeps products in proportion to r to minus this power."""
    attributes: FineTuningConfig = FineTuningConfig()
    """Attributes of the fewest labels, together and alone."""
    optional: bool = True
    """Whether what weighs least is measured, too."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed of both."""

    @classmethod
    def quick(cls) -> VisionExperimentConfig:
        """Tests and development: every part runs, no figure means anything."""
        base, few = VisualRetrievalConfig.quick(), {"steps": 4, "warmup_steps": 1}
        small = {
            "first_seed": DEVELOPMENT_SEED,
            "worlds": GraphExperimentConfig.quick().model_dump(),
            "products": {"training": 40},
            "transformer": {"side": 16, "dim": 16, "heads": 2, "layers": 1},
            "tuned": base.visual.model_dump(),
            "visual": base.visual.model_dump(),
            "start": base.start.model_dump(),
            "heads": few,
            "weak": {
                "phrases": {"min_products": 3},
                "classes": {"clusters": 6, "min_images": 4},
                "pretraining": {"batch": 8, "training": few},
            },
            "shares": (0.5, 1.0),
            "attributes": {"batch": 8, "training": few},
            "evaluation": {"replicates": 100},
        }
        shared = {"products": base.products.model_dump(), "trunk": base.trunk.model_dump()}
        return cls.model_validate(laid_over(laid_over(cls().model_dump(), shared), small))
