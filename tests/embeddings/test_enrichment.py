"""Texts that people give an item."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.embeddings.enrichment import ENRICHMENT_SCHEMA, enriched, without
from corkboard.embeddings.omni_config import EnrichmentConfig
from corkboard.errors import LeakError
from tests.lake.rows import DAY, HOUR, T0, action, impression, lake_of, undo

CUT = T0 + 2 * DAY
ONE = EnrichmentConfig(min_people=1)


def board(board_id: str, title: str | None, hours: float = 0, event_id: str | None = None, **more) -> dict:
    time_ms = int(T0 + hours * HOUR)
    row = {"event_id": event_id or f"b-{board_id}", "time_ms": time_ms, "board_id": board_id, "user_id": "ann", "title": title}
    return {**row, "secret": False, "deleted": False, **more}


def save(event_id: str, board_id: str, item_id: str = "i1", hours: float = 1, **more) -> dict:
    return action(event_id, int(T0 + hours * HOUR), "save", item_id, board_id=board_id, **more)


def found(event_id: str, query: str, item_id: str = "i1", user_id: str = "ann", kind: str = "click", hours: float = 1, **more) -> dict:
    return action(event_id, int(T0 + hours * HOUR), kind, item_id, user_id, surface="search", query=query, **more)


def boards_of(texts: pl.DataFrame) -> dict[str, list[str]]:
    return {item: titles for item, titles in texts.select("item_id", "boards").iter_rows() if titles}


def queries_of(texts: pl.DataFrame) -> dict[str, list[str]]:
    return {item: queries for item, queries in texts.select("item_id", "queries").iter_rows() if queries}


# ----------------------------------------------------------------------------------------------------------------- boards


def test_titles_are_ranked_rare_first_then_by_words_then_by_letters(tmp_path):
    titles = {
        "a": "Ideas",
        "b": "ideas!",
        "c": "small balcony garden",
        "d": "Balcony",
        "e": "garden",
        "f": "front",
        "g": "IDEAS",
        "h": "ideas",
    }
    saves = [save(f"s{k}", k) for k in titles if k != "h"] + [save("t", "h", "i2"), save("again", "c")]
    lake = lake_of(tmp_path, actions=saves, boards=[board(k, title) for k, title in titles.items()])
    texts = enriched(lake, CUT)
    assert dict(texts.schema) == ENRICHMENT_SCHEMA
    assert boards_of(texts) == {"i1": ["small balcony garden", "balcony", "garden", "front", "ideas"], "i2": ["ideas"]}
    assert boards_of(enriched(lake, CUT, EnrichmentConfig(boards=2)))["i1"] == ["small balcony garden", "balcony"]
    assert len(enriched(lake, CUT, EnrichmentConfig(boards=0))) == 0


def test_how_common_a_title_is_counts_in_octaves_of_boards(tmp_path):
    boards = [board(f"x{k}", "two words") for k in range(3)] + [board(f"y{k}", "longer") for k in range(2)] + [board("z", "one")]
    boards += [board(f"w{k}", "four words are here") for k in range(4)]
    saves = [save(f"s{name}", name) for name in ("x0", "y0", "z", "w0")]
    # 1 board; then 2 and 3 boards in one octave, more words first; then 4 boards, whatever the words
    assert boards_of(enriched(lake_of(tmp_path, actions=saves, boards=boards), CUT))["i1"] == [
        "one",
        "two words",
        "longer",
        "four words are here",
    ]


def test_boards_that_not_everybody_may_see_tell_nothing(tmp_path):
    boards = [
        board("open", "open"),
        board("secret", "secret", secret=True),
        board("deleted", "deleted"),
        board("deleted", None, 5, "gone", deleted=True),
        board("unnamed", None),
        board("no words", "❤"),
        board("became secret", "became secret"),
        board("became secret", "became secret", 5, "hidden", secret=True),
    ]
    names = {row["board_id"] for row in boards} | {"never declared"}
    lake = lake_of(tmp_path, actions=[save(f"s-{name}", name) for name in names], boards=boards)
    assert boards_of(enriched(lake, CUT)) == {"i1": ["open"]}


def test_a_board_that_was_hidden_after_the_cut_is_left_out_by_whoever_knows_it(tmp_path):
    boards = [board("b", "for nobody"), board("b", "for nobody", 50, "hidden", secret=True)]
    lake = lake_of(tmp_path, actions=[save("s", "b")], boards=boards)
    assert boards_of(enriched(lake, CUT)) == {}
    assert boards_of(enriched(lake.until(CUT), CUT)) == {"i1": ["for nobody"]}


def test_what_was_taken_back_and_what_came_later_or_long_ago_tells_nothing(tmp_path):
    boards = [board(name, name, -4 * 24) for name in ("kept", "undone", "late", "old", "undone late")] + [board("new", "new", 48)]
    actions = [
        *(save(name, name) for name in ("kept", "undone", "undone late")),
        save("late", "late", hours=48),
        save("old", "old", hours=-3 * 24),
        save("new", "new", hours=2),  # before the board was declared
        undo("u1", T0 + 2 * HOUR, "undone"),
        undo("u2", CUT + 1, "undone late"),
    ]
    lake = lake_of(tmp_path, actions=actions, boards=boards)
    texts = enriched(lake, CUT, EnrichmentConfig(window_days=3))
    assert boards_of(texts) == {"i1": ["undone late", "kept"]}
    assert enriched(lake.until(CUT), CUT, EnrichmentConfig(window_days=3)).equals(texts)
    assert "old" in boards_of(enriched(lake, CUT))["i1"]
    with pytest.raises(LeakError):
        enriched(lake.until(CUT), CUT + 1)


# ---------------------------------------------------------------------------------------------------------------- queries


def test_queries_are_ranked_by_the_weight_of_their_engagements_then_by_the_newest(tmp_path):
    rows = [
        found("1", "Red  VASE", kind="click"),  # 0.6
        found("2", "red vase!", kind="click", user_id="bob"),  # 1.2 together
        found("3", "gift", kind="save", hours=2),  # 1.5
        found("4", "flowers", kind="long_click", hours=3),  # 1.0
        found("5", "ｆｌｏｗｅｒ pot", kind="long_click", hours=4),  # 1.0, newer
        found("6", "looked", kind="close_up"),  # 0
        found("7", "gift", "i2"),
        found("8", "❤"),
    ]
    lake = lake_of(tmp_path, actions=rows)
    texts = enriched(lake, CUT, ONE)
    assert texts["item_id"].to_list() == ["i1", "i2"]
    assert queries_of(texts) == {"i1": ["gift", "red vase", "flower pot", "flowers"], "i2": ["gift"]}
    assert queries_of(enriched(lake, CUT, EnrichmentConfig(min_people=1, queries=2)))["i1"] == ["gift", "red vase"]
    assert len(enriched(lake, CUT, EnrichmentConfig(min_people=1, queries=0))) == 0


def test_a_query_needs_people_and_not_engagements(tmp_path):
    rows = [found(f"a{k}", "my own name", "i1", hours=k) for k in range(5)]
    rows += [found("b1", "vase", "i1", "ann"), found("b2", "Vase", "i2", "bob"), found("b3", "bowl", "i2", None, session_id="s")]
    lake = lake_of(tmp_path, actions=rows)
    assert queries_of(enriched(lake, CUT)) == {"i1": ["vase"], "i2": ["vase"]}
    assert queries_of(enriched(lake, CUT, EnrichmentConfig(min_people=3))) == {}


def test_no_query_is_from_the_cut_or_later_or_was_taken_back(tmp_path):
    rows = [
        found("before", "before", hours=48 - 1 / HOUR),
        found("at", "at", hours=48),
        found("undone", "undone"),
        undo("u", T0 + 2 * HOUR, "undone"),
        found("asked later by a second", "before", "i2", "bob", hours=49),
    ]
    lake = lake_of(tmp_path, actions=rows)
    assert queries_of(enriched(lake, CUT, ONE)) == {"i1": ["before"]}
    assert queries_of(enriched(lake, CUT)) == {}  # the second person came too late


def test_what_was_asked_for_a_secret_board_tells_nothing(tmp_path):
    boards = [board("open", "open"), board("secret", "secret", secret=True)]
    rows = [
        found("1", "ring", kind="save", board_id="secret"),
        found("2", "lamp", kind="save", board_id="open", hours=2),
        found("3", "jar", kind="save", board_id="nobody told of it", hours=3),
        found("4", "mug", kind="save", hours=4),
    ]
    assert set(queries_of(enriched(lake_of(tmp_path / "a", actions=rows, boards=boards), CUT, ONE))["i1"]) == {"lamp", "mug"}
    without_boards = lake_of(tmp_path / "b", actions=rows)  # says nothing of boards at all
    assert set(queries_of(enriched(without_boards, CUT, ONE))["i1"]) == {"ring", "lamp", "jar", "mug"}


def test_an_action_without_a_query_has_that_of_its_page(tmp_path):
    page = impression("p", T0, ["i1"], surface="search", query="SOUP")
    lake = lake_of(tmp_path, actions=[found("1", None, request_id="r-p")], impressions=[page])
    assert queries_of(enriched(lake, CUT, ONE)) == {"i1": ["soup"]}


def test_an_empty_lake_has_no_texts_and_the_order_of_rows_changes_nothing(tmp_path):
    assert dict(enriched(lake_of(tmp_path / "a"), CUT).schema) == ENRICHMENT_SCHEMA
    rows = [found(f"q{k}{p}", f"query {k % 7}", f"i{k % 3}", f"u{p}") for k in range(21) for p in range(2)]
    rows += [save(f"s{k}", f"b{k}", f"i{k % 3}") for k in range(9)]
    boards = [board(f"b{k}", f"board {k % 5}") for k in range(9)]
    first = enriched(lake_of(tmp_path / "b", actions=rows, boards=boards), CUT)
    assert enriched(lake_of(tmp_path / "c", actions=rows[::-1], boards=boards[::-1]), CUT).equals(first)
    assert all(len(queries) == 7 for queries in first["queries"].to_list())


# ---------------------------------------------------------------------------------------------------------------- without


def texts_of(queries: dict[str, list[str]]) -> pl.DataFrame:
    return pl.DataFrame(
        {"item_id": list(queries), "boards": [["b"]] * len(queries), "queries": list(queries.values())}, schema=ENRICHMENT_SCHEMA
    )


def test_the_query_of_a_pair_is_taken_from_its_item_alone():
    texts = texts_of({"i1": ["red vase", "gift", "vase"], "i2": ["red vase"], "i3": []})
    pairs = pl.DataFrame({"query": ["Red VASE!", "vase", "other"], "item_id": ["i1", "i1", "i9"]})
    left = without(texts, pairs)
    assert dict(left.schema) == ENRICHMENT_SCHEMA
    assert left.rows() == [("i1", ["b"], ["gift"]), ("i2", ["b"], ["red vase"]), ("i3", ["b"], [])]
    assert texts["queries"].to_list()[0] == ["red vase", "gift", "vase"]


WORDS = st.lists(st.sampled_from("abcdef"), max_size=6, unique=True)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["i1", "i2"]), WORDS), st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["i1", "i2"]))))
def test_what_is_left_keeps_its_order_and_names_no_pair(queries: dict[str, list[str]], pairs: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(pairs, schema={"query": pl.String, "item_id": pl.String}, orient="row")
    left = queries_of(without(texts_of(queries), frame))
    assert left == {i: kept for i, each in queries.items() if (kept := [query for query in each if (query, i) not in set(pairs)])}
