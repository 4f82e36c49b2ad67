"""What a lake tells of searches and what was engaged with."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corkboard.embeddings.config import PairActionWeights, SearchSageConfig
from corkboard.embeddings.query_pairs import QUERY_PAIR_SCHEMA, capped, query_pairs, query_text
from corkboard.errors import LeakError
from tests.lake.rows import DAY, HOUR, T0, action, impression, lake_of, undo

CUT = T0 + 2 * DAY


def found(event_id: str, hours: float, kind: str = "click", item_id: str = "i1", user_id: str = "ann", **more) -> dict:
    return action(event_id, int(T0 + hours * HOUR), kind, item_id, user_id, **{"surface": "search", "query": "Red  vase", **more})


def told(pairs: pl.DataFrame) -> list[tuple]:
    hours, weight = (pl.col("time_ms") - T0) // HOUR, pl.col("weight").cast(pl.Float64).round(3)
    return pairs.select("query", "item_id", hours.alias("hours"), weight, "user").rows()


def test_pairs_by_hand(tmp_path):
    rows = [
        found("long", 3, "long_click", "i2", "bob", query="BLÅ vas!"),
        found("click", 1),
        found("save", 2, "save", query="ｒｅｄ vase"),  # full width
        found("visitor", 4, user_id=None, session_id="s1"),
        found("close", 5, "close_up"),
        found("hide", 5, "hide"),
        found("bought", 5, "checkout"),
        found("home", 5, surface="home", query=None),
        found("related", 5, surface="related"),
        found("undone", 5, "save"),
        undo("undo", T0 + 6 * HOUR, "undone"),
        found("nothing said", 5, query=None),
        found("no words", 5, query="  ❤ !! "),
        action("follow", T0 + 5 * HOUR, "follow", None, creator_id="c", surface="search", query="red vase"),
    ]
    pairs = query_pairs(lake_of(tmp_path, actions=rows), CUT)
    assert dict(pairs.schema) == QUERY_PAIR_SCHEMA
    assert told(pairs) == [
        ("red vase", "i1", 1, 0.6, "ann"),
        ("red vase", "i1", 2, 1.5, "ann"),
        ("blå vas", "i2", 3, 1.0, "bob"),
        ("red vase", "i1", 4, 0.6, "session:s1"),
    ]


def test_no_pair_is_from_the_cut_or_later(tmp_path):
    lake = lake_of(tmp_path, actions=[found("before", 48 - 1 / HOUR), found("at", 48), found("after", 49), undo("undo", CUT + 1, "before")])
    pairs = query_pairs(lake, CUT)
    assert pairs["time_ms"].to_list() == [CUT - 1]  # that it was taken back later, nobody could have known
    assert query_pairs(lake.until(CUT), CUT).equals(pairs)
    with pytest.raises(LeakError):
        query_pairs(lake.until(CUT), CUT + 1)


def test_an_action_that_does_not_say_the_query_has_that_of_its_page(tmp_path):
    searched, late = (impression(name, time_ms, ["i1"], surface="search", query=name) for name, time_ms in (("soup", T0), ("late", CUT)))
    rows = [
        found("with", 1, query=None, request_id="r-soup"),
        found("own words", 2, query="stew", request_id="r-soup"),
        found("page unknown", 3, query=None, request_id="r-gone"),
        found("page after the cut", 4, query=None, request_id="r-late"),
    ]
    lake = lake_of(tmp_path, actions=rows, impressions=[searched, late])
    assert query_pairs(lake, CUT)["query"].to_list() == ["soup", "stew"]


def served(request_id: str, notes: list[str] | None, time_ms: int = T0, **more) -> dict:
    slots = [{"item_id": "i1", "position": 0}]
    page = {"event_id": request_id, "time_ms": time_ms, "request_id": request_id, "user_id": "ann", "surface": "search"}
    return page | {"query": "vase", "notes": notes, "slots": slots, **more}


def test_what_was_done_on_a_page_that_did_not_look_for_its_query_is_no_pair(tmp_path):
    pages = [
        served("good", ["corrected", "no_meaning"]),
        served("silent", None),
        served("bad", ["no_search", "artifact_unusable"]),
        served("late", ["no_search"], CUT),
        served("elsewhere", ["no_search"], tenant="other"),
    ]
    rows = [
        found(f"{name} {n}", n, query=query, request_id=name) for name in ("good", "silent", "bad") for n, query in enumerate((None, "own"))
    ]
    rows += [found("of no page", 3), found("unknown", 4, query="x", request_id="gone"), found("then", 5, query="y", request_id="late")]
    rows += [found("theirs", 6, query="z", request_id="elsewhere")]
    pairs = query_pairs(lake_of(tmp_path, actions=rows, served=pages), CUT)
    assert sorted(pairs["query"]) == ["own", "own", "red vase", "vase", "vase", "x", "y", "z"]


def test_an_empty_lake_has_no_pairs_and_weights_decide_what_counts(tmp_path):
    lake = lake_of(tmp_path, actions=[found("close", 1, "close_up"), found("click", 2)])
    config = SearchSageConfig(weights=PairActionWeights(close_up=0.25, click=0))
    assert told(query_pairs(lake, CUT, config)) == [("red vase", "i1", 1, 0.25, "ann")]
    assert dict(query_pairs(lake, T0).schema) == QUERY_PAIR_SCHEMA
    assert len(query_pairs(lake, T0)) == 0


def test_the_cap_is_drawn_at_random_by_its_seed_whatever_order_the_lake_was_filled_in(tmp_path):
    rows = [found(f"e{k:02d}", k / 2, item_id="popular") for k in range(60)] + [found(f"x{k}", k, item_id=f"i{k}") for k in range(3)]
    lake, turned = lake_of(tmp_path / "a", actions=rows), lake_of(tmp_path / "b", actions=rows[::-1])
    config = SearchSageConfig(cap_per_item=10)
    pairs = query_pairs(lake, CUT, config, seed=1)
    assert dict(pairs["item_id"].value_counts().rows()) == {"popular": 10, "i0": 1, "i1": 1, "i2": 1}
    assert pairs["time_ms"].is_sorted()
    assert query_pairs(turned, CUT, config, seed=1).equals(pairs)
    assert not query_pairs(lake, CUT, config, seed=2).equals(pairs)
    assert pairs.filter(pl.col("item_id") == "popular")["time_ms"].max() > T0 + 15 * HOUR  # not just the oldest


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 8), st.integers(0, 5))
def test_the_cap_takes_no_more_than_it_must(items: list[str], most: int, seed: int) -> None:
    pairs = pl.DataFrame({"item_id": items, "row": np.arange(len(items))}, schema={"item_id": pl.String, "row": pl.Int64})
    kept = capped(pairs, most, seed)
    assert kept["row"].is_sorted()
    assert {item: kept["item_id"].to_list().count(item) for item in set(items)} == {i: min(items.count(i), most) for i in set(items)}


def test_queries_in_any_script_are_words_with_a_space_between():
    assert query_text("  Crème\tBRÛLÉE, 'quick'! ") == "crème brûlée quick"
    assert query_text("赤い花瓶") == "赤 い 花 瓶"
    assert query_text("مزهرية حمراء") == "مزهرية حمراء"
    assert query_text("สีแดง") == "สีแดง"
    assert [query_text(nothing) for nothing in (None, "", " \n", "👗🔥", "'; --")] == [""] * 5


@given(st.text(alphabet=st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs"]), max_size=30))
def test_spaces_and_upper_case_ascii_change_nothing(text: str) -> None:
    ascii_upper = "".join(letter.upper() if "a" <= letter <= "z" else letter for letter in text)
    assert query_text(f"  {ascii_upper}\n") == query_text(text)
