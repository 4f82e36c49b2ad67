"""The parts of a release behind looks, in the rows of the catalogue: objects, index and matcher, and the models of what goes together.

Nothing of this is imported, and no model loaded, before a release has the parts and somebody comes with a picture that no build has seen.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, Space
from corkboard.errors import CorkboardError, NotFound
from corkboard.feed.looks import VERY, Look, LookSide, Matched, Objects, Remembered, Shelved
from corkboard.feed.page import Note, note
from corkboard.feed.visual import LazyEncoder
from corkboard.lake.schema import TABLES
from corkboard.retrieval.catalogue import Catalogue
from corkboard.shopping.config import ShoppingConfig, ShopTheLookConfig

if TYPE_CHECKING:
    from corkboard.embeddings.visual import VisualEncoder
    from corkboard.lake.pictures.reading import Pictures
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

DETECTOR, OBJECTS, LOOK_INDEX, LOOK_MATCHER = "detector", "objects", "look_index", "look_matcher"
"""The roles of what shops a look."""
OUTFITS, OUTFIT_MODEL, SCENE_MODEL, APPEARANCES = "outfits", "outfit_model", "scene_model", "appearances"
"""The roles of what completes one."""
_SCENES_KEPT = 64
"""Scenes whose maps are remembered, some 20 kB each."""
_LIVE_AT_ONCE = 16

Part = TypeVar("Part")


@dataclass(frozen=True)
class Looking:
    """How looks are shopped and completed."""

    shopping: ShoppingConfig = field(default_factory=ShoppingConfig)
    detector: str = ""
    """The file of the detector of pictures that no build has seen; empty: the built-in one. A release that has learned one has its own."""

    def load_detector(self) -> PictureDetector:
        """Raises :class:`NotFound` where there is none."""
        module = import_module("corkboard.vision.detector")
        return module.load_detector(Path(self.detector)) if self.detector else module.built_in_detector()


class Load(Protocol):
    """Loads the part of a role; None, with a note, where it is missing or does not read."""

    def __call__(self, role: str, load: Callable[[Artifact], Part], notes: list[Note], missing: str | None) -> Part | None: ...


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
        self._gone: frozenset[int] = frozenset()
        self._live: dict[int, tuple[FoundObjects, str | None]] = {}
        self._searched: LookIndex | None = self._index
        self._lock, self._changes = threading.Lock(), threading.Lock()

    # ----------------------------------------------------------------------------------------------------- what is in pictures

    @property
    def version(self) -> str:
        """That of the detector; a release has one encoder."""
        return self._seeing().version

    def _seeing(self) -> PictureDetector:
        if self._detector is None:  # once it is there nobody waits here for who looks at a picture just now
            with self._lock:
                self._detector = self._detector or self._load_detector()
        return self._detector

    def _read(self, read: Callable[[VisualEncoder], FoundObjects]) -> FoundObjects:
        """Raises :class:`NotFound` without an encoder, and :class:`SpaceMismatch` with one of another space than the index."""
        if self._encoder is None:
            raise NotFound("The release cannot encode what is in a picture", expected="an encoder of pictures")
        encoder = self._encoder.loaded()
        with self._lock:
            found = read(encoder)
        self._index.space.require(found.space)
        return found

    def known(self, row: int) -> Objects | None:
        """What a build found in the picture of an item; None for nothing, and for one that shows another picture by now."""
        if self._objects is None or row in self._gone:
            return None
        found = self._objects.of_item(self._catalogue.ids[row])
        return self._plain(found) if len(found) else None

    @property
    def margin(self) -> float:
        """How far crops reach beyond their boxes, as when the release was made."""
        return self._settings.objects.margin

    def called(self, category: str) -> np.ndarray:
        """bool over rows of the catalogue: the items of one of its own categories."""
        code = self._catalogue.code("category", category)
        return (self._catalogue.codes("category") == code) & (code >= 0)

    def things(self, row: int) -> int:
        """See :meth:`corkboard.feed.looks.Finder.things`."""
        known = self._objects is not None and row not in self._gone and 0 <= row < self._catalogue.frozen
        return self._objects.count_of(self._catalogue.ids[row]) if known else 0

    def find(self, image: np.ndarray) -> Objects:
        """See :meth:`corkboard.feed.looks.Finder.find`."""
        from corkboard.shopping.objects import objects_in

        detector = self._seeing()
        return self._plain(self._read(lambda encoder: objects_in([image], detector, encoder, self._settings.objects)[0]))

    def whole(self, image: np.ndarray) -> Objects:
        """See :meth:`corkboard.feed.looks.Finder.whole`."""
        from corkboard.shopping.objects import whole_pictures

        return self._plain(self._read(lambda encoder: whole_pictures([image], encoder)))

    def _plain(self, found: FoundObjects) -> Objects:
        """What a page says of objects."""
        table = found.table
        sure = (table["posterior"] - table["second_posterior"]).to_list()
        seconds = tuple(name if lead < self._settings.unsure else None for name, lead in zip(table["second_category"], sure, strict=True))
        return Objects(found.boxes, table["score"].to_numpy(), tuple(table["category"]), seconds, found)

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

    def very_like(self, objects: FoundObjects) -> np.ndarray:
        """int64: catalogue rows of products that look very much like one of the objects and may be of its category: what is there."""
        index = self._current()
        chances = self._matcher.gate.probability(objects.vectors @ index.products.vectors.T, index.category)
        fits = np.stack([index.agreement(objects, row)[index.category] > 0 for row in range(len(objects))])
        rows = index.rows[((chances >= VERY) & fits).any(axis=0)]
        return rows[rows >= 0]

    # ------------------------------------------------------------------------------------------------------ what arrives live

    def put(self, rows: Sequence[int], items: Sequence[Mapping[str, Any]], pictures: Path) -> None:
        """See :meth:`corkboard.feed.looks.Finder.put`; what the index has already, and what is not sold, is left as it is."""
        if self._encoder is None:
            return
        from corkboard.embeddings.product_inputs import products_of
        from corkboard.lake.pictures.reading import Pictures as LakePictures
        from corkboard.shopping.objects import product_objects

        here = set(self._current().rows.tolist())
        frame = pl.DataFrame([{name: item.get(name) for name in TABLES["items"].schema} for item in items], TABLES["items"].schema)
        row_of = {item["item_id"]: row for row, item in zip(rows, items, strict=True) if row >= 0 and row not in here}
        sold, lake = products_of(frame).filter(pl.col("item_id").is_in(list(row_of))), LakePictures(pictures)
        waiting = list(lake.main(sold.select("item_id", "images")).iter_rows())
        category = dict(sold.select("item_id", "category").iter_rows())
        detector = self._seeing() if waiting else None
        for start in range(0, len(waiting), _LIVE_AT_ONCE):
            read = ((item_id, _kept(lake, name)) for item_id, name in waiting[start : start + _LIVE_AT_ONCE])
            images = {item_id: image for item_id, image in read if image is not None}
            asked = [(item_id, category[item_id]) for item_id in images]
            found = self._read(partial(product_objects, asked, list(images.values()), detector, config=self._settings.objects))
            self._change({row_of[item_id]: (found.take([n]), said) for n, (item_id, said) in enumerate(asked)})

    @property
    def gone(self) -> frozenset[int]:
        """Catalogue rows of items that show another picture than the one that a build has looked at."""
        return self._gone

    def drop(self, row: int) -> None:
        """See :meth:`corkboard.feed.looks.Finder.drop`."""
        self._change({}, row)

    def _change(self, live: Mapping[int, tuple[FoundObjects, str | None]], gone: int | None = None) -> None:
        """Products that arrived, by row, and the row of an item that shows another picture by now."""
        with self._changes:
            kept = {row: one for row, one in self._live.items() if row != gone}
            self._live, self._searched = {**kept, **live}, None
            self._gone = self._gone if gone is None else self._gone | {gone}

    def _current(self) -> LookIndex:
        """The index without what shows another picture by now, and with what arrived; made again after either, once for all threads."""
        index = self._searched
        if index is not None:
            return index
        with self._changes:
            if self._searched is None:
                index = self._index.without(np.array(sorted(self._gone), np.int64)) if self._gone else self._index
                if self._live:
                    found, said = zip(*self._live.values(), strict=True)
                    index = index.with_products(reduce(type(found[0]).joined, found), said, np.array(list(self._live), np.int64))
                self._searched = index
            return self._searched


def _kept(lake: Pictures, name: str) -> np.ndarray | None:
    """uint8 ``(height, width, 3)``: a picture of the lake; None where it is gone or cut off, which is left to the next build."""
    try:
        return lake.store.rgb(name)
    except (CorkboardError, OSError) as error:
        log.warning("The picture of a live item cannot be read: %s", error)
        return None


# ------------------------------------------------------------------------------------------------------ what goes together


class LookCompleter:
    """What a release knows of what goes together; see :class:`corkboard.feed.looks.Completer`.

    Products that arrived live are suggested from the next build on, and so are those that show another picture by now. ``appearances`` are
    those of the objects of each item, in their order; what came with a request is looked at for them. ``chances`` is the space that their
    chances are of: where this copy of the package tells others, the outfit model reads no picture that came with a request.
    """

    def __init__(
        self,
        finder: LookFinder,
        answers: CompleteTheLook,
        encoder: LazyEncoder | None = None,
        appearances: Mapping[str, Sequence[Appearance]] | None = None,
        chances: Space | None = None,
    ):
        self._chances = chances
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
        gone = self._finder.gone  # what is known of these is how another picture looked
        places = [self._place_of[row] for row in look.rows.tolist() if row in self._place_of and row not in gone]
        names, vectors = [self._answers.names[place] for place in places], [index.products.vectors[places]]
        ids: list[str | None] = [index.ids[place] for place in places]
        looks = [next(iter(self._appearances.get(index.ids[place], ())), NO_LOOK) for place in places]
        scene, objects, there = None, None if look.objects is None else look.objects.held, np.empty(0, np.int64)
        # of a product's picture one object is known, and that is the product
        if objects is not None and (len(objects) > 1 or not places):
            names += objects.table["category"].to_list()
            vectors.append(objects.vectors)
            ids += [None] * len(objects)
            looks += self._looks(look, objects) or [NO_LOOK] * len(objects)
            scene, there = self._map(look), self._finder.very_like(objects)
        if not names and scene is None:
            return []
        shown = allowed.copy()
        shown[[row for row in (*gone, *there.tolist()) if row < len(shown)]] = False
        given = Given([name or "" for name in names], np.concatenate(vectors), ids, appearances=looks, scene=scene)
        kind = wanted
        if wanted is not None and wanted not in index.number_of:  # the catalogue's word for what objects are called otherwise
            among = self._finder.called(wanted)
            kind, shown = index.usual(among), shown & among[: len(shown)]
        shelves = self._answers.shelves(given, k, shown, kind) if wanted is None or kind is not None else []
        return [Shelved(wanted or shelf.category, shelf.rows, shelf.scores, tuple(shelf.reasons)) for shelf in shelves]

    def _looks(self, look: Look, objects: FoundObjects) -> Sequence[Appearance]:
        """How each of the objects of a picture looks; none where nobody can tell."""
        known = self._appearances.get(objects.table["item_id"][0], ())
        if len(known) == len(objects):
            return known
        image = None if not self._appearances or look.picture is None else look.picture()
        if image is None:
            return []
        try:
            return self._seen.get(look.name, lambda: _appearances_in(image, objects, self._finder.margin, self._chances), _SCENES_KEPT)
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


def _appearances_in(image: np.ndarray, objects: FoundObjects, margin: float, chances: Space | None) -> list[Appearance]:
    """With chances of the space ``chances``, or none. Raises :class:`NotFound` without the weights that come with the package."""
    from corkboard.shopping.objects import crop, enlarged
    from corkboard.vision.appearance import SIDE, built_in_reader

    reader = built_in_reader()
    found = reader.read([crop(image, enlarged(box, margin), SIDE) for box in objects.boxes])
    if reader.space == chances:
        return found
    log.info("The release reads chances of appearance of %s, and this copy of Corkboard tells those of %s", chances, reader.space)
    return [replace(one, chances=()) for one in found]


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
    detector = load(DETECTOR, _own_detector, notes, None) or looking.load_detector
    finder = LookFinder(index, matcher, catalogue, objects, encoder, detector, stats, looking.shopping.shop_the_look)
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
    looks, chances = load(APPEARANCES, _appearances, notes, None) or ({}, None)
    model = load(OUTFIT_MODEL, partial(_outfit_model, {"visual": index.space, "appearance": chances}), notes, None)
    scenes = load(SCENE_MODEL, _scene_model, notes, None)
    if outfits is None or (model is None and scenes is None):
        notes += [] if notes else [note("no_looks")]
        return None
    together = import_module("corkboard.shopping.complete_the_look")
    placed = index.placed(catalogue.rows(index.ids))
    codes = catalogue.codes("merchant_id")
    merchants = np.array([codes[row] if row >= 0 else -1 for row in placed.rows.tolist()], np.int64)
    pairs = together.CategoryPairs(outfits, settings.least_together, settings.least_lift)
    shown = {item_id: looks[item_id][0] for item_id in index.ids if item_id in looks}
    answers = together.CompleteTheLook(placed, model, pairs, settings, scenes, merchants, shown)
    return LookCompleter(finder, answers, encoder, looks, chances)


def _own_detector(artifact: Artifact) -> Callable[[], PictureDetector] | None:
    """Loads the detector that the release has learned; None where it has not."""
    if artifact.config.get("kind") != DETECTOR:
        return None
    facts, tensors = artifact.config, artifact.tensors  # read now: a later build may sweep the folder away
    return lambda: import_module("corkboard.vision.detector").detector_from(facts, tensors)


def _appearances(artifact: Artifact) -> tuple[dict[str, list[Appearance]], Space | None]:
    """By item, in the order of its objects, and the space of their chances; none in an empty artefact."""
    found: dict[str, list[Appearance]] = {}
    if artifact.config.get("kind") == APPEARANCES:
        table = artifact.table(APPEARANCES)
        read = import_module("corkboard.vision.appearance").read_appearances(table)
        for item_id, one in zip(table["item_id"], read, strict=True):
            found.setdefault(item_id, []).append(one)
    return found, next(iter(artifact.makes), None)


def _outfits(artifact: Artifact) -> pl.DataFrame | None:
    found = import_module("corkboard.shopping.outfits").Outfits.from_artifact(artifact)
    return found.frame if len(found) else None


def _outfit_model(here: Mapping[str, Space | None], artifact: Artifact) -> OutfitModel | None:
    """``here`` are the spaces that the release has. Raises :class:`SpaceMismatch` or :class:`NotFound` where the model reads another."""
    if artifact.config.get("kind") == "none":
        return None
    model = import_module("corkboard.shopping.outfit_model").OutfitModel.from_artifact(artifact)
    for name, space in model.reads.items():
        given = here.get(name)
        if given is None:
            raise NotFound(f"The outfit model reads what the release has not: {name}", expected=str(space), hint="`corkboard build`")
        space.require(given)
    return model


def _scene_model(artifact: Artifact) -> SceneModel | None:
    return import_module("corkboard.shopping.scene_model").SceneModel.from_artifact(artifact)


def _indexed(artifact: Artifact) -> LookIndex | None:
    return import_module("corkboard.shopping.look_index").LookIndex.from_artifact(artifact)


def _matcher(artifact: Artifact) -> LookMatcher | None:
    return import_module("corkboard.shopping.matcher").LookMatcher.from_artifact(artifact)


def _objects(artifact: Artifact) -> FoundObjects | None:
    return import_module("corkboard.shopping.objects").FoundObjects.from_artifact(artifact)
