"""The detector that comes with the package: rendered pictures with boxes, one training, and a card of what it is worth.

    corkboard experiment detector --out FILE --seed 0

It learns on products that are drawn beyond any world: scenes, collages and single products in all three domains, whose clutter has boxes
too. The card lies in the notes of the file: what the weights were made by, and what the very weights that are kept find of products that no
step has seen, on backgrounds that were seen and on those that were not, beside boxes that look at no picture.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corkboard.artifacts import content_hash
from corkboard.errors import LeakError
from corkboard.experiments.detector_config import BoxedPicturesConfig, DetectorExperimentConfig
from corkboard.experiments.spine_runs import code_hash
from corkboard.experiments.trunk import Say, steps_told
from corkboard.experiments.visual_retrieval import PICTURE_CODE
from corkboard.metrics.detection import DetectionReport, FoundIn, TruthIn, average_precision, mean_boxes
from corkboard.seeds import derive
from corkboard.vision.detection import PictureDetector
from corkboard.vision.detector import Detector, save_detector
from corkboard.vision.detector_training import train_detector
from corkboard.vision.trunk import built_in_trunk
from corkboard.world.rendering import DOMAINS, PICTURES_VERSION, Products
from corkboard.world.scenes import Scenes, collages, scenes, single_pictures
from corkboard.world.vocabulary import CATEGORIES

DETECTOR_CODE = (
    *(f"vision/{name}.py" for name in ("boxes", "centre_net", "cnn", "detection", "detector", "detector_training", "encoder", "images")),
    *("learning/training.py", "experiments/detector.py"),
)
"""The sources that a trained detector depends on, beside those of the pictures."""
CLASS_NAMES = tuple(category.name for category in CATEGORIES)


@dataclass(frozen=True)
class BoxedPictures:
    """Pictures of one side and what is in each."""

    images: np.ndarray
    """uint8 (n, side, side, 3)."""
    boxes: list[np.ndarray]
    """Of each float32 (objects, 4), px."""
    classes: list[np.ndarray]
    """Of each int64 (objects,): rows of the categories."""

    @classmethod
    def of(cls, shown: Scenes, least_visible: float = 0.0) -> BoxedPictures:
        """All of ``shown`` but what stands about a single product and is hardly seen."""
        told = (shown.product >= 0) | (shown.visible >= least_visible)
        ends = np.searchsorted(shown.scene[told], np.arange(1, len(shown.images)))
        return cls(
            shown.images,
            np.split(shown.boxes[told].astype(np.float32), ends),
            np.split(shown.category[told].astype(np.int64), ends),
        )

    @classmethod
    def joined(cls, parts: Sequence[BoxedPictures]) -> BoxedPictures:
        """All pictures of ``parts``."""
        boxes, classes = ([one for part in parts for one in getattr(part, name)] for name in ("boxes", "classes"))
        return cls(np.concatenate([part.images for part in parts]), boxes, classes)

    def truth(self) -> list[TruthIn]:
        """What is in each picture, in shares."""
        side = self.images.shape[1]
        return [(boxes / side, classes) for boxes, classes in zip(self.boxes, self.classes, strict=True)]


def products_of(config: BoxedPicturesConfig, seed: int) -> tuple[Products, Products]:
    """(to learn from, to ask about); those to ask about are the same however many are learned from."""
    drawn = Products.drawn(config.test_products + config.products, seed)
    asked, learned = drawn.take(np.arange(config.test_products)), drawn.take(np.arange(config.test_products, len(drawn)))
    if np.isin(asked.key, learned.key).any():
        raise LeakError("A product is in two parts", found=int(np.isin(asked.key, learned.key).sum()), expected=0)
    return learned, asked


def learned_pictures(products: Products, config: BoxedPicturesConfig, side: int, seed: int) -> BoxedPictures:
    """Scenes, collages and single products in every domain, in front of what may be seen."""
    parts = [BoxedPictures.of(scenes(products, config.scenes, derive(seed, "detector", "scenes"), side))]
    if config.collages:
        parts.append(BoxedPictures.of(collages(products, config.collages, derive(seed, "detector", "collages"), side)))
    rows = np.arange(config.singles) % len(products)
    for domain in DOMAINS if config.singles else ():
        shown = single_pictures(products, rows, domain, side=side, seed=derive(seed, "detector", "singles"))
        parts.append(BoxedPictures.of(shown, config.least_visible))
    return BoxedPictures.joined(parts)


def asked_pictures(products: Products, config: BoxedPicturesConfig, side: int, seed: int) -> dict[str, BoxedPictures]:
    """What is asked about, by kind: scenes and camera pictures also on the backgrounds that are held out."""
    found = {}
    for name, backgrounds in (("", "seen"), (", held-out backgrounds", "held_out")):
        of = {"side": side, "backgrounds": backgrounds}
        found["scenes" + name] = BoxedPictures.of(scenes(products, config.test, derive(seed, "detector", "asked scenes"), **of))
        shown = single_pictures(products, np.arange(config.test) % len(products), "camera", seed=derive(seed, "detector", "asked"), **of)
        found["camera" + name] = BoxedPictures.of(shown, config.least_visible)
    found["collages"] = BoxedPictures.of(collages(products, config.test, derive(seed, "detector", "asked collages"), side))
    return found


def found_in(detector: PictureDetector, images: np.ndarray) -> list[FoundIn]:
    """What ``detector`` says of each picture, as measures take it."""
    return [(found.boxes, found.scores, found.classes) for found in detector.detect(list(images))]


def trained(pictures: BoxedPictures, config: DetectorExperimentConfig, seed: int, folder: Path, say: Say) -> Detector:
    """A detector that has learned ``pictures``; a call that was interrupted goes on from ``folder``. Checkpoints are by settings alone."""
    key = content_hash("detector", config.model_dump(mode="json", exclude={"evaluation"}), seed)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"checkpoint-{key[:12]}.safetensors"
    trunk = None if config.scratch else built_in_trunk()
    learned = pictures.images, pictures.boxes, pictures.classes, config.detector, CLASS_NAMES, seed, trunk
    return train_detector(*learned, progress=steps_told(say, config.detector.batch), checkpoint=checkpoint)


def make_detector(file: Path, folder: Path, config: DetectorExperimentConfig, seed: int, say: Say) -> dict[str, Any]:
    """Render, train, measure, and write the detector to ``file``; returns its card, which the file has in its notes."""
    begun, code = time.time(), {"code": code_hash(*DETECTOR_CODE), "picture_code": code_hash(*PICTURE_CODE, "world/scenes.py")}
    learned, asked = products_of(config.pictures, seed)
    pictures = learned_pictures(learned, config.pictures, config.detector.side, seed)
    say(f"{len(pictures.images):,} pictures to learn from after {time.time() - begun:.0f} s")
    detector = trained(pictures, config, seed, Path(folder), say)
    say("measuring")
    card = card_of(detector, pictures, asked_pictures(asked, config.pictures, config.detector.side, seed), config, seed)
    card |= {**code, "seconds": round(time.time() - begun)}
    save_detector(detector, file, card)
    return card


def card_of(
    detector: Detector, learned: BoxedPictures, asked: Mapping[str, BoxedPictures], config: DetectorExperimentConfig, seed: int
) -> dict[str, Any]:
    """What a detector was made by, and what it is worth; JSON."""
    sharp, guess = detector.at(config.asked_threshold), mean_boxes(learned.truth(), len(CLASS_NAMES), 1)
    figures, baseline = {}, {}
    for name, pictures in asked.items():
        figures[name] = _figures(found_in(sharp, pictures.images), pictures, config)
        baseline[name] = _figures(guess * len(pictures.images), pictures, config)
    return {
        "made_by": "corkboard experiment detector",
        "command": f"corkboard experiment detector --out FILE --seed {seed}",
        "seed": seed,
        "steps": config.detector.training.steps,
        "pictures_version": PICTURES_VERSION,
        "learned_pictures": len(learned.images),
        "parameters": sum(values.numel() for values in detector.network.parameters()),
        "figures": figures,
        "mean_boxes": baseline,
        "settings": config.model_dump(mode="json", exclude={"evaluation"}),
    }


def _figures(found: Sequence[FoundIn], pictures: BoxedPictures, config: DetectorExperimentConfig) -> dict[str, Any]:
    drawn = {"replicates": config.evaluation.replicates, "level": config.evaluation.level, "seed": config.evaluation.seed}
    report: DetectionReport = average_precision(found, pictures.truth(), **drawn)
    interval = report.ap50_interval
    return {
        "AP50": [round(value, 4) for value in (report.ap50, interval.low, interval.high)],
        "AP": round(report.ap, 4),
        "AP75": round(report.ap75, 4),
        "objects": report.truths,
    }


def card_lines(card: Mapping[str, Any]) -> list[str]:
    """The figures of a card for people, a line for each kind of picture."""
    lines = []
    for name, figures in card["figures"].items():
        value, low, high = figures["AP50"]
        trivial = card["mean_boxes"][name]["AP50"][0]
        lines.append(f"{name:30} AP50 {value:.3f} [{low:.3f}, {high:.3f}], AP {figures['AP']:.3f}; mean boxes AP50 {trivial:.3f}")
    return lines


def outside(made: Mapping[str, Any], card: Mapping[str, Any]) -> list[str]:
    """What of a detector made anew lies outside of the intervals on a card, a sentence each."""
    lines = []
    for name, figures in card["figures"].items():
        value, (_, low, high) = made["figures"][name]["AP50"][0], figures["AP50"]
        if not low <= value <= high:
            lines.append(f"AP50 of {name} is {value:.3f}, outside of [{low:.3f}, {high:.3f}] on the card")
    return lines
