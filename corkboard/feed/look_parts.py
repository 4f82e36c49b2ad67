"""The parts of a release behind looks, in the rows of the catalogue: objects, index and matcher, and the models of what goes together.

Nothing of this is imported, and no model loaded, before a release has the parts and somebody comes with a picture that no build has seen.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact
from corkboard.errors import CorkboardError, NotFound
from corkboard.feed.looks import Look, LookSide, Matched, Objects, Remembered, Shelved
from corkboard.feed.page import Note, note
from corkboard.feed.visual import LazyEncoder
from corkboard.lake.schema import TABLES
from corkboard.retrieval.catalogue import Catalogue
from corkboard.shopping.config import ShoppingConfig, ShopTheLookConfig

if TYPE_CHECKING:
    from corkboard.retrieval.item_stats import ItemStats
    from corkboard.shopping.complete_config import CompleteTheLookConfig
    from corkboard.shopping.complete_the_look import CompleteTheLook
    from corkboard.shopping.look_index import LookIndex
    from corkboard.shopping.matcher import LookMatcher
    from corkboard.shopping.objects import FoundObjects
    from corkboard.shopping.outfit_model import OutfitModel
    from corkboard.shopping.scene_model import SceneModel
    from corkboard.vision.appearance import Appearance
    from corkboard.vision.detection import PictureDetector

log = logging.getLogger("corkboard.feed")

OBJECTS, LOOK_INDEX, LOOK_MATCHER = "objects", "look_index", "look_matcher"
"""The roles of what shops a look."""
OUTFITS, OUTFIT_MODEL, SCENE_MODEL, APPEARANCES = "outfits", "outfit_model", "scene_model", "appearances"
"""The roles of what completes one."""
_SCENES_KEPT = 64
"""Scenes whose maps are remembered, some 20 kB each."""
_LIVE_AT_ONCE = 16
_UNSURE = 0.2
"""A second category is spoken of where the first leads it by less."""

Part = TypeVar("Part")


@dataclass(frozen=True)
class Looking:
    """How looks are shopped and completed."""

    shopping: ShoppingConfig = field(default_factory=ShoppingConfig)
    detector: str = ""
    """The file of the detector of pictures that no build has seen; empty: the built-in one."""

    def load_detector(self) -> PictureDetector:
        """Raises :class:`NotFound` where there is none."""
        module = import_module("corkboard.vision.detector")
        return module.load_detector(Path(self.detector)) if self.detector else module.built_in_detector()


class Load(Protocol):
    """Loads the part of a role; None, with a note, where it is missing or does not read."""

    def __call__(self, role: str, load: Callable[[Artifact], Part], notes: list[Note], missing: str | None) -> Part | None: ...


class _WholePicture:
    """A detector that takes every picture for one object of a category that no catalogue has."""

    class_names = ("",)
    version = "whole picture"

    def detect(self, images: Sequence[np.ndarray]) -> list[Any]:
        """One box a picture, that nothing is sure of."""
        detections = import_module("corkboard.vision.detection").Detections
        box = np.array([[0, 0, 1, 1]], np.float32)
        return [detections(box, np.zeros(1, np.float32), np.ones((1, 1), np.float32)) for _ in images]


class LookFinder:
    """Objects, index and matcher of a release over one catalogue; see :class:`corkboard.feed.looks.Finder`."""

    def __init__(
        self,
        index: LookIndex,
        matcher: LookMatcher,
        catalogue: Catalogue,
        objects: FoundObjects | None = None,
        encoder: LazyEncoder | None = None,
        detector: Callable[[], PictureDetector] = Looking().load_detector,
        stats: ItemStats | None = None,
        config: ShopTheLookConfig | None = None,
    ):
        from corkboard.shopping.matcher import Appeal

        self._index = index.placed(catalogue.rows(index.ids))
        self._matcher, self._catalogue, self._objects, self._encoder = matcher, catalogue, objects, encoder
        self._load_detector = detector
        self._detector: PictureDetector | None = None
        self._settings = config or ShopTheLookConfig()
        self._appeal = None if stats is None else Appeal.of(stats, catalogue.ids[: catalogue.frozen])
        self._gone: set[int] = set()
        self._live: dict[int, FoundObjects] = {}
        self._searched: LookIndex | None = None
        self._lock = threading.Lock()

    # ----------------------------------------------------------------------------------------------------- what is in pictures

    @property
    def version(self) -> str:
        """That of the detector; a release has one encoder."""
        return self._seeing().version

    def _seeing(self) -> PictureDetector:
        with self._lock:
            if self._detector is None:
                self._detector = self._load_detector()
            return self._detector

    def _read(self, images: Sequence[np.ndarray], detector: Any) -> list[FoundObjects]:
        """Raises :class:`NotFound` without an encoder, and :class:`SpaceMismatch` with one of another space than the index."""
        if self._encoder is None:
            raise NotFound("The release cannot encode what is in a picture", expected="an encoder of pictures")
        encoder = self._encoder.loaded()
        with self._lock:
            found = import_module("corkboard.shopping.objects").objects_in(images, detector, encoder, self._settings.objects)
        for one in found:
            self._index.space.require(one.space)
        return found

    def known(self, row: int) -> Objects | None:
        """What a build found in the picture of an item; None for nothing, and for one that shows another picture by now."""
        if self._objects is None or row in self._gone:
            return None
        found = self._objects.of_item(self._catalogue.ids[row])
        return _plain(found) if len(found) else None

    def things(self, row: int) -> int:
        """See :meth:`corkboard.feed.looks.Finder.things`."""
        known = self._objects is not None and row not in self._gone and 0 <= row < self._catalogue.frozen
        return self._objects.count_of(self._catalogue.ids[row]) if known else 0

    def find(self, image: np.ndarray) -> Objects:
        """See :meth:`corkboard.feed.looks.Finder.find`."""
        return _plain(self._read([image], self._seeing())[0])

    def whole(self, image: np.ndarray) -> Objects:
        """See :meth:`corkboard.feed.looks.Finder.whole`."""
        return _plain(self._read([image], _WholePicture())[0])

    # ------------------------------------------------------------------------------------------------------- what is like them

    def match(self, objects: Objects, places: Sequence[int], allowed: np.ndarray, k: int) -> list[Matched]:
        """See :meth:`corkboard.feed.looks.Finder.match`."""
        from corkboard.shopping.shop_the_look import shop_the_look
        from corkboard.shopping.similarity_gate import sigmoid

        asked, merchants = objects.held.take(places), self._catalogue.codes("merchant_id")
        options = {"appeal": self._appeal, "merchants": merchants, "config": self._settings}
        answer = shop_the_look(asked, self._current(), self._matcher, allowed, k, **options)
        nothing = Matched(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))
        found = [nothing] * len(places)
        for shelf in answer.shelves:
            found[shelf.object] = Matched(shelf.rows, sigmoid(shelf.scores).astype(np.float32), shelf.probability)
        return found

    # ------------------------------------------------------------------------------------------------------ what arrives live

    def put(self, rows: Sequence[int], items: Sequence[Mapping[str, Any]], pictures: Path) -> None:
        """See :meth:`corkboard.feed.looks.Finder.put`; what the index has already, and what is not sold, is left as it is."""
        if self._encoder is None:
            return
        from corkboard.embeddings.product_inputs import products_of
        from corkboard.lake.pictures.reading import Pictures

        here = set(self._current().rows.tolist())
        frame = pl.DataFrame([{name: item.get(name) for name in TABLES["items"].schema} for item in items], TABLES["items"].schema)
        row_of = {item["item_id"]: row for row, item in zip(rows, items, strict=True) if row >= 0 and row not in here}
        sold, lake = products_of(frame).filter(pl.col("item_id").is_in(list(row_of))), Pictures(pictures)
        waiting = list(lake.main(sold.select("item_id", "images")).iter_rows())
        category = dict(sold.select("item_id", "category").iter_rows())
        for start in range(0, len(waiting), _LIVE_AT_ONCE):
            some = waiting[start : start + _LIVE_AT_ONCE]
            images = [lake.store.rgb(name) for _, name in some]
            seen = self._read(images, self._seeing())
            whole = self._read(images, _WholePicture())
            for (item_id, name), found, all_of_it in zip(some, seen, whole, strict=True):
                shown = _product(found, all_of_it, category[item_id])
                said = {"item_id": pl.lit(item_id), "image_hash": pl.lit(name), "sold": pl.lit(True), "category": pl.lit(category[item_id])}
                if category[item_id] is None:
                    said.pop("category")
                self._live[row_of[item_id]] = replace(shown, table=shown.table.with_columns(**said))
        self._searched = None

    @property
    def gone(self) -> list[int]:
        """Catalogue rows of items that show another picture than the one that a build has looked at."""
        return list(self._gone)

    def drop(self, row: int) -> None:
        """See :meth:`corkboard.feed.looks.Finder.drop`."""
        self._gone.add(row)
        self._live.pop(row, None)
        self._searched = None

    def _current(self) -> LookIndex:
        """The index without what shows another picture by now, and with what arrived; made again after either."""
        index = self._searched
        if index is None:
            live, gone = self._live.copy(), list(self._gone)
            index = self._index.placed(np.where(np.isin(self._index.rows, gone), -1, self._index.rows)) if gone else self._index
            index = _with_live(index, live) if live else index
            self._searched = index
        return index


def _plain(found: FoundObjects) -> Objects:
    """What a page says of objects."""
    table = found.table
    categories = tuple(name or None for name in table["category"])
    sure = (table["posterior"] - table["second_posterior"]).to_list()
    seconds = tuple(name if lead < _UNSURE else None for name, lead in zip(table["second_category"], sure, strict=True))
    return Objects(found.boxes, table["score"].to_numpy(), categories, seconds, found)


def _product(found: FoundObjects, whole: FoundObjects, category: str | None) -> FoundObjects:
    """Of the picture of a product the product itself: the surest of its category, or of any, or the whole picture."""
    same = np.flatnonzero((found.table["category"] == category).fill_null(False).to_numpy()) if category is not None else []
    if len(same):
        return found.take(same[:1])
    return found.take([0]) if len(found) else whole


def _with_live(index: LookIndex, live: Mapping[int, FoundObjects]) -> LookIndex:
    """An index with more products in it, those of one category side by side again."""
    parts = [index.products, *live.values()]
    categories = [part.table["category"][0] for part in live.values()]
    codes = np.concatenate([index.category, [index.number_of.get(name, -1) for name in categories]]).astype(np.int32)
    rows = np.concatenate([index.rows, np.array(list(live), np.int64)])
    order = np.argsort(np.where(codes < 0, len(index.names), codes), kind="stable")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in ("vectors8", "scales", "codes", "colours")}
    products = replace(parts[0], table=pl.concat([part.table for part in parts])[order], **arrays)
    return replace(index, products=products, category=codes[order], rows=rows[order])


# ------------------------------------------------------------------------------------------------------ what goes together


class LookCompleter:
    """What a release knows of what goes together; see :class:`corkboard.feed.looks.Completer`.

    Products that arrived live are suggested from the next build on, and so are those that show another picture by now. ``appearances`` are
    those of the objects of each item, in their order; what came with a request is looked at for them.
    """

    def __init__(
        self,
        finder: LookFinder,
        answers: CompleteTheLook,
        encoder: LazyEncoder | None = None,
        appearances: Mapping[str, Sequence[Appearance]] | None = None,
    ):
        self._finder, self._answers, self._encoder, self._appearances = finder, answers, encoder, appearances or {}
        self._scenes = answers.scene_model
        self._seen = Remembered[list["Appearance"]]()
        self._place_of = {row: place for place, row in enumerate(answers.index.rows.tolist()) if row >= 0}
        self._maps = Remembered[np.ndarray]()

    def complete(self, look: Look, wanted: str | None, allowed: np.ndarray, k: int) -> list[Shelved]:
        """See :meth:`corkboard.feed.looks.Completer.complete`."""
        from corkboard.shopping.complete_the_look import NO_LOOK
        from corkboard.shopping.complete_the_look import Look as Given

        index = self._answers.index
        places = [self._place_of[row] for row in look.rows.tolist() if row in self._place_of]
        names, vectors = [self._answers.names[place] for place in places], [index.products.vectors[places]]
        ids: list[str | None] = [index.ids[place] for place in places]
        looks = [next(iter(self._appearances.get(index.ids[place], ())), NO_LOOK) for place in places]
        scene, objects = None, None if look.objects is None else look.objects.held
        # of a product's picture one object is known, and that is the product
        if objects is not None and (len(objects) > 1 or not places):
            names += objects.table["category"].to_list()
            vectors.append(objects.vectors)
            ids += [None] * len(objects)
            looks += self._looks(look, objects) or [NO_LOOK] * len(objects)
            scene = self._map(look)
        if not names and scene is None:
            return []
        shown = allowed.copy()
        gone = [row for row in self._finder.gone if row < len(shown)]
        shown[gone] = False
        given = Given([name or "" for name in names], np.concatenate(vectors), ids, appearances=looks, scene=scene)
        shelves = self._answers.shelves(given, k, shown, wanted)
        return [Shelved(shelf.category, shelf.rows, shelf.scores, tuple(shelf.reasons)) for shelf in shelves]

    def _looks(self, look: Look, objects: FoundObjects) -> Sequence[Appearance]:
        """How each of the objects of a picture looks; none where nobody can tell."""
        known = self._appearances.get(objects.table["item_id"][0], ())
        if len(known) == len(objects):
            return known
        image = None if not self._appearances or look.picture is None else look.picture()
        if image is None:
            return []
        try:
            return self._seen.get(look.name, lambda: _appearances_in(image, objects), _SCENES_KEPT)
        except CorkboardError as error:  # a copy of the package without what tells patterns
            log.info("How the objects of a picture look cannot be told: %s", error)
            return []

    def _map(self, look: Look) -> np.ndarray | None:
        """What the trunk sees in each region of the scene; None where no model reads it, or the picture is gone."""
        image = None if self._scenes is None or self._encoder is None or look.picture is None else look.picture()
        if image is None:
            return None
        from corkboard.shopping.scene_model import scene_maps

        trunk, settings = self._encoder.loaded().trunk, self._scenes.settings
        return self._maps.get(look.name, lambda: scene_maps(trunk, [image], settings)[0], _SCENES_KEPT)


def _appearances_in(image: np.ndarray, objects: FoundObjects) -> list[Appearance]:
    """Raises :class:`NotFound` without the heads that come with the package."""
    from corkboard.shopping.config import ObjectsConfig
    from corkboard.shopping.objects import crop, enlarged
    from corkboard.vision.appearance import SIDE, built_in_reader

    margin = ObjectsConfig().margin
    return built_in_reader().read([crop(image, enlarged(box, margin), SIDE) for box in objects.boxes])


# ---------------------------------------------------------------------------------------------------------------- the parts


def look_side(
    load: Load,
    catalogue: Catalogue,
    encoder: LazyEncoder | None,
    stats: ItemStats | None,
    lake: Path | None,
    looking: Looking | None = None,
) -> LookSide:
    """What a release has for looks. ``lake`` is the folder whose pictures its items show."""
    looking = looking or Looking()
    notes: list[Note] = []
    index = load(LOOK_INDEX, _indexed, notes, "no_looks")
    matcher = None if index is None else load(LOOK_MATCHER, _matcher, notes, "no_looks")
    if index is None or matcher is None:
        return LookSide(notes=tuple(notes) or (note("no_looks"),))
    objects = load(OBJECTS, _objects, notes, None)
    finder = LookFinder(index, matcher, catalogue, objects, encoder, looking.load_detector, stats, looking.shopping.shop_the_look)
    said: list[Note] = []
    completer = _completer(load, catalogue, index, finder, encoder, said, looking.shopping.complete_the_look)
    return LookSide(finder, completer, tuple(notes), tuple(said), lake)


def _completer(
    load: Load,
    catalogue: Catalogue,
    index: LookIndex,
    finder: LookFinder,
    encoder: LazyEncoder | None,
    notes: list[Note],
    settings: CompleteTheLookConfig,
) -> LookCompleter | None:
    """None without outfits, or without both models."""
    outfits = load(OUTFITS, _outfits, notes, "no_looks")
    model = load(OUTFIT_MODEL, partial(_outfit_model, index), notes, None)
    scenes = load(SCENE_MODEL, _scene_model, notes, None)
    if outfits is None or (model is None and scenes is None):
        notes += [] if notes else [note("no_looks")]
        return None
    together, looks = import_module("corkboard.shopping.complete_the_look"), load(APPEARANCES, _appearances, notes, None) or {}
    placed = index.placed(catalogue.rows(index.ids))
    codes = catalogue.codes("merchant_id")
    merchants = np.array([codes[row] if row >= 0 else -1 for row in placed.rows.tolist()], np.int64)
    pairs = together.CategoryPairs(outfits, settings.least_together, settings.least_lift)
    shown = {item_id: looks[item_id][0] for item_id in index.ids if item_id in looks}
    return LookCompleter(finder, together.CompleteTheLook(placed, model, pairs, settings, scenes, merchants, shown), encoder, looks)


def _appearances(artifact: Artifact) -> dict[str, list[Appearance]]:
    """By item, in the order of its objects; none in an empty artefact."""
    found: dict[str, list[Appearance]] = {}
    if artifact.config.get("kind") == APPEARANCES:
        table = artifact.table(APPEARANCES)
        read = import_module("corkboard.vision.appearance").read_appearances(table)
        for item_id, one in zip(table["item_id"], read, strict=True):
            found.setdefault(item_id, []).append(one)
    return found


def _outfits(artifact: Artifact) -> pl.DataFrame | None:
    found = import_module("corkboard.shopping.outfits").Outfits.from_artifact(artifact)
    return found.frame if len(found) else None


def _outfit_model(index: LookIndex, artifact: Artifact) -> OutfitModel | None:
    """Raises :class:`SpaceMismatch` where it reads other vectors than those of the index."""
    if artifact.config.get("kind") == "none":
        return None
    model = import_module("corkboard.shopping.outfit_model").OutfitModel.from_artifact(artifact)
    model.visual.require(index.space)
    return model


def _scene_model(artifact: Artifact) -> SceneModel | None:
    return import_module("corkboard.shopping.scene_model").SceneModel.from_artifact(artifact)


def _indexed(artifact: Artifact) -> LookIndex | None:
    return import_module("corkboard.shopping.look_index").LookIndex.from_artifact(artifact)


def _matcher(artifact: Artifact) -> LookMatcher | None:
    return import_module("corkboard.shopping.matcher").LookMatcher.from_artifact(artifact)


def _objects(artifact: Artifact) -> FoundObjects | None:
    return import_module("corkboard.shopping.objects").FoundObjects.from_artifact(artifact)
