"""The alarm for training/serving skew: pages served by a built workspace, moved into its lake, and computed again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from corkboard.artifacts import Release, load_artifact
from corkboard.cli.app import app
from corkboard.errors import InputError
from corkboard.feed.home import Feed
from corkboard.feed.page import Page, RecommendRequest
from corkboard.lake.validate import validate_event
from corkboard.pipeline.rescore import ARRIVED_LATER, DATED_LATER, NEVER_IN_STORE, UNEXPLAINED, Rescored
from corkboard.ranking.features import FEATURE_NAMES
from corkboard.state import replay
from corkboard.state.base import BaseStates
from corkboard.workspace import Workspace

MINUTE_MS = 60_000


class Evening:
    """A copy of a workspace, and its users on an evening after its last day: pages are asked for, things are done."""

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        self.at = workspace.calendar().end_ms + 20 * 60 * MINUTE_MS
        self.users = workspace.lake().actions()["user_id"].unique().sort().to_list()[:4]
        self.store = workspace.store()
        self.serve(workspace.releases.current())

    def serve(self, release: Release) -> None:
        """Let ``release`` make the pages from now on."""
        base = BaseStates.from_artifact(release.artifacts["states"], self.store.store_id)
        self.store.set_base(base)
        settings = self.workspace.settings
        self.feed = Feed.load(
            release,
            self.store,
            settings.feed,
            settings.ranking.utility,
            settings.retrieval,
            base.watermark_for(self.store.store_id),
        )

    def page(self, user: str, minutes: float, session: str | None = None) -> Page:
        self.feed.catch_up()
        at = self.at + int(minutes * MINUTE_MS)
        return self.feed.recommend(RecommendRequest(user_id=user if session is None else None, session_id=session, k=10, now_ms=at))

    def do(self, user: str | None, minutes: float, action: str, item_id: str, **more: Any) -> str:
        event = {"event": "action", "time_ms": self.at + int(minutes * MINUTE_MS), "user_id": user, "action": action, "item_id": item_id}
        row = validate_event({"surface": "home", **event, **more})
        assert isinstance(row, dict), row
        self.store.append([row])
        return row["event_id"]

    def lives(self) -> None:
        """An evening like any other: three rounds of pages and what follows them, a visitor, an undo, a hide, a new item."""
        for step in range(3):
            for n, user in enumerate(self.users):
                page = self.page(user, 20 * step + n)
                first, second, third = page.items.item_ids[:3]
                saved = self.do(user, 20 * step + n + 2, "save", first, request_id=page.request_id)
                self.do(user, 20 * step + n + 3, "click", second)
                self.do(user, 20 * step + n + 4, "hide", third)
                if step == 1:
                    undo = {"event": "action", "time_ms": self.at + int((20 * step + n + 5) * MINUTE_MS), "user_id": user, "undoes": saved}
                    self.store.append([validate_event({**undo, "action": "undo"})])
            visitor = self.page("", 20 * step + 10, session="v1")
            self.do(None, 20 * step + 11, "click", visitor.items.item_ids[0], session_id="v1")
            if step == 0:
                item = {"item_id": "brand-new", "title": "A lamp of brass", "category": "lamps", "time_ms": self.at + 12 * MINUTE_MS}
                self.store.append([validate_event({"event": "item", **item})])
                self.feed.catch_up()
                self.do(self.users[0], 13, "close_up", "brand-new")

    def rescored(self, **options: Any) -> Rescored:
        self.store.close()
        return self.workspace.rescore(**options)


@pytest.fixture
def evening(built: Workspace, tmp_path) -> Evening:
    folder = tmp_path / "workspace"
    shutil.copytree(built.folder, folder, ignore=shutil.ignore_patterns("store.sqlite*"))
    return Evening(Workspace(folder, built.settings))


def test_what_was_served_is_what_training_sees(evening: Evening):
    evening.lives()
    found = evening.rescored()
    assert found.pages == found.served == 15
    assert found.causes == {}, found.sentences()
    assert found.passed
    assert found.slots_left_out == 0
    compared = {part["name"] for part in found.columns}
    assert compared >= {*FEATURE_NAMES, "click", "save", "hide", "sequence", "user vector"}
    assert max(part["max"] for part in found.columns) < 1e-4
    served = evening.workspace.lake().served()
    assert served["user_vector_ms"].null_count() < 12  # somebody had a vector, so that comparing it says something
    assert served["sequence"].list.len().max() > 3
    assert found.to_dict()["differing"] == 0
    assert found.sentences()[-1] == "Serving and training agree on every page."


def tampered(evening: Evening, change: Callable[[dict[str, Any]], None]) -> Rescored:
    """The report where one row of the served log was changed in the lake."""
    evening.store.close()
    evening.workspace.ingest_store()
    (file,) = (evening.workspace.folder / "lake").glob("served/*/*.parquet")
    frame = pl.read_parquet(file)
    rows = frame.to_dicts()
    change(rows[7])  # of the second round: its user has a history
    pl.DataFrame(rows, schema=frame.schema).write_parquet(file)
    return evening.workspace.rescore()


def test_one_number_that_was_logged_wrong_is_found(evening: Evening):
    evening.lives()
    column = FEATURE_NAMES.index("activity")
    request: list[str] = []

    def change(row: dict[str, Any]) -> None:
        row["slots"][3]["features"][column] += 0.25
        request.append(row["request_id"])

    found = tampered(evening, change)
    assert not found.passed
    assert found.causes == {UNEXPLAINED: 1}
    parts = {part["name"]: part for part in found.columns}
    assert parts["activity"]["max"] == pytest.approx(0.25, rel=1e-3)
    assert parts["activity"]["pages"] == parts["activity"]["unexplained"] == pytest.approx(1 / 15)
    assert parts["activity"]["mean"] == pytest.approx(0.25 / 150, rel=1e-2)
    assert all(part["pages"] == 0 for name, part in parts.items() if name != "activity")  # heads are computed from what is true
    (example,) = found.examples
    assert (example["request_id"], example["column"]) == (request[0], "activity")
    asked = ["rescore", "-w", str(evening.workspace.folder), "--json", "--set", "scale=tiny"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1, done.output
    assert json.loads(done.stdout)["causes"] == {UNEXPLAINED: 1}


@pytest.mark.parametrize("what", ["heads", "sequence", "user vector"])
def test_heads_sequence_and_user_vector_are_compared_too(evening: Evening, what: str):
    evening.lives()

    def change(row: dict[str, Any]) -> None:
        if what == "heads":
            row["slots"][0]["heads"][1] += 0.01
        elif what == "sequence":
            row["sequence"][0]["action"] = "report"
        else:
            row["user_vector_space"] = "pinnerformer@another"

    found = tampered(evening, change)
    assert found.causes == {UNEXPLAINED: 1}
    differ = [part for part in found.columns if part["pages"]]
    kind, largest = {"heads": ("head", 0.01), "sequence": ("sequence", 2.0), "user vector": ("vector", np.inf)}[what]
    assert [(part["kind"], part["max"]) for part in differ] == [(kind, pytest.approx(largest, rel=1e-2))]


def test_what_arrived_later_is_told_from_skew_because_the_store_knows_the_order(evening: Evening):
    user, other = evening.users[:2]
    shown = evening.page(user, 0).items.item_ids
    evening.page(other, 0)
    evening.page(user, 10)
    evening.do(user, 5, "save", shown[0])  # an app that was offline: done before the second page, sent after it
    evening.page(user, 20)
    found = evening.rescored()
    assert found.causes == {ARRIVED_LATER: 1}, found.sentences()
    assert found.passed
    parts = {part["name"]: part for part in found.columns}
    assert parts["sequence"]["pages"] == 0.25
    assert parts["activity"]["pages"] == 0.25
    assert parts["activity"]["unexplained"] == 0
    assert found.examples == []


def test_what_is_dated_later_than_its_page_is_named(evening: Evening):
    user = evening.users[0]
    shown = evening.page(user, 0).items.item_ids
    evening.do(user, 60, "click", shown[0])  # a clock that is an hour fast, more than is forgiven
    evening.page(user, 10)
    found = evening.rescored()
    assert found.causes == {DATED_LATER: 1}, found.sentences()


def test_history_that_was_brought_in_after_the_page_is_named(evening: Evening, tmp_path):
    user = evening.users[0]
    item = evening.page(user, 0).items.item_ids[0]
    evening.store.close()
    file = tmp_path / "late.jsonl"
    file.write_text(json.dumps({"time_ms": evening.at - MINUTE_MS, "user_id": user, "action": "save", "item_id": item}))
    evening.workspace.ingest(file, table="actions")
    found = evening.workspace.rescore()
    assert found.causes == {NEVER_IN_STORE: 1}
    assert found.passed


def test_a_fault_of_the_replay_does_not_explain_itself(evening: Evening, monkeypatch):
    """The store and its base give the logged numbers here, the way of training does not: that is what the alarm is for."""
    evening.lives()
    shown = evening.page(evening.users[0], 90).items.item_ids
    evening.do(evening.users[0], 80, "save", shown[0])  # something that arrived later to blame it on
    take = replay._apply
    monkeypatch.setattr(replay, "_apply", lambda state, row: None if row[4] == "hide" else take(state, row))
    found = evening.rescored()
    assert set(found.causes) == {UNEXPLAINED}
    assert not found.passed


def test_without_the_store_a_difference_has_no_cause(evening: Evening):
    user = evening.users[0]
    evening.lives()
    evening.page(user, 100)
    evening.do(user, 99, "save", "brand-new")
    evening.store.close()
    evening.workspace.ingest_store()
    evening.workspace.store_file.unlink()
    found = evening.workspace.rescore()
    assert found.causes == {UNEXPLAINED: 1}, found.sentences()  # the new item is in the lake: its pages are computed all the same
    assert not found.passed
    assert any("no store" in text for text in found.notes)


def test_pages_of_a_release_that_is_gone_are_counted_and_named(evening: Evening):
    evening.page(evening.users[0], 0)
    release = evening.feed.parts.release
    evening.store.close()
    evening.workspace.ingest_store()
    (evening.workspace.folder / "releases" / f"{release}.toml").unlink()
    found = evening.workspace.rescore()
    assert found.pages == 0
    assert found.other_releases[release]["pages"] == 1
    assert "no such release" in found.other_releases[release]["why"]
    assert found.sentences()[-1] == "No page could be compared."
    assert not found.passed  # an alarm that looked at nothing


def another_release(workspace: Workspace, role: str) -> Release:
    """The live release with a copy of one of its artefacts, to be broken."""
    artifacts = workspace.releases.current().artifacts
    copy = artifacts[role].path.parent / "copy"
    shutil.copytree(artifacts[role].path, copy)
    (copy / "manifest.json").write_text(json.dumps({**artifacts[role].manifest, "id": "copy"}))
    return workspace.releases.write("copied", {**artifacts, role: load_artifact(copy)})


def cut_short(folder: Path) -> None:
    """Damage the largest file of an artefact."""
    largest = max(folder.iterdir(), key=lambda file: (file.name != "manifest.json", file.stat().st_size))
    largest.write_bytes(largest.read_bytes()[:-7])


def of_another_version(folder: Path) -> None:
    """States with bytes that this version does not know, in a manifest that knows them."""
    file, manifest = folder / "states.parquet", json.loads((folder / "manifest.json").read_text())
    pl.read_parquet(file).with_columns(state=pl.lit(b"new")).write_parquet(file)
    facts = {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": {**manifest["files"], file.name: facts}}))


@pytest.mark.parametrize(
    ("role", "breaks", "says"),
    [
        ("ranker", cut_short, "copy is damaged"),
        ("states", cut_short, "copy is damaged"),
        ("states", of_another_version, "not a user state"),
    ],
)
def test_pages_of_a_release_that_does_not_read_are_counted_and_named_beside_the_others(
    evening: Evening, role: str, breaks: Callable[[Path], None], says: str
):
    for n, user in enumerate(evening.users[:3]):
        evening.page(user, n)
    broken = another_release(evening.workspace, role)
    evening.serve(broken)
    for n, user in enumerate(evening.users[:2]):
        evening.page(user, 10 + n)
    breaks(broken.artifacts[role].path)
    found = evening.rescored()
    assert (found.served, found.pages, found.causes) == (5, 3, {})
    assert list(found.other_releases) == [broken.id]
    assert found.other_releases[broken.id]["pages"] == 2
    assert says in found.other_releases[broken.id]["why"]
    assert any(f"2 pages of release {broken.id}" in text for text in found.sentences())


def test_pages_may_be_drawn_and_older_days_left_out(evening: Evening):
    for step in range(6):
        evening.page(evening.users[step % 2], step)
    evening.at += 3 * 24 * 60 * MINUTE_MS
    for step in range(6):
        evening.page(evening.users[step % 2], step)
    found = evening.rescored(days=1, max_pages=4)
    assert (found.served, found.pages, found.causes) == (6, 4, {})
    assert found.days[0] == found.days[1]
    assert any("4 of 6 pages" in text for text in found.notes)
    assert any("4 pages" in text and "counters" in text for text in found.notes)  # the release knows nothing of these days


def test_there_must_be_pages(built: Workspace):
    with pytest.raises(InputError, match="no served pages"):
        built.rescore()
