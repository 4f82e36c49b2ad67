"""The engine follows the release, survives one that is broken, and shares live items with other workers."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from corkboard.errors import NotFound, StoreError
from corkboard.feed.page import RecommendRequest
from corkboard.lake.schema import validate_event
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.workspace import Workspace
from tests.serving.builders import release_ids


def request(**fields: object) -> RecommendRequest:
    return RecommendRequest(**{"user_id": "user-1", **fields})


def live_item(item_id: str, time_ms: int = 1_760_000_000_000) -> dict:
    row = validate_event({"event": "item", "time_ms": time_ms, "item_id": item_id, "title": "Striped rugs", "category": "rugs"})
    assert isinstance(row, dict)
    return row


def damage(workspace: Workspace, release_id: str, role: str) -> None:
    """Cut a file of one part of a release short."""
    folder = workspace.releases.load(release_id).artifacts[role].path
    file = sorted([*folder.glob("*.safetensors"), *folder.glob("*.parquet")])[-1]
    file.write_bytes(file.read_bytes()[:-8])


def test_nothing_is_live_before_the_first_release(workspace: Workspace) -> None:
    (workspace.folder / "releases" / "current").unlink()
    engine = engine_of(workspace)
    assert engine.poll() is False
    assert engine.recommend(request()) == (None, None)
    assert engine.items(["item-001"]) == []
    with pytest.raises(NotFound):
        engine.explain("x", "y")
    workspace.releases.promote(release_ids(workspace)[0])
    assert engine.poll() is True
    page, live = engine.recommend(request())
    assert live is not None
    assert len(page.items) == 25


def test_a_switch_happens_once(engine: LiveEngine, workspace: Workspace) -> None:
    assert engine.poll() is True
    assert engine.poll() is False
    workspace.releases.promote(release_ids(workspace)[1])
    assert engine.poll() is True
    assert engine.live.release.id == release_ids(workspace)[1]
    assert engine.metrics.loads.value("loaded") == 2


def test_a_damaged_release_leaves_the_old_one_live_and_is_reported(engine: LiveEngine, workspace: Workspace) -> None:
    first, second, third = release_ids(workspace)
    engine.poll()
    damage(workspace, third, "ranker")
    workspace.releases.promote(third)
    assert engine.poll() is False
    assert engine.live.release.id == first
    assert engine.failure.release_id == third
    assert "damaged" in engine.failure.message
    assert engine.metrics.loads.value("failed") == 1
    assert len(engine.recommend(request())[0].items) == 25
    assert engine.poll() is False
    assert engine.metrics.loads.value("failed") == 1  # it is left alone for a while
    workspace.releases.promote(second)
    assert engine.poll() is True
    assert engine.failure is None


def test_a_damaged_release_is_tried_again_later(engine: LiveEngine, workspace: Workspace) -> None:
    engine.poll()
    third = release_ids(workspace)[2]
    file = next(workspace.releases.load(third).artifacts["ranker"].path.glob("*.safetensors"))
    whole = file.read_bytes()
    damage(workspace, third, "ranker")
    workspace.releases.promote(third)
    engine.poll()
    file.write_bytes(whole)
    engine._failure = replace(engine.failure, at_s=time.monotonic() - engine.config.release_retry_s)
    assert engine.poll() is True
    assert engine.failure is None


def test_at_first_a_damaged_release_serves_with_what_can_be_read(engine: LiveEngine, workspace: Workspace) -> None:
    third = release_ids(workspace)[2]
    damage(workspace, third, "ranker")
    workspace.releases.promote(third)
    assert engine.poll() is True
    page, _ = engine.recommend(request())
    assert len(page.items) == 25
    assert "artifact_unusable" in {note.code for note in page.notes}


def test_damaged_states_serve_half_a_release_and_say_so(engine: LiveEngine, workspace: Workspace) -> None:
    """What users did before the store was made is not known then, so that nobody passes for forgotten."""
    third = release_ids(workspace)[2]
    damage(workspace, third, "states")
    workspace.releases.promote(third)
    assert engine.poll() is True
    page, live = engine.recommend(request())
    assert len(page.items) == 25
    assert live.loaded.notes == ("no_states",)
    assert not live.feed.has_base


def test_a_release_that_names_a_missing_artefact_is_reported(engine: LiveEngine, workspace: Workspace) -> None:
    (workspace.folder / "releases" / "current").write_text("feedfacefeed")
    assert engine.poll() is False
    assert engine.live is None
    assert engine.failure.release_id == "feedfacefeed"


def test_live_items_reach_every_worker_and_every_later_release(engine: LiveEngine, workspace: Workspace) -> None:
    engine.poll()
    other = engine_of(workspace)
    other.poll()
    engine.append([live_item("new-rug")])
    for worker in (engine, other):
        assert [entry["title"] for entry in worker.items(["new-rug"])] == ["Striped rugs"]
    workspace.releases.promote(release_ids(workspace)[1])
    engine.poll()
    page, live = engine.recommend(request(k=121, filter={"category": "rugs"}))
    assert live.release.id == release_ids(workspace)[1]
    assert "new-rug" in page.items.item_ids
    other.close()


def test_states_of_the_base_are_under_the_events_of_the_store(engine: LiveEngine) -> None:
    engine.poll()
    assert len(engine.store.state("user-1").actions) == 15  # 10 + 5 * 1, from the lake
    row = validate_event(
        {"event": "action", "time_ms": int(time.time() * 1000), "user_id": "user-1", "action": "save", "item_id": "item-005"}
    )
    engine.append([row])
    assert [one.item_id for one in engine.store.state("user-1").actions[:1]] == ["item-005"]
    assert len(engine.store.state("user-1").actions) == 16


def test_pages_go_on_while_releases_switch(engine: LiveEngine, workspace: Workspace) -> None:
    engine.poll()
    ids, seen, errors, stop = release_ids(workspace), set(), [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            page, live = engine.recommend(request(k=5))
            seen.add(live.release.id)
            if page.release != live.release.id or len(page.items) != 5:
                errors.append((page.release, live.release.id, len(page.items)))

    asking = threading.Thread(target=ask)
    asking.start()
    for release_id in (*ids[1:], *ids):
        workspace.releases.promote(release_id)
        assert engine.poll() is True
        time.sleep(0.05)
    stop.set()
    asking.join()
    assert errors == []
    assert seen == set(ids)


def test_a_dead_store_still_gives_pages(engine: LiveEngine) -> None:
    engine.poll()
    engine.store.close()
    page, _ = engine.recommend(request())
    assert len(page.items) == 25
    assert {"store_unreachable", "not_logged"} <= {note.code for note in page.notes}
    with pytest.raises(StoreError):
        engine.append([live_item("x")])
    assert engine.store_works() is False
    assert engine.metrics.store_errors.value() >= 2  # reading live items for the page, and the refused event


def test_the_watcher_ends_with_the_engine(engine: LiveEngine) -> None:
    engine.start()
    engine.close()
    assert not any(thread.name == "release-watcher" for thread in threading.enumerate())


def test_two_engines_of_one_folder_share_the_store(engine: LiveEngine, workspace: Workspace) -> None:
    other = engine_of(Workspace(Path(workspace.folder), workspace.settings))
    assert other.store.store_id == engine.store.store_id
    other.close()
