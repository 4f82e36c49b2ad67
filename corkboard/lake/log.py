"""The commit log: what makes files part of the lake.

A commit is one JSON file, ``commits/00000001.json``, that names the files it adds and the files it takes away. It is
written aside, made durable, and then linked to its number: the link fails where another writer has taken the number, and a
reader never sees half a commit. The lake is the sum of its commits; a file that none of them names does not exist for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from corkboard.artifacts import content_hash, sync_folder
from corkboard.errors import LakeError

FORMAT = 1


@dataclass(frozen=True)
class DataFile:
    """One Parquet file, and the file with the sorted hashes of its event ids (and those of the files written with it).

    ``order`` is the number of the commit that first brought its rows: among rows of one moment the later commit is newer.
    """

    table: str
    path: str
    rows: int
    first_ms: int
    last_ms: int
    ids: str
    order: int = 0


@dataclass(frozen=True)
class Commit:
    """What one writer adds and takes away.

    ``watermarks`` say up to which sequence number a store has
    been moved into the lake; ``purged`` maps the hash of a purged user to the moment up to which the user's rows stay out;
    ``digest`` stands for the content and is empty where it did not change.
    """

    number: int
    batch: str
    kind: str
    source: str
    created_ms: int
    source_hash: str = ""
    files: tuple[DataFile, ...] = ()
    removed: tuple[str, ...] = ()
    watermarks: Mapping[str, int] = field(default_factory=dict)
    purged: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""

    def to_json(self) -> bytes:
        rows: dict[str, int] = {}
        for file in self.files:
            rows[file.table] = rows.get(file.table, 0) + file.rows
        return json.dumps({"format": FORMAT, "rows": rows, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, path: Path) -> Commit:
        try:
            raw = json.loads(path.read_bytes())
        except ValueError as error:
            raise LakeError(
                f"The commit {path.name} of the lake is damaged: {error}",
                hint="Restore it from a backup; it names files that are still there.",
            ) from None
        found = raw.pop("format", None)
        if found != FORMAT:
            raise LakeError(
                f"The commit {path.name} has an unknown format", found=found, expected=FORMAT, hint="A newer Corkboard wrote it."
            )
        raw.pop("rows")
        raw["files"] = tuple(DataFile(**file) for file in raw["files"])
        raw["removed"] = tuple(raw["removed"])
        return cls(**raw)


@dataclass(frozen=True)
class Log:
    """The commits of a lake as they were when it was read."""

    folder: Path
    commits: tuple[Commit, ...]

    @classmethod
    def read(cls, folder: Path, known: Log | None = None) -> Log:
        """Every commit there is; those of ``known`` are not read again. Raises :class:`LakeError` where one is missing or damaged."""
        try:
            names = sorted(
                entry.name for entry in os.scandir(folder / "commits") if entry.name.endswith(".json") and not entry.name.startswith(".")
            )
        except FileNotFoundError:
            names = []
        commits = list(known.commits) if known else []
        for number, name in enumerate(names[len(commits) :], start=len(commits) + 1):
            if name != _file_name(number):
                raise LakeError("A commit of the lake is missing", found=name, expected=_file_name(number))
            commits.append(Commit.from_json(folder / "commits" / name))
        return cls(folder, tuple(commits))

    @property
    def next_number(self) -> int:
        return len(self.commits) + 1

    @cached_property
    def removed(self) -> frozenset[str]:
        return frozenset(path for commit in self.commits for path in commit.removed)

    @cached_property
    def files(self) -> tuple[DataFile, ...]:
        """Every live file, in the order in which the rows came in."""
        live = [file for commit in self.commits for file in commit.files if file.path not in self.removed]
        return tuple(sorted(live, key=lambda file: (file.order, file.path)))

    @cached_property
    def watermarks(self) -> dict[str, int]:
        marks: dict[str, int] = {}
        for commit in self.commits:
            for store_id, sequence in commit.watermarks.items():
                marks[store_id] = max(sequence, marks.get(store_id, 0))
        return marks

    @cached_property
    def purged(self) -> dict[str, int]:
        return {user: moment for commit in self.commits for user, moment in commit.purged.items()}

    @cached_property
    def purges(self) -> dict[str, int]:
        """The number of the commit that took out rows of a purged user last, by mark. A purge of somebody without rows is none."""
        return {user: commit.number for commit in self.commits if commit.digest for user in commit.purged}

    @cached_property
    def snapshot(self) -> str:
        """12 hex digits: the same for the same content in the same commits, wherever the lake lies."""
        return content_hash("lake", [commit.digest for commit in self.commits if commit.digest])

    def batches(self) -> set[str]:
        return {commit.batch for commit in self.commits}


def publish(folder: Path, commit: Commit) -> bool:
    """Make ``commit`` part of the lake, durably. False where another writer has taken its number: read the log again and retry."""
    commits = folder / "commits"
    commits.mkdir(parents=True, exist_ok=True)
    aside = commits / f".{commit.batch}.json"
    with open(aside, "wb") as file:
        file.write(commit.to_json())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(aside, commits / _file_name(commit.number))
    except FileExistsError:
        return False
    finally:
        aside.unlink()
    sync_folder(commits)
    return True


def content_digest(kind: str, parts: Iterable[tuple[str, int, int]]) -> str:
    """The digest of a commit from (table, rows, sum of the hashes of the event ids); empty where there are no rows."""
    changed = sorted(part for part in parts if part[1])
    return content_hash(kind, changed) if changed else ""


def _file_name(number: int) -> str:
    return f"{number:08d}.json"
