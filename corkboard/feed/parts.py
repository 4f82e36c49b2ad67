"""The parts of a release as the feed uses them: loaded once, aligned to one catalogue, replaced as a whole.

Any part may be missing or damaged. Then the page is made without it, and says so.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, Release, Space
from corkboard.embeddings.content import ContentTower
from corkboard.embeddings.pinnerformer import PinnerFormer
from corkboard.embeddings.user_vectors import UserVectors
from corkboard.errors import ArtifactError
from corkboard.feed.page import Note, note
from corkboard.lake.schema import DEFAULT_TENANT, TABLES
from corkboard.ranking.item_side import ItemSide, aligned_neighbours, aligned_stats, aligned_vectors
from corkboard.ranking.light import LightItems, LightRanker
from corkboard.ranking.pointwise import PointwiseRanker
from corkboard.ranking.ranker import Ranker
from corkboard.retrieval.blend import Retrieval
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import SourceConfig
from corkboard.retrieval.index import ExactIndex, FaissIndex, Index, OverlayIndex
from corkboard.retrieval.item_stats import ItemStats
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.retrieval.sources import RetrievalParts

log = logging.getLogger("corkboard.feed")

ROLES = (
    "catalogue",
    "stats",
    "content",
    "index",
    "item_knn",
    "boards",
    "pinnerformer",
    "embedding_index",
    "user_vectors",
    "light_ranker",
    "ranker_item_knn",
    "ranker",
)
"""The roles of a release that the feed reads; all but the catalogue may be missing."""


def _hybrid(artifact: Artifact) -> Ranker:
    """Imported only when a release has one: a feed without it does without PyTorch."""
    return import_module("corkboard.ranking.hybrid").HybridRanker.from_artifact(artifact)


RANKERS: Mapping[str, Callable[[Artifact], Ranker]] = {"pointwise": PointwiseRanker.from_artifact, "hybrid": _hybrid}
"""How the ranker of an artefact is loaded, by the ``kind`` in its config."""

Part = TypeVar("Part")


@dataclass(frozen=True)
class FeedParts:
    """What serves together. ``notes`` says what is missing; every page carries them."""

    release: str
    items: ItemSide
    retrieval: Retrieval
    tower: ContentTower | None = None
    item_tower: PinnerFormer | None = None
    user_vectors: UserVectors | None = None
    light: LightItems | None = None
    ranker: Ranker | None = None
    ranker_kind: str = "blend"
    artifacts: tuple[str, ...] = ()
    tenant: str = DEFAULT_TENANT
    notes: tuple[Note, ...] = ()

    @property
    def catalogue(self) -> Catalogue:
        return self.items.catalogue


def load_parts(release: Release, sources: SourceConfig, stats_day: int | None = None) -> FeedParts:
    """Load every part of ``release`` that can be read; with counters as they were when ``stats_day`` began, where it is given."""
    notes: list[Note] = []
    catalogue = _load(release, "catalogue", Catalogue.from_artifact, notes, "no_catalogue")
    if catalogue is None:
        catalogue = Catalogue(pl.DataFrame(schema={"item_id": pl.String}))
    stats = _load(release, "stats", ItemStats.from_artifact, notes, "no_stats")
    stats = None if stats is None else stats_in_rows(stats, catalogue)
    stats = stats if stats is None or stats_day is None else stats.before(stats_day)
    tower = _load(release, "content", ContentTower.from_artifact, notes, "no_content_tower")
    index = _overlay(release, "index", catalogue, notes, "no_vectors")
    embedding = _overlay(release, "embedding_index", catalogue, notes, "no_embeddings")
    item_tower = _load(release, "pinnerformer", partial(_item_tower, embedding), notes, "no_item_tower")
    user_vectors = _load(release, "user_vectors", partial(_user_vectors, embedding), notes, "no_user_vectors")
    item_knn = _neighbours(release, "item_knn", catalogue, notes, "no_neighbours")
    # the ranker reads the neighbours that it was trained on: newer ones were made from the very actions they would explain
    ranked_by = _neighbours(release, "ranker_item_knn", catalogue, notes, None) or item_knn
    boards = _neighbours(release, "boards", catalogue, notes, None)
    features = None if stats is None else aligned_stats(stats, stats.last_day, catalogue)
    items = ItemSide(catalogue, index, features, ranked_by, embedding)
    light = _load(release, "light_ranker", partial(_light, items), notes, "no_light_ranker")
    ranker = _load(release, "ranker", partial(_ranker, items), notes, "no_ranker")
    role = release.get("catalogue")
    return FeedParts(
        release=release.id,
        items=items,
        retrieval=Retrieval.of(RetrievalParts(index, item_knn, boards, stats, embedding), sources),
        tower=tower,
        item_tower=item_tower,
        user_vectors=user_vectors,
        light=light,
        ranker=ranker,
        ranker_kind="blend" if ranker is None else release.artifacts["ranker"].config.get("kind", "blend"),
        artifacts=tuple(f"{name}={artifact.key}" for name, artifact in sorted(release.artifacts.items())),
        tenant=DEFAULT_TENANT if role is None else role.config.get("tenant", DEFAULT_TENANT),
        notes=tuple(notes),
    )


def stats_in_rows(stats: ItemStats, catalogue: Catalogue) -> ItemStats:
    """The same counters over the catalogue's rows; those of items that left it are dropped."""
    if stats.ids == catalogue.ids[: len(stats.ids)]:
        return stats
    to_row = catalogue.rows(stats.ids)
    rows = to_row[stats.rows]
    there = rows >= 0
    arrays = (stats.days[there], rows[there], stats.counters[there], stats.counts[there])
    return ItemStats(catalogue.ids, *arrays, upto_ms=stats.upto_ms, half_life_days=stats.half_life_days)


class LiveItems:
    """Puts item events into the catalogue and the overlays of one release."""

    def __init__(self, parts: FeedParts):
        self._parts = parts
        self._times: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Take item rows in any order, any number of times; of one item the newest counts. Returns how many were taken."""
        newest: dict[str, Mapping[str, Any]] = {}
        with self._lock:
            for row in rows:
                before = self._times.get(row["item_id"])
                if row.get("tenant", DEFAULT_TENANT) == self._parts.tenant and (before is None or row["time_ms"] > before):
                    newest[row["item_id"]] = row
                    self._times[row["item_id"]] = row["time_ms"]
            for row in newest.values():
                if row.get("deleted"):
                    self._remove(row["item_id"])
            self._put([row for row in newest.values() if not row.get("deleted")])
        return len(newest)

    def _remove(self, item_id: str) -> None:
        row = self._parts.catalogue.remove(item_id)
        for index in (self._parts.items.index, self._parts.items.embedding):
            if row >= 0 and isinstance(index, OverlayIndex):
                index.remove(row)

    def _put(self, items: list[Mapping[str, Any]]) -> None:
        """Catalogue, content tower, item tower, both overlays, and last the light ranker's item side."""
        parts = self._parts
        if not items:
            return
        rows = [parts.catalogue.add(item) for item in items]
        contents = self._encoded(items)
        if contents is not None and isinstance(parts.items.index, OverlayIndex):
            _add_all(parts.items.index, rows, contents)
        if contents is not None and parts.item_tower is not None and isinstance(parts.items.embedding, OverlayIndex):
            _add_all(parts.items.embedding, rows, parts.item_tower.encode_items([item["item_id"] for item in items], contents))
        if parts.light is not None:
            parts.light.refresh(np.array(rows, np.int64))

    def _encoded(self, items: list[Mapping[str, Any]]) -> np.ndarray | None:
        """float32 ``(n, dim)`` content vectors, None without a tower."""
        if self._parts.tower is None:
            return None
        schema = TABLES["items"].schema
        frame = pl.DataFrame([{name: item.get(name) for name in schema} for item in items], schema=schema)
        return self._parts.tower.encode(frame.with_columns(created_ms=pl.col("time_ms")), max(item["time_ms"] for item in items))


def _add_all(index: OverlayIndex, rows: list[int], vectors: np.ndarray) -> None:
    for row, vector in zip(rows, vectors, strict=True):
        index.add(row, vector, index.space)


def _load(release: Release, role: str, load: Callable[[Artifact], Part], notes: list[Note], missing: str | None) -> Part | None:
    """The part of ``role``, None with a note where it is missing or does not read."""
    artifact = release.get(role)
    if artifact is None:
        if missing is not None:
            notes.append(note(missing))
        return None
    try:
        artifact.check()
        return load(artifact)
    except Exception as error:  # what another version wrote may fail to read in any way, and the page is made all the same
        log.warning("The %s of release %s cannot be read: %s", role, release.id, error)
        notes.append(note("artifact_unusable", f"{role}: {error}"))
        return None


def _light(items: ItemSide, artifact: Artifact) -> LightItems:
    return LightItems(LightRanker.from_artifact(artifact), items)


def _ranker(items: ItemSide, artifact: Artifact) -> Ranker:
    """Raises :class:`SpaceMismatch` where ``items`` has not the vectors that the ranker was trained on."""
    kind = str(artifact.config.get("kind"))
    if kind not in RANKERS:
        raise ArtifactError("The ranker is of an unknown kind", found=kind, expected=list(RANKERS))
    ranker = RANKERS[kind](artifact)
    space = getattr(ranker, "space", None)
    if isinstance(space, Space) and _space_of(items.index) != space:
        _space_of(items.embedding).require(space)
    return ranker


def _item_tower(embedding: Index | None, artifact: Artifact) -> PinnerFormer:
    """For its item tower alone: the user tower, and with it PyTorch, is the nightly batch's."""
    model = PinnerFormer.from_artifact(artifact)
    _space_of(embedding).require(model.space)
    return model


def _user_vectors(embedding: Index | None, artifact: Artifact) -> UserVectors:
    vectors = UserVectors.from_artifact(artifact)
    _space_of(embedding).require(vectors.space)
    return vectors


def _space_of(index: Index | None) -> Space:
    """The space of an index; one that nothing fits where there is none."""
    return Space("no item embeddings", "at all") if index is None else index.space


def _overlay(release: Release, role: str, catalogue: Catalogue, notes: list[Note], missing: str) -> OverlayIndex | None:
    base = _load(release, role, FaissIndex.from_artifact, notes, missing)
    return None if base is None else OverlayIndex(_in_rows(base, release.artifacts[role], catalogue))


def _neighbours(release: Release, role: str, catalogue: Catalogue, notes: list[Note], missing: str | None) -> NeighbourTable | None:
    table = _load(release, role, NeighbourTable.from_artifact, notes, missing)
    return None if table is None else aligned_neighbours(table, catalogue)


def _in_rows(index: FaissIndex, artifact: Artifact, catalogue: Catalogue) -> Index:
    """The index over the catalogue's rows; searched exactly where it was built over others."""
    if index.ids == catalogue.ids:
        return index
    return ExactIndex(aligned_vectors(artifact.embeddings(), catalogue), index.space)
