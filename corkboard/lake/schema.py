"""The contract with the outside: tables, constants, and the verdict on a row, in bulk and one by one.

This is the one module of the room that others import for its names; the parts lie in ``fields`` (kinds of value),
``tables`` (columns and rules) and ``validate`` (the two ways to a verdict).
"""

from __future__ import annotations

from corkboard.lake.tables import (
    ACTION_CODES,
    ACTIONS,
    CREATOR_ACTIONS,
    DEFAULT_TENANT,
    EVENT_TABLE,
    ITEM_ACTIONS,
    KINDS,
    NEGATIVE,
    POSITIVE,
    SESSION_KEY,
    SURFACE_CODES,
    SURFACES,
    TABLES,
    Column,
    Rule,
    Table,
    empty,
    user_key,
    user_key_expr,
)
from corkboard.lake.validate import Refusal, Row, Validated, rows_to_frames, validate_event, validate_frame

__all__ = [
    "ACTIONS",
    "ACTION_CODES",
    "CREATOR_ACTIONS",
    "DEFAULT_TENANT",
    "EVENT_TABLE",
    "ITEM_ACTIONS",
    "KINDS",
    "NEGATIVE",
    "POSITIVE",
    "SESSION_KEY",
    "SURFACES",
    "SURFACE_CODES",
    "TABLES",
    "Column",
    "Refusal",
    "Row",
    "Rule",
    "Table",
    "Validated",
    "empty",
    "rows_to_frames",
    "user_key",
    "user_key_expr",
    "validate_event",
    "validate_frame",
]
