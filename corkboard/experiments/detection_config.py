"""Settings of the comparison of detectors. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.street_config import StreetConfig
from corkboard.experiments.vision_config import StartConfig
from corkboard.learning.config import TrainingConfig
from corkboard.vision.config import DetectorConfig, TrunkConfig

FIRST_SEED = 3000
"""Seeds of products and scenes that nothing was chosen by."""


class RenderedConfig(Section):
    """Scenes that are rendered."""

    products: int = Field(default=2000, ge=2)
    """Products to learn from."""
    scenes: int = Field(default=3000, ge=1)
    """Scenes of them, in front of backgrounds that may be seen."""
    test_products: int = Field(default=500, ge=2)
    """Further products, which are asked about."""
    test: int = Field(default=300, ge=1)
    """Scenes of those, on backgrounds that are held out, and as many on others."""
    least_visible: float = Field(default=0.35, ge=0, le=1)
    """A product of which a smaller share is seen is no object."""


class StepsConfig(Section):
    """Steps of training on each set."""

    rendered: int = Field(default=1500, ge=1)
    """On rendered scenes."""
    street: int = Field(default=1000, ge=1)
    """On 335 street photos. On the 46 that settings may be chosen on AP50 is level from 750 steps on (.20 to .24, to 2,000 steps)."""
    coco: int = Field(default=20, ge=1)
    """On the pictures of coco128: it runs, no more."""


class RatesConfig(Section):
    """Peaks of the learning rate; those of spec sheets for small models, chosen on nothing here but for the centre head."""

    centre: float = Field(default=3e-3, gt=0)
    """Of a CNN with the one-stage head."""
    frcnn: float = Field(default=1e-3, gt=0)
    """Of a CNN with the two-stage head."""
    vit: float = Field(default=5e-4, gt=0)
    """Of a transformer."""


class DetectionConfig(Section):
    """Which pictures, which detectors, how long."""

    side: int = Field(default=128, ge=32, le=1024)
    """Side of the square that every detector reads, px."""
    batch: int = Field(default=16, ge=1)
    """Pictures of a step."""
    rendered: RenderedConfig = RenderedConfig()
    """Scenes that are rendered."""
    street: StreetConfig = StreetConfig()
    """How photos are split."""
    steps: StepsConfig = StepsConfig()
    """Steps by set."""
    rates: RatesConfig = RatesConfig()
    """Learning rates."""
    detector: DetectorConfig = DetectorConfig()
    """Everything else of a detector: heads, loop, augmentation."""
    vit: TrunkConfig = TrunkConfig(kind="vit", side=64, patch=8, dim=96, layers=4, heads=4)
    """The transformer; patches of 16 px in the other one. It is pre-trained at its own side, and its positions are stretched."""
    start: StartConfig = StartConfig(
        training=TrainingConfig(steps=300, learning_rate=1e-3, warmup_steps=30, weight_decay=0.05, clip_norm=1.0)
    )
    """Pre-training of transformers: topic, pattern, shade and style of rendered pictures of single products."""
    start_products: int = Field(default=2000, ge=2)
    """Products of that, each in one web and one camera picture."""
    asked_threshold: float = Field(default=0.05, ge=0, le=1)
    """Boxes of a lower score do not count when it is measured."""
    most: int = Field(default=100, ge=1)
    """Boxes of a picture that count."""
    recall: float = Field(default=0.5, gt=0, le=1)
    """Over-detection is compared where each detector finds this share of what there is."""
    weak_nms: float = Field(default=0.9, gt=0, le=1)
    """Overlap above which boxes of one class are one, where suppression is as good as off."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed of both."""

    @classmethod
    def quick(cls) -> DetectionConfig:
        """Tests and development: everything runs, no figure means anything."""
        few = TrainingConfig(steps=2, learning_rate=1e-3, warmup_steps=1)
        return cls(
            side=64,
            batch=2,
            rendered=RenderedConfig(products=8, scenes=6, test_products=6, test=5),
            steps=StepsConfig(rendered=2, street=2, coco=2),
            vit=TrunkConfig(kind="vit", side=32, patch=8, dim=16, layers=1, heads=2),
            start=StartConfig(batch=4, training=few),
            start_products=4,
            evaluation=EvaluationConfig(replicates=100),
        )
