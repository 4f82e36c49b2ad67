"""A first look at unknown files: what they are, how they would map, what will work with them."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from corkboard.errors import InputError, NotFound
from corkboard.lake.activity import Around, advise, measure
from corkboard.lake.check import CheckReport, look
from corkboard.lake.ingest import ingest_file

DAY = 86_400_000
START = 1_700_000_000_000
LOOKED_AT = ["ml-*", "amazon-*", "sessions", "search-esci-small", "multi-behaviour", "hetrec-lastfm-2k", "frappe-cfm"]


def look_or_say(file: Path) -> CheckReport | str:
    """The report, or what the input error says; any other error fails the test."""
    try:
        return look(file)
    except InputError as error:
        return str(error)


def mapping(report: CheckReport) -> dict[str, str]:
    return {match.ours: match.theirs for match in report.mapping}


def clicks(rows: int = 400) -> str:
    lines = ["visitorid;sku;ts;event"]
    kinds = ["view", "view", "addtocart", "transaction"]
    lines += [f"v{i % 40};s{i % 25};{(START + i * 3_600_000) // 1000};{kinds[i % 4]}" for i in range(rows)]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------------- proposing a mapping


def test_a_shop_log_is_mapped_by_names_and_values(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(clicks())
    report = look(file)
    assert report.layout == {"separator": ";", "header": True, "encoding": "utf-8"}
    assert (report.rows, report.rows_exact, report.table, report.importer) == (400, True, "actions", None)
    assert mapping(report) == {"user_id": "visitorid", "item_id": "sku", "time_ms": "ts", "action": "event"}
    assert report.time_unit == "s"
    # of every four rows two are views, one a cart, one a purchase
    assert report.activity.by_action == {"close_up": 200, "add_to_cart": 100, "checkout": 100}
    assert (report.activity.users, report.activity.items) == (40, 25)
    assert (report.activity.first_ms, report.activity.last_ms) == (START, START + 399 * 3_600_000)
    assert report.command == (
        f"corkboard ingest {file} --table actions --map time_ms=ts --map user_id=visitorid --map action=event --map item_id=sku"
    )


def test_the_proposed_mapping_is_what_ingestion_takes(tmp_path: Path) -> None:
    file = tmp_path / "log.csv.gz"
    file.write_bytes(gzip.compress(clicks().encode()))
    report = look(file)
    done = ingest_file(tmp_path / "lake", file, table=report.table, map=mapping(report))
    assert (done.rows_added, done.refused) == ({"actions": 400}, 0)


def test_values_speak_where_names_do_not(tmp_path: Path) -> None:
    file = tmp_path / "odd.tsv"
    rows = [f"{i % 9}\t{i % 7}\t{START + i}\t{['buy', 'click'][i % 2]}" for i in range(50)]
    file.write_text("\n".join(["customer\titem\tzeit\twas", *rows]).replace("customer", "user"))
    found = {match.ours: (match.theirs, match.confidence) for match in look(file).mapping}
    assert found["time_ms"] == ("zeit", 0.5)
    assert found["action"] == ("was", 0.7)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (["2024-03-01T10:00:00Z", "2024-03-02T11:00:00Z"], "text"),
        (["2024-03-01", "2024-03-02"], "text"),
        (["1700000000", "1700000100"], "s"),
        (["1700000000000", "1700000100000"], "ms"),
    ],
)
def test_the_unit_of_time_is_told(values: list[str], unit: str, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("user_id,item_id,timestamp\n" + "".join(f"u,{i},{value}\n" for i, value in enumerate(values)))
    report = look(file)
    assert report.time_unit == unit
    assert report.constants == {"action": "click"}
    assert "--map action==click" in report.command


def test_a_column_named_time_with_other_values_is_not_time(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("user_id,item_id,time\nu,1,12\nu,2,17\n")
    report = look(file)
    assert "time_ms" not in mapping(report)
    assert report.command is None
    assert any("No column holds times" in note for note in report.notes)


def test_a_session_that_many_users_share_is_an_item(tmp_path: Path) -> None:
    file = tmp_path / "uid.tsv"
    file.write_text("uid\tsid\n" + "".join(f"{u}\t{s}\n" for u in range(12) for s in range(5)))
    assert mapping(look(file)) == {"user_id": "uid", "item_id": "sid"}


def test_items_and_users_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,name,brand,color\n1,Red shoe,acme,red\n2,Blue hat,acme,blue\n")
    (tmp_path / "people.csv").write_text("user_id,age,country\nu1,30,NO\nu2,40,SE\n")
    products, people = look(tmp_path / "products.csv"), look(tmp_path / "people.csv")
    assert (products.table, mapping(products)) == ("items", {"item_id": "id", "title": "name", "brand_id": "brand"})
    assert products.advice[0].startswith("Text to learn from: title.")
    assert people.table == "users"


def test_our_own_columns_need_no_mapping(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    events = [
        {"event": "item", "item_id": "i1", "title": "One", "time_ms": START, "attributes": {"color": "red"}},
        {
            "event": "impression",
            "request_id": "r",
            "user_id": "u",
            "surface": "home",
            "time_ms": START + 1,
            "slots": [{"item_id": "i1", "position": 0}],
        },
        {"event": "action", "user_id": "u", "item_id": "i1", "action": "save", "time_ms": START + 2},
    ]
    file.write_text("".join(json.dumps(event) + "\n" for event in events) + "{broken\n")
    report = look(file)
    assert (report.kind, report.table, report.native, report.rows) == ("jsonl", "events", True, 4)
    assert report.command == f"corkboard ingest {file}"
    assert report.activity.by_action == {"save": 1}
    assert not any(line.startswith("No impressions") for line in report.advice)
    assert "Lines of another shape than the rest: 1." in report.notes
    native = tmp_path / "native.csv"
    native.write_text("user_id,item_id,time_ms,action\nu,i,1700000000000,click\n")
    assert (look(native).table, look(native).native) == ("actions", True)


def test_words_that_are_no_actions_are_named(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("user_id,item_id,ts,event\n" + "u,i,1700000000,click\nu,i,1700000001,swoon\nu,j,1700000002,swoon\n")
    assert any(note.endswith("swoon (2).") for note in look(file).notes)


# ------------------------------------------------------------------------------------------------------ kinds of files


def test_a_table_without_header_is_said_to_have_none(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("".join(f"{i % 60} {i % 77}\n" for i in range(300)))
    report = look(file)
    assert (report.layout["header"], report.layout["separator"], report.command) == (False, " ", None)
    assert mapping(report) == {"user_id": "column_1", "item_id": "column_2"}
    assert any("no header line" in note for note in report.notes)


def test_latin1_and_stray_quotes_do_not_stop_a_look(tmp_path: Path) -> None:
    file = tmp_path / "names.tsv"
    file.write_bytes('item_id\ttitle\n1\tCafé "Zur\n2\tSoleil\n'.encode("latin-1"))
    report = look(file)
    assert (report.rows, report.layout["encoding"], report.table) == (2, "latin-1", "items")
    assert any("latin-1" in note for note in report.notes)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("image.png", b"\x89PNG\x00\x00\x01", "binary"),
        ("readme.txt", b"Hello there.\nThis is a text, of words\nand, more, words\n", "no table"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-9], "cannot be read"),
        ("cut.parquet", b"PAR1abc", "cannot be read as Parquet"),
        ("header.csv", b"user_id,item_id\n", "no rows"),
        ("half.json", b'{"1": [2, 3', "neither JSON lines nor"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        look(file)
    assert "\n" not in str(caught.value)


ANY_BYTES = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet='ab1,;\t|:"\n {}[]-.é', max_size=200).map(lambda text: text.encode()),
    st.lists(
        st.lists(st.sampled_from(["user_id", "item", "ts", "1", "1700000000", "x", "", "[1]", "save"]), min_size=1, max_size=5), max_size=6
    ).map(lambda rows: "\n".join(",".join(row) for row in rows).encode()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=ANY_BYTES, name=st.sampled_from(["x.csv", "x.txt", "x.jsonl", "x.parquet", "x.csv.gz"]))
@example(data=b'{"a": {"b": 1}}\n{"a": 2}\n', name="x.jsonl")
@example(data=b'{"a": 1}\n{"a": "text"}\n{"b": [1]}\n', name="x.jsonl")
@example(data=b"[]", name="x.json")
@example(data=b';"\x01;', name="x.csv")
@example(data=b"[1, 2]", name="x.json")
def test_whatever_is_in_a_file_there_is_a_report_or_an_input_error(data: bytes, name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    report = look_or_say(file)
    file.unlink()
    if isinstance(report, str):
        assert "\n" not in report
    else:
        json.dumps(report.to_dict())
        report.render(Console(file=io.StringIO()))


def test_missing_files_and_unknown_folders(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        look(tmp_path / "nothing.csv")
    (tmp_path / "a.txt").write_text("1 2 3\n2 2 3 4\n3 9 8\n")
    (tmp_path / "b.txt").write_text("1 2 3\n2 2 3 4\n3 9 8\n")
    with pytest.raises(InputError, match=r"these are known: a\.txt, b\.txt"):
        look(tmp_path)


def test_a_json_document_of_lists_is_counted_but_not_ingested(tmp_path: Path) -> None:
    file = tmp_path / "carts.json"
    file.write_text(json.dumps({"1": [5, 6], "2": [7]}))
    report = look(file)
    assert (report.kind, report.rows, report.command) == ("json", 3, None)


def test_a_big_file_is_sampled_and_its_rows_are_estimated(tmp_path: Path) -> None:
    text = "user_id,item_id,timestamp\n" + "".join(f"u{i % 97:03d},i{i % 53:03d},{1_700_000_000 + i}\n" for i in range(50_000))
    for name, data in (("big.csv", text.encode()), ("big.csv.gz", gzip.compress(text.encode(), 1))):
        (tmp_path / name).write_bytes(data)
        report = look(tmp_path / name, sample_bytes=200_000)
        assert not report.rows_exact
        assert 8_000 < report.looked_at < 12_000  # 200,000 bytes of some 20 a row
        assert report.rows == pytest.approx(50_000, rel=0.25)
        assert any(note.startswith("A big file") for note in report.notes)
    file = tmp_path / "big.parquet"
    pl.read_csv(text.encode()).write_parquet(file)
    report = look(file, sample_bytes=100_000)
    assert (report.rows, report.rows_exact) == (50_000, True)
    assert report.looked_at < 50_000


# ------------------------------------------------------------------------------------------------------- what will work


def log(days_by_user: dict[str, list[int]]) -> pl.DataFrame:
    rows = [(user, f"i{n}", START + day * DAY + n, "click") for user, days in days_by_user.items() for n, day in enumerate(days)]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "time_ms", "action"], orient="row")


def test_returning_users_are_those_who_act_on_both_sides_of_the_last_two_weeks() -> None:
    # The log ends on day 40 (and 2 ms): what is later than day 26 is recent. a: both sides, b: only before, c: only after.
    activity = measure(log({"a": [0, 20, 40], "b": [1, 2], "c": [30, 31]}))
    assert (activity.users, activity.recent_users, activity.returning_users) == (3, 2, 1)
    said = advise(activity, Around(impressions=True, text=True))
    assert said[0].startswith("Only 1 user returns after a split by time: under 200 is too few to tell. 1 of 3 users")


@pytest.mark.parametrize(
    ("returning", "once_late", "once_early", "expected"),
    [
        (150, 0, 0, "Only 150 users return after a split by time: under 200 is too few to tell. 150 of 150 users"),
        (20, 80, 0, "Only 20 users return"),  # 20 of 100, recent or all: not less than a fifth
        (19, 81, 0, "Hardly any user returns after a split by time: 19 of 100 users"),  # a fifth of the recent would be 20
        (19, 0, 81, "Hardly any user returns after a split by time: 19 of 100 users"),  # a fifth of all would be 20
        (0, 5, 0, "Hardly any user returns after a split by time: 0 of 5 users"),
        (200, 0, 0, "A split by time works: 200 of 200 users"),
        (200, 0, 900, "A split by time works: 200 of 1,100 users"),  # most left long ago, but there are enough to tell
        (200, 900, 0, "Hardly any user returns after a split by time: 200 of 1,100 users"),
    ],
)
def test_few_returning_users_are_told_from_hardly_any(returning: int, once_late: int, once_early: int, expected: str) -> None:
    days = {f"both{n}": [0, 30] for n in range(returning)} | {f"late{n}": [30] for n in range(once_late)}
    said = advise(measure(log(days | {f"early{n}": [0] for n in range(once_early)})), Around(impressions=True, text=True))
    line = next(line for line in said if "split by time" in line)
    assert line.startswith(expected)
    assert ("under 200 is too few to tell" in line) == (returning < 200)


def test_enough_returning_users_are_not_warned_about() -> None:
    activity = measure(log({f"u{i}": [0, 30] for i in range(250)}))
    said = advise(activity, Around(impressions=True, text=True))
    assert said[0].startswith("A split by time works: 250 of 250 users")


def test_figures_of_a_log() -> None:
    frame = pl.concat([log({"a": [0] * 12, "b": [0, 1]}), log({"b": [0]})])  # the last row repeats one of b
    activity = measure(frame)
    assert (activity.actions, activity.duplicates, activity.few_share) == (15, 1, 0.5)
    assert activity.by_action == {"click": 15}
    assert not activity.anonymous


def test_sessions_stand_for_users_where_there_are_none() -> None:
    activity = measure(pl.DataFrame({"session_id": ["s", "s", "t", None], "item_id": ["a", "b", "a", "a"]}))
    assert (activity.actions, activity.users, activity.sessions, activity.anonymous) == (3, 2, 2, True)
    said = advise(activity, Around())
    assert any(line.startswith("Sessions but no users") for line in said)
    assert said[0].startswith("There are no times")


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        (Around(impressions=False), "No impressions"),
        (Around(text=False, attributes=True), "No text of items: the content tower leans on attributes"),
        (Around(text=False, attributes=False), "No text of items: the content tower has nothing to read"),
        (Around(text=None), "Items are only ids here"),
        (Around(synthetic_time=True), "Times are invented"),
    ],
)
def test_what_is_missing_is_said(around: Around, expected: str) -> None:
    said = advise(measure(log({"a": [0, 40]})), around)
    assert any(line.startswith(expected) for line in said)


# --------------------------------------------------------------------------------------------------------- known formats


def test_a_known_data_set_is_reported_with_its_importer(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(f"{u},{u % 3},4,{10**9 + u}\n" for u in range(20)))
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n0,Zero (1990),Drama\n1,One (1991),War\n2,Two (1992),War\n")
    report = look(tmp_path)
    assert (report.importer, report.tables) == ("movielens", {"items": 3, "actions": 20})
    assert report.command == f"corkboard ingest {tmp_path}"
    part = look(tmp_path / "movies.csv")
    assert part.importer is None
    assert part.command == f"corkboard ingest {tmp_path}"
    assert any("movielens reads as a whole" in note for note in part.notes)


def test_the_report_is_plain_json_and_a_page_for_people(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(clicks())
    report = look(file)
    assert json.loads(json.dumps(report.to_dict()))["activity"]["users"] == 40
    console = Console(width=160, record=True, file=io.StringIO())
    report.render(console)
    text = console.export_text()
    assert "This could become the table actions." in text
    assert "visitorid" in text
    assert report.command in text.replace("\n", "")


# -------------------------------------------------------------------------------------------------------------- real data


@pytest.fixture(scope="module")
def data_folder() -> Path:
    root = os.environ.get("CORKBOARD_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("needs the folder that CORKBOARD_DATA names")
    return Path(root)


@pytest.mark.parametrize("pattern", LOOKED_AT)
def test_every_real_file_gets_a_report_or_one_sentence(pattern: str, data_folder: Path) -> None:
    tables = 0
    for file in (path for folder in data_folder.glob(pattern) for path in sorted(folder.iterdir())):
        report = look_or_say(file)
        if isinstance(report, str):
            assert file.suffix in (".md", ".txt") or file.name == "README", f"{file}: {report}"
            assert "\n" not in report
        else:
            tables += 1
            assert report.rows > 0
            json.dumps(report.to_dict())
    assert tables > 0


def test_real_movielens_warns_that_hardly_anybody_returns(data_folder: Path) -> None:
    report = look(data_folder / "ml-latest-small")
    assert report.advice[0].startswith("Hardly any user returns after a split by time: 10 of 610 users")
    assert look(data_folder / "amazon-s3rec" / "Beauty.txt.gz").advice[0].startswith("Times are invented")


def test_real_sessions_are_seen_as_sessions(data_folder: Path) -> None:
    report = look(data_folder / "sessions" / "yoochoose-clicks-100k_train_full.txt.gz")
    assert mapping(report) == {"time_ms": "Time", "session_id": "SessionId", "item_id": "ItemId"}
    assert (report.rows, report.activity.sessions, report.activity.items) == (70_278, 17_794, 2_933)
