"""Many threads write, one commits: calls that arrive while a commit is under way share the next one.

There is no thread of its own. Whoever gets the lock commits everything that waits, and the others find their work done. A
lone writer pays nothing for it; under load, or with an fsync for each commit, the price of a commit is shared.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from corkboard.errors import StoreError

Result = TypeVar("Result")


@dataclass
class Counter:
    """The highest sequence number given out so far."""

    value: int


Work = Callable[[sqlite3.Connection, Counter], Result]
"""Writes inside a transaction and takes sequence numbers by raising the counter."""


@dataclass
class _Job(Generic[Result]):
    work: Work[Result]
    done: bool = False
    result: Result | None = None
    error: BaseException | None = None


class GroupCommit:
    """The one connection of this process that writes. ``sequence`` reads the highest number given out."""

    def __init__(self, connection: sqlite3.Connection, sequence: Callable[[sqlite3.Connection], int]):
        self._connection, self._sequence = connection, sequence
        self._waiting: list[_Job[Any]] = []
        self._leader = threading.Lock()
        self._queue = threading.Lock()
        self._closed = False

    def run(self, work: Work[Result]) -> Result:
        """Do ``work`` and return its result once it is committed. Whatever goes wrong undoes every work that shared the commit."""
        job = _Job(work)
        if self._closed:
            raise StoreError("The store is closed")
        with self._queue:
            self._waiting.append(job)
        with self._leader:
            if not job.done:
                with self._queue:
                    jobs, self._waiting = self._waiting, []
                self._commit(jobs)
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[return-value]

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """The connection, outside of any transaction."""
        with self._leader:
            yield self._connection

    def close(self) -> None:
        self._closed = True
        with self._leader:
            self._connection.close()

    def _commit(self, jobs: list[_Job[Any]]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            counter = Counter(self._sequence(connection))
            for job in jobs:
                job.result = job.work(connection, counter)
            connection.execute("COMMIT")
        except BaseException as error:
            for job in jobs:
                job.error = error if isinstance(error, Exception) else StoreError("The write was interrupted")
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not isinstance(error, Exception):
                raise
        finally:
            for job in jobs:
                job.done = True
