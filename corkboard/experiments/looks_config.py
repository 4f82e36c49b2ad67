"""Settings of what is measured of looks: products, scenes, encoder, worlds, detectors. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.config import VisualConfig
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.detection_config import DetectionConfig, RenderedConfig, StepsConfig
from corkboard.experiments.detector_config import BoxedPicturesConfig, DetectorExperimentConfig
from corkboard.experiments.outfits_config import OutfitsConfig
from corkboard.experiments.spine_config import DEVELOPMENT_SEED, FIRST_SEED
from corkboard.learning.config import TrainingConfig
from corkboard.shopping.complete_config import SceneModelConfig, SceneTrainingConfig
from corkboard.shopping.config import ShopTheLookConfig
from corkboard.vision.config import DetectorConfig
from corkboard.world.config import WorldConfig


class LookSetConfig(Section):
    """Scenes, and a catalogue that has most of what they show. No product of either is learned from."""

    side: int = Field(default=128, ge=32, le=1024)
    """Side of every picture that a detector reads, px."""
    catalogue: int = Field(default=2000, ge=2)
    """Products that are sold, one catalogue picture each."""
    unlisted: int = Field(default=800, ge=2)
    """Further products that only scenes show."""
    listed: float = Field(default=0.7, gt=0, lt=1)
    """Share of the things in scenes that are taken from the catalogue."""
    scenes: int = Field(default=400, ge=1)
    """Scenes that are asked about, of two to four things."""
    judged: int = Field(default=150, ge=0)
    """Further scenes whose results are shown to judges; none: nobody judges."""
    judged_depth: int = Field(default=4, ge=1)
    """Results of each model that judges see of a thing."""
    least_visible: float = Field(default=0.35, ge=0, le=1)
    """A thing of which a smaller share is seen is not asked about."""


class LookEncoderConfig(Section):
    """The visual encoder: new outputs on the trunk that comes with the package, learned from other products."""

    products: int = Field(default=1500, ge=2)
    """Products to learn from, with one catalogue picture each."""
    web: int = Field(default=3, ge=1)
    """Web pictures of each."""
    camera: int = Field(default=3, ge=1)
    """Camera pictures of each."""
    scenes: int = Field(default=1500, ge=1)
    """Scenes of them, out of which they are cut by their true boxes."""
    visual: VisualConfig = VisualConfig()
    """Outputs and training; the trunk stands still."""


class ScenePairsConfig(Section):
    """Scenes of a world, and products that were cut out of them."""

    world: WorldConfig = WorldConfig(items=10_000, pictures=128, scene_share=0.9, collage_share=0.0)
    """The world; so many of its pictures are scenes because scenes are what is asked about."""
    product_share: float = Field(default=0.3, gt=0, lt=1)
    """Share of products, and of scenes, that are asked about where neither was learned."""
    scene_share: float = Field(default=0.25, gt=0, lt=1)
    """Share of scenes that are asked about where products may be known."""
    model: SceneModelConfig = SceneModelConfig(
        learning=SceneTrainingConfig(
            training=TrainingConfig(steps=200, learning_rate=3e-3, warmup_steps=30, weight_decay=1e-2, validate_every=50, patience=5)
        )
    )
    """The scene model, with a third of its steps; variants differ in what their name says."""


class LooksConfig(Section):
    """Claims about looks: products, scenes and worlds of their own for each seed."""

    first_seed: int = Field(default=FIRST_SEED, ge=0)
    """Of products, scenes and worlds; the next seeds follow it."""
    shown: LookSetConfig = LookSetConfig()
    """Scenes and the catalogue."""
    encoder: LookEncoderConfig = LookEncoderConfig()
    """What reads crops."""
    shop: ShopTheLookConfig = ShopTheLookConfig()
    """Shop The Look, as it is served."""
    accuracies: tuple[float, ...] = (0.95, 0.9, 0.75, 0.6)
    """Shares of right categories at which indexes are compared."""
    pairs: ScenePairsConfig = ScenePairsConfig()
    """What goes with a scene."""
    outfits: OutfitsConfig = OutfitsConfig(splits=("item",))
    """What goes together in outfits, in worlds of the same seeds."""
    detection: DetectionConfig = DetectionConfig(
        rendered=RenderedConfig(products=1500, scenes=2000, test=200), steps=StepsConfig(rendered=400)
    )
    """Detectors; shorter trainings than those of the benchmark."""
    singles: DetectorExperimentConfig = DetectorExperimentConfig(
        pictures=BoxedPicturesConfig(products=1500, scenes=2000, collages=0, singles=500, test_products=400, test=200),
        detector=DetectorConfig(training=TrainingConfig(steps=400, learning_rate=3e-3, warmup_steps=40)),
    )
    """The detector that learns from pictures of single products, too, or from scenes alone; in as many steps."""
    optional: bool = True
    """Whether what weighs least is measured, too."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed of both."""

    @classmethod
    def quick(cls) -> LooksConfig:
        """Tests and development: every part runs, no figure means anything."""
        few = TrainingConfig(steps=4, learning_rate=3e-3, warmup_steps=1)
        detector = DetectorExperimentConfig.quick()
        pairs = SceneModelConfig.model_validate({"dim": 8, "hidden": 16, "side": 48, "learning": {"batch": 16, "least_pairs": 8}})
        learning = pairs.learning.model_copy(update={"training": few.model_copy(update={"validate_every": 2})})
        return cls(
            first_seed=DEVELOPMENT_SEED,
            shown=LookSetConfig(side=64, catalogue=60, unlisted=30, scenes=12, judged=8, judged_depth=2),
            encoder=LookEncoderConfig(
                products=20, web=1, camera=1, scenes=10, visual=VisualConfig(dim=16, code_bits=32, batch_classes=8, training=few)
            ),
            accuracies=(0.9, 0.75),
            pairs=ScenePairsConfig(
                world=WorldConfig.tiny(scene_share=0.9, collage_share=0.0, pictures=64),
                model=pairs.model_copy(update={"learning": learning}),
            ),
            outfits=OutfitsConfig.quick().model_copy(update={"splits": ("item",)}),
            detection=DetectionConfig.quick(),
            singles=detector,
            evaluation=EvaluationConfig(replicates=100),
        )
