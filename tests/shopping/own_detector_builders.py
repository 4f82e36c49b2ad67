"""Pictures of coloured blocks with boxes, and a detector that is small enough to learn them in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from corkboard.learning.config import TrainingConfig
from corkboard.vision.config import CentreConfig, DetectorConfig, OwnDetectorConfig, TrunkConfig

BOXES = {"hat": (200, 20, 20), "shoe": (20, 20, 200), "bag": (20, 160, 20)}
"""A colour a category."""
OWN = OwnDetectorConfig(
    min_pictures=20,
    pictures_of_category=5,
    detector=DetectorConfig(
        head="centre",
        side=48,
        trunk=TrunkConfig(side=48, width=0.5),
        batch=8,
        centre=CentreConfig(channels=16),
        training=TrainingConfig(steps=150, learning_rate=5e-3, warmup_steps=5, clip_norm=10.0),
    ),
)


def boxed_picture(number: int, side: int) -> tuple[np.ndarray, list[tuple[str, list[float]]]]:
    """uint8 ``(side, side, 3)`` and its (category, box in shares): a hat above, in every second one a shoe below, seldom a bag."""
    draw, image, told = np.random.default_rng(number), np.full((side, side, 3), 255, np.uint8), []
    names = ["hat", *(["shoe"] if number % 2 else []), *(["bag"] if number % 30 == 4 else [])]
    for row, name in enumerate(names):
        wide, tall = draw.integers(12, 20, 2)
        left, top = draw.integers(0, side - wide), row * side // 2 + draw.integers(0, side // 2 - tall + 1)
        image[top : top + tall, left : left + wide] = BOXES[name]
        told.append((name, [left / side, top / side, (left + wide) / side, (top + tall) / side]))
    return image, told


def rows_of(item_id: str, image: str | None, told: Sequence[tuple[str, list[float]]]) -> list[dict[str, Any]]:
    """Rows of the lake's table ``objects``."""
    return [{"item_id": item_id, "image_hash": image, "box": [float(side) for side in box], "category": name} for name, box in told]
