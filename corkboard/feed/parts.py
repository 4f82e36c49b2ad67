"""The parts of a release as the feed uses them: loaded once, aligned to one catalogue, replaced as a whole.

Any part may be missing or damaged. Then the page is made without it, and says so.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, EmbeddingTable, Release, Space
from corkboard.embeddings.content import ContentTower
from corkboard.embeddings.pinnerformer import PinnerFormer
from corkboard.embeddings.user_vectors import UserVectors
from corkboard.errors import ArtifactError
from corkboard.feed.guesses import ATTRIBUTES, Guesses
from corkboard.feed.look_parts import Looking, look_side
from corkboard.feed.looks import LookSide
from corkboard.feed.page import Note, note
from corkboard.feed.search import LEXICAL, MEANING, LazyQueries, MeaningSide, WordSide
from corkboard.feed.shop import LazyProducts, ShopSide
from corkboard.feed.visual import VISUAL, VISUAL_INDEX, LazyEncoder, Pictured, VisualSide
from corkboard.lake.schema import DEFAULT_TENANT, TABLES
from corkboard.ranking.item_side import ItemSide, aligned_neighbours, aligned_stats, aligned_vectors
from corkboard.ranking.light import LightItems, LightRanker
from corkboard.ranking.pointwise import PointwiseRanker
from corkboard.ranking.ranker import Ranker
from corkboard.retrieval.blend import Retrieval
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import LexicalConfig, RetrievalConfig
from corkboard.retrieval.index import ExactIndex, FaissIndex, Index, OverlayIndex
from corkboard.retrieval.item_stats import ItemStats
from corkboard.retrieval.lexical import LexicalIndex
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.retrieval.related import related_retrieval
from corkboard.retrieval.sources import ITEMSAGE, RetrievalParts

if TYPE_CHECKING:
    from corkboard.embeddings.multibisage import MultiBiSage
    from corkboard.graph.config import WalkConfig
    from corkboard.retrieval.walks import WalkedGraph

log = logging.getLogger("corkboard.feed")

ROLES = (
    "catalogue",
    "stats",
    "content",
    "index",
    "item_knn",
    "boards",
    "graphs",
    "multibisage",
    "graph_index",
    "pinnerformer",
    "embedding_index",
    "user_vectors",
    "light_ranker",
    "ranker_item_knn",
    "ranker",
)
"""The roles of a release that the feed reads; all but the catalogue may be missing."""
PRODUCTS = "product_index"
"""The role of the vectors of what can be bought: the shop, the ranker and a search read it; the shop says what is missing of it."""
VISUAL_ROLES = (VISUAL, VISUAL_INDEX)
"""Those that pages of the visual surface alone read; what is missing of them is said there."""


def _hybrid(artifact: Artifact) -> Ranker:
    """Imported only when a release has one: a feed without it does without PyTorch."""
    return import_module("corkboard.ranking.hybrid").HybridRanker.from_artifact(artifact)


WORDS = "words"
"""The table of the artefact of the encoder of queries: the words that it has learned from. One that others have trained has none."""
TEXTS = "texts"
"""The table of the artefact of words: columns of the lake's items."""
NEWER = "newer"
"""A table of the artefact of graphs: the saves onto public boards since they end."""

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
    related: Retrieval = field(default_factory=lambda: Retrieval([]))
    """The sources of pages beside an item."""
    walks: WalkedGraph | None = None
    """The graph that walks go over; where it is one of boards, saves are added to it while it serves."""
    public_boards: frozenset[str] | None = None
    """The boards of that graph, none of which is secret; None where it is not one of boards."""
    graph_ms: int = 0
    """When the log was read that it was made from, UTC ms: what is said of a board after this, it cannot know."""
    graph_encoder: MultiBiSage | None = None
    user_vectors: UserVectors | None = None
    light: LightItems | None = None
    ranker: Ranker | None = None
    ranker_kind: str = "blend"
    visual: VisualSide = field(default_factory=VisualSide)
    """What finds items by their looks."""
    looks: LookSide = field(default_factory=LookSide)
    """What finds what is in pictures, and what goes together."""
    words: WordSide = field(default_factory=WordSide)
    """What finds items by their words."""
    meaning: MeaningSide = field(default_factory=MeaningSide)
    """What finds items by the meaning of a query."""
    shop: ShopSide = field(default_factory=ShopSide)
    """What finds items that can be bought."""
    product_encoder: LazyProducts | None = None
    """What places a new product."""
    guesses: Guesses = field(default_factory=Guesses)
    """What products do not say, and is shown as a guess."""
    artifacts: tuple[str, ...] = ()
    tenant: str = DEFAULT_TENANT
    notes: tuple[Note, ...] = ()

    @property
    def catalogue(self) -> Catalogue:
        return self.items.catalogue

    @property
    def graph_vectors(self) -> Index | None:
        """MultiBiSage vectors of all items, live ones included."""
        return self.items.graph


def load_parts(
    release: Release,
    retrieval: RetrievalConfig | None = None,
    stats_day: int | None = None,
    walk: WalkConfig | None = None,
    looking: Looking | None = None,
) -> FeedParts:
    """Load every part of ``release`` that can be read; with counters as they were when ``stats_day`` began, where it is given, and
    without the saves that the release keeps beside its graph, which are newer than such a day.

    ``retrieval`` says which sources the pages of each surface have, ``walk`` how long walks are, ``looking`` how looks are shopped.
    """
    retrieval = retrieval or RetrievalConfig()
    notes: list[Note] = []
    catalogue = _load(release, "catalogue", Catalogue.from_artifact, notes, "no_catalogue")
    if catalogue is None:
        catalogue = Catalogue(pl.DataFrame(schema={"item_id": pl.String}))
    role = release.get("catalogue")
    tenant = DEFAULT_TENANT if role is None else role.config.get("tenant", DEFAULT_TENANT)
    stats = _load(release, "stats", ItemStats.from_artifact, notes, "no_stats")
    stats = None if stats is None else stats_in_rows(stats, catalogue)
    stats = stats if stats is None or stats_day is None else stats.before(stats_day)
    tower = _load(release, "content", ContentTower.from_artifact, notes, "no_content_tower")
    index = _overlay(release, "index", catalogue, notes, "no_vectors")
    embedding = _overlay(release, "embedding_index", catalogue, notes, "no_embeddings")
    graph = _overlay(release, "graph_index", catalogue, notes, "no_graph_vectors")
    encoder = _load(release, "multibisage", partial(_graph_encoder, tower, graph), notes, "no_graph_encoder")
    walked = _graph(release, partial(_walked, catalogue, tenant, walk, stats_day is None), notes)
    item_tower = _load(release, "pinnerformer", partial(_item_tower, embedding), notes, "no_item_tower")
    user_vectors = _load(release, "user_vectors", partial(_user_vectors, embedding), notes, "no_user_vectors")
    item_knn = _neighbours(release, "item_knn", catalogue, notes, "no_neighbours")
    # the ranker reads the neighbours that it was trained on: newer ones were made from the very actions they would explain
    ranked_by = _neighbours(release, "ranker_item_knn", catalogue, notes, None) or item_knn
    boards = _neighbours(release, "boards", catalogue, notes, None)
    features = None if stats is None else aligned_stats(stats, stats.last_day, catalogue)
    missing: list[Note] = []
    products, product_encoder = _products(release, catalogue, graph, missing)
    items = ItemSide(catalogue, index, features, ranked_by, embedding, graph, products)
    light = _load(release, "light_ranker", partial(_light, items), notes, "no_light_ranker")
    ranker = _load(release, "ranker", partial(_ranker, items), notes, "no_ranker")
    visual = _visual(release, catalogue)
    parts = RetrievalParts(index, item_knn, boards, stats, embedding, graph, walked.walks, products)
    return FeedParts(
        release=release.id,
        items=items,
        retrieval=Retrieval.of(parts, retrieval.sources),
        related=related_retrieval(parts, retrieval.related),
        walks=walked.walks,
        public_boards=walked.boards,
        graph_ms=walked.made_ms,
        graph_encoder=encoder,
        tower=tower,
        item_tower=item_tower,
        user_vectors=user_vectors,
        light=light,
        ranker=ranker,
        visual=visual,
        looks=look_side(partial(_load, release), catalogue, visual.encoder, stats, visual.pictures, looking),
        words=_words(release, catalogue),
        meaning=_meaning(release, graph, products),
        shop=ShopSide.of(parts, retrieval.shop, tuple(missing)),
        product_encoder=product_encoder,
        guesses=_load(release, ATTRIBUTES, Guesses.from_artifact, [], None) or Guesses(),
        ranker_kind="blend" if ranker is None else release.artifacts["ranker"].config.get("kind", "blend"),
        artifacts=tuple(f"{name}={artifact.key}" for name, artifact in sorted(release.artifacts.items())),
        tenant=tenant,
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
        self._known: dict[str, tuple[int, tuple[str | None, ...]]] = {}
        """When each item was last told of, UTC ms, and by which events of that moment."""
        self._lock = threading.Lock()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Take item rows in any order, any number of times; of one item the newest counts, of the same moment the later. Returns how many
        were taken. What could not be taken may be given again."""
        newest: dict[str, Mapping[str, Any]] = {}
        known: dict[str, tuple[int, tuple[str | None, ...]]] = {}
        with self._lock:
            for row in rows:
                item_id, time_ms, event = row["item_id"], row["time_ms"], row.get("event_id")
                last, events = known.get(item_id) or self._known.get(item_id, (time_ms, ()))
                again = time_ms == last and event in events
                if row.get("tenant", DEFAULT_TENANT) != self._parts.tenant or time_ms < last or again:
                    continue
                newest[item_id] = row
                known[item_id] = (time_ms, (*events, event) if time_ms == last else (event,))
            self._remove([row["item_id"] for row in newest.values() if row.get("deleted")])
            self._put([row for row in newest.values() if not row.get("deleted")])
            self._known |= known
        return len(newest)

    def _remove(self, item_ids: list[str]) -> None:
        rows = [row for item_id in item_ids if (row := self._parts.catalogue.remove(item_id)) >= 0]
        self._parts.words.remove_all(rows)
        side = self._parts.items
        for index in (side.index, side.embedding, side.graph, side.products):
            _remove_all(index, rows)

    def _put(self, items: list[Mapping[str, Any]]) -> None:
        """Catalogue, vectors of each kind into their overlays, and last the light ranker's item side.

        Each encoder reads what the one before it made: the content tower the item, the graph encoder content vectors, the item tower
        whichever of both it was trained on.
        """
        parts, ids = self._parts, [item["item_id"] for item in items]
        if not items:
            return
        rows = [self._row(item) for item in items]
        parts.words.put_all(rows, items)
        parts.visual.put(rows, items)
        parts.looks.put(rows, items)
        made = [table for table in (self._contents(_frame(items)),) if table is not None]
        if made and parts.graph_encoder is not None:
            made.append(EmbeddingTable(ids, self._placed(rows, made[0], parts.graph_encoder), parts.graph_encoder.space))
        for table in made:
            for index in (parts.items.index, parts.items.graph):
                _add_all(index, rows, table.vectors, table.space)
            if parts.item_tower is not None and parts.item_tower.content_space == table.space:
                embeddings = parts.item_tower.encode_items(ids, table.vectors)
                _add_all(parts.items.embedding, rows, embeddings, parts.item_tower.space)
        self._sell(rows, items, made[1] if len(made) > 1 else None)
        self._guess(items)
        if parts.light is not None:
            parts.light.refresh(np.array(rows, np.int64))

    def _sell(self, rows: list[int], items: list[Mapping[str, Any]], placed: EmbeddingTable | None) -> None:
        """Vectors of what can be bought into their overlay; what can not any more is taken out of it, also where nothing new can be placed.

        What the release has keeps its own vector, which read all its pictures. Without ``placed``, vectors of the graph, nothing is new.
        """
        from corkboard.embeddings.product_inputs import products_of

        products, encoder = self._parts.items.products, self._parts.product_encoder
        if not isinstance(products, OverlayIndex):
            return
        frame, row_of = _frame(items), {item["item_id"]: row for row, item in zip(rows, items, strict=True)}
        sold = products_of(frame)
        _remove_all(products, [row_of[item_id] for item_id in set(row_of) - set(sold["item_id"])])
        before = products.base.vectors_of(np.array([row_of[item_id] for item_id in sold["item_id"]], np.int64))
        kept = before.any(axis=1)
        _add_all(products, [row_of[item_id] for item_id in sold.filter(kept)["item_id"]], before[kept], products.space)
        new = sold.filter(~kept)
        if placed is None or encoder is None or new.is_empty():
            return
        try:
            vectors = encoder.vectors(new, placed)
        except Exception as error:  # a network of another version may fail in any way, and the item is found otherwise
            log.warning("New products could not be placed: %s", error)
            return
        _add_all(products, [row_of[item_id] for item_id in new["item_id"]], vectors, products.space)

    def _guess(self, items: list[Mapping[str, Any]]) -> None:
        """What the items leave unsaid, guessed again."""
        try:
            self._parts.guesses.put(_frame(items), self._unsaid)
        except Exception as error:  # a head of another version may fail in any way, and the item is shown without
            log.warning("What new products do not say could not be guessed: %s", error)

    def _unsaid(self, items: pl.DataFrame) -> EmbeddingTable | None:
        """Vectors of items that say nothing of what is guessed, by their content alone; None where the release cannot make them."""
        contents, encoder, head = self._contents(items), self._parts.graph_encoder, self._parts.guesses.head
        if contents is None or encoder is None or head is None:
            return None
        from corkboard.embeddings.attribute_inputs import just_arrived

        return just_arrived(encoder, contents, head.settings.sources)

    def _row(self, item: Mapping[str, Any]) -> int:
        """The row of the item, now in the catalogue. Its looks are forgotten where it no longer shows what it did: any of its images may
        be the main one. More of them behind change nothing."""
        catalogue = self._parts.catalogue
        row = catalogue.row(item["item_id"])
        before = list(catalogue.images(row)) if row >= 0 else []
        row = catalogue.add(item)
        if row >= 0 and list(catalogue.images(row))[: len(before)] != before:
            self._parts.visual.drop(row)
            self._parts.looks.drop(row)
        return row

    def _placed(self, rows: list[int], contents: EmbeddingTable, encoder: MultiBiSage) -> np.ndarray:
        """float32 ``(n, dim)``: graph vectors. An item that the release has keeps its own, for a new price does not take it off its
        boards; one that is new is placed by its content, for nobody has put it beside anything yet."""
        placed, graph = _cold(encoder, contents), self._parts.items.graph
        if isinstance(graph, OverlayIndex):
            before = graph.base.vectors_of(np.array(rows, np.int64))
            placed = np.where(before.any(axis=1)[:, None], before, placed)
        return placed

    def _contents(self, items: pl.DataFrame) -> EmbeddingTable | None:
        """Content vectors, None without a tower."""
        tower = self._parts.tower
        if tower is None:
            return None
        vectors = tower.encode(items.with_columns(created_ms=pl.col("time_ms")), max(items["time_ms"]))
        return EmbeddingTable(items["item_id"].to_list(), vectors, tower.space)


def _frame(items: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    schema = TABLES["items"].schema
    return pl.DataFrame([{name: item.get(name) for name in schema} for item in items], schema=schema)


def _add_all(index: Index | None, rows: list[int], vectors: np.ndarray, space: Space) -> None:
    """Put ``vectors`` into an overlay of their space; any other index stays as it is."""
    if isinstance(index, OverlayIndex) and index.space == space:
        for row, vector in zip(rows, vectors, strict=True):
            index.add(row, vector, space)


def _remove_all(index: Index | None, rows: list[int]) -> None:
    """Take rows out of an overlay."""
    if isinstance(index, OverlayIndex):
        for row in rows:
            index.remove(row)


def _cold(encoder: MultiBiSage, contents: EmbeddingTable) -> np.ndarray:
    """float32 ``(n, dim)``: where items stand that nobody has put beside anything yet, and whose pictures the next build will read."""
    from corkboard.embeddings.node_features import NodeFeatures

    parts = zip(encoder.widths[1:], encoder.spaces[1:], strict=True)
    unseen = [EmbeddingTable([], np.zeros((0, width), np.float32), space) for width, space in parts]
    return encoder.encode(NodeFeatures.of(contents.ids, [contents, *unseen]), None)


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


@dataclass(frozen=True)
class _Walked:
    """The walked graph and what is known of its boards."""

    walks: WalkedGraph | None = None
    boards: frozenset[str] | None = None
    made_ms: int = 0


def _graph(release: Release, load: Callable[[Artifact], _Walked], notes: list[Note]) -> _Walked:
    """The walked graph, with a note where there is none or no edge is in it."""
    found = _load(release, "graphs", load, notes, "no_graph")
    if found is None:
        return _Walked()
    if found.walks is None:
        notes.append(note("no_graph"))
    return found


def _walked(catalogue: Catalogue, tenant: str, walk: WalkConfig | None, newest: bool, artifact: Artifact) -> _Walked:
    """Walks are compiled, so they are imported only when a release has a graph; nothing where no edge is in it. ``newest`` adds the public
    saves that lie beside it."""
    from corkboard.graph.graphs import Graphs
    from corkboard.retrieval.walks import WalkedGraph

    graphs = Graphs.from_artifact(artifact)
    if graphs.walked is None:
        return _Walked()
    graph = graphs.by_name[graphs.walked]
    walks = WalkedGraph.of(graph, catalogue, walk, tenant=tenant)
    if graph.name != "board":
        return _Walked(walks)
    owners = [tenant] * len(graph.right_ids) if graph.owners is None else graph.owners["tenant"]
    boards = {board for board, owner in zip(graph.right_ids, owners, strict=True) if owner == tenant}
    if newest and (artifact.path / f"{NEWER}.parquet").exists():
        newer = artifact.table(NEWER).filter(pl.col("tenant") == tenant)
        for item, board in zip(catalogue.rows(newer["item_id"]).tolist(), newer["board_id"], strict=True):
            walks.add(item, board)
        boards.update(newer["board_id"])
    return _Walked(walks, frozenset(boards), artifact.config.get("known_ms", artifact.manifest["created_ms"]))


def _graph_encoder(tower: ContentTower | None, graph: Index | None, artifact: Artifact) -> MultiBiSage:
    """For new items, which have content and no neighbours."""
    from corkboard.embeddings.multibisage import MultiBiSage

    model = MultiBiSage.from_artifact(artifact)
    _space_of(graph).require(model.space)
    if tower is not None:
        model.spaces[0].require(tower.space)
    return model


def _item_tower(embedding: Index | None, artifact: Artifact) -> PinnerFormer:
    """For its item tower alone: the user tower, and with it PyTorch, is the nightly batch's."""
    model = PinnerFormer.from_artifact(artifact)
    _space_of(embedding).require(model.space)
    return model


def _user_vectors(embedding: Index | None, artifact: Artifact) -> UserVectors:
    vectors = UserVectors.from_artifact(artifact)
    _space_of(embedding).require(vectors.space)
    return vectors


def _visual(release: Release, catalogue: Catalogue) -> VisualSide:
    """The index is read now; the encoder, and with it PyTorch, when somebody first comes with a picture."""
    notes: list[Note] = []
    if any(_of_nothing(release.get(role)) for role in VISUAL_ROLES):
        return VisualSide(notes=(note("no_visual"),))
    pictured = _load(release, VISUAL_INDEX, partial(_pictured, catalogue), notes, "no_visual")
    encoder = None if pictured is None else _load(release, VISUAL, partial(_encoder, pictured), notes, "no_visual")
    return VisualSide(pictured, encoder, tuple(notes), None if pictured is None else _lake_beside(release.artifacts[VISUAL_INDEX]))


def _products(
    release: Release, catalogue: Catalogue, graph: Index | None, notes: list[Note]
) -> tuple[OverlayIndex | None, LazyProducts | None]:
    """The vectors of what can be bought, and their encoder, which is loaded with the first new product."""
    if any(_of_nothing(release.get(role)) for role in (PRODUCTS, ITEMSAGE)):
        notes.append(note("no_products"))
        return None, None
    found = _overlay(release, PRODUCTS, catalogue, notes, "no_product_vectors")
    if found is None or _space_of(graph) != found.space:
        return None, None
    return found, _load(release, ITEMSAGE, partial(_product_encoder, found), notes, "no_product_encoder")


def _product_encoder(products: Index, artifact: Artifact) -> LazyProducts:
    """Raises :class:`SpaceMismatch` where the index was made by another."""
    Space.parse(artifact.config["space"]).require(products.space)
    return LazyProducts(lambda: import_module("corkboard.embeddings.itemsage").ItemSage.from_artifact(artifact))


def _lake_beside(artifact: Artifact) -> Path:
    """The lake of the workspace that an artefact lies in: ``artifacts/<step>/<name>/<key>`` is beside ``lake``."""
    return artifact.path.parents[3] / "lake"


def _words(release: Release, catalogue: Catalogue) -> WordSide:
    """The index is made now, out of the texts in the release."""
    notes: list[Note] = []
    index = _load(release, LEXICAL, partial(_lexical, catalogue), notes, "no_words_index")
    return WordSide(index, tuple(notes))


def _meaning(release: Release, graph: Index | None, products: Index | None) -> MeaningSide:
    """The encoder of queries, and with it PyTorch, is loaded when somebody first searches."""
    notes: list[Note] = []
    encoder = _load(release, MEANING, partial(_queries, graph), notes, "no_meaning")
    if encoder is None:
        return MeaningSide(notes=tuple(notes))
    artifact = release.artifacts[MEANING]
    least, sure = (artifact.config[name] for name in ("least_similarity", "sure_similarity"))
    learned = (artifact.path / f"{WORDS}.parquet").exists()
    return MeaningSide(encoder, graph, products, least, sure, frozenset(artifact.table(WORDS)["word"]) if learned else None)


def _queries(graph: Index | None, artifact: Artifact) -> LazyQueries:
    """Raises :class:`SpaceMismatch` where it was trained into another space than that of the items here."""
    space = Space.parse(artifact.config["space"])
    _space_of(graph).require(space)
    if len(artifact.makes) != 1:
        raise ArtifactError("An encoder of queries has one space of its own", found=[str(one) for one in artifact.makes])
    return LazyQueries(lambda: import_module("corkboard.embeddings.searchsage").SearchSage.from_artifact(artifact), artifact.makes[0])


def _lexical(catalogue: Catalogue, artifact: Artifact) -> LexicalIndex:
    return LexicalIndex.build(artifact.table(TEXTS), catalogue, LexicalConfig.model_validate(artifact.config))


def _of_nothing(artifact: Artifact | None) -> bool:
    """Whether it was built over a lake without pictures."""
    return artifact is not None and artifact.config.get("kind") == "none"


def _pictured(catalogue: Catalogue, artifact: Artifact) -> Pictured:
    binary = import_module("corkboard.retrieval.binary_index")
    index = binary.BinaryIndex.from_artifact(artifact)
    return Pictured(index, catalogue, binary.BinaryOverlay(index))


def _encoder(pictured: Pictured, artifact: Artifact) -> LazyEncoder:
    """Raises :class:`SpaceMismatch` where the index was made by another encoder."""
    if pictured.space not in artifact.makes:
        (artifact.makes or [Space("no vectors", "at all")])[0].require(pictured.space)
    return LazyEncoder(lambda: import_module("corkboard.embeddings.visual").VisualEncoder.from_artifact(artifact))


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
