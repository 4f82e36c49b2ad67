"""The steps behind Complete The Look: how products look, outfits mined from pictures, and the two models that learn what goes together.

    objects -> appearances;   visual, objects -> outfits
    objects, appearances, outfits -> outfit_model;   visual, objects, outfits, look_index, look_matcher -> scene_model

As they stand in the plan::

    Step("appearances", outfit_steps.make_appearances, uncut, AppearancesStepConfig(...), ("objects",), code=..., pictures=True)
    Step("outfits", outfit_steps.make_outfits, uncut, OutfitsStepConfig(...), ("visual", "objects"), code=..., pictures=True)
    Step("outfit_model", outfit_steps.train_outfit_model, before_last_day, outfit, ("objects", "appearances", "outfits"), code=...)
    Step("scene_model", outfit_steps.train_scene_model, before_last_day, scene,
         ("visual", "objects", "outfits", "look_index", "look_matcher"), code=..., pictures=True)

Appearances and outfits are what serving knows of pictures, of all of them; the models learn from those of items that were there before
the last day. Each artefact is empty where there is too little, and its metrics say so: what reads it does without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, EmbeddingTable, content_hash
from corkboard.config import Section
from corkboard.pipeline.look_steps import LOOK_MATCHER, OBJECTS, found_objects, look_index
from corkboard.pipeline.steps import Made, StepInput
from corkboard.pipeline.visual_steps import visual_encoder
from corkboard.shopping.complete_config import MiningConfig, SceneModelConfig
from corkboard.shopping.config import ObjectsConfig

if TYPE_CHECKING:
    from corkboard.lake.pictures.reading import Pictures
    from corkboard.learning.training import Progress
    from corkboard.shopping.objects import FoundObjects
    from corkboard.shopping.outfit_model import OutfitModel
    from corkboard.shopping.outfits import Outfits
    from corkboard.shopping.scene_model import SceneModel
    from corkboard.shopping.scene_training import ScenePairs
    from corkboard.vision.appearance import Appearance


class AppearancesStepConfig(Section):
    """What decides how things look beside their pictures and the code."""

    margin: float = ObjectsConfig().margin
    """How far a crop reaches beyond its box, in shares of the box."""
    weights: str = ""
    """Digest of the weights that come with the package; empty where this copy has none."""


class OutfitsStepConfig(Section):
    """What decides which outfits are found."""

    mining: MiningConfig = MiningConfig()
    """How they are mined."""
    weights: str = ""
    """Digest of the weights that tell kinds of pictures."""


def weights_digest() -> str:
    """12 hex digits over the weights that come with the package; empty where this copy has none."""
    from corkboard.vision.appearance import built_in_file

    file = built_in_file()
    return content_hash(file.read_bytes().hex()) if file.is_file() else ""


APPEARANCES, OUTFITS, OUTFIT_MODEL, SCENE_MODEL = "appearances", "outfits", "outfit_model", "scene_model"
MIN_OUTFITS = 20
"""With fewer outfits there is no outfit model."""
_AT_ONCE = 256


# ------------------------------------------------------------------------------------------------------------------- the steps


def make_appearances(given: StepInput) -> Made:
    """How every object looks, row by row: colours, pattern, style, and how likely each value of each facet is."""
    from corkboard.lake.pictures.reading import Pictures
    from corkboard.vision.appearance import appearance_table, built_in_file, built_in_reader

    objects = found_objects(given.artifacts)
    if objects is None or not len(objects) or not built_in_file().is_file():
        return _nothing(objects=0 if objects is None else len(objects))
    reader, pictures, found = built_in_reader(), Pictures(given.lake.folder), []
    for start in range(0, len(objects), _AT_ONCE):
        rows = range(start, min(start + _AT_ONCE, len(objects)))
        found += reader.read(_crops(objects, rows, pictures, given.config.margin))
        given.progress("looking at objects", len(found), len(objects))
    table = appearance_table(objects.table["item_id"].to_list(), found).with_columns(sold=objects.table["sold"])
    metrics = {"objects": len(table), "coloured": int(table["colours"].list.len().gt(0).sum())}
    return Made(tables={"appearances": table}, config={"kind": APPEARANCES}, metrics=metrics, makes=[reader.space])


def make_outfits(given: StepInput) -> Made:
    """Outfits from collages and scenes, and what kind of picture each is."""
    from corkboard.embeddings.visual_lake import picture_features
    from corkboard.lake.pictures.reading import Pictures
    from corkboard.shopping.objects import read
    from corkboard.shopping.outfits import PICTURE_KINDS, mine_outfits, picture_kinds
    from corkboard.vision.appearance import built_in_file

    config: MiningConfig = given.config.mining
    objects, encoder = found_objects(given.artifacts), visual_encoder(given.artifacts)
    if objects is None or encoder is None or not len(objects) or not built_in_file().is_file():
        return _nothing(outfits=0)
    sure_from = given.artifacts[OBJECTS].config.get("sure_from")
    if sure_from is not None:  # scores of a detector that has learned here mean something else
        config = config.model_copy(update={"least_score": sure_from})
    pictures, table = Pictures(given.lake.folder), objects.table
    several = table.filter(~pl.col("sold")).group_by("image_hash", maintain_order=True).agg("box", "category", count=pl.len())
    several = several.filter(pl.col("count") >= min(config.least_in_scene, config.least_categories))
    hashes, kinds = several["image_hash"].to_list(), []
    for start in range(0, len(several), _AT_ONCE):
        some = several[start : start + _AT_ONCE]
        shown = [(np.array(box, np.float32), category) for box, category in some.select("box", "category").iter_rows()]
        kinds.append(picture_kinds([read(pictures, name) for name in some["image_hash"]], shown))
        given.progress("looking for outfits", start + len(some), len(several))
    posteriors = np.concatenate(kinds) if kinds else np.zeros((0, len(PICTURE_KINDS)), np.float32)
    codes = encoder.codes_of(picture_features(encoder, pictures, hashes)) if hashes else []
    outfits = mine_outfits(
        table, objects.vectors, dict(zip(hashes, posteriors, strict=True)), dict(zip(hashes, codes, strict=True)), config
    )
    sources = dict(outfits.frame.unique("outfit_id")["source"].value_counts().iter_rows())
    told = pl.DataFrame({"image_hash": pl.Series(hashes, dtype=pl.String), **dict(zip(PICTURE_KINDS, posteriors.T, strict=True))})
    metrics = {"pictures": len(several), "outfits": len(outfits), "members": len(outfits.frame), "sources": sources}
    return Made(tables={**outfits.tables(), "kinds": told}, config=outfits.config, metrics=metrics)


def train_outfit_model(given: StepInput) -> Made:
    """What goes together, from the outfits of pictures that were there before the last day."""
    from corkboard.shopping.outfit_training import train_outfits

    objects, outfits = found_objects(given.artifacts), mined_outfits(given.artifacts)
    if objects is None or outfits is None:
        return _nothing(outfits=0)
    members = outfits.frame.filter(pl.col("outfit_id").is_in(given.lake.items()["item_id"].implode()))
    count = members["outfit_id"].n_unique()
    if count < MIN_OUTFITS:
        return _nothing(outfits=count)
    rows = members["row"].to_numpy()
    names = [f"object {row}" for row in rows.tolist()]
    visual = EmbeddingTable(names, objects.vectors[rows], objects.space)
    chances = _chances(given.artifacts, rows, names)
    if chances is None or given.config.reads == "visual":
        read: dict[str, EmbeddingTable | None] = {"visual": visual, "appearance": None}
    else:
        read = {"visual": visual if given.config.reads == "both" else None, "appearance": chances}
    told = members.select("outfit_id", "category", item_id=pl.Series(names, dtype=pl.String))
    model = train_outfits(told, **read, config=given.config, seed=given.seed, progress=partial(_told, given, "training the outfit model"))
    if model is None:
        return _nothing(outfits=count)
    return Made(
        model.tensors(),
        config=model.config,
        metrics={"outfits": count, "reads": list(model.reads)},
        makes=[model.space],
        requires=list(model.reads.values()),
    )


def train_scene_model(given: StepInput) -> Made:
    """What goes with a scene, from products that are matched in scenes and cut out of them."""
    from corkboard.shopping.scene_training import train_scene_model as train

    config: SceneModelConfig = given.config
    found = scene_pairs(given, config)
    if found is None or len(found[0]) < config.learning.least_pairs:
        return _nothing(pairs=0 if found is None else len(found[0]))
    pairs, space, trunk = found
    model, metrics = train(pairs, config, space, trunk, given.seed, partial(_told, given, "training the scene model"))
    return Made(model.tensors(), config=model.config, metrics=metrics, makes=[model.space], requires=[model.visual])


def scene_pairs(given: StepInput, config: SceneModelConfig) -> tuple[ScenePairs, object, str] | None:
    """Scenes less a product that is matched in them, for each such product; the space of the products, and the name of the trunk.

    None where there are no scenes, or nothing is matched.
    """
    from corkboard.embeddings.visual_lake import trunk_name
    from corkboard.lake.pictures.reading import Pictures
    from corkboard.shopping.matcher import LookMatcher
    from corkboard.shopping.objects import read
    from corkboard.shopping.scene_model import cut, scene_maps, without
    from corkboard.shopping.scene_training import ScenePairs

    objects, encoder, index = found_objects(given.artifacts), visual_encoder(given.artifacts), look_index(given.artifacts)
    outfits, matcher = mined_outfits(given.artifacts), given.artifacts.get(LOOK_MATCHER)
    matched = None if matcher is None else LookMatcher.from_artifact(matcher)
    if objects is None or encoder is None or index is None or outfits is None or matched is None:
        return None
    there = set(given.lake.items()["item_id"])
    members = outfits.of_source("scene").frame.filter(pl.col("outfit_id").is_in(list(there)))
    known = [item in there for item in index.ids]
    allowed = np.zeros(int(index.rows.max(initial=-1)) + 1, bool)
    allowed[index.rows[np.flatnonzero(known & (index.rows >= 0))]] = True
    pictures, kept, parts, scene_of = Pictures(given.lake.folder), [], [], []
    for row in members["row"].to_list():
        best = index.search(objects, row, 1, allowed)
        part = without(objects.boxes[row], config.enlarge, config.least_left)
        sure = len(best) and matched.gate.probability(best.cosines, index.category[best.places])[0] >= config.least_probability
        if sure and part is not None and index.category[best.places[0]] >= 0:
            kept.append(int(best.places[0]))
            scene_of.append(objects.table["image_hash"][row])
            parts.append(part)
    if not kept:
        return None
    maps = []
    for start in range(0, len(kept), _AT_ONCE):
        span = range(start, min(start + _AT_ONCE, len(kept)))
        maps.append(scene_maps(encoder.trunk, [cut(read(pictures, scene_of[k]), parts[k]) for k in span], config))
    names = [index.names[index.category[place]] for place in kept]
    scene = np.unique(scene_of, return_inverse=True)[1].astype(np.int64)
    places = np.array(kept, np.int64)
    pairs = ScenePairs(np.concatenate(maps), index.products.vectors[places], names, places, scene)
    return pairs, index.space, trunk_name(encoder.trunk)


# ------------------------------------------------------------------------------------------------------- what others read of it


def mined_outfits(artifacts: Mapping[str, Artifact]) -> Outfits | None:
    """Outfits from pictures; None where there are none, or no step mined them."""
    from corkboard.shopping.outfits import Outfits

    artifact = artifacts.get(OUTFITS)
    found = None if artifact is None else Outfits.from_artifact(artifact)
    return found if found is not None and len(found) else None


def outfit_model(artifacts: Mapping[str, Artifact]) -> OutfitModel | None:
    """The outfit model; None where there was too little to learn from, or no step made one."""
    from corkboard.shopping.outfit_model import OutfitModel

    artifact = artifacts.get(OUTFIT_MODEL)
    return None if artifact is None or not artifact.makes else OutfitModel.from_artifact(artifact)


def scene_model(artifacts: Mapping[str, Artifact]) -> SceneModel | None:
    """The scene model; None where there was too little to learn from, or no step made one."""
    from corkboard.shopping.scene_model import SceneModel

    artifact = artifacts.get(SCENE_MODEL)
    return None if artifact is None else SceneModel.from_artifact(artifact)


def object_appearances(artifacts: Mapping[str, Artifact]) -> list[Appearance] | None:
    """How each object looks, in the order of the objects; None where nobody looked."""
    from corkboard.vision.appearance import read_appearances

    artifact = artifacts.get(APPEARANCES)
    if artifact is None or artifact.config.get("kind") != APPEARANCES:
        return None
    return read_appearances(artifact.table("appearances"))


def product_appearances(artifacts: Mapping[str, Artifact]) -> dict[str, Appearance]:
    """How products look, by item id; empty where nobody looked."""
    found = object_appearances(artifacts)
    if found is None:
        return {}
    table = artifacts[APPEARANCES].table("appearances").select("item_id", "sold")
    return {item_id: one for (item_id, sold), one in zip(table.iter_rows(), found, strict=True) if sold}


# ----------------------------------------------------------------------------------------------------------------- the parts


def _chances(artifacts: Mapping[str, Artifact], rows: np.ndarray, names: list[str]) -> EmbeddingTable | None:
    """The chances of appearance of some objects; None where nobody looked."""
    from corkboard.vision.appearance import chances_matrix

    looks = object_appearances(artifacts)
    values = None if looks is None else chances_matrix([looks[row] for row in rows.tolist()])
    return None if values is None else EmbeddingTable(names, values, artifacts[APPEARANCES].makes[0])


def _crops(objects: FoundObjects, rows: Sequence[int], pictures: Pictures, margin: float) -> list[np.ndarray]:
    """The crops of some objects at the side that appearances are read at; a picture is read once for objects that follow each other."""
    from corkboard.shopping.objects import crop, enlarged, read
    from corkboard.vision.appearance import SIDE

    name, image, found = None, np.zeros((1, 1, 3), np.uint8), []
    hashes, boxes = objects.table["image_hash"], objects.boxes
    for row in rows:
        if hashes[row] != name:
            name, image = hashes[row], read(pictures, hashes[row])
        found.append(crop(image, enlarged(boxes[row], margin), SIDE))
    return found


def _nothing(**found: int) -> Made:
    """An empty artefact, and how little there was."""
    return Made(config={"kind": "none"}, metrics={"too_little": True, **found})


def _told(given: StepInput, what: str, at: Progress) -> None:
    given.progress(what, at.step, at.steps)
