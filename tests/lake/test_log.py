"""Commits, and what happens when several writers want the same number."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corkboard.errors import LakeError
from corkboard.lake import ingest as ingesting
from corkboard.lake import purge as purging
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.log import Commit, Log, publish

from .rows import T0, action, files_below, frame, lake_of, many_actions


def commit(number: int, batch: str = "b") -> Commit:
    return Commit(number=number, batch=batch, kind="ingest", source="test", created_ms=1)


def test_a_number_is_given_once(tmp_path: Path) -> None:
    assert publish(tmp_path, commit(1, "first"))
    assert not publish(tmp_path, commit(1, "second"))
    assert publish(tmp_path, commit(2, "second"))
    assert [c.batch for c in Log.read(tmp_path).commits] == ["first", "second"]
    assert sorted(path.name for path in (tmp_path / "commits").iterdir()) == ["00000001.json", "00000002.json"]


def test_a_commit_reads_back_as_it_was_written(tmp_path: Path) -> None:
    lake_of(tmp_path, actions=[action("a", T0)])
    (read,) = Log.read(tmp_path).commits
    raw = json.loads((tmp_path / "commits" / "00000001.json").read_text())
    assert raw["rows"] == {"actions": 1}
    assert Commit.from_json(tmp_path / "commits" / "00000001.json") == read
    assert read.files[0].path.startswith("actions/day=2024-03-01/")
    assert (read.files[0].rows, read.files[0].first_ms, read.files[0].last_ms, read.files[0].order) == (1, T0, T0, 1)


def test_a_missing_a_damaged_and_a_foreign_commit_are_told(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        publish(tmp_path, commit(number))
    third = tmp_path / "commits" / "00000003.json"
    third.write_text(third.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(LakeError, match="unknown format.*found 9"):
        Lake(tmp_path)
    third.write_text(third.read_text()[:40])
    with pytest.raises(LakeError, match="damaged"):
        Lake(tmp_path)
    (tmp_path / "commits" / "00000002.json").unlink()
    with pytest.raises(LakeError, match="missing"):
        Lake(tmp_path)


def test_many_writers_at_once_lose_nothing_and_count_everything_once(tmp_path: Path) -> None:
    rows = many_actions(1200)
    parts = [rows[:500], rows[300:800], rows[700:], rows[:1200]]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda part: ingest_frames(tmp_path, {"actions": part}, "part"), parts))
    lake = Lake(tmp_path)
    assert lake.actions()["event_id"].sort().to_list() == rows["event_id"].sort().to_list()
    assert sum(report.rows_added.get("actions", 0) for report in reports) == 1200
    numbers = [report.commit for report in reports if report.commit is not None]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert files_below(tmp_path) == {path for file in lake._log.files for path in (file.path, file.ids)}


def test_the_writer_who_comes_second_drops_what_the_first_has_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = many_actions(900, days=2)
    publish_really, raced = ingesting.publish, []

    def publish_late(folder: Path, commit: Commit) -> bool:
        if not raced:  # just before the first commit of this writer another one comes in between, twice
            raced.append(True)
            ingest_frames(tmp_path, {"actions": rows[:400]}, "faster")
            ingest_frames(tmp_path, {"actions": many_actions(5, prefix="other")}, "faster still")
        return publish_really(folder, commit)

    monkeypatch.setattr(ingesting, "publish", publish_late)
    report = ingest_frames(tmp_path, {"actions": rows}, "slower")
    assert (report.commit, report.rows_added, report.duplicates) == (3, {"actions": 500}, 400)
    assert Lake(tmp_path).actions().height == 905
    assert files_below(tmp_path) == {path for file in Log.read(tmp_path).files for path in (file.path, file.ids)}


def test_a_purge_takes_what_came_in_between_too_and_an_ingestion_drops_what_was_purged_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_of(tmp_path, actions=[action("a", T0), action("b", T0, user_id="bob")])
    really, raced = purging.publish, []

    def publish_late(folder: Path, commit: Commit) -> bool:
        if not raced:
            raced.append(True)
            ingest_frames(tmp_path, {"actions": frame("actions", action("c", T0), action("d", T0, user_id="bob"))}, "faster")
        return really(folder, commit)

    monkeypatch.setattr(purging, "publish", publish_late)
    assert lake.purge_user("ann") == {"actions": 2}

    raced.clear()
    monkeypatch.setattr(purging, "publish", really)

    def purge_first(folder: Path, commit: Commit) -> bool:
        if not raced:
            raced.append(True)
            Lake(tmp_path).purge_user("bob")
        return really(folder, commit)

    monkeypatch.setattr(ingesting, "publish", purge_first)
    report = ingest_frames(tmp_path, {"actions": frame("actions", action("e", T0, user_id="bob"), action("f", T0, user_id="cat"))}, "late")
    assert (report.rows_added, report.purged) == ({"actions": 1}, 1)
    assert Lake(tmp_path).actions()["event_id"].to_list() == ["f"]


def test_an_error_on_the_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake_of(tmp_path, actions=[action("a", T0)])
    before = files_below(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ingesting, "make_durable", full)
    with pytest.raises(OSError, match="No space"):
        ingest_frames(tmp_path, {"actions": many_actions(50)}, "test")
    assert files_below(tmp_path) == before
    assert Lake(tmp_path).actions().height == 1
