"""The pictures of the lake over HTTP: by hash, as they are kept or in one of a few sizes, and what an item's entry says of its own."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from corkboard.errors import NotFound, PictureRefused
from corkboard.feed.visual import Crop
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import decode
from corkboard.lake.pictures.header import EXPECTED
from corkboard.lake.pictures.intake import WEB
from corkboard.lake.pictures.reading import Pictures
from corkboard.lake.pictures.store import PictureStore, hash_named, hash_of
from corkboard.serving.problems import Problem

SIDES = (96, 160, 240, 320, 480)
"""Sizes that a picture is made in, its longer side in px. Others are not, so that nobody fills the cache with sizes."""
_QUALITY = 85
_MOST_KNOWN = 200_000
"""Pictures whose width and height are remembered."""


@dataclass(frozen=True)
class Upload:
    """A picture that came with a request: ``rgb`` is uint8 ``(height, width, 3)``, upright, ``hash`` the sha256 of its file."""

    rgb: np.ndarray
    hash: str


@dataclass(frozen=True)
class Served:
    """A picture as it is answered."""

    data: bytes
    media_type: str
    tag: str


class Images:
    """Reads the pictures of one lake. Threads may share it; ``cache_bytes`` bounds what is kept of smaller sizes."""

    def __init__(self, lake_folder: Path, cache_bytes: int = 32 << 20):
        self._folder, self._cache_bytes = lake_folder, cache_bytes
        self._store = PictureStore(lake_folder)
        self._sizes: dict[str, tuple[int, int]] = {}
        self._small: OrderedDict[tuple[str, int], Served] = OrderedDict()
        self._small_bytes = 0
        self._fetched: Pictures | None = None
        self._fetched_stamp = 0
        self._lock = threading.Lock()

    # --------------------------------------------------------------------------------------------------- what items show

    def shown(self, images: Sequence[str]) -> dict[str, Any]:
        """``image``, ``image_width`` and ``image_height`` of an item's entry: the address here of its main picture, with the size that is
        kept of it; where the lake holds none, the first address elsewhere as it is."""
        found = self.main(images)
        size = None if found is None else self._size(found)
        if size is not None:
            return {"image": f"/v1/images/{found}", "image_width": size[0], "image_height": size[1]}
        elsewhere = next((image for image in images if image.startswith(WEB)), None)
        return {"image": elsewhere, "image_width": None, "image_height": None}

    def main(self, images: Sequence[str]) -> str | None:
        """The hash of the first of an item's images that has a picture in the lake, as :meth:`.Pictures.main` has it; None for none."""
        hashes = (self._fetched_hash(image) if image.startswith(WEB) else hash_named(image) for image in images)
        return next((found for found in hashes if found is not None and self._size(found) is not None), None)

    def _fetched_hash(self, address: str) -> str | None:
        folder = self._folder / "pictures" / "fetched"
        try:
            stamp = folder.stat().st_mtime_ns
        except FileNotFoundError:  # nothing was ever fetched
            return None
        with self._lock:
            if self._fetched is None or stamp != self._fetched_stamp:
                self._fetched, self._fetched_stamp = Pictures(self._folder), stamp
            return self._fetched.hashes([address])[0]

    def _size(self, found: str) -> tuple[int, int] | None:
        """Width and height of what is kept; None where there is no such picture."""
        size = self._sizes.get(found)
        if size is None:
            size = self._read_size(found)
            if size is None:
                return None  # it may come yet
            if len(self._sizes) >= _MOST_KNOWN:
                self._sizes.clear()
            self._sizes[found] = size
        return size

    def _read_size(self, found: str) -> tuple[int, int] | None:
        try:
            with Image.open(self._store.path(found)) as image:
                return image.size
        except (OSError, NotFound):
            return None

    # ----------------------------------------------------------------------------------------------------------- answers

    def picture(self, wanted: str, side: str | None) -> Served:
        """The picture with the hash ``wanted``, its longer side at most ``side`` px. Raises :class:`Problem`: 404, 400 for another side."""
        if side is not None and side not in map(str, SIDES):
            raise Problem(400, "bad_input", "Pictures do not come in this size", found=side, expected=list(map(str, SIDES)))
        size = self._size(wanted)
        if size is None:
            raise Problem(404, "not_found", "The lake has no such picture", found=wanted, expected="the hash of a picture")
        if side is None or int(side) >= max(size):
            return self._whole(wanted)
        return self._smaller(wanted, int(side))

    def rgb(self, wanted: str) -> np.ndarray:
        """uint8 ``(height, width, 3)``: what is kept of a picture. Raises :class:`NotFound`."""
        return self._store.rgb(wanted)

    def _whole(self, wanted: str) -> Served:
        data, media_type = self._store.bytes(wanted)
        return Served(data, media_type, f'"{wanted}"')

    def _smaller(self, wanted: str, side: int) -> Served:
        key = wanted, side
        with self._lock:
            if key in self._small:
                self._small.move_to_end(key)
                return self._small[key]
        made = Served(_smaller(self._whole(wanted).data, side), "image/jpeg", f'"{wanted}-{side}"')
        with self._lock:
            if key not in self._small:
                self._small[key] = made
                self._small_bytes += len(made.data)
            while self._small_bytes > self._cache_bytes and self._small:
                _, old = self._small.popitem(last=False)
                self._small_bytes -= len(old.data)
        return made


def _smaller(data: bytes, side: int) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (side, side))
        small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    made = io.BytesIO()
    small.save(made, "JPEG", quality=_QUALITY, optimize=True)
    return made.getvalue()


def read_upload(data: memoryview, crop: Crop | None, limits: PictureLimits) -> Upload:
    """A picture that somebody sent, no larger than is needed to look at it, or at the part that ``crop`` names.

    Raises :class:`Problem`: 413 beyond the limit of bytes, 415 for what is not a picture of a kind that is taken, 400 for a broken one.
    """
    if len(data) > limits.max_bytes:
        raise Problem(413, "too_large", "The picture is too large", found=len(data), expected=f"at most {limits.max_bytes} bytes")
    file = bytes(data)
    share = 1.0 if crop is None else max(crop[2] - crop[0], crop[3] - crop[1])
    try:
        picture = decode(file, limits, int(limits.kept_side / max(share, 0.05)))
    except PictureRefused as error:
        of_no_kind = error.expected == EXPECTED and error.found is not None
        status, code = (415, "not_a_picture") if of_no_kind else (400, "bad_picture")
        raise Problem(status, code, error.message, error.found, error.expected, error.hint) from None
    return Upload(picture.rgb, hash_of(file))
