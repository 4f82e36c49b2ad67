"""Forgetting a user: out of the store at once, then out of the lake and of every artefact that has rows of users.

Artefacts are never changed in place, and this is no exception: an artefact with rows of the user is written anew without
them under an id of its own, the releases that name it are switched over, and only then the old one is removed. Killed at any
moment, asking again finishes the work.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from corkboard.artifacts import Artifact, Releases, content_hash, load_artifact, write_artifact, write_atomically
from corkboard.lake.purge import purge_user as purge_from_lake
from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.state.stores import Store

USER_COLUMNS = ("user_key", "user_id")
"""Columns of artefact tables that hold a user."""


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
    if (workspace / "lake").exists():
        purged.lake_rows = purge_from_lake(workspace / "lake", user_id, tenant)
    purged.artifact_rows = purge_artifacts(Releases(workspace), user_id, tenant)
    return purged


def purge_artifacts(releases: Releases, user_id: str, tenant: str = DEFAULT_TENANT) -> dict[str, int]:
    """Write every artefact with rows of the user anew without them; returns the number of those rows by artefact."""
    found: dict[str, int] = {}
    for artifact in _artifacts(releases.artifacts):
        tables = {file.stem: artifact.table(file.stem) for file in sorted(artifact.path.glob("*.parquet")) if _holds_users(file)}
        kept = {name: _without(table, user_id, tenant) for name, table in tables.items()}
        gone = sum(len(table) - len(kept[name]) for name, table in tables.items())
        if gone:
            replacement = _write_without(releases.artifacts, artifact, kept, user_id, tenant)
            _switch(releases.folder, artifact.key, replacement.key)
            shutil.rmtree(artifact.path)
            found[artifact.key] = gone
    return found


def _artifacts(root: Path) -> Iterator[Artifact]:
    for manifest in sorted(root.glob("*/*/*/manifest.json")):
        yield load_artifact(manifest.parent)


def _holds_users(file: Path) -> bool:
    return any(column in USER_COLUMNS for column in pl.read_parquet_schema(file))


def _without(table: pl.DataFrame, user_id: str, tenant: str) -> pl.DataFrame:
    """The rows of others, and those of another tenant's user of the same name."""
    column = next(name for name in USER_COLUMNS if name in table.columns)
    theirs = pl.col(column) == user_id
    if "tenant" in table.columns:
        theirs &= pl.col("tenant") == tenant
    return table.filter(~theirs.fill_null(False))


def _write_without(root: Path, artifact: Artifact, kept: dict[str, pl.DataFrame], user_id: str, tenant: str) -> Artifact:
    tables = {file.stem: artifact.table(file.stem) for file in artifact.path.glob("*.parquet")} | kept
    return write_artifact(
        root,
        artifact.step,
        content_hash(artifact.key, "without", tenant, user_id),
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
    )


def _switch(folder: Path, old: str, new: str) -> None:
    """Let every release that names the artefact ``old`` name ``new``; what serves notices and loads it again."""
    for file in sorted(folder.glob("*.toml")):
        text = file.read_text()
        if f'"{old}"' in text:
            write_atomically(file, text.replace(f'"{old}"', f'"{new}"').encode())
