"""Real photos with boxes: whole in a white square, garments in classes, split by photo; and how well detectors find them.

    street = read_street(folder, 128, StreetConfig())      street photos of Clothing Co-Parsing
    street["train"].images, street["test"].truth()
    run_street(folder, runs, say, seeds=3)                 train and measure, resumable

Photos and boxes come through the importers (:mod:`corkboard.lake.importers`), as anybody's would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.artifacts import content_hash
from corkboard.errors import InputError, LeakError, PictureRefused
from corkboard.experiments.detection_config import DetectionConfig
from corkboard.experiments.detector import BoxedPictures
from corkboard.experiments.real_data import data_file
from corkboard.experiments.street_config import GARMENTS, StreetConfig
from corkboard.lake.importers import Imported, load_outside
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import decode
from corkboard.vision.images import in_square, resized

if TYPE_CHECKING:
    from corkboard.experiments.detection import DetectionResult

PARTS = ("train", "valid", "test")
STREET, COCO = "clothing-coparsing", "coco128"
"""Names of the folders."""


@dataclass(frozen=True)
class RealPictures:
    """Photos with boxes, by part (:data:`PARTS`), and the names of the classes."""

    class_names: tuple[str, ...]
    parts: Mapping[str, BoxedPictures]
    names: Mapping[str, list[str]]
    """Names of the photos of each part."""

    def __getitem__(self, part: str) -> BoxedPictures:
        return self.parts[part]

    @property
    def split_hash(self) -> str:
        """Names the photos, their boxes and the split."""
        boxes = [(name, blake2b(np.concatenate([b.ravel() for b in one.boxes]).tobytes()).hexdigest()) for name, one in self.parts.items()]
        return content_hash({part: sorted(names) for part, names in self.names.items()}, boxes, list(self.class_names))


def read_street(folder: Path, side: int, config: StreetConfig) -> RealPictures:
    """The street photos in ``folder`` at ``side`` px, each whole in a white square, with boxes of :data:`GARMENTS`.

    Photos without a garment are left out. Raises :class:`corkboard.errors.NotFound` where the folder lacks the tables or pictures.
    """
    for name in ("images.tar", "boxes_merged.csv.gz"):
        data_file(folder, name)
    number = {label: k for k, group in enumerate(GARMENTS) for label in group.labels}
    imported = load_outside(Path(folder) / "boxes_merged.csv.gz", "boxes")
    return real_pictures(imported, number, tuple(group.name for group in GARMENTS), side, config)


def read_coco(folder: Path, side: int, config: StreetConfig) -> RealPictures:
    """Pictures with YOLO labels in ``folder``, each class as it is called there, those without any box left out."""
    imported = load_outside(Path(folder), "yolo")
    names = tuple(imported.frames["objects"]["category"].unique().sort().to_list())
    return real_pictures(imported, {name: k for k, name in enumerate(names)}, names, side, config)


def real_pictures(
    imported: Imported, class_of: Mapping[str, int], class_names: tuple[str, ...], side: int, config: StreetConfig
) -> RealPictures:
    """Imported pictures as arrays; boxes of categories that are not in ``class_of`` are left out.

    Raises :class:`InputError` where a part has no picture.
    """
    files = dict(imported.frames["items"].select("item_id", pl.col("images").list.first()).iter_rows())
    boxes: dict[str, list[tuple[list[float], int]]] = {}
    for item, box, category in imported.frames["objects"].select("item_id", "box", "category").iter_rows():
        if category in class_of:
            boxes.setdefault(files[item], []).append((box, class_of[category]))
    parts: dict[str, list[tuple[str, np.ndarray]]] = {part: [] for part in PARTS}
    for name, rgb in sorted(_decoded(imported, sorted(boxes)), key=lambda one: one[0]):
        parts[part_of(name, config)].append((name, rgb))
    empty = [part for part in ("train", "test") if not parts[part]]
    if empty or imported.pictures is None:
        raise InputError(
            "There are too few pictures with boxes", found={part: len(rows) for part, rows in parts.items()}, expected="some each"
        )
    names = {part: [name for name, _ in rows] for part, rows in parts.items()}
    if len({name for part in names.values() for name in part}) < sum(len(part) for part in names.values()):
        raise LeakError("A photo is in two parts")
    return RealPictures(class_names, {part: _boxed(rows, boxes, side) for part, rows in parts.items()}, names)


def part_of(name: str, config: StreetConfig) -> str:
    """The part of a photo, by the hash of its file name; no seed has a say."""
    place = int.from_bytes(blake2b(Path(name).name.encode(), digest_size=8).digest(), "big") / 2**64
    return "test" if place < config.test_share else "valid" if place < config.test_share + config.valid_share else "train"


def _decoded(imported: Imported, names: list[str]) -> list[tuple[str, np.ndarray]]:
    limits, found = PictureLimits(), []
    for name, data in imported.pictures.read(names, limits) if imported.pictures is not None else ():
        try:
            if isinstance(data, bytes):
                found.append((name, decode(data, limits).rgb))
        except PictureRefused:
            continue
    return found


def _boxed(rows: list[tuple[str, np.ndarray]], boxes: Mapping[str, list[tuple[list[float], int]]], side: int) -> BoxedPictures:
    """Pictures in squares, boxes in px of them."""
    corners, kinds = [], []
    for name, rgb in rows:
        shares = np.array([box for box, _ in boxes[name]], np.float32)
        corners.append(in_square(shares, rgb.shape[:2], side))
        kinds.append(np.array([kind for _, kind in boxes[name]], np.int64))
    images = np.concatenate([resized(rgb[None], side) for _, rgb in rows]) if rows else np.zeros((0, side, side, 3), np.uint8)
    return BoxedPictures(images, corners, kinds)


def run_street(
    folder: Path,
    runs: Path,
    say: Callable[[str], None],
    *,
    seeds: int = 3,
    minutes: float = 30.0,
    workers: int = 2,
    config: DetectionConfig | None = None,
) -> DetectionResult:
    """Measure what is missing of the detectors of :mod:`corkboard.experiments.detection` on street photos alone.

    ``folder`` holds ``clothing-coparsing``. Returns a :class:`corkboard.experiments.detection.DetectionResult`.
    """
    from corkboard.experiments.detection import run_detection

    return run_detection(Path(folder), runs, config or DetectionConfig(), seeds, minutes, say, workers, only=("street",))
