"""The embedded store: one SQLite file in WAL mode, shared by all threads of a process and by several processes.

Rows lie under rising sequence numbers and are never moved or deleted: purging overwrites them in place with zeros. That
way no page of the file keeps a stale copy of what a purge must erase, and the digest of an erased event's id goes on
refusing that event. Everything that is indexed is a digest, for index pages do get split and copied.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corkboard.errors import StoreError
from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.state.base import BaseStates
from corkboard.state.config import StateConfig
from corkboard.state.group_commit import Counter, GroupCommit, Result, Work
from corkboard.state.served_log import decode_row, unpack_served
from corkboard.state.stores import MANY, Digests, Incoming, IncomingServed, Kind, News, Row, StateCache, Tombstone
from corkboard.state.user_state import UserState

APPLICATION_ID = 0x436F726B  # "Cork"
FORMAT = 1
_TOMBSTONE = 0  # what a tombstone has where an event has its kind

_TABLES = """
CREATE TABLE store (store_id TEXT NOT NULL);
CREATE TABLE events (seq INTEGER PRIMARY KEY, event BLOB NOT NULL UNIQUE, owner BLOB, kind INTEGER NOT NULL, row BLOB NOT NULL);
CREATE INDEX events_by_owner ON events (owner) WHERE owner IS NOT NULL;
CREATE INDEX events_items ON events (kind) WHERE kind = 2;
CREATE TABLE served (seq INTEGER PRIMARY KEY, request BLOB NOT NULL UNIQUE, owner BLOB, shown BLOB NOT NULL, row BLOB NOT NULL);
CREATE INDEX served_by_owner ON served (owner) WHERE owner IS NOT NULL;
CREATE TABLE tombstones (owner BLOB PRIMARY KEY, seq INTEGER NOT NULL, until_ms INTEGER NOT NULL);
CREATE INDEX tombstones_by_seq ON tombstones (seq);
"""
_SEQUENCE = """
SELECT coalesce(max(seq), 0)
FROM (SELECT max(seq) AS seq FROM events UNION ALL SELECT max(seq) FROM served UNION ALL SELECT max(seq) FROM tombstones)
"""
_NEWS = """
SELECT seq, kind, row FROM events WHERE owner = ?1 AND seq > ?2
UNION ALL SELECT seq, 1, shown FROM served WHERE owner = ?1 AND seq > ?2
UNION ALL SELECT seq, 0, until_ms FROM tombstones WHERE owner = ?1
"""
_APPEND = "INSERT INTO events (seq, event, owner, kind, row) VALUES (?, ?, ?, ?, ?) ON CONFLICT (event) DO NOTHING"
_LOG_SERVED = "INSERT INTO served (seq, request, owner, shown, row) VALUES (?, ?, ?, ?, ?) ON CONFLICT (request) DO NOTHING"
_BURY = """
INSERT INTO tombstones (owner, seq, until_ms) VALUES (?, ?, ?)
ON CONFLICT (owner) DO UPDATE SET seq = excluded.seq, until_ms = max(until_ms, excluded.until_ms)
"""


class SqliteStore:
    """See :class:`corkboard.state.stores.Store`. ``path`` is made where it is not there; close it before the process forks."""

    def __init__(self, path: Path | str, config: StateConfig | None = None, base: BaseStates | None = None):
        self.path = Path(path)
        self._config = config or StateConfig()
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        with _explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            writer = self._connect()
            try:
                self._store_id = _prepare(writer, self._config)
            except BaseException:
                writer.close()
                raise
        self._digests = Digests(self._store_id)
        self._cache = StateCache(self._config, self._store_id, base)
        self._writer = GroupCommit(writer, _sequence)
        self._must_scrub = False

    @property
    def store_id(self) -> str:
        return self._store_id

    # ---------------------------------------------------------------------------------------------------------- writing

    def append(self, rows: Sequence[Row]) -> list[bool]:
        incoming = [self._digests.incoming(row, self._cache.base_last_ms) for row in rows]
        accepted = self._write(lambda connection, counter: [_append(connection, counter, row) for row in incoming])
        if any(row.erases_until_ms is not None for row in incoming):
            self._cache.discard_deleted(rows)
            self._must_scrub = True
            self._scrub(wait=True)
        return accepted

    def log_served(self, served: Sequence[Row]) -> None:
        incoming = [self._digests.incoming_served(row) for row in served]
        self._write(lambda connection, counter: [_log_served(connection, counter, row) for row in incoming])

    def purge(self, user_key: str, tenant: str = DEFAULT_TENANT) -> int:
        owner, until_ms = self._digests.owner(tenant, user_key), self._cache.base_last_ms(user_key, tenant)
        erased = self._write(lambda connection, counter: _erase(connection, counter, owner, until_ms))
        self._cache.discard(user_key, tenant)
        self._must_scrub = True
        self._scrub(wait=True)
        return erased

    def _write(self, work: Work[Result]) -> Result:
        with _explained(self.path):
            result = self._writer.run(work)
        if self._must_scrub:
            self._scrub(wait=False)
        return result

    def _scrub(self, wait: bool) -> None:
        """Empty the write-ahead log, which still has what a purge erased. A reader of another process can hold that up; then
        the next write tries again."""
        with _explained(self.path), self._writer.alone() as connection:
            connection.execute(f"PRAGMA busy_timeout = {self._config.lock_wait_ms if wait else 0}")
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            connection.execute(f"PRAGMA busy_timeout = {self._config.lock_wait_ms}")
            self._must_scrub = bool(busy)

    # ---------------------------------------------------------------------------------------------------------- reading

    def state(self, user_key: str, tenant: str = DEFAULT_TENANT) -> UserState:
        owner = self._digests.owner(tenant, user_key)
        return self._cache.state(user_key, tenant, lambda since: self._news(owner, since))

    def served(self, request_id: str) -> dict[str, Any] | None:
        found = self._read("SELECT row FROM served WHERE request = ? AND owner IS NOT NULL", (self._digests.request(request_id),))
        return unpack_served(found[0][0]) if found else None

    def events_since(self, seq: int, limit: int = MANY) -> list[tuple[int, dict[str, Any]]]:
        found = self._read("SELECT seq, row FROM events WHERE seq > ? AND kind <> ? ORDER BY seq LIMIT ?", (seq, Kind.ERASED, limit))
        return [(number, decode_row(data)) for number, data in found]

    def served_since(self, seq: int, limit: int = MANY) -> list[tuple[int, dict[str, Any]]]:
        found = self._read("SELECT seq, row FROM served WHERE seq > ? AND owner IS NOT NULL ORDER BY seq LIMIT ?", (seq, limit))
        return [(number, unpack_served(data)) for number, data in found]

    def items_since(self, seq: int) -> list[tuple[int, dict[str, Any]]]:
        found = self._read("SELECT seq, row FROM events WHERE kind = 2 AND seq > ? ORDER BY seq", (seq,))
        return [(number, decode_row(data)) for number, data in found]

    def sequence(self) -> int:
        return self._read(_SEQUENCE)[0][0]

    def set_base(self, base: BaseStates | None) -> None:
        self._cache.set_base(base)

    def close(self) -> None:
        """Close every connection. Later calls raise :class:`StoreError`."""
        if self._closed:
            return
        self._closed = True
        with _explained(self.path):
            while self._idle:
                self._idle.pop().close()
            self._writer.close()

    def _news(self, owner: bytes, since: int) -> News:
        tombstone, rows = None, []
        for seq, kind, data in self._read(_NEWS, (owner, since)):
            if kind == _TOMBSTONE:
                tombstone = Tombstone(seq, data)
            else:
                rows.append((seq, decode_row(data)))
        return News(tombstone, rows)

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """One statement, which sees one moment of the file, on a connection that no other thread has meanwhile."""
        with _explained(self.path):
            if self._closed:
                raise StoreError("The store is closed", found=str(self.path))
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            found = connection.execute(query, values).fetchall()
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)  # one that failed is better left behind
            return found

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=self._config.lock_wait_ms / 1000, isolation_level=None, check_same_thread=False)


# ------------------------------------------------------------------------------------------------- work inside a transaction


def _sequence(connection: sqlite3.Connection) -> int:
    return connection.execute(_SEQUENCE).fetchone()[0]


def _append(connection: sqlite3.Connection, counter: Counter, row: Incoming) -> bool:
    seq = counter.value + 1
    if row.owner is None or row.erases_until_ms is None:
        new = connection.execute(_APPEND, (seq, row.event, row.owner, row.kind, row.data)).rowcount == 1
        counter.value += new
        return new
    if connection.execute(_APPEND, (seq, row.event, None, Kind.ERASED, b"")).rowcount == 0:
        return False
    counter.value = seq
    _erase(connection, counter, row.owner, row.erases_until_ms)
    return True


def _log_served(connection: sqlite3.Connection, counter: Counter, row: IncomingServed) -> None:
    values = (counter.value + 1, row.request, row.owner, row.shown, row.data)
    counter.value += connection.execute(_LOG_SERVED, values).rowcount


def _erase(connection: sqlite3.Connection, counter: Counter, owner: bytes, until_ms: int) -> int:
    rows = connection.execute(_NEWS, (owner, 0)).fetchall()
    known = [decode_row(data)["time_ms"] for _, kind, data in rows if kind != _TOMBSTONE]
    counter.value += 1
    erase = "UPDATE events SET owner = NULL, kind = ?, row = zeroblob(length(row)) WHERE owner = ?"
    erased = connection.execute(erase, (Kind.ERASED, owner)).rowcount
    erase = "UPDATE served SET owner = NULL, shown = zeroblob(length(shown)), row = zeroblob(length(row)) WHERE owner = ?"
    erased += connection.execute(erase, (owner,)).rowcount
    connection.execute(_BURY, (owner, counter.value, max([until_ms, *known])))
    return erased


# ----------------------------------------------------------------------------------------------------- opening and explaining


def _prepare(connection: sqlite3.Connection, config: StateConfig) -> str:
    """Make the tables of a new file, refuse a foreign one, set up the connection that writes. Returns the store's id."""
    _use_wal(connection, config.lock_wait_ms)
    connection.execute(f"PRAGMA synchronous = {'FULL' if config.durability == 'power' else 'NORMAL'}")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("BEGIN IMMEDIATE")
    marks = connection.execute("PRAGMA application_id").fetchone()[0], connection.execute("PRAGMA user_version").fetchone()[0]
    if marks == (0, 0) and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO store VALUES (?)", (uuid.uuid4().hex,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    elif marks != (APPLICATION_ID, FORMAT):
        connection.execute("ROLLBACK")
        raise StoreError(
            "The file is not a store of this version", found=marks, expected=(APPLICATION_ID, FORMAT), hint="Name another file."
        )
    store_id = connection.execute("SELECT store_id FROM store").fetchone()[0]
    connection.execute("COMMIT")
    return store_id


def _use_wal(connection: sqlite3.Connection, wait_ms: int) -> None:
    """Switch to WAL. Two processes that open a new file at once collide here, and SQLite does not wait for this one."""
    deadline = time.monotonic() + wait_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


_HINTS = {
    sqlite3.SQLITE_BUSY: ("is locked by another process", "Try again; if it stays locked, find who keeps it open."),
    sqlite3.SQLITE_LOCKED: ("is locked by another process", "Try again; if it stays locked, find who keeps it open."),
    sqlite3.SQLITE_NOTADB: ("is not a store, or it is damaged", "Put it aside and start with a new one, or restore a copy."),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "Put it aside and start with a new one, or restore a copy."),
    sqlite3.SQLITE_FULL: ("has no room to grow", "Make room on the disk; what was acknowledged is safe."),
    sqlite3.SQLITE_READONLY: ("cannot be written", "Give this user the right to write the file and its folder."),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "Give this user the right to write the file and its folder."),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "Look at the disk; what was acknowledged is safe."),
}


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into a :class:`StoreError` that tells what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        what, hint = _HINTS.get((code or 0) & 0xFF, ("refused", None))
        raise StoreError(f"The store {path} {what}: {error}", hint=hint) from error
    except OSError as error:
        raise StoreError(f"The store {path} cannot be opened: {error}", hint="Name a file in a folder that this user can write.") from error
