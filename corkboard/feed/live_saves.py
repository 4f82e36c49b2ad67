"""Saves while a release serves: a pin that was put on a public board a moment ago is walked to by the next page.

Public is a board that the release's graph has, for secret ones were left out when it was made, and one that a live event declares not
secret; of several events of a board the newest counts. A declaration that is older than the graph does not count, for the graph may have
left the board out for something newer. A save to any other board stays where it is: not knowing a board is no leave to
show what is on it. Nothing is taken away again before the next release: a save that is taken back later, or a board that becomes secret
or is deleted, keeps the edges it has until then and gets no new ones.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from corkboard.feed.parts import FeedParts
from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.state.stores import Store

Row = Mapping[str, Any]


def news_since(store: Store, seq: int) -> tuple[list[Row], list[Row]]:
    """Items, and boards with saves and what takes them back, of all events after ``seq``, each in the order they came."""
    items: list[Row] = []
    others: list[Row] = []
    while events := store.events_since(seq):
        for _, row in events:
            if row["event"] == "item":
                items.append(row)
            elif row["event"] == "board" or (row["event"] == "action" and row["action"] in ("save", "undo")):
                others.append(row)
        seq = events[-1][0]
    return items, others


class LiveSaves:
    """Puts saves into the walked graph of one release. Threads may share it."""

    def __init__(self, parts: FeedParts):
        self._parts = parts
        self._boards: dict[str, tuple[int, bool]] = {}
        self._undone: set[str] = set()
        self._lock = threading.Lock()

    def add(self, rows: Iterable[Row]) -> int:
        """Take board and action events in any order, any number of times; their items must be in the catalogue. Returns how many saves
        may be walked: none where the walked graph is not one of boards."""
        walks, boards = self._parts.walks, self._parts.public_boards
        if walks is None or boards is None:
            return 0
        saves, added = [], 0
        with self._lock:
            for row in rows:
                if row.get("tenant", DEFAULT_TENANT) != self._parts.tenant:
                    continue
                if row["event"] == "board":
                    self._declare(row)
                elif row["action"] == "undo":
                    self._undone.add(row["undoes"])
                elif row["action"] == "save" and row.get("board_id") is not None:
                    saves.append(row)
            for save in saves:
                item = self._parts.catalogue.row(save["item_id"])
                if item >= 0 and save["event_id"] not in self._undone and self._public(save["board_id"], boards):
                    walks.add(item, save["board_id"])
                    added += 1
        return added

    def _declare(self, row: Row) -> None:
        time_ms, public = row["time_ms"], not (row.get("secret") or row.get("deleted"))
        if public and time_ms < self._parts.graph_ms:
            return
        last_ms, _ = self._boards.get(row["board_id"], (-1, False))
        if time_ms > last_ms or (time_ms == last_ms and not public):
            self._boards[row["board_id"]] = time_ms, public

    def _public(self, board_id: str, known: frozenset[str]) -> bool:
        declared = self._boards.get(board_id)
        return board_id in known if declared is None else declared[1]
