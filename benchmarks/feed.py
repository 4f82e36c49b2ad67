"""How fast is a page, an event, a bulk row, and the way from an action to a changed page? Over HTTP, with 5,000 items.

    python benchmarks/feed.py --json

Every page must have had at least 300 candidates in the light ranker and 100 in the full one, and the run fails otherwise: a
page that ranks less is no comparison. The load comes from a process of its own on the same machine, so on two cores client and
server share them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
from harness import OUT, Client, action, arguments, finish, server, world_workspace

from corkboard.lake.ingest import ingest_file
from corkboard.pipeline.ledger import machine

LEAST = {"light_candidates": 300, "full_candidates": 100}
"""Candidates that every page must have had in each ranker, with 5,000 items."""


def main() -> None:
    options = arguments(__doc__, items=5000, pages=600, connections=2, bulk_rows=1_000_000, port=0)
    if options.port:
        print(json.dumps(load(options.port, options.pages, options.connections)))
        return
    world = world_workspace("feed", [f"world.items={options.items}"])
    with server(world.folder) as port:
        command = [sys.executable, __file__, "--port", str(port), "--pages", str(options.pages), "--connections", str(options.connections)]
        users = world.lake().users()["user_id"].to_list()
        answer = subprocess.run(command, input=json.dumps(users), stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(answer.stdout.splitlines()[-1])
    bulk_seconds, note = bulk(world.lake().actions(), options.bulk_rows)
    result |= {"bulk_rows_per_s": options.bulk_rows / bulk_seconds, "items": options.items, "connections": options.connections, **machine()}
    print(note)
    finish(result, options.json)


def load(port: int, pages: int, connections: int) -> dict:
    """Everything that is measured over HTTP, from the client's side."""
    users = json.loads(sys.stdin.read())
    client = Client(port)
    for user in users[:30]:
        client.page(user)
    single, counts = [], []
    for n in range(pages):
        single.append(timed(client, users[n % len(users)]))
        counts.append(client.counts())
    rate, loaded = concurrent(port, users, pages, connections)
    client = Client(port)  # the server closes what has been idle for some seconds
    items = [item["item_id"] for item in client.page(users[0], k=25)["items"]]
    events_per_s = live_events(client, users, items)
    reaction = np.array([action_to_page(client, user, items) for user in users[:200]])
    p50, p95, p99 = np.percentile(single, [50, 95, 99])
    return {
        "feed_p50_ms": float(p50),
        "feed_p95_ms": float(p95),
        "feed_p99_ms": float(p99),
        "feed_p95_ms_loaded": float(np.percentile(loaded, 95)),
        "pages_per_s": rate,
        "live_events_per_s": events_per_s,
        "action_to_page_p99_ms": float(np.percentile(reaction, 99)),
        "action_to_page_p50_ms": float(np.percentile(reaction, 50)),
        **ranked(counts),
        **where_the_time_goes(client, users, float(p50)),
    }


def ranked(counts: list[dict[str, int]]) -> dict[str, int]:
    """The fewest candidates that any page had in each ranker, and the median; ``AssertionError`` where a page had too few."""
    found = {}
    for name, least in LEAST.items():
        values = np.array([count.get(name, 0) for count in counts])
        found |= {name: int(values.min()), f"{name}_median": int(np.median(values))}
        assert values.min() >= least, f"{(values < least).sum()} of {len(values)} pages had fewer than {least} {name}: {values.min()}"
    return found


def where_the_time_goes(client: Client, users: list[str], p50_ms: float, pages: int = 200) -> dict:
    """Median ms of each stage by the server's own clock; what is left of the client's median is HTTP, JSON and the client."""
    stages: dict[str, list[float]] = {}
    for n in range(pages):
        client.page(users[n % len(users)])
        for name, duration in client.stages_ms().items():
            stages.setdefault(name, []).append(duration)
    medians = {f"stage_{name}_ms": float(np.median(values)) for name, values in stages.items()}
    return {**medians, "stage_rest_ms": p50_ms - sum(ms for name, ms in medians.items() if name != "stage_total_ms")}


def timed(client: Client, user: str) -> float:
    start = time.perf_counter()
    client.page(user)
    return (time.perf_counter() - start) * 1000


def concurrent(port: int, users: list[str], pages: int, connections: int) -> tuple[float, np.ndarray]:
    """Pages a second and their latencies, in ms, with several connections that each wait for their answer."""
    latencies: list[list[float]] = [[] for _ in range(connections)]

    def run(mine: list[float], offset: int) -> None:
        client = Client(port)
        for n in range(pages // connections):
            mine.append(timed(client, users[(offset + n * connections) % len(users)]))

    threads = [Thread(target=run, args=(latencies[n], n)) for n in range(connections)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(map(len, latencies)) / (time.perf_counter() - start), np.concatenate(latencies)


def live_events(client: Client, users: list[str], items: list[str], batches: int = 250, size: int = 20) -> float:
    """Acknowledged events a second, in batches of 20 on one connection."""
    rows = [[action(users[(n * size + m) % len(users)], items[m % len(items)], "click") for m in range(size)] for n in range(batches)]
    start = time.perf_counter()
    accepted = sum(client.events(batch)["accepted"] for batch in rows)
    seconds = time.perf_counter() - start
    assert accepted == batches * size, f"{accepted} of {batches * size} events were accepted"
    return accepted / seconds


def action_to_page(client: Client, user: str, items: list[str]) -> float:
    """ms from sending a save to holding the page that has seen it."""
    start = time.perf_counter()
    client.events([action(user, items[len(user) % len(items)], "save")])
    client.page(user)
    return (time.perf_counter() - start) * 1000


def bulk(actions: pl.DataFrame, rows: int) -> tuple[float, str]:
    """Seconds to ingest ``rows`` actions from one Parquet file into an empty lake, and how long reading and writing alone take."""
    import shutil

    folder = OUT / "bulk"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copies = -(-rows // len(actions))
    many = pl.concat([actions.with_columns(pl.col("event_id") + f"-{n}") for n in range(copies)]).head(rows)
    file = Path(folder / "actions.parquet")
    many.write_parquet(file)
    start = time.perf_counter()
    pl.read_parquet(file).write_parquet(folder / "copy.parquet")
    floor = time.perf_counter() - start
    start = time.perf_counter()
    report = ingest_file(folder / "lake", file, table="actions")
    seconds = time.perf_counter() - start
    assert report.rows_added["actions"] == rows, report
    return seconds, f"bulk: {seconds:.2f} s for {rows:,} rows; reading and writing one file alone takes {floor:.2f} s"


if __name__ == "__main__":
    main()
