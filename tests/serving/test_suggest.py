"""Suggestions as one types: where they come from, what is never shown, slips, and what happens where something is missing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from starlette.testclient import TestClient

from corkboard.artifacts import write_artifact
from corkboard.errors import StoreError
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.pipeline.query_steps import QUERY_SCHEMA, QueriesStepConfig, asked_queries, count_queries, make_queries
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.lexical import LexicalIndex
from corkboard.serving.app import create_app
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.serving.suggest import KnownWords, Suggester
from corkboard.workspace import Workspace
from tests.serving.builders import NOW_MS, frame, promote_with_words, release_ids

CONFIG = QueriesStepConfig()


# ------------------------------------------------------------------------------------------------- what people asked


def asked(*rows: tuple[str, str, float]) -> pl.DataFrame:
    """Who, what, and how many days ago."""
    days = [(person, text, int(NOW_MS - ago * DAY_MS)) for person, text, ago in rows]
    return pl.DataFrame(days, schema={"person": pl.String, "text": pl.String, "time_ms": pl.Int64}, orient="row")


def counted(*rows: tuple[str, str, float]) -> dict[str, tuple[str, int, float]]:
    table = count_queries(asked(*rows), CONFIG, NOW_MS)
    return {key: (query, people, round(weight, 4)) for key, query, people, weight in table.rows()}


def test_a_query_of_four_people_is_not_kept_however_often_they_ask() -> None:
    four = [(f"u{n % 4}", text, n) for n in range(40) for text in ("my secret", "My  SECRET", "mỳ secret")]
    assert counted(*four) == {}
    assert counted(*four, ("u4", "my secret", 0)).keys() == {"my secret"}


def test_people_count_once_whatever_the_spelling_and_lately_counts_more() -> None:
    five = [(f"u{n}", "Café Table", 0) for n in range(5)] + [("u0", "cafe table", 28), ("u5", "cafe table!", 14)]
    assert counted(*five) == {"cafe table": ("café table", 6, 5.5)}  # half a person for one who asked one half-life ago
    old = [(f"u{n}", "old rug", 28) for n in range(8)]
    new = [(f"u{n}", "new rug", 0) for n in range(5)]
    assert list(counted(*old, *new)) == ["new rug", "old rug"]


def test_a_spelling_that_few_used_is_not_shown() -> None:
    mixed = [(f"u{n}", text, 0) for n, text in enumerate(["a@b.example", "a b example", "a-b-example", "A/B example", "a b, example"])]
    assert counted(*mixed)["a b example"][:2] == ("a b example", 5)


def test_long_and_wordless_queries_are_left_out() -> None:
    assert counted(*[(f"u{n}", text, 0) for n in range(9) for text in ("x" * 81, "!!", "\U0001f9f6", " ")]) == {}


def test_queries_are_read_from_what_was_served_seen_and_done(tmp_path: Path) -> None:
    def row(n: int, **more: object) -> dict:
        return {"event_id": f"e{n}", "time_ms": NOW_MS + n, "surface": "search", "query": "blue lamp", **more}

    slots = [{"item_id": "i1", "position": 0}]
    tables = {
        "served": [row(0, request_id="r0", user_id="u0", slots=slots), row(1, request_id="r1", session_id="s1", slots=slots)],
        "impressions": [
            row(2, request_id="r2", user_id="u1", slots=slots),
            row(3, request_id="r3", user_id="u9", surface="home", slots=slots),
        ],
        "actions": [
            row(4, user_id="u2", action="save", item_id="i1"),
            row(5, user_id="u0", action="click", item_id="i1"),
            row(6, user_id="u7", action="click", item_id="i1", tenant="other"),
            row(7, user_id="u8", action="click", item_id="i1", query=None),
        ],
    }
    ingest_frames(tmp_path, {name: frame(name, rows) for name, rows in tables.items()}, source="test")
    found = asked_queries(Lake(tmp_path), CONFIG).sort("person")
    assert found.rows() == [(f"u{n}", "blue lamp", NOW_MS + at) for n, at in ((0, 5), (1, 2), (2, 4))]
    with_visitors = asked_queries(Lake(tmp_path), QueriesStepConfig(visitors=True))
    assert set(with_visitors["person"]) == {"u0", "u1", "u2", "session:s1"}
    given = SimpleNamespace(lake=Lake(tmp_path).until(NOW_MS + 3), config=CONFIG, calendar=SimpleNamespace(end_ms=NOW_MS))
    made = make_queries(given)
    assert (made.tables["queries"].schema, len(made.tables["queries"]), made.metrics["queries"]) == (pl.Schema(QUERY_SCHEMA), 0, 0)


def test_a_page_that_did_not_look_for_its_query_is_not_counted_nor_what_came_of_it(tmp_path: Path) -> None:
    def row(n: int, request_id: str | None, **more: object) -> dict:
        about = {"event_id": f"e{n}", "time_ms": NOW_MS + n, "surface": "search", "query": f"query {request_id}"}
        return about | {"request_id": request_id, "user_id": f"u{n}", **more}

    slots, click = [{"item_id": "i1", "position": 0}], {"action": "click", "item_id": "i1"}
    tables = {
        "served": [row(0, "bad", slots=slots, notes=["no_search"]), row(1, "good", slots=slots, notes=["no_words"])],
        "impressions": [row(2, "bad", slots=slots), row(3, "good", slots=slots), row(4, "unserved", slots=slots)],
        "actions": [row(5, "bad", **click), row(6, "good", **click), row(7, None, **click)],
    }
    ingest_frames(tmp_path, {name: frame(name, rows) for name, rows in tables.items()}, source="test")
    found = asked_queries(Lake(tmp_path), CONFIG)
    assert sorted(found["person"]) == ["u1", "u3", "u4", "u6", "u7"]
    assert "query bad" not in set(found["text"])


# ------------------------------------------------------------------------------------------------------ completions

TITLES = ["Navy check shirt", "Navy check coat", "White shirt", "Velvet shorts", "Shiny velvet lamp", "Velvet lamp", "Велосипед красный"]
ITEMS = pl.DataFrame(
    {
        "item_id": [f"i{n}" for n in range(len(TITLES))],
        "title": TITLES,
        "category": ["mens_shirts", "coats", "mens_shirts", "shorts", "lamps", "lamps", "bikes"],
    }
)


def table(**queries: float) -> pl.DataFrame:
    rows = [(key.replace("_", " "), key.replace("_", " "), 9, weight) for key, weight in queries.items()]
    return pl.DataFrame(rows, schema=QUERY_SCHEMA, orient="row")


ASKED = table(navy_shirt=9.0, navy_coat=20.0, shirt_dress=3.0, hovercraft=99.0)


@pytest.fixture(scope="module")
def suggester() -> Iterator[Suggester]:
    catalogue = Catalogue(ITEMS)
    index = LexicalIndex.build(ITEMS, catalogue)
    yield Suggester.build(catalogue, index, ASKED)
    index.close()


def told(suggester: Suggester, typed: str, k: int = 8) -> list[tuple[str, str]]:
    return [(one.text, one.kind) for one in suggester.suggest(typed, k)]


def test_queries_come_first_then_categories_then_titles(suggester: Suggester) -> None:
    assert told(suggester, "na") == [("navy coat", "query"), ("navy shirt", "query"), ("navy", "title"), ("navy check", "title")]
    assert told(suggester, "sh")[:3] == [("shirt dress", "query"), ("mens shirts", "category"), ("shorts", "category")]
    assert told(suggester, "NAVY c")[:2] == [("navy coat", "query"), ("navy check", "title")]
    assert told(suggester, "navy shirt") == []  # nothing goes on after it, and a slip of it is nothing
    assert told(suggester, "na", k=1) == [("navy coat", "query")]
    assert told(suggester, "hov") == []  # nobody could find it


def test_a_space_says_that_the_word_is_whole(suggester: Suggester) -> None:
    assert ("shirt dress", "query") in told(suggester, "shirt ")
    assert ("shirt dress", "query") not in told(suggester, "shi ")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("nvay", "navy coat"),  # swapped
        ("navvy", "navy coat"),  # one too many
        ("nvy", "navy coat"),  # one too few
        ("nawy", "navy coat"),  # changed
        ("navy sirt", "navy shirt"),
        ("nvay co", "navy coat"),  # an earlier word
        ("shrit d", "shirt dress"),
        ("velwet l", "velvet lamp"),
        ("вилос", "велосипед"),
    ],
)
def test_a_slip_is_completed_all_the_same(suggester: Suggester, typed: str, first: str) -> None:
    assert told(suggester, typed)[0][0] == first


def test_a_word_is_completed_alone_where_nobody_said_all_of_it(suggester: Suggester) -> None:
    assert told(suggester, "Velvet hat co") == [("velvet hat coat", "title")]


def test_nothing_typed_gives_what_is_popular(suggester: Suggester) -> None:
    assert told(suggester, "", k=4) == [("navy coat", "query"), ("navy shirt", "query"), ("shirt dress", "query"), ("lamps", "category")]
    liked = [one.text for one in suggester.suggest(" ", 8, liked=["bikes"])]
    assert liked.index("bikes") == 3
    assert len(liked) == len(set(liked)) == 8


@pytest.mark.parametrize(
    "typed", ['"', "%", "_", "*", "na*", "'; DROP TABLE phrases; --", "title:navy", "NEAR(", "\0", "\U0001f9f6", "x" * 100_000, "a " * 9999]
)
def test_signs_and_syntax_are_harmless(suggester: Suggester, typed: str) -> None:
    for one in suggester.suggest(typed, 8):
        assert one.text
    assert told(suggester, "na")[0] == ("navy coat", "query")


def test_without_an_index_queries_and_categories_are_left() -> None:
    bare = Suggester.build(Catalogue(ITEMS), None, ASKED)
    assert told(bare, "na") == [("navy coat", "query"), ("navy shirt", "query")]
    assert told(bare, "hov") == [("hovercraft", "query")]
    assert told(bare, "nvy") == [("navy coat", "query"), ("navy shirt", "query"), ("navy", "title")]
    assert told(Suggester.build(Catalogue(ITEMS.clear()), None, ASKED.clear()), "na") == []


def one_edit(a: str, b: str) -> bool:
    """The plain reference: optimal string alignment distance exactly one."""
    table = [[max(i, j) if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1] == 1


def test_near_beginnings_are_those_of_a_plain_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corkboard.serving.suggest._SPELLINGS", 10_000)
    letters = "abc"
    words = sorted({"".join(letters[(n // 3**at) % 3] for at in range(1 + n % 6)) for n in range(0, 900, 7)})
    known = KnownWords(Catalogue(pl.DataFrame({"item_id": words, "title": words})))
    for typed in ("abc", "cab", "aab", "bcab", "aaaa", "cbacb"):
        begun = {word[:length] for word in words for length in range(len(word) + 1) if one_edit(typed, word[:length])}
        assert set(known.near(typed)) == begun
        assert set(known.near(typed, whole=True)) == {word for word in words if one_edit(typed, word)}
    assert known.near("ab") == known.near("ab1") == known.near("a" * 40) == []


# --------------------------------------------------------------------------------------------------------- over HTTP


def with_queries(workspace: Workspace) -> None:
    """A live release with words and past queries."""
    release = promote_with_words(workspace)
    rows = table(blue_lamps=9.0, blue_rugs=20.0, woven_baskets=3.0)
    made = write_artifact(workspace.folder / "artifacts", "queries", "q1", tables={"queries": rows})
    workspace.releases.promote(workspace.releases.write("queries", {**release.artifacts, "queries": made}).id)


@pytest.fixture
def engine(workspace: Workspace) -> LiveEngine:
    with_queries(workspace)
    return engine_of(workspace)


def texts(client: TestClient, **query: object) -> list[str]:
    answer = client.get("/v1/suggest", params=query)
    assert answer.status_code == 200, answer.text
    return [one["text"] for one in answer.json()["suggestions"]]


def test_over_http(client: TestClient) -> None:
    assert client.get("/v1/suggest", params={"q": "blue", "k": 2}).json() == {
        "suggestions": [{"text": "blue rugs", "kind": "query"}, {"text": "blue lamps", "kind": "query"}],
        "notes": [],
    }
    assert texts(client, q="bleu")[:2] == ["blue rugs", "blue lamps"]
    assert texts(client)[:3] == ["blue rugs", "blue lamps", "woven baskets"]
    assert texts(client, user_id="user-4", k=4)[3] == "plants"  # category 4 of 6 is what they like
    assert texts(client, session_id="nobody", k=4)[:3] == ["blue rugs", "blue lamps", "woven baskets"]
    assert texts(client, q="é" * 1024) == texts(client, q="\U0001f9f6") == []
    assert client.get("/openapi.json").json()["paths"]["/v1/suggest"]["get"]["operationId"] == "suggest"


def test_a_new_item_is_suggested(client: TestClient) -> None:
    event = {"event": "item", "time_ms": NOW_MS, "item_id": "sofa", "title": "An ottoman sofa", "category": "rugs"}
    assert client.post("/v1/events", json=[event]).status_code == 200
    assert "ottoman" in texts(client, q="otto")


def test_a_deleted_word_is_not_what_a_slip_meant(client: TestClient, workspace: Workspace) -> None:
    def push(item_id: str, **columns: object) -> None:
        assert client.post("/v1/events", json=[{"event": "item", "time_ms": NOW_MS, "item_id": item_id, **columns}]).status_code == 200

    push("sofa", title="An ottoman sofa", category="rugs")
    push("chair", title="A wicker chair", category="rugs")
    for typed, word in (("otoman", "ottoman"), ("ottomna ", "ottoman"), ("wikcer", "wicker")):  # here the words are read
        assert any(word in text for text in texts(client, q=typed)), typed
    push("sofa", deleted=True)
    assert texts(client, q="otoman") == texts(client, q="ottomna ") == texts(client, q="blue ottomna") == []
    assert "wicker" in texts(client, q="wikcer")


def test_a_category_goes_with_its_last_item(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue(ITEMS)
    suggester = Suggester.build(catalogue, None, ASKED.clear())
    assert told(suggester, "bik") == [("bikes", "category")]
    catalogue.remove("i6")
    assert told(suggester, "bik") == [("bikes", "category")]  # it is not counted with every key
    monkeypatch.setattr("corkboard.serving.suggest._RECOUNT_S", 0.0)
    assert told(suggester, "bik") == []
    assert "bikes" not in [one.text for one in suggester.suggest("", 8, liked=["bikes"])]
    catalogue.add({"item_id": "i7", "time_ms": NOW_MS, "title": "Tandem", "category": "bikes"})
    assert told(suggester, "bik") == [("bikes", "category")]


def test_another_tenant_gets_neither_words_nor_counts(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for typed in ("", "blue", "bleu", "la"):
        answer = client.get("/v1/suggest", params={"q": typed, "tenant": "zz"}).json()
        assert (answer["suggestions"], [note["code"] for note in answer["notes"]]) == ([], ["other_tenant"])
    for query in ("bleu rugs", "blue", "qqqqqq"):
        body = {"user_id": "user-1", "query": query, "tenant": "zz"}
        page = client.post("/v1/recommend", json=body).json()
        said = {note["code"] for note in page["notes"]}
        assert (page["items"], page["next_cursor"]) == ([], None)
        assert "other_tenant" in said
        assert not said & {"corrected", "unknown_words", "no_words", "no_match", "by_meaning"}
        assert not any(word in str(page["notes"]) for word in ("“", "would be found"))


def test_a_release_that_serves_no_more_is_not_held(client: TestClient, engine: LiveEngine, workspace: Workspace) -> None:
    texts(client, q="blue")
    held, words = weakref.ref(engine.live), weakref.ref(engine.live.feed.parts.words.index)
    workspace.releases.promote(release_ids(workspace)[0])
    engine.poll()
    gc.collect()
    assert held() is None
    assert words() is None
    assert texts(client, q="la") == ["lamps"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"query": "x"}, "unknown_key"),
        ({"k": "0"}, "bad_input"),
        ({"k": "21"}, "bad_input"),
        ({"k": "x"}, "bad_input"),
        ({"user_id": "session:x"}, "bad_input"),
        ({"q": "é" * 1025}, "bad_input"),
    ],
)
def test_what_is_wrong_is_said(client: TestClient, query: dict[str, str], code: str) -> None:
    answer = client.get("/v1/suggest", params=query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def codes(client: TestClient, **query: str) -> list[str]:
    return [note["code"] for note in client.get("/v1/suggest", params=query).json()["notes"]]


def test_without_words_categories_are_left_and_said(client: TestClient, workspace: Workspace, engine: LiveEngine) -> None:
    workspace.releases.promote(release_ids(workspace)[0])
    engine.poll()
    assert texts(client, q="la") == ["lamps"]
    assert texts(client, q="lapm") == ["lamps"]
    assert codes(client, q="la") == ["no_search"]


def test_an_index_that_fails_costs_only_titles(client: TestClient, engine: LiveEngine) -> None:
    engine.live.feed.parts.words.index.close()
    assert texts(client, q="blue") == ["blue rugs", "blue lamps"]
    assert codes(client, q="blue") == ["no_search"]


def test_a_table_that_cannot_be_read_costs_only_past_queries(workspace: Workspace) -> None:
    release = promote_with_words(workspace)
    made = write_artifact(workspace.folder / "artifacts", "queries", "q2", tables={"queries": pl.DataFrame({"other": [1]})})
    workspace.releases.promote(workspace.releases.write("queries", {**release.artifacts, "queries": made}).id)
    with TestClient(create_app(engine_of(workspace))) as client:
        assert texts(client, q="la")[0] == "lamps"


def test_without_a_release_nothing_is_suggested(workspace: Workspace) -> None:
    (workspace.folder / "releases" / "current").unlink()
    with TestClient(create_app(engine_of(workspace))) as client:
        assert client.get("/v1/suggest").json()["suggestions"] == []
        assert codes(client) == ["no_release"]


def test_a_store_that_fails_costs_only_what_one_likes(client: TestClient, engine: LiveEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise StoreError("The store is away")

    monkeypatch.setattr(engine.store, "state", broken)
    assert texts(client, user_id="user-4")[:3] == ["blue rugs", "blue lamps", "woven baskets"]
    assert codes(client, user_id="user-4") == ["store_unreachable"]
