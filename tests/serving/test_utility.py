"""Utility weights while serving: the next page follows, other workers follow, nothing that is no weight gets through."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from corkboard.errors import ConfigError
from corkboard.feed.page import RecommendRequest
from corkboard.feed.weights import WorkspaceWeights, changed
from corkboard.pipeline.show import show_page
from corkboard.ranking.config import UtilityWeights
from corkboard.serving.app import create_app
from corkboard.serving.config import ServingConfig
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.workspace import Workspace
from tests.serving.builders import release_ids

DEFAULTS = UtilityWeights()


@pytest.fixture
def ranked(client: TestClient, workspace: Workspace) -> TestClient:
    """A client of the release with a ranker."""
    assert client.post(f"/v1/releases/{release_ids(workspace)[2]}:promote").status_code == 200
    return client


def page(client: TestClient, **body: Any) -> dict[str, Any]:
    return client.post("/v1/recommend", json={"user_id": "user-1", "k": 20, **body}).json()


def utility_of(engine: LiveEngine, client: TestClient) -> dict[str, Any]:
    """The weights and the flags that the newest page logged."""
    row = engine.store.served(page(client)["request_id"])
    return {"weights": row["trace"]["weights"], "flags": row["flags"]}


def test_the_next_page_follows_and_logs_what_it_was_ordered_by(ranked: TestClient, engine: LiveEngine) -> None:
    assert ranked.get("/v1/utility").json() == {"weights": DEFAULTS.model_dump(), "settings": DEFAULTS.model_dump()}
    explained = page(ranked, explain=True)["items"][0]["explanation"]["utility"]
    answer = ranked.put("/v1/utility", json={"save": 3, "hide": 0})
    assert answer.status_code == 200
    assert answer.json()["weights"] == {**DEFAULTS.model_dump(), "save": 3.0, "hide": 0.0}
    logged = utility_of(engine, ranked)
    assert logged["weights"] == answer.json()["weights"]
    assert set(logged["flags"]) >= {"utility.save=3.0", "utility.hide=0.0"}
    item = page(ranked, explain=True)["items"][0]
    assert item["explanation"]["utility"]["save"] == pytest.approx(3 * item["explanation"]["heads"]["save"])
    assert explained["save"] != item["explanation"]["utility"]["save"]
    assert item["explanation"]["utility"]["hide"] == 0.0


def test_an_empty_body_goes_back_to_the_settings(ranked: TestClient) -> None:
    ranked.put("/v1/utility", json={"save": 9})
    assert ranked.put("/v1/utility", json={"click": 2}).json()["weights"]["save"] == DEFAULTS.save  # not on top of the former
    assert ranked.put("/v1/utility", json={}).json()["weights"] == DEFAULTS.model_dump()


@pytest.mark.parametrize(
    ("body", "code", "hint"),
    [
        (b'{"sav": 3}', "unknown_key", "Did you mean save?"),
        (b'{"save": "much"}', "bad_input", None),
        (b'{"save": true}', "bad_input", None),
        (b'{"save": null}', "bad_input", None),
        (b'{"save": 1e400}', "not_json", None),
        (b'{"save": 1e9}', "bad_input", None),
        (b"[3]", "bad_input", None),
        (b"save=3", "not_json", None),
    ],
)
def test_what_is_no_weight_is_refused_and_changes_nothing(ranked: TestClient, body: bytes, code: str, hint: str | None) -> None:
    answer = ranked.put("/v1/utility", content=body)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["hint"]) == (code, hint)
    assert ranked.get("/v1/utility").json()["weights"] == DEFAULTS.model_dump()


def test_it_is_guarded_like_everything_else(workspace: Workspace) -> None:
    config = ServingConfig(api_keys=("secret",))
    with TestClient(create_app(engine_of(workspace), config), raise_server_exceptions=False) as client:
        assert client.put("/v1/utility", json={"save": 3}).status_code == 401
        assert client.put("/v1/utility", json={"save": 3}, headers={"x-api-key": "secret"}).status_code == 200
        elsewhere = {"x-api-key": "secret", "sec-fetch-site": "cross-site", "origin": "http://evil"}
        assert client.put("/v1/utility", json={}, headers=elsewhere).status_code == 403


def test_other_workers_and_later_releases_follow(engine: LiveEngine, workspace: Workspace) -> None:
    other = engine_of(workspace)
    engine.poll()
    other.poll()
    engine.set_weights({"save": 4.0})
    assert engine.live.feed.weights.save == 4.0
    assert other.live.feed.weights.save == DEFAULTS.save
    assert other.poll() is False  # no other release, but other weights
    assert other.live.feed.weights.save == 4.0
    workspace.releases.promote(release_ids(workspace)[2])
    assert other.poll() is True
    assert other.live.feed.weights.save == 4.0
    assert engine_of(workspace).weights.read().save == 4.0  # and whoever starts later
    other.close()


def test_the_watcher_follows_the_file(client: TestClient, workspace: Workspace, engine: LiveEngine) -> None:
    (workspace.folder / "utility.toml").write_text("save = 5.0\n")
    deadline = time.monotonic() + 10
    while client.get("/v1/utility").json()["weights"]["save"] != 5.0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_file_that_does_not_read_leaves_the_weights_and_is_told(engine: LiveEngine, workspace: Workspace) -> None:
    engine.poll()
    engine.set_weights({"save": 4.0})
    file = workspace.folder / "utility.toml"
    file.write_text("saves = 3\n")
    engine.poll()
    assert engine.live.feed.weights.save == 4.0
    assert "Did you mean save" in engine.weights_failure
    file.unlink()
    engine.poll()
    assert (engine.live.feed.weights, engine.weights_failure) == (DEFAULTS, None)


def test_health_tells_of_a_file_that_does_not_read(client: TestClient, workspace: Workspace, engine: LiveEngine) -> None:
    (workspace.folder / "utility.toml").write_text("save = \n")
    engine.poll()
    health = client.get("/healthz").json()
    assert health["status"] == "degraded"
    assert "utility weights" in health["troubles"][0]


BROKEN = {"typo": b"saves = 3\n", "Latin-1": "# für ann\nsave = 3\n".encode("latin-1"), "endless": b"save = " + b"9" * 5000}


@pytest.mark.parametrize("what", BROKEN)
def test_under_a_broken_file_a_release_that_goes_live_keeps_the_weights(engine: LiveEngine, workspace: Workspace, what: str) -> None:
    engine.poll()
    engine.set_weights({"save": 4.0})
    (workspace.folder / "utility.toml").write_bytes(BROKEN[what])
    assert engine.poll() is False
    assert engine.live.feed.weights.save == 4.0
    workspace.releases.promote(release_ids(workspace)[2])
    assert engine.poll() is True
    assert (engine.live.release.id, engine.failure) == (release_ids(workspace)[2], None)
    assert engine.live.feed.weights.save == 4.0
    assert engine.weights_failure
    engine.set_weights({"click": 2.0})  # in place of the broken one
    assert (engine.live.feed.weights.save, engine.live.feed.weights.click, engine.weights_failure) == (DEFAULTS.save, 2.0, None)


@pytest.mark.parametrize("what", [*BROKEN, "a folder"])
def test_beside_a_broken_file_a_server_starts_with_the_settings(engine: LiveEngine, workspace: Workspace, what: str) -> None:
    file = workspace.folder / "utility.toml"
    if what == "a folder":
        file.mkdir()
    else:
        file.write_bytes(BROKEN[what])
    with TestClient(create_app(engine), raise_server_exceptions=False) as client:
        assert client.get("/readyz").status_code == 200
        assert len(page(client)["items"]) == 20
        assert client.get("/v1/utility").json()["weights"] == DEFAULTS.model_dump()
        health = client.get("/healthz").json()
    assert health["status"] == "degraded"
    assert [trouble for trouble in health["troubles"] if "utility weights" in trouble] == health["troubles"]


def test_before_the_first_release_the_answer_is_what_will_be(workspace: Workspace) -> None:
    first = release_ids(workspace)[0]
    (workspace.folder / "releases" / "current").unlink()
    engine = engine_of(workspace)
    with TestClient(create_app(engine), raise_server_exceptions=False) as client:
        assert client.get("/v1/utility").json()["weights"] == DEFAULTS.model_dump()
        expected = {**DEFAULTS.model_dump(), "save": 3.0}
        assert client.put("/v1/utility", json={"save": 3}).json() == {"weights": expected, "settings": DEFAULTS.model_dump()}
        assert client.get("/v1/utility").json()["weights"] == expected
        file = workspace.folder / "utility.toml"
        whole = file.read_bytes()
        file.write_bytes(BROKEN["Latin-1"])
        assert client.get("/v1/utility").json()["weights"] == DEFAULTS.model_dump()
        file.write_bytes(whole)
        workspace.releases.promote(first)
        engine.poll()
        assert engine.live.feed.weights.save == 3.0


def test_weights_of_a_workspace(tmp_path) -> None:
    weights = WorkspaceWeights(tmp_path, UtilityWeights(save=2.0))
    assert (weights.read().save, weights.stamp()) == (2.0, b"")
    assert weights.write({"click": 1}).click == 1.0
    assert weights.read() == UtilityWeights(save=2.0, click=1.0)
    assert weights.stamp() == b"click = 1.0\n"
    for wrong in ({"clik": 1}, {"click": float("nan")}, {"click": float("inf")}):
        with pytest.raises(ConfigError):
            weights.write(wrong)
    assert weights.read() == UtilityWeights(save=2.0, click=1.0)
    assert changed(DEFAULTS, ["save=3"]).save == 3.0
    with pytest.raises(ConfigError, match="Did you mean save"):
        changed(DEFAULTS, ["sav=3"])


def test_a_page_says_how_many_candidates_it_ranked(ranked: TestClient) -> None:
    answer = ranked.post("/v1/recommend", json={"user_id": "user-1"})
    stages = dict(entry.strip().split(";", 1) for entry in answer.headers["server-timing"].split(","))
    assert stages["light_candidates"] == 'desc="0"'  # there is no light ranker, the order of the sources chooses
    assert stages["source_candidates"] == stages["full_candidates"]
    assert 60 < int(stages["full_candidates"].removeprefix('desc="').removesuffix('"')) <= 120
    assert {"candidates", "user", "light", "features", "ranking"} <= {name for name, value in stages.items() if value.startswith("dur=")}


def test_a_page_without_a_ranker_says_that_none_was_ranked_in_full(client: TestClient) -> None:
    timing = client.post("/v1/recommend", json={"user_id": "user-1"}).headers["server-timing"]
    assert 'light_candidates;desc="0"' in timing
    assert 'full_candidates;desc="0"' in timing
    assert 'source_candidates;desc="0"' not in timing


def test_a_preview_of_other_weights_logs_nothing(workspace: Workspace) -> None:
    workspace.releases.promote(release_ids(workspace)[2])
    facts = show_page(workspace, "user-3", ["save=3", "click=0"], k=15)
    assert facts["weights"]["save"] == {"before": 1.5, "after": 3.0}
    after = sorted((entry for entry in facts["items"] if entry["after"]), key=lambda entry: entry["after"])
    before = sorted((entry for entry in facts["items"] if entry["before"]), key=lambda entry: entry["before"])
    assert [entry["after"] for entry in after] == [entry["before"] for entry in before] == list(range(1, 16))
    assert all(entry["moved"] == entry["before"] - entry["after"] for entry in after if entry["before"])
    assert any(entry["moved"] or entry["before"] is None for entry in after)
    feed = workspace._live
    assert feed.store.sequence() == 0
    request = RecommendRequest(user_id="user-3", k=15, log=False)
    plain = feed.recommend(request).items.item_ids
    assert plain == [entry["item_id"] for entry in before]
    other = feed.with_weights(changed(feed.weights, ["save=3", "click=0"])).recommend(request).items.item_ids
    assert other == [entry["item_id"] for entry in after]
    assert feed.weights == DEFAULTS
