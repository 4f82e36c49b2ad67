"""Going on after the log, one person and one page at a time, so that a live system can be closed into a loop with the world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from corkboard.errors import InputError
from corkboard.seeds import generator
from corkboard.world import tables
from corkboard.world.log import SURFACES
from corkboard.world.minds import SESSION_GAP_MS
from corkboard.world.policy import Pages
from corkboard.world.queries import Queries
from corkboard.world.simulate import Simulation


class Shown(NamedTuple):
    """A page that somebody is shown."""

    items: np.ndarray
    """int (n,): item rows, the top one first."""
    surface: str
    beside: int
    """The item row a related page belongs to, -1 for none."""
    given: Mapping[str, Any]
    """What the caller said about the page."""


class Live:
    """The simulation after its last day. Randomness of a response derives from the person and how often they responded before."""

    def __init__(self, simulation: Simulation, names: tables.Names):
        self.simulation, self.names = simulation, names
        self.responses = np.zeros(simulation.config.users, np.int64)
        self.sessions: dict[int, str] = {}
        end_ms = simulation.config.end_ms
        actions = simulation.log.actions.whole()
        self.waiting = np.flatnonzero(actions["time_ms"] >= end_ms)
        """Rows of the log's actions that have not been handed out yet."""
        pages = simulation.log.pages.whole()
        self.last_ms = np.zeros(simulation.config.users, np.int64)
        np.maximum.at(self.last_ms, pages["user"], pages["time_ms"])
        self.given: dict[int, Mapping[str, Any]] = {}
        """Page number -> what the caller said about the page, so that rows that come late carry it too."""

    def respond(self, user: int, shown: Shown, time_ms: int, session_id: str | None) -> list[dict[str, Any]]:
        """See :meth:`corkboard.world.world.World.respond`; ids are rows here."""
        s, who = self.simulation, np.array([user])
        items, given = shown.items, shown.given
        self._not_before(user, time_ms)
        if not len(items):
            return []
        rng = generator(s.config.seed, "world", "respond", user, int(self.responses[user]))
        self.responses[user] += 1
        self._enter(who, time_ms, session_id, rng)
        mind = s.minds.at(who, np.array([time_ms]))
        shape = (1, len(items))
        pages = Pages(items[None, :], np.zeros(shape, np.float32), np.zeros(shape, np.int64), np.zeros(1, bool))
        page = s.log.pages.rows
        if given:
            self.given[page] = given
        if given.get("query") is not None:
            s.log.queries[page] = given["query"]
        step = s.show(mind, pages, np.array([SURFACES.index(shown.surface)]), np.array([shown.beside]), rng)
        first = s.log.actions.append(step.actions)
        s.after(who, step, rng)
        mine = first + np.arange(len(step.actions["user"]))
        soon = step.actions["time_ms"] <= step.end_ms[0] + SESSION_GAP_MS
        self.waiting = np.concatenate([self.waiting, mine[~soon]])
        return self._rows(mine[soon])

    def arrive(self, user: int, time_ms: int, session_id: str | None) -> None:
        """Begin a session, where none runs, without a page yet."""
        self._not_before(user, time_ms)
        rng = generator(self.simulation.config.seed, "world", "arrive", user, int(self.responses[user]))
        self._enter(np.array([user]), time_ms, session_id, rng)

    def _not_before(self, user: int, time_ms: int) -> None:
        if time_ms < self.last_ms[user]:
            raise InputError("People cannot respond in their own past", found=time_ms, expected=f"at least {int(self.last_ms[user])}")

    def _enter(self, who: np.ndarray, time_ms: int, session_id: str | None, rng: np.random.Generator) -> None:
        """Begin a session where this is the first page of one."""
        clock, user = self.simulation.clock, int(who[0])
        same = session_id is None or self.sessions.get(int(clock.session[user])) == session_id
        clock.next_ms[user] = time_ms
        if self.last_ms[user] == 0 or time_ms - self.last_ms[user] >= SESSION_GAP_MS or not same:
            self.simulation.enter(who, rng)
            if session_id is not None:
                self.sessions[int(clock.session[user])] = session_id
        self.last_ms[user] = time_ms

    def late(self, until_ms: int) -> list[dict[str, Any]]:
        """Rows that were still to come and happen by ``until_ms``."""
        if not len(self.waiting):
            return []
        due = self.simulation.log.actions.whole()["time_ms"][self.waiting] <= until_ms
        rows, self.waiting = self.waiting[due], self.waiting[~due]
        return self._rows(rows)

    def due(self, until_ms: int) -> list[tuple[int, int]]:
        """(user, time_ms) of who comes or turns to the next page before ``until_ms``, in order of time."""
        next_ms = self.simulation.clock.next_ms
        users = np.flatnonzero(next_ms < until_ms)
        order = users[np.lexsort((users, next_ms[users]))]
        return [(int(user), int(next_ms[user])) for user in order]

    def ask(self, user: int, time_ms: int) -> str:
        """What the person would type now."""
        s, who = self.simulation, np.array([user])
        rng = generator(s.config.seed, "world", "ask", user, time_ms)
        queries = Queries.ask(s.behaviour.people, s.minds.at(who, np.array([time_ms])), np.ones(1, bool), rng)
        return queries.text(0, s.behaviour.catalogue)

    def _rows(self, numbers: np.ndarray) -> list[dict[str, Any]]:
        s = self.simulation
        if not len(numbers):
            return []
        pages = s.log.actions.whole()["page"][numbers].tolist()
        frame = tables.actions_table(self.names, s.behaviour.catalogue, s.log, numbers)
        page_of = dict(zip((self.names.of("e", s.log.actions.rows)[k] for k in numbers.tolist()), pages, strict=True))
        rows = []
        for row in frame.iter_rows(named=True):
            page = page_of[row["event_id"]]
            given = self.given.get(page)
            session = self.sessions.get(int(s.log.pages.whole()["session"][page]))
            request = row["request_id"] if given is None else given.get("request_id")
            rows.append({"event": "action", **row, "request_id": request, "session_id": session or row["session_id"]})
        return rows
