"""Search over HTTP, from the workspace and from the command line."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from corkboard.cli.app import app
from corkboard.lake.pictures.store import SCHEME, PictureStore
from corkboard.serving.app import create_app
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.workspace import Workspace
from tests.serving.builders import HUES, encode_by_colours, png, promote_with_pictures, promote_with_words
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


# ------------------------------------------------------------------------------------------------------------ what arrives live


def pushed(client: TestClient, item_id: str, **columns: Any) -> None:
    event = {"event": "item", "time_ms": now_ms(), "item_id": item_id, **columns}
    assert client.post("/v1/events", json=[event]).status_code == 200


def alike(client: TestClient, picture: np.ndarray) -> list[str]:
    files = {"image": ("picture", png(picture))}
    answer = client.post("/v1/recommend", data={"user_id": "user-1", "k": "25"}, files=files)
    assert answer.status_code == 200, answer.text
    return shown(answer.json())


def test_a_new_item_is_found_by_its_picture_and_by_no_other_any_more(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    encode_by_colours(monkeypatch)
    promote_with_pictures(workspace)
    store = PictureStore(workspace.folder / "lake")
    blue, red = (np.broadcast_to(np.array(HUES[n], np.uint8), (64, 48, 3)) for n in (2, 0))
    with TestClient(create_app(engine_of(workspace)), raise_server_exceptions=False) as client:
        pushed(client, "sofa", title="An ottoman sofa", images=[f"{SCHEME}{store.put(png(blue))}"])
        assert "sofa" in alike(client, blue)
        beside = page(client, user_id="user-1", surface="visual", item_id="sofa", k=5)
        assert {category_of(item_id) for item_id in shown(beside)} == {"rugs"}
        pushed(client, "sofa", title="An ottoman sofa", images=[f"{SCHEME}{store.put(png(red))}"])
        assert "sofa" not in alike(client, blue)
        assert "sofa" in alike(client, red)
        pushed(client, "sofa", deleted=True)
        assert "sofa" not in alike(client, red)
        pushed(client, "chair", title="A chair", images=[f"{SCHEME}{'0' * 64}"])  # not in the lake: the item is there all the same
        assert client.get("/v1/items/chair").status_code == 200
        assert "chair" not in alike(client, red)


def test_a_new_item_of_the_world_is_found_by_text_and_by_meaning(built: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(built.folder, folder)
    known = built.lake().items().filter(pl.col("title").is_not_null() & pl.col("images").list.len().gt(0))
    like = known.row(0, named=True)
    same = {name: like[name] for name in ("kind", "category", "creator_id", "images")}
    same["attributes"] = {pair["name"]: pair["value"] for pair in like["attributes"] or []}
    with TestClient(create_app(engine_of(Workspace(folder, built.settings)))) as client:
        pushed(client, "new", title="Zzyzxian", **same)
        by_word = page(client, user_id="user-1", query="zzyzxian", k=5)
        assert shown(by_word)[0] == "new"
        by_meaning = page(client, user_id="user-1", query=like["title"], k=100)
        sources = {item["item_id"]: item["source"] for item in by_meaning["items"]}
        assert "searchsage" in sources["new"]
        assert "searchsage" in {source for each in sources.values() for source in each}
        looks = page(client, user_id="user-1", surface="visual", item_id=like["item_id"], k=5)
        assert "new" in shown(looks)
