"""Settings of the experiment on real photos. Imports nothing heavy.

Rates and steps were chosen on validation photos, those of training from scratch and those of a pre-trained trunk apart.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from corkboard.config import Section
from corkboard.embeddings.config import VisualConfig
from corkboard.experiments.config import EvaluationConfig
from corkboard.learning.config import TrainingConfig
from corkboard.vision.config import LabelClusterConfig, PhraseConfig, PretrainingConfig, TrunkConfig, WeakPretrainingConfig


class PhotosConfig(Section):
    """What is held out, what is tried and how long it is trained."""

    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Of the groups, those that are asked about."""
    valid_share: float = Field(default=0.1, gt=0, lt=1)
    """Of the groups, those that settings are chosen on."""
    duplicate_bits: int = Field(default=6, ge=0, le=128)
    """Two photos may be one where at most so many of the 128 bits of their difference hashes differ ..."""
    duplicate_difference: float = Field(default=8.0, ge=0)
    """... and their colours at 16 px differ by at most so much, root of the mean square, of 255. The hash alone takes all plain shirts on
    white for one."""
    most_of_group: int = Field(default=20, ge=1)
    """A group (a sender, mostly) counts as at most so many queries: else one of 75 would be half of all."""
    trunk: TrunkConfig = TrunkConfig()
    """The network that learns; its side is the side at which photos are read."""
    shares: tuple[float, ...] = Field(default=(0.05, 0.2, 1.0), min_length=1)
    """Shares of the labelled training photos."""
    steps: tuple[int, ...] = Field(default=(300, 400, 600), min_length=1)
    """Steps of fine-tuning at each share."""
    visual: VisualConfig = VisualConfig(
        dim=256,
        code_bits=256,
        temperature=0.15,
        balanced=False,
        trunk_trained=True,
        training=TrainingConfig(steps=600, learning_rate=3e-3, warmup_steps=15, weight_decay=1e-4, clip_norm=10.0),
    )
    """Fine-tuning, end to end; steps are those of the share. Photos are drawn evenly: of 590 types in a colour most have a handful, which
    balanced draws learn by heart. On validation photos, from scratch with all labels, type and colour: mAP .35 and .27 balanced at a
    temperature of .05, .44 and .36 evenly, .55 and .39 evenly at .15, .59 and .33 at .3."""
    scratch_trunk_lr: float = Field(default=1.0, gt=0)
    """Learning rate of a trunk that knows nothing, in rates of the outputs."""
    tuned_trunk_lr: float = Field(default=0.3, gt=0)
    """Learning rate of a pre-trained trunk."""
    tuned_trunk_after: int = Field(default=15, ge=0)
    """Steps for which it stands still."""
    weak: WeakPretrainingConfig = WeakPretrainingConfig(
        phrases=PhraseConfig(min_products=15),
        classes=LabelClusterConfig(clusters=80, min_images=15),
        pretraining=PretrainingConfig(
            training=TrainingConfig(steps=600, learning_rate=3e-3, weight_decay=0.05, warmup_steps=40),
        ),
    )
    """Pre-training on the titles of training photos; its steps count for the first model and for the second."""
    levels: tuple[int, ...] = Field(default=(4, 6, 8), min_length=1)
    """Levels a channel of the colour histogram, tried on validation photos, of the whole picture and of its middle."""
    pixel_sides: tuple[int, ...] = Field(default=(8, 16, 32), min_length=1)
    """Sides of the raw pixels, px, tried on validation photos."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed."""

    @model_validator(mode="after")
    def _fits(self) -> PhotosConfig:
        if len(self.steps) != len(self.shares) or not all(0 < share <= 1 for share in self.shares):
            raise ValueError(f"every share, above 0 and at most 1, needs its steps: shares {self.shares}, steps {self.steps}")
        if self.test_share + self.valid_share >= 1:
            raise ValueError("test_share and valid_share leave nothing to train on")
        return self
