"""Settings of the experiment on outfits: the world, how pictures are read, the model, how sure an interval is. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corkboard.config import Section
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.spine_config import DEVELOPMENT_SEED, FIRST_SEED
from corkboard.learning.config import TrainingConfig
from corkboard.shopping.outfit_config import OutfitModelConfig
from corkboard.world.config import WorldConfig


class OutfitsConfig(Section):
    """One world a seed, its outfits, and how well what goes with what is told from pictures."""

    first_seed: int = Field(FIRST_SEED, ge=0)
    """The world of the first seed; the next seeds follow it."""
    world: WorldConfig = WorldConfig(items=12_000, pictures=0)
    """The world; its pictures are drawn here, at the side that the trunk reads. Half of the items are in categories that outfits have."""
    drawn: int = Field(20_000, ge=10)
    """Outfits that are drawn; of those few remain that have learned, or asked, items alone."""
    learned: int = Field(3000, ge=2)
    """Outfits to learn from at most."""
    asked: int = Field(600, ge=2)
    """Outfits to ask about at most."""
    item_share: float = Field(0.4, gt=0, lt=1)
    """Share of items that are asked about, where the split is by item."""
    white: float = Field(0.65, ge=0, le=1)
    """Share of products that show themselves before white, as in the pictures of a world; the others have a backdrop of the web."""
    model: OutfitModelConfig = OutfitModelConfig()
    """The outfit model; its variants differ in the part that their name says."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed of questions."""
    splits: tuple[Literal["item", "outfit"], ...] = ("item", "outfit")
    """Splits that are reported; claims are about the first."""

    @classmethod
    def quick(cls) -> OutfitsConfig:
        """Tests and development: every part runs, no figure means anything."""
        training = TrainingConfig(steps=6, warmup_steps=1, validate_every=3)
        return cls(
            first_seed=DEVELOPMENT_SEED,
            world=WorldConfig.tiny(pictures=0),
            drawn=400,
            learned=60,
            asked=40,
            model=OutfitModelConfig(dim=8, hidden=(16,), batch=32, training=training),
        )
