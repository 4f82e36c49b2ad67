"""What can be pointed at in pictures: boxes, categories, and how each crop looks.

    picture -> detector -> boxes and categories -> crops, 10 % larger -> trunk -> vector, code, colours

Of a product's picture one box counts, that of the product itself, or the whole picture where nothing was found. Boxes that the lake knows
of a picture (its table ``objects``) count instead of detected ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from PIL import Image

from corkboard.artifacts import Artifact, Space
from corkboard.embeddings.product_inputs import products_of
from corkboard.embeddings.visual import VisualEncoder, int8_of
from corkboard.embeddings.visual_lake import trunk_name
from corkboard.lake.pictures.reading import Pictures, on_square
from corkboard.lake.pictures.store import hash_named
from corkboard.shopping.config import ObjectsConfig
from corkboard.shopping.object_cache import CropCache, DetectionCache, crop_key

if TYPE_CHECKING:
    from corkboard.vision.detection import Detections, PictureDetector

KIND = "found_objects"
DETECTED, WHOLE = "detector", "whole picture"
"""Where a box comes from, beside the sources that imported rows name."""
IMPORTED = "imported"
"""The source of an imported row that names none."""
SCHEMA = {
    "item_id": pl.String,
    "image_hash": pl.String,
    "box": pl.Array(pl.Float32, 4),
    "category": pl.String,
    "second_category": pl.String,
    "posterior": pl.Float32,
    "second_posterior": pl.Float32,
    "score": pl.Float32,
    "source": pl.String,
    "sold": pl.Boolean,
}
"""Columns of :attr:`FoundObjects.table`."""
_WHOLE_BOX = (0.0, 0.0, 1.0, 1.0)
_AT_ONCE = 64
"""Pictures that are decoded, detected in and cropped together."""


class _Row(NamedTuple):
    """One row of :data:`SCHEMA`."""

    item_id: str
    image_hash: str
    box: Sequence[float]
    category: str | None
    second_category: str | None
    posterior: float
    second_posterior: float
    score: float
    source: str
    sold: bool


@dataclass(frozen=True)
class FoundObjects:
    """n objects. ``table`` has the columns of :data:`SCHEMA`, picture by picture, the surest first.

    ``item_id`` is the item that shows the picture; a box is shares of the upright picture; ``category`` is null where nothing says one,
    ``posterior`` its probability, given that there is something. ``sold`` marks the product of a product's picture. ``vectors`` are kept as
    int8 ``(n, dim)`` with a scale a row, ``colours`` uint8 ``(n, bins)`` are colour histograms in 255ths.
    """

    table: pl.DataFrame
    vectors8: np.ndarray
    scales: np.ndarray
    codes: np.ndarray
    colours: np.ndarray
    space: Space
    code_space: Space

    def __len__(self) -> int:
        return self.table.height

    @cached_property
    def vectors(self) -> np.ndarray:
        """float32 ``(n, dim)``, unit length to a few thousandths."""
        return self.vectors8 * self.scales[:, None]

    @property
    def boxes(self) -> np.ndarray:
        """float32 ``(n, 4)``: left, top, right, bottom as shares of the picture."""
        return self.table["box"].to_numpy().reshape(-1, 4)

    @cached_property
    def _rows_of(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, item_id in enumerate(self.table["item_id"]):
            found.setdefault(item_id, []).append(row)
        return found

    def of_item(self, item_id: str) -> FoundObjects:
        """The objects of one item's picture; none for an item that is not here."""
        return self.take(self._rows_of.get(item_id, []))

    def count_of(self, item_id: str) -> int:
        """How many there are in one item's picture."""
        return len(self._rows_of.get(item_id, []))

    def take(self, rows: Sequence[int] | np.ndarray) -> FoundObjects:
        """Some of the objects, in the order of ``rows``."""
        rows = np.asarray(rows, np.int64)
        arrays = (self.vectors8[rows], self.scales[rows], self.codes[rows], self.colours[rows])
        return FoundObjects(self.table[rows], *arrays, self.space, self.code_space)

    def joined(self, other: FoundObjects) -> FoundObjects:
        """These objects, then those of ``other``, whose vectors must be of the same space."""
        self.space.require(other.space)
        names = ("vectors8", "scales", "codes", "colours")
        arrays = (np.concatenate([getattr(self, name), getattr(other, name)]) for name in names)
        return FoundObjects(pl.concat([self.table, other.table]), *arrays, self.space, self.code_space)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return {"vectors": self.vectors8, "scales": self.scales, "codes": self.codes, "colours": self.colours}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The table of an artefact."""
        return {"objects": self.table}

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {"kind": KIND, "space": str(self.space), "code_space": str(self.code_space)}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> FoundObjects | None:
        """The objects of an artefact written with :meth:`tensors`, :meth:`tables` and :attr:`config`; None of an empty one."""
        return cls.read(artifact) if artifact.config.get("kind") == KIND else None

    @classmethod
    def read(cls, artifact: Artifact) -> FoundObjects:
        """The objects among the parts of any artefact that holds some."""
        arrays = (artifact.tensors[name] for name in ("vectors", "scales", "codes", "colours"))
        spaces = (Space.parse(artifact.config[name]) for name in ("space", "code_space"))
        return cls(artifact.table("objects"), *arrays, *spaces)


# ------------------------------------------------------------------------------------------------------------------- finding


def find_objects(
    items: pl.DataFrame,
    pictures: Pictures,
    detector: PictureDetector,
    encoder: VisualEncoder,
    lake_objects: pl.DataFrame | None = None,
    config: ObjectsConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FoundObjects:
    """The objects of the main picture of each of ``items`` that has one.

    ``items`` are rows of the lake's items; ``lake_objects`` of its table ``objects``, with boxes as shares. ``progress`` is told how many
    pictures are done, and of how many.
    """
    config = config or ObjectsConfig()
    main = pictures.main(items)
    sold = set(products_of(items)["item_id"])
    category = dict(items.select("item_id", "category").iter_rows())
    imported = _imported(main, lake_objects)
    told = {item_id for item_id, _ in imported}
    waiting = [name for item_id, name in main.iter_rows() if item_id not in told]
    found = _detected(waiting, pictures, detector, progress)
    rows: list[_Row] = []
    for item_id, name in main.iter_rows():
        picked = imported.get((item_id, name)) or _detected_rows(found[name], detector.class_names, config)
        picked = [row._replace(item_id=item_id, image_hash=name) for row in picked]
        rows += _product_of(picked, item_id, name, category[item_id]) if item_id in sold else picked
    return _cropped(rows, pictures, encoder, config)


def objects_in(
    images: Sequence[np.ndarray], detector: PictureDetector, encoder: VisualEncoder, config: ObjectsConfig | None = None
) -> list[FoundObjects]:
    """The objects of each of ``images``, uint8 ``(height, width, 3)`` of any size, that are in no lake; all crops are read together."""
    config = config or ObjectsConfig()
    found = detector.detect(images) if len(images) else []
    groups = [_detected_rows(one, detector.class_names, config) for one in found]
    crops = [
        crop(image, enlarged(row.box, config.margin), encoder.side) for image, rows in zip(images, groups, strict=True) for row in rows
    ]
    objects = _objects([row for rows in groups for row in rows], *_read_crops(crops, encoder), encoder)
    ends = np.cumsum([len(rows) for rows in groups], dtype=np.int64)
    return [objects.take(np.arange(end - len(rows), end)) for rows, end in zip(groups, ends, strict=True)]


def whole_pictures(images: Sequence[np.ndarray], encoder: VisualEncoder) -> FoundObjects:
    """Each of ``images``, uint8 ``(height, width, 3)``, as one object of no known category: what is left where nothing is found."""
    crops = [crop(image, np.array(_WHOLE_BOX), encoder.side) for image in images]
    rows = [_Row("", "", _WHOLE_BOX, None, None, 0.0, 0.0, 0.0, WHOLE, False)] * len(crops)
    return _objects(rows, *_read_crops(crops, encoder), encoder)


def product_objects(
    items: Sequence[tuple[str, str | None]],
    images: Sequence[np.ndarray],
    detector: PictureDetector,
    encoder: VisualEncoder,
    config: ObjectsConfig | None = None,
) -> FoundObjects:
    """One object each of products that arrive with a picture, as a build finds it. ``items`` are ids and categories (None for none)."""
    config = config or ObjectsConfig()
    found = detector.detect(images) if len(images) else []
    rows = [
        _product_of([row._replace(item_id=item_id) for row in _detected_rows(one, detector.class_names, config)], item_id, "", category)[0]
        for (item_id, category), one in zip(items, found, strict=True)
    ]
    crops = [crop(image, enlarged(row.box, config.margin), encoder.side) for image, row in zip(images, rows, strict=True)]
    return _objects(rows, *_read_crops(crops, encoder), encoder)


def objects_at(
    hashes: Sequence[str],
    boxes: Sequence[Sequence[float] | None],
    pictures: Pictures,
    encoder: VisualEncoder,
    known: FoundObjects | None = None,
    config: ObjectsConfig | None = None,
) -> FoundObjects:
    """Given parts of pictures of the lake as objects, one a row, in their order; None as a box is the whole picture.

    The category is that of the object of ``known`` in the same picture that overlaps most, by at least half (intersection over union).
    """
    config = config or ObjectsConfig()
    of_picture = {} if known is None else {str(name): part for (name,), part in known.table.group_by("image_hash", maintain_order=True)}
    rows = []
    for name, box in zip(hashes, boxes, strict=True):
        given = _WHOLE_BOX if box is None else tuple(box)
        near = _overlapping(of_picture[name], given) if name in of_picture else None
        if near is None:
            rows.append(_Row("", name, given, None, None, 0.0, 0.0, 1.0, WHOLE if box is None else IMPORTED, False))
        else:
            rows.append(_Row(**{**near, "box": given}))
    return _cropped(rows, pictures, encoder, config)


# --------------------------------------------------------------------------------------------------------------- boxes and crops


def enlarged(box: Sequence[float] | np.ndarray, margin: float) -> np.ndarray:
    """float32 ``(4,)``: the box, a share ``margin`` wider and higher around its middle, cut off at the edge of the picture."""
    left, top, right, bottom = (float(side) for side in box)
    wide, tall = (right - left) * margin / 2, (bottom - top) * margin / 2
    return np.clip(np.array([left - wide, top - tall, right + wide, bottom + tall], np.float32), 0, 1)


def crop(image: np.ndarray, part: np.ndarray, side: int) -> np.ndarray:
    """uint8 ``(side, side, 3)``: a part of ``image`` uint8 ``(height, width, 3)`` on a white square, whole px and at least one of them."""
    height, width = image.shape[:2]
    left, top = min(int(part[0] * width), width - 1), min(int(part[1] * height), height - 1)
    right, bottom = max(left + 1, int(np.ceil(part[2] * width))), max(top + 1, int(np.ceil(part[3] * height)))
    return on_square(image[top:bottom, left:right], side)


def read(pictures: Pictures, name: str) -> np.ndarray:
    """uint8 ``(height, width, 3)``: a kept picture. Raises :class:`corkboard.errors.NotFound`."""
    with Image.open(pictures.store.path(name)) as image:
        return np.asarray(image.convert("RGB"))


# ---------------------------------------------------------------------------------------------------------------------- the parts


def _imported(main: pl.DataFrame, lake_objects: pl.DataFrame | None) -> dict[tuple[str, str], list[_Row]]:
    """By item and picture, what the lake knows of main pictures; a row that names no picture is about the main one."""
    if lake_objects is None or lake_objects.is_empty():
        return {}
    hash_of = dict(main.iter_rows())
    found: dict[tuple[str, str], list[_Row]] = {}
    for item_id, image, box, category, source in lake_objects.select("item_id", "image_hash", "box", "category", "source").iter_rows():
        name = hash_of.get(item_id) if image is None else hash_named(image) or image
        given = None if box is None else np.clip(np.array(box, np.float32), 0, 1)
        if given is None or hash_of.get(item_id) != name or (given[2:] <= given[:2]).any():
            continue
        sure = 0.0 if category is None else 1.0
        found.setdefault((item_id, name), []).append(
            _Row("", "", given.tolist(), category, None, sure, 0.0, 1.0, source or IMPORTED, False)
        )
    return found


def _overlapping(objects: pl.DataFrame, box: Sequence[float]) -> dict[str, Any] | None:
    """The row of ``objects``, of one picture, that overlaps a box most, by at least half."""
    import torch

    from corkboard.vision.boxes import iou

    boxes = torch.from_numpy(objects["box"].to_numpy().reshape(-1, 4).copy())
    overlaps = iou(torch.tensor([list(box)], dtype=torch.float32), boxes)[0]
    best = int(overlaps.argmax())
    return objects.row(best, named=True) if float(overlaps[best]) >= 0.5 else None


def _detected(
    names: Collection[str], pictures: Pictures, detector: PictureDetector, progress: Callable[[int, int], None] | None
) -> Mapping[str, Detections]:
    """What is in each of the pictures; those that this detector has seen before are not read again."""
    cache = DetectionCache(pictures.store.folder, detector.version)
    missing = [name for name in dict.fromkeys(names) if name not in cache]
    for start in range(0, len(missing), _AT_ONCE):
        some = missing[start : start + _AT_ONCE]
        for name, found in zip(some, detector.detect([read(pictures, name) for name in some]), strict=True):
            cache.put(name, found)
        if progress is not None:
            progress(min(start + _AT_ONCE, len(missing)), len(missing))
    cache.save()
    return {name: cache[name] for name in names}


def _detected_rows(found: Detections, class_names: Sequence[str], config: ObjectsConfig) -> list[_Row]:
    """Rows without item and picture, the surest first."""
    boxes = np.clip(np.nan_to_num(np.asarray(found.boxes, np.float32).reshape(-1, 4)), 0, 1)
    sides = boxes[:, 2:] - boxes[:, :2]
    rows = []
    for place in np.flatnonzero((sides > 0).all(axis=1) & (sides >= config.min_side).all(axis=1))[: config.most]:
        posterior = found.posteriors[place]
        order = np.argsort(-posterior, kind="stable")[:2]
        first, second = int(order[0]), int(order[1]) if len(order) > 1 else None
        rows.append(
            _Row(
                "",
                "",
                boxes[place].tolist(),
                class_names[first],
                None if second is None else class_names[second],
                float(posterior[first]),
                0.0 if second is None else float(posterior[second]),
                float(found.scores[place]),
                DETECTED,
                False,
            )
        )
    return rows


def _product_of(rows: Sequence[_Row], item_id: str, name: str, category: str | None) -> list[_Row]:
    """The one row of a product's picture: the surest, or of those of the catalogue's category the surest, or the whole picture."""
    same = [row for row in rows if category is not None and row.category == category]
    best = max(same or rows, key=lambda row: row.score, default=None)
    if best is None:
        return [_Row(item_id, name, _WHOLE_BOX, category, None, 0.0, 0.0, 0.0, WHOLE, True)]
    return [best._replace(sold=True)]


def _cropped(rows: Sequence[_Row], pictures: Pictures, encoder: VisualEncoder, config: ObjectsConfig) -> FoundObjects:
    """Rows with what their crops look like; crops that this trunk has seen before are not read again."""
    cache = CropCache(pictures.store.folder, trunk_name(encoder.trunk))
    parts = [enlarged(row.box, config.margin) for row in rows]
    keys = [crop_key(row.image_hash, part) for row, part in zip(rows, parts, strict=True)]
    missing: dict[str, dict[str, np.ndarray]] = {}
    for key, row, part in zip(keys, rows, parts, strict=True):
        if key not in cache:
            missing.setdefault(row.image_hash, {})[key] = part
    names = list(missing)
    for start in range(0, len(names), _AT_ONCE):
        crops = {}
        for name in names[start : start + _AT_ONCE]:
            image = read(pictures, name)
            crops |= {key: crop(image, part, encoder.side) for key, part in missing[name].items()}
        cache.put(list(crops), *_read_crops(list(crops.values()), encoder))
    cache.save()
    features, colours = cache.take(keys) if keys else _read_crops([], encoder)
    return _objects(rows, features, colours, encoder)


def _read_crops(crops: Sequence[np.ndarray], encoder: VisualEncoder) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 and colours uint8 of crops."""
    from corkboard.vision.images import colour_histogram

    images = np.stack(crops) if len(crops) else np.zeros((0, encoder.side, encoder.side, 3), np.uint8)
    return encoder.features(images), np.rint(colour_histogram(images) * 255).astype(np.uint8)


def _objects(rows: Sequence[_Row], features: np.ndarray, colours: np.ndarray, encoder: VisualEncoder) -> FoundObjects:
    table = pl.DataFrame({name: [getattr(row, name) for row in rows] for name in SCHEMA}, schema=SCHEMA)
    return FoundObjects(
        table, *int8_of(encoder.vectors_of(features)), encoder.codes_of(features), colours, encoder.space, encoder.code_space
    )
