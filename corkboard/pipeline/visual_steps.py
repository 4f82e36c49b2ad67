"""The steps that read pictures: the unified visual embedding of what items show, and the index that a picture is searched in.

Output layers and proxies are learned on the pictures of the items before A, on a trunk that comes with the package or from a checkpoint
(``vision.trunk``). A picture's vector depends on its pixels alone, so what the trunk says of each is computed once and kept beside the
pictures; every step that asks later reads them there.

A lake without pictures has an empty artefact: what reads it does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from corkboard import vision
from corkboard.artifacts import Artifact, EmbeddingTable, content_hash
from corkboard.config import Section
from corkboard.embeddings.config import VisualConfig
from corkboard.pipeline.steps import Made, StepInput
from corkboard.vision.config import TrunkSource

if TYPE_CHECKING:
    import polars as pl

    from corkboard.embeddings.visual import VisualEncoder
    from corkboard.learning.training import Progress
    from corkboard.vision.encoder import Trunk

VISUAL = "visual"


class VisualStepConfig(Section):
    """The unified visual embedding, and the trunk that it stands on."""

    visual: VisualConfig = VisualConfig()
    """The outputs."""
    trunk: TrunkSource = TrunkSource()
    """Where the trunk comes from."""
    weights: str = ""
    """A digest of its weights: other weights are another trunk, whatever the file is called."""


# ------------------------------------------------------------------------------------------------------------------- the steps


def train_visual(given: StepInput) -> Made:
    """Output layers and proxies on the pictures of the items before A."""
    from corkboard.embeddings.visual_lake import learn_from_lake
    from corkboard.lake.pictures.reading import Pictures

    config: VisualStepConfig = given.config
    pictures, progress = Pictures(given.lake.folder), partial(_told, given, "training the visual embedding")
    made = learn_from_lake(given.lake.items(), pictures, partial(trunk_of, config.trunk), config.visual, given.seed, progress)
    if made is None:
        return Made(config={"kind": "none"})
    encoder, tasks = made
    sizes = {task.name: {"pictures": len(np.unique(task.images)), "classes": len(np.unique(task.classes))} for task in tasks}
    return Made(encoder.tensors(), config=encoder.config, metrics={"tasks": sizes}, makes=[encoder.space, encoder.code_space])


def index_visual(given: StepInput) -> Made:
    """Codes of the main picture of every item, searched by Hamming distance and scored again by vectors."""
    from corkboard.embeddings.visual import int8_of
    from corkboard.embeddings.visual_lake import picture_features
    from corkboard.lake.pictures.reading import Pictures
    from corkboard.retrieval.binary_index import BinaryIndex

    encoder = visual_encoder(given.artifacts)
    if encoder is None:
        return Made(config={"kind": "none"})
    pictures = Pictures(given.lake.folder)
    main = pictures.main(given.lake.items())
    features = picture_features(encoder, pictures, main["hash"].to_list())
    vectors, scale = int8_of(encoder.vectors_of(features))
    ids, codes = main["item_id"].to_list(), encoder.codes_of(features)
    index = BinaryIndex.build(codes, ids, encoder.space, given.config, rescoring=vectors, scale=scale)
    return Made(index.tensors(), index.tables(), index.config, {"items": len(main)}, makes=[encoder.space], requires=[encoder.space])


# ------------------------------------------------------------------------------------------------------- what others read of it


def visual_encoder(artifacts: Mapping[str, Artifact]) -> VisualEncoder | None:
    """The encoder of pictures; None where the lake had none to learn from, or no step made one."""
    from corkboard.embeddings.visual import VisualEncoder

    artifact = artifacts.get(VISUAL)
    return None if artifact is None or not artifact.makes else VisualEncoder.from_artifact(artifact)


def visual_vectors(artifacts: Mapping[str, Artifact], folder: Path, items: pl.DataFrame) -> EmbeddingTable | None:
    """Vectors of the main pictures of ``items``, those that have one; None where pictures are not read."""
    from corkboard.embeddings.visual_lake import main_vectors
    from corkboard.lake.pictures.reading import Pictures

    encoder = visual_encoder(artifacts)
    return None if encoder is None else main_vectors(encoder, Pictures(folder), items)


def trunk_of(source: TrunkSource) -> Trunk:
    """The trunk of a setting."""
    from corkboard.vision.pretrained import load_pretrained
    from corkboard.vision.trunk import built_in_trunk, load_trunk

    if source.checkpoint:
        return load_pretrained(source.checkpoint, source.checkpoint_side)
    return load_trunk(Path(source.weights)) if source.weights else built_in_trunk()


def weights_digest(source: TrunkSource) -> str:
    """12 hex digits over the files of a trunk; "" where they are not there, which the step then says, or on a hub, where a name stands."""
    if source.checkpoint:
        files = sorted(Path(source.checkpoint).glob("*"))
        return content_hash([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]) if files else ""
    file = Path(source.weights) if source.weights else Path(vision.__file__).parent / "weights" / "trunk.safetensors"
    return content_hash(file.read_bytes().hex()) if file.is_file() else ""


def _told(given: StepInput, what: str, at: Progress) -> None:
    given.progress(what, at.step, at.steps)
