from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from corkboard.errors import LakeError, LeakError
from corkboard.lake.hashes import hash_texts
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.schema import TABLES, empty, user_key

from .rows import DAY, HOUR, T0, action, frame, impression, item, lake_of, many_actions, undo


def ids(rows: pl.DataFrame) -> list[str]:
    return rows["event_id"].to_list()


def test_a_folder_without_a_lake_is_an_empty_lake(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "nothing")
    assert lake.counts() == dict.fromkeys(TABLES, 0)
    assert lake.actions().equals(empty("actions"))
    assert lake.items().columns == [*TABLES["items"].names, "created_ms"]
    with pytest.raises(LakeError, match="no actions"):
        lake.time_range()
    assert not (tmp_path / "nothing").exists()


def test_ranges_are_half_open_and_sorted(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, actions=[action("c", T0 + 2), action("b", T0), action("a", T0), action("d", T0 + DAY)])
    assert ids(lake.actions()) == ["a", "b", "c", "d"]
    assert ids(lake.actions(T0, T0 + 2)) == ["a", "b"]
    assert ids(lake.actions(start_ms=T0 + 2)) == ["c", "d"]
    assert ids(lake.actions(end_ms=T0)) == []
    assert lake.actions().schema == TABLES["actions"].schema
    assert lake.time_range() == (T0, T0 + DAY)


def test_the_newest_row_of_a_table_and_of_a_view(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, actions=[action("a", T0), action("b", T0 + 5), action("c", T0 + DAY)])
    assert lake.newest_ms("actions") == T0 + DAY
    assert lake.newest_ms("served") is None
    assert [lake.until(T0 + cut).newest_ms("actions") for cut in (0, 1, 5, 6, DAY, DAY + 1)] == [None, T0, T0, T0 + 5, T0 + 5, T0 + DAY]


def test_rows_are_sorted_over_commits_too(tmp_path: Path) -> None:
    for prefix in ("x", "y"):
        ingest_frames(tmp_path, {"actions": many_actions(3000, prefix=prefix).with_columns(pl.col("time_ms") // HOUR * HOUR)}, prefix)
    actions = Lake(tmp_path).actions()
    assert actions.height == 6000
    assert actions.equals(actions.sort("time_ms", "event_id"))


def test_a_lake_is_frozen_until_it_is_refreshed(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, actions=[action("a", T0)])
    view = lake.until(T0 + HOUR)
    ingest_frames(tmp_path, {"actions": frame("actions", action("b", T0 + 1), action("c", T0 + DAY))}, "later")
    assert ids(lake.actions()) == ids(view.actions()) == ["a"]
    assert ids(lake.refresh().actions()) == ["a", "b", "c"]
    assert ids(view.refresh().actions()) == ["a", "b"]
    assert lake.snapshot != lake.refresh().snapshot


def test_items_are_their_newest_row_strictly_before(tmp_path: Path) -> None:
    lake = lake_of(
        tmp_path,
        items=[
            item("1", T0, "i2", title="old"),
            item("2", T0 + DAY, "i2", title="new"),
            item("3", T0 + 1, "i1"),
            item("4", T0 + 2, "i3"),
            item("5", T0 + DAY, "i3", deleted=True),
        ],
    )
    assert lake.items().select("item_id", "title", "created_ms").rows() == [("i1", None, T0 + 1), ("i2", "new", T0)]
    assert lake.items(T0 + DAY).select("item_id", "title").rows() == [("i1", None), ("i2", "old"), ("i3", None)]
    assert lake.items(T0).height == 0


def test_of_rows_of_one_moment_the_later_commit_wins_and_in_a_commit_the_later_row(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, items=[item("9", T0, "i1", title="first"), item("1", T0, "i1", title="second")])
    assert lake.items()["title"].to_list() == ["second"]
    ingest_frames(tmp_path, {"items": frame("items", item("0", T0, "i1", title="third"))}, "later")
    assert lake.refresh().items()["title"].to_list() == ["third"]


def test_boards_keep_their_secret_and_users_their_interests(tmp_path: Path) -> None:
    board = {"time_ms": T0, "user_id": "ann", "deleted": False}
    lake = lake_of(
        tmp_path,
        boards=[
            {"event_id": "1", "board_id": "b1", "secret": True, **board},
            {"event_id": "2", "board_id": "b2", "secret": False, **board},
        ],
        users=[{"event_id": "1", "time_ms": T0, "user_id": "ann", "interests": ["cats"], "deleted": False}],
    )
    assert lake.boards().select("board_id", "secret").rows() == [("b1", True), ("b2", False)]
    assert lake.users()["interests"].to_list() == [["cats"]]
    assert lake.boards(T0).height == lake.users(T0).height == 0


def test_impressions_served_and_objects_come_back_whole(tmp_path: Path) -> None:
    slot = {"item_id": "i1", "position": 0, "score": 0.5, "propensity": None, "source": "popular,fresh"}
    served = {
        "event_id": "r1",
        "request_id": "r1",
        "time_ms": T0,
        "user_id": "ann",
        "surface": "home",
        "notes": ["no ranker"],
        "flags": [],
        "sequence": [{"item_id": "i0", "action": "save", "time_ms": T0 - 1}],
        "feature_names": ["age", "ctr"],
        "artifacts": ["a/b/c"],
        "slots": [{**slot, "features": [1.0, None], "heads": [0.25]}],
    }
    lake = lake_of(tmp_path, impressions=[impression("a", T0, ["i1", "i2"])], served=[served])
    ingest_frames(tmp_path, {"objects": pl.DataFrame({"item_id": ["i1"], "image_hash": ["h"], "box": [[0.0, 0.0, 1.0, 0.5]]})}, "objects")
    lake = lake.refresh()
    assert lake.impressions()["slots"].to_list()[0][1] == {
        "item_id": "i2",
        "position": 1,
        "score": None,
        "propensity": None,
        "source": None,
    }
    row = lake.served().row(0, named=True)
    assert {name: row[name] for name in served} == served
    assert lake.objects().select("item_id", "box").rows() == [("i1", [0.0, 0.0, 1.0, 0.5])]


def test_judgements_come_back_whole_and_a_lake_without_them_keeps_its_hash(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, actions=[action("a", T0)])
    digest = hashlib.blake2b(digest_size=8)
    for table in (name for name in TABLES if name != "judgements"):
        hashes = hash_texts(pl.Series(["a"])) if table == "actions" else np.zeros(0, np.uint64)
        digest.update(table.encode() + len(hashes).to_bytes(8, "little") + hashes.astype("<u8").tobytes())
    assert lake.event_hash() == digest.hexdigest()
    row = {
        "judge_id": "j",
        "query_image": "h",
        "query_box": [0.0, 0.0, 0.5, 1.0],
        "item_id": "i",
        "grade": 3,
        "source": "gold/3",
        "gold": True,
    }
    ingest_frames(tmp_path, {"judgements": pl.DataFrame([row, {**row, "judge_id": "k", "grade": 4}])}, "judged")
    assert lake.refresh().judgements().select(*row).rows(named=True) == [row]  # there is no grade 4
    assert lake.refresh().event_hash() != lake.event_hash()


# ---------------------------------------------------------------------------------------------------------------- undo


def test_an_undone_action_counts_until_it_is_undone(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, actions=[action("a", T0, "save"), action("b", T0 + 1), undo("u", T0 + DAY, "a")])
    assert ids(lake.actions()) == ["b"]
    assert ids(lake.actions(end_ms=T0 + DAY + 1)) == ["b"]
    assert ids(lake.actions(end_ms=T0 + DAY)) == ["a", "b"]  # the undo comes at this moment, which the range leaves out
    assert ids(lake.actions(T0, T0 + HOUR)) == ["a", "b"]
    assert ids(lake.until(T0 + DAY).actions()) == ["a", "b"]
    assert ids(lake.actions(undone=True)) == ["a", "b", "u"]


def test_an_undo_behind_the_range_or_by_somebody_else_takes_nothing_back(tmp_path: Path) -> None:
    rows = [
        action("a", T0),
        undo("u1", T0 + 1, "a", user_id="bob"),
        undo("u2", T0 + 2, "nothing"),
        {**undo("u3", T0 + 3, "a"), "tenant": "other"},
    ]
    assert ids(lake_of(tmp_path, actions=rows).actions()) == ["a"]


def test_an_undo_in_an_earlier_file_reaches_an_action_that_arrived_late(tmp_path: Path) -> None:
    lake_of(tmp_path, actions=[undo("u", T0 + 5, "late")])
    ingest_frames(tmp_path, {"actions": frame("actions", action("late", T0 + DAY), action("b", T0 + DAY))}, "late")
    assert ids(Lake(tmp_path).actions(start_ms=T0 + DAY)) == ["b"]


# ---------------------------------------------------------------------------------------------------------------- leaks


def planted(folder: Path) -> Lake:
    """Every table has a row at the cut and one before; what is at the cut is called "future"."""
    board = {"board_id": "b", "user_id": "ann", "secret": False, "deleted": False}
    user = {"user_id": "ann", "deleted": False}
    served = {"request_id": "r", "user_id": "ann", "surface": "home", "slots": []}
    judged = {"judge_id": "j", "query_image": "h", "item_id": "i", "grade": 2, "gold": False}
    return lake_of(
        folder,
        actions=[action("past", T0), action("future", T0 + HOUR), undo("future-undo", T0 + HOUR, "past")],
        impressions=[impression("past", T0, ["i"]), impression("future", T0 + HOUR, ["i"])],
        items=[item("past", T0, "i"), item("future", T0 + HOUR, "i"), item("future-2", T0 + HOUR, "new")],
        users=[{"event_id": "past", "time_ms": T0, **user}, {"event_id": "future", "time_ms": T0 + HOUR, **user}],
        boards=[{"event_id": "past", "time_ms": T0, **board}, {"event_id": "future", "time_ms": T0 + HOUR, **board}],
        served=[{"event_id": "past", "time_ms": T0, **served}, {"event_id": "future", "time_ms": T0 + HOUR, **served}],
        objects=[{"event_id": "past", "time_ms": T0, "item_id": "i"}, {"event_id": "future", "time_ms": T0 + HOUR, "item_id": "i"}],
        judgements=[{"event_id": "past", "time_ms": T0, **judged}, {"event_id": "future", "time_ms": T0 + HOUR, **judged}],
    )


def test_nothing_reads_past_the_cut(tmp_path: Path) -> None:
    view = planted(tmp_path).until(T0 + HOUR)
    reads = [
        view.actions(),
        view.actions(undone=True),
        view.impressions(),
        view.served(),
        view.items(),
        view.users(),
        view.boards(),
        view.objects(),
        view.judgements(),
    ]
    for rows in reads:
        assert ids(rows) == ["past"]
    assert view.counts() == dict.fromkeys(TABLES, 1)
    assert view.time_range() == (T0, T0)
    assert ids(view.until(T0 + 1).actions(end_ms=T0 + 1)) == ["past"]


@pytest.mark.parametrize("read", ["items", "users", "boards"])
def test_asking_for_the_state_after_the_cut_is_a_leak(tmp_path: Path, read: str) -> None:
    view = planted(tmp_path).until(T0 + HOUR)
    assert getattr(view, read)(T0 + HOUR).height == 1
    with pytest.raises(LeakError, match=str(T0 + HOUR)):
        getattr(view, read)(T0 + HOUR + 1)


@pytest.mark.parametrize("read", ["actions", "impressions", "served"])
def test_asking_for_rows_after_the_cut_is_a_leak(tmp_path: Path, read: str) -> None:
    view = planted(tmp_path).until(T0 + HOUR)
    for span in ({"end_ms": T0 + HOUR + 1}, {"start_ms": T0 + HOUR + 1}):
        with pytest.raises(LeakError):
            getattr(view, read)(**span)
    with pytest.raises(LeakError):
        view.until(T0 + HOUR + 1)


def test_a_view_has_a_snapshot_of_its_own(tmp_path: Path) -> None:
    lake = planted(tmp_path)
    assert len({lake.snapshot, lake.until(T0).snapshot, lake.until(T0 + 1).snapshot}) == 3
    assert lake.until(T0).snapshot == Lake(tmp_path).until(T0).snapshot


def test_the_key_of_a_user_is_the_id_or_the_session() -> None:
    assert user_key({"user_id": "ann", "session_id": "s"}) == "ann"
    assert user_key({"user_id": None, "session_id": "s"}) == "session:s"


def test_a_plain_log_of_clicks_has_the_items_that_were_acted_on(tmp_path):
    rows = [("a", T0 + 3 * DAY), ("b", T0 + DAY), ("a", T0 + 2 * DAY)]
    clicks = pl.DataFrame({"item_id": [i for i, _ in rows], "time_ms": [t for _, t in rows]})
    clicks = clicks.with_columns(user_id=pl.lit("u"), action=pl.lit("click"), surface=pl.lit("home"))
    ingest_frames(tmp_path, {"actions": clicks}, source="clicks")
    lake = Lake(tmp_path)
    facts = lake.items().select("item_id", "created_ms", "kind", "available").rows()
    assert facts == [("a", T0 + 2 * DAY, "pin", True), ("b", T0 + DAY, "pin", True)]
    assert lake.items(before_ms=T0 + 2 * DAY)["item_id"].to_list() == ["b"]
    assert lake.until(T0 + 2 * DAY).items()["item_id"].to_list() == ["b"]
    assert lake.items().schema == {**TABLES["items"].schema, "created_ms": pl.Int64}


def test_a_served_page_counts_as_shown_until_a_client_says_what_was_seen(tmp_path):
    def served(request_id: str, items: list[str]) -> dict:
        slots = [{"item_id": item_id, "position": n} for n, item_id in enumerate(items)]
        facts = {"request_id": request_id, "user_id": "ann", "surface": "home", "release": "r", "slots": slots}
        return {"event_id": request_id, "time_ms": T0 + HOUR, **facts}

    seen = impression("x", T0 + 2 * HOUR, ["a"], request_id="reported")
    lake = lake_of(tmp_path, impressions=[seen], served=[served("reported", ["a", "b"]), served("silent", ["c", "d"])])
    assert sorted(lake.shown().rows()) == [(T0 + HOUR, "c"), (T0 + HOUR, "d"), (T0 + 2 * HOUR, "a")]


def test_a_view_is_named_by_what_lies_before_its_cut(tmp_path):
    lake = lake_of(tmp_path, actions=[action("one", T0)])
    before = lake.until(T0 + DAY).snapshot
    ingest_frames(tmp_path, {"actions": frame("actions", action("two", T0 + 5 * DAY))}, source="later")
    later = lake.refresh()
    assert later.until(T0 + DAY).snapshot == before, "what came after the cut must not make what was built before it stale"
    assert later.until(T0 + 6 * DAY).snapshot != before
    ingest_frames(tmp_path, {"actions": frame("actions", action("three", T0 + HOUR))}, source="late arrival")
    assert later.refresh().until(T0 + DAY).snapshot != before
