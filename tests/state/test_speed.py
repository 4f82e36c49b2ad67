"""How fast the state room is: `pytest tests/state/test_speed.py -m quality -s`. On a shared machine CPU time tells more than the clock."""

from __future__ import annotations

import random
import time

import numpy as np
import polars as pl
import pytest

from corkboard.lake.schema import empty
from corkboard.state.config import StateConfig
from corkboard.state.replay import base_states, replay
from corkboard.state.sqlite import SqliteStore
from state.builders import T0, action, impression, served

pytestmark = pytest.mark.quality
DAY_MS = 86_400_000


def timed(call, n):
    """Median and 95th percentile of ``n`` calls, in microseconds."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        call()
        times.append(1e6 * (time.perf_counter() - start))
    return np.median(times), np.quantile(times, 0.95)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_append(tmp_path, durability):
    store, rng = SqliteStore(tmp_path / "s.sqlite", StateConfig(durability=durability)), random.Random(1)
    rows = [action(f"event-{k:032d}", T0 + k, "click", f"item-{k % 3000}", user_id=f"user-{rng.randrange(1000)}") for k in range(20_000)]
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(rows), 20):
        store.append(rows[start : start + 20])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    share = 2_000 * cpu / len(rows)
    print(
        f"\nappend in batches of 20, durability {durability}: {len(rows) / wall:,.0f} events/s, 2,000 events/s take {share:.3f} of a core"
    )
    store.close()
    assert len(rows) / wall >= 2_000
    assert share < 0.3


def test_states_and_served_rows(tmp_path):
    store, rng = SqliteStore(tmp_path / "s.sqlite"), random.Random(2)
    ids = iter(range(10**9))

    def page():
        items = [f"item-{rng.randrange(3000)}" for _ in range(25)]
        return served(f"request-{next(ids):032d}", T0 + next(ids), items, width=40)

    for _ in range(250):
        store.append([action(f"e{next(ids)}", T0 + next(ids), rng.choice(["click", "save", "hide"]), f"item-{rng.randrange(3000)}")])
    pages = iter([page() for _ in range(700)])
    for _ in range(100):
        store.log_served([next(pages)])
    logged = timed(lambda: store.log_served([next(pages)]), 200)
    assert len(store.state("ann").shown) > 1_000
    warm = timed(lambda: store.state("ann"), 2_000)

    def after(write):
        times = []
        for _ in range(200):
            write()
            start = time.perf_counter()
            store.state("ann")
            times.append(1e6 * (time.perf_counter() - start))
        return np.median(times), np.quantile(times, 0.95)

    event = after(lambda: store.append([action(f"e{next(ids)}", T0 + next(ids), "click", "item-1")]))
    shown = after(lambda: (store.log_served([next(pages)]), store.state("ann").shown, store.append([_narrowed(store)])))
    for name, (p50, p95) in {"log_served": logged, "state, warm": warm, "state, one event": event, "state, narrowed page": shown}.items():
        print(f"\n{name}: p50 {p50:.0f} us, p95 {p95:.0f} us", end="")
    store.close()
    assert logged[0] <= 1_000
    assert warm[0] <= 50
    assert event[0] <= 200


def _narrowed(store):
    last = store.served_since(store.sequence() - 1)[-1][1]
    return impression(last["request_id"], last["time_ms"] + 5, [slot["item_id"] for slot in last["slots"][:10]])


class _Made:
    """150,000 actions and 80,000 pages of 25 by 1,500 users of very different activity over 84 days."""

    def __init__(self):
        rng = np.random.default_rng(1)
        weight = rng.zipf(1.5, 1_500).clip(1, 40) + 5
        self._actions = self._table("actions", rng, 150_000, weight / weight.sum()).with_columns(
            action=pl.Series(rng.choice(["click", "save", "close_up", "hide"], 150_000, p=[0.5, 0.1, 0.38, 0.02])),
            item_id=pl.Series([f"item-{k}" for k in rng.integers(0, 3_000, 150_000)]),
        )
        slots = pl.DataFrame(
            {"page": np.repeat(np.arange(80_000), 25), "item_id": [f"item-{k}" for k in rng.integers(0, 3_000, 2_000_000)]}
        )
        pages = slots.group_by("page", maintain_order=True).agg(slots=pl.struct("item_id"))
        self._pages = self._table("impressions", rng, 80_000, weight / weight.sum()).with_columns(slots=pages["slots"])
        self._pages = self._pages.with_columns(request_id="event_id")

    @staticmethod
    def _table(name, rng, n, share):
        frame = pl.DataFrame(
            {
                "event_id": [f"{name}-{k}" for k in rng.permutation(n)],
                "time_ms": np.sort(rng.integers(T0, T0 + 84 * DAY_MS, n)),
                "tenant": ["default"] * n,
                "user_id": [f"user-{k}" for k in rng.choice(1_500, n, p=share)],
            }
        )
        return pl.concat([empty(name).drop("slots", strict=False), frame], how="diagonal")

    def actions(self, start_ms=None, end_ms=None, undone=False):
        return self._actions

    def impressions(self, start_ms=None, end_ms=None):
        return self._pages

    def served(self, start_ms=None, end_ms=None):
        return empty("served")

    def users(self, before_ms=None):
        return empty("users")


def test_lake_scale():
    lake = _Made()
    start, cpu = time.perf_counter(), time.process_time()
    states = base_states(lake)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    size = states["state"].bin.size().sum() / 1e6
    print(f"\nbase states of {states.height:,} users, 150,000 actions and 2,000,000 slots: {wall:.2f} s, CPU {cpu:.2f} s, {size:.0f} MB")
    assert cpu < 6
    moments = lake.impressions().select("user_id", "time_ms").sample(20_000, seed=1)
    start, cpu, read = time.perf_counter(), time.process_time(), 0
    for _, state in replay(lake, moments):
        read += len(state.actions) + len(state.shown) + len(state.hidden) + len(state.positives(10)) + len(state.sequence())
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"replay of 20,000 moments, actions, shown, hidden, positives and sequence of each read: {wall:.2f} s, CPU {cpu:.2f} s")
    assert read > 0
    assert cpu < 8
