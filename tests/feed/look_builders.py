"""Looks of coloured blocks: a detector that finds them, an encoder that knows colours, and a release's parts made with both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from corkboard.artifacts import Space
from corkboard.feed.look_parts import LookFinder
from corkboard.feed.visual import LazyEncoder
from corkboard.retrieval.catalogue import Catalogue
from corkboard.shopping.config import ShopTheLookConfig
from corkboard.shopping.look_index import LookIndex
from corkboard.shopping.matcher import DEFAULT_WEIGHTS, LookMatcher
from corkboard.shopping.objects import FoundObjects, objects_in
from corkboard.shopping.similarity_gate import SimilarityGate
from corkboard.vision.detection import Detections
from tests.feed.visual_builders import Colours

HUES = np.array([[220, 30, 30], [30, 200, 40], [30, 40, 220], [230, 220, 30], [200, 30, 210], [30, 210, 210]], np.uint8)
"""A colour a category."""


class Seeing(Colours):
    """The encoder of colours, with the space of its codes; what is white it does not see."""

    code_space = Space("colour codes", "8")

    def features(self, images: np.ndarray) -> np.ndarray:
        self.read.append(images.shape)
        coloured = [image[image.min(axis=2) < 125] for image in images]
        means = [pixels.mean(axis=0) if len(pixels) else np.full(3, 255.0) for pixels in coloured]
        return Colours().features(np.array(means).reshape(-1, 1, 1, 3)) if means else np.zeros((0, 8), np.float32)


class Blocks:
    """Finds each block of one of the colours, one a colour; ``asked`` counts the pictures that it was shown."""

    version = "blocks"

    def __init__(self, names: Sequence[str], second: float = 0.0):
        self.class_names, self.second, self.asked = list(names), second, 0

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        self.asked += len(images)
        return [self._of(image) for image in images]

    def _of(self, image: np.ndarray) -> Detections:
        height, width = image.shape[:2]
        boxes, posteriors = [], []
        for number, hue in enumerate(HUES[: len(self.class_names)]):
            rows, columns = np.nonzero(np.abs(image.astype(int) - hue).max(axis=2) < 30)
            if len(rows):
                boxes.append([columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height])
                posteriors.append(np.eye(len(self.class_names))[number] * (1 - self.second))
                posteriors[-1][(number + 1) % len(self.class_names)] += self.second
        found = len(boxes)
        boxes, posteriors = (
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(posteriors, np.float32).reshape(found, len(self.class_names)),
        )
        return Detections(boxes, np.linspace(0.9, 0.5, found, dtype=np.float32), posteriors)


def scene(*blocks: tuple[int, tuple[int, int, int, int]], height: int = 60, width: int = 80) -> np.ndarray:
    """uint8 (height, width, 3): blocks of colours (number, (left, top, right, bottom) in px) on white."""
    image = np.full((height, width, 3), 255, np.uint8)
    for number, (left, top, right, bottom) in blocks:
        image[top:bottom, left:right] = HUES[number]
    return image


def block(number: int, shift: int = 0) -> np.ndarray:
    """uint8 (16, 16, 3): a colour, a little off."""
    return np.broadcast_to(np.clip(HUES[number].astype(int) + shift, 0, 255).astype(np.uint8), (16, 16, 3))


def products(pictures: dict[str, np.ndarray], names: Sequence[str]) -> FoundObjects:
    """What a build would find in pictures of products: each the whole of it."""
    found = objects_in(list(pictures.values()), Blocks(names), Seeing())
    arrays = {name: np.concatenate([getattr(one, name) for one in found]) for name in ("vectors8", "scales", "codes", "colours")}
    table = pl.concat([one.table for one in found]).with_columns(item_id=pl.Series(list(pictures)), sold=pl.lit(True))
    return replace(found[0], table=table, **arrays)


def of_item(item_id: str, image: np.ndarray, names: Sequence[str]) -> FoundObjects:
    """What a build would find in the picture of an item that is not sold."""
    found = objects_in([image], Blocks(names), Seeing())[0]
    return replace(found, table=found.table.with_columns(item_id=pl.lit(item_id)))


def joined(*parts: FoundObjects) -> FoundObjects:
    """Several as one."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("vectors8", "scales", "codes", "colours")}
    return replace(parts[0], table=pl.concat([part.table for part in parts]), **arrays)


def matcher_of(index: LookIndex, least: float = 0.98) -> LookMatcher:
    """Alike is what has a cosine of ``least`` in every category."""
    count = len(index.names) + 1
    gate = SimilarityGate(index.names, np.full(count, 50.0), np.full(count, -48.0), np.full(count, least), np.zeros(count, np.int64))
    return LookMatcher(np.array(DEFAULT_WEIGHTS), gate)


def finder_of(catalogue: Catalogue, index: LookIndex, objects: FoundObjects | None, detector: Blocks, encoder: Seeing) -> LookFinder:
    """The finder of a release that has these parts."""
    plain = ShopTheLookConfig().model_copy(update={"duplicate": 2.0})  # one colour is much like another
    return LookFinder(index, matcher_of(index), catalogue, objects, LazyEncoder(lambda: encoder), lambda: detector, config=plain)
