"""A store in memory, for notebooks, tests and simulations. It keeps nothing when the process ends."""

from __future__ import annotations

import threading
import uuid
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.state.base import BaseStates
from corkboard.state.config import StateConfig
from corkboard.state.served_log import decode_row, unpack_served
from corkboard.state.stores import MANY, Digests, Incoming, IncomingServed, Kind, News, Row, StateCache, Tombstone
from corkboard.state.user_state import UserState


class _Kept(NamedTuple):
    seq: int
    owner: bytes | None
    kind: Kind | None
    time_ms: int
    data: bytes


class MemoryStore:
    """See :class:`corkboard.state.stores.Store`. Rows are kept as bytes, so that a caller who changes one changes nothing here."""

    def __init__(self, config: StateConfig | None = None, base: BaseStates | None = None):
        self._store_id = uuid.uuid4().hex
        self._digests = Digests(self._store_id)
        self._cache = StateCache(config or StateConfig(), self._store_id, base)
        self._lock = threading.Lock()
        self._sequence = 0
        self._known: set[bytes] = set()
        self._events: list[_Kept] = []
        self._served: list[_Kept] = []
        self._requests: dict[bytes, _Kept] = {}
        self._of_user: dict[bytes, list[_Kept]] = {}
        self._tombstones: dict[bytes, Tombstone] = {}

    @property
    def store_id(self) -> str:
        return self._store_id

    def state(self, user_key: str, tenant: str = DEFAULT_TENANT) -> UserState:
        owner = self._digests.owner(tenant, user_key)

        def news(since: int) -> News:
            with self._lock:
                rows = self._of_user.get(owner, [])
                new = rows[_after(rows, since) :]
                tombstone = self._tombstones.get(owner)
            return News(tombstone, [(kept.seq, decode_row(kept.data)) for kept in new])

        return self._cache.state(user_key, tenant, news)

    def append(self, rows: Sequence[Row]) -> list[bool]:
        incoming = [self._digests.incoming(row, self._cache.base_last_ms) for row in rows]
        with self._lock:
            accepted = [self._append(row) for row in incoming]
        self._cache.discard_deleted(rows)
        return accepted

    def log_served(self, served: Sequence[Row]) -> None:
        incoming = [self._digests.incoming_served(row) for row in served]
        with self._lock:
            for row in incoming:
                self._log_served(row)

    def served(self, request_id: str) -> dict[str, Any] | None:
        with self._lock:
            kept = self._requests.get(self._digests.request(request_id))
        return unpack_served(kept.data) if kept is not None and kept.data else None

    def events_since(self, seq: int, limit: int = MANY) -> list[tuple[int, dict[str, Any]]]:
        with self._lock:
            kept = self._events[_after(self._events, seq) :][:limit]
        return [(row.seq, decode_row(row.data)) for row in kept]

    def served_since(self, seq: int, limit: int = MANY) -> list[tuple[int, dict[str, Any]]]:
        with self._lock:
            kept = self._served[_after(self._served, seq) :][:limit]
        return [(row.seq, unpack_served(row.data)) for row in kept]

    def items_since(self, seq: int) -> list[tuple[int, dict[str, Any]]]:
        with self._lock:
            kept = self._events[_after(self._events, seq) :]
        return [(row.seq, decode_row(row.data)) for row in kept if row.kind is Kind.ITEM]

    def purge(self, user_key: str, tenant: str = DEFAULT_TENANT) -> int:
        owner, until_ms = self._digests.owner(tenant, user_key), self._cache.base_last_ms(user_key, tenant)
        with self._lock:
            erased = self._erase(owner, until_ms)
        self._cache.discard(user_key, tenant)
        return erased

    def sequence(self) -> int:
        return self._sequence

    def set_base(self, base: BaseStates | None) -> None:
        self._cache.set_base(base)

    def close(self) -> None:
        """Nothing to do; the store can still be read."""

    def _append(self, row: Incoming) -> bool:
        if row.event in self._known:
            return False
        self._known.add(row.event)
        if row.owner is not None and row.erases_until_ms is not None:
            self._erase(row.owner, row.erases_until_ms)
            return True
        self._sequence += 1
        kept = _Kept(self._sequence, row.owner, row.kind, row.time_ms, row.data)
        self._events.append(kept)
        if row.owner is not None:
            self._of_user.setdefault(row.owner, []).append(kept)
        return True

    def _log_served(self, row: IncomingServed) -> None:
        if row.request in self._requests:
            return
        self._sequence += 1
        kept = _Kept(self._sequence, row.owner, None, row.time_ms, row.data)
        self._served.append(kept)
        self._requests[row.request] = kept
        self._of_user.setdefault(row.owner, []).append(kept._replace(data=row.shown))

    def _erase(self, owner: bytes, until_ms: int) -> int:
        gone = self._of_user.pop(owner, [])
        before = self._tombstones.get(owner)
        known = [until_ms, *(kept.time_ms for kept in gone), *([before.until_ms] if before else [])]
        self._events = [kept for kept in self._events if kept.owner != owner]
        self._served = [kept for kept in self._served if kept.owner != owner]
        for request, kept in self._requests.items():
            if kept.owner == owner:
                self._requests[request] = kept._replace(data=b"")
        self._sequence += 1
        self._tombstones[owner] = Tombstone(self._sequence, max(known))
        return len(gone)


def _after(rows: list[_Kept], seq: int) -> int:
    return bisect_right(rows, seq, key=lambda kept: kept.seq)
