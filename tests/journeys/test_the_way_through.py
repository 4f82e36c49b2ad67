"""Whole journeys through real processes: files in, a server, taps, a kill, a rebuild, an evaluation."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import polars as pl
import pytest

from corkboard.lake.validate import validate_event
from corkboard.workspace import Workspace

TINY = ["--set", "scale=tiny"]


def corkboard(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "corkboard", *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def served(folder: Path, kill: bool = False) -> Iterator[httpx.Client]:
    """A server process over ``folder``; ended politely, or by kill -9."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "corkboard", "serve", "-w", str(folder), "--port", str(port), *TINY])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            wait_until_ready(client, process)
            yield client
    finally:
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        process.wait(timeout=20)


def wait_until_ready(client: httpx.Client, process: subprocess.Popen) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server was not ready after a minute")


def tap(user: str, item: str, action: str, n: int) -> dict:
    return {
        "event": "action",
        "event_id": f"tap-{user}-{n}",
        "time_ms": int(time.time() * 1000),
        "user_id": user,
        "item_id": item,
        "action": action,
        "surface": "home",
    }


@pytest.fixture
def copied(built, tmp_path) -> Workspace:
    return Workspace(shutil.copytree(built.folder, tmp_path / "copy"), built.settings)


def test_files_become_a_page(built, tmp_path):
    """A stranger's CSV of three years ago: checked, mapped, ingested, built, asked, and built again after a click of today."""
    lake = built.lake()
    names = {"user_id": "visitor", "item_id": "sku", "time_ms": "ts", "action": "event"}
    actions = lake.actions().filter(pl.col("item_id").is_not_null()).select(list(names)).rename(names)
    actions = actions.with_columns(pl.col("ts") - 3 * 365 * 86_400_000)
    actions.write_csv(tmp_path / "clicks.csv")
    checked = json.loads(corkboard("check", str(tmp_path / "clicks.csv"), "--json"))
    assert checked["mapping"]["user_id"]["column"] == "visitor" if isinstance(checked["mapping"], dict) else checked["mapping"]
    mapping = [argument for ours, theirs in names.items() for argument in ("--map", f"{ours}={theirs}")]
    shop = str(tmp_path / "shop")
    report = json.loads(corkboard("ingest", str(tmp_path / "clicks.csv"), "-w", shop, "--table", "actions", "--json", *mapping))
    assert report["rows_added"]["actions"] + report["duplicates"] == len(actions)
    build = json.loads(corkboard("build", "-w", shop, "--json", *TINY))
    assert build["refused"] == []
    page = json.loads(corkboard("feed", actions["visitor"][0], "-w", shop, "--json", *TINY))
    assert len(page["items"]) == 25
    evaluation = json.loads(corkboard("evaluate", "-w", shop, "--json", *TINY))
    titles = " ".join(table["title"] for table in evaluation["tables"])
    assert "SAMPLED NEGATIVES" in titles, "a lake without impressions must say that its negatives are sampled"
    with closing(Workspace(Path(shop), built.settings).store()) as store:
        assert store.append([validate_event(tap("ann", actions["sku"][0], "click", 1))]) == [True]
    again = json.loads(corkboard("build", "-w", shop, "--json", *TINY))
    assert again["live"] is not None
    assert again["refused"] == []


def test_an_acknowledged_tap_survives_a_kill_and_moves_into_the_lake_once(copied):
    user = copied.lake().actions()["user_id"][0]
    with served(copied.folder, kill=True) as client:
        page = client.post("/v1/recommend", json={"surface": "home", "user_id": user, "k": 10}).json()
        chosen = page["items"][0]["item_id"]
        answer = client.post("/v1/events", json=[tap(user, chosen, "hide", 1), tap(user, page["items"][1]["item_id"], "save", 2)])
        assert answer.json()["accepted"] == 2
    with served(copied.folder) as client:
        after = client.post("/v1/recommend", json={"surface": "home", "user_id": user, "k": 50}).json()
        assert chosen not in [item["item_id"] for item in after["items"]]
        assert client.get(f"/v1/explain/{page['request_id']}/{chosen}").status_code == 200
    copied.build()
    taps = copied.lake().actions(undone=True).filter(pl.col("event_id").str.starts_with("tap-"))
    assert sorted(taps["event_id"]) == [f"tap-{user}-1", f"tap-{user}-2"]
    assert copied.lake().served().height >= 2
    again = copied.page(user, k=50)
    assert chosen not in again.items.item_ids


def test_a_new_item_is_found_without_a_rebuild_and_a_user_is_forgotten(copied):
    user = copied.lake().actions()["user_id"][0]
    like = copied.lake().items().row(0, named=True)
    item = {
        "event": "item",
        "event_id": "new",
        "time_ms": int(time.time() * 1000),
        "item_id": "brand-new",
        "title": like["title"],
        "category": like["category"],
    }
    with served(copied.folder) as client:
        client.post("/v1/events", json=[item, *[tap(user, like["item_id"], "save", n) for n in range(3)]])
        found = []
        for _ in range(20):
            page = client.post("/v1/recommend", json={"surface": "home", "user_id": user, "k": 100}).json()
            found = [entry["item_id"] for entry in page["items"]]
            if "brand-new" in found:
                break
            time.sleep(0.1)
        assert "brand-new" in found
        assert client.delete(f"/v1/users/{user}").status_code == 200
        state = client.get(f"/v1/users/{user}/state").json()
        assert not state["actions"]
    assert copied.lake().actions(undone=True).filter(pl.col("user_id") == user).is_empty()


def test_the_page_moves_to_a_release_that_is_promoted_while_serving(copied):
    ladder = copied.releases.list()
    copied.releases.promote(ladder[0].id)
    with served(copied.folder) as client:
        assert client.post("/v1/recommend", json={"surface": "home", "user_id": "x"}).json()["release"] == ladder[0].id
        assert client.post(f"/v1/releases/{ladder[-1].id}:promote").status_code == 200
        for _ in range(50):
            release = client.post("/v1/recommend", json={"surface": "home", "user_id": "x"}).json()["release"]
            if release == ladder[-1].id:
                break
            time.sleep(0.1)
        assert release == ladder[-1].id
