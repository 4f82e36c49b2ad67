"""Pages beside an item over HTTP, and the way of a pin from a save to the page of what lies on the same board."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from corkboard.pipeline.show import show
from corkboard.serving.app import create_app
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.workspace import Workspace
from tests.serving.builders import ITEMS, promote_with_boards
from tests.serving.test_app import category_of, codes, now_ms, page

ON_WALL = [f"item-{n:03d}" for n in (0, 7, 14, 21, 28)]
ELSEWHERE = [f"item-{n:03d}" for n in (35, 42, 49, 56)]


def new_pin(item_id: str) -> dict[str, Any]:
    return {"event": "item", "time_ms": now_ms(), "item_id": item_id, "title": f"Nothing of the kind {item_id}", "category": "maps"}


def put_on(board_id: str, item_id: str, **more: Any) -> dict[str, Any]:
    event = {"event": "action", "time_ms": now_ms(), "user_id": "somebody", "action": "save", "item_id": item_id, "surface": "home"}
    return {**event, "board_id": board_id, **more}


def found_by(answer: dict[str, Any]) -> dict[str, list[str]]:
    """Sources by item."""
    return {item["item_id"]: item["source"] for item in answer["items"]}


@pytest.fixture
def walked(workspace: Workspace) -> Workspace:
    """A workspace whose live release has a graph of two boards."""
    promote_with_boards(workspace, {"wall": ON_WALL, "shelf": ELSEWHERE})
    return workspace


@pytest.fixture
def boards(walked: Workspace) -> Any:
    with TestClient(create_app(engine_of(walked)), raise_server_exceptions=False) as client:
        yield client


# ------------------------------------------------------------------------------------------------------------- the request


def test_what_is_like_an_item_is_on_its_page_and_the_item_is_not(client: TestClient, engine: LiveEngine) -> None:
    answer = page(client, user_id="user-1", item_id="item-002", k=12)
    shown = [item["item_id"] for item in answer["items"]]
    assert len(shown) == 12
    assert "item-002" not in shown
    assert sum(category_of(item) == "rugs" for item in shown) >= 9  # six categories: two of twelve by chance
    assert all(item["reason"] for item in answer["items"])
    served = engine.store.served(answer["request_id"])
    assert (served["surface"], served["context_item_id"]) == ("related", "item-002")


def test_the_surface_may_be_named_or_left_out(client: TestClient) -> None:
    asked = {"item_id": "item-003", "k": 5}
    named = page(client, session_id="s1", surface="related", **asked)["items"]
    short = page(client, session_id="s2", **asked)["items"]
    assert [item["item_id"] for item in named] == [item["item_id"] for item in short]


@pytest.mark.parametrize(
    ("body", "says"),
    [({"surface": "related"}, "belongs to an item"), ({"surface": "home", "item_id": "item-003"}, "home takes no item")],
)
def test_surface_and_item_go_together(client: TestClient, body: dict[str, Any], says: str) -> None:
    answer = client.post("/v1/recommend", json={"user_id": "ann", **body})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_input")
    assert says in answer.json()["error"]["message"]


def test_an_item_nobody_knows_gets_a_page_and_a_note(client: TestClient) -> None:
    answer = page(client, user_id="user-1", item_id="never/seen")
    assert len(answer["items"]) == 25
    assert "unknown_item" in codes(answer)
    assert "unknown_item" not in codes(page(client, user_id="user-1", item_id="item-001"))


def test_its_pages_follow_each_other_without_repeats(client: TestClient) -> None:
    seen, cursor = [], None
    for _ in range(3):
        answer = page(client, user_id="user-2", item_id="item-004", k=30, **({"cursor": cursor} if cursor else {}))
        seen += [item["item_id"] for item in answer["items"]]
        cursor = answer["next_cursor"]
    assert len(seen) == len(set(seen)) == 90
    assert "item-004" not in seen


def test_details_filter_and_explanation_are_as_at_home(client: TestClient) -> None:
    answer = page(client, user_id="user-1", item_id="item-002", k=4, details=True, explain=True, filter={"category": "lamps"})
    assert [item["item"]["category"] for item in answer["items"]] == ["lamps"] * 4
    told = client.get(f"/v1/explain/{answer['request_id']}/{answer['items'][0]['item_id']}").json()
    assert (told["beside"], told["on_page"], told["surface"]) == ("item-002", True, "related")


def test_what_is_told_of_such_a_page_is_known_of_the_user(client: TestClient, engine: LiveEngine) -> None:
    answer = page(client, user_id="ann", item_id="item-002", k=4)
    context = {
        "time_ms": now_ms(),
        "user_id": "ann",
        "surface": "related",
        "context_item_id": "item-002",
        "request_id": answer["request_id"],
    }
    slots = [{"item_id": item["item_id"], "position": place} for place, item in enumerate(answer["items"])]
    saved = answer["items"][1]["item_id"]
    events = [
        {"event": "impression", **context, "slots": slots},
        {"event": "action", **context, "action": "save", "item_id": saved, "position": 1},
    ]
    assert client.post("/v1/events", json=events).json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    assert [(action.item_id, action.surface) for action in engine.store.state("ann").actions] == [(saved, "related")]
    kept = [row for _, row in engine.store.events_since(0)]
    assert [row["context_item_id"] for row in kept] == ["item-002", "item-002"]


def test_the_description_names_all_surfaces(client: TestClient) -> None:
    body = client.get("/openapi.json").json()["components"]["schemas"]["RecommendBody"]["properties"]
    assert body["surface"]["enum"] == ["home", "related", "visual", "search", "shop", "shop_the_look", "complete_the_look", None]
    assert "related" in body["surface"]["description"]


# ---------------------------------------------------------------------------------------------------------------- the graph


def test_a_pin_saved_a_moment_ago_is_walked_to(boards: TestClient) -> None:
    before = found_by(page(boards, user_id="ann", item_id=ON_WALL[0], k=20))
    assert {item for item, sources in before.items() if "pixie" in sources} == set(ON_WALL[1:])
    assert boards.post("/v1/events", json=[new_pin("map-1"), put_on("wall", "map-1")]).json()["accepted"] == 2
    answer = page(boards, user_id="ann", item_id=ON_WALL[0], k=20, details=True)
    found = next(item for item in answer["items"] if item["item_id"] == "map-1")
    assert "pixie" in found["source"]
    assert found["item"]["title"] == "Nothing of the kind map-1"
    assert "pixie" not in found_by(page(boards, user_id="ann", item_id=ELSEWHERE[0], k=ITEMS)).get("map-1", [])


def test_it_is_walked_to_at_home_too(boards: TestClient) -> None:
    boards.post("/v1/events", json=[new_pin("map-1"), put_on("wall", "map-1"), put_on("wall", ON_WALL[0], user_id="ann")])
    assert "pixie" in found_by(page(boards, user_id="ann", k=60))["map-1"]


def test_a_save_of_an_item_that_was_there_is_walked_to(boards: TestClient) -> None:
    boards.post("/v1/events", json=put_on("wall", "item-100"))
    assert "pixie" in found_by(page(boards, session_id="s1", item_id=ON_WALL[0], k=20))["item-100"]


@pytest.mark.parametrize(
    ("declared", "walked_to"), [([], False), ([{"secret": True}], False), ([{"secret": False}], True), ([{}, {"secret": True}], False)]
)
def test_only_public_boards_are_walked(boards: TestClient, declared: list[dict[str, Any]], walked_to: bool) -> None:
    events = [{"event": "board", "time_ms": now_ms() + n, "board_id": "mine", "user_id": "ann", **more} for n, more in enumerate(declared)]
    events += [put_on("mine", ON_WALL[0]), put_on("mine", "item-101")]
    assert boards.post("/v1/events", json=events).json()["rejected"] == []
    sources = found_by(page(boards, session_id="s1", item_id=ON_WALL[0], k=ITEMS)).get("item-101", [])
    assert ("pixie" in sources) == walked_to


def test_every_worker_walks_to_it_and_so_does_the_next_process(walked: Workspace) -> None:
    first, second = engine_of(walked), engine_of(walked)
    with TestClient(create_app(first)) as here, TestClient(create_app(second)) as there:
        page(there, session_id="s1", item_id=ON_WALL[0])  # it has looked at the store before
        here.post("/v1/events", json=[new_pin("map-1"), put_on("wall", "map-1")])
        assert "pixie" in found_by(page(there, session_id="s1", item_id=ON_WALL[0]))["map-1"]
    with TestClient(create_app(engine_of(walked))) as later:
        assert "pixie" in found_by(page(later, session_id="s1", item_id=ON_WALL[0]))["map-1"]


def test_nobody_waits_for_the_next_page_to_read_what_came(walked: Workspace) -> None:
    """The watcher reads on between pages, so that a page after a quiet hour has no backlog."""
    engine = engine_of(walked)
    with TestClient(create_app(engine)) as client:
        page(client, session_id="s1")
        client.post("/v1/events", json=put_on("wall", "item-100"))
        deadline = time.monotonic() + 5
        while engine.live.feed.watermark < engine.store.sequence():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_graphs_of_a_release_can_be_shown(walked: Workspace) -> None:
    assert show(walked, "graphs") == {
        "board": {"left": ITEMS, "right": 2, "linked": 9, "median_degree": 1.0, "edges": 9, "walked": True},
    }
