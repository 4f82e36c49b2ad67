"""Killed at any moment, the same call made again ends in the same lake."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from corkboard.lake import ingest, lake, log, purge, refused, write
from corkboard.lake.ingest import ingest_file
from corkboard.lake.lake import Lake

from .rows import files_below, many_actions

POINTS = {
    "before anything is written": (ingest, "write_tables", 1),
    "in the middle of the files": (pl.DataFrame, "write_parquet", 4),
    "before the files are durable": (ingest, "make_durable", 1),
    "before the refused rows are in place": (refused.os, "replace", 1),
    "before the commit": (ingest, "publish", 1),
    "before the commit has its number": (log.os, "link", 1),
    "after the commit": (log, "sync_folder", 1),
    "before the draft of the commit is removed": (Path, "unlink", 1),
    "before the lock is given back": (Path, "unlink", 2),
}
PURGE_POINTS = {
    "before the refused rows are rewritten": (purge.refused, "forget", 1),
    "in the middle of the files": (pl.DataFrame, "write_parquet", 4),
    "before the commit": (purge, "publish", 1),
    "before the old files are deleted": (purge, "remove_files", 1),
}
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


def run(target: Callable[..., None], *arguments: object, kill_after_s: float | None = None) -> int | None:
    """Run in a process of its own, killed after a while or by itself; returns the exit code."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        process.kill()
    process.join(60)
    return process.exitcode


def die_at(owner: object, name: str, call: int) -> None:
    """Kill this process (as kill -9 does) when it calls a function for the n-th time."""
    really, calls = getattr(owner, name), []

    def count(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return really(*arguments, **named)

    setattr(owner, name, count)


def ingest_and_die(folder: Path, source: Path, point: str) -> None:
    die_at(*POINTS[point])
    ingest_file(folder, source)


def purge_and_die(folder: Path, point: str) -> None:
    die_at(*PURGE_POINTS[point])
    Lake(folder).purge_user("u7")


def content(folder: Path) -> tuple[pl.DataFrame, list[str], str]:
    reread = Lake(folder)
    kept = sorted((folder / "refused").glob("*"))
    return reread.actions(undone=True), [path.read_text() for path in kept], reread.snapshot


def no_leftovers(folder: Path) -> bool:
    files = log.Log.read(folder).files
    return files_below(folder) == {path for file in files for path in (file.path, file.ids)} and not list((folder / "commits").glob(".*"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two files that share rows; the second has bad rows too."""
    folder = tmp_path_factory.mktemp("sources")
    rows = many_actions(6_000, days=15)
    rows[:3_500].write_parquet(folder / "first.parquet")
    with_bad = pl.concat([rows[3_000:], many_actions(40, prefix="bad").with_columns(item_id=pl.lit(None, pl.String))])
    with_bad.write_csv(folder / "second.csv")
    return folder / "first.parquet", folder / "second.csv"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, sources: tuple[Path, Path]) -> tuple[pl.DataFrame, list[str], str]:
    """The lake as it is when nobody is killed."""
    folder = tmp_path_factory.mktemp("whole")
    for source in sources:
        ingest_file(folder, source)
    return content(folder)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_chosen_moment(tmp_path: Path, sources: tuple[Path, Path], whole: tuple, point: str) -> None:
    first, second = sources
    ingest_file(tmp_path, first)
    before = content(tmp_path)
    assert run(ingest_and_die, tmp_path, second, point) == -signal.SIGKILL
    after = content(tmp_path)
    assert after[0].height in (before[0].height, whole[0].height)  # nothing, or all of it
    ingest_file(tmp_path, second)
    rows, kept, snapshot = content(tmp_path)
    assert rows.equals(whole[0])
    assert (kept, snapshot) == (whole[1], whole[2])
    assert no_leftovers(tmp_path)


def test_killed_again_and_again_at_random(tmp_path: Path, sources: tuple[Path, Path], whole: tuple) -> None:
    start = time.perf_counter()
    run(ingest_file, tmp_path / "rehearsal", sources[1])
    takes_s = time.perf_counter() - start
    moments = random.Random(5)
    for source in sources:
        seen = 0
        for _ in range(5):
            run(ingest_file, tmp_path / "lake", source, kill_after_s=moments.uniform(0, takes_s))
            rows = Lake(tmp_path / "lake").actions()
            assert rows["event_id"].n_unique() == rows.height >= seen
            seen = rows.height
        ingest_file(tmp_path / "lake", source)
    rows, kept, snapshot = content(tmp_path / "lake")
    assert rows.equals(whole[0])
    assert (kept, snapshot) == (whole[1], whole[2])
    assert no_leftovers(tmp_path / "lake")


@pytest.mark.parametrize("point", PURGE_POINTS)
def test_a_purge_that_is_killed_is_finished_by_the_next(tmp_path: Path, sources: tuple[Path, Path], whole: tuple, point: str) -> None:
    for source in sources:
        ingest_file(tmp_path, source)
    assert run(purge_and_die, tmp_path, point) == -signal.SIGKILL
    assert content(tmp_path)[0].height in (whole[0].height, whole[0].filter(pl.col("user_id") != "u7").height)
    lake.Lake(tmp_path).purge_user("u7")
    assert content(tmp_path)[0].equals(whole[0].filter(pl.col("user_id") != "u7"))
    assert no_leftovers(tmp_path)


def test_a_living_writer_is_not_swept(tmp_path: Path) -> None:
    with write.batch(tmp_path) as mine:
        written = write.write_tables(mine, [write.TableRows.of("actions", many_rows())])
        with write.batch(tmp_path):
            pass  # another writer comes, sweeps and goes
        assert all((tmp_path / file.path).exists() for file in written)


def many_rows() -> pl.DataFrame:
    from corkboard.lake.schema import validate_frame

    return validate_frame("actions", many_actions(100)).good
