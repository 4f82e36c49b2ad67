"""Taking users out of the lake: every file that holds a row of theirs is written anew without it, in one commit.

The old files are deleted at once, so a lake that was opened before must be opened again. The log keeps a hash of the user
and a moment: rows that are not later stay out when an old file is ingested again. Rows of others that only mention the
user, as a creator whom they follow, belong to these others and stay.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from corkboard.lake import refused
from corkboard.lake.hashes import hash_texts
from corkboard.lake.known import purge_mark
from corkboard.lake.log import Commit, DataFile, Log, content_digest, publish
from corkboard.lake.tables import SESSION_KEY, TABLES, scan, user_key_expr
from corkboard.lake.write import Batch, batch, make_durable, remove_files

User = tuple[str, str]
"""(tenant, user key)."""

_EVER = 2**62


def purge_user(lake_folder: Path, user_key: str, tenant: str) -> dict[str, int]:
    """Remove everything of a user, or of a visitor by the key "session:<id>"; returns the rows removed by table."""
    return _purge(lake_folder, {(tenant, user_key): _EVER})


def purge_deleted(lake_folder: Path) -> dict[str, int]:
    """Remove every user whom an ingested row calls deleted, up to the time of that row; returns the rows removed by table."""
    files = [lake_folder / file.path for file in Log.read(lake_folder).files if file.table == "users"]
    if not files:
        return {}
    deleted = scan("users", files).filter("deleted").group_by("tenant", "user_id").agg(pl.col("time_ms").max()).collect()
    if not deleted.height:
        return {}
    return _purge(lake_folder, {(tenant, user_id): until_ms for tenant, user_id, until_ms in deleted.iter_rows()})


def _purge(lake_folder: Path, until_ms: Mapping[User, int]) -> dict[str, int]:
    with batch(lake_folder) as mine:
        refused.forget(lake_folder, [key.removeprefix(SESSION_KEY) for _, key in until_ms])
        log, attempt = Log.read(lake_folder), 0
        while True:
            change = _rewrite(mine, log, until_ms, f"-{attempt}")
            make_durable(lake_folder, [file.path for file in change.files])
            if publish(lake_folder, _commit_of(mine, log, change, until_ms)):
                remove_files(lake_folder, change.removed)
                return {table: rows for table, (rows, _) in change.gone.items()}
            remove_files(lake_folder, [file.path for file in change.files])
            log, attempt = Log.read(lake_folder, known=log), attempt + 1


@dataclass
class _Change:
    """New files for old ones; ``gone`` has for each table the rows that are left out and the sum of the hashes of their ids."""

    files: list[DataFile] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    gone: dict[str, tuple[int, int]] = field(default_factory=dict)
    last_ms: int = 0

    def leave_out(self, table: str, rows: pl.DataFrame) -> None:
        count, total = self.gone.get(table, (0, 0))
        self.gone[table] = count + rows.height, (total + int(hash_texts(rows["event_id"]).sum())) % 2**64
        self.last_ms = max(self.last_ms, int(rows["time_ms"].max()))  # type: ignore[arg-type]


def _rewrite(mine: Batch, log: Log, until_ms: Mapping[User, int], suffix: str) -> _Change:
    change = _Change()
    for table in (table for table in TABLES.values() if "user_id" in table.names):
        files = [file for file in log.files if file.table == table.name]
        theirs = _rows_of(until_ms, table.name)
        for number, file in enumerate(_holding(log.folder, files, theirs)):
            frame = pl.read_parquet(log.folder / file.path)
            mask = frame.select(theirs).to_series()
            change.leave_out(table.name, frame.filter(mask))
            change.removed.append(file.path)
            rest = frame.filter(~mask)
            if rest.height:
                path = str(Path(file.path).with_name(f"{mine.name}{suffix}-{number}.parquet"))
                rest.write_parquet(log.folder / path)
                times = rest["time_ms"]
                change.files.append(replace(file, path=path, rows=rest.height, first_ms=times.min(), last_ms=times.max()))
    live = {file.ids for file in log.files if file.path not in set(change.removed)} | {file.ids for file in change.files}
    change.removed += sorted({file.ids for file in log.files} - live)
    return change


def _rows_of(until_ms: Mapping[User, int], table: str) -> pl.Expr:
    """Whether a row belongs to one of the users and is not later than it may be."""
    whose = pl.concat_str("tenant", user_key_expr(table), separator="\x1f")
    until = {f"{tenant}\x1f{key}": moment for (tenant, key), moment in until_ms.items()}
    return (pl.col("time_ms") <= whose.replace_strict(until, default=-1, return_dtype=pl.Int64)).fill_null(False)


def _holding(folder: Path, files: list[DataFile], theirs: pl.Expr) -> list[DataFile]:
    if not files:
        return []
    paths = {str(folder / file.path): file for file in files}
    found = scan(files[0].table, [Path(path) for path in paths], "path").filter(theirs).select(pl.col("path").unique()).collect()
    return sorted((paths[path] for path in found["path"]), key=lambda file: file.path)


def _commit_of(mine: Batch, log: Log, change: _Change, until_ms: Mapping[User, int]) -> Commit:
    now = int(time.time() * 1000)
    ever = max(now, change.last_ms)
    return Commit(
        number=log.next_number,
        batch=mine.name,
        kind="purge",
        source="purge",
        created_ms=now,
        files=tuple(change.files),
        removed=tuple(change.removed),
        purged={purge_mark(tenant, key): ever if moment == _EVER else moment for (tenant, key), moment in until_ms.items()},
        digest=content_digest("purge", [(table, rows, total) for table, (rows, total) in change.gone.items()]),
    )
