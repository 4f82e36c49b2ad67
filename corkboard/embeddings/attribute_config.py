"""Settings of the head that fills attributes. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section


class AttributeHeadConfig(Section):
    """What is filled from the vectors of products, and how surely."""

    sources: dict[str, tuple[str, ...]] = Field(
        default={
            "category": ("category",),
            "colour": ("colour", "color", "colours", "colors", "base_colour", "base_color", "shade"),
            "brand": ("brand_id", "brand", "brand_name", "manufacturer"),
        }
    )
    """What is filled, and where products say it themselves: columns of the lake's items, or names of attributes; the first that is there
    counts. Names are compared in small letters with "_" between words."""
    min_examples: int = Field(default=10, ge=2)
    """A value that fewer products have is no value to guess: they count together as "unknown", which is never filled in."""
    max_values: int = Field(default=500, ge=2)
    """Values of one attribute at most, the most usual ones; the rest counts as "unknown"."""
    max_examples: int = Field(default=20_000, ge=4)
    """Products that one attribute is learned from at most, drawn evenly."""
    calibration_share: float = Field(default=0.25, gt=0, lt=1)
    """Share of the products that weights are not fitted to: penalty and temperature are chosen on them."""
    penalties: tuple[float, ...] = Field(default=(1e-3, 1e-4, 1e-5), min_length=1)
    """Penalties on half the squared weights that are tried; the one with the least log loss on the calibration products is taken."""
    iterations: int = Field(default=40, ge=1)
    """Steps of L-BFGS at most, a penalty."""
    calibrate: bool = True
    """Whether confidences are fitted to the calibration products. Off it is an ablation: they are those of the regression."""
    min_confidence: float = Field(default=0.8, ge=0, le=1)
    """What is less sure is not filled in, where a caller asks for nothing else."""
