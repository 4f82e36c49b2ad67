from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from corkboard.errors import NotFound, SchemaError
from corkboard.lake.ingest import IngestReport, ingest_file, ingest_frames
from corkboard.lake.lake import Lake

from .rows import DAY, T0, action, files_below, frame, item, many_actions

CLICKS = f"user_id,item_id,action,time_ms\nann,i1,click,{T0}\nbob,i2,save,{T0 + 1}\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def refused_rows(report: IngestReport) -> list[dict]:
    assert report.refused_file is not None
    return [json.loads(line) for line in report.refused_file.read_text().splitlines()]


# -------------------------------------------------------------------------------------------------------- what comes in


def test_a_csv_comes_in_and_says_what_it_did(tmp_path: Path) -> None:
    report = ingest_file(tmp_path / "lake", write(tmp_path / "clicks.csv", CLICKS))
    assert report.rows_added == {"actions": 2}
    assert (report.rows_read, report.duplicates, report.refused, report.commit) == (2, 0, 0, 1)
    actions = Lake(tmp_path / "lake").actions()
    assert actions.select("user_id", "item_id", "action", "time_ms", "tenant").rows() == [
        ("ann", "i1", "click", T0, "default"),
        ("bob", "i2", "save", T0 + 1, "default"),
    ]
    assert json.loads(json.dumps(report.to_dict()))["rows_added"] == {"actions": 2}
    assert "2 actions" in report.render()


def test_jsonl_csv_and_parquet_of_the_same_rows_make_the_same_lake(tmp_path: Path) -> None:
    rows = many_actions(500).with_columns(duration_ms=pl.int_range(500))
    rows.write_ndjson(tmp_path / "rows.jsonl")
    rows.write_csv(tmp_path / "rows.csv")
    rows.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress((tmp_path / "rows.csv").read_bytes()))
    lakes = []
    for name in ("rows.jsonl", "rows.csv", "rows.csv.gz", "rows.parquet"):
        ingest_file(tmp_path / f"lake-{name}", tmp_path / name)
        lakes.append(Lake(tmp_path / f"lake-{name}"))
    for lake in lakes[1:]:
        assert lake.actions().equals(lakes[0].actions())
        assert lake.snapshot == lakes[0].snapshot
    assert lakes[0].actions().height == 500


def test_a_file_of_live_events_goes_to_its_tables(tmp_path: Path) -> None:
    events = [
        {"event": "item", "time_ms": T0, "item_id": "i1", "attributes": {"colour": "red"}},
        {"event": "action", "time_ms": T0 + 5, "user_id": "ann", "action": "click", "item_id": "i1", "context": {"query": "shirt"}},
        {"event": "impression", "time_ms": T0 + 1, "user_id": "ann", "request_id": "r", "surface": "search", "context": {"query": "shirt"},
         "slots": [{"item_id": "i1", "position": 0}]},
        {"event": "purchase", "time_ms": T0, "user_id": "ann"},
        {"event": "action", "time_ms": T0, "user_id": "ann", "action": "click", "item_id": "i1", "context": "shirt"},
        {"event": 7},
    ]  # fmt: skip
    report = ingest_file(tmp_path / "lake", write(tmp_path / "events.jsonl", "\n".join(map(json.dumps, events))))
    assert report.rows_added == {"items": 1, "impressions": 1, "actions": 1}
    assert [(r["row"], r["field"]) for r in sorted(refused_rows(report), key=lambda r: r["row"])] == [
        (4, "event"),
        (5, "context"),
        (6, "event"),
    ]
    lake = Lake(tmp_path / "lake")
    assert lake.actions()["query"].to_list() == ["shirt"]
    assert lake.impressions()["query"].to_list() == ["shirt"]
    assert lake.items()["attributes"].to_list() == [[{"name": "colour", "value": "red"}]]


def test_a_struct_of_context_in_parquet_is_flattened(tmp_path: Path) -> None:
    rows = many_actions(3).with_columns(context=pl.struct(query=pl.lit("shirt"), item_id=pl.lit("i9"), other=pl.lit(1)))
    rows.write_parquet(tmp_path / "rows.parquet")
    ingest_file(tmp_path / "lake", tmp_path / "rows.parquet")
    assert Lake(tmp_path / "lake").actions().select("query", "context_item_id").unique().rows() == [("shirt", "i9")]


# -------------------------------------------------------------------------------------------------------------- mapping


def test_columns_are_renamed_constants_filled_and_words_translated(tmp_path: Path) -> None:
    text = "visitorid,sku,event,ts,colour\nann,i1,view,1709251200,red\nbob,i2,transaction,1709251201,blue\nbob,i3,addtocart,1709251202,\n"
    mapping = {"user_id": "visitorid", "item_id": "sku", "action": "event", "time_ms": "ts", "surface": "=shop"}
    report = ingest_file(tmp_path / "lake", write(tmp_path / "clicks.csv", text), map=mapping, tenant="shop-7")
    actions = Lake(tmp_path / "lake").actions()
    assert actions["action"].to_list() == ["close_up", "checkout", "add_to_cart"]
    assert actions["surface"].to_list() == ["shop"] * 3
    assert actions["tenant"].to_list() == ["shop-7"] * 3
    assert actions["time_ms"].to_list() == [T0, T0 + 1000, T0 + 2000]
    notes = " ".join(report.notes)
    assert "seconds" in notes
    assert "'view' was read as close_up (1 rows)" in notes
    assert "ignored: colour" in notes


def test_a_mapped_column_is_no_longer_taken_under_its_own_name(tmp_path: Path) -> None:
    text = f"user_id,item_id,surface,time_ms,action\nann,i1,navy shirt,{T0},click\n"
    ingest_file(tmp_path / "lake", write(tmp_path / "clicks.csv", text), map={"query": "surface"})
    assert Lake(tmp_path / "lake").actions().select("query", "surface").rows() == [("navy shirt", None)]


def test_missing_columns_are_named_with_a_mapping_to_try(tmp_path: Path) -> None:
    path = write(tmp_path / "clicks.csv", "visitorid,itemid,timestamp\n1,2,3\n")
    with pytest.raises(SchemaError) as error:
        ingest_file(tmp_path / "lake", path, table="actions")
    for words in ("visitorid", "--map user_id=visitorid", "--map item_id=itemid", "--map time_ms=timestamp", "--map action==click"):
        assert words in str(error.value)
    with pytest.raises(SchemaError, match="--map user_id=visitorid"):
        ingest_file(tmp_path / "lake", path)  # no table named: these columns smell of actions
    assert Lake(tmp_path / "lake").snapshot == Lake(tmp_path / "nowhere").snapshot


@pytest.mark.parametrize(
    ("mapping", "words"),
    [({"user_id": "visitor"}, "visitor"), ({"colour": "user_id"}, "no table has"), ({"user": "user_id"}, "ours=theirs")],
)
def test_a_mapping_of_what_is_not_there_is_refused(tmp_path: Path, mapping: dict[str, str], words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        ingest_file(tmp_path / "lake", write(tmp_path / "clicks.csv", CLICKS), map=mapping)


def test_columns_that_fit_no_table_are_told(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="fit no table.*colour"):
        ingest_file(tmp_path / "lake", write(tmp_path / "what.csv", "colour,shape\nred,round\n"))
    with pytest.raises(SchemaError, match="no such table"):
        ingest_file(tmp_path / "lake", write(tmp_path / "what.csv", CLICKS), table="clicks")
    with pytest.raises(NotFound):
        ingest_file(tmp_path / "lake", tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("columns", "table"),
    [
        ("item_id,title", "items"),
        ("user_id,country,time_ms", "users"),
        ("board_id,user_id,title,time_ms", "boards"),
        ("item_id,image_hash,category", "objects"),
        ("query_image,item_id,judge_id,grade", "judgements"),
        ("session_id,item_id,action,time_ms", "actions"),
    ],
)
def test_the_table_is_guessed_from_the_columns(tmp_path: Path, columns: str, table: str) -> None:
    values = {"time_ms": str(T0), "action": "click", "grade": "2"}
    text = columns + "\n" + ",".join(values.get(name, "x") for name in columns.split(",")) + "\n"
    assert ingest_file(tmp_path / "lake", write(tmp_path / "rows.csv", text)).rows_added == {table: 1}


def test_items_without_times_are_known_from_the_beginning_and_a_later_file_wins(tmp_path: Path) -> None:
    report = ingest_file(tmp_path / "lake", write(tmp_path / "items.csv", "item_id,title\ni1,old\ni2,same\n"))
    assert "known from the beginning" in report.notes[0]
    ingest_file(tmp_path / "lake", write(tmp_path / "items.csv", "item_id,title\ni1,new\ni2,same\n"))
    lake = Lake(tmp_path / "lake")
    assert lake.items(before_ms=1).select("item_id", "title", "created_ms").rows() == [("i1", "new", 0), ("i2", "same", 0)]
    assert lake.counts()["items"] == 3  # the row that did not change is the same event


# ------------------------------------------------------------------------------------------------------------- bad rows


def test_good_rows_come_in_and_bad_ones_are_kept_beside(tmp_path: Path) -> None:
    text = f"who,item_id,action,time_ms\nann,i1,click,{T0}\nann,,click,{T0}\nbob,i2,sniff,{T0}\nann,i1\ncat,i3,hide,{T0}\n"
    report = ingest_file(tmp_path / "lake", write(tmp_path / "clicks.csv", text), map={"user_id": "who"})
    assert report.rows_added == {"actions": 2}
    assert (report.rows_read, report.refused) == (5, 3)
    kept = sorted(refused_rows(report), key=lambda row: row["row"])
    assert [(row["row"], row["field"], row["found"]) for row in kept] == [
        (2, "item_id", "nothing"),
        (3, "action", "'sniff'"),
        (4, "row", "2 fields"),
    ]
    assert kept[1]["original"] == {"who": "bob", "item_id": "i2", "action": "sniff", "time_ms": str(T0)}
    assert kept[2]["original"] == "ann,i1"
    assert sorted(report.refusals, key=lambda row: row["row"])[1]["expected"].startswith("one of close_up, click")
    assert Lake(tmp_path / "lake").actions()["user_id"].to_list() == ["ann", "cat"] or set(
        Lake(tmp_path / "lake").actions()["user_id"]
    ) == {"ann", "cat"}


def test_a_second_try_replaces_the_refused_rows_of_the_first(tmp_path: Path) -> None:
    path = write(tmp_path / "clicks.csv", CLICKS.replace("click", "sniff").replace("save", "sniff"))
    first = ingest_file(tmp_path / "lake", path)
    assert (first.refused, first.commit) == (2, None)
    second = ingest_file(tmp_path / "lake", path, map={"action": "=click"})
    assert (second.refused, second.refused_file, second.rows_added) == (0, None, {"actions": 2})
    assert list((tmp_path / "lake" / "refused").iterdir()) == []


def test_only_the_first_twenty_refusals_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "clicks.csv", "user_id,item_id,action,time_ms\n" + f"ann,,click,{T0}\n" * 30)
    report = ingest_file(tmp_path / "lake", path)
    assert (report.refused, len(report.refusals), len(refused_rows(report))) == (30, 20, 30)
    assert "and 10 more" in report.render()


def test_frames_refuse_alike(tmp_path: Path) -> None:
    rows = frame("actions", action("a", T0), action("b", T0, item_id=None))
    report = ingest_frames(tmp_path, {"actions": rows, "items": frame("items", item("x", T0, "i1"))}, "world")
    assert report.rows_added == {"actions": 1, "items": 1}
    assert report.refusals == [{"row": 2, "field": "actions.item_id", "found": "nothing", "expected": report.refusals[0]["expected"]}]
    with pytest.raises(SchemaError, match="clicks"):
        ingest_frames(tmp_path, {"clicks": rows}, "world")


# ------------------------------------------------------------------------------------------------------------ once only


def test_an_event_counts_once_within_a_file_over_files_and_over_frames(tmp_path: Path) -> None:
    rows = pl.concat([many_actions(100), many_actions(100)[:30]])
    rows.write_parquet(tmp_path / "a.parquet")
    first = ingest_file(tmp_path / "lake", tmp_path / "a.parquet")
    assert (first.rows_added, first.duplicates) == ({"actions": 100}, 30)
    pl.concat([many_actions(100)[:50], many_actions(20, prefix="f")]).write_csv(tmp_path / "b.csv")
    second = ingest_file(tmp_path / "lake", tmp_path / "b.csv")
    assert (second.rows_added, second.duplicates) == ({"actions": 20}, 50)
    third = ingest_frames(tmp_path / "lake", {"actions": many_actions(120)}, "store")
    assert (third.rows_added, third.duplicates) == ({"actions": 20}, 100)
    ids = Lake(tmp_path / "lake").actions()["event_id"]
    assert len(ids) == ids.n_unique() == 140


def test_rows_without_ids_count_once_over_files_and_as_often_as_they_stand_in_one(tmp_path: Path) -> None:
    twice = write(tmp_path / "a.csv", CLICKS + f"ann,i1,click,{T0}\n")
    assert ingest_file(tmp_path / "lake", twice).rows_added == {"actions": 3}
    again = ingest_file(tmp_path / "lake", write(tmp_path / "b.csv", CLICKS))
    assert (again.rows_added, again.duplicates, again.commit) == ({}, 2, None)


def test_the_same_id_may_stand_in_two_tables_and_two_tenants(tmp_path: Path) -> None:
    report = ingest_frames(
        tmp_path,
        {
            "actions": frame("actions", action("1", T0), {**action("1", T0), "tenant": "other"}),
            "items": frame("items", item("1", T0, "i1")),
        },
        "test",
    )
    assert report.rows_added == {"actions": 2, "items": 1}
    assert ingest_frames(tmp_path, {"actions": frame("actions", {**action("1", T0), "tenant": "third"})}, "test").rows_added == {
        "actions": 1
    }


def test_ingesting_again_leaves_the_lake_as_it_is(tmp_path: Path) -> None:
    many_actions(300).write_parquet(tmp_path / "a.parquet")
    ingest_file(tmp_path / "lake", tmp_path / "a.parquet")
    before, files = Lake(tmp_path / "lake"), files_below(tmp_path / "lake")
    report = ingest_file(tmp_path / "lake", tmp_path / "a.parquet")
    assert (report.duplicates, report.commit) == (300, None)
    assert Lake(tmp_path / "lake").snapshot == before.snapshot
    assert files_below(tmp_path / "lake") == files


def test_a_watermark_comes_with_its_rows_and_never_falls(tmp_path: Path) -> None:
    ingest_frames(tmp_path, {"actions": many_actions(10)}, "store", watermark=("s1", 10))
    assert (Lake(tmp_path).watermark("s1"), Lake(tmp_path).watermark("s2")) == (10, 0)
    snapshot = Lake(tmp_path).snapshot
    report = ingest_frames(tmp_path, {"actions": many_actions(10)}, "store", watermark=("s1", 12))
    assert report.commit == 2  # no new row, but the store has been read further
    assert (Lake(tmp_path).watermark("s1"), Lake(tmp_path).snapshot) == (12, snapshot)
    assert ingest_frames(tmp_path, {}, "store", watermark=("s1", 11)).commit is None
    assert Lake(tmp_path).watermark("s1") == 12


# ------------------------------------------------------------------------------------------------------------ partition


def test_busy_days_have_a_file_each_and_quiet_ones_share(tmp_path: Path) -> None:
    busy = [action(f"a{k}", T0 + k, item_id="i") for k in range(300)]
    quiet = [action(f"b{day}", T0 + day * DAY, item_id="i") for day in range(1, 4)]
    ingest_frames(tmp_path, {"actions": frame("actions", *busy, *quiet, action("z", T0 - DAY))}, "test")
    folders = sorted(path.name for path in (tmp_path / "actions").iterdir())
    assert folders == ["day=2024-02-29", "day=2024-03-01", "day=2024-03-02_2024-03-04"]
    assert pl.read_parquet(tmp_path / "actions" / "day=2024-03-01" / "*.parquet")["time_ms"].is_between(T0, T0 + DAY - 1).all()


def test_four_thousand_days_do_not_make_four_thousand_files(tmp_path: Path) -> None:
    ingest_frames(tmp_path, {"actions": many_actions(12_000, days=4_000)}, "test")
    assert len(list((tmp_path / "actions").rglob("*.parquet"))) <= 12_000 / 256 + 1
    assert Lake(tmp_path).actions().height == 12_000


def test_refused_rows_of_one_source_do_not_push_out_those_of_its_last_batch(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ingest_frames(tmp_path, {"actions": frame("actions", action(name, T0, item_id=None))}, "store")
    ingest_frames(tmp_path, {"actions": frame("actions", action("c", T0))}, "store")
    kept = [json.loads(path.read_text()) for path in (tmp_path / "refused").iterdir()]
    assert sorted(row["original"]["event_id"] for row in kept) == ["a", "b"]


def test_progress_is_told_for_reading_and_writing(tmp_path: Path) -> None:
    many_actions(300).write_parquet(tmp_path / "a.parquet")
    said: list[tuple[str, int, int]] = []
    ingest_file(tmp_path / "lake", tmp_path / "a.parquet", progress=lambda *words: said.append(words))
    assert said[0] == ("read a.parquet", 300, 300)
    assert said[-1] == ("write", 300, 300)
