"""Settings of the two-stage detector. Imports nothing heavy.

The defaults are for pictures of about 100 px with a handful of objects; in brackets what Faster R-CNN has for 800 px.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from corkboard.config import Section


class ProposalConfig(Section):
    """The first stage: where there is anything at all."""

    scales: tuple[float, ...] = (0.167, 0.333, 0.583)
    """Sides of square anchors, as shares of the picture's side; a ratio changes the shape, not the area."""
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Shapes of the anchors: height by width. Every cell of the map has one of each scale and ratio."""
    positive: float = Field(default=0.7, gt=0, le=1)
    """An anchor that overlaps an object so much is one; so is the best anchor of each object."""
    negative: float = Field(default=0.3, ge=0, le=1)
    """An anchor that overlaps every object less than this is background. Those between teach nothing."""
    sample: int = Field(default=64, ge=2)
    """Anchors of a picture that a step learns from (256)."""
    positive_share: float = Field(default=0.5, gt=0, le=1)
    """Share of objects among them, at most."""
    candidates: int = Field(default=200, ge=1)
    """Proposals before repeats are dropped, the best (2000 in training, else 1000)."""
    overlap: float = Field(default=0.7, ge=0, le=1)
    """Of two proposals that overlap more, the better stays."""
    kept_training: int = Field(default=100, ge=1)
    """Proposals of a picture that the second stage samples from in training (1000)."""
    kept: int = Field(default=50, ge=1)
    """Proposals of a picture that the second stage looks at otherwise (300)."""

    @model_validator(mode="after")
    def _fits(self) -> ProposalConfig:
        if not self.scales or not self.ratios or min(*self.scales, *self.ratios) <= 0:
            raise ValueError("anchors need at least one scale and one ratio, all above 0")
        if self.negative > self.positive:
            raise ValueError(f"an anchor cannot be background below {self.negative} and an object from {self.positive} on")
        return self


class RegionConfig(Section):
    """The second stage: what it is, and where exactly."""

    bins: int = Field(default=5, ge=1)
    """A region is read as so many cells by as many (7)."""
    hidden: int = Field(default=128, ge=1)
    """Width of the layers between the region and the heads (1024)."""
    layers: int = Field(default=1, ge=1)
    """How many of them (2)."""
    positive: float = Field(default=0.5, gt=0, le=1)
    """A proposal that overlaps an object so much is one; every other one is background."""
    sample: int = Field(default=32, ge=1)
    """Proposals of a picture that a step learns from (512)."""
    positive_share: float = Field(default=0.25, gt=0, lt=1)
    """Share of objects among them, at most."""


class FRCNNConfig(Section):
    """The two-stage detector over any trunk."""

    channels: int = Field(default=64, ge=8)
    """Width of the map that both stages read (256)."""
    blocks: int = Field(default=1, ge=0)
    """Residual blocks between the trunk and the stages."""
    doubled: bool = False
    """Double the sides of the map before the stages, by a transposed convolution: for a trunk of large patches."""
    proposals: ProposalConfig = ProposalConfig()
    """The first stage."""
    regions: RegionConfig = RegionConfig()
    """The second stage."""
