"""RecBole, Amazon Personalize, ReChorus, sequences and plain ratings: what each format says and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from corkboard.errors import InputError
from corkboard.lake.importers import ImportConfig, Imported, find_importer, load_outside

Fitting = Callable[[Imported], dict[str, pl.DataFrame]]
Tiny = Callable[..., Path]
Real = Callable[[str], Path]


def by_id(frame: pl.DataFrame, key: str = "item_id") -> dict[str, dict]:
    return {row[key]: row for row in frame.iter_rows(named=True)}


def pairs(row: dict) -> list[tuple[str, str]]:
    return [(pair["name"], pair["value"]) for pair in row["attributes"] or []]


def day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


# -------------------------------------------------------------------------------------------------------------- RecBole


def test_recbole_reads_typed_columns(tiny: Tiny, fitting: Fitting) -> None:
    imported = load_outside(tiny("recbole"))
    stored = fitting(imported)
    items, users = by_id(stored["items"]), by_id(stored["users"], "user_id")
    assert (items["i1"]["title"], items["i1"]["category"]) == ("One Two", "Comedy")
    assert pairs(items["i1"]) == [("year", "1999"), ("genre", "Comedy"), ("genre", "Drama")]
    assert (items["i1"]["price_minor"], items["i1"]["currency"], items["i2"]["price_minor"]) == (150, "USD", None)
    assert stored["actions"]["action"].to_list() == ["save", "hide", "click"]
    assert (users["u1"]["country"], users["u1"]["interests"]) == ("NO", ["age:33"])  # no postcode
    assert "toy.kg is not used." in imported.notes


def test_recbole_names_of_events_labels_and_lists(tiny: Tiny, fitting: Fitting) -> None:
    events = "user_id:token\titem_id:token\tbehavior_type:token\ttimestamp:float\nu\ti1\tpv\t1e9\nu\ti2\tbuy\t1000000001\n"
    stored = fitting(load_outside(tiny("recbole", changed={"toy.inter": events})))
    assert stored["actions"].select("action", "time_ms").rows() == [("close_up", 10**12), ("checkout", 10**12 + 1000)]
    labels = "user_id:token\titem_id:token\tlabel:float\ttimestamp:float\nu\ti1\t1\t1000000000\nu\ti2\t0\t1000000001\n"
    labelled = load_outside(tiny("recbole", changed={"toy.inter": labels}, folder="labels"))
    assert labelled.frames["actions"].select("item_id", "action").rows() == [("i1", "click")]
    lists = "user_id:token\titem_id_list:token_seq\titem_id:token\nu\ti1 i2\ti3\n"
    with pytest.raises(InputError, match="does not hold one interaction a row"):
        load_outside(tiny("recbole", changed={"toy.inter": lists}, folder="lists"))


def test_recbole_without_times_keeps_the_order_of_the_file(tiny: Tiny, fitting: Fitting) -> None:
    plain = "user_id:token\titem_id:token\nu\ti2\nv\ti1\nu\ti1\n"
    imported = load_outside(tiny("recbole", changed={"toy.inter": plain}))
    actions = fitting(imported)["actions"]
    assert imported.synthetic_time
    ends = ImportConfig().synthetic_end_ms
    assert actions.select("user_id", "item_id", "time_ms").rows() == [("u", "i2", ends - 60_000), ("v", "i1", ends), ("u", "i1", ends)]


def test_recbole_splits_of_one_data_set_are_read_together(tiny: Tiny, tmp_path: Path) -> None:
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    folder = tiny("recbole")
    (folder / "toy.inter").unlink()
    (folder / "toy.train.inter").write_text(header + "u\ti1\t1000000000\n")
    (folder / "toy.test.inter").write_text(header + "u\ti2\t1000000009\n")
    assert load_outside(folder).frames["actions"].height == 2
    (folder / "other.inter").write_text(header + "u\ti2\t1000000009\n")
    assert find_importer(folder) is None  # two data sets: name the file
    assert load_outside(folder / "other.inter").frames["actions"].height == 1


def test_real_recbole_ml_100k(real_data: Real, fitting: Fitting) -> None:
    stored = fitting(load_outside(real_data("ml-100k")))
    actions = stored["actions"]
    assert (actions.height, actions["user_id"].n_unique(), actions["item_id"].n_unique()) == (100_000, 943, 1_682)
    assert (day(actions["time_ms"].min()), day(actions["time_ms"].max())) == ("1997-09-20", "1998-04-22")
    assert (stored["items"].height, stored["users"].height) == (1_682, 943)
    assert by_id(stored["items"])["1"]["category"] == "Animation"


# ---------------------------------------------------------------------------------------------------- Amazon Personalize


def test_personalize_impressions_and_the_actions_on_them(tiny: Tiny, fitting: Fitting) -> None:
    stored = fitting(load_outside(tiny("personalize")))
    pages = by_id(stored["impressions"], "request_id")
    assert pages["rec-1"]["time_ms"] == 1_600_000_000_000 - 1  # before the first action on it
    assert [(slot["item_id"], slot["position"]) for slot in pages["rec-1"]["slots"]] == [("a", 0), ("b", 1), ("c", 2)]
    derived = next(name for name in pages if name != "rec-1")
    assert (pages[derived]["user_id"], len(pages), pages[derived]["surface"]) == ("u2", 2, "home")
    assert stored["actions"].select("user_id", "item_id", "action", "request_id", "position").rows() == [
        ("u1", "b", "click", "rec-1", 1),
        ("u1", "c", "checkout", "rec-1", 2),
        ("u2", "z", "close_up", derived, 0),
        ("u2", "q", "save", None, None),
    ]


def test_personalize_items_and_users(tiny: Tiny, fitting: Fitting) -> None:
    stored = fitting(load_outside(tiny("personalize")))
    items, users = by_id(stored["items"]), by_id(stored["users"], "user_id")
    assert items["a"]["time_ms"] == 1_500_000_000_000
    assert items["b"]["time_ms"] == 1_600_000_000_000 - 2  # seen before it was created, they say: a millisecond before the page
    assert items["n"]["time_ms"] == 1_590_000_000_000  # never seen
    assert (items["a"]["description"], items["a"]["category"], items["a"]["price_minor"], items["a"]["currency"]) == (
        "Fine, red",
        "shoes",
        1250,
        "USD",
    )
    assert pairs(items["a"]) == [("category_l1", "shoes"), ("genre", "Red"), ("genre", "Blue")]
    assert items["z"]["category"] is None  # shown, but not in the table of items
    assert (users["u1"]["country"], users["u1"]["interests"], users["u2"]["interests"]) == ("SE", ["age:31"], [])


def test_personalize_ratings_and_unknown_events(tiny: Tiny) -> None:
    rows = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\nu,a,1600000000,Rating,4.5\nu,b,1600000001,rating,1\nu,c,1600000002,Swoon,\n"
    imported = load_outside(tiny("personalize", changed={"interactions.csv": rows}))
    assert imported.frames["actions"]["action"].to_list() == ["save", "hide", "Swoon"]
    assert any("Swoon" in note for note in imported.notes)
    named = load_outside(
        tiny("personalize", changed={"interactions.csv": rows}, folder="named"), config=ImportConfig(action_names={"swoon": "save"})
    )
    assert named.frames["actions"]["action"].to_list() == ["save", "hide", "save"]
    assert "impressions" not in named.frames


def test_personalize_without_event_types(tiny: Tiny) -> None:
    imported = load_outside(tiny("personalize", changed={"interactions.csv": "USER_ID,ITEM_ID,TIMESTAMP\nu,a,1600000000\n"}))
    assert imported.frames["actions"]["action"].to_list() == ["click"]


# -------------------------------------------------------------------------------------------------------------- ReChorus


def test_rechorus_purchases_categories_and_relations(tiny: Tiny, fitting: Fitting) -> None:
    imported = load_outside(tiny("rechorus"))
    stored = fitting(imported)
    items = by_id(stored["items"])
    assert set(stored["actions"]["action"]) == {"checkout"}
    assert items["5"]["category"] == "0"
    assert pairs(items["5"]) == [("complement", "6"), ("complement", "7")]
    assert pairs(items["6"]) == [("complement", "5"), ("substitute", "8")]
    assert items["9"]["time_ms"] == 965_865_600_000  # never bought: from the end of the data
    assert any("whole days" in note for note in imported.notes)


def test_rechorus_reads_all_splits(tiny: Tiny) -> None:
    folder = tiny("rechorus")
    (folder / "dev.csv").write_text("user_id\titem_id\ttime\tneg_items\n1\t9\t966000000\t[1, 2]\n")
    imported = load_outside(folder)
    assert imported.frames["actions"].height == 4
    assert not any("whole days" in note for note in imported.notes)


def test_real_grocery(real_data: Real, fitting: Fitting) -> None:
    stored = fitting(load_outside(real_data("amazon-grocery-rechorus")))
    actions = stored["actions"]
    assert (actions.height, actions["user_id"].n_unique(), actions["item_id"].n_unique()) == (121_892, 14_681, 8_687)
    assert (day(actions["time_ms"].min()), day(actions["time_ms"].max())) == ("2000-08-09", "2014-07-22")
    assert stored["items"].height == 8_713
    names = stored["items"].explode("attributes").unnest("attributes")["name"].drop_nulls().unique().sort().to_list()
    assert names == ["complement", "substitute"]


# ------------------------------------------------------------------------------------------------------------- sequences


def test_sequences_keep_order_and_attributes(tiny: Tiny, fitting: Fitting) -> None:
    imported = load_outside(tiny("sequences"))
    stored = fitting(imported)
    actions = stored["actions"].sort("time_ms")
    assert imported.synthetic_time
    assert actions.filter(pl.col("user_id") == "3")["item_id"].to_list() == ["10", "10", "14", "15", "16"]
    last = actions.group_by("user_id").agg(pl.col("time_ms").max())["time_ms"]
    assert set(last) == {ImportConfig().synthetic_end_ms}
    items = by_id(stored["items"])
    assert pairs(items["10"]) == [("attribute", "1"), ("attribute", "2")]
    assert set(items) == {"10", "11", "12", "13", "14", "15", "16", "99"}
    assert len(set(stored["items"]["time_ms"])) == 1


def test_lines_of_one_length_are_not_taken_for_sequences(tmp_path: Path) -> None:
    (tmp_path / "negatives.txt").write_text("".join(f"{u} {u + 1} {u + 2} {u + 3}\n" for u in range(20)))
    (tmp_path / "repeated.txt").write_text("1 2 3\n1 2 3 4 5\n1 7\n")
    assert [find_importer(file) for file in sorted(tmp_path.iterdir())] == [None, None]


@pytest.mark.parametrize(
    ("name", "users", "items", "rows"),
    [("Beauty", 22_363, 12_101, 198_502), ("Toys_and_Games", 19_412, 11_924, 167_597), ("LastFM", 1_090, 3_646, 52_551)],
)
def test_real_sequences(name: str, users: int, items: int, rows: int, real_data: Real, fitting: Fitting) -> None:
    stored = fitting(load_outside(real_data("amazon-s3rec") / f"{name}.txt.gz"))
    actions = stored["actions"]
    assert (actions["user_id"].n_unique(), actions["item_id"].n_unique(), actions.height) == (users, items, rows)
    assert stored["items"]["attributes"].is_not_null().any()


# --------------------------------------------------------------------------------------------------------- plain ratings


def test_ratings_under_any_name_with_dates_in_words(tiny: Tiny, fitting: Fitting) -> None:
    imported = load_outside(tiny("ratings") / "stars.csv")
    actions = fitting(imported)["actions"]
    assert actions.select("user_id", "item_id", "action").rows() == [("ann", "s1", "save"), ("ann", "s2", "hide"), ("bob", "s1", "click")]
    moments = [datetime(2024, 3, 1, 10, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC), datetime(2024, 3, 3, 8, 30, tzinfo=UTC)]
    assert actions["time_ms"].to_list() == [int(moment.timestamp() * 1000) for moment in moments]
    assert imported.notes[0] == "Read as user_id = visitor_id, item_id = sku, rating = stars, time_ms = date."


def test_ten_stars_are_warned_about(tiny: Tiny) -> None:
    imported = load_outside(tiny("ratings", changed={"stars.csv": "user;item;rating;ts\nu;i;9;1700000000\n"}) / "stars.csv")
    assert any("Ratings go up to 9" in note for note in imported.notes)
