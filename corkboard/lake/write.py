"""Writing below a lake: batches that are swept when their writer dies, and Parquet files cut by day.

A writer first takes a *batch*: a name, and a lock file that the kernel frees when the process ends, however it ends. Every
file it writes carries the name of the batch. Whoever comes next finds lock files that nobody holds and removes what those
writers left. Files that are in the commit log stay.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from corkboard.lake.hashes import hash_texts
from corkboard.lake.log import DataFile, Log
from corkboard.lake.tables import TABLES

DAY_MS = 86_400_000
SHARED_FILE_ROWS = 256
"""Days with fewer rows than this share a file with the quiet days after them, until it has as many: 4,000 days of 30 rows are 440
files, not 4,000. A file costs about 1 ms and 7 kB whatever it holds."""

WRITER_THREADS = 2
LOCKS = ".writers"


@dataclass(frozen=True)
class Batch:
    """The right to write below ``folder`` under the name ``name``."""

    folder: Path
    name: str


@contextmanager
def batch(folder: Path) -> Iterator[Batch]:
    """A new batch, after what killed writers left is swept. Give every file it writes its name."""
    locks = folder / LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    name, handle = _take(locks)
    try:
        yield Batch(folder, name)
    except BaseException:
        remove_batch(folder, name, Log.read(folder))
        raise
    finally:
        (locks / name).unlink(missing_ok=True)
        os.close(handle)


def _take(locks: Path) -> tuple[str, int]:
    while True:
        name = uuid.uuid4().hex[:16]
        handle = _lock(locks / name, os.O_CREAT | os.O_EXCL)
        if handle is not None:
            return name, handle


def _lock(path: Path, flags: int = 0) -> int | None:
    """An open handle that holds the lock of ``path``, or None where somebody else holds it or the file is gone."""
    try:
        handle = os.open(path, os.O_RDWR | flags, 0o644)
    except (FileNotFoundError, FileExistsError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink:  # else a sweeper was faster and has removed it
            return handle
    except BlockingIOError:
        pass
    os.close(handle)
    return None


def sweep(folder: Path) -> None:
    """Remove what killed writers left: files of batches without a commit, and files that a commit has taken away."""
    for path in sorted((folder / LOCKS).iterdir()):
        handle = _lock(path)
        if handle is None:
            continue
        try:
            log = Log.read(folder)  # after the lock: a writer that still held it may have committed
            remove_batch(folder, path.name, log)
            remove_files(folder, log.removed)
            path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def remove_batch(folder: Path, name: str, log: Log) -> None:
    """Remove every file that carries the name of a batch and is not in the log."""
    kept = {path for file in log.files for path in (file.path, file.ids)}
    for pattern in (f"*/day=*/{name}*", f"ids/*/{name}*", f"commits/.{name}*", f"refused/.{name}*"):
        for path in folder.glob(pattern):
            if str(path.relative_to(folder)) not in kept:
                path.unlink(missing_ok=True)


def remove_files(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


# --------------------------------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class TableRows:
    """Valid rows of one table, sorted by time, with the hash of every event id beside them."""

    table: str
    frame: pl.DataFrame
    hashes: np.ndarray

    @classmethod
    def of(cls, table: str, frame: pl.DataFrame) -> TableRows:
        """Things that happen are sorted by (time_ms, event_id); what is read by its newest row keeps its order within a moment."""
        frame = in_time_order(frame, by_id=TABLES[table].grows)
        return cls(table, frame, hash_texts(frame["event_id"]))

    def keep(self, mask: np.ndarray) -> TableRows:
        return self if mask.all() else replace(self, frame=self.frame.filter(pl.Series(mask)), hashes=self.hashes[mask])

    @cached_property
    def summary(self) -> tuple[str, int, int]:
        """(table, rows, sum of the hashes): what :func:`corkboard.lake.log.content_digest` is made of."""
        return self.table, len(self.hashes), int(self.hashes.sum(dtype=np.uint64))


def in_time_order(frame: pl.DataFrame, by_id: bool) -> pl.DataFrame:
    """The rows by ``time_ms``, and within a moment by ``event_id`` or, without ``by_id``, as they stand."""
    frame = frame.rechunk()  # the parts of many files: looking at rows here and there is several times slower in pieces
    if _is_in_order(frame, by_id):
        return frame
    return frame.sort("time_ms", "event_id") if by_id else frame.sort("time_ms", maintain_order=True)


def _is_in_order(frame: pl.DataFrame, by_id: bool) -> bool:
    times = frame["time_ms"].to_numpy()
    if (times[1:] < times[:-1]).any():
        return False
    ties = np.flatnonzero(times[1:] == times[:-1]) if by_id else np.zeros(0, np.int64)
    ids = frame["event_id"]
    return bool((ids[ties] <= ids[ties + 1]).all())


def write_tables(batch: Batch, tables: Iterable[TableRows], suffix: str = "", wrote: Callable[[int], None] | None = None) -> list[DataFile]:
    """Write rows as Parquet by day, and the hashes of their ids. Nothing is durable before :func:`make_durable`."""
    jobs: list[tuple[DataFile, pl.DataFrame]] = []
    for rows in tables:
        if rows.frame.height:
            ids = f"ids/{rows.table}/{batch.name}{suffix}.npy"
            (batch.folder / ids).parent.mkdir(parents=True, exist_ok=True)
            np.save(batch.folder / ids, np.sort(rows.hashes))
            jobs += list(_cut(rows, f"{batch.name}{suffix}.parquet", ids))

    def write(job: tuple[DataFile, pl.DataFrame]) -> int:
        file, frame = job
        path = batch.folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        _compact(frame).write_parquet(path)
        return frame.height

    with ThreadPoolExecutor(WRITER_THREADS) as pool:
        for rows_written in pool.map(write, jobs):
            if wrote is not None:
                wrote(rows_written)
    return [file for file, _ in jobs]


def _compact(frame: pl.DataFrame) -> pl.DataFrame:
    """A slice whose lists are a copy: writing it would else go through the lists of the whole frame, for every slice again."""
    return frame[np.arange(frame.height)] if any(dtype.is_nested() for dtype in frame.dtypes) else frame


def _cut(rows: TableRows, name: str, ids: str) -> Iterator[tuple[DataFile, pl.DataFrame]]:
    """Cut sorted rows into files of whole days: a day of its own where it has rows enough, else a run of quiet days."""
    times = rows.frame["time_ms"].to_numpy()
    days, starts = np.unique(times // DAY_MS, return_index=True)
    ends = np.append(starts[1:], len(times))
    busy = ends - starts >= SHARED_FILE_ROWS
    first = 0
    for last in range(len(days)):
        whole = last == len(days) - 1 or busy[last] or busy[last + 1] or ends[last] - starts[first] >= SHARED_FILE_ROWS
        if whole:
            begin, end = int(starts[first]), int(ends[last])
            path = f"{rows.table}/{folder_name(int(days[first]), int(days[last]))}/{name}"
            yield DataFile(rows.table, path, end - begin, int(times[begin]), int(times[end - 1]), ids), rows.frame[begin:end]
            first = last + 1


def folder_name(first_day: int, last_day: int) -> str:
    """``day=2024-03-01``, or ``day=2024-03-01_2024-03-09`` for a file that quiet days share."""
    first, last = (datetime.fromtimestamp(day * DAY_MS / 1000, UTC).strftime("%Y-%m-%d") for day in (first_day, last_day))
    return f"day={first}" if first == last else f"day={first}_{last}"


def make_durable(folder: Path, paths: Iterable[str]) -> None:
    """Flush written files and their names to the disk: by one ``syncfs`` on Linux, file by file elsewhere."""
    if sys.platform == "linux":
        handle = os.open(folder, os.O_RDONLY)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.syncfs(handle) == 0:
                return
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
        finally:
            os.close(handle)
    for path in {part for name in paths for part in (folder / name, *(folder / name).parents)}:
        if path.is_relative_to(folder):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
