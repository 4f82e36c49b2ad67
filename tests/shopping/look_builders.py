"""A detector, an encoder and objects that say what they are told, for the tests of this room."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import polars as pl
from PIL import Image

from corkboard.artifacts import Space
from corkboard.embeddings.visual import int8_of, pack_bits
from corkboard.shopping.objects import SCHEMA, FoundObjects
from corkboard.vision.config import TrunkConfig
from corkboard.vision.detection import Detections
from corkboard.vision.trunk import build_trunk

TRUNK = TrunkConfig(side=16, width=0.25)
SPACE, CODE_SPACE = Space("visual", "test"), Space("visual_codes", "test")
CLASSES = ("hat", "shoe", "bag")


class ToldDetector:
    """Finds in each picture what was said of its size (height, width), and counts the pictures."""

    class_names: Sequence[str] = CLASSES

    def __init__(self, said: dict[tuple[int, int], list[tuple[Sequence[float], Sequence[float], float]]], version: str = "d" * 12):
        self.said, self.version, self.seen = said, version, 0

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        self.seen += len(images)
        return [self._in(image) for image in images]

    def _in(self, image: np.ndarray) -> Detections:
        said = self.said.get(image.shape[:2], [])
        boxes = np.array([box for box, _, _ in said], np.float32).reshape(-1, 4)
        posteriors = np.array([posterior for _, posterior, _ in said], np.float32).reshape(-1, len(CLASSES))
        return Detections(boxes, np.array([score for *_, score in said], np.float32), posteriors)


class ColourEncoder:
    """The vector of a picture is the direction of its mean colour; white counts."""

    side = 8
    space, code_space = SPACE, CODE_SPACE

    def __init__(self, seed: int = 0):
        self.trunk, self.seen = build_trunk(TRUNK, seed), 0

    def features(self, images: np.ndarray) -> np.ndarray:
        self.seen += len(images)
        return images.mean(axis=(1, 2)).astype(np.float32)

    def vectors_of(self, features: np.ndarray) -> np.ndarray:
        return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)

    def codes_of(self, features: np.ndarray) -> np.ndarray:
        return pack_bits(np.pad(features - 128, ((0, 0), (0, 5))))


def png(image: np.ndarray) -> bytes:
    """The bytes of a picture, uint8 ``(height, width, 3)``."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def plain(colour: Sequence[int], height: int = 20, width: int = 20) -> np.ndarray:
    """A picture of one colour."""
    return np.full((height, width, 3), colour, np.uint8)


def items(*rows: tuple[str, str | None, bool], images: Sequence[str] | None = None) -> pl.DataFrame:
    """Items of (id, category, whether it is sold); ``images`` are their pictures."""
    return pl.DataFrame(
        {
            "item_id": [name for name, *_ in rows],
            "category": [category for _, category, _ in rows],
            "price_minor": [100 if sold else None for *_, sold in rows],
            "kind": ["product" if sold else "pin" for *_, sold in rows],
            "images": [[image] for image in images] if images is not None else [[] for _ in rows],
        },
        schema={"item_id": pl.String, "category": pl.String, "price_minor": pl.Int64, "kind": pl.String, "images": pl.List(pl.String)},
    )


def found(vectors: np.ndarray, categories: Sequence[str | None], ids: Sequence[str] | None = None, **columns: Sequence) -> FoundObjects:
    """Objects with these vectors (brought to length 1) and categories; further columns as they are given."""
    n = len(vectors)
    whole = {
        "item_id": list(ids or (f"p{k}" for k in range(n))),
        "image_hash": [""] * n,
        "box": [[0.0, 0.0, 1.0, 1.0]] * n,
        "category": list(categories),
        "second_category": [None] * n,
        "posterior": [1.0] * n,
        "second_posterior": [0.0] * n,
        "score": [1.0] * n,
        "source": ["detector"] * n,
        "sold": [True] * n,
        **columns,
    }
    colours = whole.pop("colours", np.ones((n, 8), np.uint8))
    vectors = np.asarray(vectors, np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    table = pl.DataFrame(whole, schema=SCHEMA)
    return FoundObjects(table, *int8_of(unit), np.packbits(unit > 0, axis=1), np.asarray(colours, np.uint8), SPACE, CODE_SPACE)


def at_angles(*degrees: float) -> np.ndarray:
    """Vectors of length 1 in the plane: the cosine of two is that of the angle between them."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
