"""Bounded memory that does not care for the order of arrival.

Both logs keep the newest entries by ``(time_ms, id)``. Which ones are the newest depends on the set of entries alone, so
any order of arrival, with any repetition, ends in the same log. What falls out leaves a *floor*: an entry at or below it
cannot be told from a repetition of something forgotten and is refused.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

import msgspec

Key = tuple[int, str]


class Action(NamedTuple):
    """One thing a user did; ``time_ms`` is UTC, ``duration_ms`` how long it lasted where that is known."""

    time_ms: int
    event_id: str
    action: str
    item_id: str | None
    creator_id: str | None
    surface: str | None
    duration_ms: int | None


class Page(NamedTuple):
    """One page. ``seen`` says that a client told what was on the screen; otherwise everything that was served counts.

    ``weight`` is the most slots that any row of this request named: it only grows, so that narrowing a page to what was on
    the screen cannot bring an older page back, and the order of the two does not matter.
    """

    time_ms: int
    request_id: str
    item_ids: tuple[str, ...]
    seen: bool
    weight: int


class Shown(msgspec.Struct, frozen=True, gc=False):
    """When an item was last shown (UTC) and on how many of the remembered pages; reads like the tuple of the two.

    It is none, because a server holds millions: as tuples, every full garbage collection walked them all, for 0.3 s and more.
    """

    last_ms: int
    times: int

    def __getitem__(self, index: int) -> int:
        return (self.last_ms, self.times)[index]

    def __iter__(self) -> Iterator[int]:
        return iter((self.last_ms, self.times))


Entry = TypeVar("Entry", bound=tuple)  # begins with (time_ms, id); ids are unique within a log


class NewestLog(Generic[Entry]):
    """The newest ``limit`` entries in ascending order of ``(time_ms, id)``; an id counts once."""

    __slots__ = ("entries", "floor", "ids", "limit")

    def __init__(self, limit: int, entries: Iterable[Entry] = (), floor: Key | None = None):
        self.limit = limit
        self.entries: list[Entry] = sorted(entries)
        self.floor = floor
        if len(self.entries) > limit:
            self.floor = self.entries[-limit - 1][:2]
            self.entries = self.entries[-limit:]
        self.ids: set[str] = {entry[1] for entry in self.entries}

    def add(self, entry: Entry) -> tuple[bool, Entry | None]:
        """Take ``entry``. Returns whether it was new, and the entry that fell out for it."""
        entries = self.entries
        if entry[1] in self.ids or (self.floor is not None and entry[:2] <= self.floor):
            return False, None
        if not entries or entry > entries[-1]:
            entries.append(entry)
        else:
            insort(entries, entry)
        self.ids.add(entry[1])
        if len(entries) <= self.limit:
            return True, None
        oldest = entries.pop(0)
        self.ids.discard(oldest[1])
        self.floor = oldest[:2]
        return True, oldest

    def forget(self, until_ms: int) -> None:
        """Drop every entry at or before ``until_ms``."""
        self.entries = [entry for entry in self.entries if entry[0] > until_ms]
        self.ids = {entry[1] for entry in self.entries}

    def copy(self) -> NewestLog[Entry]:
        other: NewestLog[Entry] = NewestLog.__new__(NewestLog)
        other.limit, other.entries, other.ids, other.floor = self.limit, self.entries.copy(), self.ids.copy(), self.floor
        return other


class PageLog:
    """The newest pages with at most ``limit`` slots together, and for each item when and how often it was shown.

    Rows of one request are joined: what a client saw replaces what was served, several such rows add up.
    """

    __slots__ = ("_by_request", "_owns_shown", "_shown", "_weight", "floor", "limit", "pages")

    def __init__(self, limit: int, pages: Iterable[Page] = (), floor: Key | None = None):
        self.limit = limit
        self.pages: list[Page] = sorted(pages)
        self.floor = floor
        self._by_request = {page.request_id: page for page in self.pages}
        self._weight = sum(page.weight for page in self.pages)
        self._shown: dict[str, Shown] | None = None
        self._owns_shown = True
        self._evict()

    def add(self, time_ms: int, request_id: str, item_ids: Iterable[str], seen: bool) -> None:
        """Take one row of a request; a page counts for as many slots as it has, and for one where it has none."""
        items = tuple(sorted(set(item_ids))[: self.limit])
        page = Page(time_ms, request_id, items, seen, max(1, len(items)))
        old = self._by_request.get(request_id)
        if old is not None:
            page = _join(old, page, self.limit)
            if page == old:
                return
        elif self.floor is not None and (time_ms, request_id) <= self.floor:
            return
        if self._shown is not None and not self._owns_shown:
            self._shown, self._owns_shown = self._shown.copy(), True
        if old is not None:
            self._remove(bisect_left(self.pages, old))
        self._insert(page)
        self._evict()

    @property
    def shown(self) -> dict[str, Shown]:
        """By item, when and how often it was shown. Built when first asked for and kept up to date from then on."""
        shown = self._shown
        if shown is None:
            shown = _count_all(self.pages)
            self._shown, self._owns_shown = shown, True
        return shown

    def forget(self, until_ms: int) -> None:
        """Drop every page at or before ``until_ms``."""
        self._shown = None
        while self.pages and self.pages[0].time_ms <= until_ms:
            self._remove(0)

    def copy(self) -> PageLog:
        """A log of its own; the two share what was counted until one of them takes a page."""
        other = PageLog.__new__(PageLog)
        other.limit, other.pages, other.floor = self.limit, self.pages.copy(), self.floor
        other._by_request, other._weight = self._by_request.copy(), self._weight
        other._shown, other._owns_shown, self._owns_shown = self._shown, False, False
        return other

    def _insert(self, page: Page) -> None:
        if not self.pages or page > self.pages[-1]:
            self.pages.append(page)
        else:
            insort(self.pages, page)
        self._by_request[page.request_id] = page
        self._weight += page.weight
        if self._shown is not None:
            _count(self._shown, page)

    def _evict(self) -> None:
        while self._weight > self.limit:
            self.floor = self._remove(0)[:2]

    def _remove(self, index: int) -> Page:
        page = self.pages.pop(index)
        del self._by_request[page.request_id]
        self._weight -= page.weight
        if self._shown is not None:
            self._discount(self._shown, page)
        return page

    def _discount(self, shown: dict[str, Shown], page: Page) -> None:
        for item_id in page.item_ids:
            before = shown[item_id]
            if before.times == 1:
                del shown[item_id]
                continue
            last_ms = before.last_ms
            if last_ms == page.time_ms:  # the newest of several: look for the one before
                last_ms = next(other.time_ms for other in reversed(self.pages) if item_id in other.item_ids)
            shown[item_id] = Shown(last_ms, before.times - 1)


def _count_all(pages: list[Page]) -> dict[str, Shown]:
    last: dict[str, int] = {}
    for page in pages:  # ascending, so the last one to write is the newest
        last.update(dict.fromkeys(page.item_ids, page.time_ms))
    times = Counter(chain.from_iterable(page.item_ids for page in pages))  # in the same order of first appearance as ``last``
    return dict(zip(last, map(Shown, last.values(), times.values()), strict=True))


def _count(shown: dict[str, Shown], page: Page) -> None:
    time_ms = page.time_ms
    for item_id in page.item_ids:
        before = shown.get(item_id)
        shown[item_id] = Shown(time_ms, 1) if before is None else Shown(max(before.last_ms, time_ms), before.times + 1)


def _join(old: Page, new: Page, limit: int) -> Page:
    if old.seen == new.seen:
        items = old.item_ids if set(old.item_ids).issuperset(new.item_ids) else tuple(sorted({*old.item_ids, *new.item_ids})[:limit])
    else:
        items = old.item_ids if old.seen else new.item_ids
    weight = max(old.weight, new.weight, len(items))
    return Page(max(old.time_ms, new.time_ms), old.request_id, items, old.seen or new.seen, weight)
