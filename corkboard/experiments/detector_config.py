"""Settings of the training of the detector that comes with the package. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.experiments.config import EvaluationConfig
from corkboard.learning.config import TrainingConfig
from corkboard.vision.config import CentreConfig, DetectorConfig


class BoxedPicturesConfig(Section):
    """Rendered pictures with boxes: some to learn from, some to be asked about once."""

    products: int = Field(default=6000, ge=2)
    """Products to learn from."""
    scenes: int = Field(default=12_000, ge=1)
    """Scenes of them."""
    collages: int = Field(default=3_000, ge=0)
    """Collages of them."""
    singles: int = Field(default=2_000, ge=0)
    """Pictures of one of them, in each of the three domains."""
    test_products: int = Field(default=1000, ge=2)
    """Further products, which are asked about."""
    test: int = Field(default=400, ge=1)
    """Pictures of each kind that are asked about."""
    least_visible: float = Field(default=0.25, ge=0, le=1)
    """Of what stands about a single product, a thing of which a smaller share is seen is not told, and not asked for."""


class DetectorExperimentConfig(Section):
    """One training of a detector, and how it is asked."""

    pictures: BoxedPicturesConfig = BoxedPicturesConfig()
    """What is rendered."""
    detector: DetectorConfig = DetectorConfig()
    """The detector; its trunk is the one that comes with the package, unless ``scratch``."""
    scratch: bool = False
    """Begin with a trunk of random weights."""
    asked_threshold: float = Field(default=0.05, ge=0, le=1)
    """When it is measured, less sure objects count than when it serves."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed of both."""

    @classmethod
    def quick(cls) -> DetectorExperimentConfig:
        """Tests and development: everything runs, no figure means anything."""
        few = TrainingConfig(steps=4, learning_rate=3e-3, warmup_steps=2)
        return cls(
            pictures=BoxedPicturesConfig(products=24, scenes=12, collages=4, singles=2, test_products=12, test=4),
            detector=DetectorConfig(side=64, batch=4, centre=CentreConfig(channels=16), training=few),
            evaluation=EvaluationConfig(replicates=100),
        )
