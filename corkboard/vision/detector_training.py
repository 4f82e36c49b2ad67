"""Training a detector: pictures with boxes in, a detector whose weights are those that would be kept out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from corkboard.errors import InputError
from corkboard.learning.training import Progress, train
from corkboard.vision.config import DetectorAugmentationConfig, DetectorConfig
from corkboard.vision.detection import DetectionNetwork, as_targets
from corkboard.vision.detector import Detector, build_detector
from corkboard.vision.encoder import Trunk
from corkboard.vision.images import WHITE, checked, to_tensor
from corkboard.vision.trunk import parameter_groups

LEAST_SIDE = 4.0
"""What is left of a box after augmentation and is narrower, px, teaches nothing."""

Boxes = Sequence[np.ndarray]
"""Of each picture float32 ``(objects, 4)`` in px, right and bottom outside; it may be empty."""
Classes = Sequence[np.ndarray]
"""Of each picture int64 ``(objects,)``."""


def train_detector(
    images: np.ndarray,
    boxes: Boxes,
    classes: Classes,
    config: DetectorConfig,
    class_names: Sequence[str],
    seed: int,
    trunk: Trunk | None = None,
    *,
    validate: Callable[[Detector], float] | None = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Path | None = None,
) -> Detector:
    """Learn from uint8 ``images`` ``(n, side, side, 3)`` and what is in each.

    ``trunk`` is copied and learns at ``config.trunk_rate`` of the rate of the head; without one all is new and learns alike. ``validate``
    gives a detector as it stands a value of which more is better (the kept step has the best). Weights in the end are rounded to float16,
    so that a detector and its file find the same. Raises :class:`InputError` where arrays do not fit together.
    """
    _refuse_unfit(images, boxes, classes, config, class_names)
    detector = build_detector(config, class_names, seed, trunk)
    network = detector.network

    def loss(draw: np.random.Generator) -> Tensor:
        rows = draw.integers(0, len(images), config.batch)
        chosen = [boxes[row] for row in rows], [classes[row] for row in rows]
        shown, *found = augmented(images[rows], *chosen, draw, config.augmentation)
        return network.loss(to_tensor(shown, network.trunk.mean, network.trunk.std), as_targets(*found), draw)

    def value() -> float:
        return validate(Detector(network, config, class_names)) if validate is not None else 0.0

    groups = parameter_groups(network.trunk, rate=config.trunk_rate) if trunk is not None else ()
    judged = value if validate is not None else None
    train(network, loss, config.training, seed, validate=judged, progress=progress, checkpoint=checkpoint, groups=groups)
    _round_to_half(network)
    return Detector(network, config, class_names)


def augmented(
    images: np.ndarray, boxes: Boxes, classes: Classes, draw: np.random.Generator, config: DetectorAugmentationConfig
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Copies of square pictures for one step, with their boxes and classes: mirrored with chance 1/2, enlarged, stretched, moved, lit.

    A box is cut to the picture, and forgotten where less than ``least_visible`` of it is left or it became narrower than 4 px.
    """
    images = checked(images)
    n, side = len(images), images.shape[1]
    flip = np.where(draw.random(n) < 0.5, -1.0, 1.0)
    zoom = np.exp(draw.uniform(*np.log(config.zoom), n))
    stretch = np.exp(draw.uniform(-1, 1, n) * np.log1p(config.stretch))
    scale = np.stack([zoom * stretch, zoom / stretch], axis=1)
    move = draw.uniform(-1, 1, (n, 2)) * (np.abs(scale - 1) + 2 * config.shift)
    signed = scale * np.stack([flip, np.ones(n)], axis=1)
    shown = _sampled(images, signed, move)
    gain = 1 + config.brightness * (draw.uniform(-1, 1, (n, 1, 1, 1)) + draw.uniform(-1, 1, (n, 1, 1, 3)) / 3)
    shown = np.clip(shown * gain.astype(np.float32) + np.float32(0.5), 0, 255).astype(np.uint8)
    found_boxes, found_classes = [], []
    for k in range(n):
        # a point at x of [-1, 1] goes to x * scale + move
        middles = (np.asarray(boxes[k], np.float32).reshape(-1, 2, 2) * (2 / side) - 1) * signed[k] + move[k]
        moved = ((np.sort(middles, axis=1) + 1) * (side / 2)).reshape(-1, 4)
        cut = moved.clip(0, side)
        sizes, whole = cut[:, 2:] - cut[:, :2], (moved[:, 2:] - moved[:, :2]).prod(axis=1)
        kept = (sizes.prod(axis=1) >= config.least_visible * whole) & (sizes.min(axis=1, initial=side) >= LEAST_SIDE)
        found_boxes.append(cut[kept].astype(np.float32))
        found_classes.append(np.asarray(classes[k], np.int64)[kept])
    return shown, found_boxes, found_classes


def _sampled(images: np.ndarray, scale: np.ndarray, move: np.ndarray) -> np.ndarray:
    """float32 in the form of ``images``: each scaled about its middle and moved, in halves of a side; white where there is nothing."""
    ways = torch.zeros(len(images), 2, 3)
    inverse = torch.from_numpy(1 / scale).to(torch.float32)
    ways[:, 0, 0], ways[:, 1, 1] = inverse[:, 0], inverse[:, 1]
    ways[:, :, 2] = -torch.from_numpy(move).to(torch.float32) * inverse
    dark = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) - WHITE
    grid = functional.affine_grid(ways, list(dark.shape), align_corners=False)
    return (functional.grid_sample(dark, grid, align_corners=False) + WHITE).permute(0, 2, 3, 1).numpy()


def _refuse_unfit(images: np.ndarray, boxes: Boxes, classes: Classes, config: DetectorConfig, class_names: Sequence[str]) -> None:
    if checked(images).shape[1:3] != (config.side, config.side):
        raise InputError("Pictures to learn from have another size", found=images.shape, expected=f"{config.side} px each way")
    if not len(images) == len(boxes) == len(classes):
        raise InputError("Each picture needs its boxes and classes", found=(len(images), len(boxes), len(classes)))
    for k, (places, kinds) in enumerate(zip(boxes, classes, strict=True)):
        if np.shape(places) != (len(kinds), 4):
            raise InputError(f"Boxes of picture {k} do not fit its classes", found=np.shape(places), expected=(len(kinds), 4))
        if len(kinds) and not 0 <= np.min(kinds) <= np.max(kinds) < len(class_names):
            raise InputError(f"Picture {k} has an unknown class", found=np.unique(kinds).tolist(), expected=f"below {len(class_names)}")
    if not any(len(kinds) for kinds in classes):
        raise InputError("There is no object to learn from", found=f"{len(images)} pictures without boxes")


def _round_to_half(network: DetectionNetwork) -> None:
    with torch.no_grad():
        for values in network.state_dict().values():
            if values.is_floating_point():
                values.copy_(values.half())
