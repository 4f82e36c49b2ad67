"""Pictures with boxes in them: what the formats of annotations share.

A picture becomes an item, and a box becomes a row of ``objects``: the hash of the picture, shares of its sides, the name of the class.
Boxes are checked one by one. One that has no picture, no area or no known class, or lies outside of its picture, is refused with the place
where it stands.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import polars as pl
from PIL import Image

from corkboard.errors import InputError, PictureRefused
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.photos import picture_index, picture_sources
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import turn_of
from corkboard.lake.pictures.header import read_header
from corkboard.lake.pictures.sources import PictureSource
from corkboard.lake.pictures.store import SCHEME, hash_of
from corkboard.lake.refused import RefusedRow
from corkboard.lake.validate import show

BEYOND = 0.01
"""A box may reach so far beyond a side, as a share of it, and is cut there: tools round."""
_OBJECTS = {
    "item_id": pl.String,
    "image_hash": pl.String,
    "box": pl.List(pl.Float64),
    "category": pl.String,
    "source": pl.String,
    "time_ms": pl.Int64,
}

_QUARTERS = {
    Image.Transpose.TRANSPOSE: (False, False),
    Image.Transpose.ROTATE_270: (True, False),
    Image.Transpose.TRANSVERSE: (True, True),
    Image.Transpose.ROTATE_90: (False, True),
}
Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Annotation:
    """One box as a file tells it."""

    file: str
    row: int
    """From 1."""
    name: str
    """What the file calls the box."""
    picture: str | None
    """Its picture among :attr:`Album.names`, None where there is none."""
    called: object
    """What the file calls its picture."""
    corners: Corners
    """Left, top, right, bottom."""
    unit: Literal["share", "px"]
    category: str
    original: object
    size: tuple[float, float] | None = None
    """Width and height of the picture that px are of; None: those of its file."""

    def refusal(self, what: str, found: object, expected: str) -> RefusedRow:
        """Why it does not come in."""
        return refusal(self.file, self.row, what, found, expected, self.original)


def refusal(file: str, row: int, what: str, found: object, expected: str, original: object) -> RefusedRow:
    """A row of ``file`` that does not come in."""
    return RefusedRow(row, f"{file}: {what}", show(found), expected, original)


@dataclass(frozen=True)
class Album:
    """The pictures that annotations are of."""

    source: PictureSource
    origin: Path | None
    """The tar that they lie in, None for a folder."""

    @cached_property
    def names(self) -> list[str]:
        """Names of all pictures, sorted."""
        return self.source.names()

    @cached_property
    def index(self) -> dict[str, str]:
        """Every way to call a picture -> its name."""
        return picture_index(self.names)

    def find(self, called: str) -> str | None:
        """The picture that is called so: by path, file name, or file name without suffix."""
        return self.index.get(called) or self.index.get(PurePosixPath(called).name)

    @classmethod
    def best(cls, folders: Sequence[Path], called: Collection[str]) -> Album:
        """The pictures in one of ``folders``, or in a tar there, of which most are ``called`` for. Raises :class:`InputError`."""
        albums = [cls(source, origin) for folder in folders for source, origin in picture_sources(folder)]
        albums = [album for album in albums if album.names]
        if not albums:
            raise InputError(
                "There are no pictures beside the boxes", found=str(folders[0]), expected="pictures in a folder or a tar there"
            )
        return max(albums, key=lambda album: sum(album.find(one) is not None for one in called))


@dataclass
class Annotations:
    """What a format has read: boxes, rows that are none, and what was assumed."""

    source: str
    """Name of the format: what ``objects.source`` says."""
    album: Album
    boxes: list[Annotation]
    pictures: list[str]
    """Names of the pictures that become items."""
    refused: list[RefusedRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def imported(self) -> Imported:
        """Items and objects, with everything that was refused."""
        found = dict(_looked_at(self.album, self.pictures))
        ids = _item_ids(self.pictures)
        rows = [row for box in self.boxes if (row := self._object(box, found, ids)) is not None]
        items = pl.DataFrame({"item_id": [ids[name] for name in self.pictures], "images": [[name] for name in self.pictures]})
        items = items.with_columns(time_ms=pl.lit(0, pl.Int64))
        self.notes.insert(0, "A picture is an item, called as its file; a box is a row of objects. All are known from the beginning.")
        empty = len(self.pictures) - len({row["item_id"] for row in rows})
        if empty:
            self.notes.append(f"{empty:,} pictures have no box: their items come in without objects.")
        left = len(self.album.names) - len(self.pictures)
        if left > 0:
            self.notes.append(f"{left:,} pictures are not told of and were left out.")
        frames = {"items": items, "objects": pl.DataFrame(rows, schema=_OBJECTS)}
        order = sorted(self.refused, key=lambda one: (one.field.partition(":")[0], one.row))
        return Imported(frames, self.notes, pictures=self.album.source, refused=order)

    def _object(self, box: Annotation, found: dict[str, _Look], ids: dict[str, str]) -> dict[str, Any] | None:
        """The row of a box; None, and a refusal, where it is none."""
        look = found.get(box.picture) if box.picture is not None else None
        if look is None:
            self.refused.append(box.refusal("picture", box.called, "a picture in the folder or the tar"))
            return None
        if look.problem is not None:
            self.refused.append(box.refusal("picture", f"{box.called}: {look.problem}", "a whole picture"))
            return None
        corners = _upright_shares(box, look)
        if corners is None:
            expected = "numbers within the picture, left below right and top below bottom"
            self.refused.append(box.refusal(box.name, list(box.corners), expected))
            return None
        name = box.picture or ""
        facts = {"item_id": ids[name], "image_hash": look.hash, "box": list(corners), "category": box.category}
        return {**facts, "source": self.source, "time_ms": 0}


@dataclass(frozen=True)
class _Look:
    """A first look at the bytes of a picture."""

    hash: str
    size: tuple[float, float]
    """Width and height upright."""
    turn: Image.Transpose | None = None
    """A turn by a quarter, that makes what is stored upright."""
    problem: str | None = None


def _looked_at(album: Album, names: Sequence[str]) -> Iterator[tuple[str, _Look]]:
    limits = PictureLimits()
    for name, data in album.source.read(names, limits) if names else ():
        try:
            if isinstance(data, PictureRefused):
                raise data
            header = read_header(data, limits.max_frames)
            turn = _quarter_turn(data)
            size = (header.width, header.height) if turn is None else (header.height, header.width)
            yield name, _Look(f"{SCHEME}{hash_of(data)}", size, turn)
        except PictureRefused as refused:
            yield name, _Look("", (1, 1), problem=str(refused).splitlines()[0])


def _quarter_turn(data: bytes) -> Image.Transpose | None:
    """The turn that makes a picture upright where that swaps its sides."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            turn = turn_of(image)
    except OSError:  # what is broken is refused when it comes in
        return None
    return turn if turn in _QUARTERS else None


def _upright_shares(box: Annotation, look: _Look) -> Corners | None:
    """Shares of the upright picture. Where px are told of a picture with the sides of the stored one, they are turned with it."""
    shares = _shares(box.corners, None if box.unit == "share" else box.size or look.size)
    as_stored = box.unit == "px" and box.size == look.size[::-1] != look.size
    if shares is None or look.turn is None or not as_stored:
        return shares
    left, top, right, bottom = shares
    across, down = _QUARTERS[look.turn]  # whether what becomes the left side, and the top, is counted from the other end
    x = (1 - bottom, 1 - top) if across else (top, bottom)
    y = (1 - right, 1 - left) if down else (left, right)
    return (x[0], y[0], x[1], y[1])


def _shares(corners: Corners, size: tuple[float, float] | None) -> Corners | None:
    """Corners as shares of the picture, cut at its sides; None where they are no box in it. ``size`` None: they are shares already."""
    wide, tall = size or (1.0, 1.0)
    if not all(math.isfinite(value) for value in corners) or min(wide, tall) <= 0:
        return None
    shares = (corners[0] / wide, corners[1] / tall, corners[2] / wide, corners[3] / tall)
    if min(shares) < -BEYOND or max(shares) > 1 + BEYOND:
        return None
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in shares)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _item_ids(names: Sequence[str]) -> dict[str, str]:
    """Picture -> the id of its item: the file name without suffix, with its folders where two are called so."""
    stems = [PurePosixPath(name).stem for name in names]
    twice = {stem for stem in stems if stems.count(stem) > 1} if len(set(stems)) < len(stems) else set()
    return {name: str(PurePosixPath(name).with_suffix("")) if stem in twice else stem for name, stem in zip(names, stems, strict=True)}


def numbers(values: object, count: int) -> tuple[float, ...] | None:
    """``count`` numbers of a list, None where it has others. A truth value is no number."""
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return None
    try:
        return tuple(float(value) for value in values)
    except OverflowError:  # a whole number of hundreds of digits
        return None
