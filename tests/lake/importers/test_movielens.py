"""MovieLens in all its layouts, tiny and real."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from corkboard.lake.importers import ImportConfig, Imported, find_importer, ingest_outside, load_outside
from corkboard.lake.lake import Lake

Fitting = Callable[[Imported], dict[str, pl.DataFrame]]
Tiny = Callable[..., Path]
Real = Callable[[str], Path]


def attributes(items: pl.DataFrame, item_id: str, name: str, row: int = 0) -> list[str]:
    """The values of one attribute in the ``row``-th row of an item."""
    pairs = items.filter(pl.col("item_id") == item_id).sort("time_ms")["attributes"][row]
    return [pair["value"] for pair in pairs if pair["name"] == name]


def test_100k_reads_flags_latin1_and_users(tiny: Tiny, fitting: Fitting) -> None:
    stored = fitting(load_outside(tiny("movielens-100k")))
    items = stored["items"]
    facts = {row["item_id"]: row for row in items.iter_rows(named=True)}
    assert facts["1"]["title"] == "Le Thé"
    assert facts["1"]["category"] == "Comedy"
    assert attributes(items, "1", "genre") == ["Comedy", "Drama"]
    assert attributes(items, "1", "year") == ["1995"]
    assert facts["2"]["category"] is None  # "unknown" is no genre
    assert (facts["3"]["title"], attributes(items, "3", "year")) == ("Nobody Knows", [])
    assert facts["4"]["time_ms"] == 880_000_200_000  # never rated: from the end of the data
    assert facts["1"]["time_ms"] == 880_000_000_000 - 1
    assert stored["actions"].select("user_id", "item_id", "action", "time_ms").rows() == [
        ("7", "1", "save", 880_000_000_000),
        ("7", "2", "click", 880_000_060_000),
        ("8", "1", "hide", 880_000_100_000),
        ("8", "3", "save", 880_000_200_000),
    ]
    users = {row["user_id"]: row for row in stored["users"].iter_rows(named=True)}
    assert users["7"]["interests"] == ["age:25", "gender:F", "occupation:writer"]
    assert users["8"]["time_ms"] == 880_000_100_000 - 1


def test_1m_reads_double_colons_and_latin1(tiny: Tiny, fitting: Fitting) -> None:
    imported = load_outside(tiny("movielens-1m"))
    stored = fitting(imported)
    titles = dict(stored["items"].select("item_id", "title").iter_rows())
    assert titles == {"10": "Café", "20": "Twenty", "30": "Thirty"}
    assert stored["actions"]["action"].to_list() == ["save", "hide", "click"]
    assert stored["users"]["interests"].to_list() == [["age:1", "gender:F", "occupation:10"], ["age:56", "gender:M", "occupation:16"]]
    assert any("codes" in note for note in imported.notes)


def test_header_case_does_not_matter(tiny: Tiny) -> None:
    lower = load_outside(tiny("movielens-csv"))
    camel = "UserId,movieID,Rating,timestamp\n1,10,4.0,1000000000\n1,20,2.5,1000000010\n2,10,3.5,1000200000\n"
    other = load_outside(tiny("movielens-csv", changed={"ratings.csv": camel}, folder="camel"))
    assert lower.frames["actions"].equals(other.frames["actions"])
    assert lower.frames["items"].equals(other.frames["items"])


def test_tags_grow_and_are_never_known_before_they_were_given(tiny: Tiny, tmp_path: Path) -> None:
    ingest_outside(tmp_path / "lake", tiny("movielens-csv"))
    lake = Lake(tmp_path / "lake")

    def tags(before_s: float) -> list[str]:
        return attributes(lake.items(before_ms=int(before_s * 1000)), "10", "tag")

    # funny at ...100 s and dry at ...200 s are one day: one row, at the second of them. slow comes at 1,000,200,000 s.
    assert tags(1_000_000_000.5) == []
    assert tags(1_000_000_150) == []
    assert tags(1_000_000_201) == ["funny", "dry"]
    assert tags(1_000_150_000) == ["funny", "dry"]  # a repeated tag makes no new row
    assert tags(1_000_200_001) == ["funny", "dry", "slow"]
    film = lake.items().filter(pl.col("item_id") == "10").row(0, named=True)
    assert (film["title"], film["category"], film["created_ms"]) == ("Ten, the Film", "Comedy", 1_000_000_000_000 - 1)
    assert attributes(lake.items(), "10", "genre") == ["Comedy", "Drama"]


def test_the_number_of_tags_is_bounded(tiny: Tiny) -> None:
    items = load_outside(tiny("movielens-csv"), config=ImportConfig(tags_per_item=1)).frames["items"]
    assert items.filter(pl.col("item_id") == "10").height == 2
    assert attributes(items, "10", "tag", row=1) == ["funny"]


def test_a_tag_can_be_the_first_sign_of_a_film(tiny: Tiny, fitting: Fitting) -> None:
    early = "userId,movieId,tag,timestamp\n9,20,odd,900000000\n"
    items = fitting(load_outside(tiny("movielens-csv", changed={"tags.csv": early})))["items"]
    assert items.filter(pl.col("item_id") == "20").sort("time_ms")["time_ms"].to_list() == [900_000_000_000 - 1, 900_000_000_000]


def test_thresholds_can_be_changed(tiny: Tiny) -> None:
    folder = tiny("movielens-csv")  # ratings 4.0, 2.5, 3.5
    assert load_outside(folder).frames["actions"]["action"].to_list() == ["save", "hide", "click"]
    strict = load_outside(folder, config=ImportConfig(save_from=4.5, click_from=4.0, hide_to=2.5))
    assert strict.frames["actions"]["action"].to_list() == ["click", "hide"]
    assert any(note.startswith("1 ratings between 2.5 and 4.0") for note in strict.notes)


def test_facts_of_users_can_be_left_out(tiny: Tiny) -> None:
    assert "users" not in load_outside(tiny("movielens-1m"), config=ImportConfig(user_facts=False)).frames


def write_order(folder: Path) -> Path:
    """Order for all rows, times for some, rows deliberately out of order in the file."""
    rows = [
        (1, 12, 5, None, 2),
        (1, 10, 4, 1_000_000_000, 0),
        (1, 11, 1, 1_000_000_000, 1),
        (1, 13, 3, 1_000_000_060, 3),
        (2, 10, 2, None, 0),
    ]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp", "pos"], orient="row").with_columns(
        split=pl.lit("train")
    )
    file = folder / "ml-toy.parquet"
    frame.write_parquet(file)
    return file


def test_partial_timestamps_keep_the_order(tmp_path: Path, fitting: Fitting) -> None:
    file = write_order(tmp_path)
    assert find_importer(tmp_path).files(tmp_path) == [file]
    imported = load_outside(file)
    actions = fitting(imported)["actions"]
    # User 1: 0, 0 (pushed to 1 ms), then half way between the second known time (row 1) and the third (row 3): 30 s, then 60 s.
    ours = actions.filter(pl.col("user_id") == "1")
    assert ours["item_id"].to_list() == ["10", "11", "12", "13"]
    assert (ours["time_ms"] - 1_000_000_000_000).to_list() == [0, 1, 30_000, 60_000]
    # User 2 has no time at all and starts when user 1 does.
    assert actions.filter(pl.col("user_id") == "2")["time_ms"].to_list() == [1_000_000_000_000]
    assert any("40.0% of the times are interpolated" in note for note in imported.notes)


# ------------------------------------------------------------------------------------------------------------ real data


def day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


def facts_of(actions: pl.DataFrame) -> tuple[int, int, int, str, str]:
    times = actions["time_ms"]
    return actions.height, actions["user_id"].n_unique(), actions["item_id"].n_unique(), day(times.min()), day(times.max())


def test_real_latest_small(real_data: Real, fitting: Fitting) -> None:
    stored = fitting(load_outside(real_data("ml-latest-small"), config=ImportConfig(tags_per_item=1_000)))
    assert facts_of(stored["actions"]) == (100_836, 610, 9_724, "1996-03-29", "2018-09-24")
    assert stored["items"]["item_id"].n_unique() == 9_742
    tags = stored["items"].explode("attributes").unnest("attributes").filter(pl.col("name") == "tag")
    assert tags["item_id"].n_unique() == 1_572
    raw = pl.read_csv(real_data("ml-latest-small") / "tags.csv.gz")
    assert tags["value"].n_unique() == raw["tag"].str.strip_chars().str.to_lowercase().n_unique()


def test_real_1m_order(real_data: Real, fitting: Fitting) -> None:
    imported = load_outside(real_data("ml-1m"))
    stored = fitting(imported)
    actions = stored["actions"]
    assert facts_of(actions)[:3] == (1_000_209, 6_040, 3_706)
    assert stored["items"].height == 3_883
    assert stored["users"].height == 6_040
    assert any("35.8% of the times are interpolated" in note for note in imported.notes)
    raw = pl.read_parquet(real_data("ml-1m") / "ml-1m.parquet").sort("user_id", "pos")
    assert actions["item_id"].equals(raw["item_id"].cast(pl.String))
    gaps = actions.select(pl.col("time_ms").diff().over("user_id")).to_series().drop_nulls()
    assert (gaps >= 1).all()
    known = raw["timestamp"].is_not_null()
    moved = (actions["time_ms"] - raw["timestamp"] * 1000).filter(known)
    assert moved.min() == 0
    assert moved.max() < 1_000  # within the second that is known


@pytest.mark.parametrize("name", ["ml-latest-small", "ml-100k"])
def test_real_ratings_become_the_actions_they_should(name: str, real_data: Real) -> None:
    kinds = dict(load_outside(real_data(name)).frames["actions"]["action"].value_counts().iter_rows())
    expected = {
        "ml-latest-small": {"save": 48_580, "click": 33_183, "hide": 19_073},
        "ml-100k": {"save": 55_375, "click": 27_145, "hide": 17_480},
    }
    assert kinds == expected[name]
