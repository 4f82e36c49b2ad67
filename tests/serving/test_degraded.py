"""What still works when something does not: a dead store, a release that fails, bodies that make no sense."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from corkboard.lake.schema import ACTIONS, SURFACES
from corkboard.serving.app import create_app
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.settings import load_settings
from corkboard.workspace import Workspace
from tests.serving.builders import release_ids
from tests.serving.test_live import damage

EVENT = {"event": "action", "time_ms": 1_760_000_000_000, "user_id": "u", "action": "save", "item_id": "item-001"}


def test_a_dead_store_gives_pages_and_refuses_events(client: TestClient, engine: LiveEngine) -> None:
    engine.store.close()
    answer = client.post("/v1/recommend", json={"user_id": "user-1"})
    assert answer.status_code == 200
    assert len(answer.json()["items"]) == 25
    assert "store_unreachable" in {note["code"] for note in answer.json()["notes"]}
    refused = client.post("/v1/events", json=[EVENT])
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unreachable")
    assert refused.headers["retry-after"] == "2"
    metrics = client.get("/metrics").text
    assert 'corkboard_events_total{outcome="refused"} 1' in metrics
    assert "corkboard_store_up 0" in metrics
    assert client.get("/readyz").status_code == 503
    health = client.get("/healthz")
    assert (health.status_code, health.json()["store"], health.json()["status"]) == (200, "down", "degraded")


def test_before_the_first_release_the_page_is_empty_and_says_so(workspace: Workspace) -> None:
    (workspace.folder / "releases" / "current").unlink()
    with TestClient(create_app(engine_of(workspace))) as client:
        answer = client.post("/v1/recommend", json={"user_id": "u"}).json()
        assert (answer["items"], [note["code"] for note in answer["notes"]]) == ([], ["no_release"])
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").json()["release"] is None
        assert client.post("/v1/events", json=[EVENT]).json()["accepted"] == 1


def test_a_release_that_cannot_be_loaded_is_told_everywhere(client: TestClient, workspace: Workspace) -> None:
    first, _, third = release_ids(workspace)
    damage(workspace, third, "ranker")
    answer = client.post(f"/v1/releases/{third}:promote")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "release_load_failed")
    page = client.post("/v1/recommend", json={"user_id": "user-1"}).json()
    assert page["release"] == first
    assert "release_load_failed" in {note["code"] for note in page["notes"]}
    health = client.get("/healthz").json()
    assert (health["status"], health["release"]["id"]) == ("degraded", first)
    assert third in health["troubles"][0]
    metrics = client.get("/metrics").text
    assert "corkboard_release_stale 1" in metrics
    assert 'corkboard_release_loads_total{outcome="failed"} 1' in metrics


def test_a_bug_is_one_error_body_without_a_traceback(client: TestClient, engine: LiveEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(request: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(engine, "recommend", break_down)
    answer = client.post("/v1/recommend", json={"user_id": "u"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "secret detail" not in answer.text
    assert 'corkboard_requests_total{route="/v1/recommend",status="500"} 1' in client.get("/metrics").text


# ------------------------------------------------------------------------------------------------------------ no body is a 500


@pytest.fixture(scope="module")
def shared(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One app for all the nonsense below."""
    folder = tmp_path_factory.mktemp("nonsense") / "workspace"
    shutil.copytree(made, folder)
    with TestClient(create_app(engine_of(Workspace(folder, load_settings(folder, environ={})))), raise_server_exceptions=False) as client:
        yield client


leaves = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12
)
somebody = st.sampled_from(["user-1", "user-2", "", "session:x", "é", "a/b", "\x00"]) | values
moments = st.sampled_from([1_760_000_000_000, 0, -1, int(time.time() * 1000)]) | values

page_bodies = st.fixed_dictionaries(
    {},
    optional={
        "surface": st.sampled_from(SURFACES) | values,
        "user_id": somebody,
        "session_id": somebody,
        "tenant": st.just("default") | values,
        "k": st.integers(-1, 300) | values,
        "cursor": st.text(max_size=40) | values,
        "filter": st.dictionaries(st.sampled_from(["category", "kind", "price_min", "exclude_ids", "available", "x"]), values, max_size=3)
        | values,
        "explain": st.booleans() | values,
        "details": st.booleans() | values,
        "item_id": somebody,
        "query": values,
    },
)
slots = st.lists(
    st.fixed_dictionaries({"item_id": st.just("item-001") | values, "position": st.integers(0, 5) | values}) | values, max_size=3
)
events = st.fixed_dictionaries(
    {"event": st.sampled_from(["item", "user", "board", "impression", "action"]) | values, "time_ms": moments},
    optional={
        "event_id": somebody,
        "tenant": somebody,
        "user_id": somebody,
        "session_id": somebody,
        "item_id": somebody,
        "creator_id": somebody,
        "board_id": somebody,
        "request_id": somebody,
        "surface": st.sampled_from(SURFACES) | values,
        "action": st.sampled_from(ACTIONS) | values,
        "undoes": values,
        "slots": slots | values,
        "context": values,
        "attributes": values,
        "images": values,
        "price_minor": values,
        "currency": values,
        "duration_ms": values,
        "title": values,
        "interests": values,
    },
)
several = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def sent(client: TestClient, path: str, value: object) -> int:
    answer = client.post(path, content=orjson.dumps(value))
    body = answer.json()
    assert answer.status_code in (200, 400, 413), body
    assert answer.status_code == 200 or set(body["error"]) == {"code", "message", "found", "expected", "hint", "request_id"}
    return answer.status_code


@several
@given(body=page_bodies | values)
def test_no_request_for_a_page_is_a_500(shared: TestClient, body: object) -> None:
    sent(shared, "/v1/recommend", body)


@several
@given(body=st.lists(events | values, max_size=4) | events | values)
def test_no_event_is_a_500_and_every_one_is_answered_for(shared: TestClient, body: object) -> None:
    answer = shared.post("/v1/events", content=orjson.dumps(body))
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200 and isinstance(body, list):
        told = answer.json()
        assert told["accepted"] + told["duplicates"] + len(told["rejected"]) == len(body)


@several
@given(name=st.text(min_size=1, max_size=30))
def test_no_path_is_a_500(shared: TestClient, name: str) -> None:
    quoted = quote(name.encode("utf-8", "replace"), safe="")
    for path in (f"/v1/users/{quoted}/state", f"/v1/items/{quoted}", f"/v1/explain/{quoted}/{quoted}", f"/{quoted}"):
        assert shared.get(path).status_code < 500
    assert shared.post(f"/v1/releases/{quoted}:promote").status_code < 500
