"""User states from the lake: at any moment of its past, or as of its end.

Every row goes through the same methods of :class:`UserState` as a live one; only the reading is by column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import polars as pl

from corkboard.lake.schema import DEFAULT_TENANT, user_key_expr
from corkboard.state.base import SCHEMA, BaseStates
from corkboard.state.bounded import Action
from corkboard.state.config import LimitsConfig
from corkboard.state.user_state import LIMITS, Profile, UserState

SLICE = 20_000  # rows that are Python objects at a time


class LakeTables(Protocol):
    """What replay reads of a lake; :class:`corkboard.lake.lake.Lake` and its ``until`` views have it."""

    def actions(self, start_ms: int | None = None, end_ms: int | None = None, undone: bool = False) -> pl.DataFrame: ...

    def impressions(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame: ...

    def served(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame: ...

    def users(self, before_ms: int | None = None) -> pl.DataFrame: ...


_ACT, _UNDO, _SEEN, _SERVED, _TOLD, _DELETED = range(6)
_COLUMNS = {
    "kind": pl.Int32,
    "time_ms": pl.Int64,
    "event_id": pl.String,
    "action": pl.String,
    "item_id": pl.String,
    "creator_id": pl.String,
    "surface": pl.String,
    "duration_ms": pl.Int64,
    "about": pl.String,  # the request of a page, the event that an undo takes back
    "items": pl.List(pl.String),  # of a page, or the interests of a user
    "country": pl.String,
    "language": pl.String,
}


def replay(lake: LakeTables, moments: pl.DataFrame, limits: LimitsConfig = LIMITS) -> Iterator[tuple[dict[str, Any], UserState]]:
    """For each row of ``moments``, in order of time, that row and what was known of its user just before.

    ``moments`` has ``user_id`` (a user key; or, with a column ``session_id``, null for a visitor) and ``time_ms``, perhaps
    ``tenant``, and any other columns, which come back in the row. Every event strictly before the moment is in the state and
    none at it or after. States are frozen and stay as they are; ``copy()`` one to change it.
    """
    moments = _with_keys(moments).sort("time_ms", maintain_order=True)
    asked = moments.group_by("tenant", "user_key", maintain_order=True).agg(last_ms=pl.col("time_ms").max()).with_row_index("user")
    rows = (
        _user_rows(lake, moments["time_ms"].min())
        .join(asked, on=["tenant", "user_key"])
        .filter(pl.col("time_ms") < pl.col("last_ms"))
        .sort("time_ms")
    )
    users = moments.join(asked, on=["tenant", "user_key"], how="left", maintain_order="left")["user"].to_list()
    states = [UserState(key, limits) for key in asked["user_key"]]
    stream = _tuples(rows, "user")
    row = next(stream, None)
    for user, moment in zip(users, moments.drop("user_key").iter_rows(named=True), strict=True):
        until = moment["time_ms"]
        while row is not None and row[2] < until:
            state = states[row[0]]
            if state.frozen:
                state = states[row[0]] = state.copy()
            _apply(state, row)
            row = next(stream, None)
        yield moment, states[user].freeze()


def base_states(lake: LakeTables, limits: LimitsConfig = LIMITS) -> pl.DataFrame:
    """The state of every user of the lake as of its end, one row a user: ``tenant``, ``user_key``, ``state`` (bytes).

    Made for :class:`corkboard.state.base.BaseStates`, together with ``lake.watermark(store_id)``.
    """
    rows = _user_rows(lake).sort("tenant", "user_key", "time_ms").with_columns(user=pl.struct("tenant", "user_key").rle_id())
    made: dict[str, list[Any]] = {name: [] for name in SCHEMA}
    users = rows.group_by("user", maintain_order=True).agg(pl.col("tenant", "user_key").first())
    made["tenant"], made["user_key"] = users["tenant"].to_list(), users["user_key"].to_list()
    state, current = UserState("", limits), -1
    for row in _tuples(rows, "user"):
        if row[0] != current:
            if current >= 0:
                made["state"].append(state.to_bytes())
            current = row[0]
            state = UserState(made["user_key"][current], limits)
        _apply(state, row)
    if current >= 0:
        made["state"].append(state.to_bytes())
    return pl.DataFrame(made, schema=SCHEMA)


class LakeStates:
    """The users of a lake as of its end, read-only: a :class:`~corkboard.state.stores.UserStore` where no store runs."""

    def __init__(self, lake: LakeTables, limits: LimitsConfig = LIMITS):
        self._base, self._limits = BaseStates.load(base_states(lake, limits)), limits

    def state(self, user_key: str, tenant: str = DEFAULT_TENANT) -> UserState:
        return (self._base.state(user_key, tenant, self._limits) or UserState(user_key, self._limits)).freeze()


def _with_keys(frame: pl.DataFrame) -> pl.DataFrame:
    if "tenant" not in frame.columns:
        frame = frame.with_columns(tenant=pl.lit(DEFAULT_TENANT))
    key = user_key_expr() if "session_id" in frame.columns else pl.col("user_id")
    return frame.with_columns(user_key=key)


def _user_rows(lake: LakeTables, first_ms: Any = None) -> pl.DataFrame:
    """Every row of the lake that shapes a user state, with the columns of ``_COLUMNS``, tenant and user_key.

    Of what users told there is the newest row, and with ``first_ms`` the newest before that moment, too.
    """
    undo = pl.col("action") == "undo"
    items = pl.col("slots").list.eval(pl.element().struct.field("item_id"))
    parts = [
        _with_keys(lake.actions(undone=True)).with_columns(kind=pl.when(undo).then(_UNDO).otherwise(_ACT), about="undoes"),
        _with_keys(lake.impressions()).with_columns(kind=pl.lit(_SEEN), about="request_id", items=items),
        _with_keys(lake.served()).with_columns(kind=pl.lit(_SERVED), about="request_id", items=items),
        _told(lake.users()),
    ]
    newest = pl.concat([part["time_ms"] for part in parts]).max()
    if first_ms is not None and newest is not None and first_ms <= newest:  # a later moment could lie beyond the cut of the lake
        parts.append(_told(lake.users(first_ms)))
    columns = {"tenant": pl.String, "user_key": pl.String, **_COLUMNS}
    return pl.concat([part.select(_column(part, name).cast(dtype) for name, dtype in columns.items()) for part in parts])


def _told(users: pl.DataFrame) -> pl.DataFrame:
    deleted = pl.col("deleted").fill_null(False)
    return users.with_columns(kind=pl.when(deleted).then(_DELETED).otherwise(_TOLD), user_key="user_id", items="interests")


def _column(part: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in part.columns else pl.lit(None).alias(name)


def _tuples(rows: pl.DataFrame, first: str) -> Iterator[tuple[Any, ...]]:
    """(``first``, then the columns of ``_COLUMNS``), a slice of Python objects at a time."""
    rows = rows.select(first, *_COLUMNS)
    for part in rows.iter_slices(SLICE):
        yield from zip(*(column.to_list() for column in part.iter_columns()), strict=True)


def _apply(state: UserState, row: tuple[Any, ...]) -> None:
    _, kind, time_ms, event_id, action, item_id, creator_id, surface, duration_ms, about, items, country, language = row
    if kind == _ACT:
        state.act(Action(time_ms, event_id, action, item_id, creator_id, surface, duration_ms))
    elif kind in (_SEEN, _SERVED):
        state.show(time_ms, about, items, seen=kind == _SEEN)
    elif kind == _UNDO:
        state.take_back(time_ms, about)
    elif kind == _TOLD:
        state.tell(Profile(time_ms, event_id, country, language, tuple(items or ())))
    else:
        state.forget(time_ms)
