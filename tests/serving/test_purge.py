"""A user who is deleted is gone from the store, the served log, the lake and every artefact; everybody else stays."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from corkboard.artifacts import Releases, load_artifact, write_artifact
from corkboard.lake.known import purge_mark
from corkboard.lake.lake import Lake
from corkboard.pipeline.purge import purge_artifacts
from corkboard.serving.live import LiveEngine
from corkboard.state.base import BaseStates
from corkboard.workspace import Workspace
from tests.serving.test_app import action, page

USER = "user-3"


def lake_users(workspace: Workspace) -> set[str]:
    return set(Lake(workspace.folder / "lake").actions()["user_id"])


def base_users(workspace: Workspace) -> set[str]:
    return set(workspace.releases.current().artifacts["states"].table("states")["user_key"])


def test_deleting_reaches_every_place(client: TestClient, workspace: Workspace, engine: LiveEngine) -> None:
    client.post("/v1/events", json=[action("item-001", user=USER), action("item-002", user="user-4")])
    request_id = page(client, user_id=USER)["request_id"]
    answer = client.delete(f"/v1/users/{USER}").json()
    purged = answer["purged"]
    assert purged["store_rows"] == 2  # the save and the served page
    assert purged["lake_rows"] == {"actions": 25}  # 10 + 5 * 3
    assert list(purged["artifact_rows"].values()) == [1]
    assert client.get(f"/v1/users/{USER}/state").json()["known"] is False
    assert client.get(f"/v1/explain/{request_id}/item-001").status_code == 404
    assert USER not in lake_users(workspace) | base_users(workspace)
    assert {"user-4", "user-5"} <= lake_users(workspace) & base_users(workspace)
    assert client.get("/v1/users/user-4/state").json()["counts"]["save"] > 1
    assert USER not in [user["user_id"] for user in client.get("/v1/users").json()["users"]]
    assert "unknown_user" in {note["code"] for note in page(client, user_id=USER)["notes"]}


def test_no_file_of_the_workspace_still_holds_the_id(client: TestClient, workspace: Workspace, engine: LiveEngine) -> None:
    client.post("/v1/events", json=[action("item-001", user="user-to-forget")])
    page(client, user_id="user-to-forget")
    assert client.delete("/v1/users/user-to-forget").status_code == 200
    client.post(
        "/v1/events", json=[action("item-001", user="somebody-else")]
    )  # what was purged leaves the write-ahead log with the next write
    holding = [file for file in workspace.folder.rglob("*") if file.is_file() and b"user-to-forget" in file.read_bytes()]
    assert holding == []


def test_a_deleted_user_event_does_the_same(client: TestClient, workspace: Workspace) -> None:
    event = {"event": "user", "user_id": USER, "time_ms": int(time.time() * 1000), "deleted": True}
    assert client.post("/v1/events", json=event).json()["accepted"] == 1
    assert client.get(f"/v1/users/{USER}/state").json()["known"] is False
    deadline = time.monotonic() + 10
    while USER in lake_users(workspace) | base_users(workspace):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_done_right_after_a_deleted_user_event_stays(client: TestClient) -> None:
    deleted_ms = int(time.time() * 1000)
    client.post("/v1/events", json={"event": "user", "user_id": USER, "time_ms": deleted_ms, "deleted": True})
    client.post("/v1/events", json=action("item-007", user=USER, time_ms=deleted_ms + 1))
    for _ in range(20):  # while lake and artefacts follow in the background
        assert [one["item_id"] for one in client.get(f"/v1/users/{USER}/state").json()["actions"]] == ["item-007"]
        time.sleep(0.01)


def test_a_user_who_returns_starts_anew(client: TestClient) -> None:
    client.delete(f"/v1/users/{USER}")
    time.sleep(0.002)  # a later moment than the purge
    client.post("/v1/events", json=action("item-007", user=USER))
    assert [one["item_id"] for one in client.get(f"/v1/users/{USER}/state").json()["actions"]] == ["item-007"]


def test_an_unknown_user_has_nothing_to_delete(client: TestClient) -> None:
    assert client.delete("/v1/users/nobody").json()["purged"]["artifact_rows"] == {}


def test_a_visitor_is_deleted_by_the_key_of_the_session(client: TestClient) -> None:
    client.post("/v1/events", json=action("item-001", user=None, session_id="s7"))
    assert client.delete("/v1/users/session:s7").json()["purged"]["store_rows"] == 1
    assert client.get("/v1/users/session:s7/state").json()["known"] is False


# ------------------------------------------------------------------------------------------------------------ artefacts


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    """One release with an artefact of users of two tenants."""
    frame = pl.DataFrame({"tenant": ["default", "default", "shop"], "user_key": ["ann", "bob", "ann"], "state": [b"1", b"2", b"3"]})
    states = write_artifact(tmp_path / "artifacts", "states", "one", tables={"states": frame}, config={"watermarks": {}}, seed=3)
    items = write_artifact(tmp_path / "artifacts", "catalogue", "one", tables={"items": pl.DataFrame({"item_id": ["ann"]})})
    releases = Releases(tmp_path)
    releases.promote(releases.write("first", {"states": states, "catalogue": items}).id)
    return releases


def forgotten(user: str) -> dict[str, float]:
    return {purge_mark("default", user): float("inf")}


def users(releases: Releases) -> list[tuple[str, str]]:
    return releases.current().artifacts["states"].table("states").select("tenant", "user_key").rows()


def test_an_artefact_is_written_anew_and_its_releases_follow(releases: Releases) -> None:
    before = releases.current()
    assert purge_artifacts(releases, forgotten("ann")) == {"states/default/one": 1}
    after = releases.current()
    assert after.id == before.id
    assert users(releases) == [("default", "bob"), ("shop", "ann")]
    after.artifacts["states"].check()
    assert after.artifacts["states"].config == {"watermarks": {}}
    assert after.artifacts["catalogue"].key == before.artifacts["catalogue"].key
    assert not before.artifacts["states"].path.exists()
    assert len(BaseStates.load(after.artifacts["states"].table("states"))) == 2


def test_purging_again_finds_nothing(releases: Releases) -> None:
    purge_artifacts(releases, forgotten("ann"))
    assert purge_artifacts(releases, forgotten("ann")) == {}


def test_two_users_one_after_the_other(releases: Releases) -> None:
    purge_artifacts(releases, forgotten("ann"))
    purge_artifacts(releases, forgotten("bob"))
    assert users(releases) == [("shop", "ann")]


def test_a_purge_that_was_killed_is_finished_by_the_next(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    import corkboard.pipeline.purge as module

    def die(*given: object) -> None:
        raise KeyboardInterrupt

    for step in ("_switch", "shutil.rmtree"):
        with monkeypatch.context() as patched:
            patched.setattr(f"{module.__name__}.{step}", die)
            with pytest.raises(KeyboardInterrupt):
                purge_artifacts(releases, forgotten("ann"))
        assert users(releases)  # whole at every moment
    purge_artifacts(releases, forgotten("ann"))
    assert users(releases) == [("default", "bob"), ("shop", "ann")]
    left = [load_artifact(manifest.parent) for manifest in releases.artifacts.glob("states/*/*/manifest.json")]
    assert all(("default", "ann") not in artifact.table("states").select("tenant", "user_key").rows() for artifact in left)
