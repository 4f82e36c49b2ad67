"""Stepping the world: who comes when, what the logging policy shows them, what they do, when they come again.

Days are simulated one after the other. Within a day nobody affects anybody else (the policy learns of others at night), so all people who
are there take their next page side by side, page after page, until the day is over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corkboard.seeds import generator
from corkboard.world.behaviour import ACTIONS, Behaviour
from corkboard.world.config import DAY_MS, WorldConfig
from corkboard.world.log import ALL_ACTIONS, BLOCK, FOLLOW, SURFACES, UNDO, Log
from corkboard.world.minds import HOUR_MS, SESSION_GAP_MS, Intentions, Mind, Minds
from corkboard.world.policy import FOLLOWS, Pages, Policy
from corkboard.world.queries import Queries

HOME, RELATED, SEARCH = range(3)
CLOSE, CLICK, LONG, SAVE, CART, CHECKOUT, HIDE, REPORT = range(8)
GLANCE_MS = 1500
PAGE_TURN_MS = 3000


@dataclass
class Clock:
    """Where everybody is in their sessions; arrays have one row a person."""

    next_ms: np.ndarray
    """When the person comes next, or shows up on the next page."""
    inside: np.ndarray
    """bool: in a session."""
    pages: np.ndarray
    """Pages seen in the running session."""
    session: np.ndarray
    """Number of the running or last session, -1 before the first."""
    opened: np.ndarray
    """Item row opened last in the running session, -1 for none."""
    value: np.ndarray
    """What the running session was worth so far."""
    usual: np.ndarray
    """What sessions are usually worth to the person."""
    sessions: int = 0


@dataclass
class Step:
    """What one page each brought: actions as log columns, now and later, and how the page went."""

    actions: dict[str, np.ndarray]
    done: np.ndarray
    """bool (actions, n, k)."""
    end_ms: np.ndarray


@dataclass
class Simulation:
    """The world's moving parts."""

    behaviour: Behaviour
    minds: Minds
    policy: Policy
    intentions: Intentions
    clock: Clock
    log: Log
    made: tuple[int, int] = (0, 0)
    """Pages and actions of the log that :meth:`run` made; what comes after them was responded."""

    @property
    def config(self) -> WorldConfig:
        return self.behaviour.config

    @classmethod
    def start(cls, behaviour: Behaviour) -> Simulation:
        config, people = behaviour.config, behaviour.people
        n = config.users
        intentions = Intentions(config, people, behaviour.boards, behaviour.projects)
        first = people.first_visits(config, generator(config.seed, "world", "first visits"))
        clock = Clock(first, np.zeros(n, bool), np.zeros(n, np.int64), np.full(n, -1), np.full(n, -1), np.zeros(n), np.full(n, 1.0))
        return cls(
            behaviour, Minds.blank(config), Policy.blank(config, behaviour.catalogue), intentions, clock, Log.blank(config.keep_truth)
        )

    def run(self) -> None:
        """Simulate every day of the config."""
        for day in range(self.config.days):
            midnight = self.config.start_ms + day * DAY_MS
            self.policy.nightly(midnight)
            for chunk, start in enumerate(range(0, self.config.users, self.config.chunk)):
                users = np.arange(start, min(start + self.config.chunk, self.config.users))
                self._day(users, midnight + DAY_MS, generator(self.config.seed, "world", "day", day, chunk))
        self.made = (self.log.pages.rows, self.log.actions.rows)

    def _day(self, users: np.ndarray, end_ms: int, rng: np.random.Generator) -> None:
        clock = self.clock
        while True:
            users = users[clock.inside[users] | (clock.next_ms[users] < end_ms)]
            if not len(users):
                return
            self.enter(users[~clock.inside[users]], rng)
            self._page(users, rng)

    def enter(self, users: np.ndarray, rng: np.random.Generator) -> None:
        """``users`` begin a session at their ``next_ms``."""
        clock = self.clock
        clock.inside[users] = True
        clock.pages[users] = 0
        clock.opened[users] = -1
        clock.value[users] = 0
        clock.session[users] = clock.sessions + np.arange(len(users))
        clock.sessions += len(users)
        self.policy.session[users] = 0
        self.intentions.begin(self.minds, users, clock.next_ms[users], rng)

    def _page(self, users: np.ndarray, rng: np.random.Generator) -> None:
        """Each of ``users`` takes one page, and decides whether to stay."""
        time_ms = self.clock.next_ms[users]
        mind = self.minds.at(users, time_ms)
        surface = self._surface(mind, rng)
        beside = np.where(surface == RELATED, self.clock.opened[users], -1)
        queries = Queries.ask(self.behaviour.people, mind, surface == SEARCH, rng)
        pages = self.policy.page(mind, queries.understood(beside), rng)
        page = self.log.pages.rows
        for row in np.flatnonzero(surface == SEARCH).tolist():
            self.log.queries[page + row] = queries.text(row, self.behaviour.catalogue)
        step = self.show(mind, pages, surface, beside, rng)
        self.log.actions.append(step.actions)
        self.after(users, step, rng)

    def _surface(self, mind: Mind, rng: np.random.Generator) -> np.ndarray:
        sessions, draw = self.config.sessions, rng.random((2, len(mind.users)))
        related = (self.clock.opened[mind.users] >= 0) & (draw[0] < sessions.related_share)
        search = draw[1] < sessions.search_share * mind.intent
        return np.where(related, RELATED, np.where(search, SEARCH, HOME))

    def show(self, mind: Mind, pages: Pages, surface: np.ndarray, beside: np.ndarray, rng: np.random.Generator) -> Step:
        """The people of ``mind`` are shown ``pages``: they act, heads and policy change, and the pages are logged (the actions are not)."""
        b, users = self.behaviour, mind.users
        there = pages.items >= 0
        items = np.maximum(pages.items, 0)
        latents = b.latents(mind, items, beside)
        looked = np.where(there, b.looked(items.shape[1])[None, :], np.float32(0))
        chances = b.chances(users, items, latents)
        done = chances.draw(looked, rng)
        columns = {
            "user": users,
            "time_ms": mind.time_ms,
            "session": self.clock.session[users],
            "surface": surface,
            "beside": beside,
            "random": pages.random,
            "items": pages.items.astype(np.int32),
            "scores": pages.scores.astype(np.float32),
            "sources": pages.sources.astype(np.int8),
        }
        if self.config.keep_truth:
            columns["truth"] = np.moveaxis(chances.of_actions(), 0, 2)
            columns["positive"] = chances.of_positive()
        first = self.log.pages.append(columns)
        step = self._actions(mind, items, surface, done, looked, first, rng)
        self.minds.look(mind, b.catalogue, pages.items, looked)
        self.policy.learn(users, items, done)
        opened: np.ndarray = np.logical_or.reduce(done[[CLOSE, CLICK, LONG]])
        last = opened.shape[1] - 1 - opened[:, ::-1].argmax(1)
        self.clock.opened[users] = np.where(opened.any(1), items[np.arange(len(users)), last], self.clock.opened[users])
        return step

    def after(self, users: np.ndarray, step: Step, rng: np.random.Generator) -> None:
        """Stay for another page, or go and come back some day."""
        clock, sessions = self.clock, self.config.sessions
        worth = np.array([getattr(self.config.values, name) for name in ACTIONS])
        clock.value[users] += np.einsum("a,ank->n", worth, step.done)
        clock.pages[users] += 1
        positive: np.ndarray = np.logical_or.reduce(step.done[:HIDE]).sum(1)
        stay = 1 / (1 + np.exp(-(sessions.stay + sessions.stay_satisfied * np.minimum(positive, 3))))
        stays = (rng.random(len(users)) < stay) & (clock.pages[users] < sessions.pages_at_most)
        clock.next_ms[users[stays]] = step.end_ms[stays] + PAGE_TURN_MS
        leaving = users[~stays]
        clock.inside[leaving] = False
        clock.next_ms[leaving] = self._return(leaving, step.end_ms[~stays], rng)

    def _return(self, users: np.ndarray, now_ms: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """int64 (n,): when they come again; sooner after a session better than usual, at an hour and a day that suits them."""
        clock, people, sessions = self.clock, self.behaviour.people, self.config.sessions
        better = np.log((np.maximum(clock.value[users], 0) + 0.5) / (clock.usual[users] + 0.5))
        clock.usual[users] += 0.3 * (np.maximum(clock.value[users], 0) - clock.usual[users])
        pull = sessions.satisfaction * np.clip(better, -1.5, 1.5) if self.config.mechanisms.return_when_satisfied else 0.0
        gap = people.gap_days[users] * np.exp(sessions.gap_noise * rng.normal(size=len(users)) - pull)
        soonest = now_ms + SESSION_GAP_MS + 300_000
        due = np.maximum(now_ms + (gap * DAY_MS).astype(np.int64), soonest)
        hour = np.mod(people.hour[users] + 2.5 * rng.normal(size=len(users)), 24)
        suited = due // DAY_MS * DAY_MS + (hour * HOUR_MS).astype(np.int64)
        suited = np.where(suited < soonest, suited + DAY_MS, suited)
        due = np.where(gap > 0.4, suited, due)
        weekday = (due // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday
        weekend, draw = people.weekend[users], rng.random(len(users))
        wait = (weekday < 5) & (draw < 0.35 * weekend) & (gap > 1.5)
        due = due + np.where(wait, 5 - weekday, 0) * DAY_MS
        return due + np.where((weekday >= 5) & (draw < -0.6 * weekend) & (gap > 0.4), 7 - weekday, 0) * DAY_MS

    def _actions(
        self,
        mind: Mind,
        items: np.ndarray,
        surface: np.ndarray,
        done: np.ndarray,
        looked: np.ndarray,
        first_page: int,
        rng: np.random.Generator,
    ) -> Step:
        """The actions of one page each as log columns, follows, blocks and undos with them, in order of action, person, place."""
        durations = _durations(done, rng)
        spent = GLANCE_MS * looked + durations.sum(0)
        begin = mind.time_ms[:, None] + (np.cumsum(spent, 1) - spent).astype(np.int64)
        end_ms = mind.time_ms + spent.sum(1).astype(np.int64)
        action, row, place = np.nonzero(done)
        delay = np.array([600, 700, 700, 900, 1500, 90_000, 900, 900])[action]
        delay = delay + np.where((action == CLICK) | (action == LONG) | (action == SAVE), durations[CLOSE][row, place], 0)
        delay = delay + np.where((action == CART) | (action == CHECKOUT), durations.sum(0)[row, place], 0)
        time_ms = begin[row, place] + delay
        time_ms, offsite = self._late(action, row, place, time_ms, done, rng)
        user, item = mind.users[row], items[row, place]
        board = np.full(len(row), -1)
        saved = action == SAVE
        b = self.behaviour
        board[saved] = b.boards.place(b.projects, b.catalogue, user[saved], item[saved], time_ms[saved], rng)
        bought = (action == CART) | (action == CHECKOUT)
        columns = {
            "user": user,
            "time_ms": time_ms,
            "session": self.clock.session[user],
            "action": action,
            "item": item,
            "creator": b.catalogue.creator[item],
            "surface": surface[row],
            "page": first_page + row,
            "position": place,
            "duration_ms": durations[action, row, place].astype(np.int64),
            "board": board,
            "quantity": np.where(bought, 1 + (item % 7 == 0) * (row % 3 == 0), 0),
            "offsite": offsite,
            "undoes": np.full(len(row), -1),
        }
        return Step(self._also(columns, rng), done, end_ms)

    def _late(
        self, action: np.ndarray, row: np.ndarray, place: np.ndarray, time_ms: np.ndarray, done: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """When carts and checkouts happen, and whether at the merchant: those come hours to days later, a checkout after its cart."""
        offsite = np.zeros(len(action), bool)
        if not self.config.mechanisms.late_offsite or not done[CART].any():
            return time_ms, offsite
        shape = done.shape[1:]
        cart_away = rng.random(shape) < self.config.actions.offsite_share
        cart_wait = np.where(cart_away, np.clip(14 * np.exp(rng.normal(size=shape)), 0.2, 120), 0.0)
        buy_away = cart_away | (rng.random(shape) < 0.5)
        buy_wait = cart_wait + np.where(buy_away, np.clip(36 * np.exp(rng.normal(size=shape)), 0.5, 168), 0.0)
        wait = np.where(action == CART, cart_wait[row, place], np.where(action == CHECKOUT, buy_wait[row, place], 0.0))
        offsite = ((action == CART) & cart_away[row, place]) | ((action == CHECKOUT) & buy_away[row, place])
        return time_ms + (wait * HOUR_MS).astype(np.int64), offsite

    def _also(self, columns: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """``columns`` with the follows, blocks and undos that come of them; policy and people remember follows and blocks."""
        a, people = self.config.actions, self.behaviour.people
        action, user, creator = columns["action"], columns["user"], columns["creator"]
        draw = rng.random(len(action))
        liked = (action == SAVE) | (action == LONG)
        disliked = ((action == HIDE) | (action == REPORT)) & (people.dislike_creator[user] == creator[:, None]).any(1)
        undone = ((action == SAVE) | (action == HIDE)) & (draw > 1 - a.undo_share)
        extra = []
        for code, marks, chosen in (
            (FOLLOW, self.policy.follows, liked & (draw < a.follow_share)),
            (BLOCK, self.policy.blocks, disliked & (draw < a.block_share)),
        ):
            new = np.flatnonzero(chosen & ~(marks[user] == creator[:, None]).any(1))
            _, once = np.unique(user[new], return_index=True)  # one a person and page
            new = new[np.sort(once)]
            extra.append(_rows(columns, new, action=code, time_ms=columns["time_ms"][new] + 2500, board=-1, duration_ms=0))
            marks[user[new]] = np.concatenate([creator[new][:, None], marks[user[new]]], 1)[:, :FOLLOWS]
        back = np.flatnonzero(undone)
        later = columns["time_ms"][back] + 3000 + (draw[back] * 50_000).astype(np.int64)
        undo = _rows(columns, back, action=UNDO, time_ms=later, duration_ms=0, undoes=self.log.actions.rows + back)
        return {name: np.concatenate([columns[name], *(part[name] for part in (*extra, undo))]) for name in columns}


def _rows(columns: dict[str, np.ndarray], rows: np.ndarray, **changes: np.ndarray | int) -> dict[str, np.ndarray]:
    taken = {name: values[rows].copy() for name, values in columns.items()}
    for name, value in changes.items():
        taken[name][:] = value
    return taken


def _durations(done: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float64 (actions, n, k) milliseconds: close-ups of some seconds, clicks under half a minute, long clicks above it; 0 elsewhere."""
    durations = np.zeros(done.shape)
    for action, median, spread, least, most in ((CLOSE, 7e3, 0.8, 1e3, 12e4), (CLICK, 11e3, 0.6, 2e3, 29e3), (LONG, 75e3, 0.7, 3e4, 9e5)):
        rows = np.nonzero(done[action])
        durations[action][rows] = np.clip(median * np.exp(spread * rng.normal(size=len(rows[0]))), least, most).round()
    return durations


__all__ = ["ALL_ACTIONS", "SURFACES", "Clock", "Simulation", "Step"]
