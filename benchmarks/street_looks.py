"""From raw photos to shelves: a shop of real product pictures, real street photos with boxes, and street photos that are new.

    python benchmarks/street_looks.py --json --data FOLDER        FOLDER holds fashion-products and clothing-coparsing; $CORKBOARD_DATA

Both sets come in through the importers, called by the same twelve words. A detector learns from the boxes of photos that may be learned
from (:mod:`corkboard.shopping.own_detector`), outputs of the trunk that ships from the product pictures, and each photo of the test part,
which is in no lake, is shopped. What garment it shows is known by its boxes; which product it is nobody knows, so likeness is not measured.

`own_ap50` and `mean_boxes_ap50` are over the test photos. `shown`: photos with at least one shelf. `right_category`: shelves whose box has
a true box of their category by half (intersection over union). `garments_shopped`: true boxes with such a shelf. `..._catalogue_gate`: with
a gate that knows product pictures alone. One seed takes some five minutes of one core.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import polars as pl
import torch
from harness import OUT, arguments, finish, say

from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual_lake import learn_from_lake
from corkboard.experiments.street import STREET, part_of
from corkboard.experiments.street_config import GARMENTS, StreetConfig
from corkboard.lake.importers import load_outside
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import decode
from corkboard.lake.pictures.reading import Pictures
from corkboard.metrics.detection import average_precision, mean_boxes
from corkboard.shopping.config import ShopTheLookConfig
from corkboard.shopping.look_index import LookIndex
from corkboard.shopping.matcher import LookMatcher, fit_matcher
from corkboard.shopping.objects import FoundObjects, find_objects, objects_in
from corkboard.shopping.own_detector import Annotated, annotated, learn_detector
from corkboard.shopping.shop_the_look import shop_the_look
from corkboard.vision.boxes import iou
from corkboard.vision.config import OwnDetectorConfig
from corkboard.vision.detector import Detector, built_in_detector
from corkboard.vision.trunk import built_in_trunk

PRODUCTS = "fashion-products"
SOLD = {
    "top": "Shirts Tshirts Tops Tunics Kurtas Kurtis Camisoles",
    "knitwear": "Sweaters Sweatshirts",
    "outerwear": "Jackets Blazers Suits Waistcoat Rain_Jacket Shrug",
    "dress": "Dresses Jumpsuit Rompers",
    "trousers": "Jeans Trousers Leggings Track_Pants Capris Jeggings",
    "skirt": "Skirts Shorts",
    "legwear": "Socks Stockings Tights",
    "shoes": "Casual_Shoes Heels Flats Sandals Sports_Shoes Formal_Shoes Flip_Flops Sports_Sandals",
    "bag": "Handbags Backpacks Clutches Wallets Duffel_Bag Messenger_Bag Laptop_Bag",
    "glasses": "Sunglasses",
    "belt": "Belts",
    "hat": "Caps Hat",
}
"""The shop's types of article under the names of :data:`GARMENTS`."""
OVERLAP = 0.5


def main() -> None:
    options = arguments(__doc__, seeds=3, data=os.environ.get("CORKBOARD_DATA", ""))
    begun = time.perf_counter()
    lake, asked = filled(Path(options.data), OUT / "street_looks" / "lake")
    told = [measured(lake, asked, seed) for seed in range(options.seeds)]
    result: dict[str, object] = {key: mean(one[key] for one in told) for key in told[0]}
    spread = {f"{key}_seeds": [round(one[key], 4) for one in told] for key in ("own_ap50", "right_category", "garments_shopped")}
    finish({**result, **spread, "seeds": options.seeds, "seconds": time.perf_counter() - begun}, options.json)


# ------------------------------------------------------------------------------------------------------------------- the lake


@dataclass(frozen=True)
class Photo:
    """A photo that is in no lake: uint8 ``(height, width, 3)``, its true boxes float32 ``(n, 4)`` in shares, and what each is."""

    rgb: np.ndarray
    boxes: np.ndarray
    garments: list[str]


def filled(data: Path, folder: Path) -> tuple[Lake, list[Photo]]:
    """A lake of products and of photos to learn from, and the photos of the test part."""
    shutil.rmtree(folder, ignore_errors=True)
    shop, looks = load_outside(data / PRODUCTS), load_outside(data / STREET / "boxes_merged.csv.gz", "boxes")
    called = {article.replace("_", " "): name for name, articles in SOLD.items() for article in articles.split()}
    items = shop.frames["items"].with_columns(pl.col("category").replace_strict(called, default=None), kind=pl.lit("product"))
    ingest_frames(folder, {"items": items.drop_nulls("category")}, PRODUCTS, pictures=shop.pictures)

    worn = {label: group.name for group in GARMENTS for label in group.labels}
    photos = looks.frames["items"].with_columns(file=pl.col("images").list.first())
    parts = [part_of(name, StreetConfig()) for name in photos["file"]]
    photos = photos.with_columns(part=pl.Series(parts))
    boxes = looks.frames["objects"].with_columns(pl.col("category").replace_strict(worn, default=None)).drop_nulls("category")
    known = photos.filter(pl.col("part") != "test").drop("part", "file")
    told = boxes.filter(pl.col("item_id").is_in(known["item_id"].implode()))
    ingest_frames(folder, {"items": known, "objects": told}, STREET, pictures=looks.pictures)

    of = {name: part for (name,), part in boxes.group_by("item_id")}
    new = {file: item for item, file, part in photos.select("item_id", "file", "part").iter_rows() if part == "test" and item in of}
    limits, asked = PictureLimits(), []
    for file, image in sorted(looks.pictures.read(sorted(new), limits)):
        rows = of[new[file]]
        asked.append(Photo(decode(image, limits).rgb, np.array(rows["box"].to_list(), np.float32), rows["category"].to_list()))
    say(f"{len(items.drop_nulls('category')):,} products, {len(known):,} photos to learn from, {len(asked):,} that are new")
    return Lake(folder), asked


# ------------------------------------------------------------------------------------------------------------------ measuring


def measured(lake: Lake, asked: Sequence[Photo], seed: int) -> dict[str, float]:
    """Everything of one seed."""
    config, pictures, items = ShopTheLookConfig(), Pictures(lake.folder), lake.items()
    boxes = annotated(items, lake.objects(), pictures)
    learned = learn_detector(boxes, pictures, built_in_trunk, OwnDetectorConfig(), seed, built_in_detector(), items)
    say(f"seed {seed}: {learned.sentence}")
    made = learn_from_lake(items, pictures, built_in_trunk, VisualConfig(), seed)
    if learned.detector is None or made is None:
        raise SystemExit("Nothing was learned: there is no shop to measure.")
    detector, encoder = learned.detector, made[0]
    found = find_objects(items, pictures, detector, encoder, lake.objects(), config.objects)
    index = LookIndex.build(found, items)
    scenes = found.take(np.flatnonzero(~found.table["sold"].to_numpy()))
    objects = objects_in([photo.rgb for photo in asked], detector, encoder, config.objects)
    told = precision(detector, boxes, asked)
    for end, matcher in (("", fit_matcher(index, config=config, scenes=scenes)), ("_catalogue_gate", fit_matcher(index, config=config))):
        told |= {name + end: value for name, value in shopped(asked, objects, index, matcher).items()}
    return told


def precision(detector: Detector, learned: Annotated, asked: Sequence[Photo]) -> dict[str, float]:
    """AP50 on the new photos, beside boxes of mean size."""
    names = learned.class_names
    truth = [(photo.boxes, np.array([names.index(name) for name in photo.garments])) for photo in asked]
    place = np.array([names.index(name) for name in detector.class_names])  # a category that was not learned is never found
    found = [(one.boxes, one.scores, place[one.classes]) for one in detector.at(0.05).detect([photo.rgb for photo in asked])]
    own = average_precision(found, truth)
    trivial = average_precision(mean_boxes(learned.truth(), len(names), len(asked)), truth, replicates=1)
    low, high = own.ap50_interval.low, own.ap50_interval.high
    return {"own_ap50": own.ap50, "own_ap50_low": low, "own_ap50_high": high, "mean_boxes_ap50": trivial.ap50}


def shopped(asked: Sequence[Photo], objects: Sequence[FoundObjects], index: LookIndex, matcher: LookMatcher) -> dict[str, float]:
    """What becomes of the new photos."""
    shelves, right, there, shown = 0, 0, 0, 0
    for photo, found in zip(asked, objects, strict=True):
        rows = [shelf.object for shelf in shop_the_look(found, index, matcher, k=6).shelves]
        same = iou(torch.from_numpy(found.boxes[rows].copy()), torch.from_numpy(photo.boxes)).numpy() >= OVERLAP
        called = np.array(found.table["category"].to_list(), object)[rows]
        same &= called[:, None] == np.array(photo.garments, object)[None, :]
        shelves, shown = shelves + len(rows), shown + bool(rows)
        right, there = right + int(same.any(axis=1).sum()), there + int(same.any(axis=0).sum())
    garments = sum(len(photo.garments) for photo in asked)
    told = {"shown": shown / len(asked), "shelves_a_photo": shelves / len(asked), "right_category": right / max(shelves, 1)}
    return {**told, "garments_shopped": there / garments}


if __name__ == "__main__":
    main()
