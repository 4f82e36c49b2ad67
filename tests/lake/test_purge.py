from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from corkboard.errors import LakeError
from corkboard.lake.ingest import ingest_file, ingest_frames
from corkboard.lake.lake import Lake

from .rows import DAY, T0, action, files_below, frame, impression, lake_of, many_actions

ANN = "ann-0f3b"


def holding(folder: Path, text: str) -> list[str]:
    """Files whose bytes hold the text, the columns of Parquet files read out (they are compressed)."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".parquet":
                data += repr(pl.read_parquet(path).to_dicts()).encode()
            if text.encode() in data:
                found.append(str(path.relative_to(folder)))
    return found


def rows_of(user_id: str) -> dict[str, list[dict[str, Any]]]:
    board = {"event_id": f"b-{user_id[:1]}", "time_ms": T0, "board_id": "b", "user_id": user_id, "secret": False, "deleted": False}
    served = {"event_id": f"s-{user_id[:1]}", "time_ms": T0, "request_id": "r", "user_id": user_id, "surface": "home", "slots": []}
    return {
        "actions": [action(f"{user_id[:1]}{day}", T0 + day * DAY, user_id=user_id) for day in range(5)],
        "impressions": [impression(f"p-{user_id[:1]}", T0, ["i"], user_id=user_id)],
        "users": [{"event_id": f"u-{user_id[:1]}", "time_ms": T0, "user_id": user_id, "deleted": False}],
        "boards": [board],
        "served": [served],
    }


def lake_of_two(folder: Path) -> Lake:
    mine, theirs = rows_of(ANN), rows_of("bob")
    return lake_of(folder, **{table: mine[table] + theirs[table] for table in mine})


def test_a_purged_user_is_in_no_byte_of_any_file(tmp_path: Path) -> None:
    lake = lake_of_two(tmp_path)
    bad = frame("actions", action("x", T0, item_id=None, user_id=ANN), action("y", T0, item_id=None, user_id="bob"))
    ingest_frames(tmp_path, {"actions": bad}, "bad rows")
    broken = tmp_path.parent / "broken.csv"
    broken.write_text(f"user_id,item_id,action,time_ms\n{ANN},i\n{ANN}ie,i\n")
    ingest_file(tmp_path, broken)
    assert {name.split("/")[0] for name in holding(tmp_path, ANN)} == {"actions", "impressions", "users", "boards", "served", "refused"}
    assert lake.purge_user(ANN) == {"actions": 5, "impressions": 1, "users": 1, "boards": 1, "served": 1}
    assert holding(tmp_path, f'"{ANN}"') == holding(tmp_path, f"'{ANN}'") == holding(tmp_path, f"{ANN},") == []
    assert [name.split("/")[0] for name in holding(tmp_path, ANN)] == ["refused"]  # another user, whose id begins alike
    after = lake.refresh()
    assert after.actions()["user_id"].unique().to_list() == ["bob"]
    assert after.actions().height == 5
    assert {table: rows for table, rows in after.counts().items() if rows} == {
        "actions": 5,
        "impressions": 1,
        "users": 1,
        "boards": 1,
        "served": 1,
    }
    assert [
        json.loads(line)["original"]["user_id"] for path in (tmp_path / "refused").iterdir() for line in path.open() if "bob" in line
    ] == ["bob"]
    assert after.snapshot != lake.snapshot


def test_other_rows_keep_their_order_and_their_place_in_time(tmp_path: Path) -> None:
    ingest_frames(tmp_path, {"actions": many_actions(2000)}, "test")
    before = Lake(tmp_path).actions()
    Lake(tmp_path).purge_user("u7")
    assert Lake(tmp_path).actions().equals(before.filter(pl.col("user_id") != "u7"))


def test_a_visitor_is_purged_by_session_and_a_user_with_that_session_stays(tmp_path: Path) -> None:
    rows = [action("a", T0, user_id=None, session_id="s"), action("b", T0, user_id="bob", session_id="s")]
    lake = lake_of(tmp_path, actions=rows)
    assert lake.purge_user("session:s") == {"actions": 1}
    assert lake.refresh().actions()["event_id"].to_list() == ["b"]


def test_a_purge_is_for_one_tenant(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, actions=[action("a", T0), {**action("a", T0), "tenant": "other"}])
    lake.purge_user("ann", tenant="other")
    assert lake.refresh().actions()["tenant"].to_list() == ["default"]


def test_an_old_file_does_not_bring_a_purged_user_back_but_the_user_may_come_back(tmp_path: Path) -> None:
    rows = many_actions(200)
    ingest_frames(tmp_path, {"actions": rows}, "file")
    gone = Lake(tmp_path).purge_user("u7")["actions"]
    report = ingest_frames(tmp_path, {"actions": rows}, "file")
    assert (report.rows_added, report.purged, report.duplicates) == ({}, gone, 200 - gone)
    assert "purged" in report.notes[0]
    later = 4_000_000_000_000
    assert ingest_frames(tmp_path, {"actions": frame("actions", action("new", later, user_id="u7"))}, "live").rows_added == {"actions": 1}


def test_a_user_row_that_says_deleted_purges_everything_up_to_it(tmp_path: Path) -> None:
    lake_of_two(tmp_path)
    gone = {"event_id": "gone", "time_ms": T0 + 2 * DAY, "user_id": ANN, "deleted": True}
    ingest_frames(tmp_path, {"users": frame("users", gone)}, "live")
    lake = Lake(tmp_path)
    assert lake.actions().filter(user_id=ANN)["event_id"].to_list() == ["a3", "a4"]  # days 0 to 2 are gone
    assert lake.users()["user_id"].to_list() == ["bob"]
    assert lake.impressions()["user_id"].to_list() == ["bob"]


def test_a_lake_that_was_open_says_what_to_do(tmp_path: Path) -> None:
    lake = lake_of_two(tmp_path)
    Lake(tmp_path).purge_user(ANN)
    with pytest.raises(LakeError, match="refresh"):
        lake.actions()


def test_purging_nobody_or_the_last_user_leaves_a_whole_lake(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, actions=[action("a", T0)])
    snapshot = lake.snapshot
    assert lake.purge_user("nobody") == {}
    assert lake.refresh().snapshot == snapshot
    assert lake.purge_user("ann") == {"actions": 1}
    assert lake.refresh().actions().height == 0
    assert files_below(tmp_path) == set()
