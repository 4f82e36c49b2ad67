"""The pictures of a lake as they are read: which one an item shows, and many of them as one array."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from corkboard.artifacts import content_hash
from corkboard.lake.pictures.fetch import fetched
from corkboard.lake.pictures.store import PictureStore, hash_named, hash_of

ARRAYS_KEPT = 4
"""So many arrays stay in the cache, those that were used last."""
_ARRAY_VERSION = 1
_THREADS = 2
_AT_ONCE = 64
_MAKING_SECONDS = 86_400


class Pictures:
    """The pictures of one lake; what was fetched is read once, at the first question."""

    def __init__(self, lake_folder: Path):
        self.store = PictureStore(lake_folder)

    @cached_property
    def _fetched(self) -> dict[str, str]:
        rows = fetched(self.store.lake_folder).filter(pl.col("hash").is_not_null())
        return dict(rows.select("image", "hash").iter_rows())

    @cached_property
    def digest(self) -> str:
        """12 hex digits over what addresses have led to. With the snapshot of the lake it names every picture that an item shows."""
        return content_hash("pictures", sorted(self._fetched.items()))

    def hashes(self, images: Sequence[str]) -> list[str | None]:
        """The hash of the picture behind each entry of an ``images`` column, None where the lake has none."""
        found = {image: hash_named(image) or self._fetched.get(image) for image in set(images)}
        found = {image: name if name is not None and self.store.has(name) else None for image, name in found.items()}
        return [found[image] for image in images]

    def main(self, items: pl.DataFrame) -> pl.DataFrame:
        """The first picture of each item that has one: item_id, hash, in the order of ``items`` (item_id, images)."""
        rows = items.select("item_id", "images").with_row_index("_item").explode("images").drop_nulls("images")
        rows = rows.with_columns(hash=pl.Series(self.hashes(rows["images"].to_list()), dtype=pl.String)).drop_nulls("hash")
        return rows.unique("_item", keep="first", maintain_order=True).select("item_id", "hash")

    def array(self, hashes: Sequence[str], side: int) -> np.ndarray:
        """uint8 ``(n, side, side, 3)``: each picture with its longer side at ``side`` px, in the middle of a white square.

        A read-only view of a file that is made in one pass and found again for the same ``hashes`` and ``side``. Raises
        :class:`corkboard.errors.NotFound` for a hash that the lake does not have.
        """
        if not len(hashes):
            return np.zeros((0, side, side, 3), np.uint8)
        folder = self.store.folder / "arrays"
        key = hash_of("\n".join([str(_ARRAY_VERSION), str(side), *hashes]).encode())
        path = folder / f"{key[:32]}.npy"
        try:
            os.utime(path)
        except FileNotFoundError:
            self._make(path, hashes, side)
        array = np.load(path, mmap_mode="r")
        for old in sorted(folder.glob("[!.]*.npy"), key=_last_used)[:-ARRAYS_KEPT]:
            old.unlink(missing_ok=True)  # who has it mapped keeps it
        return array

    def _sweep(self, folder: Path) -> None:
        """Remove what was left by whoever was killed while making an array."""
        for aside in folder.glob(".*.npy"):
            if time.time() - _last_used(aside) > _MAKING_SECONDS:
                aside.unlink(missing_ok=True)

    def _make(self, path: Path, hashes: Sequence[str], side: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sweep(path.parent)
        aside = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.npy")
        try:
            array = np.lib.format.open_memmap(aside, "w+", np.uint8, (len(hashes), side, side, 3))

            def fill(start: int) -> None:
                for row in range(start, min(start + _AT_ONCE, len(hashes))):
                    array[row] = _read_on_square(self.store.path(hashes[row]), side)

            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(fill, range(0, len(hashes), _AT_ONCE)))
            array.flush()
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)


def on_square(picture: Image.Image | np.ndarray, side: int) -> np.ndarray:
    """uint8 ``(side, side, 3)``: a picture scaled until its longer side is ``side`` px, in the middle of a white square.

    An array is uint8 ``(height, width, 3)``.
    """
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(np.ascontiguousarray(picture))
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = small
    return square


def _read_on_square(path: Path, side: int) -> np.ndarray:
    with Image.open(path) as picture:
        picture.draft(None, (side, side))
        return on_square(picture, side)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process was faster
        return 0.0
