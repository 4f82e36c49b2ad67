"""What every detector has in common: what it learns from, what it finds, and the network between.

Boxes are left, top, right, bottom; pixel i covers [i, i + 1), so right and bottom are outside. Inside of a network they are px of the
square that it reads; what a detector hands out are shares of the upright picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from corkboard.vision.encoder import Trunk


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, the surest first."""

    boxes: np.ndarray
    """float32 (n, 4): left, top, right, bottom as shares of the upright picture, in [0, 1]."""
    scores: np.ndarray
    """float32 (n,) in [0, 1], falling."""
    posteriors: np.ndarray
    """float32 (n, classes): which class it is, given that it is something; rows sum to 1."""

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def classes(self) -> np.ndarray:
        """int64 (n,): the likeliest class of each."""
        return self.posteriors.argmax(axis=1).astype(np.int64)


class PictureDetector(Protocol):
    """Anything that finds objects in pictures."""

    class_names: Sequence[str]
    version: str
    """12 hex digits over all that decides what is found: the key of whatever is kept of it."""

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """What is in each of ``images``, uint8 ``(height, width, 3)`` of any size."""
        ...


@dataclass(frozen=True)
class Target:
    """What is truly in one picture."""

    boxes: Tensor
    """float32 (objects, 4), px."""
    classes: Tensor
    """int64 (objects,)."""


@dataclass(frozen=True)
class Found:
    """What a network says of one picture, before boxes of one thing are merged."""

    boxes: Tensor
    """float32 (n, 4), px."""
    scores: Tensor
    """float32 (n,): how sure it is that there is something of its likeliest class."""
    posteriors: Tensor
    """float32 (n, classes)."""


class DetectionNetwork(nn.Module):
    """A trunk and heads that find boxes."""

    trunk: Trunk
    classes: int

    def loss(self, pixels: Tensor, targets: Sequence[Target], draw: np.random.Generator) -> Tensor:
        """The loss of normalised ``pixels`` ``(n, 3, side, side)``; ``draw`` is the step's generator, for whatever is sampled."""
        raise NotImplementedError

    def predict(self, pixels: Tensor) -> list[Found]:
        """What is in each picture, in evaluation mode and without gradients."""
        raise NotImplementedError


def as_targets(boxes: Sequence[np.ndarray], classes: Sequence[np.ndarray]) -> list[Target]:
    """Targets of arrays, one pair a picture."""
    pairs = zip(boxes, classes, strict=True)
    return [Target(torch.from_numpy(np.asarray(b, np.float32).reshape(-1, 4)), torch.from_numpy(np.asarray(c, np.int64))) for b, c in pairs]
