"""Looks: what is in a picture, which products look like each part of it, and which go with all of it.

Two surfaces. One shops a look: objects are found in a picture, and for each of them the products that look like it. The other completes a
look, a picture or a few products, with products of other categories. Neither knows the person: who asks with a picture asks for what is in
it. Rules about what may be shown hold as on every page, inside the search, and only what can be bought is found; what was seen or acted on
before may be shown again. Both are one page each, without a next one.

What is in the pictures of items was found by a build. A picture that is new is looked at once: its objects are remembered by the hash of
the picture, the version of the models and the part that counts.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from corkboard.errors import CorkboardError, InputError
from corkboard.feed.config import LookPageConfig
from corkboard.feed.page import LookedAt, Note, RecommendRequest, Shelf, note
from corkboard.feed.rules import Allowed
from corkboard.feed.visual import Crop, cropped
from corkboard.retrieval.catalogue import Catalogue

log = logging.getLogger("corkboard.feed")

SHOP_THE_LOOK = "shop_the_look"
"""The surface of products that look like what is in a picture, and the source of what is found on it."""
COMPLETE_THE_LOOK = "complete_the_look"
"""The surface of products that go with a look, and the source of what is found on it."""
LOOKS = (SHOP_THE_LOOK, COMPLETE_THE_LOOK)
MAX_ITEMS = 8
"""Products that one look can be made of."""
COMPATIBILITY = "compatibility"
"""What orders a page that completes a look, in its policy."""
VERY, _FAIRLY = 0.85, 0.6
"""Chances to be the same from which on a product looks very much like an object, and simply like it."""
_WHOLE = (0.0, 0.0, 1.0, 1.0)
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Objects:
    """What is in one picture; parallel, of length n."""

    boxes: np.ndarray
    """float32 ``(n, 4)``: left, top, right, bottom as shares of the picture that was looked at."""
    scores: np.ndarray
    """float32 ``(n,)`` in [0, 1]: how sure the detector is; 0 for a whole picture that was taken as one object."""
    categories: tuple[str | None, ...]
    """None where it is not known at all."""
    seconds: tuple[str | None, ...]
    """What each may be instead, where that is unclear."""
    held: Any = None
    """What the finder keeps of them, for its own :meth:`Finder.match`."""

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Matched:
    """The products that look like one object, most alike first."""

    rows: np.ndarray
    """int64 ``(m,)`` rows of the catalogue."""
    scores: np.ndarray
    """float32 ``(m,)`` in [0, 1]: what they are ordered by."""
    chances: np.ndarray
    """float32 ``(m,)`` in [0, 1]: that it is the same, or very similar, by its looks alone."""


@dataclass(frozen=True)
class Look:
    """What shall be completed: products, a picture, or both."""

    rows: np.ndarray
    """int64: catalogue rows of items that are in it."""
    objects: Objects | None = None
    """What is in the picture; None without one, and where nothing was found."""
    picture: Callable[[], np.ndarray | None] | None = None
    """Reads the picture, uint8 ``(height, width, 3)``; None without one."""
    name: tuple[Any, ...] = ()
    """What the picture is remembered by."""


@dataclass(frozen=True)
class Shelved:
    """Products of one category that go with a look, best first."""

    category: str
    rows: np.ndarray
    """int64 ``(m,)`` rows of the catalogue."""
    scores: np.ndarray
    """float32 ``(m,)``: how well they go with it."""
    reasons: tuple[str, ...]


class Finder(Protocol):
    """What finds objects in pictures, and products like them. Threads share it."""

    version: str
    """Over the models that find: what was found by another is not used."""

    def known(self, row: int) -> Objects | None:
        """What is in the picture of the item in a catalogue row, as a build found it; None where no build has looked."""
        ...

    def things(self, row: int) -> int:
        """How many objects that is; 0 for None."""
        ...

    def find(self, image: np.ndarray) -> Objects:
        """What is in uint8 ``(height, width, 3)``: detector and encoder, once each."""
        ...

    def whole(self, image: np.ndarray) -> Objects:
        """The picture as one object of no known category."""
        ...

    def match(self, objects: Objects, places: Sequence[int], allowed: np.ndarray, k: int) -> list[Matched]:
        """For each of the objects at ``places`` at most k products of those that ``allowed``, bool over catalogue rows, lets through, and
        that are alike enough."""
        ...

    def put(self, rows: Sequence[int], items: Sequence[Mapping[str, Any]], pictures: Path) -> None:
        """Make items findable that arrived live, by the pictures that lie in the lake at ``pictures``."""
        ...

    def drop(self, row: int) -> None:
        """The item in a catalogue row shows another picture by now."""
        ...


class Completer(Protocol):
    """What knows which products go together."""

    def complete(self, look: Look, wanted: str | None, allowed: np.ndarray, k: int) -> list[Shelved]:
        """Shelves of at most k of the products that ``allowed``, bool over catalogue rows, lets through: of the category ``wanted``, else
        of each that the look lacks. None of them is in the look."""
        ...


class Remembered(Generic[Thing]):
    """What was made of pictures, of the latest that were asked for. Threads may share it."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Any, ...], Thing] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...], find: Callable[[], Thing], most: int) -> Thing:
        """What is known under ``key``, else what ``find`` finds; at most ``most`` are kept."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = find()
        with self._lock:
            self._found[key] = found
            while len(self._found) > most:
                self._found.popitem(last=False)
        return found


@dataclass(frozen=True)
class LookSide:
    """What a release brings for both surfaces; ``notes`` say what is missing, on their pages alone."""

    finder: Finder | None = None
    completer: Completer | None = None
    notes: tuple[Note, ...] = ()
    complete_notes: tuple[Note, ...] = ()
    """What else is missing where a look shall be completed."""
    pictures: Path | None = None
    """The folder of the lake whose pictures items show; without it only pictures that a build has looked at are known."""
    remembered: Remembered[Objects] = field(default_factory=Remembered)

    def things(self, row: int) -> int:
        """How many things are known to be in the picture of the item in a catalogue row."""
        return 0 if self.finder is None or row < 0 else self.finder.things(row)

    def drop(self, row: int) -> None:
        """See :meth:`Finder.drop`."""
        if self.finder is not None:
            self.finder.drop(row)

    def put(self, rows: Sequence[int], items: Sequence[Mapping[str, Any]]) -> None:
        """See :meth:`Finder.put`. What cannot be looked at is left to the next build."""
        if self.finder is None or self.pictures is None:
            return
        try:
            self.finder.put(rows, items, self.pictures)
        except Exception:  # the item is there all the same
            log.exception("The pictures of live items could not be looked into")


@dataclass
class Found:
    """What a page of one of the surfaces shows: items once each, in order, and what they belong to."""

    rows: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    objects: tuple[LookedAt, ...] | None = None
    shelves: tuple[Shelf, ...] | None = None
    notes: list[Note] = field(default_factory=list)

    def show(self, rows: np.ndarray, scores: np.ndarray, reasons: Sequence[str]) -> None:
        """Put items on the page, but for those that stand on it already."""
        for row, score, reason in zip(rows.tolist(), scores.tolist(), reasons, strict=True):
            if row not in self.rows:
                self.rows.append(row)
                self.scores.append(score)
                self.reasons.append(reason)


def check_look(request: RecommendRequest) -> None:
    """Raises :class:`InputError` where surface, picture, items and category do not go together."""
    surface, several = request.surface, request.item_ids
    if surface != COMPLETE_THE_LOOK and (several or request.category is not None):
        what = "item_ids" if several else "category"
        raise InputError(f"This surface takes no {what}", found=surface, expected=COMPLETE_THE_LOOK)
    if surface not in LOOKS:
        return
    if request.cursor is not None:
        raise InputError("A look has one page", found="cursor", expected="no cursor")
    if several and (request.image is not None or request.item_id is not None):
        raise InputError("A look is one thing", found="item_ids and another", expected="item_ids, item_id or a picture")
    if len(several) > MAX_ITEMS:
        raise InputError("A look has fewer products", found=len(several), expected=f"at most {MAX_ITEMS} item_ids")
    if request.image is None and request.item_id is None and not several:
        expected = "image or item_id" if surface == SHOP_THE_LOOK else "image, item_id or item_ids"
        raise InputError("A look is a picture or made of products", expected=expected)
    if request.crop is not None and several:
        raise InputError("A crop is of a picture", expected="image, or the item_id of an item with one")


def look_rows(request: RecommendRequest, catalogue: Catalogue) -> tuple[int, np.ndarray, bool]:
    """The row of the item whose picture is the look, -1 for none; those of all items that are in it, int64; whether some are unknown."""
    row = -1 if request.item_id is None else catalogue.row(request.item_id)
    asked = [*request.item_ids, *([] if request.item_id is None else [request.item_id])]
    rows = catalogue.rows(list(dict.fromkeys(asked)))
    return row, rows[rows >= 0], bool((rows < 0).any())


def without_look(allowed: Allowed, rows: np.ndarray, catalogue: Catalogue) -> Allowed:
    """What is allowed and not in the look already."""
    rows = rows[rows < len(allowed.mask)]
    if not len(rows):
        return allowed
    mask, dropped = allowed.mask.copy(), dict(allowed.dropped)
    mask[rows] = False
    return Allowed(mask, {**dropped, "in_look": catalogue.ids_of(rows)})


# ------------------------------------------------------------------------------------------------------------ what is in it


@dataclass(frozen=True)
class _Seen:
    """A picture and what is in it; ``tried_whole`` where nothing was and it is taken as one object."""

    objects: Objects
    picture: Callable[[], np.ndarray | None]
    name: tuple[Any, ...]
    tried_whole: bool = False


def _seen(
    request: RecommendRequest, row: int, catalogue: Catalogue, side: LookSide, settings: LookPageConfig
) -> tuple[_Seen | None, list[Note]]:
    """What is in the picture that is asked with. Raises :class:`InputError` for a crop of nothing."""
    image = None if request.image is None else cropped(request.image, request.crop)
    if side.finder is None:
        return None, []
    known = side.finder.known(row) if image is None and request.crop is None and row >= 0 else None
    if known is not None and len(known):
        return _Seen(known, partial(_picture_of, catalogue.images(row), side.pictures), (row,)), []
    read = None
    if image is None and row >= 0:
        read = _picture_of(catalogue.images(row), side.pictures)
        image = read if read is None or request.crop is None else cropped(read, request.crop)
    if image is None:
        return None, [note("no_picture")] if row >= 0 else []
    finder, taken = side.finder, image
    name = request.image_hash or hashlib.sha256(np.ascontiguousarray(taken)).hexdigest()
    try:
        key = (name, taken.shape, request.crop, finder.version)
        found = side.remembered.get(key, lambda: finder.find(taken), settings.cached_uploads)
        if len(found):
            return _Seen(found, lambda: taken, key), []
        whole = side.remembered.get((*key, "whole"), lambda: finder.whole(taken), settings.cached_uploads)
    except Exception as error:  # a network of another version may fail in any way, and there is a page all the same
        log.exception("A picture could not be looked into")
        return None, [note("picture_failed", str(error))]
    return _Seen(whole, lambda: taken, key, tried_whole=True), []


def _picture_of(images: Sequence[str], folder: Path | None) -> np.ndarray | None:
    """uint8 ``(height, width, 3)``: the main picture of an item, None where the lake does not hold it any more."""
    if folder is None:
        return None
    from corkboard.lake.pictures.reading import Pictures

    try:
        pictures = Pictures(folder)
        main = next(filter(None, pictures.hashes(list(images))), None)
        return None if main is None else pictures.store.rgb(main)
    except (CorkboardError, OSError):
        return None


def _in_picture(box: np.ndarray, crop: Crop | None) -> Crop:
    """A box of the part that was looked at as one of the whole picture."""
    left, top, right, bottom = crop or _WHOLE
    wide, high = right - left, bottom - top
    shares = (left + wide * box[0], top + high * box[1], left + wide * box[2], top + high * box[3])
    return tuple(round(min(max(float(share), 0.0), 1.0), 6) for share in shares)  # type: ignore[return-value]


# ------------------------------------------------------------------------------------------------------------------ pages


def shop_look(
    request: RecommendRequest, row: int, allowed: np.ndarray, catalogue: Catalogue, side: LookSide, settings: LookPageConfig
) -> Found:
    """The products that look like each object of the picture that is asked with: the largest and surest objects first.

    ``row`` is that of the item whose picture it is, -1 for none, ``allowed`` bool over catalogue rows. A picture in which nothing is
    found is looked up as a whole. Raises :class:`InputError` for a crop of nothing.
    """
    seen, said = _seen(request, row, catalogue, side, settings)
    page = Found(objects=(), notes=[*side.notes, *said])
    if seen is None or side.finder is None:
        return page
    objects = seen.objects
    areas = np.prod(objects.boxes[:, 2:] - objects.boxes[:, :2], axis=1)
    places = np.argsort(-np.sqrt(np.maximum(areas, 0)) * objects.scores, kind="stable")[: settings.max_objects].tolist()
    try:
        matched = side.finder.match(objects, places, allowed, min(request.k, settings.max_products))
    except Exception as error:  # an index of another version may fail in any way
        log.exception("Products could not be looked up by a look")
        page.notes.append(note("no_looks", str(error)))
        return page
    groups = []
    for place, match in zip(places, matched, strict=True):
        if not len(match.rows):
            continue
        category = objects.categories[place] or catalogue.value("category", int(match.rows[0])) or "object"
        of_what = "the picture" if seen.tried_whole else f"the {category} in the picture"
        page.show(match.rows, match.scores, [_looks_like(of_what, chance) for chance in match.chances.tolist()])
        box = _in_picture(objects.boxes[place], request.crop)
        ids = tuple(catalogue.ids_of(match.rows))
        groups.append(LookedAt(box, category, objects.seconds[place], round(float(objects.scores[place]), 6), ids))
    page.objects = tuple(groups)
    if seen.tried_whole:
        page.notes.append(note("whole_picture" if groups else "no_objects"))
    elif len(groups) < len(places):
        page.notes.append(note("few_matches"))
    return page


def _looks_like(what: str, chance: float) -> str:
    """How alike a product is, in words."""
    how = "very much like" if chance >= VERY else "like" if chance >= _FAIRLY else "somewhat like"
    return f"Looks {how} {what}"


def complete_look(
    request: RecommendRequest,
    row: int,
    rows: np.ndarray,
    allowed: np.ndarray,
    catalogue: Catalogue,
    side: LookSide,
    settings: LookPageConfig,
) -> Found:
    """The products that go with the look, on a shelf a category.

    ``row`` is that of the item whose picture is the look, -1 for none; ``rows`` are those of all items in it. Raises :class:`InputError`
    for a crop of nothing.
    """
    page, seen = Found(shelves=(), notes=[*side.notes, *side.complete_notes]), None
    if side.completer is None:
        return page
    if request.image is not None or row >= 0:
        seen, said = _seen(request, row, catalogue, side, settings)
        page.notes += said
    if seen is None and not len(rows):
        return page
    look = Look(rows) if seen is None else Look(rows, None if seen.tried_whole else seen.objects, seen.picture, seen.name)
    if seen is not None and seen.tried_whole and not len(rows):
        page.notes.append(note("no_objects"))
        if request.category is None:
            return page
    try:
        shelves = side.completer.complete(look, request.category, allowed, min(request.k, settings.max_products))
    except Exception as error:  # a model of another version may fail in any way
        log.exception("A look could not be completed")
        page.notes.append(note("no_looks", str(error)))
        return page
    shelves = [shelf for shelf in shelves if len(shelf.rows)]
    for shelf in shelves:
        page.show(shelf.rows, shelf.scores, shelf.reasons)
    page.shelves = tuple(Shelf(shelf.category, tuple(catalogue.ids_of(shelf.rows))) for shelf in shelves)
    if not shelves:
        page.notes.append(note("empty_category", request.category or "of any that goes with it"))
    return page
