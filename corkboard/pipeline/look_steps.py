"""The steps behind Shop The Look: what is in the pictures of items, the index of products by category, and what matches.

    detector, visual -> objects -> look_index -> look_matcher

Objects are found by a detector that has learned from the lake's own boxes where there are enough, else by the one that comes with the
package or from a file (``vision.detector.weights``), and looked at by the release's own encoder. Both are computed once for a picture and
kept beside it. The matcher learns from what people said of pairs before the last day, and
from counters of whole days before it; where they said too little, its gate comes from the products themselves.

A lake without pictures or products, and a copy of the package without a detector, have empty artefacts: what reads them does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from corkboard import vision
from corkboard.artifacts import Artifact, content_hash
from corkboard.config import Section
from corkboard.errors import CorkboardError
from corkboard.lake.calendar import DAY_MS
from corkboard.pipeline.steps import Made, StepInput, source_hash
from corkboard.pipeline.visual_steps import trunk_of, visual_encoder
from corkboard.shopping.config import ObjectsConfig, ShopTheLookConfig
from corkboard.vision.config import DetectorSource, OwnDetectorConfig, TrunkSource

if TYPE_CHECKING:
    from corkboard.lake.lake import Lake
    from corkboard.learning.training import Progress
    from corkboard.shopping.look_index import LookIndex
    from corkboard.shopping.matcher import JudgedPairs
    from corkboard.shopping.objects import FoundObjects
    from corkboard.vision.detector import Detector

DETECTOR, OBJECTS, LOOK_INDEX, LOOK_MATCHER = "detector", "objects", "look_index", "look_matcher"
DETECTOR_CODE = (
    *("corkboard.shopping.own_detector", "corkboard.shopping.objects", "corkboard.lake.pictures.reading"),
    *("corkboard.vision", "corkboard.learning", "corkboard.metrics.detection"),
)
"""Modules that a detector of the lake's own depends on."""


class DetectorStepConfig(Section):
    """What learns from the boxes of the lake, and what it has to be better than."""

    own: OwnDetectorConfig = OwnDetectorConfig()
    """How it learns."""
    source: DetectorSource = DetectorSource()
    """What serves otherwise; a file that is named here serves in any case."""
    weights: str = ""
    """A digest of its weights."""
    trunk: TrunkSource = TrunkSource()
    """What it begins with."""
    trunk_weights: str = ""
    """A digest of those."""


class ObjectsStepConfig(Section):
    """What finds objects, and what is cut out."""

    objects: ObjectsConfig = ObjectsConfig()
    """Crops."""
    detector: DetectorSource = DetectorSource()
    """Where the detector comes from."""
    weights: str = ""
    """A digest of its weights: other weights are another detector, whatever the file is called."""


# ------------------------------------------------------------------------------------------------------------------- the steps


def learn_detector(given: StepInput) -> Made:
    """A detector that learns from the boxes of the lake; nothing where they are few, or where it would be no better.

    A build knows more of the lake than the one before, and mostly the same boxes: then what was learned from them is taken over.
    """
    from corkboard.lake.pictures.reading import Pictures
    from corkboard.shopping.own_detector import annotated
    from corkboard.shopping.own_detector import learn_detector as learn
    from corkboard.vision.detector import detector_facts, detector_tensors

    config: DetectorStepConfig = given.config
    items, told = given.lake.items(), given.lake.objects()
    if config.source.weights or not config.own.enabled or told.is_empty():
        return Made(config={"kind": "none"}, metrics={"pictures": 0})
    pictures = Pictures(given.lake.folder)
    boxes = annotated(items, told, pictures)
    learned_from = content_hash(boxes.digest, config.model_dump(mode="json"), [source_hash(name) for name in DETECTOR_CODE], given.seed)
    same = next((found for found in given.earlier() if found.config.get("learned_from") == learned_from), None)
    with suppress(CorkboardError, OSError):  # damaged: it would only have saved work
        if same is not None:
            same.check()
            return Made(same.tensors, config=same.config, metrics=same.metrics)
    told_by, trunk = file_detector(config.source), partial(trunk_of, config.trunk)
    progress = partial(_told, given, "learning to detect from boxes of the lake")
    try:
        learned = learn(boxes, pictures, trunk, config.own, given.seed, told_by, items, progress)
    except CorkboardError as error:  # boxes that nothing can be learned from must not cost the build its other looks
        # no ``learned_from``: the next time the step runs it tries again, and says so again
        return Made(
            config={"kind": "none"}, metrics={"pictures": len(boxes), "why": str(error)}, said=f"nothing was learned from boxes: {error}"
        )
    if learned.detector is None:
        return Made(config={"kind": "none", "learned_from": learned_from}, metrics=learned.told, said=learned.sentence)
    facts = {"kind": DETECTOR, "learned_from": learned_from, **detector_facts(learned.detector)}
    return Made(detector_tensors(learned.detector), config=facts, metrics=learned.told, said=learned.sentence)


def find_objects(given: StepInput) -> Made:
    """The objects of the main picture of every item."""
    from corkboard.lake.pictures.reading import Pictures
    from corkboard.shopping.objects import find_objects as find

    config: ObjectsStepConfig = given.config
    encoder, pictures = visual_encoder(given.artifacts), Pictures(given.lake.folder)
    detector = None if encoder is None else detector_of(config.detector, given.artifacts)
    if encoder is None or detector is None:
        return Made(config={"kind": "none"})
    items, known = given.lake.items(), given.lake.objects()
    found = find(
        items, pictures, detector, encoder, known, config.objects, lambda done, of: given.progress("finding objects in pictures", done, of)
    )
    counts = {str(source): int(count) for source, count in found.table["source"].value_counts().iter_rows()}
    metrics = {"objects": len(found), "pictures": found.table["item_id"].n_unique(), "sources": counts}
    made = {**found.config, "detector": detector.version}
    if own_detector(given.artifacts) is not None:
        made["sure_from"] = detector.config.threshold
    return Made(found.tensors(), found.tables(), made, metrics, requires=[found.space, found.code_space])


def index_looks(given: StepInput) -> Made:
    """The products among the objects, by category."""
    from corkboard.shopping.look_index import LookIndex

    found = found_objects(given.artifacts)
    index = None if found is None else LookIndex.build(found, given.lake.items())
    if index is None or not len(index):
        return Made(config={"kind": "none"})
    counts = {name: index.count(place) for place, name in enumerate(index.names)}
    metrics = {"products": len(index), "categories": counts, "uncategorised": int(np.count_nonzero(index.category < 0))}
    return Made(index.tensors(), index.tables(), index.config, metrics, requires=[index.space])


def fit_matcher(given: StepInput) -> Made:
    """Weights and gate, from what was judged before the last day."""
    from corkboard.retrieval.item_stats import ItemStats
    from corkboard.shopping.matcher import Appeal
    from corkboard.shopping.matcher import fit_matcher as fit

    config: ShopTheLookConfig = given.config
    index = look_index(given.artifacts)
    if index is None:
        return Made(config={"kind": "none"})
    pairs = judged_pairs(given.artifacts, given.lake, index, config)
    stats = ItemStats.from_artifact(given.artifacts["stats"]).before((given.calendar.end_ms - DAY_MS) // DAY_MS)
    appeal = Appeal.of(stats, sorted(given.lake.items()["item_id"])) if len(pairs) else None
    found = found_objects(given.artifacts)
    scenes = None if found is None else found.take(np.flatnonzero(~found.table["sold"].to_numpy()))
    matcher = fit(index, pairs, appeal, config, scenes)
    return Made(matcher.tensors(), matcher.tables(), matcher.config, {"pairs": len(pairs), "judged": matcher.judged})


def _told(given: StepInput, what: str, at: Progress) -> None:
    given.progress(what, at.step, at.steps)


# ------------------------------------------------------------------------------------------------------- what others read of it


def found_objects(artifacts: Mapping[str, Artifact]) -> FoundObjects | None:
    """What is in pictures; None where nothing could be looked at, or no step did."""
    from corkboard.shopping.objects import FoundObjects

    artifact = artifacts.get(OBJECTS)
    return None if artifact is None else FoundObjects.from_artifact(artifact)


def look_index(artifacts: Mapping[str, Artifact]) -> LookIndex | None:
    """Products by category; None where there are none with a picture, or no step made it."""
    from corkboard.shopping.look_index import LookIndex

    artifact = artifacts.get(LOOK_INDEX)
    return None if artifact is None else LookIndex.from_artifact(artifact)


def judged_pairs(artifacts: Mapping[str, Artifact], lake: Lake, index: LookIndex, config: ShopTheLookConfig) -> JudgedPairs:
    """What people said of parts of pictures and products of the index; votes on anything else are left out."""
    import polars as pl

    from corkboard.lake.pictures.reading import Pictures
    from corkboard.lake.pictures.store import hash_named
    from corkboard.shopping.judging import judged
    from corkboard.shopping.matcher import JudgedPairs
    from corkboard.shopping.objects import objects_at

    encoder, pictures = visual_encoder(artifacts), Pictures(lake.folder)
    assert encoder is not None  # there is an index
    pairs = judged(lake.judgements()).pairs
    names = [hash_named(image) or image for image in pairs["query_image"]]
    place_of = {item_id: place for place, item_id in enumerate(index.ids)}
    pairs = pairs.with_columns(
        name=pl.Series(names, dtype=pl.String),
        there=pl.Series([pictures.store.has(name) for name in names], dtype=pl.Boolean),
        place=pl.Series([place_of.get(item_id, -1) for item_id in pairs["item_id"]], dtype=pl.Int64),
    ).filter(pl.col("there") & (pl.col("place") >= 0))
    asked: dict[tuple, int] = {}
    boxes = (None if box is None else tuple(box) for box in pairs["query_box"])
    query = np.array([asked.setdefault(key, len(asked)) for key in zip(pairs["name"], boxes, strict=True)], np.int64)
    queries = objects_at(
        [name for name, _ in asked], [box for _, box in asked], pictures, encoder, found_objects(artifacts), config.objects
    )
    return JudgedPairs(queries, query, pairs["place"].to_numpy(), pairs["grade"].to_numpy())


def detector_of(source: DetectorSource, artifacts: Mapping[str, Artifact]) -> Detector | None:
    """The detector of a build: its own where it has learned one, else that of a setting; None where there is neither."""
    return own_detector(artifacts) or file_detector(source)


def own_detector(artifacts: Mapping[str, Artifact]) -> Detector | None:
    """The detector that a build has learned; None where it has not."""
    from corkboard.vision.detector import detector_from

    artifact = artifacts.get(DETECTOR)
    return None if artifact is None or artifact.config.get("kind") != DETECTOR else detector_from(artifact.config, artifact.tensors)


def file_detector(source: DetectorSource) -> Detector | None:
    """The detector of a setting; None where none is named and this copy of the package comes without one.

    Raises :class:`corkboard.errors.NotFound` for a file that is not there.
    """
    from corkboard.vision.detector import load_detector

    file = Path(source.weights) if source.weights else built_in_file()
    return load_detector(file) if source.weights or file.is_file() else None


def weights_digest(source: DetectorSource) -> str:
    """12 hex digits over the file of a detector; "" where it is not there."""
    file = Path(source.weights) if source.weights else built_in_file()
    return content_hash(file.read_bytes().hex()) if file.is_file() else ""


def built_in_file() -> Path:
    """Where the detector lies that comes with the package. It is named here, too, so that a plan is made without PyTorch."""
    return Path(vision.__file__).parent / "weights" / "detector.safetensors"
