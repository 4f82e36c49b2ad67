"""The visual surface: items whose pictures look like a picture, or like a part of one, in the order of how alike they are.

The picture is one that came with the request, or that of an item. It is encoded by the release's own encoder and looked up in the release's
binary index (:mod:`corkboard.retrieval.binary_index`). Nobody ranks such a page anew: who shows a picture asks for what looks like it,
whatever they usually like. Rules about what may be shown hold as on every page; what was seen or acted on before may be shown again.

Pictures are encoded by a build. An item that arrives live, or changes its picture, is encoded as it arrives where its picture lies in the
lake by then, and found by the next search; otherwise it is in the index from the next build on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from corkboard.artifacts import ItemList, Space
from corkboard.errors import InputError, NotFound
from corkboard.feed.config import SeenConfig
from corkboard.feed.page import Note, RecommendRequest, note
from corkboard.feed.rules import Allowed
from corkboard.lake.pictures.reading import on_square
from corkboard.retrieval.blend import Retrieved
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.catalogue import Catalogue

log = logging.getLogger("corkboard.feed")

VISUAL = "visual"
"""The surface, the source of what is found on it, and the role of the encoder in a release."""
VISUAL_INDEX = "visual_index"
"""The role of the index: codes and int8 vectors of the main pictures of items."""
EVERYTHING = SeenConfig(fatigue=0.0, window_days=0.0, acted_days=0.0)
"""On such a page nothing is left out for having been seen."""
_AT_ONCE = 1 << 16
_LIVE_AT_ONCE = 32
MIN_SIDE = 4
"""Shortest side of a picture, or a part of one, that can be asked with, in px."""

Crop = tuple[float, float, float, float]
"""Left, top, right and bottom of a part, as shares of the upright picture in [0, 1]."""


class Encoder(Protocol):
    """What the surface asks of the encoder of a release."""

    side: int
    """Side in px of the square pictures that it reads."""

    def features(self, images: np.ndarray) -> np.ndarray:
        """float32 ``(n, width)``: what it says of uint8 ``(n, side, side, 3)`` pictures."""
        ...

    def vectors_of(self, features: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors of features."""
        ...

    def codes_of(self, features: np.ndarray) -> np.ndarray:
        """uint8 ``(n, bits / 8)`` codes of features."""
        ...


class CodeIndex(Protocol):
    """What it asks of the index of a release. Rows are the index's own; row i is item ``ids[i]``."""

    ids: Sequence[str]
    space: Space
    """The space of what it holds; the encoder must make it."""

    @property
    def dim(self) -> int:
        """Width of the vectors that score again; 0 where it keeps codes alone."""
        ...

    def search(
        self, codes: np.ndarray, k: int, vectors: np.ndarray | None = None, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows int64 and scores float32 ``(q, k)``, best first, padded with -1 and -inf; ``allowed`` is bool over rows."""
        ...

    def codes_of(self, rows: np.ndarray) -> np.ndarray:
        """uint8 ``(len(rows), bits / 8)``; zeros for an item without a picture."""
        ...

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """float32 ``(len(rows), dim)``."""
        ...


@dataclass(frozen=True)
class Look:
    """What is looked for: ``codes`` uint8 ``(1, bytes)`` and ``vectors`` float32 ``(1, dim)``, and the row of the item whose picture it
    is, -1 for a picture that came with the request."""

    codes: np.ndarray
    vectors: np.ndarray
    beside: int = -1


class LiveCodes(Protocol):
    """What it asks of an index that pictures are added to: a search of the same kind, by rows that are its own and new ones."""

    def add(self, row: int, item_id: str, code: np.ndarray, vector: np.ndarray | None, space: Space) -> None:
        """Make a row findable, or replace what it shows."""
        ...

    def search(
        self, codes: np.ndarray, k: int, vectors: np.ndarray | None = None, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`CodeIndex.search`."""
        ...


class Pictured:
    """The index of a release in the rows of the catalogue, and what is put into it while it serves. Threads may share it.

    ``live`` is an overlay over ``index``. An item whose picture came later has the row ``len(index.ids) + its catalogue row`` in it.
    """

    def __init__(self, index: CodeIndex, catalogue: Catalogue, live: LiveCodes | None = None):
        self._index, self._live = index, live
        self._newer: dict[int, Look] = {}
        self._row_of = catalogue.rows(index.ids)
        self._place_of = np.full(len(catalogue), -1, np.int64)
        there = self._row_of >= 0
        for start in range(0, len(there), _AT_ONCE):
            there[start : start + _AT_ONCE] &= index.codes_of(np.arange(start, min(start + _AT_ONCE, len(there)))).any(axis=1)
        places = np.flatnonzero(there)
        self._place_of[self._row_of[places]] = places

    def __len__(self) -> int:
        return int(np.count_nonzero(self._place_of >= 0)) + len(self._newer)

    @property
    def space(self) -> Space:
        """The space of the index."""
        return self._index.space

    @property
    def takes(self) -> bool:
        """Whether pictures can be put into it."""
        return self._live is not None

    def mask(self, n: int) -> np.ndarray:
        """bool ``(n,)`` over catalogue rows: the items that have a picture here."""
        there = np.zeros(n, bool)
        known = min(n, len(self._place_of))
        there[:known] = self._place_of[:known] >= 0
        newer = np.array([row for row in self._newer.copy() if row < n], np.int64)
        there[newer] = True
        return there

    def put(self, row: int, item_id: str, look: Look) -> None:
        """The item in a catalogue row looks like this from now on."""
        if self._live is None:
            return
        self.drop(row)
        vector = look.vectors if self._index.dim else None
        self._live.add(len(self._row_of) + row, item_id, look.codes, vector, self.space)
        self._newer[row] = look

    def drop(self, row: int) -> None:
        """The item shows another picture by now: it is found again when that one is encoded."""
        if 0 <= row < len(self._place_of):
            self._place_of[row] = -1
        self._newer.pop(row, None)

    def look_of(self, row: int) -> Look | None:
        """The picture of the item in a catalogue row; None where none is known."""
        newer = self._newer.get(row)
        if newer is not None:
            return Look(newer.codes, newer.vectors, row)
        place = self._place_of[row : row + 1].copy() if row >= 0 else self._place_of[:0]  # a thread may drop it meanwhile
        if not len(place) or place[0] < 0:
            return None
        return Look(self._index.codes_of(place), self._index.vectors_of(place), row)

    def nearest(self, look: Look, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Catalogue rows int64 and scores float32 of at most k items that ``allowed``, bool over catalogue rows, lets through."""
        frozen = len(self._row_of)
        places = self._place_of[np.flatnonzero(allowed[: len(self._place_of)])]  # read once: a thread may drop one meanwhile
        places = places[places >= 0]
        newer = np.array([row for row in self._newer.copy() if row < len(allowed) and allowed[row]], np.int64)
        inside = np.zeros(frozen + (int(newer.max()) + 1 if len(newer) else 0), bool)
        inside[places] = inside[frozen + newer] = True
        count = min(k, len(places) + len(newer))
        if not count:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        index = self._live if self._live is not None and len(newer) else self._index
        found, scores = index.search(look.codes, count, look.vectors if self._index.dim else None, inside)
        there = found[0] >= 0
        rows = found[0][there]
        rows = np.where(rows < frozen, self._row_of[np.minimum(rows, frozen - 1)], rows - frozen) if frozen else rows
        return rows, scores[0][there].astype(np.float32)


class LazyEncoder:
    """An encoder that is loaded when it is first asked: pages of other surfaces do without PyTorch."""

    def __init__(self, load: Callable[[], Encoder]):
        self._load = load
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()

    def loaded(self) -> Encoder:
        """The encoder itself, for others who read with it."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load()
            return self._encoder

    def look(self, image: np.ndarray, beside: int = -1) -> Look:
        """What ``image``, uint8 ``(height, width, 3)``, looks like."""
        return self.looks([image], [beside])[0]

    def looks(self, images: Sequence[np.ndarray], beside: Sequence[int]) -> list[Look]:
        """The same of several, with the row of the item that shows each, read together."""
        encoder = self.loaded()
        with self._lock:
            features = encoder.features(np.stack([on_square(image, encoder.side) for image in images]))
            codes, vectors = encoder.codes_of(features), encoder.vectors_of(features)
        return [Look(codes[n : n + 1], vectors[n : n + 1], row) for n, row in enumerate(beside)]


@dataclass(frozen=True)
class VisualSide:
    """What a release brings for the surface; ``notes`` say what is missing, on pages of this surface alone."""

    pictured: Pictured | None = None
    encoder: LazyEncoder | None = None
    notes: tuple[Note, ...] = ()
    pictures: Path | None = None
    """The folder of the lake whose pictures items show; None leaves what arrives live to the next build."""

    def drop(self, row: int) -> None:
        """See :meth:`Pictured.drop`."""
        if self.pictured is not None:
            self.pictured.drop(row)

    def put(self, rows: Sequence[int], items: Sequence[Mapping[str, Any]]) -> None:
        """Look at the main pictures of items at catalogue rows, those that are not known yet and lie in the lake. One that cannot be read
        is left to the next build."""
        if self.pictured is None or self.encoder is None or self.pictures is None or not self.pictured.takes:
            return
        known = self.pictured.mask(max(rows, default=-1) + 1)
        unknown = [(row, item) for row, item in zip(rows, items, strict=True) if row >= 0 and not known[row] and item.get("images")]
        try:
            for start in range(0, len(unknown), _LIVE_AT_ONCE):
                self._look_at(unknown[start : start + _LIVE_AT_ONCE], self.pictured, self.encoder, self.pictures)
        except Exception:  # the item is there all the same
            log.exception("The pictures of live items could not be looked at")

    @staticmethod
    def _look_at(items: Sequence[tuple[int, Mapping[str, Any]]], pictured: Pictured, encoder: LazyEncoder, folder: Path) -> None:
        from corkboard.lake.pictures.reading import Pictures

        pictures, found = Pictures(folder), []
        for row, item in items:
            main = next(filter(None, pictures.hashes(list(item["images"]))), None)
            if main is not None:
                found.append((row, str(item["item_id"]), pictures.store.rgb(main)))
        if found:
            looks = encoder.looks([rgb for *_, rgb in found], [row for row, *_ in found])
            for (row, item_id, _), look in zip(found, looks, strict=True):
                pictured.put(row, item_id, look)


def asked_row(request: RecommendRequest, catalogue: Catalogue) -> tuple[int, bool]:
    """The row of the item whose picture is asked with, -1 for none, and whether it should be one that is unknown.

    Raises :class:`InputError` where there is neither a picture nor an item, and for a picture on another surface.
    """
    if request.surface != VISUAL:
        if request.image is not None or request.crop is not None:
            raise InputError("This surface takes no picture", found=request.surface, expected=VISUAL)
        return -1, False
    if request.image is None and request.item_id is None:
        raise InputError("A visual page looks like a picture", expected="image, or the item_id of an item with one")
    if request.image is None and request.crop is not None:
        raise InputError("A crop is of a picture", expected="image")
    row = -1 if request.item_id is None else catalogue.row(request.item_id)
    return row, request.item_id is not None and row < 0


def look_for(request: RecommendRequest, row: int, side: VisualSide) -> tuple[Look | None, list[Note]]:
    """What the items of a page shall look like, and notes. None is a page that cannot tell: it degrades to the next best thing.

    ``row`` is that of the item whose picture is asked with, -1 for none. Raises :class:`InputError` for a crop of nothing.
    """
    image = None if request.image is None else cropped(request.image, request.crop)
    if side.pictured is None:
        return None, list(side.notes)
    if image is None:
        look = side.pictured.look_of(row)
        return look, [note("no_picture")] if look is None and row >= 0 else []
    if side.encoder is None:
        return None, list(side.notes)
    try:
        return side.encoder.look(image, row), []
    except Exception as error:  # a network of another version may fail in any way, and there is a page all the same
        log.exception("A picture could not be encoded")
        return None, [note("picture_failed", str(error))]


def alike(look: Look, pictured: Pictured, asked: CandidateRequest, k: int) -> Retrieved:
    """At most k allowed items, the most alike first. Nothing fills the list up: what does not look like it is no answer."""
    rows, scores = pictured.nearest(look, k, asked.allowed)
    items = ItemList(asked.catalogue.ids_of(rows), scores, [(VISUAL,)] * len(rows))
    by_source = (1 / (1 + np.arange(len(rows), dtype=np.float32)))[:, None]
    return Retrieved(items, rows, np.full(len(rows), look.beside, np.int64), by_source, (VISUAL,), [])


def only_pictured(allowed: Allowed, pictured: Pictured) -> Allowed:
    """What is allowed and has a picture."""
    return Allowed(allowed.mask & pictured.mask(len(allowed.mask)), allowed.dropped)


def stored_hash(images: Sequence[str]) -> str | None:
    """The first hash among an item's images; an address is not looked up here."""
    from corkboard.lake.pictures.store import hash_named

    return next(filter(None, map(hash_named, images)), None)


def read_picture(file: Path) -> np.ndarray:
    """uint8 ``(height, width, 3)``: the picture in a file, upright. Raises :class:`NotFound`, :class:`PictureRefused`."""
    from corkboard.lake.pictures.config import PictureLimits
    from corkboard.lake.pictures.decode import decode

    limits = PictureLimits()
    try:
        with file.open("rb") as opened:
            data = opened.read(limits.max_bytes + 1)
    except OSError as error:
        raise NotFound("There is no picture to read", found=str(file), hint=error.strerror) from None
    return decode(data, limits).rgb


def parse_crop(text: str) -> Crop:
    """The crop in "x0,y0,x1,y1". Raises :class:`InputError`."""
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise _bad_crop(text) from None
    return checked_crop((left, top, right, bottom))


def checked_crop(crop: Crop) -> Crop:
    """``crop``. Raises :class:`InputError` where it is no part of a picture."""
    left, top, right, bottom = crop
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):  # also where one is not a number
        raise _bad_crop(",".join(f"{share:g}" for share in crop))
    return crop


def _bad_crop(found: str) -> InputError:
    expected = "x0,y0,x1,y1 as shares of the picture: 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1"
    return InputError("This is no part of a picture", found=found, expected=expected)


def cropped(image: np.ndarray, crop: Crop | None) -> np.ndarray:
    """The part of uint8 ``(height, width, 3)`` that ``crop`` names, whole px; a view. Raises :class:`InputError` where little is left."""
    if crop is not None:
        left, top, right, bottom = checked_crop(crop)
        height, width = image.shape[:2]
        image = image[int(top * height) : int(np.ceil(bottom * height)), int(left * width) : int(np.ceil(right * width))]
    if min(image.shape[:2]) < MIN_SIDE:
        raise InputError("The picture is too small", found=f"{image.shape[1]} x {image.shape[0]} px", expected=f"{MIN_SIDE} px a side")
    return image
