"""Is anything acknowledged lost, or anything half-made visible, when processes die at random moments (kill -9)?

    python benchmarks/kill.py --json

50 kills: 10 during the ingestion of a file, 5 while live events move from the store into the lake, 10 during a build that
begins with such a move, 10 during promotion, 15 while serving events and pages.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
from harness import OUT, Client, action, arguments, copy_workspace, finish, start_server, world_workspace

from corkboard import seeds
from corkboard.artifacts import Releases
from corkboard.errors import CorkboardError
from corkboard.lake.lake import Lake
from corkboard.lake.validate import validate_event
from corkboard.workspace import Workspace
from corkboard.workspace import open as open_workspace

TINY = ["scale=tiny"]
LIVE_EVENTS = 100
MANY_LIVE_EVENTS = 40_000
"""So many that a random moment falls into their move, and few enough for a single commit of the lake."""
EVERYTHING = 1_000_000_000


@dataclass
class Tally:
    kills: int = 0
    acknowledged: int = 0
    acknowledged_lost: int = 0
    half_visible: int = 0


def main() -> None:
    options = arguments(__doc__, ingestion=10, from_store=5, build=10, promotion=10, serving=15, seed=1)
    generator = seeds.generator(options.seed, "kill")
    world = world_workspace("kill", TINY)
    tally = Tally()
    start = time.perf_counter()
    kill_ingestion(world, options.ingestion, generator, tally)
    kill_from_store(world, options.from_store, generator, tally)
    kill_build(world, options.build, generator, tally)
    kill_promotion(world, options.promotion, generator, tally)
    kill_serving(world, options.serving, generator, tally)
    finish({**vars(tally), "seconds": time.perf_counter() - start}, options.json)


def run_and_kill(command: list[str], after_s: float) -> bool:
    """Start a process group, kill -9 it after ``after_s``; True when it was still running."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=after_s)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def corkboard(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "corkboard", *arguments]


def timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def content(folder: Path) -> tuple[int, str]:
    """Rows and a hash over every event id of the lake: two lakes with the same content have the same."""
    actions = Lake(folder).actions(undone=True)
    return len(actions), str(actions["event_id"].sort().hash(seed=1).sum())


def kill_ingestion(world: Workspace, kills: int, generator: np.random.Generator, tally: Tally) -> None:
    """Kill an ingestion; the lake must hold none or all of the file; a re-run must end in the same lake."""
    folder = OUT / "kill-ingestion"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    actions = world.lake().actions(undone=True)
    many = pl.concat([actions.with_columns(pl.col("event_id") + f"-{n}") for n in range(20)])
    many.write_parquet(folder / "actions.parquet")

    def command(workspace: Path) -> list[str]:
        return corkboard("ingest", str(folder / "actions.parquet"), "-w", str(workspace), "--table", "actions")

    whole_s = timed(command(folder / "reference"))
    expected = content(folder / "reference" / "lake")
    before = tally.kills
    while tally.kills < before + kills:
        target = folder / f"run-{tally.kills}"
        tally.kills += run_and_kill(command(target), generator.uniform(0.3, 1.0) * whole_s)
        found = content(target / "lake") if (target / "lake").exists() else (0, "")
        tally.half_visible += found[0] not in (0, expected[0])
        subprocess.run(command(target), check=True, stdout=subprocess.DEVNULL)
        tally.half_visible += content(target / "lake") != expected
        shutil.rmtree(target)


def copy_without_store(world: Workspace, folder: Path) -> Path:
    """A copy of the workspace that has no live events yet."""
    copy_workspace(world.folder, folder)
    for file in folder.glob("store.sqlite*"):
        file.unlink()
    return folder


def append_live(folder: Path, count: int) -> list[str]:
    """Append valid actions to the store and return their ids. They are as old as the lake's last, so no calendar moves."""
    here = open_workspace(folder, overrides=TINY)
    users, items = here.lake().users()["user_id"], here.lake().items()["item_id"]
    last_ms = here.lake().time_range()[1]
    events = [action(users[n % len(users)], items[n * 7 % len(items)], "click", last_ms) for n in range(count)]
    with closing(here.store()) as store:
        accepted = store.append([validate_event(event) for event in events])
    if not all(accepted):
        raise AssertionError(f"the store took {sum(accepted)} of {count} fresh events")
    return [event["event_id"] for event in events]


def check_in_lake(folder: Path, acknowledged: Sequence[str], tally: Tally) -> None:
    """Every acknowledged event must be in the lake, and nothing in it twice."""
    found = Lake(folder / "lake").actions(undone=True)["event_id"]
    tally.acknowledged_lost += len(set(acknowledged) - set(found))
    tally.half_visible += len(found) - found.n_unique()


def kill_from_store(world: Workspace, kills: int, generator: np.random.Generator, tally: Tally) -> None:
    """Kill the move of live events into the lake, which must hold none or all of them; a re-run must bring each in once."""
    folder = copy_without_store(world, OUT / "kill-from-store")
    command = corkboard("ingest", "--from-store", "-w", str(folder))
    acknowledged = append_live(folder, MANY_LIVE_EVENTS)
    whole_s = timed(command)
    before = tally.kills
    while tally.kills < before + kills:
        batch = append_live(folder, MANY_LIVE_EVENTS)
        acknowledged += batch
        tally.kills += run_and_kill(command, generator.uniform(0.6, 1.1) * whole_s)
        moved = Lake(folder / "lake").actions(undone=True)["event_id"].is_in(batch).sum()
        tally.half_visible += moved not in (0, len(batch))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    check_in_lake(folder, acknowledged, tally)
    tally.acknowledged += len(acknowledged)


def whole(folder: Path) -> bool:
    """Whether the live release, where there is one, and every artefact with a manifest are whole, and no release is half-written."""
    try:
        Releases(folder).current()
        for release in Releases(folder).list():
            for artifact in release.artifacts.values():
                artifact.check()
    except CorkboardError as error:
        print(f"half visible: {error}")
        return False
    return True


def kill_build(world: Workspace, kills: int, generator: np.random.Generator, tally: Tally) -> None:
    """Kill a build that first moves live events into the lake; what is visible must be whole, and a last one must finish the rest."""
    folder = copy_without_store(world, OUT / "kill-build")

    def clear() -> None:
        shutil.rmtree(folder / "artifacts", ignore_errors=True)
        shutil.rmtree(folder / "releases", ignore_errors=True)

    command = corkboard("build", "-w", str(folder), "--set", TINY[0])
    clear()
    acknowledged = append_live(folder, LIVE_EVENTS)
    move_s = timed(corkboard("ingest", "--from-store", "-w", str(folder)))
    whole_s = timed(command)
    before = tally.kills
    while tally.kills < before + kills:
        if tally.kills % 2 == 0:
            clear()
        acknowledged += append_live(folder, LIVE_EVENTS)
        in_move = tally.kills % 3 == 0  # the move is so short a part of a build that hardly a kill would fall into it
        after_s = generator.uniform(0.6, 1.1) * move_s if in_move else generator.uniform(0.2, 0.95) * whole_s
        tally.kills += run_and_kill(command, after_s)
        tally.half_visible += not whole(folder)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    tally.half_visible += Releases(folder).current_id() is None or not whole(folder)
    check_in_lake(folder, acknowledged, tally)
    tally.acknowledged += len(acknowledged)


PROMOTE = """
import sys
from corkboard.artifacts import Releases
releases = Releases(sys.argv[1])
while True:
    for release_id in sys.argv[2:]:
        releases.promote(release_id)
"""


def kill_promotion(world: Workspace, kills: int, generator: np.random.Generator, tally: Tally) -> None:
    """Kill a process that promotes one release after another; the live one must always be one of them."""
    folder = copy_workspace(world.folder, OUT / "kill-promotion")
    ids = [release.id for release in Releases(folder).list()]
    for _ in range(kills):
        tally.kills += run_and_kill([sys.executable, "-c", PROMOTE, str(folder), *ids], generator.uniform(0.5, 1.5))
        tally.half_visible += Releases(folder).current_id() not in ids or not whole(folder)


@dataclass
class Acknowledged:
    """What servers answered for before they died: ids of events, and of the requests of pages."""

    events: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)

    def missing(self, folder: Path) -> set[str]:
        """The ids that the store, or its served log, does not have."""
        with closing(open_workspace(folder, overrides=TINY).store()) as store:
            events = {row["event_id"] for _, row in store.events_since(0, EVERYTHING)}
            return (set(self.events) - events) | {page for page in self.pages if store.served(page) is None}


def kill_serving(world: Workspace, kills: int, generator: np.random.Generator, tally: Tally) -> None:
    """Kill a server under a load of events and pages; what was acknowledged must be in the store after every restart, and move
    into the lake once."""
    folder = copy_without_store(world, OUT / "kill-serving")
    users = world.lake().users()["user_id"].to_list()
    items = world.lake().items()["item_id"].to_list()
    acknowledged = Acknowledged()
    lost: set[str] = set()
    for _ in range(kills):
        process, port = start_server(folder, TINY)
        lost |= acknowledged.missing(folder)
        loader = Thread(target=load_until_dead, args=(port, users, items, acknowledged))
        loader.start()
        time.sleep(generator.uniform(0.1, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        loader.join()
        tally.kills += 1
    lost |= acknowledged.missing(folder)
    here = open_workspace(folder, overrides=TINY)
    here.ingest_store()
    here.ingest_store()
    for ids, found in (
        (acknowledged.events, here.lake().actions(undone=True)["event_id"]),
        (acknowledged.pages, here.lake().served()["event_id"]),
    ):
        lost |= set(ids) - set(found)
        tally.acknowledged += len(ids)
        tally.half_visible += len(found) - found.n_unique()
    tally.acknowledged_lost += len(lost)


def load_until_dead(port: int, users: list[str], items: list[str], acknowledged: Acknowledged) -> None:
    """Send events and ask for pages until the connection breaks; note what was acknowledged."""
    try:
        client = Client(port)
        n = 0
        while True:
            batch = [action(users[(n + m) % len(users)], items[(n * 7 + m) % len(items)], "click") for m in range(20)]
            if client.events(batch)["accepted"] == len(batch):
                acknowledged.events += [event["event_id"] for event in batch]
            acknowledged.pages.append(client.page(users[n % len(users)])["request_id"])
            n += 1
    except (OSError, HTTPException, ValueError):
        return


if __name__ == "__main__":
    main()
