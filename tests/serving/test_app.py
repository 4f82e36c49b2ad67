"""The routes over real stores and a real release, in process."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from corkboard.feed.page import NOTES
from corkboard.serving.app import create_app
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.settings import load_settings
from corkboard.workspace import Workspace
from tests.serving.builders import CATEGORIES, LABELS, release_ids


def now_ms() -> int:
    return int(time.time() * 1000)


def action(item_id: str, what: str = "save", user: str = "newcomer", **more: Any) -> dict[str, Any]:
    return {"event": "action", "time_ms": now_ms(), "user_id": user, "action": what, "item_id": item_id, "surface": "home", **more}


def page(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def category_of(item_id: str) -> str:
    return CATEGORIES[int(item_id.removeprefix("item-")) % len(CATEGORIES)]


def codes(answer: dict[str, Any]) -> set[str]:
    return {note["code"] for note in answer["notes"]}


# ---------------------------------------------------------------------------------------------------------------- pages


def test_a_page_has_what_the_contract_says(client: TestClient, workspace: Workspace) -> None:
    answer = page(client, user_id="user-1", k=10)
    assert set(answer) == {"request_id", "release", "release_label", "items", "next_cursor", "notes"}
    assert (answer["release"], answer["release_label"]) == (release_ids(workspace)[0], LABELS[0])
    assert len(answer["items"]) == 10
    assert set(answer["items"][0]) == {"item_id", "score", "source", "reason"}


def test_details_carry_the_catalogue_entry(client: TestClient) -> None:
    item = page(client, user_id="user-1", k=1, details=True)["items"][0]
    n = int(item["item_id"].removeprefix("item-"))
    entry = item["item"]
    assert (entry["category"], entry["creator_id"], entry["price_minor"], entry["currency"]) == (
        category_of(item["item_id"]),
        f"maker-{n % 10}",
        1000 + 50 * n,
        "EUR",
    )
    assert entry == client.get(f"/v1/items/{item['item_id']}").json()


def test_cursor_pages_do_not_repeat(client: TestClient) -> None:
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        answer = page(client, user_id="user-2", k=20, **({"cursor": cursor} if cursor else {}))
        seen += [item["item_id"] for item in answer["items"]]
        cursor = answer["next_cursor"]
    assert len(seen) == len(set(seen)) == 80


def test_saves_shape_the_very_next_page(client: TestClient) -> None:
    def share(answer: dict[str, Any]) -> float:
        return sum(category_of(item["item_id"]) == "rugs" for item in answer["items"]) / len(answer["items"])

    before = share(page(client, user_id="newcomer"))
    rugs = [f"item-{n:03d}" for n in range(2, 32, 6)]  # category number 2 of 6
    taken = client.post("/v1/events", json=[action(rug) for rug in rugs]).json()
    assert taken == {"accepted": 5, "duplicates": 0, "rejected": []}
    assert share(page(client, user_id="newcomer")) >= 2 * before


def test_a_hidden_item_is_gone_and_an_undone_hide_brings_it_back(client: TestClient) -> None:
    first = page(client, session_id="s1", k=30)["items"][0]["item_id"]
    hide = action(first, "hide", user=None, session_id="s1", event_id="hide-1")
    client.post("/v1/events", json=hide)
    assert first not in {item["item_id"] for item in page(client, session_id="s1", k=100)["items"]}
    client.post("/v1/events", json={"event": "action", "time_ms": now_ms(), "session_id": "s1", "action": "undo", "undoes": "hide-1"})
    assert first in {item["item_id"] for item in page(client, session_id="s1", k=120)["items"]}


def test_an_unknown_user_gets_a_page_with_a_note(client: TestClient) -> None:
    answer = page(client, user_id="nobody-knows")
    assert len(answer["items"]) == 25
    assert "unknown_user" in codes(answer)
    assert "session_only" in codes(page(client, session_id="s9"))


def test_more_than_there_is_gives_all_there_is_and_says_so(client: TestClient) -> None:
    answer = page(client, user_id="user-1", k=200)
    assert len(answer["items"]) == len({item["item_id"] for item in answer["items"]})
    assert "short_catalogue" in codes(answer)


def test_a_page_longer_than_the_feed_makes_is_refused(client: TestClient) -> None:
    error = client.post("/v1/recommend", json={"user_id": "user-1", "k": 201}).json()["error"]
    assert (error["code"], error["found"], error["expected"]) == ("bad_input", 201, "at most 200")


def test_notes_are_counted(client: TestClient) -> None:
    page(client, user_id="nobody-knows")
    assert 'corkboard_notes_total{code="unknown_user"} 1' in client.get("/metrics").text


def test_a_filter_that_is_not_understood_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/recommend", json={"user_id": "u", "filter": {"categry": "rugs"}})
    assert answer.status_code == 400
    assert answer.json()["error"]["hint"] == "Did you mean category?"


# --------------------------------------------------------------------------------------------------------------- events


def test_good_events_are_kept_when_others_are_bad(client: TestClient) -> None:
    good = action("item-001", event_id="e1")
    bad = {**action("item-002"), "action": "adore"}
    answer = client.post("/v1/events", json={"events": [good, bad, 7, {**good}]})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["accepted"], body["duplicates"]) == (1, 1)
    assert [(one["index"], one["field"]) for one in body["rejected"]] == [(1, "action"), (2, "")]
    assert "'adore'" in body["rejected"][0]["found"]
    assert "save" in body["rejected"][0]["expected"]
    metrics = client.get("/metrics").text
    for outcome, count in {"accepted": 1, "duplicate": 1, "rejected": 2}.items():
        assert f'corkboard_events_total{{outcome="{outcome}"}} {count}' in metrics


def test_lines_of_json_come_in_too(client: TestClient) -> None:
    lines = b'{"event":"user","user_id":"ann","time_ms":1760000000000,"country":"DE"}\nbroken\n'
    answer = client.post("/v1/events", content=lines, headers={"content-type": "application/x-ndjson"}).json()
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (1, [1])
    assert client.get("/v1/users/ann/state").json()["profile"]["country"] == "DE"


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"nonsense", 400), (b"[" + b"{}," * 5000 + b"{}]", 413), (b" " * 9_000_000, 413)]
)
def test_bodies_that_are_refused_whole(client: TestClient, body: bytes, status: int) -> None:
    answer = client.post("/v1/events", content=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message", "found", "expected", "hint", "request_id"}


def test_a_body_that_hides_its_length_is_cut_off(client: TestClient) -> None:
    chunks = iter([b"[" + b" " * 4_000_000, b" " * 4_000_000, b" " * 4_000_000, b"]"])
    assert client.post("/v1/events", content=chunks).status_code == 413


def test_a_live_item_is_found_at_once(client: TestClient) -> None:
    event = {
        "event": "item",
        "time_ms": now_ms(),
        "item_id": "live/1",
        "title": "Glazed blue rugs",
        "category": "rugs",
        "creator_id": "maker-1",
    }
    assert client.get("/v1/items/live/1").status_code == 404
    client.post("/v1/events", json=event)
    assert client.get("/v1/items/live/1").json()["title"] == "Glazed blue rugs"
    rugs = [item["item_id"] for item in page(client, user_id="user-2", k=120, filter={"category": "rugs"})["items"]]
    assert "live/1" in rugs
    assert "corkboard_overlay_items 1\n" in client.get("/metrics").text
    client.post("/v1/events", json={**event, "time_ms": now_ms() + 1, "deleted": True})
    assert "live/1" not in [item["item_id"] for item in page(client, user_id="user-2", k=120)["items"]]


def test_impressions_of_the_page_count_as_seen(client: TestClient, engine: LiveEngine) -> None:
    answer = page(client, user_id="ann", k=10)
    slots = [{"item_id": item["item_id"], "position": place, "score": item["score"]} for place, item in enumerate(answer["items"][:3])]
    event = {
        "event": "impression",
        "time_ms": now_ms(),
        "request_id": answer["request_id"],
        "user_id": "ann",
        "surface": "home",
        "slots": slots,
    }
    assert client.post("/v1/events", json=event).json()["accepted"] == 1
    assert set(engine.store.state("ann").shown) == {slot["item_id"] for slot in slots}


# ------------------------------------------------------------------------------------------------- explanations and users


def test_an_explanation_has_sources_stages_and_heads(client: TestClient, workspace: Workspace) -> None:
    client.post(f"/v1/releases/{release_ids(workspace)[2]}:promote")
    answer = page(client, user_id="user-3", k=10)
    item_id = answer["items"][4]["item_id"]
    told = client.get(f"/v1/explain/{answer['request_id']}/{item_id}").json()
    assert told["on_page"] is True
    assert told["stages"]["page"]["rank"] == 5
    assert told["stages"]["candidates"]["of"] >= 10
    assert set(told["heads"]) == {"click", "save", "hide"}
    assert all(0 < probability < 1 for probability in told["heads"].values())
    assert (told["release_label"], told["user_id"], told["sources"]) == (LABELS[2], "user-3", answer["items"][4]["source"])


def test_an_unknown_page_cannot_be_explained(client: TestClient) -> None:
    answer = client.get("/v1/explain/nothing/item-001")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_what_is_known_of_a_user_is_newest_first(client: TestClient) -> None:
    client.post("/v1/events", json=[action("item-003", "click", event_id="a", time_ms=now_ms() - 5000), action("item-004", event_id="b")])
    client.post(
        "/v1/events", json={"event": "action", "time_ms": now_ms(), "user_id": "newcomer", "action": "follow", "creator_id": "maker-4"}
    )
    state = client.get("/v1/users/newcomer/state").json()
    assert [(one["action"], one["item_id"]) for one in state["actions"]] == [("follow", None), ("save", "item-004"), ("click", "item-003")]
    assert state["actions"][1]["category"] == category_of("item-004")
    assert (state["follows"], state["counts"]) == (["maker-4"], {"follow": 1, "save": 1, "click": 1})
    assert client.get("/v1/users/never-seen/state").json()["known"] is False


def test_sample_users_are_spread_over_history_lengths(client: TestClient) -> None:
    users = client.get("/v1/users").json()["users"]
    counts = [user["actions"] for user in users]
    assert len(users) == 6
    assert (counts[0], counts[-1]) == (45, 10)  # user-7 has 10 + 5 * 7, user-0 has 10
    assert counts == sorted(counts, reverse=True)


# ------------------------------------------------------------------------------------------------------------- releases


def test_promotion_switches_while_serving(client: TestClient, workspace: Workspace) -> None:
    first, second, _ = release_ids(workspace)
    assert page(client, user_id="user-1")["release"] == first
    answer = client.post(f"/v1/releases/{second}:promote").json()
    assert answer == {"live": second, "label": LABELS[1], "before": first}
    assert page(client, user_id="user-1")["release"] == second
    listed = client.get("/v1/releases").json()
    assert listed["live"] == second
    assert [(one["label"], one["live"]) for one in listed["releases"]] == [(LABELS[0], False), (LABELS[1], True), (LABELS[2], False)]
    assert f'corkboard_release_info{{id="{second}",label="{LABELS[1]}"}} 1' in client.get("/metrics").text


@pytest.mark.parametrize("name", ["0123456789ab", "..%2F..%2Fetc%2Fpasswd", "current"])
def test_only_releases_can_be_promoted(client: TestClient, name: str) -> None:
    assert client.post(f"/v1/releases/{name}:promote").status_code == 404
    assert client.get("/readyz").status_code == 200


def test_a_release_that_is_promoted_elsewhere_is_followed(client: TestClient, workspace: Workspace) -> None:
    second = release_ids(workspace)[1]
    workspace.releases.promote(second)
    deadline = time.monotonic() + 5
    while page(client, user_id="user-1")["release"] != second:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---------------------------------------------------------------------------------------------- keys, headers, the rest


def test_api_keys_close_v1_and_nothing_else(workspace: Workspace) -> None:
    settings = load_settings(workspace.folder, overrides=['serving.api_keys=["secret-1", "secret-2"]'], environ={})
    with TestClient(create_app(engine_of(Workspace(workspace.folder, settings)))) as client:
        refused = client.post("/v1/recommend", json={"user_id": "u"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
        assert client.post("/v1/recommend", json={"user_id": "u"}, headers={"x-api-key": "secret-3"}).status_code == 401
        assert client.get("/v1/releases", headers={"x-api-key": "secret-1"}).status_code == 200
        assert client.get("/v1/releases", headers={"authorization": "Bearer secret-2"}).status_code == 200
        assert [client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/")] == [200] * 5


def test_cors_is_off_unless_origins_are_named(client: TestClient, workspace: Workspace) -> None:
    preflight = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in client.options("/v1/recommend", headers=preflight).headers
    settings = load_settings(workspace.folder, overrides=['serving.cors_origins=["https://shop.example"]'], environ={})
    with TestClient(create_app(engine_of(Workspace(workspace.folder, settings)))) as open_client:
        assert open_client.options("/v1/recommend", headers=preflight).headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize(
    ("site", "origin", "status"),
    [
        ("cross-site", "https://evil.example", 403),
        ("same-site", "http://localhost:3000", 403),
        ("same-origin", "http://testserver", 200),
        ("none", "", 200),
    ],
)
def test_another_site_cannot_write_from_a_browser(client: TestClient, site: str, origin: str, status: int) -> None:
    headers = {"sec-fetch-site": site, "origin": origin, "content-type": "text/plain"}
    assert client.post("/v1/events", json=action("item-001"), headers=headers).status_code == status
    assert client.get("/v1/releases", headers=headers).status_code == 200


def test_a_named_origin_can_write_from_a_browser(workspace: Workspace) -> None:
    settings = load_settings(workspace.folder, overrides=['serving.cors_origins=["https://shop.example"]'], environ={})
    with TestClient(create_app(engine_of(Workspace(workspace.folder, settings)))) as client:
        headers = {"sec-fetch-site": "cross-site", "origin": "https://shop.example"}
        assert client.post("/v1/events", json=action("item-001"), headers=headers).status_code == 200
        assert client.post("/v1/events", json=action("item-001"), headers={**headers, "origin": "https://shop.evil"}).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v2/none", 404, "no_such_path"), ("PUT", "/v1/events", 405, "wrong_method"), ("GET", "/page/no.js", 404, "no_such_path")],
)
def test_what_is_not_there_gets_the_one_error_body(client: TestClient, method: str, path: str, status: int, code: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


def test_the_page_is_served_whole_and_asks_nobody_else(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    again = client.get("/", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    for name in ("style.css", "main.js", "feed.js", "item.js", "views.js", "icon.svg"):
        text = client.get(f"/page/{name}").text
        assert "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("// ", "").replace("///", ""), name


def test_the_description_knows_every_route_and_event(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert {
        "/v1/events",
        "/v1/recommend",
        "/v1/explain/{request_id}/{item_id}",
        "/v1/users/{user_id}",
        "/v1/releases/{release_id}:promote",
        "/v1/utility",
    } <= set(described["paths"])
    assert set(described["paths"]["/v1/utility"]) == {"get", "put"}
    schemas = described["components"]["schemas"]
    assert "undo" in schemas["ActionEvent"]["properties"]["action"]["enum"]
    for operation in (one for path in described["paths"].values() for one in path.values()):
        for answer in operation["responses"].values():
            for content in answer["content"].values():
                name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
                assert not name or name in schemas


def test_every_note_of_the_feed_has_words() -> None:
    assert all(text.endswith(".") for text in NOTES.values())
