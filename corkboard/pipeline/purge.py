"""Forgetting a user: out of the store at once, then out of the lake and of every artefact that has rows of users.

Artefacts are never changed in place, and this is no exception: an artefact with rows of the user is written anew without
them under an id of its own, the releases that name it are switched over, and only then the old one is removed. Killed at any
moment, asking again finishes the work, and so does the next ingestion or build.

A build that runs beside it takes the same lock before it makes an artefact or a release known, and looks whether somebody was
purged since it opened the lake: what it has computed with them is thrown away (:class:`corkboard.pipeline.build.Builder`).
"""

from __future__ import annotations

import fcntl
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from corkboard.artifacts import Artifact, Releases, content_hash, load_artifact, write_artifact, write_atomically
from corkboard.lake.known import purge_mark
from corkboard.lake.log import Log
from corkboard.lake.purge import purge_user as purge_from_lake
from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.state.stores import Store

USER_COLUMNS = ("user_key", "user_id")
"""Columns of artefact tables that hold a user."""

Forgotten = Mapping[str, float]
"""By the mark of a purged user (:func:`corkboard.lake.known.purge_mark`): artefacts of a lake before this commit may know them."""


@dataclass
class Purged:
    """How many rows of the user each place had: the store, the lake by table, the artefacts by key."""

    user_id: str
    store_rows: int = 0
    lake_rows: dict[str, int] = field(default_factory=dict)
    artifact_rows: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "user_id": self.user_id,
            "purged": {"store_rows": self.store_rows, "lake_rows": self.lake_rows, "artifact_rows": self.artifact_rows},
        }


def purge_user(workspace: Path, store: Store, user_id: str, tenant: str = DEFAULT_TENANT) -> Purged:
    """Erase a user (or "session:..." key) everywhere. From the first step on no page knows the user.

    Raises :class:`StoreError` or :class:`LakeError` where a place cannot be written now; what came before it is purged.
    """
    store_rows = store.purge(user_id, tenant)
    purged = purge_at_rest(workspace, user_id, tenant)
    purged.store_rows = store_rows
    return purged


def purge_at_rest(workspace: Path, user_id: str, tenant: str = DEFAULT_TENANT) -> Purged:
    """Erase a user from the lake and the artefacts; for one whom the store has forgotten already. Raises :class:`LakeError`."""
    purged = Purged(user_id)
    with publishing(workspace):
        if (workspace / "lake").exists():
            purged.lake_rows = purge_from_lake(workspace / "lake", user_id, tenant)
        forgotten = {**_forgotten(workspace), purge_mark(tenant, user_id): math.inf}
        purged.artifact_rows = purge_artifacts(Releases(workspace), forgotten)
    return purged


def sweep(workspace: Path) -> dict[str, int]:
    """Take out of the artefacts whoever was purged from the lake after they were made: users whom an ingested row calls deleted, and
    whatever a killed purge left. Returns the rows removed by artefact."""
    with publishing(workspace):
        forgotten = _forgotten(workspace)
        return purge_artifacts(Releases(workspace), forgotten) if forgotten else {}


@contextmanager
def publishing(workspace: Path) -> Iterator[None]:
    """Hold the lock under which artefacts and releases become known and users are taken out of them. Nothing long is done under it."""
    workspace.mkdir(parents=True, exist_ok=True)
    with open(workspace / "publish.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forgotten(workspace: Path) -> Forgotten:
    return Log.read(workspace / "lake").purges if (workspace / "lake").exists() else {}


def purge_artifacts(releases: Releases, forgotten: Forgotten) -> dict[str, int]:
    """Write every artefact with rows of the forgotten anew without them; returns the number of those rows by artefact."""
    found: dict[str, int] = {}
    for artifact in _artifacts(releases.artifacts):
        read = artifact.manifest.get("lake_commit") or 0
        theirs = {mark for mark, commit in forgotten.items() if read < commit}
        tables = {file.stem: artifact.table(file.stem) for file in sorted(artifact.path.glob("*.parquet")) if theirs and _holds_users(file)}
        marks = {name: _marks(table, artifact.config.get("tenant", DEFAULT_TENANT)) for name, table in tables.items()}
        gone = [mark for column in marks.values() for mark in column if mark in theirs]
        if gone:
            kept = {name: tables[name].filter(pl.Series([mark not in theirs for mark in column])) for name, column in marks.items()}
            replacement = _write_without(releases.artifacts, artifact, kept, gone)
            _switch(releases.folder, artifact.key, replacement.key)
            shutil.rmtree(artifact.path)
            found[artifact.key] = len(gone)
    return found


def _artifacts(root: Path) -> Iterator[Artifact]:
    for manifest in sorted(root.glob("*/*/*/manifest.json")):
        yield load_artifact(manifest.parent)


def _holds_users(file: Path) -> bool:
    return any(column in USER_COLUMNS for column in pl.read_parquet_schema(file))


def _marks(table: pl.DataFrame, tenant: str) -> list[str]:
    """The mark of the user of each row; ``tenant`` is that of a table that does not say."""
    column = next(name for name in USER_COLUMNS if name in table.columns)
    tenants = table["tenant"] if "tenant" in table.columns else [tenant] * len(table)
    return ["" if key is None else purge_mark(whose, key) for whose, key in zip(tenants, table[column], strict=True)]


def _write_without(root: Path, artifact: Artifact, kept: dict[str, pl.DataFrame], gone: list[str]) -> Artifact:
    tables = {file.stem: artifact.table(file.stem) for file in artifact.path.glob("*.parquet")} | kept
    return write_artifact(
        root,
        artifact.step,
        content_hash(artifact.key, "without", sorted(gone)),
        name=artifact.manifest["name"],
        tensors=artifact.tensors,
        tables=tables,
        config=artifact.config,
        metrics=artifact.metrics,
        card=(artifact.path / "card.md").read_text(),
        makes=artifact.makes,
        requires=artifact.requires,
        inputs=artifact.manifest["inputs"],
        seed=artifact.manifest["seed"],
        cut_ms=artifact.cut_ms,
        lake_commit=artifact.manifest.get("lake_commit"),
    )


def _switch(folder: Path, old: str, new: str) -> None:
    """Let every release that names the artefact ``old`` name ``new``; what serves notices and loads it again."""
    for file in sorted(folder.glob("*.toml")):
        text = file.read_text()
        if f'"{old}"' in text:
            write_atomically(file, text.replace(f'"{old}"', f'"{new}"').encode())
