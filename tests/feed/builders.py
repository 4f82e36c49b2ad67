"""A whole small release: items in six topics with text, a past that the counters come from, and a ranker set by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ranking.builders import DAY_MS, HOUR_MS, lake_of

from corkboard.artifacts import Artifact, EmbeddingTable, Release, Releases, write_artifact
from corkboard.embeddings.content import ContentTower, untrained_content
from corkboard.errors import StoreError
from corkboard.feed.config import FeedConfig, SeenConfig
from corkboard.feed.home import Feed
from corkboard.feed.parts import ROLES
from corkboard.lake.lake import Lake
from corkboard.ranking.features import FEATURE_NAMES
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


def past_rows(items: int = 300, users: int = 30, days: int = 12) -> list[dict[str, Any]]:
    """Items and a made-up log that ends at MIDNIGHT_MS; user uN likes topic N % 6."""
    draw = generator(5, "feed past")
    rows: list[dict[str, Any]] = []
    for n in range(items):
        topic = TOPICS[n % 6]
        title = f"{WORDS[n % 8]} {topic} {WORDS[(n // 8) % 8]}"
        facts = {
            "category": topic,
            "creator_id": f"c{n % 23}",
            "kind": "product" if n % 3 else "pin",
            "price_minor": 100 * (n + 1),
            "currency": "EUR",
        }
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


@dataclass(frozen=True)
class Small:
    """A workspace with a lake that ends at MIDNIGHT_MS, the artefact of every role, and a release of all of them."""

    workspace: Path
    lake: Lake
    tower: ContentTower
    vectors: EmbeddingTable
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


def small(workspace: Path) -> Small:
    lake = lake_of(workspace / "lake", past_rows())
    items = lake.items(before_ms=MIDNIGHT_MS)
    ids = items["item_id"].to_list()
    tower = untrained_content(items)
    vectors = EmbeddingTable(ids, tower.encode(items, MIDNIGHT_MS), tower.space)
    stats = ItemStats.build(lake.actions(), lake.shown(), ids, MIDNIGHT_MS)
    item_knn = ItemKNN.fit(lake.actions(), ids, MIDNIGHT_MS)
    index, ranker = FaissIndex.build(vectors), set_ranker()
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
        "ranker": write_artifact(root, "ranker", "a", tensors=ranker.tensors(), config=ranker.config()),
    }
    artifacts["ranker_item_knn"] = artifacts["item_knn"]
    assert set(artifacts) == set(ROLES)
    return Small(workspace, lake, tower, vectors, stats, item_knn, artifacts)


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
