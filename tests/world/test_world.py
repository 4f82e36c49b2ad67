"""The tables of a world: the contract, no truth in them, the same seed the same bits."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from corkboard.lake.schema import POSITIVE, TABLES, validate_frame
from corkboard.world.config import DAY_MS, WorldConfig
from corkboard.world.vocabulary import PATTERNS, SHADES, STYLES
from corkboard.world.world import World


def fingerprint(world: World) -> dict[str, str]:
    return {name: hashlib.sha256(frame.write_ndjson().encode()).hexdigest() for name, frame in world.tables().items()}


@pytest.fixture(scope="module")
def tables(tiny) -> dict[str, pl.DataFrame]:
    return tiny.tables()


def test_every_table_fits_the_contract(tables):
    assert set(tables) == {"items", "users", "boards", "impressions", "actions"}
    for name, frame in tables.items():
        assert frame.schema == TABLES[name].schema
        assert validate_frame(name, frame).bad.is_empty()
        assert frame["event_id"].is_unique().all()
        assert frame.height > 100


def test_the_same_seed_gives_the_same_bits():
    small = WorldConfig.tiny(days=6, users=60)
    world = World(small)
    made = fingerprint(world)
    assert made == fingerprint(World(small))
    other = fingerprint(World(small.model_copy(update={"seed": 8})))
    assert all(other[name] != value for name, value in made.items())
    for turn in range(3):  # what was responded since changes nothing
        world.respond(world.user_ids[turn], world.item_ids[:10], small.end_ms + DAY_MS)
    assert fingerprint(world) == made


def test_a_start_some_weeks_later_changes_nothing_but_dates():
    config = WorldConfig.tiny(days=6, users=60)
    weeks = 9 * 7 * DAY_MS
    now, later = World(config).tables(), World(config.model_copy(update={"start_ms": config.start_ms + weeks})).tables()
    for name in now:
        assert later[name].with_columns(pl.col("time_ms") - weeks).equals(now[name])


def test_nothing_happens_out_of_time(tables, tiny):
    config = tiny.config
    for name in ("impressions", "actions"):
        times = tables[name]["time_ms"]
        assert times.is_sorted()
        assert config.start_ms <= times[0]
        assert times[-1] < config.end_ms
    born = tables["items"].group_by("item_id").agg(born=pl.col("time_ms").min())
    slots = tables["impressions"].select("time_ms", "user_id", "slots").explode("slots").unnest("slots").join(born, on="item_id")
    assert (slots["time_ms"] > slots["born"]).all()
    joined = slots.join(tables["users"].select("user_id", joined="time_ms"), on="user_id")
    assert (joined["time_ms"] > joined["joined"]).all()
    saved = tables["actions"].filter(action="save").drop_nulls("board_id")
    boards = tables["boards"].group_by("board_id").agg(made=pl.col("time_ms").min(), owner=pl.col("user_id").first())
    saved = saved.join(boards, on="board_id")
    assert (saved["time_ms"] >= saved["made"]).all()
    assert (saved["user_id"] == saved["owner"]).all()


def test_what_is_gone_is_shown_no_more(everything_on):
    tables = everything_on.tables()
    gone = tables["items"].filter(~pl.col("available")).select("item_id", gone_ms="time_ms")
    assert gone.height > 3
    slots = tables["impressions"].select("time_ms", "slots").explode("slots").unnest("slots").join(gone, on="item_id")
    assert slots.filter(pl.col("time_ms") < pl.col("gone_ms")).height > 10
    assert slots.filter(pl.col("time_ms") > pl.col("gone_ms") + DAY_MS).is_empty()


def test_actions_come_only_from_what_was_shown(tables):
    shown = tables["impressions"].select("request_id", "slots", shown_ms="time_ms").explode("slots").unnest("slots")
    actions = tables["actions"].filter(pl.col("action").is_in(POSITIVE) | pl.col("action").is_in(["hide", "report"]))
    found = actions.join(shown, on=["request_id", "item_id", "position"], how="inner")
    assert found.height == actions.height
    assert (found["time_ms"] >= found["shown_ms"]).all()
    assert set(tables["actions"]["action"].unique()) >= {*POSITIVE, "hide", "report", "follow", "block", "undo"}
    pages = shown.group_by("request_id").agg(
        pl.len(), pl.col("item_id").n_unique(), pl.col("position").n_unique(), last=pl.col("position").max()
    )
    assert (pages["item_id"] == pages["len"]).all()
    assert (pages["position"] == pages["len"]).all()
    assert (pages["last"] == pages["len"] - 1).all()


def test_what_is_undone_had_been_done_by_the_same_person(tables):
    undo = tables["actions"].filter(action="undo").select("user_id", "undoes", undone_ms="time_ms")
    done = undo.join(tables["actions"], left_on=["undoes", "user_id"], right_on=["event_id", "user_id"])
    assert done.height == undo.height > 0
    assert set(done["action"]) <= {"save", "hide"}
    assert (done["undone_ms"] > done["time_ms"]).all()


def test_a_fifth_of_the_items_arrives_during_the_test(tiny, tables):
    born = tables["items"].group_by("item_id").agg(pl.col("time_ms").min())["time_ms"].to_numpy()
    config = tiny.config
    assert (born >= config.test_ms).mean() == pytest.approx(0.2)
    before = born[(born >= config.start_ms) & (born < config.test_ms)]
    half = (config.start_ms + config.test_ms) // 2
    assert 0.4 < (before < half).mean() < 0.6
    assert (born < config.start_ms).mean() > 0.2


def test_nothing_tells_the_truth(tiny, tables):
    """No picture word in any text, no number in any name, and ids in no order of time or kind."""
    text = tables["items"].select(pl.concat_str("title", "description", separator=" ").str.to_lowercase())["title"]
    words = {word.lower() for table in (PATTERNS, SHADES, STYLES) for pair in table for word in pair}
    ambiguous = {"orange", "sporty", "classic", "red", "rot", "lila", "blau", "lime", "rosa", "gelb"}  # parts of other words
    assert not [word for word in words - ambiguous if text.str.contains(rf"\b{word}\b").any()]
    assert not text.str.contains(r"\d").any()
    first = tables["items"].unique("item_id", keep="first")
    order = first.sort("item_id").select(pl.col("time_ms").rank(), pl.int_range(pl.len()).alias("place"))
    assert abs(np.corrcoef(order["time_ms"], order["place"])[0, 1]) < 0.15
    rows = np.array([tiny._item_rows[item_id] for item_id in first.sort("time_ms")["item_id"]])
    assert abs(np.corrcoef(rows, np.arange(len(rows)))[0, 1]) < 0.15
    names = {attribute["name"] for attributes in tables["items"]["attributes"] for attribute in attributes}
    assert names == {"material", "use", "size"}
    assert tiny.pictures().columns == ["item_id", "pattern", "shade", "style"]


def test_queries_are_logged_with_their_results(tables):
    asked = tables["impressions"].filter(surface="search")
    assert asked.height > 50
    assert asked["query"].null_count() == 0
    assert asked["query"].n_unique() > 0.5 * asked.height
    assert tables["impressions"].filter(pl.col("surface") != "search")["query"].null_count() == tables["impressions"].height - asked.height
    assert tables["actions"].filter(surface="search").filter(pl.col("query").is_null()).is_empty()
    related = tables["impressions"].filter(surface="related")
    assert related["context_item_id"].null_count() == 0


def test_size_and_time_are_settings():
    world = World(WorldConfig.tiny(items=120, users=40, days=6, test_days=2, seen_slots=32, chunk=100, keep_truth=False))
    tables = world.tables()
    assert tables["items"]["item_id"].n_unique() == 120
    assert tables["users"].height == 40
    assert tables["impressions"].height > 20
    with pytest.raises(ValidationError):
        WorldConfig(start_ms=1_756_684_800_001)


def test_people_are_simulated_chunk_by_chunk_alike():
    """More people than a chunk: other random numbers, the same kind of world."""
    whole = World(WorldConfig.tiny(users=200, days=4)).tables()["actions"].height
    parts = World(WorldConfig.tiny(users=200, days=4, chunk=100)).tables()["actions"].height
    assert 0.8 < parts / whole < 1.25
