"""Rows, random histories, and a lake made of rows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from corkboard.lake.schema import EVENT_TABLE, TABLES
from corkboard.state.user_state import UserState

T0 = 1_700_000_000_000
TABLE_OF = {**EVENT_TABLE, "served": "served"}


def row(event: str, event_id: str, time_ms: int, **fields: Any) -> dict[str, Any]:
    """A whole row of the table of ``event``; what is not given is null, the tenant is "default"."""
    names = TABLES[TABLE_OF[event]].names
    unknown = fields.keys() - set(names)
    assert not unknown, unknown
    return {**dict.fromkeys(names), "event": event, "event_id": event_id, "time_ms": time_ms, "tenant": "default", **fields}


def action(
    event_id: str, time_ms: int, kind: str, item_id: str | None = None, user_id: str | None = "ann", **fields: Any
) -> dict[str, Any]:
    return row("action", event_id, time_ms, action=kind, item_id=item_id, user_id=user_id, surface="home", **fields)


def undo(event_id: str, time_ms: int, undoes: str, user_id: str | None = "ann", **fields: Any) -> dict[str, Any]:
    return row("action", event_id, time_ms, action="undo", undoes=undoes, user_id=user_id, **fields)


def impression(
    request_id: str, time_ms: int, items: Iterable[str], user_id: str | None = "ann", event_id: str | None = None, **fields: Any
):
    slots = [{"item_id": item, "position": k, "score": None, "propensity": None, "source": None} for k, item in enumerate(items)]
    fields = {"surface": "home", **fields}
    return row("impression", event_id or f"seen-{request_id}", time_ms, request_id=request_id, user_id=user_id, slots=slots, **fields)


def served(
    request_id: str, time_ms: int, items: Iterable[str], user_id: str | None = "ann", width: int = 2, **fields: Any
) -> dict[str, Any]:
    slots = [
        {
            "item_id": item, "position": k, "score": 0.5, "propensity": None, "source": "popular,knn",
            "features": [k + 0.25 * feature for feature in range(width)], "heads": [0.125, 0.5],
        }
        for k, item in enumerate(items)
    ]  # fmt: skip
    given = {"surface": "home", "notes": [], "sequence": [], "flags": [], "feature_names": [f"f{k}" for k in range(width)], "artifacts": []}
    return row("served", request_id, time_ms, request_id=request_id, user_id=user_id, slots=slots, **{**given, **fields})


def user(event_id: str, time_ms: int, user_id: str = "ann", **fields: Any) -> dict[str, Any]:
    return row("user", event_id, time_ms, user_id=user_id, **{"deleted": False, **fields})


def random_rows(seed: int, n: int, users: Iterable[str] = ("ann", "bob", "cid"), hours: int = 200) -> list[dict[str, Any]]:
    """``n`` rows of every kind in order of time, many at the same moment; half of the pages get an impression later."""
    rng = random.Random(seed)
    users, made, ids = list(users), [], {name: ["nothing"] for name in users}
    for k in range(n):
        who, time_ms = rng.choice(users), T0 + rng.randrange(hours * 6) * 600_000
        whose = {"user_id": who} if not who.startswith("session:") else {"user_id": None, "session_id": who.removeprefix("session:")}
        items = [f"item-{rng.randrange(30)}" for _ in range(rng.randrange(1, 6))]
        what = rng.random()
        if what < 0.55:
            kind = rng.choice(["click", "save", "close_up", "hide", "report", "long_click"])
            made.append(action(f"e{k}", time_ms, kind, items[0], duration_ms=rng.choice([None, 900]), **whose))
            ids[who].append(f"e{k}")
        elif what < 0.62:
            made.append(action(f"e{k}", time_ms, rng.choice(["follow", "block"]), creator_id=f"creator-{rng.randrange(4)}", **whose))
            ids[who].append(f"e{k}")
        elif what < 0.68:
            made.append(undo(f"e{k}", time_ms, rng.choice(ids[who]), **whose))
        elif what < 0.8:
            made.append(impression(f"r{k}", time_ms, items, **whose))
        elif what < 0.95:
            made.append(served(f"r{k}", time_ms, items, **whose))
            if rng.random() < 0.5:
                made.append(impression(f"r{k}", time_ms + rng.randrange(3) * 60_000, items[: rng.randrange(1, 6)], **whose))
        elif whose["user_id"] is not None:
            made.append(user(f"e{k}", time_ms, who, country=rng.choice(["AT", "DE"]), interests=[f"topic-{k}"]))
    return sorted(made, key=lambda made_row: made_row["time_ms"])


def state_of(rows: Iterable[Mapping[str, Any]], user_id: str = "ann", **limits: Any) -> UserState:
    state = UserState(user_id, **limits)
    for each in rows:
        state.apply(each)
    return state


class FrameLake:
    """The part of a lake that replay reads, made of rows."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]):
        by_table: dict[str, list[Mapping[str, Any]]] = {name: [] for name in TABLES}
        for each in rows:
            by_table[TABLE_OF[each["event"]]].append(each)
        self.frames = {name: pl.DataFrame(made, schema=TABLES[name].schema) for name, made in by_table.items()}

    def actions(self, start_ms: int | None = None, end_ms: int | None = None, undone: bool = False) -> pl.DataFrame:
        assert undone, "replay must see what was undone, up to the moment when it was"
        return self.frames["actions"].sort("time_ms", "event_id")

    def impressions(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame:
        return self.frames["impressions"]

    def served(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame:
        return self.frames["served"]

    def users(self, before_ms: int | None = None) -> pl.DataFrame:
        told = self.frames["users"].filter(pl.lit(before_ms is None) | (pl.col("time_ms") < (before_ms or 0)))
        newest = told.sort("time_ms", "event_id").unique("user_id", keep="last", maintain_order=True)
        return newest.filter(~pl.col("deleted"))
