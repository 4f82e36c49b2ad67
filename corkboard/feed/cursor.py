"""Cursors: where a chain of pages stands, as an opaque token that needs no key.

A token names the last page of its chain; what the chain has shown is read from that page's served row. Where that row could
not be written, the token carries the newest ids itself, up to a bound. A forged token gains nothing: all it does is leave
items out of one's own page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

VERSION = 1
MAX_LENGTH = 65_536


@dataclass(frozen=True)
class Cursor:
    """Behind which page the next one comes. ``page`` counts from 1; ``shown`` is empty where the served log knows."""

    request_id: str
    page: int
    shown: tuple[str, ...] = ()

    def token(self) -> str:
        """URL-safe text."""
        data = msgspec.json.encode([VERSION, self.request_id, self.page, self.shown])
        return base64.urlsafe_b64encode(data).decode().rstrip("=")


_decoder = msgspec.json.Decoder(tuple[int, str, int, tuple[str, ...]])


def read_cursor(token: str) -> Cursor | None:
    """The cursor behind ``token``; None where it is not one of ours."""
    if len(token) > MAX_LENGTH:
        return None
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, request_id, page, shown = _decoder.decode(data)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return None
    return Cursor(request_id, page, shown) if version == VERSION and page >= 1 else None


def chain_of(earlier: Sequence[str], page: Sequence[str], limit: int) -> list[str]:
    """What a chain has shown after one more page, each item once, the oldest dropped beyond ``limit``."""
    return list(dict.fromkeys([*earlier, *page]))[-limit:]
