"""One simulated world on disk: its lake, the random requests it answered, and the content vectors of its items.

Made once for each seed and each set of mechanisms, under a name that hashes everything it depends on, and shared by all jobs of that
world, whichever process they run in. The world itself is needed only while this is made.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, EmbeddingTable, content_hash, load_artifact, write_artifact, write_atomically
from corkboard.experiments.spine_config import SpineConfig
from corkboard.experiments.spine_requests import RandomPages
from corkboard.experiments.spine_runs import code_hash
from corkboard.lake.calendar import Calendar
from corkboard.lake.lake import Lake
from corkboard.lake.schema import user_key_expr

Doing = Callable[[str], None]

_CODE = (
    *("world", "lake", "learning", "seeds.py", "artifacts.py", "experiments/spine_worlds.py"),
    *(f"embeddings/{name}.py" for name in ("content", "content_fields", "content_training", "pairs")),
)
"""Sources that a world, its lake and the content vectors of its items depend on."""


@dataclass(frozen=True)
class SpineWorld:
    """What models and figures of one world read. Everything is loaded when it is first asked for."""

    folder: Path
    config: SpineConfig
    seed: int

    @classmethod
    def prepared(cls, root: Path, config: SpineConfig, seed: int, off: tuple[str, ...], doing: Doing) -> SpineWorld:
        """The world of ``seed`` without the mechanisms ``off``, made below ``root`` where it is not there yet."""
        world = config.world.model_dump(mode="json")
        given = (world, config.calendar.model_dump(mode="json"), config.content.model_dump(mode="json"), config.requests, config.times)
        folder = root / "worlds" / content_hash(seed, off, *given, code_hash(*_CODE))
        with alone_at(folder.with_suffix(".lock")):
            if not (folder / "whole.json").exists():
                shutil.rmtree(folder, ignore_errors=True)
                _make(folder, config, seed, off, doing)
                write_atomically(folder / "whole.json", json.dumps({"seed": seed, "off": off}).encode())
        return cls(folder, config, seed)

    @cached_property
    def lake(self) -> Lake:
        """The log, in the lake's own form."""
        return Lake(self.folder / "lake")

    @cached_property
    def calendar(self) -> Calendar:
        """A, B and the end."""
        return Calendar.of(self.lake, self.config.calendar)

    @cached_property
    def content(self) -> EmbeddingTable:
        """Content vectors of every item, by a tower that was trained before A."""
        return load_artifact(self.folder / "artifacts" / "content" / "default" / "vectors").embeddings()

    @cached_property
    def pages(self) -> RandomPages:
        """The random requests of the test days."""
        before = self.lake.actions(end_ms=self.calendar.rank_cut_ms).filter(pl.col("item_id").is_not_null())
        earlier = before.select(user_id=user_key_expr()).group_by("user_id").len("n")
        slots, actions = (pl.read_parquet(self.folder / f"random_{name}.parquet") for name in ("slots", "actions"))
        return RandomPages.of(slots, actions, earlier, self.config.low_history)

    def kept(self, kind: str, key: str) -> Artifact | None:
        """An artefact that was kept under ``key``, where there is one."""
        folder = self.folder / "artifacts" / kind / "default" / key
        return load_artifact(folder) if (folder / "manifest.json").exists() else None

    def keep(self, kind: str, key: str, tensors: dict[str, np.ndarray], **parts: object) -> Artifact:
        """Keep what was trained, so that an interrupted job finds it again."""
        return write_artifact(self.folder / "artifacts", kind, key, tensors=tensors, seed=self.seed, **parts)  # type: ignore[arg-type]


def _make(folder: Path, config: SpineConfig, seed: int, off: tuple[str, ...], doing: Doing) -> None:
    from corkboard.lake.ingest import ingest_frames
    from corkboard.lake.pictures.store import PictureStore
    from corkboard.world.world import World

    doing("making the world")
    mechanisms = config.world.mechanisms.model_copy(update=dict.fromkeys(off, False))
    world = World(config.world.model_copy(update={"seed": seed, "mechanisms": mechanisms}))
    for _, data in world.picture_bytes():  # before the rows that name them
        PictureStore(folder / "lake").put(data)
    ingest_frames(folder / "lake", world.tables(), source=f"world {seed}")
    lake = Lake(folder / "lake")
    calendar = Calendar.of(lake, config.calendar)
    doing("asking random requests")
    slots, actions = world.random_requests(calendar.rank_cut_ms, calendar.end_ms, config.requests, seed, config.times)
    slots.write_parquet(folder / "random_slots.parquet")
    actions.write_parquet(folder / "random_actions.parquet")
    doing("training the content tower")
    table = content_vectors(lake, calendar, config, seed)
    tables = {"ids": pl.DataFrame({"id": table.ids})}
    write_artifact(
        folder / "artifacts", "content", "vectors", tensors={"vectors": table.vectors}, tables=tables, makes=[table.space], seed=seed
    )


def content_vectors(lake: Lake, calendar: Calendar, config: SpineConfig, seed: int) -> EmbeddingTable:
    """Vectors of every item of the lake by a content tower that read the days before A."""
    from corkboard.embeddings.content import train_content
    from corkboard.embeddings.pairs import co_engagement_pairs

    sealed, cut_ms = lake.until(calendar.item_cut_ms), calendar.item_cut_ms
    pairs = co_engagement_pairs(sealed.actions(), config.content.pairs, seed)
    tower = train_content(sealed.items(), pairs, config.content, seed, None, cut_ms)
    items = lake.items()
    return EmbeddingTable(items["item_id"].to_list(), tower.encode(items, cut_ms), tower.space)


@contextmanager
def alone_at(lock: Path) -> Iterator[None]:
    """Hold a file lock: two jobs of one world make it once. It goes with the process that holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
