"""Finding objects in pictures of any size: the detector around a network, keeping it, and the one that comes with the package.

    picture -> whole, in the middle of a white square -> network -> threshold -> repeats dropped -> shares of the upright picture

A picture in which nothing is found, however small or dark, has an answer: no objects.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corkboard.artifacts import content_hash, write_atomically
from corkboard.errors import ArtifactError, ConfigError, InputError, NotFound
from corkboard.learning.training import seeded
from corkboard.vision.boxes import iou, nms_by_class
from corkboard.vision.centre_net import CentreNet
from corkboard.vision.cnn import ConvTrunk, fold_batch_norm
from corkboard.vision.config import DetectorConfig
from corkboard.vision.detection import DetectionNetwork, Detections, Found
from corkboard.vision.encoder import Trunk, digest
from corkboard.vision.images import checked, resized, to_tensor
from corkboard.vision.trunk import build_trunk, restored, trunk_facts, trunk_tensors
from corkboard.vision.vit import VitTrunk

BUILT_IN = "detector.safetensors"
_TRUNK = "trunk."
"""What the trunk's weights are called among those of a network."""


class Detector:
    """A network that has learned ``class_names``, and how its answers become objects. It must not train while it is in use.

    Batch norm is folded into the convolutions of a copy that answers; ``notes`` (JSON) say what it was made of.
    """

    def __init__(
        self, network: DetectionNetwork, config: DetectorConfig, class_names: Sequence[str], notes: Mapping[str, Any] | None = None
    ):
        if len(class_names) != network.classes or len(set(class_names)) != len(class_names):
            raise InputError("Names do not fit the classes", found=list(class_names), expected=f"{network.classes} different ones")
        self.network, self.config, self.class_names, self.notes = network, config, tuple(class_names), dict(notes or {})

    @cached_property
    def version(self) -> str:
        """12 hex digits over weights, settings and names."""
        settings = self.config.model_dump(mode="json", exclude={"training", "augmentation", "batch", "serving_batch", "trunk_rate"})
        return content_hash("detector", digest(self.network.state_dict()), settings, list(self.class_names))[:12]

    @cached_property
    def _served(self) -> DetectionNetwork:
        return fold_batch_norm(self.network)

    def at(self, threshold: float) -> Detector:
        """The same with another threshold; the network is shared."""
        return Detector(self.network, self.config.model_copy(update={"threshold": threshold}), self.class_names, self.notes)

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """What is in each of ``images``, uint8 ``(height, width, 3)`` of any size; in one without pixels there is nothing.

        Raises :class:`InputError` for what is no picture.
        """
        found: list[Detections] = []
        for start in range(0, len(images), self.config.serving_batch):
            part = images[start : start + self.config.serving_batch]
            found += self._read([_picture(image) for image in part])
        return found

    def _read(self, images: Sequence[np.ndarray]) -> list[Detections]:
        side, trunk = self.config.side, self._served.trunk
        squares = np.concatenate([resized(image[None], side) for image in images])
        with torch.inference_mode():
            found = self._served.predict(to_tensor(squares, trunk.mean, trunk.std))
        return [self._told(one, image.shape[:2]) for one, image in zip(found, images, strict=True)]

    def _told(self, found: Found, size: tuple[int, int]) -> Detections:
        """What is sure enough and no repeat, in shares of a picture of ``size`` (height, width)."""
        config = self.config
        boxes = _in_shares(found.boxes, size, config.side)
        sure = (found.scores >= config.threshold) & ((boxes[:, 2:] - boxes[:, :2]).amin(dim=1) > 0)
        squares, boxes, scores, posteriors = found.boxes[sure], boxes[sure], found.scores[sure], found.posteriors[sure]
        kept = nms_by_class(squares, scores, posteriors.argmax(dim=1), config.nms)
        posteriors, rows = _merged(squares[kept], scores[kept], posteriors[kept], config.merge)
        kept, posteriors = kept[rows][: config.max_objects], posteriors[: config.max_objects]
        return Detections(*(values.numpy().astype(np.float32) for values in (boxes[kept], scores[kept], posteriors)))


def _picture(image: np.ndarray) -> np.ndarray:
    """``image`` as it is read: one without pixels is a white pixel."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 3 and 0 in image.shape[:2]:
        return np.full((1, 1, 3), 255, np.uint8)
    return checked(image[None])[0]


def _in_shares(boxes: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """Boxes ``(n, 4)`` in px of the square as shares of the picture of ``size`` that :func:`resized` put into its middle, within it."""
    tall, wide = (max(1, round(part * side / max(size))) for part in size)
    top, left = (side - tall) // 2, (side - wide) // 2
    return ((boxes - boxes.new_tensor([left, top, left, top])) / boxes.new_tensor([wide, tall, wide, tall])).clamp(0, 1)


def _merged(boxes: Tensor, scores: Tensor, posteriors: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Rows that stay of boxes sorted by falling score, of whatever classes, and their posteriors.

    A box goes whose overlap with a surer one that stays is above ``threshold``. The posterior of what stays is the mean of its own and of
    those that went for it, weighted by score.
    """
    overlaps = iou(boxes, boxes) > threshold
    stays, taken = [], []
    for row in range(len(boxes)):
        over = [at for at, other in enumerate(stays) if overlaps[row, other]]
        if over:
            taken[over[0]].append(row)
        else:
            stays.append(row)
            taken.append([row])
    means = [(posteriors[rows] * scores[rows, None]).sum(dim=0) / scores[rows].sum().clamp(min=1e-9) for rows in taken]
    return torch.stack(means) if means else posteriors, torch.tensor(stays, dtype=torch.int64)


# ---------------------------------------------------------------------------------------------------------------- building


def build_detector(config: DetectorConfig, class_names: Sequence[str], seed: int, trunk: Trunk | None = None) -> Detector:
    """A detector with a new head, whose weights depend on ``seed`` alone, above a copy of ``trunk`` or above a new one."""
    if trunk is None:
        trunk = build_trunk(config.trunk.model_copy(update={"side": config.side}), seed)
    with seeded(seed, "detector", config.head):
        return Detector(_headed(_at_side(trunk, config.side), len(class_names), config), config, class_names)


def _headed(trunk: Trunk, classes: int, config: DetectorConfig) -> DetectionNetwork:
    if config.head == "frcnn":
        from corkboard.vision.vit_frcnn import FasterRCNN

        return FasterRCNN(trunk, classes, config.frcnn)
    return CentreNet(trunk, classes, config.centre)


def _at_side(trunk: Trunk, side: int) -> Trunk:
    """A copy of ``trunk`` that can be trained, for pictures of ``side`` px."""
    if isinstance(trunk, VitTrunk):
        return trunk.with_side(side)
    if trunk.side != side and not isinstance(trunk, ConvTrunk):
        raise ConfigError("This trunk reads pictures of one size", found=trunk.side, expected=f"{side} px, the side of the detector")
    other = copy.deepcopy(trunk)
    other.side, other.settings = side, trunk.settings.model_copy(update={"side": side})
    return other


# --------------------------------------------------------------------------------------------------------------- keeping


def save_detector(detector: Detector, file: Path, notes: Mapping[str, Any] | None = None) -> None:
    """Write ``detector`` as safetensors in float16, atomically, with settings, names and ``notes`` (None: its own) in the header.

    The same detector and notes are the same bytes. Weights that were never rounded to float16 are then others, and so is the version.
    """
    from safetensors.numpy import save

    facts = detector_facts(detector) | ({} if notes is None else {"notes": dict(notes)})
    # one entry: safetensors writes several in any order
    write_atomically(Path(file), save(detector_tensors(detector), {"detector": json.dumps(facts, sort_keys=True)}))


def load_detector(file: Path) -> Detector:
    """The detector of :func:`save_detector` in float32 and evaluation mode.

    Raises :class:`NotFound` where there is no file and :class:`ArtifactError` where it is not one of those.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(file).is_file():
        raise NotFound("There are no weights of a detector here", found=str(file), expected="a file that save_detector has written")
    try:
        with safe_open(file, "numpy") as opened:
            facts = json.loads((opened.metadata() or {})["detector"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 — no mapping
    except (SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(f"{file} is not a detector: {error!r}", expected="safetensors that save_detector has written") from None
    return detector_from(facts, tensors)


def detector_facts(detector: Detector) -> dict[str, Any]:
    """All of a detector that is no weight, as JSON."""
    return {
        "config": detector.config.model_dump(mode="json"),
        "class_names": list(detector.class_names),
        "trunk": trunk_facts(detector.network.trunk),
        "notes": detector.notes,
    }


def detector_tensors(detector: Detector) -> dict[str, np.ndarray]:
    """Its weights in float16."""
    return trunk_tensors(detector.network, half=True)


def detector_from(facts: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Detector:
    """The detector of :func:`detector_facts` and :func:`detector_tensors`. Raises :class:`ArtifactError` where they are of none."""
    try:
        config, names = DetectorConfig.model_validate(facts["config"]), list(facts["class_names"])
        trunk = restored(facts["trunk"], {n.removeprefix(_TRUNK): values for n, values in tensors.items() if n.startswith(_TRUNK)})
        detector = Detector(_headed(trunk, len(names), config), config, names, facts["notes"])
    except (KeyError, ValueError, InputError) as error:
        raise ArtifactError(f"These are not the parts of a detector: {error!r}", expected="those that save_detector writes") from None
    _fill(detector.network, tensors)
    return detector


def _fill(network: DetectionNetwork, tensors: Mapping[str, np.ndarray]) -> None:
    """Copy ``tensors`` into ``network``. Raises :class:`ArtifactError` where they are of another one."""
    wanted = {name: values.shape for name, values in trunk_tensors(network).items()}
    unfit = sorted(name for name in {*wanted, *tensors} if name not in wanted or name not in tensors or tensors[name].shape != wanted[name])
    if unfit:
        raise ArtifactError("These tensors are of another detector", found=unfit[:5], expected=f"those of {type(network).__name__}")
    with torch.no_grad():
        for name, values in network.state_dict().items():
            if name in tensors:
                values.copy_(torch.from_numpy(np.array(tensors[name])))
    network.eval()


def built_in_detector_file() -> Path:
    """Where the weights of the detector lie that comes with the package. Raises :class:`NotFound` where this copy has none."""
    path = Path(__file__).parent / "weights" / BUILT_IN
    if not path.is_file():
        raise NotFound(
            "This copy of Corkboard comes without the weights of its detector",
            expected=str(path),
            hint="docs/concepts/vision.md names the command that makes them.",
        )
    return path


def built_in_detector() -> Detector:
    """The trained detector that comes with the package. Raises :class:`NotFound` where this copy of the package has no weights."""
    return load_detector(built_in_detector_file())
