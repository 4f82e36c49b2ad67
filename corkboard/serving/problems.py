"""The one error body, and which error gets which status.

{"error": {"code", "message", "found", "expected", "hint", "request_id"}}
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from starlette.responses import Response

from corkboard.errors import ConfigError, CorkboardError, InputError, NotFound, SchemaError, StoreError

JSON = "application/json"
MAX_SHOWN = 200
"""Longest piece of what was found that an error body repeats, in characters."""

_OF_ERROR: tuple[tuple[type[CorkboardError], int, str], ...] = (
    (NotFound, 404, "not_found"),
    (SchemaError, 400, "schema"),
    (ConfigError, 400, "bad_setting"),
    (InputError, 400, "bad_input"),
    (StoreError, 503, "store_unreachable"),
    (CorkboardError, 503, "unavailable"),
)


@dataclass
class Problem(Exception):
    """An answer that is an error. ``code`` is stable and for machines, the rest is for people."""

    status: int
    code: str
    message: str
    found: object = None
    expected: object = None
    hint: str | None = None

    @classmethod
    def of(cls, error: CorkboardError) -> Problem:
        """The answer to an error of the library: 400 for input, 404 for what is not there, 503 for what is broken here."""
        status, code = next((status, code) for kind, status, code in _OF_ERROR if isinstance(error, kind))
        return cls(status, code, error.message, error.found, error.expected, error.hint)

    def response(self, request_id: str) -> Response:
        body = {
            "code": self.code,
            "message": self.message,
            "found": shown(self.found),
            "expected": shown(self.expected),
            "hint": self.hint,
            "request_id": request_id,
        }
        headers = {"retry-after": "2"} if self.status == 503 else {"www-authenticate": "Bearer"} if self.status == 401 else None
        return Response(orjson.dumps({"error": body}), self.status, headers, JSON)


def shown(value: object) -> object:
    """``value`` as JSON can hold it, cut to a length that a person reads."""
    if value is None or (isinstance(value, bool | int | float) and _fits(value)):
        return value
    if isinstance(value, list | tuple) and len(value) <= 50 and all(isinstance(one, str) for one in value):
        return [_cut(one) for one in value]
    return _cut(value if isinstance(value, str) else repr(value))


def _fits(value: float) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**64


def _cut(text: str) -> str:
    text = text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
    return text.encode("utf-8", "replace").decode()
