"""The tables of the lake: their columns, what may stand in them, and the rules between columns.

Text is measured in bytes of UTF-8. A title or a query longer than 2 kB is refused rather than cut: whoever sends a page of
text as a title has mixed up columns, and cutting would hide it. Descriptions may have 100 kB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from corkboard.lake.fields import Choice, Currency, Flag, Id, Kind, Moment, Number, Numbers, Pairs, Part, Records, Text, Texts, Whole

ITEM_ACTIONS = ("close_up", "click", "long_click", "save", "hide", "report", "add_to_cart", "checkout")
CREATOR_ACTIONS = ("follow", "block")
ACTIONS = (*ITEM_ACTIONS, *CREATOR_ACTIONS, "undo")
POSITIVE = ("close_up", "click", "long_click", "save", "add_to_cart", "checkout")
NEGATIVE = ("hide", "report")
SURFACES = (
    "home",
    "related",
    "search",
    "ads",
    "notifications",
    "shop",
    "look",
    "other",
    "visual",
    "shop_the_look",
    "complete_the_look",
)
ACTION_CODES: Mapping[str, int] = {name: 1 + place for place, name in enumerate(ITEM_ACTIONS)}
"""The one numbering of actions on items for models that read histories; 0 is padding and never an action."""
SURFACE_CODES: Mapping[str, int] = {name: 1 + place for place, name in enumerate(SURFACES)}
"""The one numbering of surfaces; an action without one counts as "other", 0 is padding."""
KINDS = ("pin", "idea", "product", "ad")
EVENT_TABLE = {"item": "items", "user": "users", "board": "boards", "impression": "impressions", "action": "actions"}
DEFAULT_TENANT = "default"
SESSION_KEY = "session:"
"""What the key of a visitor without a user id begins with; no user id may begin with it."""

ID = Id(512)
TITLE = Text(2_048)
DESCRIPTION = Text(102_400)
LINK = Text(8_192)
COUNT = Whole(1, 2**31 - 1, pl.Int32())
POSITION = Whole(0, 2**31 - 1, pl.Int32(), "a position (0 is the top)")
PROPENSITY = Number(0, 1, above_low=True)
FEATURES = Numbers(gaps=True)


@dataclass(frozen=True)
class Column:
    """One column. ``default`` stands where nothing is given; without one, ``required`` columns must be given."""

    name: str
    kind: Kind
    required: bool = False
    default: Any = None

    @property
    def dtype(self) -> pl.DataType:
        return self.kind.dtype


@dataclass(frozen=True)
class Rule:
    """What must hold between columns, for one row and for all; ``field`` is named where it does not."""

    field: str
    expected: str
    holds: Callable[[Mapping[str, Any]], bool]
    holds_in_all: pl.Expr


@dataclass(frozen=True)
class Table:
    """A table: ``grows`` says that its rows are things that happened, read by time; the others are read by their newest row an ``key``."""

    name: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    key: str | None = None

    @property
    def grows(self) -> bool:
        return self.key is None

    @cached_property
    def schema(self) -> pl.Schema:
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Columns that a file must have (``event_id`` is made from the content where it is missing)."""
        return tuple(column.name for column in self.columns if column.required and column.default is None)


def _envelope(timeless: bool = False) -> tuple[Column, ...]:
    return (
        Column("event_id", ID),
        Column("time_ms", Moment(timeless=timeless), required=True),
        Column("tenant", ID, required=True, default=DEFAULT_TENANT),
    )


def _ids(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, ID) for name in names)


_CONTEXT = (Column("query", TITLE), *_ids("context_item_id", "context_image_hash"))


def _given(name: str) -> pl.Expr:
    return pl.col(name).is_not_null()


def _goes_with(field: str, other: str, expected: str) -> Rule:
    """``field`` must be given where ``other`` is."""
    return Rule(field, expected, lambda row: row[other] is None or row[field] is not None, ~_given(other) | _given(field))


def _needed_for(field: str, actions: tuple[str, ...]) -> Rule:
    expected = f"{field}, which these actions need: {', '.join(actions)}"
    needed = pl.col("action").is_in(list(actions))
    return Rule(field, expected, lambda row: row["action"] not in actions or row[field] is not None, ~needed | _given(field))


_SOMEBODY = Rule(
    "user_id",
    "user_id or session_id",
    lambda row: row["user_id"] is not None or row["session_id"] is not None,
    _given("user_id") | _given("session_id"),
)
_NOT_A_SESSION = Rule(
    "user_id",
    f"a user id that does not begin with {SESSION_KEY!r}",
    lambda row: row["user_id"] is None or not row["user_id"].startswith(SESSION_KEY),
    ~_given("user_id") | ~pl.col("user_id").str.starts_with(SESSION_KEY),
)
_ONLY_UNDO = Rule(
    "undoes",
    "undoes only where the action is undo",
    lambda row: row["undoes"] is None or row["action"] == "undo",
    ~_given("undoes") | (pl.col("action") == "undo"),
)

_SLOT = (
    Part("item_id", ID, required=True),
    Part("position", POSITION, required=True),
    Part("score", Number()),
    Part("propensity", PROPENSITY),
    Part("source", ID),
)

ITEMS = Table(
    "items",
    (
        *_envelope(timeless=True),
        Column("item_id", ID, required=True),
        Column("kind", Choice(KINDS), default="pin"),
        Column("title", TITLE),
        Column("description", DESCRIPTION),
        Column("images", Texts(Text(8_192, 1), 100)),
        Column("link", LINK),
        *_ids("merchant_id", "category"),
        Column("price_minor", Whole()),
        Column("currency", Currency()),
        *_ids("creator_id", "brand_id"),
        Column("attributes", Pairs(ID, TITLE, 1_000)),
        Column("available", Flag(), default=True),
        Column("deleted", Flag(), default=False),
    ),
    (_goes_with("currency", "price_minor", "a currency, because there is a price"),),
    key="item_id",
)

USERS = Table(
    "users",
    (
        *_envelope(timeless=True),
        Column("user_id", ID, required=True),
        *_ids("country", "language"),
        Column("interests", Texts(ID, 1_000)),
        Column("deleted", Flag(), default=False),
    ),
    (_NOT_A_SESSION,),
    key="user_id",
)

BOARDS = Table(
    "boards",
    (
        *_envelope(timeless=True),
        Column("board_id", ID, required=True),
        *_ids("user_id"),
        Column("title", TITLE),
        Column("secret", Flag(), default=False),
        Column("deleted", Flag(), default=False),
    ),
    (_NOT_A_SESSION,),
    key="board_id",
)

IMPRESSIONS = Table(
    "impressions",
    (
        *_envelope(),
        Column("request_id", ID, required=True),
        *_ids("user_id", "session_id"),
        Column("surface", Choice(SURFACES), required=True),
        *_CONTEXT,
        *_ids("policy", "release"),
        Column("slots", Records(_SLOT, min_items=1, distinct="position"), required=True),
    ),
    (_SOMEBODY, _NOT_A_SESSION),
)

ACTION_ROWS = Table(
    "actions",
    (
        *_envelope(),
        *_ids("user_id", "session_id"),
        Column("action", Choice(ACTIONS), required=True),
        *_ids("item_id", "creator_id"),
        Column("surface", Choice(SURFACES)),
        *_CONTEXT,
        Column("duration_ms", Whole()),
        *_ids("board_id"),
        Column("value_minor", Whole()),
        Column("currency", Currency()),
        Column("quantity", COUNT),
        Column("offsite", Flag()),
        *_ids("request_id"),
        Column("position", POSITION),
        *_ids("undoes"),
    ),
    (
        _SOMEBODY,
        _NOT_A_SESSION,
        _needed_for("item_id", ITEM_ACTIONS),
        _needed_for("creator_id", CREATOR_ACTIONS),
        _needed_for("undoes", ("undo",)),
        _ONLY_UNDO,
        _goes_with("currency", "value_minor", "a currency, because there is a value"),
    ),
)

OBJECTS = Table(
    "objects",
    (
        *_envelope(timeless=True),
        Column("item_id", ID, required=True),
        *_ids("image_hash"),
        Column("box", Numbers(length=4)),
        *_ids("category", "source"),
    ),
)

GRADE = Whole(0, 3, pl.Int32(), "a grade (0 not similar, 1 marginally, 2 similar, 3 extremely similar)")
JUDGEMENTS = Table(
    "judgements",
    (
        *_envelope(timeless=True),
        Column("judge_id", ID, required=True),
        Column("query_image", ID, required=True),  # the hash of the picture that was asked with
        Column("query_box", Numbers(length=4)),  # its part, as shares; the whole picture where it is not given
        Column("item_id", ID, required=True),  # what was shown beside it
        Column("grade", GRADE, required=True),
        *_ids("source"),  # who proposed it: model@rank of each model, commas between; gold/grade where the answer was known before
        Column("gold", Flag(), default=False),  # whether the answer was known before: it tells of the judge, not of the item
    ),
)

SERVED = Table(
    "served",
    (
        *_envelope(),
        Column("request_id", ID, required=True),
        *_ids("user_id", "session_id"),
        Column("surface", Choice(SURFACES), required=True),
        *_CONTEXT,
        *_ids("policy", "release"),
        Column("notes", Texts(TITLE, 1_000)),
        Column("sequence", Records((Part("item_id", ID), Part("action", Choice(ACTIONS)), Part("time_ms", Moment())))),
        *_ids("user_vector_space"),  # given where the release has user vectors, whether or not it has one of this user
        Column("user_vector_ms", Moment()),  # the newest action that the user's vector knows
        Column("flags", Texts(ID, 1_000)),
        Column("feature_names", Texts(ID, 10_000)),
        Column("artifacts", Texts(ID, 1_000)),
        Column("slots", Records((*_SLOT, Part("features", FEATURES), Part("heads", FEATURES)), distinct="position"), required=True),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in (ITEMS, USERS, BOARDS, IMPRESSIONS, ACTION_ROWS, OBJECTS, SERVED, JUDGEMENTS)}
TIMELESS = ("objects", "judgements")
"""Tables of things that happened, whose rows may have no time: then they are known from the beginning."""
LATER_TABLES = ("judgements",)
"""Tables that came after lakes were hashed: where they have no rows they are in no hash."""


def empty(table: str) -> pl.DataFrame:
    """A frame of ``table`` without rows."""
    return pl.DataFrame(schema=TABLES[table].schema)


def scan(table: str, paths: Sequence[Path], path_column: str | None = None) -> pl.LazyFrame:
    """The rows of Parquet files of ``table``: a file that is older than a column of the table has nulls there.

    With ``path_column``, a column of that name says which file a row is from.
    """
    return pl.scan_parquet(
        list(paths),
        schema=TABLES[table].schema,
        missing_columns="insert",
        hive_partitioning=False,
        glob=False,
        include_file_paths=path_column,
    )


def user_key(row: Mapping[str, Any]) -> str:
    """Whose row it is: the user id, or "session:" and the session id where there is no user id."""
    user_id = row.get("user_id")
    return user_id if user_id is not None else f"{SESSION_KEY}{row['session_id']}"


def user_key_expr(table: str = "actions") -> pl.Expr:
    """:func:`user_key` of every row of a frame of ``table``."""
    user_id = pl.col("user_id")
    return pl.coalesce(user_id, pl.lit(SESSION_KEY) + pl.col("session_id")) if "session_id" in TABLES[table].names else user_id
