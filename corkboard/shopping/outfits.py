"""Outfits from pictures (bootstrapped Complete The Look: Li et al., KDD 2020).

    statistics of a picture and of the boxes in it -> collage, scene or product      one linear classifier
    objects of a collage, less duplicates, of three categories or more               an outfit
    pictures that are nearly the same                                                give one

What a collage is shows without reading what is in it: flat ground between things that stand apart. The published classifier of styles of
images is a network; this one reads twelve numbers and was fitted on rendered pictures beyond any world. Scenes with two categories or
more give outfits as well, of a source of their own, for what stands together in a room was put together by somebody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact
from corkboard.errors import ArtifactError, InputError
from corkboard.shopping.complete_config import MiningConfig
from corkboard.vision.appearance import LinearHead, built_in_heads, ground_of, oklab

KIND = "outfits"
PICTURE_HEAD = "picture"
"""The head of :func:`~corkboard.vision.appearance.built_in_heads` that tells pictures apart."""
PICTURE_KINDS = ("product", "collage", "scene")
STATISTICS = (
    "flat", "flat edge", "flat outside of boxes", "steps", "boxes", "categories", "overlap", "covered", "spread", "largest", "lightness",
    "straight",
)  # fmt: skip
SCHEMA = {"outfit_id": pl.String, "row": pl.Int64, "item_id": pl.String, "category": pl.String, "source": pl.String}
"""``outfit_id`` is the id of the item whose picture it is, ``row`` the row of the object, ``source`` ``collage`` or ``scene``."""
_GRID = 48
"""Pictures are read at so many px a side."""


# --------------------------------------------------------------------------------------------------- which picture is what


def picture_statistics(image: np.ndarray, boxes: np.ndarray, categories: Sequence[str | int]) -> np.ndarray:
    """float32 (12,), :data:`STATISTICS`, of a picture uint8 ``(height, width, 3)`` and what was found in it.

    ``boxes`` float32 ``(n, 4)`` are shares of the picture, ``categories`` one a box.
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    if len(boxes) != len(categories):
        raise InputError("Every box has a category", found=len(categories), expected=len(boxes))
    rows, columns = (np.linspace(0, length - 1, _GRID).astype(np.int64) for length in np.shape(image)[:2])
    small = np.asarray(image)[rows][:, columns]
    colour, flat_edge, near = ground_of(small)
    centre = (np.arange(_GRID) + 0.5) / _GRID
    inside = (centre >= boxes[:, :1]) & (centre < boxes[:, 2:3]), (centre >= boxes[:, 1:2]) & (centre < boxes[:, 3:])
    covered = (inside[1][:, :, None] & inside[0][:, None, :]).any(axis=0)
    outside = near[~covered].mean() if (~covered).any() else 0.0
    lightness = oklab(small)[..., 0]
    down, right = np.abs(np.diff(lightness, axis=0)), np.abs(np.diff(lightness, axis=1))
    straight = max((down > 0.03).mean(axis=1).max(), (right > 0.03).mean(axis=0).max())
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    spread = float(middle.std(axis=0).mean()) if len(boxes) else 0.0
    found = (near.mean(), flat_edge, outside, np.log(1e-3 + (down.mean() + right.mean()) / 2), np.log1p(len(boxes)), len(set(categories)),
             _mean_overlap(boxes), covered.mean(), spread, area.max(initial=0.0), colour[0], straight)  # fmt: skip
    return np.array(found, np.float32)


def _mean_overlap(boxes: np.ndarray) -> float:
    """The mean over boxes of the largest intersection over union with another one; 0 for fewer than two."""
    if len(boxes) < 2:
        return 0.0
    common = overlaps(boxes, boxes)
    np.fill_diagonal(common, 0)
    return float(common.max(axis=1).mean())


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """float32 ``(n, m)``: intersection over union of boxes ``(n, 4)`` and ``(m, 4)``."""
    import torch

    from corkboard.vision.boxes import iou

    return iou(*(torch.from_numpy(np.array(boxes, np.float32).reshape(-1, 4)) for boxes in (a, b))).numpy()


def picture_kinds(
    images: Sequence[np.ndarray], objects: Sequence[tuple[np.ndarray, Sequence[str]]], head: LinearHead | None = None
) -> np.ndarray:
    """float32 ``(n, 3)``: how sure it is that each picture is one of :data:`PICTURE_KINDS`.

    ``objects`` are boxes and categories by picture; ``head`` is by default the one that comes with the package.
    """
    head = built_in_heads()[PICTURE_HEAD] if head is None else head
    if not len(images):
        return np.zeros((0, len(PICTURE_KINDS)), np.float32)
    rows = [picture_statistics(image, *found) for image, found in zip(images, objects, strict=True)]
    return head.posteriors(np.stack(rows))[:, [head.names.index(name) for name in PICTURE_KINDS]]


# ----------------------------------------------------------------------------------------------------------------- mining


@dataclass(frozen=True)
class Outfits:
    """Mined outfits: one row a member, in the order of the objects; see :data:`SCHEMA`."""

    frame: pl.DataFrame

    def __len__(self) -> int:
        return self.frame["outfit_id"].n_unique()

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of an artefact."""
        return {"outfits": self.frame}

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {"kind": KIND}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Outfits:
        """The outfits of an artefact written with :meth:`tables`; none where it is empty."""
        kind = artifact.config.get("kind")
        if kind == "none":
            return cls(pl.DataFrame(schema=SCHEMA))
        if kind != KIND:
            raise ArtifactError("This artefact holds no outfits", found=kind, expected=KIND)
        return cls(artifact.table("outfits"))

    def of_source(self, source: str) -> Outfits:
        """Those of one source."""
        return Outfits(self.frame.filter(pl.col("source") == source))


def mine_outfits(
    objects: pl.DataFrame, vectors: np.ndarray, kinds: Mapping[str, np.ndarray], codes: Mapping[str, np.ndarray], config: MiningConfig
) -> Outfits:
    """Outfits of the pictures in ``objects``.

    ``objects`` has item_id, image_hash, box (four shares), category and score, ``vectors`` float32 ``(n, dim)`` one unit vector a row;
    ``kinds`` the posteriors of :func:`picture_kinds` by image hash, ``codes`` uint8 ``(bytes,)`` of whole pictures by image hash: pictures
    without a code are never taken for another. Pictures are taken in the order of their item's id.
    """
    if len(objects) != len(vectors):
        raise InputError("Every object has a vector", found=len(vectors), expected=len(objects))
    numbered = objects.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64)).filter(pl.col("score") >= config.least_score)
    found: list[pl.DataFrame] = []
    taken: list[np.ndarray] = []
    seen: set[str] = set()
    for picture in numbered.sort("item_id", "image_hash", "row").partition_by("item_id", "image_hash", maintain_order=True):
        image, item = picture["image_hash"][0], picture["item_id"][0]
        source = _source(kinds.get(image), config)
        if source is None or item in seen:
            continue
        members = _members(picture, vectors, config)
        least = config.least_categories if source == "collage" else config.least_in_scene
        if members["category"].n_unique() < least or _known(codes.get(image), taken, config.near_bits):
            continue
        if image in codes:
            taken.append(codes[image])
        seen.add(item)
        found.append(members.select(pl.lit(item).alias("outfit_id"), "row", "item_id", "category", pl.lit(source).alias("source")))
    return Outfits(pl.concat(found).cast(SCHEMA) if found else pl.DataFrame(schema=SCHEMA))  # type: ignore[arg-type]


def _source(posteriors: np.ndarray | None, config: MiningConfig) -> str | None:
    """What outfits of a picture of this kind are called; None where it gives none."""
    if posteriors is None:
        return None
    if posteriors[PICTURE_KINDS.index("collage")] >= config.least_collage:
        return "collage"
    return "scene" if config.scenes and PICTURE_KINDS[int(np.argmax(posteriors))] == "scene" else None


def _members(picture: pl.DataFrame, vectors: np.ndarray, config: MiningConfig) -> pl.DataFrame:
    """The objects of one picture without duplicates, in their order."""
    ranked = picture.drop_nulls("category").sort("score", "row", descending=[True, False])
    boxes, rows, categories = (
        np.array(ranked["box"].to_list(), np.float32).reshape(-1, 4),
        ranked["row"].to_numpy(),
        ranked["category"].to_list(),
    )
    common = overlaps(boxes, boxes)
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-9), axis=1)
    shared = common * (area[:, None] + area[None, :]) / (1 + common)
    within = shared / np.minimum(area[:, None], area[None, :])
    alike = vectors[rows] @ vectors[rows].T
    kept: list[int] = []
    for place, category in enumerate(categories):
        same = [other for other in kept if categories[other] == category]
        if len(same) >= config.most_of_category or (common[place, kept] > config.overlap).any():
            continue
        if not ((within[place, same] >= config.nested) | (alike[place, same] >= config.alike)).any():
            kept.append(place)
    return ranked[sorted(kept, key=lambda place: rows[place])]


def _known(code: np.ndarray | None, taken: Sequence[np.ndarray], share: float) -> bool:
    """Whether a picture that is nearly this one has given its outfit."""
    if code is None or not taken:
        return False
    differing = np.unpackbits(np.stack(taken) ^ code, axis=1).mean(axis=1)
    return bool((differing <= share).any())


# -------------------------------------------------------------------------------------------------------------- measuring


def measured_against(outfits: Outfits, objects: pl.DataFrame, truth: pl.DataFrame, least: float = 0.5) -> dict[str, float]:
    """How well collages were found, and what is in them.

    ``objects`` are the objects that were mined from (item_id, box, category), ``truth`` those of a world: item_id of the picture, left,
    top, right, bottom, category, kind. ``collage_precision`` and ``collage_recall`` are over pictures; ``member_precision`` is the share
    of members of mined outfits that overlap by ``least`` with a true object of their picture and category, one member an object;
    ``member_recall`` the share of the true objects of all collages, ``member_recall_in_found`` of those that were found. Figures over
    nothing are NaN.
    """
    true_collages = set(truth.filter(pl.col("kind") == "collage")["item_id"])
    mined = outfits.of_source("collage").frame
    pictures = set(mined["outfit_id"])
    boxes = np.array(objects["box"].to_list(), np.float32).reshape(-1, 4)
    hits = 0
    for picture in mined.partition_by("outfit_id", maintain_order=True):
        there = truth.filter((pl.col("item_id") == picture["outfit_id"][0]) & (pl.col("kind") == "collage"))
        of = np.stack([there[name].to_numpy() for name in ("left", "top", "right", "bottom")], axis=1)
        same = np.array(picture["category"].to_list(), object)[:, None] == np.array(there["category"].to_list(), object)[None, :]
        hits += _pairs((overlaps(boxes[picture["row"].to_numpy()], of) >= least) & same)
    members, wanted = len(mined), truth.filter(pl.col("kind") == "collage")
    in_found = wanted.filter(pl.col("item_id").is_in(list(pictures)))
    share = {
        "collage_precision": (len(pictures & true_collages), len(pictures)),
        "collage_recall": (len(pictures & true_collages), len(true_collages)),
        "member_precision": (hits, members),
        "member_recall": (hits, len(wanted)),
        "member_recall_in_found": (hits, len(in_found)),
    }
    return {name: part / whole if whole else float("nan") for name, (part, whole) in share.items()}


def _pairs(fits: np.ndarray) -> int:
    """How many rows get a column of their own, taken greedily in the order of the rows."""
    free, found = np.ones(fits.shape[1], bool), 0
    for row in fits:
        open_ = np.flatnonzero(row & free)
        if len(open_):
            free[open_[0]] = False
            found += 1
    return found
