"""A whole small release: items in six topics with text, a past that the counters come from, and a ranker set by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ranking.builders import DAY_MS, HOUR_MS, lake_of

from corkboard.artifacts import Artifact, EmbeddingTable, Release, Releases, write_artifact
from corkboard.embeddings.config import MultiBiSageConfig, PinnerFormerConfig
from corkboard.embeddings.content import ContentTower, untrained_content
from corkboard.embeddings.item_tower import ItemTower
from corkboard.embeddings.multibisage import MultiBiSage
from corkboard.embeddings.multibisage_network import MultiBiSageNetwork
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.embeddings.pinnerformer import PinnerFormer
from corkboard.embeddings.user_vectors import UserVectors
from corkboard.errors import StoreError
from corkboard.feed.config import FeedConfig, SeenConfig
from corkboard.feed.home import Feed
from corkboard.feed.parts import ROLES
from corkboard.graph.from_lake import graphs, newer_saves
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE
from corkboard.learning.training import seeded
from corkboard.ranking.features import FEATURE_NAMES
from corkboard.ranking.light import BLOCKS, ITEM_FACTS, USER_FACTS, WINDOWS, LightRanker
from corkboard.ranking.pointwise import PointwiseRanker
from corkboard.retrieval.baselines import ItemKNN
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import FaissIndex
from corkboard.retrieval.item_stats import ItemStats
from corkboard.seeds import generator
from corkboard.state.base import BaseStates
from corkboard.state.memory import MemoryStore
from corkboard.state.replay import base_states

MIDNIGHT_MS = 1_760_000_000_000 // DAY_MS * DAY_MS
NOW_MS = MIDNIGHT_MS + 9 * HOUR_MS
TOPICS = ("lamp", "shirt", "cake", "bike", "plant", "tent")
WORDS = ("old", "red", "small", "bright", "plain", "round", "soft", "tall")


def past_rows(items: int = 300, users: int = 30, days: int = 12, sold: Callable[[int], bool] | None = None) -> list[dict[str, Any]]:
    """Items and a made-up log that ends at MIDNIGHT_MS; user uN likes topic N % 6 and saves to board bN, of which b5 and b11 are secret.

    Item N is ``sold`` or not: it has a price, and is a product where N is no multiple of 3; all items have prices where nothing is said.
    """
    draw = generator(5, "feed past")
    rows: list[dict[str, Any]] = []
    for n in range(items):
        topic = TOPICS[n % 6]
        title = f"{WORDS[n % 8]} {topic} {WORDS[(n // 8) % 8]}"
        facts = {
            "category": topic,
            "creator_id": f"c{n % 23}",
            "kind": "product" if n % 3 and (sold is None or sold(n)) else "pin",
        }
        if sold is None or sold(n):
            facts |= {"price_minor": 100 * (n + 1), "currency": "EUR"}
        rows.append(
            {
                "event": "item",
                "event_id": f"item-{n}",
                "time_ms": MIDNIGHT_MS - 20 * DAY_MS,
                "item_id": f"i{n:03d}",
                "title": title,
                **facts,
            }
        )
    for user in range(users):
        board = {"board_id": f"b{user}", "user_id": f"u{user}", "secret": user in (5, 11)}
        rows.append({"event": "board", "event_id": f"board-{user}", "time_ms": MIDNIGHT_MS - 19 * DAY_MS, **board})
        for page in range(days):
            time_ms = MIDNIGHT_MS - (days - page) * DAY_MS + int(draw.integers(0, 20)) * HOUR_MS
            shown = [f"i{n:03d}" for n in draw.permutation(items)[:15]]
            key = {"user_id": f"u{user}", "request_id": f"r{user}-{page}"}
            slots = [{"item_id": item_id, "position": place} for place, item_id in enumerate(shown)]
            rows.append(
                {"event": "impression", "event_id": f"p{user}-{page}", "time_ms": time_ms, "surface": "home", "slots": slots, **key}
            )
            for place, item_id in enumerate(shown):
                likes = int(item_id[1:]) % 6 == user % 6
                if draw.random() < (0.7 if likes else 0.03):
                    name = "save" if draw.random() < 0.4 else "click"
                    acted = {
                        "event_id": f"a{user}-{page}-{place}",
                        "time_ms": time_ms + 1000 * (place + 1),
                        "action": name,
                        "item_id": item_id,
                        "board_id": f"b{user}" if name == "save" else None,
                    }
                    rows.append({"event": "action", **acted, **key})
    return rows


def set_ranker(**weights: float) -> PointwiseRanker:
    """Heads click, save, hide; ``weights`` add to the logit of saves by feature, hides follow the hide features."""
    f = len(FEATURE_NAMES)
    skip = np.zeros((f, 3), np.float32)
    for name, weight in ({"similar_fading_hours": 1.0, "similar_100": 2.0, "popularity_7d": 0.3} | weights).items():
        skip[FEATURE_NAMES.index(name), :2] = weight
    skip[FEATURE_NAMES.index("nearest_hide"), 2] = 4.0
    skip[FEATURE_NAMES.index("same_creator_hides"), 2] = 1.0
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    tensors = {
        "mean": np.zeros(f, np.float32),
        "scale": np.ones(f, np.float32),
        "weight_out": np.zeros((f, 3), np.float32),
        "weight_skip": skip,
    }
    tensors |= {"bias_out": np.array([-2.0, -3.0, -4.0], np.float32), "slope": ones, "offset": zeros}
    return PointwiseRanker(("click", "save", "hide"), tensors)


def set_pinnerformer(content: EmbeddingTable, dim: int = 16, seed: int = 6) -> PinnerFormer:
    """An item tower set at random, which keeps what is alike alike; nobody encodes users with it."""
    draw = generator(seed, "item tower")
    settings = PinnerFormerConfig(dim=dim)
    wide, hidden, ids = content.dim, 8, 4
    weights = {
        "content": draw.normal(0, wide**-0.5, (wide, dim)),
        "ids": np.zeros((len(content), ids)),
        "id_skip": np.zeros((ids, dim)),
        "down": np.zeros((wide + ids, hidden)),
        "down_bias": np.zeros(hidden),
        "up": np.zeros((hidden, dim)),
    }
    return PinnerFormer(settings, ItemTower(content.ids, weights), {"nothing": np.zeros(1, np.float32)}, content.space, [24.0])


def set_multibisage(content: EmbeddingTable, dim: int = 16) -> MultiBiSage:
    """Never trained: it keeps what is alike alike."""
    settings, graph_names = MultiBiSageConfig(dim=dim, small_dim=4, width=16), ("board", "user_save")
    with seeded(7, "graph encoder"):
        network = MultiBiSageNetwork(settings, [content.dim], len(graph_names), 4)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    return MultiBiSage(settings, graph_names, [content.dim], [content.space], 4, weights)


def graph_placed(encoder: MultiBiSage, content: EmbeddingTable) -> EmbeddingTable:
    """Where the items stand by content alone."""
    return EmbeddingTable(content.ids, encoder.encode(NodeFeatures.of(content.ids, [content]), None), encoder.space)


def set_user_vectors(lake: Lake, embeddings: EmbeddingTable) -> UserVectors:
    """The mean of what each user liked before the last day of the past."""
    known_ms = MIDNIGHT_MS - DAY_MS
    liked = lake.actions(end_ms=known_ms).filter(pl.col("action").is_in(list(POSITIVE)))
    keys, vectors, newest = [], [], []
    for (user,), part in sorted(liked.group_by("user_id")):
        total = embeddings.lookup(part["item_id"].to_list())[0].sum(axis=0)
        keys.append(user)
        vectors.append(total / np.linalg.norm(total))
        newest.append(part["time_ms"].max())
    made = np.full(len(keys), known_ms)
    return UserVectors(
        keys, np.array(vectors, np.float32), made, np.array(newest), np.zeros(len(keys), np.uint64), known_ms, embeddings.space
    )


def set_light(embeddings: EmbeddingTable, contents: EmbeddingTable) -> LightRanker:
    """Heads click, save, hide set by hand: likeness to the user vector and to what was liked, for hides to what was hidden."""
    heads, tensors = 3, {}
    widths = dict(zip(BLOCKS, (embeddings.dim, contents.dim, len(TOPICS)), strict=True))
    for block, width in widths.items():
        windows = [*WINDOWS, *(["last row"] if block != "contents" else [])]
        gates = np.zeros((len(USER_FACTS) + 1, heads, len(windows)))
        for name in ("100", "fading_hours"):
            gates[-1, :2, windows.index(name)] = 1.0
        gates[-1, 2, windows.index("hides_fading")] = 4.0
        if block == "embeddings":
            gates[-1, :2, -1] = 1.0
        tensors |= {f"{block}_gates": gates.reshape(len(gates), -1), f"{block}_maps": np.eye(width)[None]}
    skip = np.zeros((len(ITEM_FACTS), 1 + heads))
    skip[ITEM_FACTS.index("popularity_7d"), 1:3] = 0.3
    total = sum(widths.values())
    tensors |= {
        "item_mean": np.zeros(len(ITEM_FACTS)),
        "item_scale": np.ones(len(ITEM_FACTS)),
        "user_mean": np.zeros(len(USER_FACTS)),
        "user_scale": np.ones(len(USER_FACTS)),
        "item_in": np.zeros((total + len(ITEM_FACTS), 3)),
        "item_in_bias": np.zeros(3),
        "item_out": np.zeros((3, 1 + heads)),
        "item_bias": np.array([-2.0, -3.0, -4.0]),
        "item_skip": skip,
        "user_in": np.zeros((total + embeddings.dim + len(USER_FACTS), 3)),
        "user_in_bias": np.zeros(3),
        "user_out": np.zeros((3, heads)),
    }
    return LightRanker(("click", "save", "hide"), tensors, TOPICS, embeddings.space, contents.space)


@dataclass(frozen=True)
class Small:
    """A workspace with a lake that ends at MIDNIGHT_MS, the artefact of every role, and a release of all of them."""

    workspace: Path
    lake: Lake
    tower: ContentTower
    vectors: EmbeddingTable
    graph_vectors: EmbeddingTable
    embeddings: EmbeddingTable
    user_vectors: UserVectors
    stats: ItemStats
    item_knn: ItemKNN
    artifacts: dict[str, Artifact]

    def release(self, without: Sequence[str] = (), **changed: Artifact) -> Release:
        kept = {role: artifact for role, artifact in (self.artifacts | changed).items() if role not in without}
        return Releases(self.workspace).write("test", kept)

    def store(self) -> MemoryStore:
        return MemoryStore(base=BaseStates.load(base_states(self.lake)))

    def feed(self, store: Any = None, without: Sequence[str] = (), config: FeedConfig | None = None, **options: Any) -> Feed:
        return Feed.load(self.release(without), self.store() if store is None else store, config, **options)


def small(workspace: Path, sold: Callable[[int], bool] | None = None) -> Small:
    lake = lake_of(workspace / "lake", past_rows(sold=sold))
    items = lake.items(before_ms=MIDNIGHT_MS)
    ids = items["item_id"].to_list()
    tower = untrained_content(items)
    vectors = EmbeddingTable(ids, tower.encode(items, MIDNIGHT_MS), tower.space)
    stats = ItemStats.build(lake.actions(), lake.shown(), ids, MIDNIGHT_MS)
    item_knn = ItemKNN.fit(lake.actions(), ids, MIDNIGHT_MS)
    multibisage = set_multibisage(vectors)
    placed, board_graphs = graph_placed(multibisage, vectors), graphs(lake.until(MIDNIGHT_MS - DAY_MS), ids)
    newer = newer_saves(lake, MIDNIGHT_MS - DAY_MS)
    index, graph_index, ranker = FaissIndex.build(vectors), FaissIndex.build(placed), set_ranker()
    pinnerformer = set_pinnerformer(placed)
    embeddings = EmbeddingTable(ids, pinnerformer.encode_items(ids, placed.vectors), pinnerformer.space)
    embedding_index, light = FaissIndex.build(embeddings), set_light(embeddings, vectors)
    user_vectors = set_user_vectors(lake, embeddings)
    root = workspace / "artifacts"
    artifacts = {
        "catalogue": write_artifact(root, "catalogue", "a", tables=Catalogue(items).tables()),
        "stats": write_artifact(root, "stats", "a", tensors=stats.tensors(), tables=stats.tables(), config=stats.config),
        "content": write_artifact(root, "content", "a", tensors=tower.tensors(), config=tower.config),
        "index": write_artifact(
            root, "index", "a", tensors=index.tensors(), tables=index.tables(), config=index.config, makes=[tower.space]
        ),
        "item_knn": write_artifact(root, "item_knn", "a", tensors=item_knn.tensors(), tables=item_knn.tables(), config=item_knn.config),
        "boards": write_artifact(root, "boards", "a", tensors=item_knn.tensors(), tables=item_knn.tables()),
        "graphs": write_artifact(root, "graphs", "a", tensors=board_graphs.tensors(), tables=board_graphs.tables() | {"newer": newer}),
        "multibisage": write_artifact(
            root, "multibisage", "a", tensors=multibisage.tensors(), config=multibisage.config, requires=[tower.space]
        ),
        "graph_index": written(root, "graph_index", graph_index, makes=[placed.space]),
        "pinnerformer": written(root, "pinnerformer", pinnerformer, makes=[embeddings.space], requires=[placed.space]),
        "embedding_index": written(root, "embedding_index", embedding_index, makes=[embeddings.space]),
        "user_vectors": written(root, "user_vectors", user_vectors, requires=[embeddings.space]),
        "light_ranker": write_artifact(root, "light_ranker", "a", tensors=light.tensors(), config=light.config(), requires=light.requires),
        "ranker": write_artifact(root, "ranker", "a", tensors=ranker.tensors(), config=ranker.config()),
    }
    artifacts["ranker_item_knn"] = artifacts["item_knn"]
    assert set(artifacts) == set(ROLES)
    return Small(workspace, lake, tower, vectors, placed, embeddings, user_vectors, stats, item_knn, artifacts)


def written(root: Path, step: str, part: Any, **spaces: Any) -> Artifact:
    """The artefact of a part with its own ``tensors``, ``tables`` and ``config``."""
    tensors = part.tensors() if hasattr(part, "tensors") else {}
    return write_artifact(root, step, "a", tensors=tensors, tables=part.tables(), config=part.config, **spaces)


class DeadStore:
    """A store that is not there."""

    store_id = "dead"

    def __getattr__(self, name: str) -> Any:
        def refuse(*arguments: Any, **named: Any) -> Any:
            raise StoreError("The store is not there")

        return refuse


def act(name: str, item_id: str | None = None, time_ms: int = NOW_MS - 1000, user: str = "ann", **columns: Any) -> dict[str, Any]:
    row = {"event": "action", "event_id": f"{name}-{item_id}-{time_ms}-{columns}", "time_ms": time_ms, "tenant": "default"}
    return row | {"user_id": user, "session_id": None, "action": name, "item_id": item_id, "surface": "home"} | columns


def topic_of(item_id: str) -> str:
    return TOPICS[int(item_id[1:]) % 6]


NEVER_TIRED = FeedConfig(seen=SeenConfig(fatigue=0.0, max_times=1000))
