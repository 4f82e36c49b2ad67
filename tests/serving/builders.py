"""A small workspace with real artefacts: 120 items of six categories, eight users, three releases."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from corkboard.artifacts import EmbeddingTable, Release, write_artifact
from corkboard.embeddings.content import untrained_content
from corkboard.feed import parts as feed_parts
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.graphs import Graphs
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.pictures.reading import on_square
from corkboard.lake.pictures.store import PictureStore
from corkboard.lake.schema import TABLES
from corkboard.ranking.features import FEATURE_NAMES
from corkboard.ranking.pointwise import PointwiseRanker
from corkboard.retrieval.baselines import ItemKNN
from corkboard.retrieval.binary_index import BinaryIndex
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import IndexConfig, LexicalConfig
from corkboard.retrieval.index import FaissIndex
from corkboard.retrieval.item_stats import ItemStats
from corkboard.retrieval.lexical import TEXT_COLUMNS
from corkboard.seeds import generator
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.settings import load_settings
from corkboard.state.replay import base_states
from corkboard.workspace import Workspace
from tests.feed.visual_builders import COLOURS, Colours

NOW_MS = 1_760_000_000_000
CATEGORIES = ("ceramics", "lamps", "rugs", "posters", "plants", "baskets")
WORDS = ("glazed", "woven", "tall", "small", "blue", "amber", "striped", "plain")
LABELS = ("popularity and content", "item-kNN", "ranker")
ITEMS = 120
USERS = 8


def frame(table: str, rows: list[dict]) -> pl.DataFrame:
    """Rows as a frame of ``table``; what a row does not say is null."""
    return pl.DataFrame([{"tenant": "default", **row} for row in rows], schema=TABLES[table].schema)


def item(n: int) -> dict:
    category = CATEGORIES[n % len(CATEGORIES)]
    words = f"{WORDS[n % 8]} {WORDS[(n // 8) % 8]}"
    return {
        "event_id": f"item-event-{n}",
        "time_ms": NOW_MS - 60 * DAY_MS,
        "item_id": f"item-{n:03d}",
        "kind": "product",
        "title": f"{words} {category} {n}".capitalize(),
        "description": f"A {words} thing of the kind {category}",
        "category": category,
        "creator_id": f"maker-{n % 10}",
        "price_minor": 1000 + 50 * n,
        "currency": "EUR",
        "available": True,
        "deleted": False,
    }


def tables() -> dict[str, pl.DataFrame]:
    """User u likes category u % 6: thirty days of saves and clicks in it, of a length that differs by user."""
    actions = []
    for user in range(USERS):
        for step in range(10 + 5 * user):
            n = (user % len(CATEGORIES)) + len(CATEGORIES) * ((step * 7) % 20)
            actions.append(
                {
                    "event_id": f"action-{user}-{step}",
                    "time_ms": NOW_MS - 30 * DAY_MS + step * (29 * DAY_MS // (10 + 5 * user)) + user,
                    "user_id": f"user-{user}",
                    "action": "save" if step % 3 else "click",
                    "item_id": f"item-{n:03d}",
                    "surface": "home",
                }
            )
    return {"items": frame("items", [item(n) for n in range(ITEMS)]), "actions": frame("actions", actions)}


def make_workspace(folder: Path) -> Workspace:
    """A workspace with a lake and three releases, the first of them live."""
    ingest_frames(folder / "lake", tables(), source="test")
    (folder / "corkboard.toml").write_text("[serving]\nrelease_poll_s = 0.05\n")
    workspace = Workspace(folder, load_settings(folder, environ={}))
    releases = write_releases(workspace)
    workspace.releases.promote(releases[0].id)
    (folder / "ids.json").write_text(json.dumps([release.id for release in releases]))
    return workspace


def write_releases(workspace: Workspace) -> list[Release]:
    """Popularity and content, the same with item-kNN, and that with a ranker; written and not yet live."""
    lake, root, upto_ms = workspace.lake(), workspace.folder / "artifacts", NOW_MS
    items, actions = lake.items(), lake.actions()
    ids = items["item_id"].to_list()
    tower = untrained_content(items)
    space = tower.space
    index = FaissIndex.build(EmbeddingTable(ids, tower.encode(items, upto_ms), space), IndexConfig())
    stats = ItemStats.build(actions, lake.shown(), ids, upto_ms)
    knn = ItemKNN.fit(actions, ids, upto_ms)
    first = {
        "catalogue": write_artifact(root, "catalogue", "c1", tables=Catalogue(items).tables()),
        "stats": write_artifact(root, "stats", "s1", tensors=stats.tensors(), tables=stats.tables(), config=stats.config),
        "states": write_artifact(root, "states", "u1", tables={"states": base_states(lake)}, config={"watermarks": {}}),
        "content": write_artifact(root, "content", "t1", tensors=tower.tensors(), config=tower.config, makes=[space]),
        "index": write_artifact(
            root, "index", "i1", tensors=index.tensors(), tables=index.tables(), config=index.config, makes=[space], requires=[space]
        ),
    }
    second = {**first, "item_knn": write_artifact(root, "item_knn", "k1", tensors=knn.tensors(), tables=knn.tables(), config=knn.config)}
    ranker = untrained_ranker()
    third = {**second, "ranker": write_artifact(root, "ranker", "r1", tensors=ranker.tensors(), config=ranker.config(), requires=[space])}
    return [workspace.releases.write(label, parts) for label, parts in zip(LABELS, (first, second, third), strict=True)]


def promote_with_boards(workspace: Workspace, boards: Mapping[str, Sequence[str]]) -> Release:
    """Make a release live that is the second one and a graph of these public boards (item ids by board)."""
    second = workspace.releases.load(release_ids(workspace)[1])
    ids = Catalogue.from_artifact(second.artifacts["catalogue"]).ids
    edges = pl.DataFrame([{"left": item_id, "right": board} for board, items in boards.items() for item_id in items])
    graphs = Graphs(ids, {"board": BipartiteGraph.of("board", edges, ids)})
    made = write_artifact(workspace.folder / "artifacts", "graphs", "g1", tensors=graphs.tensors(), tables=graphs.tables())
    release = workspace.releases.write("walks", {**second.artifacts, "graphs": made})
    workspace.releases.promote(release.id)
    return release


def promote_with_words(workspace: Workspace) -> Release:
    """Make a release live that is the third one and the words of its items."""
    third, texts = workspace.releases.load(release_ids(workspace)[2]), workspace.lake().items().select("item_id", *TEXT_COLUMNS)
    made = write_artifact(workspace.folder / "artifacts", "lexical", "w1", tables={"texts": texts}, config=LexicalConfig().model_dump())
    release = workspace.releases.write("words", {**third.artifacts, "lexical": made})
    workspace.releases.promote(release.id)
    return release


HUES = ((220, 30, 30), (30, 200, 40), (30, 40, 220), (230, 220, 30), (200, 30, 210), (30, 210, 210))
"""The colour of the pictures of each category."""
SHAPES = ((120, 160), (160, 120), (140, 140), (90, 200))
"""Width and height of pictures, by turns."""


def picture_of(n: int) -> np.ndarray:
    """uint8 (height, width, 3): what item n shows, the colour of its category; a dot makes it another file than any other."""
    width, height = SHAPES[n % len(SHAPES)]
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = HUES[n % len(HUES)]
    picture[8:24, 8:24] = n
    return picture


def png(picture: np.ndarray) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def promote_with_pictures(workspace: Workspace) -> Release:
    """Make a release live that is the second one, whose items show a picture each but every tenth, and that finds them by colours."""
    second = workspace.releases.load(release_ids(workspace)[1])
    root, store, items = workspace.folder / "artifacts", PictureStore(workspace.folder / "lake"), workspace.lake().items()
    shown = {f"item-{n:03d}": picture_of(n) for n in range(ITEMS) if n % 10}
    images = [[f"sha256:{store.put(png(shown[item_id]))}"] if item_id in shown else None for item_id in items["item_id"]]
    catalogue = Catalogue(items.with_columns(images=pl.Series(images, dtype=pl.List(pl.String))))
    encoder = Colours()
    features = encoder.features(np.stack([on_square(picture, encoder.side) for picture in shown.values()]))
    index = BinaryIndex.build(encoder.codes_of(features), list(shown), COLOURS, rescoring=encoder.vectors_of(features))
    made = {
        "catalogue": write_artifact(root, "catalogue", "c2", tables=catalogue.tables()),
        "visual": write_artifact(root, "visual", "v1", tensors={"none": np.zeros(1, np.float32)}, makes=[COLOURS]),
        "visual_index": write_artifact(
            root, "visual_index", "v1", tensors=index.tensors(), tables=index.tables(), config=index.config, requires=[COLOURS]
        ),
    }
    release = workspace.releases.write("pictures", {**second.artifacts, **made})
    workspace.releases.promote(release.id)
    return release


def encode_by_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder of every release is one of colours."""
    real, encoders = feed_parts.import_module, SimpleNamespace(VisualEncoder=SimpleNamespace(from_artifact=lambda artifact: Colours()))
    monkeypatch.setattr(feed_parts, "import_module", lambda name: encoders if name == "corkboard.embeddings.visual" else real(name))


def untrained_ranker() -> PointwiseRanker:
    """Small seeded weights; its biases make clicks likely, saves rare and hides rarest."""
    heads, weights = ("click", "save", "hide"), generator(7, "test ranker")
    n = len(FEATURE_NAMES)
    tensors = {
        "mean": np.zeros(n),
        "scale": np.ones(n),
        "weight_out": np.zeros((n, len(heads))),
        "weight_skip": weights.normal(0, 0.05, (n, len(heads))),
        "bias_out": np.array([-1.5, -2.5, -4.5]),
        "slope": np.ones(len(heads)),
        "offset": np.zeros(len(heads)),
    }
    return PointwiseRanker(heads, {name: value.astype(np.float32) for name, value in tensors.items()})


def release_ids(workspace: Workspace) -> list[str]:
    """The ids of the three releases, in the order they were made."""
    return json.loads((workspace.folder / "ids.json").read_text())


def make_engine(workspace: Workspace) -> LiveEngine:
    """An engine over the workspace, with its release loaded and nothing watching in the background."""
    engine = engine_of(workspace)
    engine.poll()
    return engine
