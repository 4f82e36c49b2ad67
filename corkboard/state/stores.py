"""What a store of user states is, and what every one of them has in common.

A store keeps rows under one rising sequence number and builds states from them: ``state = base + own rows after the
base's watermark``. Memory, SQLite and whatever joins them differ only in where the rows lie.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from corkboard.lake.schema import DEFAULT_TENANT, user_key
from corkboard.state.base import BaseStates
from corkboard.state.config import StateConfig
from corkboard.state.served_log import encode_row, pack_served
from corkboard.state.user_state import UserState

Row = Mapping[str, Any]
"""One row of a lake table by column, with "event" naming its kind; ``validate_event`` makes them."""

MANY = 10_000


class UserStore(Protocol):
    """Anything that knows the state of a user."""

    def state(self, user_key: str, tenant: str = DEFAULT_TENANT) -> UserState:
        """The state of a user, an empty one where nothing is known. It is shared and frozen: ``copy()`` it to change it."""
        ...


class Store(UserStore, Protocol):
    """A store that is written to while it is read. Every method may be called from any thread.

    All methods raise :class:`~corkboard.errors.StoreError` where the store cannot be reached or refuses a write; then
    nothing of that call was written.
    """

    @property
    def store_id(self) -> str:
        """Made with the store; a watermark counts for this store alone."""
        ...

    def append(self, rows: Sequence[Row]) -> list[bool]:
        """Take rows of all five events; durable, and visible in ``state``, when this returns. False marks a known ``event_id``.

        A user row with ``deleted`` purges that user and is not kept itself.
        """
        ...

    def log_served(self, served: Sequence[Row]) -> None:
        """Write down served rows. What they hold counts as shown until a client's impression of the same request narrows it."""
        ...

    def served(self, request_id: str) -> dict[str, Any] | None:
        """The served row of a request; ``features`` and ``heads`` as float32 knows them, a gap as NaN."""
        ...

    def events_since(self, seq: int, limit: int = MANY) -> list[tuple[int, dict[str, Any]]]:
        """The first ``limit`` events after ``seq`` with their sequence numbers, ascending."""
        ...

    def served_since(self, seq: int, limit: int = MANY) -> list[tuple[int, dict[str, Any]]]:
        """The first ``limit`` served rows after ``seq``; they share the sequence of the events."""
        ...

    def items_since(self, seq: int) -> list[tuple[int, dict[str, Any]]]:
        """Every item row after ``seq``: what the overlay of a release older than that must hold."""
        ...

    def purge(self, user_key: str, tenant: str = DEFAULT_TENANT) -> int:
        """Erase every row of a user. No base that was made before can bring the user back. Returns the number of rows erased."""
        ...

    def sequence(self) -> int:
        """The highest sequence number given out, 0 at first."""
        ...

    def set_base(self, base: BaseStates | None) -> None:
        """From the next ``state`` on, start from these states; switching needs no pause."""
        ...

    def close(self) -> None: ...


# ------------------------------------------------------------------------------------------------------- rows on their way in


class Kind(IntEnum):
    """What a kept row is. All take one byte on disk, so that erasing a row in place never moves another."""

    ITEM = 2
    USER = 3
    BOARD = 4
    IMPRESSION = 5
    ACTION = 6
    ERASED = 7


_KINDS = {kind.name.lower(): kind for kind in Kind if kind is not Kind.ERASED}


class Incoming(NamedTuple):
    """A row on its way into a store. ``owner`` and ``event`` are digests, ``owner`` None where the row belongs to no user.

    ``erases_until_ms`` is given where the row deletes its user: the newest moment known of the user without the store's rows.
    """

    event: bytes
    owner: bytes | None
    kind: Kind
    time_ms: int
    data: bytes
    erases_until_ms: int | None


class IncomingServed(NamedTuple):
    """A served row on its way in; ``shown`` is the little of it that a state needs."""

    request: bytes
    owner: bytes
    time_ms: int
    shown: bytes
    data: bytes


class Digests:
    """Digests of ids, so that what must outlive a purge (a tombstone, the ids of known events) tells no id."""

    def __init__(self, store_id: str):
        self._key = store_id.encode()

    def owner(self, tenant: str, key: str) -> bytes:
        return self._digest("owner", tenant, key)

    def request(self, request_id: str) -> bytes:
        return self._digest("request", request_id)

    def incoming(self, row: Row, base_last_ms: Callable[[str, str], int]) -> Incoming:
        """``base_last_ms(user_key, tenant)`` is asked only where ``row`` deletes its user."""
        kind, tenant, time_ms = _KINDS[row["event"]], row["tenant"], row["time_ms"]
        owned = kind is not Kind.ITEM and (kind is not Kind.BOARD or row.get("user_id") is not None)
        owner = self._digest("owner", tenant, user_key(row)) if owned else None
        deletes = kind is Kind.USER and bool(row.get("deleted"))
        until_ms = max(time_ms, base_last_ms(user_key(row), tenant)) if deletes else None
        event = self._digest(kind.name, tenant, row["event_id"])  # an id counts within its table and tenant, as in the lake
        return Incoming(event, owner, kind, time_ms, encode_row(row), until_ms)

    def incoming_served(self, row: Row) -> IncomingServed:
        slots = [{"item_id": slot["item_id"]} for slot in row["slots"]]
        shown = {"event": "served", "time_ms": row["time_ms"], "request_id": row["request_id"], "slots": slots}
        owner = self._digest("owner", row["tenant"], user_key(row))
        return IncomingServed(self._digest("request", row["request_id"]), owner, row["time_ms"], encode_row(shown), pack_served(row))

    def _digest(self, *parts: str) -> bytes:
        return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16, key=self._key).digest()


# ------------------------------------------------------------------------------------------------------------ states from rows


class Tombstone(NamedTuple):
    """A user was purged at sequence number ``seq``, when the newest thing known of them was of ``until_ms`` (-1: nothing)."""

    seq: int
    until_ms: int


class News(NamedTuple):
    """What a store has on one user: the tombstone if there is one, and every row after the sequence number asked for."""

    tombstone: Tombstone | None
    rows: Sequence[tuple[int, Row]]


class _Cached(NamedTuple):
    state: UserState
    seq: int
    base: BaseStates


class StateCache:
    """States that are ready, least recently used out first, brought up to date by what came since.

    ``news`` reads one consistent moment of the store. A tombstone newer than a cached state drops it; one newer than the
    base, or of a base made for another store, hides the base.
    """

    def __init__(self, config: StateConfig, store_id: str, base: BaseStates | None = None):
        self._config, self._store_id = config, store_id
        self._base = base or BaseStates.none()
        self._states: OrderedDict[tuple[str, str], _Cached] = OrderedDict()
        self._lock = threading.Lock()

    def set_base(self, base: BaseStates | None) -> None:
        self._base = base or BaseStates.none()

    def base_last_ms(self, key: str, tenant: str) -> int:
        """The newest moment that the base knows of a user, -1 where there is none."""
        state = self._base.state(key, tenant, self._config.limits)
        return -1 if state is None or state.last_ms is None else state.last_ms

    def state(self, key: str, tenant: str, news: Callable[[int], News]) -> UserState:
        """The state of a user now; ``news(seq)`` tells what came after ``seq``."""
        base = self._base
        with self._lock:
            cached = self._states.get((tenant, key))
            if cached is not None:
                self._states.move_to_end((tenant, key))
        if cached is not None and cached.base is not base:
            cached = None
        since = base.watermark_for(self._store_id) if cached is None else cached.seq
        tombstone, rows = news(since)
        if cached is None or (tombstone is not None and tombstone.seq > cached.seq):
            state = self._start(base, key, tenant, tombstone)
        elif rows:
            state = cached.state.copy()
        else:
            return cached.state
        newest = max(since, tombstone.seq if tombstone else 0)
        for seq, row in rows:
            state.apply(row)
            newest = max(newest, seq)
        with self._lock:  # what a slower thread puts back here is older, but it knows how old, and catches up
            self._states[tenant, key] = _Cached(state.freeze(), newest, base)
            self._states.move_to_end((tenant, key))
            while len(self._states) > self._config.cached_states:
                self._states.popitem(last=False)
        return state

    def discard(self, key: str, tenant: str) -> None:
        """Drop a purged user's state from memory at once; the tombstone would do so at the next ``state``."""
        with self._lock:
            self._states.pop((tenant, key), None)

    def discard_deleted(self, rows: Sequence[Row]) -> None:
        """:meth:`discard` for every user whom one of ``rows`` deletes."""
        for row in rows:
            if row["event"] == "user" and row.get("deleted"):
                self.discard(row["user_id"], row["tenant"])

    def _start(self, base: BaseStates, key: str, tenant: str, tombstone: Tombstone | None) -> UserState:
        knows = tombstone is None or tombstone.seq <= base.watermark_for(self._store_id)
        state = (base.state(key, tenant, self._config.limits) if knows else None) or UserState(key, self._config.limits)
        if tombstone is not None:
            state.forget(tombstone.until_ms)
        return state
