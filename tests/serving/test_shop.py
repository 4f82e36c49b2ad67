"""The shop over HTTP: what can be bought, for a person and beside an item, and what arrives while it is open."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from corkboard.errors import InputError
from corkboard.feed.page import RecommendRequest
from corkboard.serving.app import create_app
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.workspace import Workspace
from tests.serving.builders import ITEMS, promote_with_words
from tests.serving.test_app import action, category_of, codes, now_ms, page

LAMPS = {f"item-{n:03d}" for n in range(ITEMS) if n % 6 == 1}


def shown(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def push(client: TestClient, item_id: str, **columns: Any) -> None:
    event = {"event": "item", "time_ms": now_ms(), "item_id": item_id, **columns}
    answer = client.post("/v1/events", json=[event])
    assert (answer.status_code, answer.json()["rejected"]) == (200, [])


def shop(client: TestClient, user: str = "user-1", **body: Any) -> dict[str, Any]:
    return page(client, user_id=user, surface="shop", **body)


def test_a_shelf_is_what_can_be_bought_with_its_price_and_a_reason(client: TestClient) -> None:
    push(client, "idea", title="An idea", kind="idea", category="lamps")
    answer = shop(client, k=100, details=True)
    assert len(answer["items"]) == len(set(shown(answer))) == 100
    assert "idea" not in shown(answer)
    assert all(item["item"]["price_minor"] > 0 and item["item"]["currency"] == "EUR" and item["reason"] for item in answer["items"])
    assert len(LAMPS & set(shown(shop(client, k=12)))) >= 6  # what this person likes
    assert codes(answer) >= {"no_product_vectors"}  # it is said that this release finds them as any other item


def test_beside_an_item_are_others_that_go_with_it(client: TestClient) -> None:
    answer = shop(client, user="somebody-new", item_id="item-004", k=12)
    assert len(shown(answer)) == 12
    assert "item-004" not in shown(answer)
    assert {category_of(item_id) for item_id in shown(answer)[:4]} == {category_of("item-004")}


def test_filters_hold_and_can_not_let_in_what_is_not_sold(client: TestClient) -> None:
    push(client, "idea", title="An idea", kind="idea", category="lamps")
    answer = shop(client, k=50, filter={"category": "lamps", "price_max": 3000})
    assert set(shown(answer)) == {item_id for item_id in LAMPS if 1000 + 50 * int(item_id[5:]) <= 3000}
    assert set(shown(shop(client, k=50, filter={"category": "lamps", "sold": True}))) == LAMPS
    kept = shown(shop(client, k=12))
    assert not set(kept) & set(shown(shop(client, k=12, filter={"exclude_ids": kept})))


@pytest.mark.parametrize(
    ("given", "about"),
    [
        ({"sold": "yes"}, "true or false"),
        ({"sold": False}, "holds only what is sold"),
        ({"slod": True}, "Did you mean sold?"),
        (["sold"], "filter"),
    ],
)
def test_a_filter_that_is_wrong_is_refused_there_too(client: TestClient, engine: LiveEngine, given: Any, about: str) -> None:
    answer = client.post("/v1/recommend", json={"user_id": "user-1", "surface": "shop", "filter": given})
    assert (answer.status_code, about in answer.text) == (400, True)
    for surface in ("shop",) if given == {"sold": False} else ("shop", "home"):
        with pytest.raises(InputError, match="filter|sold"):
            engine.recommend(RecommendRequest(surface=surface, user_id="user-1", filter=given))


def test_an_item_that_is_not_known_is_said(client: TestClient) -> None:
    answer = shop(client, item_id="no such item", k=6)
    assert "unknown_item" in codes(answer)
    assert len(shown(answer)) == 6


def test_pages_follow_without_repeats(client: TestClient) -> None:
    seen, cursor = [], None
    for _ in range(3):
        answer = shop(client, item_id="item-004", k=20, **({"cursor": cursor} if cursor else {}))
        seen += shown(answer)
        cursor = answer["next_cursor"]
    assert len(seen) == len(set(seen)) == 60


def test_it_follows_the_last_tap(client: TestClient) -> None:
    before = shown(shop(client, user="newcomer", k=12))
    rugs = [f"item-{n:03d}" for n in (2, 8, 14)]
    events = [action(item_id, surface="shop") for item_id in rugs]
    assert client.post("/v1/events", json=events).json()["accepted"] == 3
    after = shown(shop(client, user="newcomer", k=12))
    share = [sum(category_of(item_id) == "rugs" for item_id in ids) for ids in (before, after)]
    assert share[1] > share[0]


def test_what_is_hidden_there_is_gone(client: TestClient) -> None:
    gone = shown(shop(client, k=1))[0]
    assert client.post("/v1/events", json=[action(gone, "hide", "user-1", surface="shop")]).json()["accepted"] == 1
    assert gone not in shown(shop(client, k=100))


def test_an_impression_and_a_save_there_are_known_and_explained(client: TestClient, engine: LiveEngine) -> None:
    answer = shop(client, item_id="item-004", k=3)
    told = {"time_ms": now_ms(), "user_id": "user-1", "surface": "shop", "context_item_id": "item-004", "request_id": answer["request_id"]}
    slot = {"item_id": shown(answer)[0], "position": 0}
    events = [
        {"event": "impression", **told, "slots": [slot]},
        {"event": "action", "action": "save", **told, **slot},
    ]
    assert client.post("/v1/events", json=events).json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    served = engine.store.served(answer["request_id"])
    assert (served["surface"], served["context_item_id"]) == ("shop", "item-004")
    why = client.get(f"/v1/explain/{answer['request_id']}/{shown(answer)[0]}").json()
    assert why["beside"] == "item-004"


def test_a_product_that_arrives_is_in_the_shop_and_found_by_its_text_at_once(workspace: Workspace) -> None:
    promote_with_words(workspace)
    with TestClient(create_app(engine_of(workspace)), raise_server_exceptions=False) as client:
        push(client, "sofa", title="An ottoman sofa", category="rugs", kind="product", price_minor=49_900, currency="EUR")
        found = page(client, user_id="user-1", query="ottoman", k=5, details=True)
        assert [(item["item_id"], item["item"]["price_minor"]) for item in found["items"]] == [("sofa", 49_900)]
        assert shown(shop(client, k=5, filter={"price_min": 40_000})) == ["sofa"]
        assert "sofa" in shown(shop(client, user="user-2", item_id="item-002", k=25, filter={"category": "rugs"}))
        push(client, "sofa", deleted=True)
        assert shown(shop(client, k=5, filter={"price_min": 40_000})) == []


@pytest.mark.parametrize(
    ("body", "about"), [({"surface": "home", "item_id": "item-001"}, "item"), ({"surface": "shop", "crop": [0, 0, 1, 1]}, "picture")]
)
def test_what_does_not_go_together_is_refused(client: TestClient, body: dict[str, Any], about: str) -> None:
    answer = client.post("/v1/recommend", json={"user_id": "user-1", **body})
    assert answer.status_code == 400
    assert about in answer.text


def test_a_new_product_of_the_world_is_placed_by_its_pictures_and_words(built: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(built.folder, folder)
    sold = built.lake().items().filter((pl.col("kind") == "product") & pl.col("title").is_not_null() & (pl.col("images").list.len() > 0))
    like = sold.row(0, named=True)
    same = {name: like[name] for name in ("kind", "category", "images", "price_minor", "currency", "title")}
    same["attributes"] = {pair["name"]: pair["value"] for pair in like["attributes"] or []}
    with TestClient(create_app(engine_of(Workspace(folder, built.settings)))) as client:
        push(client, "new", **same)
        answer = page(client, user_id="user-1", surface="shop", item_id=like["item_id"], k=100)
        sources = {item["item_id"]: item["source"] for item in answer["items"]}
        assert "itemsage" in sources["new"]
        assert not codes(answer) & {"no_products", "no_product_vectors", "no_product_encoder"}
