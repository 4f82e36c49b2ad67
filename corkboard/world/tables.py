"""The lake tables of a world: what an outsider may know of it, and nothing of its truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from corkboard.lake.schema import TABLES
from corkboard.seeds import generator
from corkboard.world.boards import CATCH_ALL, NO_BOARD, VARIANTS, Boards
from corkboard.world.catalogue import KINDS, NEVER_MS, Catalogue
from corkboard.world.config import WORLD_VERSION, WorldConfig
from corkboard.world.draws import random_ids
from corkboard.world.log import ALL_ACTIONS, SURFACES, UNDO, Log
from corkboard.world.people import COUNTRIES, People
from corkboard.world.policy import SOURCES
from corkboard.world.vocabulary import CATCH_ALL_TITLES, CATEGORIES, LANGUAGES, PROJECT_THEMES
from corkboard.world.writing import write

CURRENCY = "EUR"
POLICIES = ("popular-interest", "random")


def finish(name: str, columns: Mapping[str, Any]) -> pl.DataFrame:
    """A frame of table ``name`` in its very columns and types, sorted by time and event id; what is not given is null."""
    schema = TABLES[name].schema
    length = len(columns["time_ms"])
    given = {"tenant": pl.repeat("default", length, eager=True), **columns}
    series = [
        pl.Series(key, given[key]).cast(dtype) if key in given else pl.Series(key, [None] * length, dtype=dtype)
        for key, dtype in schema.items()
    ]
    return pl.DataFrame(series).sort("time_ms", "event_id")


def items_table(config: WorldConfig, catalogue: Catalogue, images: Sequence[Sequence[str]]) -> pl.DataFrame:
    """Every item as it came, and once more, unavailable, where it went before the end. ``images``: each item's, the main one first."""
    c = catalogue
    n = len(c)
    rng = generator(config.seed, "world", "item events")
    titles, descriptions, attributes = write(config, c)
    brand_ids = random_ids(rng, "r", len(c.brand_names))
    merchants = random_ids(rng, "m", len(c.creators.ids))
    product = c.product
    columns: dict[str, Any] = {
        "event_id": random_ids(rng, "e", n),
        "time_ms": c.created_ms,
        "item_id": c.ids,
        "kind": [KINDS[k] for k in c.kind.tolist()],
        "title": titles,
        "description": descriptions,
        "images": pl.Series(list(images), dtype=pl.List(pl.String)),
        "link": [f"https://example.com/{item_id}" if k != 2 else None for item_id, k in zip(c.ids, c.kind.tolist(), strict=True)],
        "merchant_id": [merchants[k] if buy else None for k, buy in zip(c.creator.tolist(), product.tolist(), strict=True)],
        "category": [CATEGORIES[k].name for k in c.category.tolist()],
        "price_minor": [price if buy else None for price, buy in zip(c.price_minor.tolist(), product.tolist(), strict=True)],
        "currency": [CURRENCY if buy else None for buy in product.tolist()],
        "creator_id": [c.creators.ids[k] for k in c.creator.tolist()],
        "brand_id": [brand_ids[k] if k >= 0 else None for k in c.observed["brand"].tolist()],
        "attributes": attributes,
        "available": [True] * n,
        "deleted": [False] * n,
    }
    first = finish("items", columns)
    left = pl.DataFrame({"item_id": c.ids, "gone_ms": c.gone_ms}).filter(
        (pl.col("gone_ms") < config.end_ms) & (pl.col("gone_ms") < NEVER_MS)
    )
    gone = first.join(left, on="item_id", how="inner", maintain_order="left")
    ids = pl.Series(random_ids(rng, "e", len(gone)), dtype=pl.String)
    gone = gone.with_columns(time_ms=pl.col("gone_ms"), event_id=ids, available=pl.lit(False)).drop("gone_ms")
    return pl.concat([first, gone]).sort("time_ms", "event_id")


def users_table(config: WorldConfig, people: People) -> pl.DataFrame:
    """Everybody as they signed up."""
    rng = generator(config.seed, "world", "user events")
    countries = [COUNTRIES[k][0] for k in people.country.tolist()]
    columns = {
        "event_id": random_ids(rng, "e", len(people)),
        "time_ms": people.join_ms,
        "user_id": people.ids,
        "country": countries,
        "language": [LANGUAGES[k] for k in people.language.tolist()],
        "interests": people.declared,
        "deleted": [False] * len(people),
    }
    return finish("users", columns)


def boards_table(config: WorldConfig, people: People, boards: Boards) -> pl.DataFrame:
    """Every board when it was made, and once more where it was deleted before the end."""
    rng = generator(config.seed, "world", "board events")
    user, place = np.nonzero((boards.project != NO_BOARD) & (boards.created_ms < config.end_ms))
    flat = user * boards.project.shape[1] + place
    titles = [_board_title(boards, int(u), int(p), int(people.language[u])) for u, p in zip(user, place, strict=True)]
    columns = {
        "event_id": random_ids(rng, "e", len(flat)),
        "time_ms": boards.created_ms[user, place],
        "board_id": [boards.ids[k] for k in flat.tolist()],
        "user_id": [people.ids[k] for k in user.tolist()],
        "title": titles,
        "secret": boards.secret[user, place],
        "deleted": [False] * len(flat),
    }
    first = finish("boards", columns)
    ended = np.flatnonzero((boards.deleted_ms[user, place] > 0) & (boards.deleted_ms[user, place] < config.end_ms))
    again = {name: [values[k] for k in ended.tolist()] for name, values in columns.items()}
    again |= {
        "event_id": random_ids(rng, "e", len(ended)),
        "time_ms": boards.deleted_ms[user, place][ended],
        "deleted": [True] * len(ended),
    }
    return pl.concat([first, finish("boards", again)]).sort("time_ms", "event_id")


def _board_title(boards: Boards, user: int, place: int, language: int) -> str:
    project = int(boards.project[user, place])
    if project == CATCH_ALL:
        return CATCH_ALL_TITLES[int(boards.title[user, place])][language]
    return PROJECT_THEMES[project // VARIANTS][language]


class Names:
    """Outside ids of what the log numbers: the same for a row whenever it is asked for."""

    def __init__(self, config: WorldConfig, catalogue: Catalogue, people: People, boards: Boards):
        self.seed = config.seed
        self.items, self.users, self.boards, self.creators = catalogue.ids, people.ids, boards.ids, catalogue.creators.ids
        self._known: dict[str, list[str]] = {}

    def of(self, prefix: str, count: int) -> list[str]:
        """The first ``count`` ids of a kind: "q" requests, "s" sessions, "e" actions, "p" impressions."""
        known = self._known.setdefault(prefix, [])
        while len(known) < count:
            known += random_ids(generator(self.seed, "world", "ids", prefix, len(known)), prefix, 8192)
        return known


def impressions_table(config: WorldConfig, names: Names, log: Log, count: int) -> pl.DataFrame:
    """The first ``count`` pages of the log, as far as they were shown before the end: a session may outlast the last midnight."""
    pages = log.pages.whole()
    rows = np.flatnonzero(pages["time_ms"][:count] < config.end_ms)
    requests, sessions = names.of("q", log.pages.rows), names.of("s", int(pages["session"].max(initial=-1)) + 1)
    events = names.of("p", log.pages.rows)
    numbers = rows.tolist()
    columns = {
        "event_id": [events[k] for k in numbers],
        "time_ms": pages["time_ms"][rows],
        "request_id": [requests[k] for k in numbers],
        "user_id": [names.users[k] for k in pages["user"][rows].tolist()],
        "session_id": [sessions[k] for k in pages["session"][rows].tolist()],
        "surface": [SURFACES[k] for k in pages["surface"][rows].tolist()],
        "query": [log.queries.get(k) for k in numbers],
        "context_item_id": [names.items[k] if k >= 0 else None for k in pages["beside"][rows].tolist()],
        "policy": [POLICIES[k] for k in pages["random"][rows].astype(int).tolist()],
        "release": [f"world-{WORLD_VERSION}"] * len(rows),
        "slots": _slots(names, pages, rows),
    }
    return finish("impressions", columns)


def _slots(names: Names, pages: Mapping[str, np.ndarray], rows: np.ndarray) -> pl.Series:
    items = pages["items"][rows]
    page, place = np.nonzero(items >= 0)
    length = (items >= 0).sum(1)
    propensity = np.where(pages["random"][rows], 1 / np.maximum(length, 1), np.nan)[page].astype(np.float32)
    dictionary = pa.DictionaryArray.from_arrays(pa.array(items[page, place], pa.int32()), pa.array(names.items)).cast(pa.large_string())
    sources = pa.DictionaryArray.from_arrays(pa.array(pages["sources"][rows][page, place], pa.int8()), pa.array(SOURCES)).cast(
        pa.large_string()
    )
    parts = {
        "item_id": dictionary,
        "position": pa.array(place.astype(np.int32)),
        "score": pa.array(pages["scores"][rows][page, place].astype(np.float32)),
        "propensity": pa.array(propensity, mask=np.isnan(propensity)),
        "source": sources,
    }
    struct = pa.StructArray.from_arrays(list(parts.values()), list(parts))
    offsets = pa.array(np.concatenate([[0], np.cumsum(length)]), pa.int64())
    return pl.Series("slots", pa.LargeListArray.from_arrays(offsets, struct))


def actions_table(names: Names, catalogue: Catalogue, log: Log, rows: np.ndarray) -> pl.DataFrame:
    """The actions ``rows`` (row numbers of the log)."""
    actions = log.actions.whole()
    a = {name: values[rows] for name, values in actions.items()}
    pages = log.pages.whole()
    events, requests = names.of("e", log.actions.rows), names.of("q", log.pages.rows)
    sessions = names.of("s", int(a["session"].max(initial=-1)) + 1)
    kind = a["action"]
    on_item = kind < len(ALL_ACTIONS) - 3
    bought = a["quantity"] > 0
    bought &= on_item
    page = a["page"].tolist()
    value = catalogue.price_minor[a["item"]] * a["quantity"]
    timed = a["duration_ms"] > 0
    columns = {
        "event_id": [events[k] for k in rows.tolist()],
        "time_ms": a["time_ms"],
        "user_id": [names.users[k] for k in a["user"].tolist()],
        "session_id": [sessions[k] for k in a["session"].tolist()],
        "action": [ALL_ACTIONS[k] for k in kind.tolist()],
        "item_id": _where(on_item | (kind == UNDO), [names.items[k] for k in a["item"].tolist()]),
        "creator_id": _where(~on_item & (kind != UNDO), [names.creators[k] for k in a["creator"].tolist()]),
        "surface": [SURFACES[k] for k in a["surface"].tolist()],
        "query": [log.queries.get(k) for k in page],
        "context_item_id": [names.items[k] if k >= 0 else None for k in pages["beside"][a["page"]].tolist()],
        "duration_ms": _where(timed, a["duration_ms"].tolist()),
        "board_id": [names.boards[k] if k >= 0 else None for k in a["board"].tolist()],
        "value_minor": _where(bought, value.tolist()),
        "currency": _where(bought, [CURRENCY] * len(rows)),
        "quantity": pl.Series(_where(bought, a["quantity"].tolist()), dtype=pl.Int64),
        "offsite": a["offsite"],
        "request_id": [requests[k] for k in page],
        "position": a["position"],
        "undoes": [events[k] if k >= 0 else None for k in a["undoes"].tolist()],
    }
    return finish("actions", columns)


def _where(mask: np.ndarray, values: list[Any]) -> list[Any]:
    return [value if there else None for value, there in zip(values, mask.tolist(), strict=True)]
