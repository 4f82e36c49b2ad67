"""A user who is deleted while a release is made, or by an ingested row, is in nothing that is made; and nothing breaks for it."""

from __future__ import annotations

import shutil

import polars as pl
import pytest

from corkboard.artifacts import Releases, write_artifact
from corkboard.errors import ArtifactError, LakeError
from corkboard.lake.known import purge_mark
from corkboard.lake.lake import Lake
from corkboard.pipeline import build as module
from corkboard.pipeline.build import BuildReport
from corkboard.pipeline.purge import purge_artifacts, purge_at_rest, sweep
from corkboard.workspace import Workspace

ROLES = ("states", "user_vectors")


@pytest.fixture
def copied(built, tmp_path) -> Workspace:
    """A copy of the built workspace that a test may change."""
    return Workspace(shutil.copytree(built.folder, tmp_path / "copy"), built.settings)


def known_users(workspace: Workspace) -> set[str]:
    """Whoever an artefact of the live release knows."""
    parts = workspace.releases.current().artifacts
    return set(parts["states"].table("states")["user_key"]) & set(parts["user_vectors"].table("users")["user_key"])


def test_nothing_is_written_of_a_lake_that_somebody_was_purged_from(copied):
    user, other = sorted(known_users(copied))[:2]
    builder = copied.builder()
    copied.releases.current()
    assert not builder.overtaken
    purge_at_rest(copied.folder, user)
    assert builder.overtaken
    with pytest.raises(LakeError, match="deleted"):
        builder.release(module.Stage("late", {"catalogue": "catalogue"}))
    assert "late" not in [release.label for release in copied.releases.list()]
    again = copied.builder()
    assert not again.overtaken
    purge_at_rest(copied.folder, other)
    purge_at_rest(copied.folder, user)  # a second time: a user may have come back
    assert again.overtaken


def test_a_build_begins_again_without_the_deleted_user(copied, monkeypatch):
    user = sorted(known_users(copied))[0]
    seen = []

    def stages(builder, gates, announce):
        seen.append(user in set(builder.lake.actions()["user_id"]))
        if len(seen) == 1:
            purge_at_rest(copied.folder, user)
            builder.lake.actions()  # its files are gone
        return BuildReport(live="this one")

    monkeypatch.setattr(module, "build_stages", stages)
    said = []
    assert copied.build(progress=lambda what, done, total: said.append(what)).live == "this one"
    assert seen == [True, False]
    assert said == ["a user was deleted: building again without them"]


def test_what_fails_for_another_reason_fails(copied, monkeypatch):
    def stages(*given):
        raise LakeError("no")

    monkeypatch.setattr(module, "build_stages", stages)
    with pytest.raises(LakeError, match="no"):
        copied.build()


def test_a_user_whom_an_ingested_row_calls_deleted_leaves_the_artefacts_too(copied, tmp_path):
    user = sorted(known_users(copied))[0]
    end_ms = copied.lake().time_range()[1]
    pl.DataFrame({"user_id": [user], "time_ms": [end_ms + 1], "deleted": [True]}).write_parquet(tmp_path / "users.parquet")
    copied.ingest(tmp_path / "users.parquet", table="users")
    assert user not in set(copied.lake().actions()["user_id"])
    parts = copied.releases.current().artifacts
    assert user not in set(parts["states"].table("states")["user_key"])
    assert user not in set(parts["user_vectors"].table("users")["user_key"])
    assert sweep(copied.folder) == {}


def test_an_artefact_of_somebody_who_came_back_stays(tmp_path):
    """Only what was made of a lake from before the purge may hold what was purged, whenever it was written."""
    purge_lake_of(tmp_path, "ann")
    frame, commit = pl.DataFrame({"tenant": ["default"], "user_key": ["ann"], "state": [b"new"]}), Lake(tmp_path / "lake").commit
    write_artifact(tmp_path / "artifacts", "states", "after", tables={"states": frame}, lake_commit=commit)
    assert sweep(tmp_path) == {}
    write_artifact(tmp_path / "artifacts", "states", "slow", tables={"states": frame}, lake_commit=commit - 1)
    assert sweep(tmp_path) == {"states/default/slow": 1}


def test_what_is_written_anew_for_one_is_as_old_as_before_for_the_next(tmp_path):
    """Two users are purged from the lake before the artefacts follow; taking out the first must not make the rest look new."""
    purge_lake_of(tmp_path, "nobody")
    before = Lake(tmp_path / "lake").commit
    frame = pl.DataFrame({"tenant": ["default"] * 2, "user_key": ["ann", "bob"], "state": [b"1", b"2"]})
    write_artifact(tmp_path / "artifacts", "states", "one", tables={"states": frame}, lake_commit=before)
    purge_artifacts(Releases(tmp_path), {purge_mark("default", "ann"): float("inf")})
    assert list(purge_artifacts(Releases(tmp_path), {purge_mark("default", "bob"): before + 1}).values()) == [1]


def test_deleting_somebody_without_rows_stops_no_build(copied):
    builder = copied.builder()
    purge_at_rest(copied.folder, "session:nobody")
    assert not builder.overtaken


def test_a_build_gives_up_where_deletions_never_end(copied, monkeypatch):
    names = iter(sorted(known_users(copied)))

    def stages(builder, gates, announce):
        purge_at_rest(copied.folder, next(names))
        raise LakeError("gone")

    monkeypatch.setattr(module, "build_stages", stages)
    with pytest.raises(LakeError, match="faster") as raised:
        copied.build()
    assert str(raised.value.__cause__) == "gone"  # what the last pass tripped over is told


def purge_lake_of(folder, user: str) -> None:
    """A lake from which a user was purged."""
    from corkboard.lake.ingest import ingest_frames

    row = {"event_id": "e", "time_ms": 1_760_000_000_000, "user_id": user, "item_id": "i", "action": "click", "surface": "home"}
    ingest_frames(folder / "lake", {"actions": pl.DataFrame([row])}, source="test")
    purge_at_rest(folder, user)


def test_a_release_that_lost_an_artefact_hides_itself_and_no_other(tmp_path):
    releases = Releases(tmp_path)
    parts = {name: write_artifact(tmp_path / "artifacts", name, "one", config={}) for name in ("a", "b")}
    whole, broken = releases.write("whole", {"a": parts["a"]}), releases.write("broken", {"b": parts["b"]})
    shutil.rmtree(parts["b"].path)
    assert [release.id for release in releases.list()] == [whole.id]
    assert releases.choose(whole.id).id == whole.id
    with pytest.raises(ArtifactError):
        releases.load(broken.id)
    with pytest.raises(ArtifactError):
        releases.write("another", {"b": parts["b"]})
    assert len(list(releases.folder.glob("*.toml"))) == 2
