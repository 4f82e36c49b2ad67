"""A detector that has learned from boxes of the lake: people's own pictures, in their own categories.

    rows of ``objects`` and their pictures -> a fifth is held out -> training -> AP50 of that fifth, beside boxes of mean size
                                                                                  and what serves otherwise

It serves where it is better than both on pictures that it has not learned from. A picture that has a box is taken to have all of its
boxes: what is not told in it is learned as background.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from corkboard.artifacts import content_hash
from corkboard.lake.pictures.reading import Pictures
from corkboard.lake.pictures.store import hash_named
from corkboard.shopping.objects import read
from corkboard.vision.config import OwnDetectorConfig

if TYPE_CHECKING:
    from corkboard.learning.training import Progress
    from corkboard.metrics.detection import DetectionReport, FoundIn
    from corkboard.vision.detection import PictureDetector
    from corkboard.vision.detector import Detector
    from corkboard.vision.encoder import Trunk

_ASKED_THRESHOLD = 0.05
"""Where it is measured less sure boxes count than where it serves."""
_MOST = 100
_SURE = np.arange(0.05, 0.95, 0.025)
"""Thresholds that it may serve at."""


@dataclass(frozen=True)
class Annotated:
    """Pictures with boxes. ``boxes`` are shares float32 ``(objects, 4)`` and ``classes`` rows of ``class_names`` of each of ``hashes``."""

    hashes: list[str]
    boxes: list[np.ndarray]
    classes: list[np.ndarray]
    class_names: list[str]

    def __len__(self) -> int:
        return len(self.hashes)

    @cached_property
    def held_out_places(self) -> np.ndarray:
        """float64 (n,) in [0, 1): where each picture falls when some are held out; its content alone decides."""
        return np.array(
            [int.from_bytes(blake2b(f"held out {name}".encode(), digest_size=8).digest(), "big") / 2**64 for name in self.hashes]
        )

    @property
    def digest(self) -> str:
        """12 hex digits over pictures, boxes and names."""
        rows = zip(self.hashes, (b.tolist() for b in self.boxes), (c.tolist() for c in self.classes), strict=True)
        return content_hash("annotated", [list(row) for row in rows], self.class_names)[:12]

    def take(self, rows: Sequence[int] | np.ndarray) -> Annotated:
        """Some of the pictures."""
        parts = ([part[row] for row in rows] for part in (self.hashes, self.boxes, self.classes))
        return Annotated(*parts, self.class_names)

    def of_classes(self, kept: Sequence[int]) -> Annotated:
        """With boxes of some classes alone, and the pictures that have one."""
        number = {old: new for new, old in enumerate(kept)}
        keep = [np.isin(kinds, kept) for kinds in self.classes]
        rows = [row for row, some in enumerate(keep) if some.any()]
        classes = [np.array([number[kind] for kind in self.classes[row][keep[row]]], np.int64) for row in rows]
        boxes = [self.boxes[row][keep[row]] for row in rows]
        return Annotated([self.hashes[row] for row in rows], boxes, classes, [self.class_names[kind] for kind in kept])

    def truth(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """What is in each picture, as measures take it."""
        return list(zip(self.boxes, self.classes, strict=True))


def annotated(items: pl.DataFrame, lake_objects: pl.DataFrame, pictures: Pictures) -> Annotated:
    """The pictures of the lake of which boxes with a category are told. A row that names no picture is about the item's main one."""
    main = dict(pictures.main(items).iter_rows())
    told: dict[str, set[tuple[tuple[float, ...], str]]] = {}
    for item_id, image, box, category in lake_objects.select("item_id", "image_hash", "box", "category").iter_rows():
        name = main.get(item_id) if image is None else hash_named(image) or image
        if name is None or box is None or category is None:
            continue
        corners = np.clip(np.array(box, np.float32), 0, 1)
        if (corners[2:] > corners[:2]).all():
            told.setdefault(name, set()).add((tuple(corners.tolist()), category))
    names = sorted({category for boxes in told.values() for _, category in boxes})
    number, hashes = {name: k for k, name in enumerate(names)}, sorted(name for name in told if pictures.store.has(name))
    rows = [sorted(told[name]) for name in hashes]
    boxes = [np.array([box for box, _ in row], np.float32) for row in rows]
    return Annotated(hashes, boxes, [np.array([number[kind] for _, kind in row], np.int64) for row in rows], names)


# ----------------------------------------------------------------------------------------------------------------- learning


@dataclass(frozen=True)
class Learned:
    """``detector`` is None where there is nothing to learn from, or where what was learned is no better than what there is; ``told`` says
    why, and what was measured (JSON)."""

    detector: Detector | None
    told: dict[str, Any]

    @property
    def sentence(self) -> str:
        """What whoever builds should know."""
        if "AP50" not in self.told:
            return f"nothing was learned from {self.told['pictures']:,} pictures with boxes: {self.told['why']}"
        low, high = self.told["AP50_interval"]
        rivals = ", ".join(
            f"{name[5:].replace('_', ' ')} {self.told[name]:.3f}"
            for name in ("AP50_mean_boxes", "AP50_detector_before")
            if name in self.told
        )
        found = f"AP50 {self.told['AP50']:.3f} [{low:.3f}, {high:.3f}] on {self.told['held_out']:,} pictures that were held out ({rivals})"
        end = f"is not used: {self.told['why']}" if self.detector is None else f"serves from a score of {self.told['threshold']:.2f} on"
        return f"one of {len(self.told['categories'])} categories, learned from {self.told['learned']:,} pictures, has {found}; it {end}"


def learn_detector(
    given: Annotated,
    pictures: Pictures,
    trunk: Callable[[], Trunk],
    config: OwnDetectorConfig,
    seed: int,
    before: PictureDetector | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Learned:
    """Learn from ``given``, and measure it on the pictures that were held out. ``before`` is what serves otherwise."""
    if len(given) < config.min_pictures:
        return Learned(None, {"why": f"fewer than {config.min_pictures} pictures with boxes", "pictures": len(given)})
    held_out = given.held_out_places < config.held_out
    learned = given.take(np.flatnonzero(~held_out))
    counts = np.bincount(np.concatenate(learned.classes), minlength=len(given.class_names))
    kept = np.flatnonzero(counts >= config.min_boxes).tolist()
    learned, asked = learned.of_classes(kept), given.take(np.flatnonzero(held_out)).of_classes(kept)
    told = {"pictures": len(given), "learned": len(learned), "held_out": len(asked), "categories": learned.class_names}
    told["left_out"] = sorted(set(given.class_names) - set(learned.class_names))
    if not len(learned) or not len(asked):
        return Learned(None, {**told, "why": f"no category has {config.min_boxes} boxes to learn from and some to be measured on"})
    detector = _trained(learned, pictures, trunk(), config, seed, progress)
    return _judged(detector, learned, asked, pictures, before, told)


def _trained(
    learned: Annotated,
    pictures: Pictures,
    trunk: Trunk,
    config: OwnDetectorConfig,
    seed: int,
    progress: Callable[[Progress], None] | None,
) -> Detector:
    from corkboard.vision.detector_training import train_detector
    from corkboard.vision.images import in_square, resized

    settings = config.detector
    images, boxes = np.empty((len(learned), settings.side, settings.side, 3), np.uint8), []
    for row, name in enumerate(learned.hashes):
        picture = read(pictures, name)
        images[row] = resized(picture[None], settings.side)[0]
        boxes.append(in_square(learned.boxes[row], picture.shape[:2], settings.side))
    return train_detector(images, boxes, learned.classes, settings, learned.class_names, seed, trunk, progress=progress)


def _judged(
    detector: Detector,
    learned: Annotated,
    asked: Annotated,
    pictures: Pictures,
    before: PictureDetector | None,
    told: dict[str, Any],
) -> Learned:
    """``detector`` at the threshold that suits it, if it is better than boxes that look at no picture and than ``before``."""
    from corkboard.metrics.detection import average_precision, mean_boxes

    def measured(found: Sequence[FoundIn]) -> DetectionReport:
        return average_precision(found, asked.truth(), most=_MOST)

    images = [read(pictures, name) for name in asked.hashes]
    found = _found(detector.at(_ASKED_THRESHOLD), images, asked.class_names)
    report = measured(found)
    rivals = {"mean_boxes": measured(mean_boxes(learned.truth(), len(asked.class_names), len(asked))).ap50}
    if before is not None:
        rivals["detector_before"] = measured(_found(before, images, asked.class_names)).ap50
    threshold, precision, recall = best_threshold(found, asked.truth())
    told = {
        **told,
        "AP50": report.ap50,
        "AP50_interval": [report.ap50_interval.low, report.ap50_interval.high],
        "AP": report.ap,
        "AP50_by_category": {asked.class_names[kind]: value for kind, value in report.ap50_by_class.items()},
        **{f"AP50_{name}": value for name, value in rivals.items()},
    }
    worse = [name.replace("_", " ") for name, value in rivals.items() if value >= report.ap50]
    if worse:
        return Learned(None, {**told, "why": f"no better than {' and '.join(worse)} on the pictures that were held out"})
    return Learned(detector.at(threshold), {**told, "threshold": threshold, "precision": precision, "recall": recall})


def _found(detector: PictureDetector, images: Sequence[np.ndarray], class_names: Sequence[str]) -> list[FoundIn]:
    """What ``detector`` finds of the classes that are asked about, whatever place they have in its own list."""
    place = np.array([class_names.index(name) if name in class_names else -1 for name in detector.class_names])
    found = []
    for one in detector.detect(images):
        kinds = place[one.classes]
        found.append((one.boxes[kinds >= 0], one.scores[kinds >= 0], kinds[kinds >= 0]))
    return found


def best_threshold(found: Sequence[FoundIn], truth: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """(threshold, precision, recall) where their harmonic mean is highest: a head that has seen few pictures is rarely sure."""
    from corkboard.metrics.detection import over_detection

    best, chosen = -1.0, (float(_SURE[0]), 0.0, 0.0)
    for threshold in _SURE.tolist():
        at = over_detection(found, truth, threshold)
        mean = 2 * at.primaries / max(at.found + at.truths, 1)
        if mean > best:
            best, chosen = mean, (threshold, at.primaries / max(at.found, 1), at.recall)
    return chosen
