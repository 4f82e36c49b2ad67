"""What a lake tells of its pictures: which items they belong to, what the unified visual embedding learns from them, and their features.

A picture's vector depends on its pixels alone, so what a trunk says of a picture is computed once and kept beside the pictures, under the
name of the trunk: outputs that are learned anew read it again. What is learned is learned from the items that are given, those before a
cut.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space, content_hash, write_atomically
from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import VisualEncoder, VisualTask
from corkboard.lake.pictures.reading import Pictures
from corkboard.seeds import generator

if TYPE_CHECKING:
    from corkboard.learning.training import Progress
    from corkboard.vision.encoder import Trunk

MIN_PICTURES = 24
"""With fewer pictures there is nothing to learn from, and nothing to search."""
MAX_PICTURES = 10_000
"""Of more pictures so many are learned from, drawn evenly: items are classes whose proxies every step of the optimizer walks over, and a
run of the usual length draws no more of them."""
MAX_ATTRIBUTE_TASKS = 4
"""Attributes that are tasks of their own: of those that show, the ones that most pictures have."""
SHOWS = 0.02
"""An attribute shows where pictures of one value are so much more alike (mean cosine of the trunk's features) than any two pictures.

Pictures of different items, each picture once: views of one item are alike whatever is said of it.
"""
FEATURES_KEPT = 4
"""Of so many trunks the features stay in the cache, those that were used last."""


def learn_from_lake(
    items: pl.DataFrame,
    pictures: Pictures,
    trunk: Callable[[], Trunk],
    config: VisualConfig | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[VisualEncoder, list[VisualTask]] | None:
    """The encoder of the pictures of ``items``, and the tasks it learned; None where there are fewer than ``MIN_PICTURES``.

    ``trunk`` is called where there is something to learn.
    """
    from corkboard.embeddings.visual_training import train_visual
    from corkboard.vision.encoder import TrunkEncoder

    shown = pictures_of(items, pictures)
    hashes = shown["hash"].unique(maintain_order=True).to_list()
    if len(hashes) < MIN_PICTURES:
        return None
    if len(hashes) > MAX_PICTURES:
        drawn = generator(seed, "visual", "pictures").choice(len(hashes), MAX_PICTURES, replace=False)
        hashes = [hashes[place] for place in np.sort(drawn)]
        shown = shown.filter(pl.col("hash").is_in(hashes))
    below = trunk()
    images = pictures.array(hashes, below.side)
    tasks = visual_tasks(items, shown, hashes, TrunkEncoder(below, Space("trunk", "any")).encode(images))
    return train_visual(images, tasks, below, config, seed, progress), tasks


def main_vectors(encoder: VisualEncoder, pictures: Pictures, items: pl.DataFrame) -> EmbeddingTable:
    """Vectors of the main pictures of ``items``, those that have one."""
    main = pictures.main(items)
    vectors = encoder.vectors_of(picture_features(encoder, pictures, main["hash"].to_list()))
    return EmbeddingTable(main["item_id"].to_list(), vectors, encoder.space)


def pictures_of(items: pl.DataFrame, pictures: Pictures) -> pl.DataFrame:
    """item_id, hash: every picture of every item, the main one first."""
    rows = items.select("item_id", "images").explode("images").drop_nulls("images")
    return rows.select("item_id", hash=pl.Series(pictures.hashes(rows["images"].to_list()), dtype=pl.String)).drop_nulls("hash")


def visual_tasks(items: pl.DataFrame, shown: pl.DataFrame, hashes: Sequence[str], features: np.ndarray) -> list[VisualTask]:
    """What a lake knows of its pictures: the item itself, its category, and the most usual attributes that show.

    The item is its own class even where it has one picture: augmented, that picture is several. ``features`` ``(pictures, width)`` tell
    which attributes show; to learn what does not would teach to look away from what does.
    """
    rows = pl.DataFrame({"hash": list(hashes), "image": np.arange(len(hashes))})
    known = shown.join(rows, on="hash", maintain_order="left")
    known = known.join(items.select("item_id", "category", "attributes"), on="item_id", maintain_order="left")
    tasks = [_task("item", known["image"], known["item_id"])]
    kinds = known.drop_nulls("category")
    if kinds["category"].n_unique() > 1:
        tasks.append(_task("category", kinds["image"], kinds["category"]))
    first = known.unique("item_id", keep="first", maintain_order=True).unique("image", keep="first", maintain_order=True)
    said, judged = _attributes(known), _attributes(first)
    usual = judged.group_by("name").agg(pl.len(), values=pl.col("value").n_unique())
    usual = usual.filter((pl.col("values") > 1) & (pl.col("len") >= 5 * pl.col("values"))).sort("len", "name", descending=[True, False])
    showing = (name for name in usual["name"] if _likeness_of(judged.filter(pl.col("name") == name), features) >= SHOWS)
    mine = ((name, said.filter(pl.col("name") == name)) for name in islice(showing, MAX_ATTRIBUTE_TASKS))
    return [*tasks, *(_task(f"attribute {name}", rows["image"], rows["value"]) for name, rows in mine)]


def likeness(features: np.ndarray, classes: np.ndarray) -> float:
    """The mean cosine of two rows of one class, minus that of any two; 0 where no class has two."""
    unit = features - features.mean(axis=0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    counts = np.bincount(classes)
    sums = np.zeros((len(counts), unit.shape[1]))
    np.add.at(sums, classes, unit)
    pairs = float((counts * (counts - 1.0)).sum())
    if not pairs:
        return 0.0
    everywhere = ((unit.sum(axis=0) ** 2).sum() - len(unit)) / (len(unit) * (len(unit) - 1))
    return float(((sums**2).sum() - len(unit)) / pairs - everywhere)


def picture_features(encoder: VisualEncoder, pictures: Pictures, hashes: Sequence[str]) -> np.ndarray:
    """float32 ``(n, width)``: what the trunk says of pictures, computed once for each and kept beside them."""
    path = pictures.store.folder / "features" / f"{trunk_name(encoder.trunk)}.npz"
    known, kept = _kept(path)
    wanted = list(dict.fromkeys(hashes))
    missing = [name for name in wanted if name not in known]
    if missing or kept is None:
        made = encoder.features(pictures.array(missing, encoder.side)) if missing else np.zeros((0, encoder.trunk.dim), np.float32)
        kept = made if kept is None else np.concatenate([kept, made])
        known = {name: row for row, name in enumerate([*known, *missing])}
        _keep(path, list(known), kept)
    return kept[[known[name] for name in hashes]] if len(hashes) else kept[:0]


def _attributes(known: pl.DataFrame) -> pl.DataFrame:
    """image, name, value: what is said of pictures."""
    said = known.select("image", "attributes").explode("attributes").drop_nulls("attributes").unnest("attributes")
    return said.drop_nulls(["name", "value"])


def _likeness_of(said: pl.DataFrame, features: np.ndarray) -> float:
    task = _task("", said["image"], said["value"])
    return likeness(features[task.images], task.classes)


def trunk_name(trunk: Trunk) -> str:
    """12 hex digits over all that decides the features of a picture."""
    from corkboard.vision.encoder import digest
    from corkboard.vision.trunk import trunk_facts

    return content_hash(trunk_facts(trunk), digest(trunk.state_dict()))


def _task(name: str, images: pl.Series, classes: pl.Series) -> VisualTask:
    labels = np.unique(classes.to_numpy(), return_inverse=True)[1].astype(np.int64)
    rows = images.to_numpy().astype(np.int64)
    return VisualTask(name, rows, labels, np.zeros(len(rows), np.int64))


def _kept(path: Path) -> tuple[dict[str, int], np.ndarray | None]:
    try:
        os.utime(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: row for row, name in enumerate(file["hashes"].astype(str).tolist())}, file["features"]
    except (OSError, ValueError, KeyError, BadZipFile):  # not there, or cut off: it is made again
        return {}, None


def _keep(path: Path, hashes: Sequence[str], features: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, hashes=np.array(list(hashes), "S64"), features=features)
    write_atomically(path, buffer.getvalue())
    with suppress(FileNotFoundError):  # another process was faster
        for old in sorted(path.parent.glob("[!.]*.npz"), key=lambda file: file.stat().st_mtime)[:-FEATURES_KEPT]:
            old.unlink()
