"""Search over HTTP, from the workspace and from the command line."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from corkboard.cli.app import app
from corkboard.serving.app import create_app
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.workspace import Workspace
from tests.serving.builders import promote_with_words
from tests.serving.test_app import category_of, codes, now_ms, page


@pytest.fixture
def worded(workspace: Workspace) -> Workspace:
    """A workspace whose live release knows words."""
    promote_with_words(workspace)
    return workspace


@pytest.fixture
def engine(worded: Workspace) -> LiveEngine:
    return engine_of(worded)


@pytest.fixture
def words(engine: LiveEngine) -> Any:
    with TestClient(create_app(engine), raise_server_exceptions=False) as client:
        yield client


def shown(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_a_query_finds_what_has_its_words(words: TestClient) -> None:
    answer = page(words, user_id="user-1", query="lamps", k=15)
    assert len(shown(answer)) == 15
    assert {category_of(item_id) for item_id in shown(answer)} == {"lamps"}
    assert {tuple(item["source"]) for item in answer["items"]} == {("lexical",)}
    assert {item["reason"] for item in answer["items"]} == {"Has what you searched for"}
    assert set(shown(page(words, user_id="user-1", surface="search", query="lamps", k=15))) == set(shown(answer))


def test_a_typo_is_corrected_and_said(words: TestClient) -> None:
    answer = page(words, user_id="user-1", query="baskest")
    assert {category_of(item_id) for item_id in shown(answer)} == {"baskets"}
    assert "corrected" in codes(answer)


def test_a_page_that_finds_nothing_is_an_answer(words: TestClient) -> None:
    for query in ("", "qqqqqq", '"; DROP TABLE items; --qqqqqq', "\U0001f9f6"):
        answer = page(words, user_id="user-1", query=query)
        assert (shown(answer), answer["next_cursor"]) == ([], None)
        assert "no_match" in codes(answer)


def test_a_search_is_logged_with_its_query_and_can_be_explained(words: TestClient, engine: LiveEngine) -> None:
    answer = page(words, user_id="user-1", query="lamps", filter={"price_max": 2000}, explain=True)
    served = engine.store.served(answer["request_id"])
    assert (served["surface"], served["query"], served["policy"]) == ("search", "lamps", "search/pointwise")
    for item in answer["items"]:
        rules = {rule["rule"]: rule["effect"] for rule in item["explanation"]["rules"]}
        assert item["explanation"]["query"] == "lamps"
        assert rules.get("relevance", "how well it matches the query").startswith("how well it matches the query")
    explained = page(words, user_id="user-1", query="tall lamps", explain=True)["items"][0]["explanation"]
    assert any(rule["effect"].startswith("how well it matches the query adds") for rule in explained["rules"])


def test_a_new_item_is_found_within_a_second_without_a_rebuild(words: TestClient) -> None:
    event = {"event": "item", "time_ms": now_ms(), "item_id": "sofa", "title": "An ottoman sofa", "category": "rugs"}
    assert words.post("/v1/events", json=[event]).status_code == 200
    until = time.monotonic() + 1.0
    while (found := shown(page(words, user_id="user-1", query="ottoman"))) != ["sofa"] and time.monotonic() < until:
        time.sleep(0.02)
    assert found == ["sofa"]


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({"surface": "search"}, "query"),
        ({"surface": "search", "query": "x" * 1001}, "query"),
        ({"surface": "search", "query": "x", "item_id": "item-001"}, "item"),
    ],
)
def test_what_does_not_go_together_is_refused(words: TestClient, body: dict[str, Any], about: str) -> None:
    answer = words.post("/v1/recommend", json={"user_id": "user-1", **body})
    assert answer.status_code == 400
    assert about in answer.text


def test_a_release_without_words_says_so(workspace: Workspace) -> None:
    with TestClient(create_app(engine_of(workspace))) as client:
        answer = page(client, user_id="user-1", query="lamps", k=5)
    assert len(shown(answer)) == 5
    assert "no_search" in codes(answer)


def test_from_the_workspace_and_the_command_line(worded: Workspace) -> None:
    found = worded.search("lamps", user_id="user-1", k=5)
    assert {category_of(item_id) for item_id in found.item_ids} == {"lamps"}
    assert len(worded.search("lamps", k=5)) == 5
    done = CliRunner().invoke(app, ["feed", "user-1", "--query", "lamsp", "-k", "3", "-w", str(worded.folder)])
    assert done.exit_code == 0
    assert "Found for" in done.stdout
    assert "instead of" in done.stdout


def test_a_build_knows_the_words_of_its_items(built: Workspace) -> None:
    title = built.lake().items()["title"].drop_nulls()[0]
    item_id = built.lake().items().filter(title=title)["item_id"][0]
    assert item_id in built.search(title, k=10).item_ids
