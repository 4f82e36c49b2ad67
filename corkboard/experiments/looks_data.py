"""Scenes to be shopped: products that are sold and products that are not, pictures of both, what a detector finds, an encoder, an index.

Products are drawn by seed, beyond any world. Those that the encoder learns from are others than those that are asked about, and neither
were learned by the trunk and the detector that come with the package: a product is on one side by its key. Scenes stand before a
background that nothing has learned; the catalogue shows every product once, before white.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.embeddings.visual import VisualEncoder, VisualTask
from corkboard.errors import LeakError
from corkboard.experiments.looks_config import LooksConfig
from corkboard.metrics.looks import matched_boxes
from corkboard.seeds import derive, generator
from corkboard.shopping.look_index import LookIndex
from corkboard.shopping.objects import FoundObjects, crop, enlarged, objects_in, product_objects
from corkboard.world.rendering import DOMAINS, Products, render
from corkboard.world.scenes import Scenes, scenes
from corkboard.world.vocabulary import CATEGORIES

if TYPE_CHECKING:
    from corkboard.experiments.visual_retrieval import Labelled
    from corkboard.learning.training import Progress
    from corkboard.vision.detection import Detections, PictureDetector

CLASS_NAMES = tuple(category.name for category in CATEGORIES)
HELD_OUT, SEEN = "held_out", "seen"
"""Backgrounds that nothing has learned, and those of training."""
ATTRIBUTES = ("pattern", "shade")
"""What an encoder may be told beside its tasks."""
_MOST_IN_SCENE = 4


@dataclass(frozen=True)
class Asked:
    """Scenes, and the n things in them that are asked about, scene by scene."""

    images: np.ndarray
    """uint8 (scenes, side, side, 3)."""
    scene: np.ndarray
    """int64 (n,): row of ``images``, rising."""
    boxes: np.ndarray
    """float32 (n, 4): shares of the picture, what shows of each thing."""
    category: np.ndarray
    """int64 (n,): row of CATEGORIES."""
    product: np.ndarray
    """int64 (n,): row of the products; those below ``sold`` are in the catalogue."""
    sold: int

    def __len__(self) -> int:
        return len(self.scene)

    @property
    def listed(self) -> np.ndarray:
        """bool (n,): the catalogue has it."""
        return self.product < self.sold

    def of(self, scene: int) -> np.ndarray:
        """int64: the things in a scene."""
        return np.arange(*np.searchsorted(self.scene, (scene, scene + 1)))


@dataclass(frozen=True)
class Told:
    """What was found in scenes, whoever found it: a detector that is asked about these very pictures, in their order, and nothing else."""

    found: Sequence[Detections]
    class_names: Sequence[str]
    version: str = "told"

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Of each picture what was found in it."""
        return list(self.found)[: len(images)]


@dataclass(frozen=True)
class InScenes:
    """Objects of every scene, and which of them is which of the things that are asked about."""

    objects: Sequence[FoundObjects]
    row: np.ndarray
    """int64 (n,): the row of each thing among the objects of its scene, -1 where nothing found it."""

    def with_categories(self, asked: Asked, posteriors: np.ndarray | None) -> InScenes:
        """The same objects with other categories: ``posteriors`` (n, categories) of things that were found; none at all for None."""
        out = []
        for scene, objects in enumerate(self.objects):
            things = asked.of(scene)
            things = things[self.row[things] >= 0]
            rows = dict(zip(self.row[things].tolist(), things.tolist(), strict=True))
            columns = {name: objects.table[name].to_list() for name in _TOLD}
            for row in range(len(objects)) if posteriors is None else rows:
                values = (None, None, 0.0, 0.0) if posteriors is None else _two(posteriors[rows[row]])
                for name, value in zip(_TOLD, values, strict=True):
                    columns[name][row] = value
            told = [pl.Series(name, values, objects.table.schema[name]) for name, values in columns.items()]
            out.append(replace(objects, table=objects.table.with_columns(told)))
        return InScenes(out, self.row)


_TOLD = ("category", "second_category", "posterior", "second_posterior")


def _two(posteriors: np.ndarray) -> tuple[str, str, float, float]:
    first, second = np.argsort(-posteriors, kind="stable")[:2].tolist()
    return CLASS_NAMES[first], CLASS_NAMES[second], float(posteriors[first]), float(posteriors[second])


@dataclass(frozen=True)
class LookStage:
    """The products, scenes and models of a seed; each part is made when something first needs it."""

    config: LooksConfig
    seed: int
    detector: PictureDetector
    told: Callable[[Progress], None] | None = None

    # --------------------------------------------------------------------------------------------------------- products

    @cached_property
    def products(self) -> Products:
        """Those in the catalogue, then those that only scenes show."""
        return self._drawn[0]

    @cached_property
    def learned(self) -> Products:
        """Those that the encoder learns from."""
        return self._drawn[1]

    @cached_property
    def _drawn(self) -> tuple[Products, Products]:
        shown, count = self.config.shown, self.config.encoder.products
        drawn = Products.drawn(shown.catalogue + shown.unlisted + count, derive(self.seed, "looks", "products"))
        asked = np.arange(shown.catalogue + shown.unlisted)
        learned = drawn.take(np.arange(len(asked), len(drawn)))
        if np.isin(drawn.key[asked], learned.key).any():
            raise LeakError(
                "A product is both learned and asked about", found=int(np.isin(drawn.key[asked], learned.key).sum()), expected=0
            )
        return drawn.take(asked), learned

    @cached_property
    def sold_pictures(self) -> np.ndarray:
        """uint8 (catalogue, side, side, 3): the one picture of each product that is sold."""
        return render(self.products, np.arange(self.config.shown.catalogue), "catalogue", side=self.config.shown.side, threads=1)

    # ----------------------------------------------------------------------------------------------------------- scenes

    def asked(self, name: str = "asked", backgrounds: str = HELD_OUT) -> Asked:
        """Scenes of two to four different things each. ``name`` "judged" gives those that judges see."""
        key = ("scenes", name, backgrounds)
        if key not in self._made:
            shown = self.config.shown
            count = shown.judged if name == "judged" else shown.scenes
            together = self._together(count, name)
            drawn = scenes(self.products, count, derive(self.seed, "looks", name), shown.side, together, backgrounds, threads=1)
            self._made[key] = _asked(drawn, shown.least_visible, shown.catalogue)
        return self._made[key]

    def _together(self, count: int, name: str) -> list[list[int]]:
        """Different products for each scene, most of them from the catalogue."""
        shown, rng = self.config.shown, generator(self.seed, "looks", "together", name)
        found = []
        for _ in range(count):
            listed = rng.random(int(rng.integers(2, _MOST_IN_SCENE + 1))) < shown.listed
            sold = rng.choice(shown.catalogue, int(listed.sum()), replace=False).tolist()
            other = (shown.catalogue + rng.choice(shown.unlisted, int((~listed).sum()), replace=False)).tolist()
            found.append(rng.permutation([*sold, *other]).astype(int).tolist())
        return found

    def found(self, name: str = "asked", backgrounds: str = HELD_OUT) -> list[Detections]:
        """What the detector finds in scenes, of what is large enough to be cut out."""
        key = ("found", name, backgrounds)
        if key not in self._made:
            from corkboard.vision.detection import Detections

            least, most = self.config.shop.objects.min_side, self.config.shop.objects.most
            found = []
            for one in self.detector.detect(list(self.asked(name, backgrounds).images)):
                kept = np.flatnonzero((one.boxes[:, 2:] - one.boxes[:, :2] >= least).all(axis=1))[:most]
                found.append(Detections(one.boxes[kept], one.scores[kept], one.posteriors[kept]))
            self._made[key] = found
        return self._made[key]

    def detected(self, name: str = "asked", backgrounds: str = HELD_OUT) -> InScenes:
        """The objects that the detector finds in scenes."""
        key = ("detected", name, backgrounds)
        if key not in self._made:
            asked, found = self.asked(name, backgrounds), self.found(name, backgrounds)
            self._made[key] = InScenes(self._read(asked.images, found), matches(asked, found))
        return self._made[key]

    def posteriors(self, asked: Asked, found: Sequence[Detections], row: np.ndarray) -> np.ndarray:
        """float32 (n, categories): what the detector says of each thing; rows of zeros of those that it did not find."""
        out = np.zeros((len(asked), len(CLASS_NAMES)), np.float32)
        order = [self.detector.class_names.index(name) for name in CLASS_NAMES]
        for thing in np.flatnonzero(row >= 0).tolist():
            out[thing] = found[asked.scene[thing]].posteriors[row[thing]][order]
        return out

    def by_true_boxes(self) -> InScenes:
        """The things themselves as objects, in true boxes; of the category that the detector says where it found them, else of none."""
        key = ("true boxes",)
        if key not in self._made:
            from corkboard.vision.detection import Detections

            asked, row = self.asked(), self.detected().row
            said, place, boxes = self.posteriors(asked, self.found(), row), np.empty(len(asked), np.int64), []
            for scene in range(len(asked.images)):
                things = asked.of(scene)
                place[things] = np.arange(len(things))
                boxes.append(Detections(asked.boxes[things], np.ones(len(things), np.float32), np.full((len(things), 2), 0.5, np.float32)))
            objects = InScenes(self._read(asked.images, boxes, CLASS_NAMES[:2]), place).with_categories(asked, None)
            known = InScenes(objects.objects, np.where(row >= 0, place, -1)).with_categories(asked, said)
            self._made[key] = InScenes(known.objects, place)
        return self._made[key]

    def _read(self, images: np.ndarray, found: Sequence[Detections], names: Sequence[str] | None = None) -> list[FoundObjects]:
        detector = Told(found, names or self.detector.class_names)
        every = self.config.shop.objects.model_copy(update={"min_side": 0.0, "most": 1000})
        return objects_in(list(images), detector, self.encoder, every)

    # ------------------------------------------------------------------------------------------------- encoder and index

    @cached_property
    def labelled(self) -> Labelled:
        """Pictures of the products that are learned: single ones in every domain, and crops of scenes as a domain of their own."""
        from corkboard.experiments.visual_retrieval import Labelled

        config, side, products = self.config.encoder, self.side, self.learned
        images, product, domain = [], [], []
        for code, (name, views) in enumerate(zip(DOMAINS, (1, config.web, config.camera), strict=True)):
            for view in range(views):
                images.append(render(products, None, name, view, side, self.seed, threads=1))
                product.append(np.arange(len(products)))
                domain.append(np.full(len(products), code))
        shown = scenes(products, config.scenes, derive(self.seed, "looks", "learned"), self.config.shown.side, threads=1)
        asked = _asked(shown, self.config.shown.least_visible, len(products))
        images.append(self.crops(asked.images, asked.scene, asked.boxes, side))
        product.append(asked.product)
        domain.append(np.full(len(asked), len(DOMAINS)))
        return Labelled(products, *(np.concatenate(one) for one in (images, product, domain)))

    @property
    def side(self) -> int:
        """Side of the pictures that the trunk reads, px."""
        from corkboard.vision.trunk import built_in_trunk

        return built_in_trunk().side

    def crops(self, images: np.ndarray, scene: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
        """uint8 (n, side, side, 3): parts of pictures, enlarged as those of a build."""
        margin = self.config.shop.objects.margin
        return np.stack([crop(images[k], enlarged(box, margin), side) for k, box in zip(scene.tolist(), boxes, strict=True)])

    @cached_property
    def encoder(self) -> VisualEncoder:
        """New outputs on the trunk that comes with the package."""
        return self.trained()

    def trained(self, told: Sequence[str] = ()) -> VisualEncoder:
        """An encoder of the three tasks, and of the attributes ``told`` besides."""
        from corkboard.embeddings.visual_training import train_visual
        from corkboard.vision.trunk import built_in_trunk

        pictures = self.labelled
        tasks = pictures.tasks()
        for name in told:
            classes = getattr(pictures.products, name)[pictures.product]
            rows = np.flatnonzero(classes >= 0)
            tasks.append(VisualTask(name, rows, classes[rows], pictures.domain[rows]))
        return train_visual(pictures.images, tasks, built_in_trunk(), self.config.encoder.visual, self.seed, self.told)

    @cached_property
    def index(self) -> LookIndex:
        """The catalogue by what its pictures show where the detector finds something."""
        return self.indexed(self.encoder)

    def indexed(self, encoder: VisualEncoder) -> LookIndex:
        """The catalogue as ``encoder`` reads it. Row k of the catalogue is product k."""
        ids = [f"product {row:06d}" for row in range(self.config.shown.catalogue)]
        names = [CLASS_NAMES[k] for k in self.products.category[: len(ids)]]
        pictures = list(self.sold_pictures)
        if "single" not in self._made:
            self._made["single"] = self.detector.detect(pictures)
        detector = Told(self._made["single"], self.detector.class_names)
        objects = product_objects(list(zip(ids, names, strict=True)), pictures, detector, encoder, self.config.shop.objects)
        return LookIndex.build(objects, pl.DataFrame({"item_id": ids, "category": names}))

    @cached_property
    def _made(self) -> dict:
        return {}


def _asked(drawn: Scenes, least_visible: float, sold: int) -> Asked:
    kept = np.flatnonzero((drawn.visible >= least_visible) & (drawn.product >= 0))
    boxes = (drawn.boxes[kept] / drawn.images.shape[1]).astype(np.float32)
    return Asked(drawn.images, drawn.scene[kept], boxes, drawn.category[kept].astype(np.int64), drawn.product[kept], sold)


def matches(asked: Asked, found: Sequence[Detections], least: float = 0.5) -> np.ndarray:
    """int64 (n,): which of what was found in its scene each thing is, -1 for none: boxes overlap by ``least``, each counts once."""
    import torch

    from corkboard.vision.boxes import iou

    row = np.full(len(asked), -1, np.int64)
    for scene, one in enumerate(found):
        things = asked.of(scene)
        if len(things) and len(one):
            overlaps = iou(torch.from_numpy(asked.boxes[things].copy()), torch.from_numpy(np.asarray(one.boxes, np.float32))).numpy()
            row[things] = matched_boxes(overlaps, one.scores, least)
    return row


def at_accuracy(posteriors: np.ndarray, truth: np.ndarray, accuracy: float, seed: int) -> np.ndarray:
    """float64 (n, categories): the same posteriors made worse by noise, or better by the truth, until this share is right.

    Noise is Gumbel's on the logits; logits are then divided by what makes the mean of the highest posterior the share that is right, as
    with a detector that knows how sure it is. ``truth`` int64 (n,). The share is met to a step of 1 / n.
    """
    logits = np.log(np.maximum(posteriors, 1e-6))
    right = np.eye(logits.shape[1])[truth]
    better = (logits.argmax(axis=1) == truth).mean() < accuracy
    push = right if better else generator(seed, "looks", "posteriors").gumbel(size=logits.shape)
    low, high = 0.0, 50.0
    for _ in range(40):
        middle = (low + high) / 2
        share = ((logits + middle * push).argmax(axis=1) == truth).mean()
        low, high = (middle, high) if (share < accuracy) == better else (low, middle)
    logits = logits + high * push
    cold, hot = 0.05, 50.0
    for _ in range(40):
        middle = (cold * hot) ** 0.5
        cold, hot = (middle, hot) if _softmax(logits / middle).max(axis=1).mean() > accuracy else (cold, middle)
    return _softmax(logits / cold)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
