"""A detector that has learned from boxes of the lake: people's own pictures, in their own categories.

    rows of ``objects`` and their pictures -> a fifth is held out -> training -> AP50 of that fifth, beside boxes of mean size
                                                                                  and what serves otherwise

It serves where it is better than both beyond doubt on pictures that it has not learned from, and where it forgets no category of products
that what served before tells. A picture that has a box is taken to have all of its boxes: what is not told in it is learned as background.
Pictures that hardly differ, and all pictures of one item, lie on one side of the split.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from corkboard.artifacts import content_hash
from corkboard.embeddings.product_inputs import products_of
from corkboard.lake.pictures.reading import Pictures
from corkboard.lake.pictures.store import hash_named
from corkboard.shopping.objects import read
from corkboard.vision.config import OwnDetectorConfig

if TYPE_CHECKING:
    from corkboard.learning.training import Progress
    from corkboard.metrics.detection import DetectionReport, FoundIn, TruthIn
    from corkboard.vision.config import DetectorConfig
    from corkboard.vision.detection import PictureDetector
    from corkboard.vision.detector import Detector
    from corkboard.vision.encoder import Trunk

log = logging.getLogger("corkboard.shopping")

_ASKED_THRESHOLD = 0.05
"""Where it is measured less sure boxes count than where it serves."""
_MOST = 100
_SURE = np.arange(0.1, 0.95, 0.025)
"""Thresholds that it may serve at."""
_PLATEAU = 0.99
"""The highest threshold serves at which precision and recall together reach this share of their best."""
_SAME_BOX = 0.95
"""Boxes of one category that overlap by more are one box that was told twice."""
_HASH_SIDE = 16
_SAME_BITS, _SAME_COLOUR = 0.15, 8.0
"""Pictures are one picture, saved anew, where of the bits of their difference hashes no larger share differs, and their mean colours by no
more levels of 255."""
_AT_ONCE = 64
_ASKED_PRODUCTS = 20
"""Pictures of products of each category that the detector before is asked about."""
_TELLS = 0.5
"""It tells a category where it finds it in this share of them."""


@dataclass(frozen=True)
class Annotated:
    """Pictures with boxes. ``boxes`` are shares float32 ``(objects, 4)`` and ``classes`` rows of ``class_names`` of each of ``hashes``;
    ``items`` are those that show each picture."""

    hashes: list[str]
    boxes: list[np.ndarray]
    classes: list[np.ndarray]
    items: list[frozenset[str]]
    class_names: list[str]

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def digest(self) -> str:
        """12 hex digits over pictures, boxes, items and names."""
        rows = zip(self.hashes, (b.tolist() for b in self.boxes), (c.tolist() for c in self.classes), map(sorted, self.items), strict=True)
        return content_hash("annotated", [list(row) for row in rows], self.class_names)[:12]

    def take(self, rows: Sequence[int] | np.ndarray) -> Annotated:
        """Some of the pictures."""
        parts = ([part[row] for row in rows] for part in (self.hashes, self.boxes, self.classes, self.items))
        return Annotated(*parts, self.class_names)

    def of_classes(self, kept: Sequence[int]) -> Annotated:
        """All pictures with the boxes of some classes alone. One that has none of them shows what these look unlike."""
        number = {old: new for new, old in enumerate(kept)}
        keep = [np.isin(kinds, kept) for kinds in self.classes]
        classes = [np.array([number[kind] for kind in kinds[some]], np.int64) for kinds, some in zip(self.classes, keep, strict=True)]
        boxes = [places[some] for places, some in zip(self.boxes, keep, strict=True)]
        return replace(self, boxes=boxes, classes=classes, class_names=[self.class_names[kind] for kind in kept])

    def pictures_of_classes(self) -> np.ndarray:
        """int64 (classes,): in how many pictures each class is."""
        counts = np.zeros(len(self.class_names), np.int64)
        for kinds in self.classes:
            counts[np.unique(kinds)] += 1
        return counts

    def truth(self) -> list[TruthIn]:
        """What is in each picture, as measures take it."""
        return list(zip(self.boxes, self.classes, strict=True))


def annotated(items: pl.DataFrame, lake_objects: pl.DataFrame, pictures: Pictures) -> Annotated:
    """The pictures of ``items`` of which boxes with a category are told. A row that names no picture is about the item's main one.

    A picture with a box of which nobody says what it is teaches nothing, and neither does one that is not in the lake.
    """
    main, here = dict(pictures.main(items).iter_rows()), set(items["item_id"])
    told: dict[str, set[tuple[tuple[float, ...], str]]] = {}
    shown: dict[str, set[str]] = {}
    unsaid: set[str] = set()
    for item_id, image, box, category in lake_objects.select("item_id", "image_hash", "box", "category").iter_rows():
        name = main.get(item_id) if image is None else hash_named(image) or image
        if name is None or box is None or item_id not in here:
            continue
        corners = np.clip(np.array(box, np.float32), 0, 1)
        if category is None:
            unsaid.add(name)
        elif (corners[2:] > corners[:2]).all():
            told.setdefault(name, set()).add((tuple(corners.tolist()), category))
            shown.setdefault(name, set()).add(item_id)
    hashes = sorted(name for name in told if name not in unsaid and pictures.store.has(name))
    names = sorted({category for name in hashes for _, category in told[name]})
    number = {name: k for k, name in enumerate(names)}
    rows = [_once(sorted(told[name]), number) for name in hashes]
    return Annotated(hashes, [boxes for boxes, _ in rows], [kinds for _, kinds in rows], [frozenset(shown[name]) for name in hashes], names)


def _once(told: Sequence[tuple[tuple[float, ...], str]], number: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and classes of one picture, each once however often it was imported."""
    import torch

    from corkboard.vision.boxes import nms_by_class

    boxes, kinds = np.array([box for box, _ in told], np.float32), np.array([number[kind] for _, kind in told], np.int64)
    kept = nms_by_class(torch.from_numpy(boxes), torch.ones(len(boxes)), torch.from_numpy(kinds), _SAME_BOX).sort().values.numpy()
    return boxes[kept], kinds[kept]


# ---------------------------------------------------------------------------------------------------------------- the split


@dataclass(frozen=True)
class Impressions:
    """What pictures look like at a glance."""

    bits: np.ndarray
    """uint64 (n, 4): for 16 x 16 cells whether the next one is lighter. Saved or scaled anew a picture hardly changes."""
    colours: np.ndarray
    """float32 (n, 3): the mean of each channel."""

    @classmethod
    def of(cls, images: Iterable[np.ndarray]) -> Impressions:
        """Of uint8 ``(height, width, 3)`` each."""
        bits, colours = [], []
        for image in images:
            small = Image.fromarray(image).resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX)
            cells = np.asarray(small.convert("L"), np.int16)
            bits.append(np.packbits(cells[:, 1:] > cells[:, :-1] + 1).view(np.uint64))
            colours.append(np.asarray(small, np.float32).mean(axis=(0, 1)))
        return cls(np.array(bits, np.uint64).reshape(-1, 4), np.array(colours, np.float32).reshape(-1, 3))

    def alike(self) -> tuple[list[int], list[int]]:
        """Pairs of pictures that hardly differ."""
        first: list[int] = []
        second: list[int] = []
        for row in range(len(self.bits) - 1):
            other = self.bits[row + 1 :]
            apart, either = (np.bitwise_count(bits).sum(axis=1) for bits in (other ^ self.bits[row], other | self.bits[row]))
            same = (apart <= _SAME_BITS * either) & (np.abs(self.colours[row + 1 :] - self.colours[row]).max(axis=1) <= _SAME_COLOUR)
            others = (np.flatnonzero(same) + row + 1).tolist()
            first += [row] * len(others)
            second += others
        return first, second


def groups(given: Annotated, seen: Impressions) -> list[str]:
    """The name of the group of each picture: pictures of one item, and pictures that hardly differ, are one group."""
    first, second = seen.alike()
    of_item: dict[str, int] = {}
    for row, items in enumerate(given.items):
        for item in items:
            first.append(of_item.setdefault(item, row))
            second.append(row)
    edges = coo_array((np.ones(len(first)), (first, second)), (len(given), len(given)))
    component = connected_components(edges, directed=False)[1].tolist()
    named: dict[int, str] = {}
    for number, name in zip(component, given.hashes, strict=True):
        named[number] = min(named.get(number, name), name)
    return [named[number] for number in component]


def _place(name: str) -> float:
    """Where a group falls in [0, 1)."""
    return int.from_bytes(blake2b(f"held out {name}".encode(), digest_size=8).digest(), "big") / 2**64


# ----------------------------------------------------------------------------------------------------------------- learning


@dataclass(frozen=True)
class Learned:
    """``detector`` is None where there is nothing to learn from, or where what was learned is not to serve; ``told`` says why, and what was
    measured (JSON)."""

    detector: Detector | None
    told: dict[str, Any]

    @property
    def sentence(self) -> str:
        """What whoever builds should know."""
        if "AP50" not in self.told:
            return f"nothing was learned from {self.told['pictures']:,} pictures with boxes: {self.told['why']}"
        low, high = self.told["AP50_interval"]
        rivals = [f"mean boxes {self.told['AP50_mean_boxes']:.3f}"]
        before = self.told.get("AP50_detector_before")
        rivals += ["the detector before tells none of these categories" if before is None else f"the detector before {before:.3f}"]
        found = f"AP50 {self.told['AP50']:.3f} [{low:.3f}, {high:.3f}] on {self.told['held_out']:,} pictures that were held out"
        end = f"is not used: {self.told['why']}" if self.detector is None else f"serves from a score of {self.told['threshold']:.2f} on"
        of = f"one of {len(self.told['categories'])} categories, learned from {self.told['learned']:,} pictures"
        return f"{of}, has {found} ({', '.join(rivals)}); it {end}"


@dataclass(frozen=True)
class Boxed:
    """What a detector learns from, at its own size, and what it is measured on."""

    images: np.ndarray
    """uint8 (n, side, side, 3), of ``learned``."""
    sizes: list[tuple[int, int]]
    """Height and width of each of those pictures in the lake."""
    learned: Annotated
    asked: Annotated


def learn_detector(
    given: Annotated,
    pictures: Pictures,
    trunk: Callable[[], Trunk],
    config: OwnDetectorConfig,
    seed: int,
    before: PictureDetector | None = None,
    items: pl.DataFrame | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Learned:
    """Learn from ``given``, and measure it on the pictures that were held out.

    ``before`` is what serves otherwise; ``items`` are those of the lake, whose products it may tell. Damaged pictures are left out.
    """
    told: dict[str, Any] = {"pictures": len(given)}
    if len(given) < config.min_pictures:
        return Learned(None, {**told, "why": f"fewer than {config.min_pictures} pictures with boxes"})
    below = trunk()
    settings = _fitting(config.detector, below)
    boxed = _split(given, pictures, config, settings.side)
    enough = boxed.learned.pictures_of_classes() >= config.pictures_of_category
    kept = np.flatnonzero(enough & (boxed.asked.pictures_of_classes() >= config.held_out_of_category)).tolist()
    boxed = replace(boxed, learned=boxed.learned.of_classes(kept), asked=boxed.asked.of_classes(kept))
    names = boxed.learned.class_names
    told |= {"learned": len(boxed.learned), "held_out": len(boxed.asked), "categories": names}
    told["left_out"] = sorted(set(given.class_names) - set(names))
    if not names:
        few = f"{config.pictures_of_category} pictures to learn from and {config.held_out_of_category} to be measured on"
        return Learned(None, {**told, "why": f"no category has {few}"})
    forgotten = [] if before is None or items is None else _forgotten(names, before, items, pictures)
    if forgotten:
        why = f"it would forget what the detector before tells of products: {', '.join(forgotten)}. Bring boxes of these, too"
        return Learned(None, {**told, "why": why})
    detector = _trained(boxed, below, settings, seed, progress)
    return _judged(detector, boxed, pictures, before, told, config)


def _fitting(settings: DetectorConfig, trunk: Trunk) -> DetectorConfig:
    """Settings at a side that ``trunk`` reads: those that were not built here have one of their own."""
    from corkboard.vision.cnn import ConvTrunk
    from corkboard.vision.vit import VitTrunk

    return settings if isinstance(trunk, (ConvTrunk, VitTrunk)) else settings.model_copy(update={"side": trunk.side})


def _split(given: Annotated, pictures: Pictures, config: OwnDetectorConfig, side: int) -> Boxed:
    """Each picture is read once. Of very many those count that fall first."""
    from corkboard.vision.images import resized

    whole, images, sizes = [], [], []
    order = sorted(range(len(given)), key=lambda row: given.hashes[row])[: config.most_pictures]
    for row in order:
        picture = _read(pictures, given.hashes[row])
        if picture is not None:
            whole.append(row)
            images.append(resized(picture[None], side)[0])
            sizes.append(picture.shape[:2])
    there = given.take(whole)
    places = np.array([_place(name) for name in groups(there, Impressions.of(images))])
    asked = np.flatnonzero(places < config.held_out)[: config.most_held_out]
    learned = np.flatnonzero(places >= config.held_out)
    array = np.stack([images[row] for row in learned]) if len(learned) else np.zeros((0, side, side, 3), np.uint8)
    return Boxed(array, [sizes[row] for row in learned], there.take(learned), there.take(asked))


def _read(pictures: Pictures, name: str) -> np.ndarray | None:
    """A kept picture; None for one that is damaged, which teaches nothing."""
    try:
        return read(pictures, name)
    except (OSError, ValueError, SyntaxError) as error:
        log.warning("The picture %s cannot be read and is not learned from: %s", name, error)
        return None


def _forgotten(names: Collection[str], before: PictureDetector, items: pl.DataFrame, pictures: Pictures) -> list[str]:
    """Categories of products that ``before`` finds in most of their pictures, and that are none of ``names``."""
    known = {_folded(name) for name in names}
    rest = {_folded(name) for name in before.class_names} - known
    products = products_of(items).drop_nulls("category")
    lost = []
    for category in products["category"].unique().sort():
        if _folded(category) not in rest:
            continue
        main = pictures.main(products.filter(pl.col("category") == category).sort("item_id"))["hash"].head(_ASKED_PRODUCTS)
        images = [image for name in main if (image := _read(pictures, name)) is not None]
        found = [any(_folded(before.class_names[kind]) == _folded(category) for kind in one.classes) for one in before.detect(images)]
        if found and np.mean(found) >= _TELLS:
            lost.append(category)
    return lost


def _folded(name: str) -> str:
    return name.strip().casefold()


def _trained(boxed: Boxed, trunk: Trunk, settings: DetectorConfig, seed: int, progress: Callable[[Progress], None] | None) -> Detector:
    from corkboard.vision.detector_training import train_detector
    from corkboard.vision.images import in_square

    learned = boxed.learned
    boxes = [in_square(places, size, settings.side) for places, size in zip(learned.boxes, boxed.sizes, strict=True)]
    return train_detector(boxed.images, boxes, learned.classes, settings, learned.class_names, seed, trunk, progress=progress)


# ------------------------------------------------------------------------------------------------------------------ judging


def _judged(
    detector: Detector, boxed: Boxed, pictures: Pictures, before: PictureDetector | None, told: dict[str, Any], config: OwnDetectorConfig
) -> Learned:
    """``detector`` at the threshold that suits it, if it is better than boxes that look at no picture and than ``before``."""
    from corkboard.metrics.detection import average_precision, mean_boxes

    asked, names = boxed.asked, boxed.learned.class_names

    def measured(found: Sequence[FoundIn]) -> DetectionReport:
        return average_precision(found, asked.truth(), most=_MOST)

    found = _found(detector, asked, pictures)
    report = measured(found)
    rivals = {"mean_boxes": measured(mean_boxes(boxed.learned.truth(), len(names), len(asked)))}
    if before is not None and {_folded(name) for name in before.class_names} & {_folded(name) for name in names}:
        rivals["detector_before"] = measured(_found(before, asked, pictures))
    told = {
        **told,
        "AP50": report.ap50,
        "AP50_interval": [report.ap50_interval.low, report.ap50_interval.high],
        "AP": report.ap,
        "AP50_by_category": {names[kind]: value for kind, value in report.ap50_by_class.items()},
        **{f"AP50_{name}": value.ap50 for name, value in rivals.items()},
    }
    worse = [name.replace("_", " ") for name, value in rivals.items() if not _surely_better(report, value)]
    if worse:
        return Learned(None, {**told, "why": f"not better beyond doubt than {' and '.join(worse)} on the pictures that were held out"})
    if report.ap50 < config.least_ap50:
        return Learned(None, {**told, "why": f"AP50 is below {config.least_ap50}"})
    threshold, precision, recall = best_threshold(found, asked.truth())
    return Learned(detector.at(threshold), {**told, "threshold": threshold, "precision": precision, "recall": recall})


def _surely_better(report: DetectionReport, other: DetectionReport) -> bool:
    """Whether the interval (95 %) of the difference in AP50 lies above 0, over the same pictures drawn anew."""
    from corkboard.metrics.intervals import percentile_interval, resampled_values

    values = resampled_values([report.ap50_by_picture, other.ap50_by_picture])
    return percentile_interval(values[:, 0] - values[:, 1]).low > 0


def _found(detector: PictureDetector, asked: Annotated, pictures: Pictures) -> list[FoundIn]:
    """What ``detector`` finds in the pictures, sure or not, of the classes that are asked about, whatever it calls and numbers them."""
    at_all = getattr(detector, "at", None)
    detector = detector if at_all is None else at_all(_ASKED_THRESHOLD)
    number = {_folded(name): k for k, name in enumerate(asked.class_names)}
    place = np.array([number.get(_folded(name), -1) for name in detector.class_names])
    found = []
    for start in range(0, len(asked), _AT_ONCE):
        for one in detector.detect([read(pictures, name) for name in asked.hashes[start : start + _AT_ONCE]]):
            kinds = place[one.classes]
            found.append((one.boxes[kinds >= 0], one.scores[kinds >= 0], kinds[kinds >= 0]))
    return found


def best_threshold(found: Sequence[FoundIn], truth: Sequence[TruthIn]) -> tuple[float, float, float]:
    """(threshold, precision, recall) where their harmonic mean is best, the highest where several are as good.

    A head that has seen few pictures is rarely sure, and one that has seen many need not tell what it doubts.
    """
    from corkboard.metrics.detection import over_detection

    at = [over_detection(found, truth, threshold) for threshold in _SURE.tolist()]
    means = np.array([2 * one.primaries / max(one.found + one.truths, 1) for one in at])
    chosen = int(np.flatnonzero(means >= _PLATEAU * means.max())[-1])
    return float(_SURE[chosen]), at[chosen].primaries / max(at[chosen].found, 1), at[chosen].recall
